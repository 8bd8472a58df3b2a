//! The control socket: how commands talk to the daemon that works on the same data folder.
//!
//! A unix socket in the data folder, for its owner only. One line of JSON asks, one line answers, then the
//! connection ends. Whatever changes state goes through here and never through HTTP (hazards, Part 5).

pub mod client;
mod server;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::EntryNo;
use crate::pipeline::Status;

pub use server::Listener;

/// Name of the socket in the data folder.
pub const SOCKET_NAME: &str = "control.sock";

/// A longer request is refused: it holds at most [`IDS_MAX`] document ids.
pub const REQUEST_BYTES_MAX: u64 = 8 << 20;

/// A longer answer is not read: a status or a page of the quarantine.
pub const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// Ids in one request.
pub const IDS_MAX: usize = 10_000;

/// Documents in one answer about the quarantine.
pub const LISTED_MAX: usize = 10_000;

/// Commands that talk to the daemon at the same time.
pub const CONNECTIONS_MAX: usize = 16;

/// How long a client may take to say what it wants.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the daemon may take to answer. Long work is journaled and answered at once; whoever wants to
/// wait for it looks at the status.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// What a command asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    Status,
    /// Assemble and send again.
    Replay {
        target: Target,
    },
    Quarantine {
        action: QuarantineAction,
        which: Which,
    },
    /// Read tables again: of all projections, or of these.
    Backfill {
        projections: Which,
    },
    Stop,
}

/// What to replay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Target {
    All,
    Projection(String),
    /// Documents by id: of one projection, or of every one that has them.
    Documents {
        ids: Vec<String>,
        projection: Option<String>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuarantineAction {
    List,
    Retry,
    /// Forget that the document was refused; the sink keeps what it has.
    Drop,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Which {
    All,
    Named(Vec<String>),
}

/// What the daemon says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Status(Box<Status>),
    /// It is done, or journaled and so will be done whatever happens.
    Accepted {
        message: String,
        /// The command's number in the journal: done once `projected_entry` has reached it.
        entry: Option<EntryNo>,
    },
    Quarantine {
        documents: Vec<Quarantined>,
        /// How many there are in all; the list ends at [`LISTED_MAX`].
        total: u64,
    },
    /// It was not done. `code` is listed in docs/errors.md.
    Refused {
        code: String,
        message: String,
        hint: String,
    },
}

/// A document that the sink refused. Never its body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// What `quarantine retry` and `drop` take: projection and document id, `orders/17`.
    pub handle: String,
    pub projection: String,
    pub document: String,
    /// The sink's reason, without values.
    pub reason: String,
    /// The entry whose view was refused.
    pub entry: EntryNo,
}

/// Who answers; the daemon.
pub trait Handler: Send + Sync + 'static {
    fn handle(&self, request: Request) -> Pin<Box<dyn Future<Output = Answer> + Send + '_>>;
}

#[cfg(test)]
mod tests;
