//! Section `source`: how to reach the write database.

use std::net::IpAddr;
use std::time::Duration;

use super::section::Section;
use crate::source::postgres::{Options, SslMode};

/// PostgreSQL's identifiers end here (docs, "Identifiers and Key Words": NAMEDATALEN - 1).
const IDENTIFIER_BYTES_MAX: usize = 63;

const SSL_MODES: [(&str, SslMode); 4] = [
    ("disable", SslMode::Disable),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];

/// As the file writes an sslmode.
pub fn ssl_mode_word(mode: SslMode) -> &'static str {
    SSL_MODES.iter().find(|(_, known)| *known == mode).map_or("", |(word, _)| word)
}

/// Whether packets to this host stay on this machine: a unix socket folder, or a loopback name or address.
pub fn is_local(host: &str) -> bool {
    host.starts_with('/')
        || host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

pub(super) fn read(section: Section<'_>) -> Options {
    let host = section
        .required_text("host", "a host name, an address, or a unix socket folder such as /run/postgresql");
    let port = section.number("port", 5432, 1..=u16::MAX);
    let database = section.required_text("database", "the name of the write database");
    let user = section
        .required_text("user", "a role with REPLICATION; `projectord setup-sql` prints how to make it");
    let password = section.secret("password", "password_file").map(|given| given.value);
    let read_user = section.text("read_user").map(|given| given.value);
    let read_password = section.secret("read_password", "read_password_file");
    if let (Some(given), None) = (&read_password, &read_user)
        && !section.has("read_user")
    {
        section.problem(
            given.place,
            "conflicting-keys",
            "'read_password' without 'read_user'",
            "name the role that it belongs to",
        );
    }
    let ssl_mode = ssl_mode(&section, &host);
    let ssl_ca = section.existing_file("ssl_ca");
    let slot = section.parsed("slot", slot_name).map_or_else(|| "projectord".to_owned(), |given| given.value);
    let publication = section
        .parsed("publication", identifier)
        .map_or_else(|| "projectord".to_owned(), |given| given.value);
    let application_name = section
        .parsed("application_name", identifier)
        .map_or_else(|| "projectord".to_owned(), |given| given.value);
    let manage = section.boolean("manage", false);
    let seconds = Duration::from_secs;
    let connect_timeout = section.duration("connect_timeout", seconds(10), seconds(1)..=seconds(300));
    let status_interval =
        section.duration("status_interval", seconds(5), Duration::from_millis(100)..=seconds(20));
    let catalog_interval =
        section.duration("catalog_interval", seconds(10), Duration::from_millis(100)..=seconds(3_600));
    let chunk_rows = section.number("chunk_rows", 10_000, 1..=1_000_000);
    let chunk_target = section.duration("chunk_target", seconds(1), Duration::from_millis(50)..=seconds(5));
    section.end();
    Options {
        host,
        port,
        database,
        user,
        password,
        read_user,
        read_password: read_password.map(|given| given.value),
        ssl_mode,
        ssl_ca,
        application_name,
        slot,
        publication,
        manage,
        connect_timeout,
        status_interval,
        catalog_interval,
        chunk_rows,
        chunk_target,
    }
}

/// Away from this machine nothing travels unencrypted or to an unproven server unless the file says so.
fn ssl_mode(section: &Section<'_>, host: &str) -> SslMode {
    let local = is_local(host);
    let default = if local { SslMode::Disable } else { SslMode::VerifyFull };
    let Some(given) = section.choice("sslmode", &SSL_MODES) else { return default };
    if !local && matches!(given.value, SslMode::Disable | SslMode::Require) {
        let (code, message) = match given.value {
            SslMode::Disable => ("plain-text", "passwords and rows travel unencrypted to another host"),
            _ => ("unproven-server", "the server does not have to prove who it is"),
        };
        section.warning(
            given.place,
            code,
            message,
            "use sslmode: verify-full, with ssl_ca for a CA of your own",
        );
    }
    if host.starts_with('/') && given.value != SslMode::Disable {
        section.problem(
            given.place,
            "conflicting-keys",
            "there is no TLS over a unix socket",
            "leave 'sslmode' out",
        );
    }
    given.value
}

/// PostgreSQL docs, "Streaming Replication Protocol": lower case letters, digits and underscores.
fn slot_name(text: &str) -> Result<String, String> {
    let fits = !text.is_empty()
        && text.len() <= IDENTIFIER_BYTES_MAX
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if fits {
        Ok(text.to_owned())
    } else {
        Err(format!("expected 1 to {IDENTIFIER_BYTES_MAX} lower case letters, digits or underscores"))
    }
}

fn identifier(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > IDENTIFIER_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(format!("expected 1 to {IDENTIFIER_BYTES_MAX} bytes without control characters"));
    }
    Ok(text.to_owned())
}
