//! How a document is put together: the compiled form of a definition's fields.

use std::collections::BTreeSet;

use crate::model::{ColumnKind, KeyClass, TableId};
use crate::projection::compile::Hop;
use crate::projection::plan::Plan;
use crate::projection::predicate::Predicate;
use crate::projection::value::order::Order;
use crate::projection::value::text;

/// How the documents of a plan are put together.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// Condition on the root row.
    pub(in crate::projection) filter: Option<Predicate>,
    pub(in crate::projection) fields: Vec<Member>,
    /// What is read of the rows of each node; position = node.
    pub(in crate::projection) frames: Vec<Frame>,
    /// Of the root's own key.
    pub(in crate::projection) key_classes: Vec<KeyClass>,
    pub(in crate::projection) mapping: serde_json::Value,
    pub(in crate::projection) settings: serde_json::Value,
    pub(in crate::projection) fingerprint: u64,
}

impl Plan {
    /// The index mapping: `{"dynamic": …, "properties": …}`.
    pub fn mapping(&self) -> &serde_json::Value {
        &self.shape.mapping
    }

    /// The index settings of the definition; an object.
    pub fn settings(&self) -> &serde_json::Value {
        &self.shape.settings
    }

    /// Changes when the definition, the facts that it was compiled with, or the assembler say that the
    /// same rows give other documents or another mapping. Stable over restarts.
    pub fn fingerprint(&self) -> u64 {
        self.shape.fingerprint
    }
}

/// What is read of a node's rows.
#[derive(Clone, Debug)]
pub struct Frame {
    pub table: TableId,
    /// The columns that the document depends on, exactly.
    pub used: Vec<usize>,
    /// Columns from here on are not looked at.
    pub width: usize,
}

impl Frame {
    pub fn new(table: TableId, used: &BTreeSet<usize>) -> Frame {
        let width = used.last().map_or(0, |last| last + 1);
        Frame { table, used: used.iter().copied().collect(), width }
    }
}

/// A field of an object.
#[derive(Clone, Debug)]
pub struct Member {
    /// `"name":` with the comma before it, escaped.
    pub prefix: Box<[u8]>,
    pub write: Write,
}

impl Member {
    pub fn new(name: &str, first: bool, write: Write) -> Member {
        let mut prefix = Vec::with_capacity(name.len() + 4);
        if !first {
            prefix.push(b',');
        }
        text::write(name.as_bytes(), &mut prefix);
        prefix.push(b':');
        Member { prefix: prefix.into_boxed_slice(), write }
    }
}

/// What is written for a field.
#[derive(Clone, Debug)]
pub enum Write {
    Column {
        position: usize,
        kind: ColumnKind,
    },
    One {
        hop: Hop,
        fields: Vec<Member>,
    },
    Many {
        hops: Vec<Hop>,
        order: Vec<OrderBy>,
        content: Content,
    },
    /// The order matters for sums of floats alone.
    Aggregate {
        hops: Vec<Hop>,
        function: Function,
        order: Vec<OrderBy>,
    },
}

/// What is written for each child.
#[derive(Clone, Debug)]
pub enum Content {
    Object(Vec<Member>),
    Value { position: usize, kind: ColumnKind },
}

/// One step of an order: NULLs last, or first when descending, as in PostgreSQL.
#[derive(Clone, Copy, Debug)]
pub struct OrderBy {
    pub position: usize,
    pub kind: Order,
    pub descending: bool,
}

/// NULLs do not count, except that a count without a column counts rows.
#[derive(Clone, Debug)]
pub enum Function {
    Count { position: Option<usize> },
    Sum { position: usize, float: bool },
    Extreme { position: usize, kind: ColumnKind, order: Order, largest: bool },
}
