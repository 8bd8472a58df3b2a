//! Where changes come from.
//!
//! The types here are what ingest and the backfill are handed; `postgres` is the one source there is. The
//! simulation has another, nastier one.

pub mod postgres;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use self::postgres::Error;
use crate::model::{Catalog, EntryNo, Lsn, Table, TableId, Trace};

/// The future that a source's call returns; boxed, so that a source can be handed in as an object.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// What the gate compares the server with (rules 3, 7, 41).
#[derive(Clone, Debug, Default)]
pub struct Resume {
    /// Where the journal ends; nothing before a slot was ever made.
    pub end_lsn: Option<Lsn>,
    /// What the last connection found.
    pub recorded: Option<Identity>,
    /// The server on which our slot was begun, by the Intent entry: before a connection was recorded nothing
    /// else tells it from another one that has a slot of that name.
    pub begun_on: Option<System>,
    /// Tables whose rows we need.
    pub tables: Vec<Table>,
}

/// Streaming has begun.
pub struct Stream {
    pub identity: Identity,
    /// Things worth a person's attention, that stop nothing.
    pub warnings: Vec<String>,
    /// Tables (oids) that joined the publication since the recorded identity, for the first time or again:
    /// they need a backfill.
    pub joined: Vec<u32>,
    pub events: Box<dyn Events>,
    /// Says what may be confirmed: everything up to there is durable.
    pub confirm: Confirm,
}

/// See [`Stream::confirm`].
pub type Confirm = Arc<dyn Fn(Lsn) + Send + Sync>;

/// Groups of events in their order; the last one ends with [`Event::Lost`]. Dropped, the connection is
/// closed at once.
pub trait Events: Send {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Option<Vec<Event>>> + Send + '_>>;
    /// Sends a last status and says goodbye, within a bound.
    fn close(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// The prefix of our marker messages: a backfill writes them with it, ingest knows them by it.
pub const MARKER_PREFIX: &str = "projectord";

/// Tables as the definitions name them, looked up.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub catalog: Catalog,
    /// Names that mean no table, each with the tables that it may have meant.
    pub missing: Vec<(String, Vec<String>)>,
    /// Of every relation found, of the same moment.
    pub traces: Vec<Trace>,
}

/// What the server says of our slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotStatus {
    pub server: Lsn,
    pub confirmed: Option<Lsn>,
    pub retained_bytes: Option<u64>,
    pub wal_status: Option<String>,
}

/// What to read for one chunk.
#[derive(Clone, Debug)]
pub struct ChunkRequest<'a> {
    pub begin: EntryNo,
    pub table: &'a Table,
    /// The table's own oid, or a leaf's.
    pub oid: u32,
    pub sequence: u32,
    pub range: ChunkRange,
    pub rows: u32,
    pub nonce: String,
}

/// A write database. Calls may run side by side; each opens or reuses a connection of its own.
pub trait Source: Send + Sync {
    /// Facts of the tables named (`table` or `schema.table`); ids of known tables are kept.
    fn find<'a>(&'a self, names: &'a [String], known: &'a Catalog) -> Answer<'a, Found>;

    /// The same tables as they are now, by their names; cheap, to be asked again and again (hazard 30).
    /// Nothing from a source whose tables do not change behind the stream's back.
    fn look<'a>(&'a self, _known: &'a Catalog) -> Answer<'a, Option<Found>> {
        Box::pin(async { Ok(None) })
    }

    /// Looks at the publication, creates or extends it when it may (`manage`).
    fn prepare_publication<'a>(&'a self, tables: &'a [Table]) -> Answer<'a, ()>;

    /// Which server answers now.
    fn identify_system(&self) -> Answer<'_, System>;

    /// Creates the slot and returns its consistent point, unless these tables cannot be followed. `orphan`: an
    /// Intent entry says that a slot of that name may be left from an attempt of ours, to be dropped first (rule 3).
    /// `waits` is told whom the creation waits for.
    fn create_slot<'a>(
        &'a self,
        tables: &'a [Table],
        orphan: bool,
        waits: &'a (dyn Fn(String) + Sync),
    ) -> Answer<'a, Lsn>;

    /// Passes the gate on a replication connection and streams from the journal's end over it; looks once
    /// more when the slot is active for us (rules 1, 7).
    fn connect<'a>(&'a self, resume: &'a Resume) -> Answer<'a, Stream>;

    /// Writes a marker into the stream (hazard 19), in a transaction of its own. Returns its id, with its epoch.
    fn emit_marker<'a>(&'a self, nonce: &'a str) -> Answer<'a, u64>;

    /// Waits until every transaction that runs now has ended (rule 12). `waits` is told whom it waits for.
    fn wait_out<'a>(&'a self, waits: &'a (dyn Fn(String) + Sync)) -> Answer<'a, ()>;

    /// Rows that the server's statistics expect.
    fn estimate<'a>(&'a self, oid: u32) -> Answer<'a, u64>;

    /// Reads a chunk and emits its marker in the same session. Returns how long the SELECT took.
    fn read_chunk<'a>(&'a self, request: &'a ChunkRequest<'a>) -> Answer<'a, (HeldChunk, Duration)>;

    /// What the server says of our slot; a refusal when it makes us a synchronous standby (rule 1).
    fn status<'a>(&'a self) -> Answer<'a, SlotStatus>;
}

/// What identifies the place in which a position means something, read by the gate at every connect
/// (rules 7, 41) and written to the journal as a Connected entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// `IDENTIFY_SYSTEM`: systemid, as text because it passes 2^53.
    pub system_identifier: String,
    pub timeline: u32,
    pub database: String,
    pub database_oid: u32,
    pub slot: String,
    pub publication: String,
    pub publication_oid: u32,
    /// `pg_publication_rel`: (table oid, membership oid), sorted; any change is a gap (hazard 33).
    pub membership: Vec<(u32, u32)>,
    /// `server_version_num`, such as 150018.
    pub server_version: u32,
}

/// The history that a position belongs to, by `IDENTIFY_SYSTEM`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct System {
    /// As text because it passes 2^53.
    pub system_identifier: String,
    pub timeline: u32,
}

/// The server at our address is not the one that the journal is of (hazard 17).
pub fn other_system(found: &str, ours: &str) -> Error {
    Error::Refused {
        code: "source-other-system",
        operation: "check the source",
        reason: format!("the server's system identifier is {found}, the journal was written from {ours}"),
        hint: "set source.host to the server of this journal, or begin again: projectord rebuild".to_owned(),
    }
}

/// What comes from the replication connection, in its order.
#[derive(Clone, Debug)]
pub enum Event {
    /// The gate was passed and streaming has begun at the journal's end.
    Connected(Identity),
    /// One pgoutput message (the payload of an XLogData frame), undecoded.
    Message { wal_end: Lsn, payload: Bytes },
    /// `wal_end` is the server's position; with nothing pending it may be confirmed (rules 2, 3).
    Keepalive { wal_end: Lsn, reply_requested: bool },
    /// The connection ended. Held chunks and an open transaction are to be dropped (rules 5, 11).
    Lost { reason: String },
}

/// What a chunk's SELECT is to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChunkRange {
    /// The next rows in key order behind this key (the key columns' texts); from the beginning without one.
    After(Option<Vec<String>>),
    /// Just these keys (rule 16: incomplete rows).
    Keys(Vec<Vec<String>>),
}

/// Rows read by one SELECT, with the marker that was emitted in the same session after it. Ingest holds
/// it until the marker comes back in the stream (rule 11).
#[derive(Clone, Debug)]
pub struct HeldChunk {
    /// The payload of the marker message: unique for ever.
    pub nonce: String,
    pub head: ChunkHead,
    /// COPY text format, line by line, columns as in the head.
    pub rows: Bytes,
}

/// What a chunk is about; journaled in front of its rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkHead {
    /// The BackfillBegin entry that this chunk belongs to: its L (rule 14).
    pub begin: EntryNo,
    pub table: TableId,
    /// The oid that was read: the table's own, or a leaf's.
    pub oid: u32,
    /// Counts up from 0 within one backfill of one oid.
    pub sequence: u32,
    /// The key behind which it begins: that of the chunk before it.
    #[serde(default)]
    pub after: Option<Vec<String>>,
    /// What the SELECT really returned: (attnum, name, type oid) (rule 18).
    pub columns: Vec<(i16, String, u32)>,
    pub rows: u32,
    /// The last row's key; where the next chunk begins.
    pub last_key: Option<Vec<String>>,
    /// Nothing is behind this chunk.
    pub last: bool,
    /// The chunk holds chosen keys and is not part of the sequence.
    pub keys_only: bool,
}
