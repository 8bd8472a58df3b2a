//! The world: database, cluster, disk, process, and the scheduler that decides who goes next. Everything is
//! drawn from one seed.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use projectord::model::Lsn;
use projectord::pipeline::run::ProjectionFile;
use projectord::pipeline::run::hosting::Turn;
use projectord::store::engine::Engine;
use projectord::store::meta;

use super::chronicle::Chronicle;
use super::cluster::{Elastic, Fault};
use super::desk::{Desk, Fate};
use super::disk::{Backup, Disk};
use super::folder::Folder;
use super::machine::Virtual;
use super::nemesis::Plan;
use super::points;
use super::postgres::Server;
use super::postgres::source::Postgres;
use super::process::{Birth, Process};
use super::schema::Schema;
use super::shape::{self, Shape};
use super::trouble::Trouble;
use super::truth::Truth;
use super::twin::Twin;
use super::watch::Watch;
use super::worse::{WALSENDER, Worse};

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Converged,
    /// By an unsafe situation that nothing mends: with the code that was expected.
    Refused(String),
}

pub struct World {
    pub random: Rng,
    pub watch: Watch,
    pub schema: Arc<Schema>,
    /// Definitions that follow one another.
    pub sets: Vec<Vec<Rc<Shape>>>,
    pub set: usize,
    pub clock: Virtual,
    pub desk: Desk,
    pub source: Arc<Postgres>,
    pub sink: Arc<Elastic>,
    pub disk: Disk,
    pub folder: Folder,
    pub process: Option<Process>,
    pub twin: Option<Twin>,
    pub truth: Truth,
    pub plan: Plan,
    pub trouble: Trouble,
    pub backup: Option<(Backup, Folder, Chronicle)>,
    /// How far data folders had read, and may have delivered, that were put aside for older copies of themselves.
    pub newer_end: Lsn,
    /// Refusals that are right, whenever they come.
    pub allowed: BTreeSet<&'static str>,
    /// A refusal that must come before anything can be at rest (I11).
    pub must_refuse: Option<&'static str>,
    /// The disk was made to fail: the process may end by it.
    pub failing: bool,
    /// The power goes at the next writes.
    pub powerless: bool,
    pub rotten: bool,
    pub stopping: bool,
    pub needs_replay: bool,
    pub replaying: bool,
    pub steps: u64,
    /// The step at which the process began.
    pub started: u64,
    /// Nothing new happens and nothing fails.
    pub quiet: bool,
    pub end: Option<End>,
    /// Apply has done something since the last look.
    applied: bool,
}

pub type Broken = String;

impl World {
    pub fn new(seed: u64, watch: Watch) -> World {
        let mut random = Rng::with_seed(seed);
        let schema = Arc::new(Schema::draw(&mut random));
        let server = Server::new(Arc::clone(&schema), &mut random);
        let desk = Desk::default();
        let drawn = Arc::new(Mutex::new(random.fork()));
        let server = Arc::new(Mutex::new(server));
        let worse = Worse::draw(seed);
        let mut sets = shape::draw_sets(&mut random, &schema);
        if let Some(worse) = worse.sets(&schema) {
            sets = worse;
        }
        let source = Postgres {
            server,
            desk: desk.clone(),
            watch: watch.clone(),
            random: drawn,
            worse,
            splits: Arc::default(),
            begun: 0,
        };
        let trouble = Trouble::draw(seed);
        let sink = Elastic::new(desk.clone(), watch.clone());
        sink.cluster().very_late = trouble.is_late();
        World {
            plan: Plan::draw(&mut random),
            trouble,
            disk: Disk::new(watch.clone()),
            sink: Arc::new(sink),
            truth: Truth::new(Arc::clone(&schema)),
            folder: Folder::new(seed),
            clock: Virtual::default(),
            source: Arc::new(source),
            random,
            watch,
            schema,
            sets,
            set: 0,
            desk,
            process: None,
            twin: None,
            backup: None,
            newer_end: Lsn::ZERO,
            allowed: BTreeSet::new(),
            must_refuse: None,
            failing: false,
            powerless: false,
            rotten: false,
            stopping: false,
            needs_replay: false,
            replaying: false,
            steps: 0,
            started: 0,
            quiet: false,
            end: None,
            applied: false,
        }
    }

    pub fn server(&self) -> MutexGuard<'_, Server> {
        self.source.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn shapes(&self) -> Vec<Rc<Shape>> {
        self.sets[self.set].clone()
    }

    pub fn start(&mut self) {
        let _ = points::bury(); // somebody was quicker to kill it
        self.watch.note("the process starts");
        let shapes = self.shapes();
        let projections = shapes.iter().map(|shape| ProjectionFile {
            path: format!("{}.yaml", shape.name),
            text: shape.yaml(&self.schema),
        });
        let birth = Birth {
            disk: &self.disk,
            folder: &self.folder,
            clock: &self.clock,
            source: self.source.of_a_process(),
            sink: Arc::clone(&self.sink),
            projections: projections.collect(),
            quota: self.trouble.quota,
        };
        let process = Process::start(birth, self.truth.chronicle.next(), &mut self.random);
        process.drain(2);
        self.process = Some(process);
        self.started = self.steps;
        self.replaying = false;
    }

    /// One step of anything, and what must hold behind it.
    pub fn step(&mut self) -> Result<(), Broken> {
        self.steps += 1;
        self.watch.step(self.steps);
        self.clock.advance(Duration::from_millis(self.random.u64(..20)));
        self.sink.cluster().now = self.clock.elapsed();
        self.sink.serve_late(false);
        if self.quiet {
            self.quiet_step();
        } else {
            self.wild_step();
        }
        if points::is_dead() {
            self.applied = true; // perhaps: it died in the middle of a turn
            self.learn()?;
            self.take_the_dead_away();
        }
        self.turn_the_twin()?;
        self.look_at_the_process()?;
        self.check()?;
        self.check_confirmed()
    }

    fn wild_step(&mut self) {
        self.dangerous_moment();
        self.later_trouble();
        if self.random.u32(..1_000) < self.plan.nemesis {
            return self.nemesis();
        }
        if self.process.is_none() && self.random.u8(..20) == 0 {
            self.start();
        }
        match self.random.u8(..100) {
            work if work < self.plan.work => self.work_in_the_database(),
            0..44 => self.database_serves(),
            44..62 => {
                for _ in 0..self.random.usize(1..4) {
                    let fate = if self.plan.fails(&mut self.random) { Fate::Fails } else { Fate::Goes };
                    self.serve_call(fate);
                }
            }
            62..70 => self.serve_sink(),
            70..90 => self.turn(),
            90..97 => self.drain(),
            _ => self.wait(),
        }
    }

    /// A bit of everything, so that rest comes soon.
    fn quiet_step(&mut self) {
        if self.process.is_none() || self.random.u8(..12) == 0 {
            self.mend();
        }
        if self.random.u8(..8) == 0 {
            self.end_transactions();
        }
        for _ in 0..2 {
            self.database_serves();
            self.serve_call(Fate::Goes);
            self.turn();
            self.sink.serve(&mut self.random, Fault::None);
            self.turn();
        }
        self.sink.serve_late(true);
        self.drain();
        if self.desk.is_empty() && self.random.bool() {
            self.wait();
        }
    }

    fn serve_call(&mut self, fate: Fate) {
        if let Some(what) = self.desk.serve(&mut self.random, fate) {
            self.watch.trace(format_args!("call: {what} {fate:?}"));
        }
        self.drain();
    }

    fn serve_sink(&mut self) {
        let fault = if self.plan.fails(&mut self.random) {
            Fault::ALL[self.random.usize(..Fault::ALL.len())]
        } else {
            self.trouble.fault().unwrap_or_else(|| self.source.worse.fault())
        };
        self.sink.serve(&mut self.random, fault);
    }

    pub fn drain(&mut self) {
        let rounds = self.random.u32(1..4);
        if let Some(process) = &self.process {
            process.drain(rounds);
        }
    }

    /// The process and what it asks for, and nothing else.
    pub fn turn_and_serve(&mut self) {
        self.turn();
        self.serve_call(Fate::Goes);
    }

    fn turn(&mut self) {
        let Some(process) = &self.process else { return };
        if self.random.u8(..12) == 0 {
            process.job();
        }
        let worse = &self.source.worse;
        match process.turn(&mut self.random, |name| !self.quiet && worse.passes_over(name)) {
            Some((name, Turn::Again)) => {
                self.applied |= name == "apply";
                self.watch.trace(format_args!("turn: {name}"));
            }
            Some((name, turn @ Turn::Ended)) => {
                // Its last batch may have been written although it failed.
                self.applied |= name == "apply";
                self.watch.trace(format_args!("turn: {name} {turn:?}"));
            }
            _ => {}
        }
    }

    /// Time goes on to where the next pause is over.
    fn wait(&mut self) {
        let next = self.clock.until_next().unwrap_or(Duration::from_millis(200));
        self.clock.advance(next.min(Duration::from_secs(20)));
        self.drain();
    }

    fn database_serves(&mut self) {
        let mut random = self.random.fork();
        let quiet = self.quiet;
        let mut server = self.server();
        let slow = !quiet && server.unsent_chunk().is_some() && self.source.worse.passes_over(WALSENDER);
        if server.down {
            return;
        }
        match random.u8(..16) {
            0..10 if slow => {}
            0..10 => drop(server.stream(&mut random)),
            10..12 => server.take_status(),
            12 => server.notice_abandoned(),
            13 => server.flush(),
            14 if !quiet => server.foreign(&mut random),
            _ => server.checkpoint(),
        }
    }

    /// What apply has read since the last look: what a process has sent is judged by it, also when that process
    /// is gone.
    pub fn learn(&mut self) -> Result<(), Broken> {
        let Some(process) = self.process.as_mut().filter(|_| self.applied) else { return Ok(()) };
        self.applied = false;
        let view = process.store.view().map_err(|error| error.to_string())?;
        let reached = meta::reached(&view).map_err(|error| error.to_string())?.entry;
        let records = process.reader.next(reached, usize::MAX).map_err(|error| error.to_string())?;
        let server = self.source.server.lock().unwrap_or_else(PoisonError::into_inner);
        self.truth.read(&records, &server, &self.watch);
        Ok(())
    }

    /// What the sink has accepted since the last look, by the journal as it is.
    pub fn judge(&mut self) -> Result<(), Broken> {
        let source = Arc::clone(&self.source);
        let sink = Arc::clone(&self.sink);
        let server = source.server.lock().unwrap_or_else(PoisonError::into_inner);
        let mut cluster = sink.cluster();
        let shapes = self.sets[self.set].clone();
        let end = self.truth.chronicle.read_to();
        self.truth.meet(&cluster, &shapes, end);
        self.truth.check_accepted(&mut cluster, &server, &self.watch)
    }

    /// Every promise, as often as it can be afforded.
    fn check(&mut self) -> Result<(), Broken> {
        if let Some(broken) = self.watch.take_broken() {
            return Err(broken);
        }
        self.learn()?;
        self.judge()?;
        let source = Arc::clone(&self.source);
        let sink = Arc::clone(&self.sink);
        let server = source.server.lock().unwrap_or_else(PoisonError::into_inner);
        let cluster = sink.cluster();
        if self.random.u8(..12) == 0
            && let Some(process) = &self.process
        {
            let view = process.store.view().map_err(|error| error.to_string())?;
            if self.truth.check_promises(&view, &cluster, &server)? {
                self.watch.note("check: what is projected is in the sink");
            }
            let status = process.status();
            self.truth.check_status(&status, &view, &cluster, &server)?;
            drop((server, cluster));
            let full = |trouble: &String| trouble.contains("journal-full") || trouble.contains("(rule 2)");
            self.notice_a_full_journal(status.trouble.as_ref().is_some_and(full));
        }
        Ok(())
    }
}
