//! What an entry says. The journal itself moves bytes; this is where they get their meaning.
//!
//! Transactions are raw replication messages, each behind its length; everything else is JSON, rare and
//! small, except that a chunk's rows follow its JSON head as they came.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::{Catalog, EntryNo, Generation, Lsn, TableId, Trace};

/// The kind of an entry, one byte on disk. Numbers are never used again for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A replication connection began: the relation cache is empty from here (rule 6).
    Connected = 1,
    /// Catalog facts and definitions in force from here (rule 8).
    Facts = 2,
    /// A slot is about to be created (rule 3).
    Intent = 3,
    /// Everything up to a position was seen and held nothing for us (rule 3).
    Position = 4,
    /// Messages of a transaction that is not over yet (rule 5).
    TransactionPart = 5,
    /// A committed transaction: its (last) messages and its commit. Only such a number is ever a version.
    Transaction = 6,
    /// The marker L of a backfill came back: this entry's number is L (rules 13, 14).
    BackfillBegin = 7,
    /// Rows of a backfill, where their marker came back (rule 11).
    Chunk = 8,
    /// Every chunk of these tables is in the journal: sweep, then they are complete (rules 14, 17).
    BackfillEnd = 9,
    /// An operator's order, resolved to what it means before it was journaled (rule 10).
    Command = 10,
    /// A new slot after a gap: positions begin anew at this one, and every table is read again.
    Rebuild = 11,
}

impl Kind {
    pub fn from_byte(byte: u8) -> Option<Kind> {
        Some(match byte {
            1 => Kind::Connected,
            2 => Kind::Facts,
            3 => Kind::Intent,
            4 => Kind::Position,
            5 => Kind::TransactionPart,
            6 => Kind::Transaction,
            7 => Kind::BackfillBegin,
            8 => Kind::Chunk,
            9 => Kind::BackfillEnd,
            10 => Kind::Command,
            11 => Kind::Rebuild,
            _ => return None,
        })
    }

    /// As the `journal` command and the metrics name it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Connected => "connected",
            Kind::Facts => "facts",
            Kind::Intent => "intent",
            Kind::Position => "position",
            Kind::TransactionPart => "transaction_part",
            Kind::Transaction => "transaction",
            Kind::BackfillBegin => "backfill_begin",
            Kind::Chunk => "chunk",
            Kind::BackfillEnd => "backfill_end",
            Kind::Command => "command",
            Kind::Rebuild => "rebuild",
        }
    }
}

/// An entry as it is read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub number: EntryNo,
    pub kind: Kind,
    pub payload: Bytes,
}

/// The payload of an entry makes no sense although its checksum holds: written by another program.
#[derive(Debug, Clone, thiserror::Error)]
#[error("a {kind} entry cannot be read: {reason}")]
pub struct InvalidEntry {
    pub kind: &'static str,
    pub reason: String,
}

/// Head of a [`Kind::Transaction`] entry: 40 bytes, little-endian, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Where the commit record begins.
    pub commit: Lsn,
    /// Where the transaction ends: the position to confirm and to start from (hazard 16).
    pub end: Lsn,
    /// Commit time by the server's clock, microseconds since 2000-01-01 UTC.
    pub time_us: i64,
    pub xid: u32,
    /// Row messages in this transaction, all parts together.
    pub rows: u32,
    /// The first entry of this transaction: the first part, or this entry itself.
    pub first: EntryNo,
}

impl Commit {
    pub const SIZE_BYTES: usize = 40;

    pub fn encode(&self) -> [u8; Self::SIZE_BYTES] {
        let mut bytes = [0; Self::SIZE_BYTES];
        bytes[0..8].copy_from_slice(&self.commit.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.end.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.time_us.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.xid.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.rows.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.first.0.to_le_bytes());
        bytes
    }

    /// Splits a Transaction entry's payload into its commit and its messages.
    pub fn decode(payload: &[u8]) -> Result<(Commit, &[u8]), InvalidEntry> {
        let (head, messages) = payload.split_first_chunk::<{ Self::SIZE_BYTES }>().ok_or(InvalidEntry {
            kind: Kind::Transaction.name(),
            reason: format!("{} bytes are too few", payload.len()),
        })?;
        let eight = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&head[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        let commit = Commit {
            commit: Lsn(eight(0)),
            end: Lsn(eight(8)),
            time_us: eight(16) as i64,
            xid: eight(24) as u32,
            rows: (eight(24) >> 32) as u32,
            first: EntryNo(eight(32)),
        };
        Ok((commit, messages))
    }
}

/// Appends one replication message to the payload of a transaction entry.
pub fn put_message(payload: &mut Vec<u8>, message: &[u8]) {
    payload.extend_from_slice(&(message.len() as u32).to_le_bytes());
    payload.extend_from_slice(message);
}

/// Walks the replication messages of a transaction entry; ends at the first one that is cut short.
pub fn messages(mut payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = payload.split_first_chunk::<4>()?;
        let (message, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        payload = rest;
        Some(message)
    })
}

/// One projection in force: its file as it was read, and the index generation that it feeds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    pub name: String,
    /// The text of the projection file.
    pub source: String,
    pub generation: Generation,
    /// The concrete index of this generation.
    pub index: String,
}

/// Payload of [`Kind::Facts`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    pub catalog: Catalog,
    pub definitions: Vec<Definition>,
    /// [`crate::projection::ASSEMBLER`]: a program that assembles differently makes new generations.
    pub assembler: u32,
    /// Of every relation of the catalog, as it was found together with it. None in older journals.
    #[serde(default)]
    pub traces: Vec<Trace>,
}

/// Payload of [`Kind::Intent`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    pub slot: String,
    /// The server on which it is made; empty in journals that did not say.
    #[serde(default)]
    pub system_identifier: String,
    #[serde(default)]
    pub timeline: u32,
}

/// Payload of [`Kind::Position`] and of [`Kind::Rebuild`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub lsn: Lsn,
}

/// What a backfill is to read, and what its end completes: one plain table or one leaf each.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Unit {
    pub table: TableId,
    pub oid: u32,
}

/// Payload of [`Kind::BackfillBegin`] and of [`Kind::BackfillEnd`], which names the begin's number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backfill {
    /// In an end: the number of its begin entry. Zero in a begin.
    pub begin: EntryNo,
    pub units: Vec<Unit>,
    /// Only incomplete rows are read again: nothing is closed, nothing swept (rule 16).
    pub keys_only: bool,
    /// In a begin: the marker's own transaction id, with its epoch. None in older journals. Transactions with an
    /// older id are waited for before anything is read, but may have begun before their tables were published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<u64>,
}

/// Payload of [`Kind::Command`]: what to dirty (rule 10: already resolved).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Every document of this generation.
    Whole { generation: Generation },
    /// The index of this generation was found empty: every document, and the alias again.
    Anew { generation: Generation },
    /// These tables are to be read again from the source, from a new L.
    ReadAgain { units: Vec<Unit> },
    /// These documents, by the root row's encoded key in hexadecimal.
    Documents { generation: Generation, keys: Vec<String> },
}
