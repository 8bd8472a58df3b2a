//! PostgreSQL as a source: two kinds of connection (replication, and ordinary SQL), and what is asked over
//! them.

mod auth;
pub mod client;
pub mod connection;
pub mod error;
mod inbox;
pub mod options;
mod refusal;
mod session;
mod socket;
pub mod sql;
pub mod stream;
pub mod tls;

pub use client::SqlClient;
pub use connection::Connection;
pub use error::Error;
pub use options::{Options, SslMode};
pub use sql::Sql;
pub use stream::Stream;
