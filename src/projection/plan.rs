//! What a projection becomes once it is compiled against the catalog.
//!
//! A [`Plan`] is a tree of [`Node`]s, one for every place in the document where rows of some table are read.
//! The root node's rows are the documents. Every other node hangs on its parent by a [`Join`], which can be
//! followed both ways: downward to assemble a document, upward to find the documents that a changed row
//! dirties. Both ways are an [`Access`]: the row's own key, or an index ([`Link`]) that apply keeps.

use std::sync::Arc;

use crate::model::{Key, KeyClass, Row, TableId};

/// An index over some columns of a table, kept by apply in the same batch as the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u16);

/// See [`LinkId`]. A row with a NULL among the columns is not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub id: LinkId,
    pub table: TableId,
    /// Positions in the catalog's column list.
    pub columns: Vec<usize>,
    pub classes: Vec<KeyClass>,
    /// The rows of `table` are stored in the order of this index instead of that of their keys: its
    /// children are read with one scan. At most one per table.
    pub clustered: bool,
}

/// How the rows at one end of a join are found from a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The joined columns are the row's own key, in its order: at most one row.
    Key,
    /// Through an index.
    Link(LinkId),
}

/// An equality of columns between a node and its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Positions in the parent table's column list.
    pub parent_columns: Vec<usize>,
    /// Positions in this node's table's column list, pair by pair.
    pub columns: Vec<usize>,
    /// The same on both sides, or the join was refused.
    pub classes: Vec<KeyClass>,
    /// From a parent's row to this node's rows.
    pub down: Access,
    /// From this node's row to its parents' rows.
    pub up: Access,
}

/// A set of column positions. Columns from 127 on share one bit: a superset, so that at worst a
/// document is assembled without need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ColumnSet(u128);

impl ColumnSet {
    pub fn insert(&mut self, column: usize) {
        self.0 |= 1 << column.min(127);
    }

    pub fn intersects(self, other: ColumnSet) -> bool {
        self.0 & other.0 != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// A place in the document where rows of a table are read.
#[derive(Clone, Debug)]
pub struct Node {
    pub table: TableId,
    /// Position of the parent in [`Plan::nodes`] and how this node hangs on it; nothing for the root.
    /// A parent always stands before its children.
    pub parent: Option<(usize, Join)>,
    /// Every column of this node's table that the document depends on through this node: fields, join
    /// columns of both directions, filters, orders, aggregates. A change of others dirties nothing.
    pub used: ColumnSet,
    /// Whether assembling a document reads all rows that hang on a parent's row here, not at most one.
    pub many: bool,
}

/// The row's own key in a table: which columns, and how each becomes bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableKey {
    pub table: TableId,
    /// Positions in the catalog's column list, in the key's order.
    pub columns: Vec<usize>,
    pub classes: Vec<KeyClass>,
}

/// One projection, compiled.
#[derive(Clone, Debug)]
pub struct Plan {
    pub projection: Arc<str>,
    /// The alias that clients read.
    pub alias: Arc<str>,
    /// The root first.
    pub nodes: Vec<Node>,
    /// How the document is put together; see `assemble`.
    pub shape: super::assemble::Shape,
}

/// All projections, compiled together: they share tables and links.
#[derive(Clone, Debug, Default)]
pub struct PlanSet {
    pub plans: Vec<Plan>,
    /// Position = [`LinkId`].
    pub links: Vec<Link>,
    /// Every table that some plan uses, in the order of their ids.
    pub tables: Vec<TableKey>,
    /// Rows that one fan-out may lead to before it becomes a scan.
    pub fan_out_max: usize,
}

/// The stored rows were unreadable. The text names the operation and the place, never a value.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct RowsError(pub String);

/// The rows of one consistent state, as assemble and affected see them.
pub trait Rows {
    /// The row of this table with this key.
    fn get<'a>(&'a self, table: TableId, key: &[u8]) -> Result<Option<Row<'a>>, RowsError>;

    /// Appends the rows that a link holds under this key, in no order that means anything.
    fn linked<'a>(&'a self, link: LinkId, key: &[u8], rows: &mut Vec<Row<'a>>) -> Result<(), RowsError>;
}

/// Encodes the key that these columns of a row make; nothing when one of them is NULL, not known, or
/// not of its class (such a row joins nothing).
pub fn key_of(row: &Row<'_>, columns: &[usize], classes: &[KeyClass]) -> Option<Key> {
    let mut key = Key::with_capacity(16);
    for (column, class) in columns.iter().zip(classes) {
        class.encode(row.cell(*column).text()?, &mut key).ok()?;
    }
    Some(key)
}
