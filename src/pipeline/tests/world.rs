//! The world: database, journal, store, sink, the three loops, and the scheduler that decides who goes next.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;

use super::database::{Database, Logged, catalog};
use super::oracle::SETS;
use super::reading::Reading;
use super::wire;
use crate::journal::entry::{Command, Definition, Facts, Position};
use crate::journal::memory::MemoryFiles;
use crate::journal::{self, Journal, Reader};
use crate::model::{EntryNo, Epoch, Generation, Lsn, Outcome, Version};
use crate::pipeline::apply::{self, Applier, Settle, to_hex};
use crate::pipeline::deliver::{self, Deliverer};
use crate::pipeline::ingest::{self, Done, Ingest, Order};
use crate::sink::memory::Memory as Sink;
use crate::sink::{self, IndexSpec, Sink as _};
use crate::source::{Event, Identity};
use crate::store::engine::Engine;
use crate::store::memory::{Memory as Store, State as StoreState};
use crate::store::meta;

mod end;
mod sending;

const JOURNAL_ID: &str = "0123456789abcdef0123456789abcdef";
/// Steps of one run before it has to come to rest, and how many it may take for that.
const STEPS: usize = 220;
const REST_MAX: usize = 4_000;

/// A replication connection.
pub struct Connection {
    next: usize,
    sending: VecDeque<(Lsn, Bytes)>,
    relations: HashSet<u32>,
    /// Where in the history the transaction on its way ends.
    committing: Option<Lsn>,
}

type Answer = Result<Vec<Outcome>, sink::Error>;

pub struct World {
    pub random: fastrand::Rng,
    pub database: Database,
    pub files: MemoryFiles,
    pub store: Arc<Store>,
    pub ingest: Ingest,
    pub applier: Applier<Store>,
    pub sink: Sink,
    pub reading: Reading,
    pub done: HashMap<u64, Done>,
    /// Which state of the history an entry made.
    pub states: BTreeMap<u64, usize>,
    /// The text of the definition that feeds an index.
    pub sources: HashMap<String, &'static str>,
    pub checked: usize,
    /// What the oracle said, by definition and state.
    pub expected: HashMap<(&'static str, usize), BTreeMap<String, serde_json::Value>>,
    pub accepted_last: HashMap<(String, String), Version>,
    pub orders: Vec<apply::Order>,
    reader: Reader,
    deliverer: Deliverer,
    connection: Option<Connection>,
    answers: Vec<(u64, Answer)>,
    settles: Vec<Settle>,
    facts: Facts,
    epoch: u32,
    ticket: u64,
    generation: u16,
    now: Duration,
    found_end: EntryNo,
    checkpoint: StoreState,
    quiet: bool,
}

fn journal(files: &MemoryFiles) -> (Journal, journal::Recovered) {
    let options = journal::Options { segment_bytes: 6_000, ..journal::Options::default() };
    Journal::open(Arc::new(files.clone()), options, JOURNAL_ID, 0).unwrap()
}

fn deliverer(epoch: u32) -> Deliverer {
    let options = deliver::Options {
        requests_in_flight: 3,
        bulk_documents: 3,
        refusal_limit: 1.0,
        retry: crate::retry::Options {
            first: Duration::from_secs(2),
            max: Duration::from_secs(8),
            ..crate::retry::Options::default()
        },
        ..deliver::Options::default()
    };
    Deliverer::new(options, Epoch(epoch))
}

impl World {
    pub fn run(seed: u64) {
        let mut world = World::new(seed);
        // At rest in between, so that much of what follows happens to documents that are delivered already.
        for steps in [STEPS / 4, STEPS, STEPS] {
            for _ in 0..steps {
                world.step();
                world.check();
            }
            world.rest();
        }
    }

    fn new(seed: u64) -> World {
        let mut random = fastrand::Rng::with_seed(seed);
        let database = Database::new(&mut random);
        let files = MemoryFiles::new();
        let store = Arc::new(Store::new());
        let (journal, _) = journal(&files);
        let options = ingest::Options { part_bytes: 300 };
        let mut world = World {
            ingest: Ingest::new(journal, options, Lsn::ZERO, None),
            applier: Applier::load(Arc::clone(&store), JOURNAL_ID).unwrap(),
            reader: Reader::open(Arc::new(files.clone()), EntryNo(1)),
            deliverer: deliverer(1),
            random,
            database,
            files,
            checkpoint: store.state(),
            store,
            sink: Sink::new(),
            reading: Reading::default(),
            done: HashMap::new(),
            states: BTreeMap::from([(0, 0)]),
            sources: HashMap::new(),
            checked: 0,
            expected: HashMap::new(),
            accepted_last: HashMap::new(),
            orders: Vec::new(),
            connection: None,
            answers: Vec::new(),
            settles: Vec::new(),
            facts: Facts { catalog: catalog(), definitions: Vec::new(), assembler: 1, traces: Vec::new() },
            epoch: 1,
            ticket: 0,
            generation: 0,
            now: Duration::ZERO,
            found_end: EntryNo::ZERO,
            quiet: false,
        };
        world.order(Order::Position(Position { lsn: Lsn(world.database.lsn) }));
        world.define(0);
        world
    }

    fn step(&mut self) {
        self.now += Duration::from_secs(1);
        match self.random.u8(..100) {
            0..14 => self.database.commit(&mut self.random, 6),
            14..40 => self.stream(),
            40..50 => self.ingest.sync(self.now).unwrap(),
            50..62 => self.apply(),
            62..74 => self.deliver(),
            74..82 => self.answer(),
            82..93 => self.read(),
            93 => self.command(),
            94 => self.publish(),
            95 => self.lose(),
            96 if self.random.bool() => self.crash(),
            97 => self.store.sync().unwrap(),
            98 => self.sink.apply_late(),
            99 if self.random.u8(..3) == 0 => {
                let set = self.random.usize(..SETS.len());
                self.lose();
                self.define(set);
            }
            _ => self.mischief(),
        }
    }

    fn mischief(&mut self) {
        match self.random.u8(..4) {
            0 => {
                let digit = self.random.u8(b'1'..=b'4');
                self.sink
                    .reject(Some(Arc::new(move |document| document.id.as_bytes().last() == Some(&digit))));
            }
            1 => self.sink.reject(None),
            2 => self.checkpoint = self.store.state(),
            _ => self.retry_quarantined(),
        }
    }

    fn retry_quarantined(&mut self) {
        let found = meta::quarantine(&self.store.view().unwrap(), 100).unwrap();
        let documents = found.into_iter().map(|(generation, key, _)| (generation, key)).collect();
        self.orders.push(apply::Order::RetryQuarantined(documents));
    }

    pub fn order(&mut self, order: Order) -> u64 {
        self.ticket += 1;
        self.ingest.order(self.ticket, order).unwrap();
        self.take_done();
        self.ticket
    }

    fn take_done(&mut self) {
        self.done.extend(self.ingest.take_done());
    }

    /// Definitions come into force, with generations of their own where they changed.
    fn define(&mut self, set: usize) {
        let mut definitions = Vec::new();
        for source in SETS[set] {
            let known = self.facts.definitions.iter().find(|known| known.source == **source);
            definitions.push(known.cloned().unwrap_or_else(|| {
                self.generation += 1;
                let number = self.generation;
                let name = source.lines().next().unwrap_or_default().trim_start_matches("projection: ");
                let index = format!("{name}-{number}");
                Definition {
                    name: name.to_owned(),
                    source: (*source).to_owned(),
                    generation: Generation(number),
                    index,
                }
            }));
        }
        for (definition, source) in definitions.iter().zip(SETS[set]) {
            self.sources.insert(definition.index.clone(), source);
            let spec = IndexSpec {
                projection: definition.name.clone(),
                generation: definition.generation,
                index: definition.index.clone(),
                alias: definition.name.clone(),
                mappings: serde_json::json!({}),
                settings: serde_json::json!({}),
                journal_id: JOURNAL_ID.to_owned(),
                definition: definition.source.clone(),
            };
            self.sink.prepare(&spec).now_or_never().unwrap().unwrap();
        }
        self.facts.definitions = definitions;
        self.order(Order::Facts(Box::new(self.facts.clone())));
    }

    /// Something comes over the replication connection, or a new one is made.
    fn stream(&mut self) {
        let Some(mut connection) = self.connection.take() else { return self.connect() };
        for _ in 0..self.random.usize(1..12) {
            if connection.sending.is_empty() && !self.load(&mut connection) {
                let event =
                    Event::Keepalive { wal_end: Lsn(self.database.lsn), reply_requested: self.random.bool() };
                self.ingest.event(event, self.now).unwrap();
                break;
            }
            let Some((wal_end, payload)) = connection.sending.pop_front() else { break };
            self.take_done(); // so that what is appended from here on can be told apart
            self.ingest.event(Event::Message { wal_end, payload }, self.now).unwrap();
            if connection.sending.is_empty()
                && let Some(end) = connection.committing.take()
            {
                let state = self.database.history.iter().position(|(at, _)| *at == end).unwrap();
                // Waiting orders may have been appended behind it at once.
                let entry = self.entry_of_commit();
                self.states.insert(entry.0, state);
            }
        }
        self.connection = Some(connection);
        self.take_done();
    }

    /// The entry that the last commit became: orders that waited for it stand behind it.
    fn entry_of_commit(&mut self) -> EntryNo {
        let before = self.done.len();
        self.take_done();
        EntryNo(self.ingest.journal().end().0 - (self.done.len() - before) as u64)
    }

    fn connect(&mut self) {
        let identity = Identity {
            system_identifier: "1".to_owned(),
            timeline: 1,
            database: "d".to_owned(),
            database_oid: 1,
            slot: "s".to_owned(),
            publication: "p".to_owned(),
            publication_oid: 1,
            membership: Vec::new(),
            server_version: 150_000,
        };
        self.ingest.event(Event::Connected(identity), self.now).unwrap();
        let end = self.ingest.end_lsn();
        let next = self.database.log.iter().position(|logged| match logged {
            Logged::Commit { end: at, .. } | Logged::Marker { at, .. } => *at > end,
        });
        let next = next.unwrap_or(self.database.log.len());
        self.connection =
            Some(Connection { next, sending: VecDeque::new(), relations: HashSet::new(), committing: None });
        self.take_done();
    }

    fn load(&self, connection: &mut Connection) -> bool {
        let Some(logged) = self.database.log.get(connection.next) else { return false };
        connection.next += 1;
        match logged {
            Logged::Marker { nonce, at } => connection.sending.push_back((*at, wire::marker(nonce, *at))),
            Logged::Commit { deeds, end } => {
                connection.sending.push_back((*end, wire::begin(*end)));
                for deed in &**deeds {
                    for oid in wire::named(deed) {
                        if connection.relations.insert(oid) {
                            connection.sending.push_back((*end, wire::relation(oid)));
                        }
                    }
                    connection.sending.push_back((*end, wire::deed(deed)));
                }
                connection.sending.push_back((*end, wire::commit(*end)));
                connection.committing = Some(*end);
            }
        }
        true
    }

    fn lose(&mut self) {
        self.connection = None;
        self.ingest.event(Event::Lost { reason: String::new() }, self.now).unwrap();
        self.take_done();
        self.reading = Reading::default();
    }

    fn apply(&mut self) {
        let bytes = self.random.usize(1..3_000);
        let records = self.reader.next(self.ingest.durable_complete(), bytes).unwrap();
        let some = self.random.usize(..=self.settles.len());
        let settles: Vec<_> = self.settles.drain(..some).collect();
        // A batch counts when all of it is settled.
        let last = settles.last().map(|settle| settle.batch);
        let rest = self.settles.first().map(|settle| settle.batch);
        let orders = std::mem::take(&mut self.orders);
        self.applier.step(&records, &settles, &orders).unwrap();
        if let Some(last) = last {
            self.deliverer.settled(if rest == Some(last) { last - 1 } else { last });
        }
    }

    fn command(&mut self) {
        let definitions = &self.facts.definitions;
        let generation = definitions[self.random.usize(..definitions.len())].generation;
        let command = if self.random.bool() {
            Command::Whole { generation }
        } else {
            let keys = (1..4u64).map(|number| to_hex(&(number | 1 << 63).to_be_bytes())).collect();
            let generation = self.facts.definitions[0].generation; // numbers are keys of orders alone
            Command::Documents { generation, keys }
        };
        self.order(Order::Command(command));
    }
}
