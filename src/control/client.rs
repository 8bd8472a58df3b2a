//! A command's end of the control socket.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::{ANSWER_BYTES_MAX, ANSWER_TIMEOUT, Answer, Request};

/// The daemon is on this machine: a connection that is not there at once is not coming.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No socket, or nobody behind it.
    #[error("no daemon runs here")]
    NoDaemon,
    #[error("control socket: {operation}: {reason}")]
    Broken { operation: &'static str, reason: String },
}

/// Asks the daemon behind the socket at `path`.
pub async fn ask(path: &Path, request: &Request) -> Result<Answer, Error> {
    let broken = |operation: &'static str| {
        move |error: io::Error| Error::Broken { operation, reason: error.to_string() }
    };
    let late = |operation: &'static str| {
        move |_| Error::Broken { operation, reason: "no answer in time".to_owned() }
    };
    let connected = timeout(CONNECT_TIMEOUT, UnixStream::connect(path)).await.map_err(late("connect"))?;
    let mut stream = connected.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Error::NoDaemon,
        _ => Error::Broken { operation: "connect", reason: error.to_string() },
    })?;
    let mut line = serde_json::to_vec(request).map_err(|error| broken("write")(error.into()))?;
    line.push(b'\n');
    stream.write_all(&line).await.map_err(broken("write"))?;
    let mut answer = Vec::new();
    let mut reading = stream.take(ANSWER_BYTES_MAX);
    // A little longer than the daemon gives itself, so that its own words arrive.
    timeout(ANSWER_TIMEOUT + CONNECT_TIMEOUT, reading.read_to_end(&mut answer))
        .await
        .map_err(late("read"))?
        .map_err(broken("read"))?;
    if answer.is_empty() {
        return Err(Error::Broken {
            operation: "read",
            reason: "closed without an answer; it may be busy".to_owned(),
        });
    }
    serde_json::from_slice(&answer).map_err(|error| broken("understand")(error.into()))
}
