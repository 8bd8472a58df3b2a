//! How far a table is read, among what the store knows about itself.

use serde::{Deserialize, Serialize};

use crate::model::{EntryNo, TableId};

/// How far one plain table or leaf has been read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitState {
    pub table: TableId,
    pub oid: u32,
    /// L: the BackfillBegin entry (rule 14).
    pub begin: EntryNo,
    /// The transaction that wrote the marker L, see [`crate::journal::entry::Backfill::transaction`].
    #[serde(default)]
    pub transaction: Option<u64>,
    pub complete: bool,
    /// A TRUNCATE since L: everything after it is in the stream (rule 15).
    pub truncated: bool,
    /// The layout changed under the backfill or the stream: read again from a new L (rules 18, 40).
    pub again: bool,
    pub rows: u64,
    pub sequence: u32,
    pub last_key: Option<Vec<String>>,
    /// The chunk that ends it was applied.
    pub read_whole: bool,
    /// Rows stood here before L, so that a sweep is due at the end.
    pub had_rows: bool,
}

impl UnitState {
    /// One that nobody has begun to read.
    pub fn unread(table: TableId, oid: u32) -> UnitState {
        UnitState {
            table,
            oid,
            begin: EntryNo::ZERO,
            transaction: None,
            complete: false,
            truncated: false,
            again: false,
            rows: 0,
            sequence: 0,
            last_key: None,
            read_whole: false,
            had_rows: false,
        }
    }

    /// Whether a transaction began before the marker L of the reading that goes on. Ids wrap around
    /// (PostgreSQL docs, "Transactions and Identifiers").
    pub fn is_early(&self, xid: u32) -> bool {
        let marker = self.transaction.filter(|_| !self.complete && self.begin != EntryNo::ZERO);
        marker.is_some_and(|marker| (xid.wrapping_sub(marker as u32) as i32) < 0)
    }
}
