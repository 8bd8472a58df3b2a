//! PostgreSQL as a source: two kinds of connection (replication, and ordinary SQL), and what is asked over
//! them.

pub mod error;
pub mod options;
pub mod sql;

pub use error::Error;
pub use options::{Options, SslMode};
pub use sql::Sql;
