//! How to reach the write database.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

/// As libpq's `sslmode`, without the modes that fall back silently (`allow`, `prefer`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    Disable,
    /// Encrypted; nobody knows to whom.
    Require,
    /// The certificate was signed by a CA that we trust.
    VerifyCa,
    /// And it names the host that we meant.
    VerifyFull,
}

/// How to reach the write database, and the names of what is ours in it.
#[derive(Clone, Debug)]
pub struct Options {
    /// A host name or address; a path beginning with `/` is a unix socket folder.
    pub host: String,
    pub port: u16,
    pub database: String,
    /// Role of the replication connection.
    pub user: String,
    pub password: Option<SecretString>,
    /// Role of the ordinary connections (backfill, catalog); the replication role when none is given.
    pub read_user: Option<String>,
    pub read_password: Option<SecretString>,
    pub ssl_mode: SslMode,
    /// PEM file of CA certificates; the system's own ones when none is given.
    pub ssl_ca: Option<PathBuf>,
    pub application_name: String,
    pub slot: String,
    pub publication: String,
    /// Whether `run` may create publication and slot itself.
    pub manage: bool,
    /// Limit of one attempt to connect, TLS and authentication included.
    pub connect_timeout: Duration,
    /// How often a status goes to the server when nothing else asks for one; below its wal_sender_timeout / 3.
    pub status_interval: Duration,
    /// How often the tables are looked at for changes that the stream does not carry (hazards 28, 30-33).
    pub catalog_interval: Duration,
    /// Rows that a backfill chunk begins with; it adapts to `chunk_target`.
    pub chunk_rows: u32,
    /// How long a chunk's SELECT should take (rule 42).
    pub chunk_target: Duration,
}
