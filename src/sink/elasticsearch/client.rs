//! One request, one answer: the door to the cluster.
//!
//! Knows addresses, credentials, certificates and statuses; knows nothing of documents or indices, and never
//! repeats a request that may have arrived: what a lost answer means is for the caller to judge (hazard 49).
//! Each node has its own transport of the `elasticsearch` crate; turns and dead nodes are [`Ring`]'s part.
//! No product check and no `compatible-with` types, which OpenSearch and other major versions refuse
//! (hazard 56).

use std::error::Error as _;
use std::io::{self, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use elasticsearch::auth::Credentials as Auth;
use elasticsearch::cert::{Certificate, CertificateValidation};
use elasticsearch::http::Method;
use elasticsearch::http::Url;
use elasticsearch::http::headers::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use elasticsearch::http::transport::{SingleNodeConnectionPool, Transport, TransportBuilder};
use secrecy::ExposeSecret;
use serde::Deserialize;

use super::node::Ring;
use super::options::{Credentials, Options};
use super::reason;
use crate::sink::Error;

/// An answer above this is refused unread if its length is announced, and unparsed if not. A bulk answer
/// takes 80 to 400 bytes a document.
pub const ANSWER_BYTES_MAX: u64 = 32 << 20;

/// How rustls begins what it says of a certificate that it does not trust.
const BAD_CERTIFICATE: &str = "invalid peer certificate";

/// What the body of a request is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Json,
    Ndjson,
}

/// An answer that the caller has to look at: any 2xx, and 4xx that depend on what was asked.
pub(super) struct Answer {
    pub status: u16,
    pub body: Bytes,
}

/// What an error answer says of itself.
#[derive(Default)]
pub(super) struct Trouble {
    pub kind: String,
    pub reason: String,
}

impl Answer {
    pub fn succeeded(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Type and text of an error answer; empty for what is not the cluster's own JSON, such as a proxy's page.
    pub fn trouble(&self) -> Trouble {
        #[derive(Deserialize)]
        struct Body {
            error: Said,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Said {
            Plain(String),
            Full {
                #[serde(rename = "type")]
                kind: String,
                reason: Option<String>,
            },
        }
        match serde_json::from_slice(&self.body) {
            Ok(Body { error: Said::Plain(reason) }) => Trouble { kind: String::new(), reason },
            Ok(Body { error: Said::Full { kind, reason } }) => {
                Trouble { kind, reason: reason.unwrap_or_default() }
            }
            Err(_) => Trouble::default(),
        }
    }
}

struct Node {
    transport: Transport,
    /// Without user and password; for messages.
    url: Url,
}

/// The nodes of one cluster.
pub(super) struct Client {
    nodes: Vec<Node>,
    ring: Mutex<Ring>,
    timeout: Duration,
    compress: bool,
}

impl Client {
    /// Reads the certificates; opens no connection yet.
    pub fn new(options: &Options) -> Result<Client, Error> {
        if options.urls.is_empty() {
            return Err(config("sink-url", "no address is given", "Name at least one node"));
        }
        let nodes = options.urls.iter().map(|url| node(url, options)).collect::<Result<Vec<_>, _>>()?;
        let ring = Mutex::new(Ring::new(nodes.len()));
        Ok(Client { nodes, ring, timeout: options.request_timeout, compress: options.compress })
    }

    /// The limit of one request.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// `path` carries its query; names in it are percent-encoded by the caller.
    pub async fn call(
        &self,
        operation: &'static str,
        method: Method,
        path: &str,
        content: Content,
        body: Option<Bytes>,
    ) -> Result<Answer, Error> {
        let size_bytes = body.as_ref().map_or(0, Bytes::len);
        let (headers, body) = self.encode(operation, content, body).await?;
        let mut tries_left = self.nodes.len();
        loop {
            let at = self.ring().pick(Instant::now());
            let node = &self.nodes[at];
            tries_left -= 1;
            match exchange(node, method, path, headers.clone(), body.clone(), self.timeout).await {
                Ok(answer) => {
                    match answer.status {
                        502..=504 => self.ring().failed(at, Instant::now()),
                        _ => self.ring().answered(at),
                    }
                    return judge(operation, size_bytes, answer);
                }
                Err(failure) => {
                    self.ring().failed(at, Instant::now());
                    // Another node may have a good certificate, but somebody has to look at this one.
                    if failure.reason.contains(BAD_CERTIFICATE) {
                        return Err(Error::Refused {
                            code: "sink-tls",
                            operation,
                            reason: failure.reason,
                            hint: "Give the certificate authority as 'ca', and the address by a name in the certificate".to_owned(),
                        });
                    }
                    // Only a request that certainly never left may go to the next node.
                    if !(failure.never_sent && tries_left > 0) {
                        return Err(Error::Retry { operation, reason: failure.reason });
                    }
                }
            }
        }
    }

    async fn encode(
        &self,
        operation: &'static str,
        content: Content,
        body: Option<Bytes>,
    ) -> Result<(HeaderMap, Option<Bytes>), Error> {
        let mut headers = HeaderMap::new();
        let kind = match content {
            Content::Json => "application/json",
            Content::Ndjson => "application/x-ndjson",
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        // Small answers; unpacking would cost more than it saves and hide their length.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let body = match body {
            Some(body) if self.compress && content == Content::Ndjson => {
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                let packed = tokio::task::spawn_blocking(move || gzip(&body)).await;
                let packed = packed.map_err(io::Error::other).flatten();
                Some(packed.map_err(|error| Error::Retry {
                    operation,
                    reason: format!("compress the request: {error}"),
                })?)
            }
            body => body,
        };
        Ok((headers, body))
    }

    fn ring(&self) -> std::sync::MutexGuard<'_, Ring> {
        // A ring is whole after each of its steps, whoever panicked while holding it.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn gzip(body: &[u8]) -> io::Result<Bytes> {
    let mut packer =
        flate2::write::GzEncoder::new(Vec::with_capacity(body.len() / 4), flate2::Compression::fast());
    packer.write_all(body)?;
    packer.finish().map(Bytes::from)
}

struct Failure {
    reason: String,
    never_sent: bool,
}

async fn exchange(
    node: &Node,
    method: Method,
    path: &str,
    headers: HeaderMap,
    body: Option<Bytes>,
    timeout: Duration,
) -> Result<Answer, Failure> {
    let place = node.url.authority();
    let failure = |error: elasticsearch::Error| Failure {
        never_sent: never_sent(&error),
        reason: match error.is_timeout() {
            true => format!("no answer from {place} within {timeout:?}"),
            false => format!("{place}: {}", deepest_cause(&error)),
        },
    };
    let unusable = |reason: String| Failure { reason, never_sent: false };
    let transport = &node.transport;
    let response =
        transport.send(method, path, headers, None::<&()>, body, Some(timeout)).await.map_err(failure)?;
    // The HTTP client follows redirects by itself; documents must not end up with a stranger.
    if response.url().authority() != place || response.url().scheme() != node.url.scheme() {
        return Err(unusable(format!("{place} redirects to {}", response.url().authority())));
    }
    let status = response.status_code().as_u16();
    let oversized =
        |bytes: u64| unusable(format!("{place} answers {bytes} bytes, the limit is {ANSWER_BYTES_MAX}"));
    if let Some(bytes) = response.content_length().filter(|bytes| *bytes > ANSWER_BYTES_MAX) {
        return Err(oversized(bytes));
    }
    let body = response.bytes().await.map_err(failure)?;
    match body.len() as u64 > ANSWER_BYTES_MAX {
        true => Err(oversized(body.len() as u64)),
        false => Ok(Answer { status, body }),
    }
}

fn never_sent(error: &elasticsearch::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return error.kind() == io::ErrorKind::ConnectionRefused;
        }
        cause = error.source();
    }
    false
}

/// The outer errors only repeat the address, with its path and query.
fn deepest_cause(error: &elasticsearch::Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(cause) = deepest.source() {
        deepest = cause;
    }
    reason::administrative(&deepest.to_string())
}

/// Statuses that mean the same whatever was asked.
fn judge(operation: &'static str, size_bytes: usize, answer: Answer) -> Result<Answer, Error> {
    let refused =
        |code, reason: String, hint: &str| Error::Refused { code, operation, reason, hint: hint.to_owned() };
    let say = |trouble: Trouble| match trouble.kind.as_str() {
        "" => format!("status {}", answer.status),
        kind => format!(
            "status {}, {}: {}",
            answer.status,
            reason::code(kind),
            reason::administrative(&trouble.reason)
        ),
    };
    match answer.status {
        401 => Err(refused(
            "sink-auth",
            "the cluster does not accept the credentials".to_owned(),
            "Check user and password, or the API key, in section 'sink'",
        )),
        403 => {
            let trouble = answer.trouble();
            // Flood stage: the cluster lifts the block when disk space is back.
            if trouble.kind == "cluster_block_exception" {
                return Err(Error::Retry { operation, reason: say(trouble) });
            }
            Err(refused(
                "sink-forbidden",
                say(trouble),
                "Give the daemon's role the rights that the manual lists",
            ))
        }
        413 => Err(Error::TooLarge { operation, size_bytes }),
        408 | 425 | 429 | 500.. | ..200 => {
            let kind = answer.trouble().kind;
            let kind = if kind.is_empty() { String::new() } else { format!(", {}", reason::code(&kind)) };
            Err(Error::Retry { operation, reason: format!("status {}{kind}", answer.status) })
        }
        300..=399 => Err(Error::Retry { operation, reason: format!("status {}: a redirect", answer.status) }),
        _ => Ok(answer),
    }
}

fn config(code: &'static str, reason: impl Into<String>, hint: &str) -> Error {
    Error::Refused {
        code,
        operation: "read the sink's options",
        reason: reason.into(),
        hint: hint.to_owned(),
    }
}

/// Messages never quote the address as given: it may hold a password.
fn node(url: &str, options: &Options) -> Result<Node, Error> {
    let url = Url::parse(url)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| {
        config("sink-url", "an address of the cluster cannot be read", "Write https://host:9200")
    })?;
    if !url.username().is_empty() || url.password().is_some() {
        let reason = "an address of the cluster holds a user or a password";
        return Err(config("sink-url", reason, "Give them as credentials, so that no log can show them"));
    }
    // Proxies of the environment would be guessed configuration.
    let mut builder = TransportBuilder::new(SingleNodeConnectionPool::new(url.clone())).disable_proxy();
    if let Some(auth) = auth(&options.credentials)? {
        builder = builder.auth(auth);
    }
    if let Some(trusted) = trusted(&url, options)? {
        builder = builder.cert_validation(CertificateValidation::Full(trusted));
    }
    let transport = builder.enable_meta_header(false).build().map_err(|error| {
        config("sink-tls", format!("the HTTP client cannot be set up: {error}"), "Check the certificates")
    })?;
    Ok(Node { transport, url })
}

fn auth(credentials: &Credentials) -> Result<Option<Auth>, Error> {
    // The crate panics on a key that is no valid header.
    let header = |secret: &secrecy::SecretString| {
        let secret = secret.expose_secret();
        let fits = !secret.is_empty() && secret.bytes().all(|byte| byte.is_ascii_graphic());
        let hint = "Give it as the cluster handed it out, in one line";
        let refused =
            || config("sink-auth", "the key or token holds characters that no header can carry", hint);
        if fits { Ok(secret.to_owned()) } else { Err(refused()) }
    };
    Ok(match credentials {
        Credentials::None => None,
        Credentials::Basic { user, password } => {
            Some(Auth::Basic(user.clone(), password.expose_secret().to_owned()))
        }
        Credentials::ApiKey(key) => Some(Auth::EncodedApiKey(header(key)?)),
        Credentials::Bearer(token) => Some(Auth::Bearer(header(token)?)),
    })
}

/// The certificates of the file, or else those of the system, beside the public ones that are compiled in.
fn trusted(url: &Url, options: &Options) -> Result<Option<Certificate>, Error> {
    if url.scheme() != "https" {
        return Ok(None);
    }
    let Some(path) = &options.ca else {
        let mut all: Option<Certificate> = None;
        for found in rustls_native_certs::load_native_certs().certs {
            // One unreadable certificate of the system is no reason to trust none.
            let Ok(found) = Certificate::from_der(&found) else { continue };
            match &mut all {
                Some(all) => all.append(found),
                None => all = Some(found),
            }
        }
        return Ok(all);
    };
    let place = path.display();
    let pem = std::fs::read(path).map_err(|error| {
        config("sink-ca", format!("read {place}: {error}"), "Give a PEM file that the daemon can read")
    })?;
    let certificate = Certificate::from_pem(&pem).map_err(|_| {
        config("sink-ca", format!("{place} holds no certificate"), "Give a file with BEGIN CERTIFICATE lines")
    })?;
    Ok(Some(certificate))
}
