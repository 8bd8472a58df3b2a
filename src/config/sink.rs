//! Section `sink`: where documents go, and how many at a time.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::section::{Given, Section};
use super::source::is_local;
use crate::sink::elasticsearch::{Credentials, Options};

/// The places documents can go to.
#[derive(Clone, Debug)]
pub enum Sink {
    Elasticsearch(Options),
    /// One JSON line per document action, for looking at.
    Ndjson {
        /// Nothing: standard output.
        path: Option<PathBuf>,
    },
}

/// How deliver cuts and paces its requests, whatever the sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Requests on their way at the same time.
    pub requests_in_flight: u32,
    /// Bytes after which a request is cut.
    pub bulk_bytes: u64,
    /// Documents after which a request is cut.
    pub bulk_documents: u32,
    /// Percent of refused documents among the last ones of an index at which delivery stops: one bad
    /// document goes to quarantine, a bad rate is a mistake in the mapping.
    pub refusal_limit: u32,
}

/// One cluster is not addressed by more nodes than this.
const URLS_MAX: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Elasticsearch,
    Ndjson,
}

pub(super) fn read(section: Section<'_>) -> (Sink, Delivery) {
    let kind = section.choice("kind", &[("elasticsearch", Kind::Elasticsearch), ("ndjson", Kind::Ndjson)]);
    let delivery = Delivery {
        requests_in_flight: section.number("requests_in_flight", 4, 1..=64),
        bulk_bytes: section.size("bulk_bytes", 5 << 20, (64 << 10)..=(64 << 20)),
        bulk_documents: section.number("bulk_documents", 2_000, 1..=50_000),
        refusal_limit: section.number("refusal_limit", 50, 1..=100),
    };
    let sink = match kind.map_or(Kind::Elasticsearch, |given| given.value) {
        Kind::Elasticsearch => Sink::Elasticsearch(elasticsearch(&section)),
        Kind::Ndjson => Sink::Ndjson { path: ndjson(&section) },
    };
    section.end();
    (sink, delivery)
}

/// Nothing for `-`.
fn ndjson(section: &Section<'_>) -> Option<PathBuf> {
    if !section.has("path") {
        section.missing(
            "path",
            "the file to write, such as path: documents.ndjson, or path: '-' for standard output",
        );
    }
    let written = section.text("path")?;
    (written.value != "-").then(|| section.path("path"))?.map(|given| given.value)
}

fn elasticsearch(section: &Section<'_>) -> Options {
    let plain_text = section.boolean("plain_text", false);
    let seconds = Duration::from_secs;
    let urls = urls(section, plain_text);
    // Within a machine there is nothing to save but the work of both sides.
    let near = urls.iter().all(|url| is_near(url));
    Options {
        urls,
        credentials: credentials(section),
        ca: section.existing_file("ca"),
        request_timeout: section.duration("request_timeout", seconds(30), seconds(1)..=seconds(600)),
        compress: section.boolean("compress", !near),
    }
}

fn urls(section: &Section<'_>, plain_text: bool) -> Vec<String> {
    let Some(given) = section.list("urls") else {
        if !section.has("urls") {
            section.missing(
                "urls",
                "one or several nodes of one cluster, such as urls: [\"https://search:9200\"]",
            );
        }
        return Vec::new();
    };
    if given.is_empty() || given.len() > URLS_MAX {
        section.problem(section.place, "bad-value", format!("'urls' needs 1 to {URLS_MAX} addresses"), "");
    }
    for url in &given {
        if let Err((reason, hint)) = check_url(&url.value, plain_text) {
            section.problem(url.place, "bad-value", reason, hint);
        }
    }
    given.into_iter().map(|url| url.value.trim_end_matches('/').to_owned()).collect()
}

/// The messages never quote the address: it may hold a password.
fn check_url(url: &str, plain_text: bool) -> Result<(), (&'static str, &'static str)> {
    let (encrypted, rest) = match url.split_once("://") {
        Some(("https", rest)) => (true, rest),
        Some(("http", rest)) => (false, rest),
        _ => {
            return Err((
                "an address in 'urls' begins with neither https:// nor http://",
                "write https://host:9200",
            ));
        }
    };
    let authority = authority(rest);
    if authority.contains('@') {
        return Err((
            "an address in 'urls' holds a user or password",
            "use 'user' and 'password_file' instead",
        ));
    }
    let (host, port) = host_and_port(authority);
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err(("an address in 'urls' has no valid port", "write https://host:9200"));
    }
    if host.is_empty() || host.contains(char::is_whitespace) || rest.contains(['?', '#']) {
        return Err(("an address in 'urls' is not a plain address", "write https://host:9200"));
    }
    if !encrypted && !plain_text && !is_local(host) {
        return Err((
            "documents would travel unencrypted to another host",
            "use https://, or write plain_text: true if the network is trusted",
        ));
    }
    Ok(())
}

/// Whether requests to this node stay on this machine.
fn is_near(url: &str) -> bool {
    url.split_once("://").is_some_and(|(_, rest)| is_local(host_and_port(authority(rest)).0))
}

fn authority(rest: &str) -> &str {
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// The host without the brackets of an IPv6 address, and what stands behind its colon.
fn host_and_port(authority: &str) -> (&str, Option<&str>) {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    (host.trim_start_matches('[').trim_end_matches(']'), port)
}

/// At most one way to prove who we are.
fn credentials(section: &Section<'_>) -> Credentials {
    let user = section.text("user");
    let password = section.secret("password", "password_file");
    let api_key = section.secret("api_key", "api_key_file");
    let bearer = section.secret("bearer_token", "bearer_token_file");
    let basic = basic(section, user, password);
    let ways = [
        basic,
        api_key.map(|given| Given { value: Credentials::ApiKey(given.value), place: given.place }),
        bearer.map(|given| Given { value: Credentials::Bearer(given.value), place: given.place }),
    ];
    let mut given = ways.into_iter().flatten();
    let first = given.next();
    if let Some(second) = given.next() {
        let hint = "keep one of: user with password, api_key, bearer_token";
        section.problem(
            second.place,
            "conflicting-keys",
            "the sink has more than one kind of credentials",
            hint,
        );
    }
    first.map_or(Credentials::None, |given| given.value)
}

fn basic(
    section: &Section<'_>,
    user: Option<Given<String>>,
    password: Option<Given<SecretString>>,
) -> Option<Given<Credentials>> {
    match (user, password) {
        (Some(user), Some(password)) => {
            let value = Credentials::Basic { user: user.value, password: password.value };
            Some(Given { value, place: user.place })
        }
        (Some(user), None) => {
            if !section.has("password") && !section.has("password_file") {
                section.problem(
                    user.place,
                    "missing-key",
                    "'user' without 'password' or 'password_file'",
                    "",
                );
            }
            None
        }
        (None, Some(password)) => {
            if !section.has("user") {
                section.problem(password.place, "missing-key", "'password' without 'user'", "");
            }
            None
        }
        (None, None) => None,
    }
}
