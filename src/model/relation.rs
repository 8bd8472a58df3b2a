//! The layout of a table's rows as the stream announces it.

use serde::{Deserialize, Serialize};

/// What identifies a row in UPDATE and DELETE (PostgreSQL docs, `pg_class.relreplident`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplicaIdentity {
    /// The primary key.
    Default,
    /// No identity: UPDATE and DELETE of a published table fail.
    Nothing,
    /// The whole old row.
    Full,
    /// The columns of a chosen unique index.
    Index,
}

/// A Relation message (PostgreSQL docs, "Logical Replication Message Formats"): in force from where it
/// stands in the stream until the next one of the same oid, or until the connection ends (rule 6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relation {
    /// The oid of the table, or of the leaf when the table is partitioned.
    pub oid: u32,
    pub schema: String,
    pub name: String,
    pub identity: ReplicaIdentity,
    /// In the order of the tuples' cells.
    pub columns: Vec<RelationColumn>,
}

/// One column of a [`Relation`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelationColumn {
    pub name: String,
    pub type_oid: u32,
    /// `pg_attribute.atttypmod`; -1 when the type has none.
    pub type_modifier: i32,
    /// Part of the replica identity.
    pub key: bool,
}
