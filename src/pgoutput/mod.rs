//! Bytes of the logical replication stream to changes. One text decoder for stream and COPY.
//!
//! [`frame`] is the outer layer (what a CopyData message of the replication connection holds), [`message`]
//! the words of the inner one (pgoutput, protocol version 1), [`decoder`] takes them out of bytes, [`tuple`]
//! walks a row's cells, [`copy`] reads the rows of a backfill. All borrow from the bytes they are given and
//! allocate nothing per row.
//!
//! Not here: sockets and frame lengths (`source::postgres`), the meaning of a cell's text (`projection`),
//! protocol versions 2 to 4 (a transaction arrives whole, at its commit).

pub mod copy;
mod cursor;
pub mod decoder;
pub mod error;
pub mod frame;
pub mod message;
pub mod tuple;

pub use decoder::{decode, kind, row_oid};
pub use error::Error;
pub use frame::Frame;
pub use message::{Message, Oids, OldKind};
pub use tuple::Tuple;
