//! The words everyone uses. Nothing here knows a socket, a file, a clock or a thread.
//!
//! Reading order: [`lsn`] and [`number`] (the two kinds of position), [`relation`] (the layout of rows as
//! the stream announces it), [`catalog`] (the facts about tables that are journaled), [`trace`] (what silent DDL leaves behind), [`cell`] (one column
//! value as text), [`row`] (a row as the store keeps it), [`key`] (a row's identity as bytes), [`document`] (what the sink is given),
//! [`diagnostic`] (a mistake in a file, with its place).

pub mod catalog;
pub mod cell;
pub mod diagnostic;
pub mod document;
pub mod key;
pub mod lsn;
pub mod number;
pub mod relation;
pub mod row;
pub mod trace;

pub use catalog::{Catalog, Column, ColumnKind, ForeignKey, Leaf, Table, TableId};
pub use cell::Cell;
pub use diagnostic::Diagnostic;
pub use document::{Action, Document, Outcome};
pub use key::{Key, KeyClass};
pub use lsn::Lsn;
pub use number::{EntryNo, Epoch, Generation, Version};
pub use relation::{Relation, RelationColumn, ReplicaIdentity};
pub use row::{Row, RowWriter};
pub use trace::Trace;
