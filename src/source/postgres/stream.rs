//! The replication stream: events in, confirmed positions out.
//!
//! Two tasks share the connection. `reader` cuts what arrives into events and waits when nobody takes them:
//! not reading is the only back-pressure there is. `status` tells the server our position, whatever becomes
//! of the events, because a client that is silent for `wal_sender_timeout` is cut off (hazard 21). `queue`
//! stands between the reader and whoever takes the events, bounded by groups and by bytes.
//!
//! Nothing is confirmed before [`Confirmer::confirm`] is called for the first time: until then the server is
//! told position zero, which moves no slot, so that the gate can read the slot once more (rule 7).
//!
//! Not here: what may be confirmed (ingest), whether the slot is the right one (the gate).

mod queue;
mod reader;
mod status;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;
use tokio::io::{AsyncWriteExt, WriteHalf, split};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::connection::{Connection, unexpected};
use super::inbox::Answer;
use super::refusal::Refusal;
use super::socket::Duplex;
use super::sql::identifier;
use super::{Error, Sql};
use crate::model::Lsn;
pub use queue::{Events, QUEUE_BYTES_MAX, QUEUE_GROUPS_MAX};

/// How long the server may take to begin streaming.
const START_WAIT_MAX: Duration = Duration::from_secs(60);

/// How long [`Stream::close`] waits for the server's goodbye.
const CLOSE_WAIT_MAX: Duration = Duration::from_secs(2);

/// Sees the position in every status message, before it is sent (G4). Zero: nothing confirmed yet.
pub type StatusHook = Arc<dyn Fn(Lsn) + Send + Sync>;

/// How to stream.
#[derive(Clone)]
pub struct Options {
    /// How often a status is sent when nothing else asks for one. A third of the server's
    /// `wal_sender_timeout` is taken instead where that is less.
    pub status_interval: Duration,
    pub on_status: Option<StatusHook>,
}

impl From<&super::Options> for Options {
    fn from(options: &super::Options) -> Options {
        Options { status_interval: options.status_interval, on_status: None }
    }
}

/// A running stream. Dropping it ends both tasks and closes the connection without a goodbye.
pub struct Stream {
    /// What arrives; at the end of the connection exactly one [`crate::source::Event::Lost`], then nothing.
    /// [`crate::source::Event::Connected`] is never among them.
    pub events: Events,
    shared: Arc<Shared>,
    reader: JoinHandle<()>,
    status: JoinHandle<Option<Speaker>>,
}

/// Begins to stream a publication from a slot. `from` is a wish that the server follows only ahead of the
/// slot's own position (hazard 12), so the gate must have compared the two.
///
/// # Errors
/// Retry while the slot is active for someone else or on a lost connection; Server with its SQLSTATE when
/// the slot is missing (42704) or lost (55000).
pub async fn start(
    mut connection: Connection,
    slot: &str,
    publication: &str,
    from: Lsn,
    mut options: Options,
) -> Result<Stream, Error> {
    const OPERATION: &str = "start replication";
    if let Some(third) = server_timeout(&mut connection).await?.map(|timeout| timeout / 3) {
        options.status_interval = options.status_interval.min(third);
    }
    options.status_interval = options.status_interval.max(status::INTERVAL_MIN);
    let command = command(slot, publication, from);
    timeout(START_WAIT_MAX, begin(OPERATION, &mut connection, &command)).await.unwrap_or_else(|_| {
        Err(Error::Retry { operation: OPERATION, reason: format!("no answer within {START_WAIT_MAX:?}") })
    })?;

    let (phase, _) = watch::channel(Phase::Streaming);
    let shared = Arc::new(Shared {
        confirmed: AtomicU64::new(0),
        received: AtomicU64::new(from.0),
        moved: Notify::new(),
        asked: Notify::new(),
        phase,
    });
    let (failed, failure) = oneshot::channel();
    let (queue, events) = queue::new(shared.clone());
    let (read_half, write_half) = split(connection.socket);
    let status = tokio::spawn(status::run(write_half, shared.clone(), options, failed));
    let reader = tokio::spawn(reader::run(read_half, connection.inbox, shared.clone(), queue, failure));
    Ok(Stream { events, shared, reader, status })
}

/// The server's `wal_sender_timeout`; nothing when it has none.
async fn server_timeout(connection: &mut Connection) -> Result<Option<Duration>, Error> {
    let sql = "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout'";
    let rows = connection.rows("read wal_sender_timeout", sql).await?;
    let setting = rows.first().and_then(|row| row.first()?.as_ref()?.parse().ok());
    Ok(setting.filter(|milliseconds| *milliseconds > 0).map(Duration::from_millis))
}

/// In the grammar of replication commands a literal has no other escape than the doubled quote, and the
/// publication's name is an identifier inside a literal.
fn command(slot: &str, publication: &str, from: Lsn) -> String {
    format!(
        "START_REPLICATION SLOT {} LOGICAL {from} (proto_version '1', publication_names '{}', messages 'true')",
        identifier(slot),
        identifier(publication).replace('\'', "''"),
    )
}

async fn begin(operation: &'static str, connection: &mut Connection, command: &str) -> Result<(), Error> {
    let mut out = BytesMut::new();
    frontend::query(command, &mut out)
        .map_err(|error| Error::Protocol { operation, reason: error.to_string() })?;
    connection.send(operation, &out).await?;
    match connection.answer(operation).await? {
        Answer::CopyBoth => Ok(()),
        Answer::Other(Message::ErrorResponse(body)) => {
            Err(Refusal::from_fields(body.fields()).at_statement(operation))
        }
        _ => Err(unexpected(operation)),
    }
}

impl Stream {
    /// See [`Confirmer::confirm`].
    pub fn confirm(&self, position: Lsn) {
        self.confirmer().confirm(position);
    }

    /// A way to confirm for whoever does not hold the stream.
    pub fn confirmer(&self) -> Confirmer {
        Confirmer { shared: self.shared.clone() }
    }

    /// Tells the server the confirmed position once more, says goodbye, and waits a little for its answer,
    /// so that the slot is free when this returns. Events that nobody took are dropped.
    pub async fn close(mut self) {
        self.shared.enter(Phase::Closing);
        self.events.close();
        let goodbye = async {
            let Ok(Some(mut socket)) = (&mut self.status).await else { return };
            let _ = (&mut self.reader).await;
            let mut out = BytesMut::new();
            frontend::terminate(&mut out);
            // The other side is through with us; what fails now is nobody's loss.
            let _ = socket.write_all(&out).await;
            let _ = socket.shutdown().await;
        };
        let _ = timeout(CLOSE_WAIT_MAX, goodbye).await;
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.reader.abort();
        self.status.abort();
    }
}

/// Says which position is on disk.
#[derive(Clone)]
pub struct Confirmer {
    shared: Arc<Shared>,
}

impl Confirmer {
    /// Everything before `position` is fsynced: the server may forget it. Sent within 100 ms, and with every
    /// status from now on. A position behind the confirmed one changes nothing: it never goes back.
    ///
    /// # Panics
    /// When `position` was never received: the slot would move over changes that nobody saw (G4, hazard 13).
    /// That is a mistake of ours, and worse than any stop.
    pub fn confirm(&self, position: Lsn) {
        let received = self.shared.received();
        assert!(position <= received, "confirming {position} although only {received} was received");
        let before = self.shared.confirmed.fetch_max(position.0, Ordering::AcqRel);
        if before < position.0 {
            self.shared.moved.notify_one();
        }
    }

    /// What the next status will say.
    pub fn confirmed(&self) -> Lsn {
        self.shared.confirmed()
    }
}

/// The half of the connection that we speak through.
type Speaker = WriteHalf<Box<dyn Duplex>>;

/// What the tasks and the stream's owner have in common.
struct Shared {
    /// Zero until the first confirmation.
    confirmed: AtomicU64,
    /// The furthest position among the events that were taken out of the queue; `from` before the first.
    received: AtomicU64,
    /// `confirmed` has grown.
    moved: Notify,
    /// The server wants a status.
    asked: Notify,
    phase: watch::Sender<Phase>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Streaming,
    /// We say goodbye.
    Closing,
    /// The connection is gone.
    Ended,
}

impl Shared {
    fn confirmed(&self) -> Lsn {
        Lsn(self.confirmed.load(Ordering::Acquire))
    }

    fn received(&self) -> Lsn {
        Lsn(self.received.load(Ordering::Acquire))
    }

    fn receive(&self, position: Lsn) {
        self.received.fetch_max(position.0, Ordering::AcqRel);
    }

    /// Waits for a phase, or for one behind it.
    async fn reached(&self, phase: Phase) {
        // The sender lives in `self`, so this cannot end otherwise.
        let _ = self.phase.subscribe().wait_for(|now| *now >= phase).await;
    }

    /// Never back to an earlier phase.
    fn enter(&self, next: Phase) {
        self.phase.send_if_modified(|phase| {
            let later = *phase < next;
            *phase = next.max(*phase);
            later
        });
    }
}

#[cfg(test)]
#[path = "stream/tests.rs"]
mod tests;
