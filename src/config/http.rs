//! Section `http`: where metrics, health and status are served.

use std::net::{Ipv4Addr, SocketAddr};

use secrecy::SecretString;

use super::section::Section;

/// Where a scraper finds us unless the file says otherwise.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9187);

#[derive(Clone, Debug)]
pub struct Http {
    /// Nothing when the file says `listen: off`.
    pub listen: Option<SocketAddr>,
    /// What a caller must send as `Authorization: Bearer …`; required on any address but loopback.
    pub token: Option<SecretString>,
    /// Host names, besides `localhost` and plain addresses, under which callers may ask: a browser that is led here
    /// under a foreign name is refused.
    pub hosts: Vec<String>,
}

pub(super) fn read(section: Section<'_>) -> Http {
    let listen = section.parsed("listen", |text| match text {
        "off" => Ok(None),
        _ => text
            .parse()
            .map(Some)
            .map_err(|_| "expected an address with port such as 127.0.0.1:9187, or off".to_owned()),
    });
    let token = section.secret("token", "token_file").map(|given| given.value);
    let hosts = section.list("hosts").unwrap_or_default().into_iter().map(|given| given.value).collect();
    if let Some(given) = &listen
        && given.value.is_some_and(|address: SocketAddr| !address.ip().is_loopback())
        && token.is_none()
        && !section.has("token")
        && !section.has("token_file")
    {
        section.problem(
            given.place,
            "unsafe-setting",
            "'listen' is not a loopback address and there is no token",
            "add 'token_file', or listen on 127.0.0.1",
        );
    }
    section.end();
    Http { listen: listen.map_or(Some(DEFAULT_LISTEN), |given| given.value), token, hosts }
}
