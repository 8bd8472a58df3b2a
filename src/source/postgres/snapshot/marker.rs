//! Markers: messages that we write into the WAL and that come back in the stream (hazard 19).

use tokio_postgres::{Client, SimpleQueryMessage};

use super::failure;
use crate::source::HeldChunk;
use crate::source::postgres::Error;
use crate::source::postgres::sql::literal;

pub use crate::source::MARKER_PREFIX as PREFIX;

const EMIT: &str = "emit a marker";

/// Emits a marker with this payload and returns its transaction's id, with its epoch. It stands outside of any
/// transaction of the stream: it comes back as soon as the WAL up to it is on disk. Needs no right but CONNECT, also
/// where transactions are read-only by default.
///
/// The transaction id makes the commit write a record and flush at once, so that the marker arrives within a
/// millisecond and not with the next round of the WAL writer; `local` keeps it from waiting for a standby
/// (rule 20).
pub async fn emit_marker(client: &Client, nonce: &str) -> Result<u64, Error> {
    // Statements sent together are one transaction, and one that fails leaves none open behind it.
    let statement = format!(
        "SET LOCAL synchronous_commit = local;
         SELECT pg_catalog.pg_current_xact_id(), pg_catalog.pg_logical_emit_message(false, '{PREFIX}', {})",
        literal(nonce)
    );
    let answer = client.simple_query(&statement).await.map_err(|error| failure(EMIT, &error))?;
    let id = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).and_then(|id| id.parse().ok()),
        _ => None,
    });
    id.ok_or_else(|| Error::Protocol { operation: EMIT, reason: "no transaction id".to_owned() })
}

/// The marker of a chunk that was read in the same session and is in ingest's hands by now.
#[must_use = "a chunk whose marker never comes is never appended"]
pub struct Marker<'c> {
    client: &'c Client,
    nonce: String,
}

impl<'c> Marker<'c> {
    pub(super) fn new(client: &'c Client, chunk: &HeldChunk) -> Marker<'c> {
        Marker { client, nonce: chunk.nonce.clone() }
    }

    /// Emits it. After an error the chunk must be dropped and read again: nobody knows whether the marker
    /// will come.
    pub async fn emit(self) -> Result<(), Error> {
        emit_marker(self.client, &self.nonce).await.map(|_| ())
    }
}
