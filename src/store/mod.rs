//! The row store: rows, the links between them, what is dirty, and the entry number that all of it has
//! reached, in one atomic batch after the other.
//!
//! [`rows`], [`dirty`] and [`meta`] say what stands where; [`schema`] joins that with facts and plans; [`part`] is
//! how a key of any length becomes part of a store key.
//!
//! Below is an [`engine`]: an ordered key-value store with four spaces, atomic batches and consistent views.
//! It is not fsynced per batch: the journal is the durability.
//!
//! Beside it: is the file to be believed? [`folder`] locks it, [`guard`] records how it was left, [`checkpoint`]s
//! are there for when it is not, [`trust`] decides. A start goes, in this order:
//!
//! ```text
//! Folder::lock -> trust::judge -> trust::settle -> Lmdb::open -> Guard::begin -> ... -> Guard::close
//! ```

pub mod checkpoint;
pub mod dirty;
pub mod engine;
pub mod folder;
pub mod guard;
pub mod host;
pub mod lmdb;
pub mod memory;
pub mod meta;
pub mod note;
pub mod part;
pub mod rows;
pub mod schema;
#[cfg(test)]
mod suite;
pub mod trust;
#[cfg(test)]
mod trust_tests;
mod unit;
