//! What the loops tell whoever watches. The loops know nothing of metrics.

use std::time::Duration;

use crate::model::{EntryNo, Lsn};

/// Called from the loops as things happen; must not block. Every method may be left out.
pub trait Observer: Send + Sync + 'static {
    /// Bytes and messages that came from the source.
    fn received(&self, _messages: u64, _bytes: u64, _position: Lsn) {}
    /// A group of entries is on disk; it took this long.
    fn journaled(&self, _entries: u64, _bytes: u64, _sync: Duration, _position: Lsn) {}
    /// The position in a status message to the server.
    fn confirmed(&self, _position: Lsn) {}
    /// A batch of the store was committed.
    fn applied(&self, _entry: EntryNo, _rows: u64, _took: Duration) {}
    /// Documents were assembled in this time; how many bytes.
    fn assembled(&self, _documents: u64, _bytes: u64, _took: Duration) {}
    /// A bulk request was answered: documents by outcome.
    fn delivered(&self, _delivered: Delivered) {}
    /// From a commit on the server's clock (corrected) to the sink's acknowledgement.
    fn commit_to_acknowledged(&self, _lag: Duration) {}
    /// Something is tried again: `room` is source, sink, store or journal.
    fn retried(&self, _room: &'static str, _reason: &str) {}
    /// A replication connection began.
    fn connected(&self) {}
    /// It ended.
    fn disconnected(&self) {}
    /// Backfill: rows read of this table so far, and an estimate of all.
    fn backfilled(&self, _table: &str, _rows: u64, _estimate: u64) {}
}

/// One answered bulk request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    pub indexed: u64,
    pub deleted: u64,
    /// The sink had our own earlier write already.
    pub repeated: u64,
    pub retried: u64,
    pub rejected: u64,
    pub bytes: u64,
    pub took: Duration,
}

/// Watches nothing.
#[derive(Debug, Default)]
pub struct Nobody;

impl Observer for Nobody {}
