//! Who may ask over HTTP: Host headers and tokens. (No page takes a query parameter.)

use axum::http::{HeaderMap, HeaderValue, header};
use projectord::http::{host_is_known, token_is_right};
use secrecy::SecretString;

use super::take::Take;

pub const WORDS: &[&[u8]] = &[
    b"localhost",
    b"127.0.0.1",
    b"[::1]",
    b":9187",
    b"metrics.example",
    b"evil.example",
    b".",
    b"@",
    b"Bearer ",
    b"bearer ",
    b"t0ken",
    b"\0",
    b"::",
    b"[",
    b"]",
    b":",
    b"%00",
];

pub fn seeds() -> Vec<Vec<u8>> {
    [
        "localhost:9187\0Bearer t0ken",
        "[::1]:9187\0bearer t0ken",
        "METRICS.example\0Basic t0ken",
        "evil.example:80\0Bearer t0ke",
        "192.168.0.1\0Bearer t0kent0ken",
        "::1\0",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

/// A host, a zero byte, an authorization.
pub fn run(bytes: &[u8]) {
    let mut take = Take(bytes);
    let (host, authorization) = (take.text(), take.0);
    let mut headers = HeaderMap::new();
    let hosts = ["metrics.example".to_owned()];
    assert!(!host_is_known(&headers, &hosts), "a request without a Host is not heard");
    if let Ok(host) = HeaderValue::from_bytes(host) {
        headers.insert(header::HOST, host.clone());
        if host_is_known(&headers, &hosts) {
            // A browser that was led here under a foreign name says that name.
            let text = host.to_str().unwrap().to_ascii_lowercase();
            let named = text.starts_with("localhost") || text.starts_with("metrics.example");
            let address = |text: &str| text.parse::<std::net::IpAddr>().is_ok();
            let before = text.rsplit_once(':').map_or(text.as_str(), |(before, _)| before);
            let bare = |text: &str| text.trim_matches(['[', ']']).to_owned();
            assert!(
                named || address(&bare(&text)) || address(&bare(before)) || bare(before) == "localhost",
                "{text}"
            );
            assert!(!text.contains("evil.example") || text.contains(':'), "{text}");
        }
        headers.append(header::HOST, HeaderValue::from_static("localhost"));
        assert!(!host_is_known(&headers, &hosts), "two hosts are none");
    }
    let token = SecretString::from("t0ken");
    assert!(!token_is_right(&HeaderMap::new(), &token));
    if let Ok(value) = HeaderValue::from_bytes(authorization) {
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.clone())]);
        let expected = value.as_bytes().len() == 12
            && value.as_bytes()[..7].eq_ignore_ascii_case(b"bearer ")
            && &value.as_bytes()[7..] == b"t0ken";
        assert_eq!(token_is_right(&headers, &token), expected);
    }
}
