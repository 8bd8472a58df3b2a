//! The whole daemon turned by hand: no thread, no timer, no clock of its own. What one seed does, it does again.

#[path = "turns/machine.rs"]
mod machine;
#[path = "turns/source.rs"]
mod source;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use projectord::journal::files::Files;
use projectord::journal::identity::Identified;
use projectord::journal::memory::MemoryFiles;
use projectord::journal::{self, Error as JournalError};
use projectord::model::{EntryNo, Epoch};
use projectord::pipeline::observer::Nobody;
use projectord::pipeline::run::hosting::{Turn, Work};
use projectord::pipeline::run::ingest_loop::Group;
use projectord::pipeline::run::{self, Checkpoint, Options, Outside, Parts, ProjectionFile};
use projectord::pipeline::{Status, apply, deliver, ingest};
use projectord::sink::memory::Memory as Sink;
use projectord::store::engine::{self, Engine};
use projectord::store::memory::Memory as Store;
use projectord::task::backfill;
use tokio::sync::{mpsc, watch};

use machine::Turner;
use source::Database;

const JOURNAL_ID: &str = "0123456789abcdef0123456789abcdef";
const STEPS: usize = 300;
/// Rounds in which everything has its turn, until the documents are in step; many times what is needed.
const ROUNDS_MAX: usize = 3_000;
const PROJECTION: &str = "projection: things\nroot: things\nindex: things\nfields:\n  id:\n  name:\n";

/// A data folder that is nowhere.
struct Folder(Arc<AtomicU32>);

impl Identified for Folder {
    fn journal_id(&self) -> &str {
        JOURNAL_ID
    }

    fn take_epoch(&mut self, seen: Epoch) -> Result<Epoch, JournalError> {
        let epoch = self.0.load(Ordering::Relaxed).max(seen.0) + 1;
        self.0.store(epoch, Ordering::Relaxed);
        Ok(Epoch(epoch))
    }
}

struct Keeper(Arc<Store>);

impl Checkpoint for Keeper {
    fn make(&self, reached: EntryNo) -> Result<EntryNo, engine::Error> {
        self.0.sync()?;
        Ok(reached)
    }

    fn closed_cleanly(&self) -> Result<(), engine::Error> {
        self.0.sync()
    }

    fn distrust(&self, reason: &str) {
        panic!("nothing is broken here: {reason}");
    }
}

type Ended = Arc<Mutex<Option<Result<(), String>>>>;

/// A daemon that runs, and all that outlives it.
struct World {
    random: fastrand::Rng,
    database: Database,
    files: MemoryFiles,
    store: Arc<Store>,
    sink: Sink,
    epochs: Arc<AtomicU32>,
    turner: Arc<Turner>,
    runtime: tokio::runtime::Runtime,
    loops: Vec<Box<dyn Work>>,
    stop: watch::Sender<bool>,
    status: Arc<RwLock<Status>>,
    ended: Ended,
    trace: Vec<String>,
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = fastrand::Rng::with_seed(seed);
        let database = Database::new();
        (0..20).for_each(|_| database.commit(&mut random));
        World {
            turner: Turner::new(random.u64(..)),
            random,
            database,
            files: MemoryFiles::new(),
            store: Arc::new(Store::new()),
            sink: Sink::new(),
            epochs: Arc::default(),
            runtime: tokio::runtime::Builder::new_current_thread().build().unwrap(),
            loops: Vec::new(),
            stop: watch::Sender::new(false),
            status: Arc::default(),
            ended: Arc::default(),
            trace: Vec::new(),
        }
        .start()
    }

    fn start(self) -> World {
        let (_, asks) = mpsc::channel(1);
        let outside = Outside { stop: self.stop.subscribe(), asks, status: Arc::clone(&self.status) };
        let parts = Parts {
            folder: Box::new(Folder(Arc::clone(&self.epochs))),
            files: Arc::new(self.files.clone()),
            engine: Arc::clone(&self.store),
            machine: self.turner.machine(),
            source: Arc::new(self.database.clone()),
            sink: Arc::new(self.sink.clone()),
            observer: Arc::new(Nobody),
            checkpoints: Arc::new(Keeper(Arc::clone(&self.store))),
            projections: vec![ProjectionFile { path: "things.yaml".into(), text: PROJECTION.into() }],
            options: options(),
        };
        let ended = Arc::clone(&self.ended);
        self.runtime.spawn(async move {
            let result = run::run(parts, outside).await.map_err(|error| error.to_string());
            *ended.lock().unwrap() = Some(result);
        });
        self
    }

    /// Kill -9 and a start: what the page cache has is there, everything else is gone.
    fn kill(self) -> World {
        let World { random, database, files, store, sink, epochs, turner, runtime, loops, trace, .. } = self;
        drop(loops);
        drop(runtime);
        drop(turner);
        let mut random = random;
        World {
            turner: Turner::new(random.u64(..)),
            random,
            database,
            files,
            store: Arc::new(store.restarted()),
            sink,
            epochs,
            runtime: tokio::runtime::Builder::new_current_thread().build().unwrap(),
            loops: Vec::new(),
            stop: watch::Sender::new(false),
            status: Arc::default(),
            ended: Arc::default(),
            trace,
        }
        .start()
    }

    /// Lets the conductor and its tasks do what they can, a bite at a time.
    fn tasks(&mut self, bites: usize) {
        self.runtime.block_on(async {
            for _ in 0..bites {
                tokio::task::yield_now().await;
            }
        });
        self.loops.extend(self.turner.started());
    }

    fn turn(&mut self, position: usize) -> Option<(&'static str, Turn)> {
        let work = self.loops.get_mut(position)?;
        // Deliver hands requests to the runtime.
        let _inside = self.runtime.enter();
        Some((work.name(), work.turn()))
    }

    fn step(&mut self) {
        let did = match self.random.u8(..20) {
            0..3 => {
                self.database.commit(&mut self.random);
                "commit".to_owned()
            }
            3..12 => {
                let position = self.random.usize(..3);
                format!("{:?}", self.turn(position))
            }
            12..18 => {
                let bites = self.random.usize(1..4);
                self.tasks(bites);
                format!("tasks {bites}")
            }
            _ => {
                let millis = self.random.u64(1..400);
                self.turner.pass(Duration::from_millis(millis));
                format!("{millis} ms")
            }
        };
        let marks = self.status.read().unwrap().watermarks.clone();
        self.trace.push(format!("{did} {marks:?} {}", self.sink.sends()));
    }

    fn in_step(&self) -> bool {
        let Some(index) = self.sink.alias("things") else { return false };
        let documents: BTreeMap<String, serde_json::Value> = self
            .sink
            .documents(&index)
            .into_iter()
            .map(|(id, (_, body))| (id, serde_json::from_slice(&body).unwrap()))
            .collect();
        documents == self.database.documents()
    }

    /// Everything has its turn until that holds.
    fn until(&mut self, what: &str, holds: impl Fn(&World) -> bool) {
        for _ in 0..ROUNDS_MAX {
            if holds(self) {
                return;
            }
            for position in 0..self.loops.len() {
                let _ = self.turn(position);
            }
            self.tasks(4);
            self.turner.pass(Duration::from_millis(20));
        }
        let status = self.status.read().unwrap().clone();
        panic!("not {what}: {status:?}, ended: {:?}", self.ended.lock().unwrap());
    }

    /// All that can be seen of what was done.
    fn seen(&self) -> (Vec<String>, String, Vec<Vec<u8>>) {
        let names = self.files.list().unwrap();
        let journal = names.iter().map(|name| self.files.content(name).unwrap()).collect();
        (self.trace.clone(), format!("{:?}", self.sink.accepted()), journal)
    }
}

fn options() -> Options {
    Options {
        journal: journal::Options {
            segment_bytes: 4_000,
            reserve_bytes: 0,
            write_bytes: 512,
            ..journal::Options::default()
        },
        ingest: ingest::Options::default(),
        deliver: deliver::Options { bulk_documents: 3, ..deliver::Options::default() },
        backfill: backfill::Options { chunk_rows: 100, chunk_target: Duration::from_millis(100) },
        checkpoint_bytes: 3_000,
        stop_within: Duration::from_secs(30),
        slot: "s".to_owned(),
        publication: "p".to_owned(),
        durable_store: false,
        group: Group { company: (Duration::from_millis(2), 1_000), bytes: 600, inputs: 3 },
        apply: apply::Limits::SMALL,
        read_bytes: 500,
        keep_indices: 1,
        catalog_interval: Duration::from_secs(10),
    }
}

fn stepped(seed: u64) -> World {
    let mut world = World::new(seed);
    (0..STEPS).for_each(|_| world.step());
    world
}

#[test]
fn one_seed_does_the_same_again_and_another_does_not() {
    let (first, again, other) = (stepped(1), stepped(1), stepped(2));
    for (at, (one, two)) in first.trace.iter().zip(&again.trace).enumerate() {
        assert_eq!(one, two, "step {at}");
    }
    assert!(first.seen() == again.seen(), "the traces are the same, journal or sink are not");
    assert!(first.seen() != other.seen());
    assert!(
        first.sink.sends() > 0 || first.loops.len() == 3,
        "too little happened: {:?}",
        first.trace.last()
    );
}

#[test]
fn documents_are_in_step_after_kills_between_any_two_steps_and_the_daemon_ends_in_order() {
    for seed in 0..10 {
        let mut world = World::new(seed);
        for _ in 0..4 {
            for _ in 0..world.random.usize(..STEPS) {
                world.step();
            }
            world = world.kill();
        }
        world.until("in step", World::in_step);
        world.stop.send_replace(true);
        world.until("ended", |world| world.ended.lock().unwrap().is_some());
        assert_eq!(*world.ended.lock().unwrap(), Some(Ok(())), "seed {seed}");
        assert_eq!(world.turn(0).map(|(_, turn)| turn), Some(Turn::Ended));
    }
}
