//! What must be known about tables to fold the journal: journaled facts, never asked of a live catalog
//! by apply (rule 8).

use serde::{Deserialize, Serialize};

use super::relation::ReplicaIdentity;

/// Our own small number for a table, stable for the life of a journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TableId(pub u16);

/// All the tables that the projections use, as they were when this was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    pub tables: Vec<Table>,
}

/// One table; a partitioned one with all its leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    pub id: TableId,
    /// Identity of the table in the source; a name may come to mean another oid (hazard 32).
    pub oid: u32,
    pub schema: String,
    pub name: String,
    pub identity: ReplicaIdentity,
    /// The leaves of a partitioned table; empty for a plain one, whose rows come under its own oid.
    pub leaves: Vec<Leaf>,
    /// In the order of attnum; dropped columns are absent.
    pub columns: Vec<Column>,
    /// The columns that identify a row in the stream (primary key, or the replica identity index), in
    /// the order of that index.
    pub key: Vec<String>,
    /// The primary key's columns in its order; may differ from `key` under REPLICA IDENTITY USING INDEX.
    pub primary_key: Vec<String>,
    pub foreign_keys: Vec<ForeignKey>,
    /// Column sets of valid, immediate, not partial unique indexes (the primary key among them). A
    /// to-one join may lead only to one of these.
    pub unique_keys: Vec<Vec<String>>,
}

/// One leaf partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaf {
    pub oid: u32,
    pub schema: String,
    pub name: String,
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// `pg_attribute.attnum`: with the name, the column's identity over DDL (hazard 30).
    pub attnum: i16,
    pub name: String,
    pub type_oid: u32,
    pub type_modifier: i32,
    /// As a person would write it: `numeric(12,2)`, `citext`, `order_status`.
    pub type_name: String,
    /// How its text is to be read; domains are already resolved to their base.
    pub kind: ColumnKind,
    pub not_null: bool,
    /// `GENERATED ALWAYS AS … STORED`: not in the stream before PostgreSQL 18 (hazard 35).
    pub generated: bool,
}

/// How a column's text form is to be read, resolved through the catalog and not by the oid (hazard 38).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    Bool,
    /// int2, int4, int8, oid.
    Int,
    /// float4.
    Float4,
    /// float8.
    Float8,
    Numeric,
    /// text, varchar, name, "char", xml and whatever is text in all but name.
    Text,
    /// char(n): blank-padded, trailing blanks do not count in comparisons.
    Bpchar,
    /// citext: equal regardless of case; refused as a join key.
    Citext,
    Date,
    Timestamp,
    Timestamptz,
    Time,
    Timetz,
    Interval,
    Uuid,
    Json,
    Jsonb,
    Bytea,
    Enum,
    Array(Box<ColumnKind>),
    /// Composite, range, extension and any other type: its text form, as it is.
    Other,
}

/// A declared foreign key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignKey {
    pub name: String,
    /// The referring columns, in the order of `references`.
    pub columns: Vec<String>,
    pub foreign_schema: String,
    pub foreign_table: String,
    pub references: Vec<String>,
}

impl Catalog {
    /// By schema and name, exactly.
    pub fn table(&self, schema: &str, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.schema == schema && table.name == name)
    }

    pub fn by_id(&self, id: TableId) -> Option<&Table> {
        self.tables.iter().find(|table| table.id == id)
    }

    /// The table whose rows come under this oid: the plain table itself, or the root of this leaf.
    pub fn by_row_oid(&self, oid: u32) -> Option<&Table> {
        self.tables.iter().find(|table| table.row_oids().any(|row_oid| row_oid == oid))
    }
}

impl Table {
    /// `schema.name`, for people.
    pub fn qualified_name(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// Position and description of a column.
    pub fn column(&self, name: &str) -> Option<(usize, &Column)> {
        self.columns.iter().enumerate().find(|(_, column)| column.name == name)
    }

    /// The oids under which this table's rows come in the stream.
    pub fn row_oids(&self) -> impl Iterator<Item = u32> + '_ {
        let own = self.leaves.is_empty().then_some(self.oid);
        own.into_iter().chain(self.leaves.iter().map(|leaf| leaf.oid))
    }
}
