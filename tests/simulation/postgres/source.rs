//! The server as a [`Source`]: every call happens at a step of the scheduler's, and answers at a later one.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use projectord::model::{Catalog, Lsn, Table, TableId};
use projectord::source::{
    Answer, ChunkHead, ChunkRange, ChunkRequest, Error, Found, HeldChunk, Resume, SlotStatus, Source, Stream,
    System,
};
use tokio::sync::mpsc::unbounded_channel;

use super::streaming::Streaming;
use super::walsender::Walsender;
use super::{Publication, Server, Slot, wire};
use crate::desk::{Desk, Fate};
use crate::schema::{Key, Row};
use crate::watch::Watch;
use crate::worse::Worse;

/// Clones are the same server, each for a process of its own.
#[derive(Clone)]
pub struct Postgres {
    pub server: Arc<Mutex<Server>>,
    pub desk: Desk,
    pub watch: Watch,
    pub random: Arc<Mutex<fastrand::Rng>>,
    pub worse: Worse,
    /// How often a process was paused for another one.
    pub splits: Arc<AtomicU64>,
    /// How often that was so when this one began: one that began before a split is the first of two.
    pub begun: u64,
}

fn retry<T>(operation: &'static str, reason: &str) -> Result<T, Error> {
    Err(Error::Retry { operation, reason: reason.to_owned() })
}

/// A session: good for as long as the server lives.
struct Session<'a> {
    source: &'a Postgres,
    operation: &'static str,
    life: u64,
}

impl Session<'_> {
    /// A step of this session; fails when the server was away meanwhile.
    async fn step(&self) -> Result<MutexGuard<'_, Server>, Error> {
        if self.source.desk.pass(self.operation).await == Fate::Fails {
            return retry(self.operation, "planned: the connection is lost");
        }
        let server = self.source.server();
        if server.life != self.life {
            return retry(self.operation, "the server was shut down");
        }
        Ok(server)
    }

    /// The answer comes, or is lost although everything was done.
    async fn answer<T>(&self, value: T) -> Result<T, Error> {
        if self.source.desk.pass("answer").await == Fate::Fails {
            self.source.watch.note("source: the answer was lost");
            return retry(self.operation, "planned: no answer");
        }
        Ok(value)
    }
}

impl Postgres {
    /// For a process that begins now.
    pub fn of_a_process(&self) -> Arc<Postgres> {
        Arc::new(Postgres { begun: self.splits.load(Ordering::Relaxed), ..self.clone() })
    }

    /// What the first of two daemons receives and confirms is not judged: only the second's journal is looked at.
    pub fn judged(&self) -> Option<Watch> {
        (self.splits.load(Ordering::Relaxed) == self.begun).then(|| self.watch.clone())
    }

    pub fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dice(&self, sides: u32) -> u32 {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).u32(..sides)
    }

    async fn session(&self, operation: &'static str) -> Result<Session<'_>, Error> {
        if self.desk.pass("connect").await == Fate::Fails {
            return retry(operation, "planned: not reachable");
        }
        let server = self.server();
        if server.down {
            return retry(operation, "the server is down");
        }
        Ok(Session { source: self, operation, life: server.life })
    }

    async fn find_tables(&self, names: &[String], known: &Catalog) -> Result<Found, Error> {
        let session = self.session("find tables").await?;
        let found = {
            let server = session.step().await?;
            let schema = &server.schema;
            let mut next = known.tables.iter().map(|table| table.id.0).max().unwrap_or(0);
            let mut found = Found::default();
            let mut wanted: Vec<usize> = Vec::new();
            for name in names {
                let plain = name.rsplit('.').next().unwrap_or(name);
                match schema.tables.iter().position(|table| table.name == plain) {
                    Some(at) if !wanted.contains(&at) => wanted.push(at),
                    Some(_) => {}
                    None => found.missing.push((name.clone(), Vec::new())),
                }
            }
            wanted.sort_unstable();
            for at in wanted {
                let id = known.table("public", &schema.tables[at].name).map_or_else(
                    || {
                        next += 1;
                        TableId(next)
                    },
                    |table| table.id,
                );
                found.catalog.tables.push(schema.catalog_table(at, id));
            }
            found
        };
        session.answer(found).await
    }

    async fn publish(&self, tables: &[Table]) -> Result<(), Error> {
        let session = self.session("prepare the publication").await?;
        {
            let mut server = session.step().await?;
            let mut published = match server.publication.take() {
                Some(published) => published,
                None => Publication { oid: server.fresh_oid(), members: Default::default() },
            };
            for table in tables {
                if let std::collections::btree_map::Entry::Vacant(place) = published.members.entry(table.oid)
                {
                    place.insert(server.fresh_oid());
                    self.watch.note("a table joined the publication");
                    if !server.running().is_empty() {
                        self.watch.note("a table joined the publication while transactions ran (hazard 10)");
                    }
                }
            }
            server.publication = Some(published);
        }
        session.answer(()).await
    }

    async fn make_slot(&self, orphan: bool) -> Result<Lsn, Error> {
        let session = self.session("create the slot").await?;
        let before = {
            let mut server = session.step().await?;
            if let Some(slot) = &server.slot {
                if !orphan {
                    return Ok(slot.confirmed);
                }
                if server.walsender.is_some() {
                    return retry("create the slot", "the slot is in use");
                }
                self.watch.note("an orphaned slot was dropped");
                server.slot = None;
            }
            server.next_xid
        };
        // Hazard 7: every transaction that runs now has to end first.
        let confirmed = loop {
            let mut server = session.step().await?;
            if server.oldest_open() < before {
                self.watch.note("creating the slot waited for a transaction");
                continue;
            }
            server.append(24, super::Record::Foreign);
            server.flush();
            let confirmed = Lsn(server.flushed);
            server.slot = Some(Slot { confirmed, confirmed_on_disk: confirmed, ..Slot::default() });
            break confirmed;
        };
        session.answer(confirmed).await
    }

    async fn open(&self, resume: &Resume) -> Result<Stream, Error> {
        let session = self.session("check the source").await?;
        let pid = 1_000 + self.dice(1 << 20) as i32;
        let (passed, cut) = {
            let server = session.step().await?;
            (server.gate(resume, pid)?, server.cut)
        };
        let from = resume.end_lsn.unwrap_or(Lsn::ZERO);
        let (sender, receiver) = unbounded_channel();
        let confirmed: Arc<Mutex<VecDeque<Lsn>>> = Arc::default();
        {
            let mut server = session.step().await?;
            if server.cut != cut {
                return retry("start streaming", "planned: the connection was reset");
            }
            let Some(slot) = &server.slot else { return retry("start streaming", "the slot is gone") };
            // Hazard 12: below the confirmed position the server goes forward without a word.
            let begin = from.max(slot.confirmed);
            if slot.lost || server.walsender.is_some() {
                return retry("start streaming", "the slot is active or cannot be read");
            }
            let mut walsender = Walsender::new(pid, begin, &server, sender, Arc::clone(&confirmed));
            walsender.chatty = self.worse.is_chatty();
            server.walsender = Some(walsender);
            if let Some(watch) = self.judged() {
                watch.began(from);
            }
        }
        let refused = session.step().await?.gate_again(from);
        if let Err(error) = refused {
            self.watch.note("gate: refused at the second look");
            return Err(error);
        }
        let of_this_process = self.clone();
        Ok(Stream {
            identity: passed.identity,
            warnings: passed.warnings.iter().map(|warning| warning.code.to_owned()).collect(),
            joined: passed.joined,
            events: Box::new(Streaming { source: self.clone(), events: receiver }),
            confirm: Arc::new(move |position| {
                if let Some(watch) = of_this_process.judged() {
                    watch.confirmed(position);
                }
                confirmed.lock().unwrap_or_else(PoisonError::into_inner).push_back(position);
            }),
        })
    }

    async fn chunk(&self, request: &ChunkRequest<'_>) -> Result<(HeldChunk, Duration), Error> {
        let session = self.session("read a chunk").await?;
        let (held, took) = {
            let mut server = session.step().await?;
            server.before_chunk(request.oid, &self.worse, &self.watch);
            if !server.logged_unseen().is_empty() {
                self.watch.note("a chunk was read while a logged commit was not visible (hazard 9)");
            }
            (self.select(&server, request), Duration::from_millis(u64::from(self.dice(400))))
        };
        let emitted = session.step().await.map(|mut server| {
            server.before_marker_of_chunk(request.oid, &request.nonce, &self.worse, &self.watch);
            server.marker(&request.nonce);
        });
        if emitted.is_err() {
            self.watch.note("source: a chunk was read and its marker not emitted");
        }
        emitted?;
        let answered = session.answer((held, took)).await?;
        self.server().chunks.insert(request.nonce.clone(), true);
        Ok(answered)
    }

    /// Rows of one oid under a snapshot, in the order of a collation that is not ours.
    fn select(&self, server: &Server, request: &ChunkRequest<'_>) -> HeldChunk {
        let schema = &server.schema;
        let at = schema.table_of(request.oid);
        let order = |a: &Key, b: &Key| schema.collate(at, a, b);
        let mut rows: Vec<(&Key, &Arc<Row>)> = server.visible[at]
            .iter()
            .filter(|(key, _)| schema.oid_of(at, key) == request.oid)
            .filter(|(key, _)| match &request.range {
                ChunkRange::After(None) => true,
                ChunkRange::After(Some(after)) => order(key, after).is_gt(),
                ChunkRange::Keys(keys) => keys.contains(*key),
            })
            .collect();
        rows.sort_by(|(a, _), (b, _)| order(a, b));
        let keys_only = matches!(request.range, ChunkRange::Keys(_));
        // A chunk may hold fewer rows than were asked for: large ones, or a slow server.
        let most = if keys_only { usize::MAX } else { 1 + self.dice(4) as usize };
        let last = rows.len() <= most;
        rows.truncate(most);
        let columns = request.table.columns.iter();
        let head = ChunkHead {
            begin: request.begin,
            table: request.table.id,
            oid: request.oid,
            sequence: request.sequence,
            after: match &request.range {
                ChunkRange::After(after) => after.clone(),
                ChunkRange::Keys(_) => None,
            },
            columns: columns.map(|column| (column.attnum, column.name.clone(), column.type_oid)).collect(),
            rows: rows.len() as u32,
            last_key: rows.last().filter(|_| !keys_only).map(|(key, _)| (*key).clone()),
            last,
            keys_only,
        };
        let lines: String = rows.iter().map(|(_, row)| wire::line(row)).collect();
        self.watch.trace(format_args!("chunk of {} for {}: {lines:?}", request.oid, request.begin));
        HeldChunk { nonce: request.nonce.clone(), head, rows: Bytes::from(lines) }
    }
}

impl Source for Postgres {
    fn find<'a>(&'a self, names: &'a [String], known: &'a Catalog) -> Answer<'a, Found> {
        Box::pin(self.find_tables(names, known))
    }

    fn prepare_publication<'a>(&'a self, tables: &'a [Table]) -> Answer<'a, ()> {
        Box::pin(self.publish(tables))
    }

    fn identify_system(&self) -> Answer<'_, System> {
        Box::pin(async move {
            let session = self.session("ask for the system identifier").await?;
            let system = {
                let server = session.step().await?;
                System { system_identifier: server.system_identifier.to_string(), timeline: server.timeline }
            };
            session.answer(system).await
        })
    }

    fn create_slot<'a>(
        &'a self,
        _tables: &'a [Table],
        orphan: bool,
        _waits: &'a (dyn Fn(String) + Sync),
    ) -> Answer<'a, Lsn> {
        Box::pin(self.make_slot(orphan))
    }

    fn connect<'a>(&'a self, resume: &'a Resume) -> Answer<'a, Stream> {
        Box::pin(self.open(resume))
    }

    fn emit_marker<'a>(&'a self, nonce: &'a str) -> Answer<'a, u64> {
        Box::pin(async move {
            let session = self.session("emit a marker").await?;
            let xid = {
                let mut server = session.step().await?;
                server.before_marker(&self.worse, &self.watch);
                server.marker(nonce)
            };
            session.answer(u64::from(xid)).await
        })
    }

    fn wait_out<'a>(&'a self, waits: &'a (dyn Fn(String) + Sync)) -> Answer<'a, ()> {
        Box::pin(async move {
            let session = self.session("wait for transactions").await?;
            let own = session.step().await?.take_xid();
            while session.step().await?.oldest_open() <= own {
                self.watch.note("the wait-out waited for a transaction (rule 12)");
                waits("a transaction".to_owned());
            }
            session.answer(()).await
        })
    }

    fn estimate<'a>(&'a self, _oid: u32) -> Answer<'a, u64> {
        Box::pin(async move {
            let session = self.session("estimate rows").await?;
            let estimate = u64::from(self.dice(20));
            session.answer(estimate).await
        })
    }

    fn read_chunk<'a>(&'a self, request: &'a ChunkRequest<'a>) -> Answer<'a, (HeldChunk, Duration)> {
        Box::pin(self.chunk(request))
    }

    fn status<'a>(&'a self) -> Answer<'a, SlotStatus> {
        Box::pin(async move {
            let session = self.session("look at the slot").await?;
            let status = {
                let server = session.step().await?;
                if server.is_synchronous() {
                    return Err(server.standby_refusal());
                }
                SlotStatus {
                    server: Lsn(server.flushed),
                    confirmed: server.slot.as_ref().map(|slot| slot.confirmed),
                    retained_bytes: Some(0),
                    wal_status: Some("reserved".to_owned()),
                }
            };
            session.answer(status).await
        })
    }
}
