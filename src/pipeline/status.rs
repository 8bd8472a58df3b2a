//! What the daemon is doing, at one moment, for people and scripts.

use serde::{Deserialize, Serialize};

use crate::model::{EntryNo, Epoch, Generation, Lsn};

/// Answer of `status --json` and of `GET /status`. Fields are added, never renamed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub pid: u32,
    /// `starting`, `backfilling`, `streaming`, `disconnected`, `stopping`, `stopped`.
    pub state: String,
    /// Code and text of what keeps the daemon from going on, if anything.
    pub trouble: Option<String>,
    pub epoch: Epoch,
    pub journal_id: String,
    pub watermarks: Watermarks,
    pub source: SourceStatus,
    pub projections: Vec<ProjectionStatus>,
    pub backfill: Vec<BackfillStatus>,
    pub journal: JournalStatus,
    pub store: StoreStatus,
}

/// `received >= journaled >= applied >= projected`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Watermarks {
    /// The server's own position when it was last asked or last said so.
    pub server: Lsn,
    pub received: Lsn,
    pub journaled: Lsn,
    pub applied: Lsn,
    pub projected: Lsn,
    pub journaled_entry: EntryNo,
    pub applied_entry: EntryNo,
    pub projected_entry: EntryNo,
    /// Bytes of WAL from each to `server`.
    pub lag_bytes: LagBytes,
    /// Seconds, by our own monotonic clock: how long ago what is projected now was received; 0 only when
    /// everything received is projected and the server was heard of recently (rule 39).
    pub lag_seconds: f64,
    /// Seconds since the server was last heard of.
    pub last_contact_seconds: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LagBytes {
    pub received: u64,
    pub journaled: u64,
    pub applied: u64,
    pub projected: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceStatus {
    pub connected: bool,
    pub system_identifier: String,
    pub timeline: u32,
    pub slot: String,
    pub publication: String,
    pub confirmed: Lsn,
    /// WAL that the slot keeps on the server.
    pub retained_bytes: Option<u64>,
    /// `pg_replication_slots.wal_status`.
    pub wal_status: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProjectionStatus {
    pub name: String,
    pub alias: String,
    pub index: String,
    pub generation: Generation,
    /// `waiting` (tables incomplete), `building` (first scan), `live` (behind the alias).
    pub state: String,
    pub projected: Lsn,
    pub points: u64,
    pub scans: u64,
    pub quarantined: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BackfillStatus {
    pub table: String,
    pub rows: u64,
    pub estimate: u64,
    /// `waiting`, `reading`, `complete`.
    pub state: String,
    /// Whom the wait-out waits for.
    pub waits_for: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JournalStatus {
    pub bytes: u64,
    pub segments: u64,
    pub first_entry: EntryNo,
    pub last_entry: EntryNo,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StoreStatus {
    pub bytes: u64,
    pub rows: u64,
    /// INSERTs that found their key taken (rule 19), since the store began.
    #[serde(default)]
    pub inserts_over_rows: u64,
    pub checkpoint_entry: EntryNo,
    pub durable: bool,
}
