//! Where changes come from.
//!
//! The types here are what ingest and the backfill are handed; `postgres` is the one source there is. The
//! simulation has another, nastier one.

pub mod postgres;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::{EntryNo, Lsn, TableId};

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
