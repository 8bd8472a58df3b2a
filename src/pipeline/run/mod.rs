//! The daemon: starts the loops, keeps them fed, and stops them.
//!
//! Three threads ([`ingest_loop`], [`apply_loop`], [`deliver_loop`]) hold the loops; [`conduct`] holds the
//! replication connection, the backfill, and what happens now and then ([`upkeep`]). A thread that fails
//! ends the process: recovery at the next start is the one way back (rule 4).

pub mod apply_loop;
pub mod clock;
mod conduct;
mod connect;
pub mod deliver_loop;
mod facts;
pub mod ingest_loop;
mod rebuild;
mod report;
mod upkeep;

use std::sync::mpsc as threads;
use std::sync::{Arc, Mutex, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use self::apply_loop::{Apply, Board, Published};
use self::clock::Clock;
use self::ingest_loop::Progress;
use super::apply::Applier;
use super::ingest::{self, Ingest};
use super::{Observer, Status, deliver};
use crate::journal::files::Files;
use crate::journal::{self, DataFolder, Journal, Reader, Recovered};
use crate::model::{Epoch, Lsn};
use crate::sink::{self, Sink};
use crate::source::{self, Source};
use crate::store::engine::{self, Engine};
use crate::store::meta::Quarantined;
use crate::task::backfill;

pub use rebuild::rebuild;

pub use facts::{Looked, ProjectionFile, compile_found, facts_of, find, indices_of, look, parse};

/// Groups of events on their way to ingest.
const INPUTS: usize = 64;

/// What the loops are made of.
pub struct Parts<E> {
    pub folder: DataFolder,
    pub files: Arc<dyn Files>,
    pub engine: Arc<E>,
    pub source: Arc<dyn Source>,
    pub sink: Arc<dyn Sink>,
    pub observer: Arc<dyn Observer>,
    pub checkpoints: Arc<dyn Checkpoint>,
    pub projections: Vec<ProjectionFile>,
    pub options: Options,
}

/// Makes the store durable now and then.
pub trait Checkpoint: Send + Sync {
    /// Copies the store; returns the entry up to which the journal is not needed any more (rule 32). Runs on
    /// a thread of its own. `reached` is an entry that the store has surely applied.
    fn make(&self, reached: crate::model::EntryNo) -> Result<crate::model::EntryNo, engine::Error>;
    /// Syncs the store and records that it was closed: it may be trusted. Nothing is written afterwards.
    fn closed_cleanly(&self) -> Result<(), engine::Error>;
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
    /// How long a group of entries may wait for company before it is synced, and the bytes at which it
    /// does not.
    pub group: (Duration, usize),
    /// Older generations' indices that are kept beside the one behind the alias.
    pub keep_indices: u16,
}

/// Why the daemon ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Journal(#[from] journal::Error),
    #[error(transparent)]
    Store(#[from] engine::Error),
    #[error(transparent)]
    Apply(#[from] super::apply::Error),
    #[error(transparent)]
    Ingest(#[from] ingest::Error),
    #[error(transparent)]
    Deliver(#[from] deliver::Error),
    #[error(transparent)]
    ApplyLoop(#[from] apply_loop::Failed),
    #[error(transparent)]
    Source(#[from] source::Error),
    #[error(transparent)]
    Sink(#[from] sink::Error),
    /// A safety check says no (G5).
    #[error("{code}: {reason}\n    {hint}")]
    Refused { code: &'static str, reason: String, hint: String },
    #[error("{}", join(.0))]
    Projections(Vec<crate::model::Diagnostic>),
    #[error("internal: the {0} thread ended without a word")]
    Panicked(&'static str),
}

fn join(diagnostics: &[crate::model::Diagnostic]) -> String {
    diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl Error {
    /// Whether the store itself failed, so that it is not to be believed any more.
    pub fn is_store(&self) -> bool {
        use engine::Error::Broken;
        match self {
            Error::ApplyLoop(error) => error.is_store(),
            Error::Store(Broken { .. })
            | Error::Apply(super::apply::Error::Store(Broken { .. }))
            | Error::Deliver(deliver::Error::Store(Broken { .. })) => true,
            _ => false,
        }
    }

    /// Whether this is a refusal by a safety check rather than a failure.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Error::Refused { .. }
                | Error::Source(source::Error::Refused { .. })
                | Error::Sink(sink::Error::Refused { .. })
                | Error::Deliver(
                    deliver::Error::OtherWriter { .. }
                        | deliver::Error::RefusalRate { .. }
                        | deliver::Error::IndexGone { .. }
                )
                | Error::Journal(
                    journal::Error::Damaged { .. }
                        | journal::Error::Other { .. }
                        | journal::Error::Newer { .. }
                        | journal::Error::Missing { .. }
                        | journal::Error::Locked { .. }
                )
        )
    }
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
    folder: DataFolder,
    epoch: Option<Epoch>,
    clock: Clock,
    board: Board,
    changed: watch::Receiver<u64>,
    progress: watch::Receiver<Progress>,
    ingest: mpsc::Sender<ingest_loop::Input>,
    apply: threads::Sender<apply_loop::Input>,
    deliver: Option<threads::Sender<deliver_loop::Input>>,
    deliver_thread: Option<JoinHandle<Result<(), deliver::Error>>>,
    /// A loop ended: which.
    ended: mpsc::Receiver<&'static str>,
    ended_sender: mpsc::Sender<&'static str>,
    backfill_status: Arc<Mutex<Vec<super::status::BackfillStatus>>>,
    recovered: Recovered,
    outside: Outside,
    report: report::Report,
    sink_trouble: (watch::Sender<Option<String>>, watch::Receiver<Option<String>>),
}

/// Runs until told to stop, or until something ends it.
pub async fn run<E: Engine>(parts: Parts<E>, outside: Outside) -> Result<(), Error> {
    let clock = Clock::start();
    let journal_id = parts.folder.journal_id().to_owned();
    let (journal, recovered) = Journal::open(
        Arc::clone(&parts.files),
        parts.options.journal.clone(),
        &journal_id,
        clock.unix_s() as u64,
    )?;
    let applier = Applier::load(Arc::clone(&parts.engine), &journal_id).map_err(Error::from);
    if let Err(error) = &applier
        && error.is_store()
    {
        parts.checkpoints.distrust(&error.to_string());
    }
    let mut applier = applier?;
    if let Some(rebuilt) = recovered.rebuilt {
        applier.begin_at(rebuilt.previous());
    }
    check_store(&applier, &journal, &journal_id)?;
    let found_end = journal.end();
    let first_wanted = applier.reached().entry.next();
    let ingest = Ingest::new(
        journal,
        parts.options.ingest,
        recovered.end_lsn.unwrap_or(Lsn::ZERO),
        recovered.facts.clone(),
    );
    let begin =
        Progress { durable: found_end, journaled: ingest.end_lsn(), end: found_end, ..Progress::default() };
    let (progress_sender, progress) = watch::channel(begin);
    let (ingest_inputs, ingest_receiver) = mpsc::channel(INPUTS);
    let (apply_inputs, apply_receiver) = threads::channel();
    let (changed_sender, changed) = watch::channel(0);
    let (ended_sender, ended) = mpsc::channel(3);
    let board: Board = Arc::new(RwLock::new(Arc::new(Published::default())));

    let apply = Apply {
        applier,
        engine: Arc::clone(&parts.engine),
        reader: Reader::open(Arc::clone(&parts.files), first_wanted),
        inputs: apply_receiver,
        durable: progress.clone(),
        board: Arc::clone(&board),
        changed: changed_sender,
        observer: Arc::clone(&parts.observer),
        found_end,
        settled: 0,
    };
    let ended = Ended { sender: ended_sender.clone(), receiver: ended };
    let apply_thread = thread("apply", ended.sender.clone(), move || apply.run().map_err(Error::from))?;
    let observer = Arc::clone(&parts.observer);
    let group = parts.options.group;
    let ingest_thread = thread("ingest", ended.sender.clone(), move || {
        ingest_loop::run(ingest, ingest_receiver, progress_sender, observer, clock, group)
            .map_err(Error::from)
    })?;
    let mut running = Running {
        engine: parts.engine,
        source: parts.source,
        sink: parts.sink,
        observer: parts.observer,
        checkpoints: parts.checkpoints,
        projections: parts.projections,
        options: parts.options,
        journal_id,
        folder: parts.folder,
        epoch: None,
        clock,
        board,
        changed,
        progress,
        ingest: ingest_inputs,
        apply: apply_inputs,
        deliver: None,
        deliver_thread: None,
        ended: ended.receiver,
        ended_sender,
        backfill_status: Arc::default(),
        recovered,
        outside,
        report: report::Report::default(),
        sink_trouble: watch::channel(None),
    };
    let conducted = running.conduct().await;
    running.stop(conducted, ingest_thread, apply_thread).await
}

struct Ended {
    sender: mpsc::Sender<&'static str>,
    receiver: mpsc::Receiver<&'static str>,
}

/// Starts a thread that says when it has ended, however it ended.
fn thread<T: Send + 'static>(
    name: &'static str,
    ended: mpsc::Sender<&'static str>,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Error> {
    struct Says(&'static str, mpsc::Sender<&'static str>);
    impl Drop for Says {
        fn drop(&mut self) {
            let _ = self.1.try_send(self.0); // room for every thread; nobody listens at the very end
        }
    }
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let _says = Says(name, ended);
            body()
        })
        .map_err(|error| Error::Refused {
            code: "thread",
            reason: format!("cannot start the {name} thread: {error}"),
            hint: "Raise the limit of threads for this process.".to_owned(),
        })
}

/// Journal and store must be of one kind and meet (G5).
fn check_store<E: Engine>(applier: &Applier<E>, journal: &Journal, journal_id: &str) -> Result<(), Error> {
    let reached = applier.reached();
    let refused =
        |code, reason: String, hint: &str| Err(Error::Refused { code, reason, hint: hint.to_owned() });
    if reached.journal_id != journal_id {
        return refused(
            "store-other",
            format!("the store belongs to journal {}, the journal is {journal_id}", reached.journal_id),
            "Restore the data folder as a whole, or remove its `store` folder: it is built again.",
        );
    }
    if reached.entry > journal.end() {
        return refused(
            "store-ahead",
            format!("the store has applied entry {}, the journal ends at {}", reached.entry, journal.end()),
            "The journal lost entries: remove the `store` folder within the data folder, then run `projectord rebuild`.",
        );
    }
    if reached.entry.next() < journal.first() {
        return refused(
            "store-behind",
            format!(
                "the store has applied entry {}, the journal begins with {}",
                reached.entry,
                journal.first()
            ),
            "Run `projectord rebuild`: everything is read again.",
        );
    }
    Ok(())
}
