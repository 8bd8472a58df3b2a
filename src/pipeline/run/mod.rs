//! The daemon: starts the loops, keeps them fed, and stops them.
//!
//! [`assemble`] opens what is there and makes the three loops ([`ingest_loop`], [`apply_loop`],
//! [`deliver_loop`]); [`conduct`] holds the replication connection, the backfill, and what happens now and then
//! ([`upkeep`]). A loop that fails ends the process: recovery at the next start is the one way back (rule 4).
//!
//! Nothing in here has a thread, a timer or a clock of its own: [`hosting`] says how they are handed in,
//! [`clock`] what is asked of them, and [`machine`] are the real ones. With others in their place all of it
//! can be run step by step.

pub mod apply_loop;
mod assemble;
mod catalog_watch;
pub mod clock;
mod conduct;
mod connect;
pub mod deliver_loop;
mod error;
mod facts;
pub mod hosting;
mod indices;
pub mod ingest_loop;
pub mod machine;
mod rebuild;
mod replay;
mod report;
mod slot;
mod steps;
mod upkeep;

use std::sync::mpsc as threads;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use self::apply_loop::Board;
use self::hosting::{Ending, Machine};
use self::ingest_loop::Progress;
use super::{Observer, Status, apply, deliver, ingest};
use crate::journal::files::Files;
use crate::journal::identity::Identified;
use crate::journal::{self, Recovered};
use crate::model::Epoch;
use crate::sink::Sink;
use crate::source::Source;
use crate::store::engine::{self, Engine};
use crate::store::meta::Quarantined;
use crate::task::backfill;

pub use assemble::{check_store, run};
pub use error::Error;
pub use rebuild::rebuild;

pub use facts::{Looked, ProjectionFile, compile_found, facts_of, find, indices_of, look, parse};

/// What the loops are made of.
pub struct Parts<E> {
    pub folder: Box<dyn Identified>,
    pub files: Arc<dyn Files>,
    pub engine: Arc<E>,
    pub machine: Machine,
    pub source: Arc<dyn Source>,
    pub sink: Arc<dyn Sink>,
    pub observer: Arc<dyn Observer>,
    pub checkpoints: Arc<dyn Checkpoint>,
    pub projections: Vec<ProjectionFile>,
    pub options: Options,
}

/// Makes the store durable now and then.
pub trait Checkpoint: Send + Sync {
    /// Copies the store; returns the entry up to which the journal is not needed any more (rule 32). Runs
    /// beside everything else. `reached` is an entry that the store has surely applied.
    fn make(&self, reached: crate::model::EntryNo) -> Result<crate::model::EntryNo, engine::Error>;
    /// Syncs the store and records that it was closed: it may be trusted. Nothing is written afterwards.
    fn closed_cleanly(&self) -> Result<(), engine::Error>;
    /// The store has been worked with for a while, and nobody has died of it.
    fn lived(&self) {}
    /// The store failed: it is not to be believed at the next start (rule 31).
    fn distrust(&self, reason: &str);
}

/// Limits and names, from the configuration.
#[derive(Clone, Debug)]
pub struct Options {
    pub journal: journal::Options,
    pub ingest: ingest::Options,
    pub deliver: deliver::Options,
    pub backfill: backfill::Options,
    /// Journaled bytes after which the store is copied again.
    pub checkpoint_bytes: u64,
    /// How long stopping may take.
    pub stop_within: Duration,
    pub slot: String,
    pub publication: String,
    /// Whether every commit of the store survives a power cut.
    pub durable_store: bool,
    pub group: ingest_loop::Group,
    pub apply: apply::Limits,
    /// Bytes of entries that apply reads at a time.
    pub read_bytes: usize,
    /// Older generations' indices that are kept beside the one behind the alias.
    pub keep_indices: u16,
    /// How often the tables are looked at for changes that the stream does not carry.
    pub catalog_interval: Duration,
}

/// Which documents a replay means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayTarget {
    All,
    Projections(Vec<String>),
    /// Document ids, of one projection or of whichever knows them.
    Ids {
        projection: Option<String>,
        ids: Vec<String>,
    },
}

/// What an operator asks of the running daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    Replay(ReplayTarget),
    QuarantineList,
    /// Nothing: all of it.
    QuarantineRetry(Option<Vec<String>>),
    QuarantineDrop(Option<Vec<String>>),
    /// Read everything of these projections again, into new indices. Nothing: all of them.
    Backfill(Option<Vec<String>>),
}

/// What the operator is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Done or begun: a sentence; the entry that `projected` has to reach, if there is one to wait for.
    Done {
        what: String,
        entry: Option<crate::model::EntryNo>,
    },
    Quarantine(Vec<(String, Quarantined)>),
    Failed {
        code: &'static str,
        reason: String,
    },
}

/// A question and where the answer goes.
pub type Asked = (Ask, oneshot::Sender<Told>);

/// How the outside talks to a running daemon.
pub struct Outside {
    /// Turns true when the daemon is to stop.
    pub stop: watch::Receiver<bool>,
    pub asks: mpsc::Receiver<Asked>,
    /// Kept fresh by the daemon.
    pub status: Arc<RwLock<Status>>,
}

/// Everything that runs, as the conductor sees it.
struct Running<E: Engine> {
    engine: Arc<E>,
    source: Arc<dyn Source>,
    sink: Arc<dyn Sink>,
    observer: Arc<dyn Observer>,
    checkpoints: Arc<dyn Checkpoint>,
    projections: Vec<ProjectionFile>,
    options: Options,
    journal_id: String,
    folder: Box<dyn Identified>,
    epoch: Option<Epoch>,
    machine: Machine,
    board: Board,
    changed: watch::Receiver<u64>,
    progress: watch::Receiver<Progress>,
    ingest: mpsc::Sender<ingest_loop::Input>,
    apply: threads::Sender<apply_loop::Input>,
    deliver: Option<threads::Sender<deliver_loop::Input>>,
    ingest_ending: Ending,
    apply_ending: Ending,
    deliver_ending: Option<Ending>,
    /// A loop ended: which.
    ended: mpsc::Receiver<&'static str>,
    ended_sender: mpsc::Sender<&'static str>,
    backfill_status: Arc<Mutex<Vec<super::status::BackfillStatus>>>,
    recovered: Recovered,
    outside: Outside,
    report: report::Report,
    steps: steps::Steps,
    sink_trouble: (watch::Sender<Option<String>>, watch::Receiver<Option<String>>),
    /// [`clock::Clock::boot_time`] of when the last look began that found all indices to be ours.
    looked: (watch::Sender<Duration>, watch::Receiver<Duration>),
}
