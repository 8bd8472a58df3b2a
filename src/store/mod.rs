//! The row store: rows, the links between them, what is dirty, and the entry number that all of it has
//! reached, in one atomic batch after the other.
//!
//! Below is an [`engine`]: an ordered key-value store with four spaces, atomic batches and consistent views.
//! It is not fsynced per batch: the journal is the durability.

pub mod dirty;
pub mod engine;
pub mod meta;
pub mod part;
pub mod rows;
pub mod schema;
pub mod folder;
pub mod lmdb;
pub mod memory;
#[cfg(test)]
mod suite;
