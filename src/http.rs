//! HTTP for machines that watch: metrics, health, status. Read-only; whatever changes state goes through the
//! control socket. No document and no row is ever served here.
//!
//! A request is heard when its Host header is an address, `localhost` or a configured name (so that a browser
//! led here under a foreign name learns nothing), and when it brings the token if there is one.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::config::Http;
use crate::metrics::Metrics;
use crate::pipeline::Status;
use crate::shutdown::Stop;

/// Connections at the same time; further ones are closed.
pub const CONNECTIONS_MAX: usize = 64;
/// How long a caller may take to send its request's head.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one connection may live, whatever it does.
pub const CONNECTION_TIMEOUT: Duration = Duration::from_secs(300);
/// Bytes of a request's head.
pub const HEAD_BYTES_MAX: usize = 16 << 10;
/// Documents may be this far behind and `/readyz` still says yes.
pub const READY_LAG_SECONDS_MAX: f64 = 60.0;

/// What is served, whoever knows it. Called at every request; must not block.
pub trait Watch: Send + Sync + 'static {
    fn status(&self) -> Status;
    /// Whether the loops run. One that hangs in a system call still counts: lag tells of it.
    fn alive(&self) -> Result<(), String>;
}

struct Shared {
    watch: Arc<dyn Watch>,
    metrics: Arc<Metrics>,
    token: Option<SecretString>,
    hosts: Vec<String>,
}

/// Binds the address, so that a mistake is known before anything else begins.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Answers until the stop is asked for.
pub async fn serve(
    listener: TcpListener,
    options: &Http,
    watch: Arc<dyn Watch>,
    metrics: Arc<Metrics>,
    mut stop: Stop,
) {
    let shared =
        Arc::new(Shared { watch, metrics, token: options.token.clone(), hosts: options.hosts.clone() });
    let router = Router::new()
        .route("/", get(index))
        .route("/metrics", get(exposition))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/status", get(status))
        .layer(middleware::from_fn_with_state(shared.clone(), guard))
        .with_state(shared);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            () = stop.asked() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "http: accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .max_buf_size(HEAD_BYTES_MAX)
                .serve_connection(TokioIo::new(stream), service);
            // Callers that vanish or talk nonsense are no news.
            let _ = timeout(CONNECTION_TIMEOUT, connection).await;
            drop(place);
        });
    }
}

/// What every request must pass.
async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    if !host_is_known(request.headers(), &shared.hosts) {
        return (StatusCode::MISDIRECTED_REQUEST, "unknown Host; name it in http.hosts\n").into_response();
    }
    if let Some(token) = &shared.token
        && !token_is_right(request.headers(), token)
    {
        let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
        return (StatusCode::UNAUTHORIZED, challenge, "a bearer token is required\n").into_response();
    }
    next.run(request).await
}

/// Whether the request names an address, `localhost` or one of `hosts`, and nothing else beside it.
pub fn host_is_known(headers: &HeaderMap, hosts: &[String]) -> bool {
    let mut given = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (given.next(), given.next()) else { return false };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => name,
        _ => host,
    };
    let plain = name.trim_start_matches('[').trim_end_matches(']');
    plain.parse::<IpAddr>().is_ok()
        || plain.eq_ignore_ascii_case("localhost")
        || hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Whether the request brings this bearer token.
pub fn token_is_right(headers: &HeaderMap, token: &SecretString) -> bool {
    let given = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes()).unwrap_or_default();
    let (scheme, given) = given.split_at_checked(7).unwrap_or_default();
    scheme.eq_ignore_ascii_case(b"bearer ") && equal_in_constant_time(given, token.expose_secret().as_bytes())
}

/// Takes as long for a wrong token as for the right one; only the length of the given one shows.
fn equal_in_constant_time(given: &[u8], expected: &[u8]) -> bool {
    let mut different = given.len() ^ expected.len();
    for (at, byte) in given.iter().enumerate() {
        let other = expected.get(at % expected.len().max(1)).copied().unwrap_or_default();
        different |= usize::from(byte ^ std::hint::black_box(other));
    }
    std::hint::black_box(different) == 0
}

async fn index() -> &'static str {
    "projectord\n\n/metrics  for Prometheus\n/healthz  200 while the loops run\n/readyz   200 while documents are up to date\n/status   everything, as JSON\n"
}

async fn exposition(State(shared): State<Arc<Shared>>) -> Response {
    shared.metrics.refresh(&shared.watch.status());
    match shared.metrics.exposition() {
        Ok(text) => {
            ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn healthz(State(shared): State<Arc<Shared>>) -> Response {
    verdict(shared.watch.alive())
}

async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    verdict(readiness(&shared.watch.status()))
}

async fn status(State(shared): State<Arc<Shared>>) -> Json<Status> {
    Json(shared.watch.status())
}

fn verdict(verdict: Result<(), String>) -> Response {
    match verdict {
        Ok(()) => (StatusCode::OK, "ok\n").into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

/// Whether readers may rely on the documents: streaming, nothing in the way, not far behind.
pub fn readiness(status: &Status) -> Result<(), String> {
    if let Some(trouble) = &status.trouble {
        return Err(trouble.clone());
    }
    if status.state != "streaming" {
        return Err(format!("state is {}", status.state));
    }
    let lag = status.watermarks.lag_seconds;
    if lag > READY_LAG_SECONDS_MAX {
        return Err(format!("documents are {lag:.0} s behind"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::shutdown;

    struct Known(Mutex<Status>);

    impl Watch for Known {
        fn status(&self) -> Status {
            self.0.lock().unwrap().clone()
        }
        fn alive(&self) -> Result<(), String> {
            if self.0.lock().unwrap().state == "ended" { Err("the loops have ended".into()) } else { Ok(()) }
        }
    }

    /// The stopper is held only so that the server goes on.
    struct Server(SocketAddr, Arc<Known>, #[expect(dead_code)] shutdown::Stopper);

    async fn start(token: Option<&str>) -> Server {
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let watch = Arc::new(Known(Mutex::new(Status { state: "streaming".into(), ..Status::default() })));
        let options =
            Http { listen: None, token: token.map(Into::into), hosts: vec!["metrics.example".into()] };
        let (stopper, stop) = shutdown::channel();
        let metrics = Arc::new(Metrics::new().unwrap());
        let known = watch.clone();
        tokio::spawn(async move { serve(listener, &options, known, metrics, stop).await });
        Server(address, watch, stopper)
    }

    async fn ask(server: &Server, request: &str) -> String {
        let mut stream = TcpStream::connect(server.0).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    fn get_request(path: &str, more: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n")
    }

    #[tokio::test]
    async fn every_page_answers_and_nothing_can_be_changed() {
        let server = start(None).await;
        for (path, code, part) in [
            ("/", 200, "/metrics"),
            ("/metrics", 200, "projectord_up{state=\"streaming\"} 1"),
            ("/healthz", 200, "ok"),
            ("/readyz", 200, "ok"),
            ("/status", 200, "\"state\":\"streaming\""),
            ("/nothing", 404, ""),
        ] {
            let answer = ask(&server, &get_request(path, "")).await;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {code}")) && answer.contains(part),
                "{path}\n{answer}"
            );
        }
        let answer = ask(&server, &get_request("/status", "").replace("GET", "POST")).await;
        assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    }

    #[tokio::test]
    async fn health_and_readiness_follow_the_status() {
        let server = start(None).await;
        let set = |state: &str, trouble: Option<&str>, lag: f64| {
            let mut status = server.1.0.lock().unwrap();
            status.state = state.into();
            status.trouble = trouble.map(Into::into);
            status.watermarks.lag_seconds = lag;
        };
        for (state, trouble, lag, health, ready) in [
            ("streaming", None, 0.0, 200, 200),
            ("streaming", None, 61.0, 200, 503),
            ("streaming", Some("slot-lost: gone"), 0.0, 200, 503),
            ("backfilling", None, 0.0, 200, 503),
            ("ended", None, 0.0, 503, 503),
        ] {
            set(state, trouble, lag);
            for (path, code) in [("/healthz", health), ("/readyz", ready)] {
                let answer = ask(&server, &get_request(path, "")).await;
                assert!(answer.starts_with(&format!("HTTP/1.1 {code}")), "{state} {path}\n{answer}");
            }
        }
    }

    #[tokio::test]
    async fn a_foreign_host_and_a_wrong_token_learn_nothing() {
        let open = start(None).await;
        for (host, code) in [
            ("localhost", 200),
            ("127.0.0.1:9187", 200),
            ("[::1]:9187", 200),
            ("metrics.example:9187", 200),
            ("evil.example", 421),
            ("localhost.evil.example", 421),
            ("127.0.0.1.evil.example", 421),
        ] {
            let answer = ask(&open, &get_request("/status", "").replace("localhost", host)).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {code}")), "{host}\n{answer}");
            assert_eq!(answer.contains("streaming"), code == 200, "{host}");
        }
        let closed = start(Some("planted-secret")).await;
        for (given, code) in [
            ("", 401),
            ("Authorization: Bearer planted-secre\r\n", 401),
            ("Authorization: Bearer planted-secret2\r\n", 401),
            ("Authorization: Bearer planted-secretplanted-secret\r\n", 401),
            ("Authorization: Bearer \r\n", 401),
            ("Authorization: Basic planted-secret\r\n", 401),
            ("Authorization: Bearer planted-secret\r\n", 200),
            ("authorization: bearer planted-secret\r\n", 200),
        ] {
            for path in ["/metrics", "/status", "/healthz", "/"] {
                let answer = ask(&closed, &get_request(path, given)).await;
                assert!(answer.starts_with(&format!("HTTP/1.1 {code}")), "{given}{path}\n{answer}");
                assert!(!answer.contains("planted"), "{answer}");
            }
        }
    }

    #[tokio::test]
    async fn a_head_that_is_too_large_is_refused() {
        let server = start(None).await;
        let answer = ask(&server, &get_request("/", &format!("X: {}\r\n", "x".repeat(HEAD_BYTES_MAX)))).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
}
