//! The journal: what happened, durably and in order, as numbered entries in segment files.
//!
//! It is not a database: it is appended to at one end, read from any entry on, and forgotten from the
//! other end once the store has made durable what it says.
//!
//! Reading order: [`entry`] (what entries say), [`segment`] (their bytes), [`writer`], [`read`], [`recover`];
//! [`files`] is the storage that is handed in, [`identity`] the data folder and its lock, [`peek`] a look from
//! outside.

pub mod entry;
pub mod error;
pub mod files;
pub mod identity;
pub mod memory;
pub mod peek;
pub mod read;
pub mod recover;
pub mod segment;
pub mod writer;

#[cfg(test)]
mod tests;

pub use entry::Kind;
pub use error::Error;
pub use identity::DataFolder;
pub use read::Reader;
pub use recover::Recovered;
pub use writer::{Journal, Options};
