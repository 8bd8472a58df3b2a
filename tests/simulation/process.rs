//! One life of the daemon: the real `pipeline::run`, in the hands of the scheduler.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use fastrand::Rng;
use projectord::journal::{self, Reader};
use projectord::model::EntryNo;
use projectord::pipeline::observer::Nobody;
use projectord::pipeline::run::hosting::Turn;
use projectord::pipeline::run::ingest_loop::Group;
use projectord::pipeline::run::{Ask, Asked, Error, Options, Outside, Parts, ProjectionFile, Told, run};
use projectord::pipeline::{Status, apply, deliver, ingest};
use projectord::retry;
use projectord::store::memory::Memory;
use projectord::task::backfill;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::cluster::Elastic;
use super::disk::Disk;
use super::folder::Folder;
use super::machine::{Hands, Virtual, machine};
use super::points;
use super::postgres::gate::{PUBLICATION, SLOT};
use super::postgres::source::Postgres;

pub struct Process {
    runtime: Runtime,
    running: Option<JoinHandle<Result<(), Error>>>,
    /// It dies at no named point.
    pub spared: bool,
    hands: Hands,
    stop: watch::Sender<bool>,
    asks: mpsc::Sender<Asked>,
    told: Vec<oneshot::Receiver<Told>>,
    status: Arc<RwLock<Status>>,
    pub store: Arc<Memory>,
    pub reader: Reader,
}

/// What a process is made of.
pub struct Birth<'a> {
    pub disk: &'a Disk,
    pub folder: &'a Folder,
    pub clock: &'a Virtual,
    pub source: Arc<Postgres>,
    pub sink: Arc<Elastic>,
    pub projections: Vec<ProjectionFile>,
    /// The journal's, where it is not the default.
    pub quota: Option<u64>,
}

/// Limits so small that everything large happens to a few rows.
fn options(random: &mut Rng) -> Options {
    let retry = retry::Options {
        first: Duration::from_millis(200),
        max: Duration::from_secs(8),
        ..retry::Options::default()
    };
    let company = if random.bool() { (Duration::from_millis(3), 400) } else { (Duration::ZERO, 0) };
    Options {
        journal: journal_options(),
        ingest: ingest::Options { part_bytes: 300 },
        deliver: deliver::Options {
            requests_in_flight: 3,
            bulk_documents: 3,
            refusal_limit: 1.0,
            retry,
            ..deliver::Options::default()
        },
        backfill: backfill::Options { chunk_rows: 100, chunk_target: Duration::from_millis(100) },
        checkpoint_bytes: 1_500,
        stop_within: Duration::from_secs(30),
        slot: SLOT.to_owned(),
        publication: PUBLICATION.to_owned(),
        durable_store: false,
        group: Group { company, bytes: 600, inputs: 3 },
        apply: apply::Limits::SMALL,
        read_bytes: 500,
        keep_indices: 1,
        catalog_interval: Duration::from_secs(10),
    }
}

pub fn journal_options() -> journal::Options {
    journal::Options {
        segment_bytes: 4_000,
        retain_bytes: 3_000,
        retain_age_s: 3_600,
        reserve_bytes: 500,
        write_bytes: 300,
        ..journal::Options::default()
    }
}

impl Process {
    pub fn start(birth: Birth<'_>, next: EntryNo, random: &mut Rng) -> Process {
        let runtime =
            tokio::runtime::Builder::new_current_thread().build().expect("a runtime without drivers");
        let hands = Hands::default();
        let (store, checkpoints) = birth.disk.open();
        let (stop, stopped) = watch::channel(false);
        let (asks, asked) = mpsc::channel(16);
        let machine = machine(birth.clock, &hands, random.u64(..));
        let mut options = options(random);
        options.journal.quota_bytes = birth.quota.unwrap_or(options.journal.quota_bytes);
        let status = Arc::new(RwLock::new(Status::default()));
        let parts = Parts {
            folder: Box::new(birth.folder.clone()),
            files: Arc::new(birth.disk.files.clone()),
            engine: Arc::clone(&store),
            machine,
            source: birth.source,
            sink: birth.sink,
            observer: Arc::new(Nobody),
            checkpoints,
            projections: birth.projections,
            options,
        };
        let outside = Outside { stop: stopped, asks: asked, status: Arc::clone(&status) };
        let running = runtime.spawn(run(parts, outside));
        let reader = Reader::open(Arc::new(birth.disk.files.clone()), next);
        Process {
            runtime,
            running: Some(running),
            spared: false,
            hands,
            stop,
            asks,
            told: Vec::new(),
            status,
            store,
            reader,
        }
    }

    /// Runs a piece of it, unless it has died.
    fn piece<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        if self.spared { Some(work()) } else { points::within(work) }
    }

    /// Lets the tasks of the runtime run for a while.
    pub fn drain(&self, rounds: u32) {
        let _inside = self.runtime.enter();
        self.piece(|| {
            self.runtime.block_on(async {
                for _ in 0..rounds {
                    tokio::task::yield_now().await;
                }
            });
        });
    }

    /// Turns one of the loops; what it waits for, and which it was.
    pub fn turn(&self, random: &mut Rng, passed_over: impl Fn(&str) -> bool) -> Option<(&'static str, Turn)> {
        let _inside = self.runtime.enter();
        let mut works = self.hands.works.lock().unwrap_or_else(PoisonError::into_inner);
        if works.is_empty() {
            return None;
        }
        let at = random.usize(..works.len());
        if passed_over(works[at].name()) {
            return None;
        }
        let mut work = works.swap_remove(at);
        drop(works);
        let name = work.name();
        let turn = self.piece(|| work.turn())?;
        if turn != Turn::Ended {
            self.hands.works.lock().unwrap_or_else(PoisonError::into_inner).push(work);
        }
        Some((name, turn))
    }

    /// Does one of the jobs that block.
    pub fn job(&self) -> bool {
        let _inside = self.runtime.enter();
        let job = self.hands.jobs.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match job {
            Some(job) => self.piece(job).is_some(),
            None => false,
        }
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<Result<(), Error>> {
        if !self.running.as_ref()?.is_finished() {
            return None;
        }
        let running = self.running.take()?;
        Some(self.runtime.block_on(running).expect("the conductor does not panic"))
    }

    pub fn ask_to_stop(&self) {
        self.stop.send_replace(true);
    }

    pub fn ask(&mut self, ask: Ask) {
        let (answer, told) = oneshot::channel();
        if self.asks.try_send((ask, answer)).is_ok() {
            self.told.push(told);
        }
    }

    /// What operators were told since the last look.
    pub fn told(&mut self) -> Vec<Told> {
        let mut heard = Vec::new();
        self.told.retain_mut(|told| match told.try_recv() {
            Ok(told) => {
                heard.push(told);
                false
            }
            Err(oneshot::error::TryRecvError::Empty) => true,
            Err(oneshot::error::TryRecvError::Closed) => false,
        });
        heard
    }

    /// Whether a question is not answered yet.
    pub fn is_asked(&self) -> bool {
        !self.told.is_empty()
    }

    pub fn status(&self) -> Status {
        self.status.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
