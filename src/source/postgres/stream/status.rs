//! The task that tells the server where we are, whatever becomes of the events (hazard 21).

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use postgres_protocol::message::frontend::{self, CopyData};
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use super::{Options, Phase, Shared, Speaker};
use crate::model::Lsn;
use crate::pgoutput::frame;

/// A confirmed position goes out after at most this long, together with those that came meanwhile.
const COALESCE: Duration = Duration::from_millis(100);

/// A server that waits for us to confirm asks again as soon as it is answered. It is answered at once, but
/// with the same position at most this often.
const ANSWER_GAP: Duration = Duration::from_millis(10);

/// Statuses that nobody asked for are never closer together than this.
pub(super) const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// How long the server may refuse to take a status.
const WRITE_WAIT_MAX: Duration = Duration::from_secs(60);

/// Seconds from 1970 to 2000, where PostgreSQL's clock begins.
const POSTGRES_EPOCH_SECONDS: u64 = 946_684_800;

/// Runs until the connection ends, or until we close: then the socket is given back for the goodbye.
pub(super) async fn run(
    mut socket: Speaker,
    shared: Arc<Shared>,
    options: Options,
    failed: oneshot::Sender<String>,
) -> Option<Speaker> {
    // A status that is on its way when the connection ends must not keep the socket open.
    let outcome = tokio::select! {
        outcome = speak(&mut socket, &shared, &options) => outcome,
        () = shared.reached(Phase::Ended) => return None,
    };
    match outcome {
        Ok(()) => Some(socket),
        Err(error) => {
            // Nobody to tell: then the reader has ended for a reason of its own.
            let _ = failed.send(format!("sending our position: {error}"));
            None
        }
    }
}

/// Sends a status now, whenever one is due, and a last one with the goodbye.
async fn speak(socket: &mut Speaker, shared: &Shared, options: &Options) -> io::Result<()> {
    let mut due = Instant::now();
    let mut sent = (Lsn::ZERO, due);
    loop {
        tokio::select! {
            biased;
            () = shared.reached(Phase::Closing) => {
                return say(socket, shared, options, true).await.map(drop);
            }
            () = sleep_until(due) => {
                sent = (say(socket, shared, options, false).await?, Instant::now());
                due = sent.1 + options.status_interval;
            }
            () = shared.asked.notified() => {
                let gap = if sent.0 == shared.confirmed() { ANSWER_GAP } else { Duration::ZERO };
                due = due.min(sent.1 + gap);
            }
            () = shared.moved.notified() => {
                // What an answer has carried meanwhile need not be sent again.
                if sent.0 < shared.confirmed() {
                    due = due.min(sent.1 + COALESCE);
                }
            }
        }
    }
}

/// Writes one status and returns the position in it.
async fn say(socket: &mut Speaker, shared: &Shared, options: &Options, goodbye: bool) -> io::Result<Lsn> {
    let position = shared.confirmed();
    if let Some(hook) = &options.on_status {
        hook(position);
    }
    let mut out = BytesMut::new();
    CopyData::new(&frame::status(position, now_us())[..])?.write(&mut out);
    if goodbye {
        frontend::copy_done(&mut out);
    }
    let written = timeout(WRITE_WAIT_MAX, async {
        socket.write_all(&out).await?;
        socket.flush().await
    });
    written.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    Ok(position)
}

/// Our wall clock as PostgreSQL counts. The server only shows it.
fn now_us() -> i64 {
    let epoch = UNIX_EPOCH + Duration::from_secs(POSTGRES_EPOCH_SECONDS);
    SystemTime::now().duration_since(epoch).map_or(0, |since| since.as_micros() as i64)
}
