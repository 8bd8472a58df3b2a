//! The journal: what happened, durably and in order, as numbered entries in segment files.
//!
//! It is not a database: it is appended to at one end, read from any entry on, and forgotten from the
//! other end once the store has made durable what it says.

pub mod entry;

pub use entry::Kind;
