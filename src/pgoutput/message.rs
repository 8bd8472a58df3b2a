//! The messages of pgoutput, protocol version 1 (PostgreSQL docs, "Logical Replication Message Formats").

use super::decoder::Tuple;
use crate::model::{Lsn, Relation};

/// Which part of the old row an UPDATE or DELETE carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldKind {
    /// The columns of the replica identity; the others are NULL.
    Key,
    /// The whole row: REPLICA IDENTITY FULL.
    Full,
}

/// One message, borrowed from its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// `final_lsn` is where the commit record begins.
    Begin {
        final_lsn: Lsn,
        time_us: i64,
        xid: u32,
    },
    /// `end` is where the transaction ends: the position to go on from.
    Commit {
        commit: Lsn,
        end: Lsn,
        time_us: i64,
    },
    Origin {
        lsn: Lsn,
    },
    Relation(Relation),
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
        old: Option<(OldKind, Tuple<'a>)>,
        new: Tuple<'a>,
    },
    Delete {
        oid: u32,
        kind: OldKind,
        old: Tuple<'a>,
    },
    Truncate {
        oids: Vec<u32>,
        cascade: bool,
        restart_identity: bool,
    },
    /// `pg_logical_emit_message`.
    Logical {
        transactional: bool,
        lsn: Lsn,
        prefix: &'a str,
        content: &'a [u8],
    },
}
