//! What the stream says: the messages of pgoutput, protocol version 1 (PostgreSQL docs, "Logical
//! Replication Message Formats"), borrowed from the bytes they came in.

use std::fmt;

use super::tuple::Tuple;
use crate::model::{Lsn, Relation};

/// One message. Times are the server's clock: microseconds since 2000-01-01 UTC.
#[derive(Clone, PartialEq, Eq)]
pub enum Message<'a> {
    /// A transaction begins; all of it follows, and it did commit.
    Begin {
        /// Where its commit record begins: the `commit` of its [`Message::Commit`].
        final_lsn: Lsn,
        time_us: i64,
        xid: u32,
    },
    /// It ends. `end` is the position to confirm and to start from, never `commit` (hazard 16).
    Commit {
        flags: u8,
        commit: Lsn,
        end: Lsn,
        time_us: i64,
    },
    /// The transaction was replicated into the server from somewhere else. A name in any encoding.
    Origin {
        commit: Lsn,
        name: &'a [u8],
    },
    /// The layout of a table's rows from here on.
    Relation(Relation),
    /// The name of a type that is not built in, before the relation that uses it.
    Type {
        oid: u32,
        schema: &'a str,
        name: &'a str,
    },
    Insert {
        oid: u32,
        new: Tuple<'a>,
    },
    Update {
        oid: u32,
        /// Present when the key changed, or always under REPLICA IDENTITY FULL.
        old: Option<(OldKind, Tuple<'a>)>,
        new: Tuple<'a>,
    },
    Delete {
        oid: u32,
        kind: OldKind,
        old: Tuple<'a>,
    },
    Truncate {
        oids: Oids<'a>,
        cascade: bool,
        restart: bool,
    },
    /// `pg_logical_emit_message`. Anyone may have written it, so the prefix may be in any encoding.
    Logical {
        transactional: bool,
        /// Of the message's own record: no commit's position (hazard 19).
        lsn: Lsn,
        prefix: &'a [u8],
        content: &'a [u8],
    },
}

impl Message<'_> {
    /// The message's name in PostgreSQL's documentation.
    pub fn name(&self) -> &'static str {
        match self {
            Message::Begin { .. } => "Begin",
            Message::Commit { .. } => "Commit",
            Message::Origin { .. } => "Origin",
            Message::Relation(_) => "Relation",
            Message::Type { .. } => "Type",
            Message::Insert { .. } => "Insert",
            Message::Update { .. } => "Update",
            Message::Delete { .. } => "Delete",
            Message::Truncate { .. } => "Truncate",
            Message::Logical { .. } => "Message",
        }
    }
}

/// The name alone: values, and what anyone wrote into a logical message, are nobody's business in a log.
impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What an old tuple holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OldKind {
    /// The columns of the replica identity; the others are NULL and mean nothing.
    Key,
    /// The whole old row.
    Full,
}

/// The tables of a TRUNCATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Oids<'a> {
    pub(super) oids: &'a [[u8; 4]],
}

impl<'a> Oids<'a> {
    pub fn iter(&self) -> impl ExactSizeIterator<Item = u32> + 'a {
        self.oids.iter().map(|oid| u32::from_be_bytes(*oid))
    }
}
