//! The daemon's end of the control socket.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{ANSWER_TIMEOUT, Answer, CONNECTIONS_MAX, Handler, REQUEST_BYTES_MAX, REQUEST_TIMEOUT, Request};
use crate::shutdown::Stop;

/// A bound socket. Its file goes away with it.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
}

impl Listener {
    /// Binds the socket, for its owner only. A file that a daemon left behind is replaced; a daemon that
    /// answers is not. Needs a tokio runtime.
    pub fn bind(path: &Path) -> io::Result<Listener> {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another daemon answers on this socket"));
        }
        // Bound under another name and moved into place: the name never leads to a socket that is still
        // open to everyone, and the stale one disappears in the same step.
        let fresh = path.with_extension("new");
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixListener::bind(&fresh)?;
        fs::set_permissions(&fresh, Permissions::from_mode(0o600))?;
        fs::rename(&fresh, path)?;
        Ok(Listener { socket, path: path.to_owned() })
    }

    /// Answers until the stop is asked for.
    pub async fn serve(self, handler: Arc<dyn Handler>, mut stop: Stop) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let accepted = tokio::select! {
                () = stop.asked() => return,
                accepted = self.socket.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "control socket: accept");
                    // Out of file descriptors, most likely: let others finish.
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    continue;
                }
            };
            // Beyond the limit the connection is closed unheard.
            let Ok(place) = places.clone().try_acquire_owned() else { continue };
            let handler = handler.clone();
            tokio::spawn(async move {
                if let Err(error) = answer_one(stream, handler.as_ref()).await {
                    tracing::debug!(%error, "control socket: connection");
                }
                drop(place);
            });
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // A file that stays is recognised as stale by the next start.
        let _ = fs::remove_file(&self.path);
    }
}

async fn answer_one(stream: UnixStream, handler: &dyn Handler) -> io::Result<()> {
    let (reading, mut writing) = stream.into_split();
    let mut line = Vec::new();
    let mut reading = BufReader::new(reading.take(REQUEST_BYTES_MAX + 1));
    let answer = match timeout(REQUEST_TIMEOUT, reading.read_until(b'\n', &mut line)).await {
        Err(_) => refused("request-timeout", "the request did not come in time".to_owned()),
        Ok(Err(error)) => return Err(error),
        Ok(Ok(0)) => return Ok(()),
        Ok(Ok(bytes)) if bytes as u64 > REQUEST_BYTES_MAX => {
            refused("request-too-large", format!("the request is larger than {REQUEST_BYTES_MAX} bytes"))
        }
        Ok(Ok(_)) => match serde_json::from_slice::<Request>(&line) {
            Err(error) => refused("bad-request", format!("the request is not understood: {error}")),
            Ok(request) => match timeout(ANSWER_TIMEOUT, handler.handle(request)).await {
                Ok(answer) => answer,
                Err(_) => refused("answer-timeout", "the daemon took too long".to_owned()),
            },
        },
    };
    let mut line = serde_json::to_vec(&answer).map_err(io::Error::other)?;
    line.push(b'\n');
    timeout(REQUEST_TIMEOUT, writing.write_all(&line)).await??;
    writing.shutdown().await
}

fn refused(code: &str, message: String) -> Answer {
    Answer::Refused {
        code: code.to_owned(),
        message,
        hint: "command and daemon should be of the same version".to_owned(),
    }
}
