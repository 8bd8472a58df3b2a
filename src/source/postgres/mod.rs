//! PostgreSQL as a source: two kinds of connection (replication, and ordinary SQL), and what is asked over
//! them.

mod answer;
pub mod catalog;
pub mod error;
pub mod gate;
pub mod options;
pub mod publication;
pub mod settings;
pub mod setup_sql;
pub mod slot;
pub mod snapshot;
pub mod sql;
pub mod transactions;

pub use error::Error;
pub use options::{Options, SslMode};
pub use sql::Sql;
