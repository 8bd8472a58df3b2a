//! The daemon as the outside sees it: started from a configuration, asked through the control socket,
//! watched over HTTP.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot, watch};

use super::{parts, trust};
use crate::config::Config;
use crate::control::{self, Answer, QuarantineAction, Quarantined, Request, Target, Which};
use crate::error::{Exit, Failure};
use crate::http::Watch;
use crate::journal::DataFolder;
use crate::journal::files::RealFiles;
use crate::metrics::Metrics;
use crate::pipeline::apply;
use crate::pipeline::run::apply_loop::READ_BYTES;
use crate::pipeline::run::hosting::Machine;
use crate::pipeline::run::ingest_loop::Group;
use crate::pipeline::run::{self, Ask, Asked, Options, Outside, Parts, ReplayTarget, Told};
use crate::pipeline::{Observer, Status};
use crate::shutdown::{Stop, Stopper};

/// Questions that wait for the daemon to take them up.
const ASKS: usize = 16;

/// A daemon that has begun.
pub struct Daemon {
    /// Answers the control socket.
    pub handler: Arc<dyn control::Handler>,
    /// Knows status and health.
    pub watch: Arc<dyn Watch>,
    /// Ends when the loops have ended, well or not.
    pub ended: Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>,
}

/// Takes the lock of the data folder, opens the store, and starts the loops; returns as soon as commands and
/// scrapers can be answered (state `starting`).
pub fn start(
    config: &Config,
    metrics: Arc<Metrics>,
    stop: &Stop,
    stopper: Stopper,
    distrust_store: bool,
) -> Result<Daemon, Failure> {
    let projections = parts::projections(config)?;
    run::parse(&projections).map_err(failure)?; // mistakes in files need no server to be told
    let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
    let random = u128::from(fastrand::u64(..)) << 64 | u128::from(fastrand::u64(..));
    let folder = DataFolder::open(&config.data, random, unix_s).map_err(|error| failure(error.into()))?;
    let files = RealFiles::open(config.data.join("journal"))
        .map_err(|error| Failure::new(Exit::Failed, format!("open the journal's folder: {error}")))?;
    let (engine, checkpoints) = trust::open(config, folder.journal_id(), distrust_store)?;
    let status = Arc::new(RwLock::new(Status { state: "starting".to_owned(), ..Status::default() }));
    let (asks, asked) = mpsc::channel(ASKS);
    let parts = Parts {
        folder: Box::new(folder),
        machine: Machine::system(),
        files: Arc::new(files),
        engine,
        source: parts::source(config, None),
        sink: parts::sink(config)?,
        observer: metrics as Arc<dyn Observer>,
        checkpoints,
        projections,
        options: Options {
            journal: parts::journal(config),
            ingest: parts::ingest(config),
            deliver: parts::deliver(config),
            backfill: parts::backfill(config),
            checkpoint_bytes: config.store.checkpoint_bytes,
            stop_within: config.limits.shutdown,
            slot: config.source.slot.clone(),
            publication: config.source.publication.clone(),
            durable_store: config.store.durability == crate::config::store::Durability::Commit,
            group: Group {
                company: (config.limits.group_delay, config.limits.group_bytes as usize),
                ..Group::default()
            },
            apply: apply::Limits::default(),
            read_bytes: READ_BYTES,
            keep_indices: 1,
            catalog_interval: config.source.catalog_interval,
        },
    };
    let outside = Outside { stop: stop.watch(), asks: asked, status: Arc::clone(&status) };
    let (alive, ended) = watch::channel(true);
    let daemon = Arc::new(Running { asks, status, ended, stopper });
    let running = async move {
        let result = run::run(parts, outside).await.map_err(failure);
        alive.send_replace(false);
        result
    };
    Ok(Daemon { handler: daemon.clone(), watch: daemon, ended: Box::pin(running) })
}

/// What an error of the daemon means for its exit code.
pub fn failure(error: run::Error) -> Failure {
    let exit = match &error {
        run::Error::Projections(_) => Exit::Usage,
        error if error.is_refusal() || error.is_unreadable() => Exit::Refused,
        _ => Exit::Failed,
    };
    Failure::new(exit, error.to_string())
}

struct Running {
    asks: mpsc::Sender<Asked>,
    status: Arc<RwLock<Status>>,
    ended: watch::Receiver<bool>,
    stopper: Stopper,
}

impl Watch for Running {
    fn status(&self) -> Status {
        self.status.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn alive(&self) -> Result<(), String> {
        if *self.ended.borrow() { Ok(()) } else { Err("the loops have ended".to_owned()) }
    }
}

impl control::Handler for Running {
    fn handle(&self, request: Request) -> Pin<Box<dyn Future<Output = Answer> + Send + '_>> {
        Box::pin(async move {
            let ask = match request {
                Request::Status => return Answer::Status(Box::new(self.status())),
                Request::Stop => {
                    self.stopper.stop();
                    return Answer::Accepted { message: "stopping".to_owned(), entry: None };
                }
                Request::Replay { target } => Ask::Replay(replay_target(target)),
                Request::Backfill { projections } => Ask::Backfill(named(projections)),
                Request::Quarantine { action, which } => match action {
                    QuarantineAction::List => Ask::QuarantineList,
                    QuarantineAction::Retry => Ask::QuarantineRetry(named(which)),
                    QuarantineAction::Drop => Ask::QuarantineDrop(named(which)),
                },
            };
            let (answer, told) = oneshot::channel();
            if self.asks.send((ask, answer)).await.is_err() {
                return refused("stopping", "the daemon is stopping");
            }
            told.await.map_or_else(|_| refused("stopping", "the daemon is stopping"), answer_of)
        })
    }
}

fn replay_target(target: Target) -> ReplayTarget {
    match target {
        Target::All => ReplayTarget::All,
        Target::Projection(name) => ReplayTarget::Projections(vec![name]),
        Target::Documents { ids, projection } => ReplayTarget::Ids { projection, ids },
    }
}

fn named(which: Which) -> Option<Vec<String>> {
    match which {
        Which::All => None,
        Which::Named(names) => Some(names),
    }
}

fn refused(code: &str, message: &str) -> Answer {
    Answer::Refused { code: code.to_owned(), message: message.to_owned(), hint: String::new() }
}

/// What the daemon said, for the one who asked.
pub fn answer_of(told: Told) -> Answer {
    match told {
        Told::Done { what, entry } => Answer::Accepted { message: what, entry },
        Told::Failed { code, reason } => refused(code, &reason),
        Told::Quarantine(documents) => {
            let total = documents.len() as u64;
            let documents = documents
                .into_iter()
                .take(control::LISTED_MAX)
                .map(|(projection, why)| Quarantined {
                    handle: format!("{projection}/{}", why.id),
                    projection,
                    document: why.id,
                    reason: format!("{}: {}", why.code, why.reason),
                    entry: why.entry,
                })
                .collect();
            Answer::Quarantine { documents, total }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::EntryNo;
    use crate::pipeline::apply;

    #[test]
    fn a_journal_that_cannot_be_followed_is_for_a_person_and_not_for_another_try() {
        let gap = || apply::Error::Gap { after: EntryNo(3), found: EntryNo(5) };
        for error in [run::Error::Apply(gap()), run::Error::ApplyLoop(run::apply_loop::Failed::Apply(gap()))]
        {
            assert_eq!(failure(error).exit, Exit::Refused);
        }
        assert_eq!(failure(run::Error::Panicked("apply")).exit, Exit::Failed);
    }
}
