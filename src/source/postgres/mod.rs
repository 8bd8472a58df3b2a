//! PostgreSQL as a source: two kinds of connection (replication, and ordinary SQL), and what is asked over
//! them. [`source`] joins all of it behind the [`Source`](crate::source::Source) trait.

mod answer;
mod auth;
pub mod catalog;
mod clear_text;
pub mod client;
pub mod connection;
pub mod error;
mod find;
pub mod gate;
pub mod inbox;
pub mod options;
pub mod publication;
mod refusal;
mod session;
pub mod settings;
pub mod setup_sql;
pub mod slot;
pub mod snapshot;
mod socket;
pub mod source;
pub mod sql;
pub mod stream;
pub mod tls;
pub mod transactions;
mod wording;

pub use client::SqlClient;
pub use connection::Connection;
pub use error::Error;
pub use options::{Options, SslMode};
pub use source::Postgres;
pub use sql::Sql;
