//! A PostgreSQL that is nastier than the real one, as far as a consumer of its stream can tell them apart.
//!
//! A transaction is in the WAL before it is visible (hazard 9), and in the WAL before it is on disk: a crash
//! takes both the running and the unflushed ones, and their xids and positions are used again. Everything is
//! told apart by the number of the commit, which the commit's time carries through the stream.

mod ambush;
pub mod gate;
pub mod source;
mod streaming;
pub mod transaction;
pub mod walsender;
pub mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use fastrand::Rng;
use projectord::model::Lsn;

use self::transaction::{Open, Phase};
use self::walsender::Walsender;
use super::oracle::State;
use super::schema::{Key, Row, Schema};

/// One thing that a transaction did.
#[derive(Clone, Debug)]
pub enum Deed {
    Insert(usize, Arc<Row>),
    Update(usize, Arc<Row>, Arc<Row>),
    Delete(usize, Arc<Row>),
    /// Oids of plain tables and leaves.
    Truncate(Vec<u32>),
}

/// Of the cluster that the journal is begun on.
const SYSTEM_IDENTIFIER: u64 = 7_000_000_000_000_000_001;

/// A deed, and whether its table was published when it was done (hazard 10).
#[derive(Clone, Debug)]
pub struct Change {
    pub deed: Deed,
    pub published: bool,
    /// Where it stands in the WAL.
    pub at: Lsn,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unseen = if self.published { "" } else { " (not published)" };
        write!(f, "  {:?}{unseen}", self.deed)
    }
}

#[derive(Clone, Debug)]
pub enum Record {
    Commit {
        number: i64,
        xid: u32,
        changes: Arc<Vec<Change>>,
    },
    Marker {
        nonce: String,
        /// The record carries it: no crash gives it to another transaction.
        xid: u32,
    },
    /// WAL that is nothing to us: other databases, vacuum.
    Foreign,
}

#[derive(Clone, Debug)]
pub struct Logged {
    pub start: Lsn,
    pub end: Lsn,
    pub record: Record,
}

/// The state of all tables behind a commit.
#[derive(Clone, Debug)]
pub struct Moment {
    pub number: i64,
    pub end: Lsn,
    pub state: State,
}

#[derive(Clone, Debug)]
pub struct Publication {
    pub oid: u32,
    /// Table oid -> membership oid.
    pub members: BTreeMap<u32, u32>,
}

#[derive(Clone, Debug, Default)]
pub struct Slot {
    pub confirmed: Lsn,
    /// What a crash of the server leads back to.
    pub confirmed_on_disk: Lsn,
    pub lost: bool,
    /// We have streamed from it, and have said so.
    pub streamed: bool,
}

pub struct Server {
    pub schema: Arc<Schema>,
    pub wal: Vec<Logged>,
    pub insert: u64,
    pub flushed: u64,
    /// Behind every commit in the WAL.
    pub committed: State,
    /// What a SELECT sees.
    pub visible: State,
    /// The state behind each commit, oldest first; begins with the state before any.
    pub history: Vec<Moment>,
    /// Every state there ever was, by number, also those that a crash or a failover took back.
    pub archive: BTreeMap<i64, State>,
    pub open: Vec<Open>,
    pub next_xid: u32,
    commits: i64,
    next_oid: u32,
    pub publication: Option<Publication>,
    pub slot: Option<Slot>,
    pub walsender: Option<Walsender>,
    pub system_identifier: u64,
    pub timeline: u32,
    /// Ends of earlier timelines.
    pub timelines: BTreeMap<u32, Lsn>,
    /// Grows with every crash and restart: sessions of an earlier life are dead.
    pub life: u64,
    /// Grows whenever replication connections are cut, also one that is being opened.
    pub cut: u64,
    /// Nobody can connect.
    pub down: bool,
    /// `synchronous_standby_names` would make us a standby (rule 1).
    pub standby_names: String,
    /// Nonces of the markers that end chunks, and whether the chunk was handed over.
    pub chunks: BTreeMap<String, bool>,
}

impl Server {
    pub fn new(schema: Arc<Schema>, random: &mut Rng) -> Server {
        let state: State = schema.tables.iter().map(|_| Arc::default()).collect();
        let begin = 10_000;
        let mut server = Server {
            wal: Vec::new(),
            insert: begin,
            flushed: begin,
            committed: state.clone(),
            visible: state.clone(),
            history: vec![Moment { number: 0, end: Lsn(begin), state: state.clone() }],
            archive: BTreeMap::from([(0, state)]),
            open: Vec::new(),
            next_xid: 100,
            commits: 0,
            next_oid: 50_000,
            publication: None,
            slot: None,
            walsender: None,
            system_identifier: SYSTEM_IDENTIFIER,
            timeline: 1,
            timelines: BTreeMap::new(),
            life: 1,
            cut: 0,
            down: false,
            standby_names: String::new(),
            chunks: BTreeMap::new(),
            schema,
        };
        // Rows from before anybody listened.
        for _ in 0..random.usize(0..8) {
            let xid = server.begin(random);
            for _ in 0..random.usize(1..8) {
                server.deed(xid, random);
            }
            server.commit(xid, true);
            server.show(xid);
        }
        server
    }

    pub fn fresh_oid(&mut self) -> u32 {
        self.next_oid += 1;
        self.next_oid
    }

    pub fn take_xid(&mut self) -> u32 {
        self.next_xid += 1;
        self.next_xid - 1
    }

    /// The oldest transaction that snapshots do not show as ended.
    pub fn oldest_open(&self) -> u32 {
        self.open.iter().map(|open| open.xid).min().unwrap_or(self.next_xid)
    }

    pub fn append(&mut self, length: u64, record: Record) -> Lsn {
        let start = Lsn(self.insert);
        self.insert += length;
        let end = Lsn(self.insert);
        self.wal.push(Logged { start, end, record });
        end
    }

    pub fn flush(&mut self) {
        self.flushed = self.insert;
    }

    /// A marker of ours, with its transaction's own commit flushed (rule 20).
    pub fn marker(&mut self, nonce: &str) -> u32 {
        let xid = self.take_xid();
        self.append(40, Record::Marker { nonce: nonce.to_owned(), xid });
        self.append(16, Record::Foreign);
        self.flush();
        xid
    }

    pub fn foreign(&mut self, random: &mut Rng) {
        self.append(random.u64(8..200), Record::Foreign);
        if random.bool() {
            self.flush();
        }
    }

    /// Commits that somebody who is not connected does not see.
    pub fn unseen_work(&mut self, random: &mut Rng) {
        for _ in 0..random.usize(1..3) {
            let xid = self.begin(random);
            for _ in 0..6 {
                self.deed(xid, random);
            }
            self.commit(xid, true);
            self.show(xid);
        }
        self.append(500, Record::Foreign);
        self.flush();
    }

    fn logged(&mut self, xid: u32, changes: Vec<Change>, flush: bool) {
        self.commits += 1;
        let number = self.commits;
        let mut state = self.committed.clone();
        changes.iter().for_each(|change| apply(&self.schema, &mut state, &change.deed));
        let length = 20 + 10 * changes.len() as u64;
        let end = self.append(length, Record::Commit { number, xid, changes: Arc::new(changes) });
        self.history.push(Moment { number, end, state: state.clone() });
        self.archive.insert(number, state.clone());
        self.committed = state;
        if flush {
            self.flush();
        }
    }

    /// What a commit did, unless it was taken back.
    pub fn deeds(&self, wanted: i64) -> &[Change] {
        let found = self.wal.iter().find_map(|logged| match &logged.record {
            Record::Commit { number, changes, .. } if *number == wanted => Some(changes.as_slice()),
            _ => None,
        });
        found.unwrap_or_default()
    }

    /// The state behind the last commit that ends at or before a position.
    pub fn moment_at(&self, lsn: Lsn) -> &Moment {
        let behind = self.history.partition_point(|moment| moment.end <= lsn);
        &self.history[behind.saturating_sub(1)]
    }

    pub fn published(&self, table: usize) -> bool {
        self.publication.as_ref().is_some_and(|p| p.members.contains_key(&Schema::oid(table)))
    }

    /// The server's process goes, at once: what was not flushed is gone, and every session.
    pub fn crash(&mut self, random: &mut Rng) {
        // Some of what was not flushed may have come to the disk by itself.
        if random.bool() {
            let unflushed: Vec<Lsn> =
                self.wal.iter().map(|logged| logged.end).filter(|end| end.0 > self.flushed).collect();
            if !unflushed.is_empty() {
                self.flushed = unflushed[random.usize(..unflushed.len())].0;
            }
        }
        self.rewind(Lsn(self.flushed));
        if let Some(slot) = &mut self.slot {
            slot.confirmed = slot.confirmed_on_disk;
        }
        self.restart();
    }

    /// Everything behind this position never was.
    pub fn rewind(&mut self, to: Lsn) {
        self.wal.retain(|logged| logged.end <= to);
        self.history.retain(|moment| moment.end <= to || moment.number == 0);
        self.insert = to.0;
        self.flushed = to.0;
        let last = self.history.last().expect("the state before any commit stays");
        self.committed = last.state.clone();
        self.visible = last.state.clone();
        let xids = self.wal.iter().filter_map(|logged| match &logged.record {
            Record::Commit { xid, .. } | Record::Marker { xid, .. } => Some(xid + 1),
            _ => None,
        });
        self.next_xid = xids.max().unwrap_or(100);
    }

    /// Every session ends; the running transactions with them.
    pub fn restart(&mut self) {
        self.open.clear();
        self.visible = self.committed.clone();
        self.life += 1;
        self.disconnect("the server was shut down");
    }

    /// A clean stop and start.
    pub fn stop_fast(&mut self) {
        self.flush();
        if let Some(slot) = &mut self.slot {
            slot.confirmed_on_disk = slot.confirmed;
        }
        self.open.retain(|open| open.phase == Phase::Logged);
        self.restart();
    }

    pub fn disconnect(&mut self, reason: &str) {
        self.cut += 1;
        if let Some(mut walsender) = self.walsender.take() {
            walsender.end(reason);
        }
    }

    /// A standby takes over that has everything up to this position. Of the timelines that ended later it knows
    /// nothing: it never came so far, and was still on the first of them.
    pub fn promote(&mut self, to: Lsn) {
        self.rewind(to);
        let later = self.timelines.iter().find(|(_, end)| **end > to).map(|(timeline, _)| *timeline);
        self.timelines.retain(|_, end| *end <= to);
        self.timelines.insert(later.unwrap_or(self.timeline), to);
        self.timeline += 1;
        if let Some(slot) = &mut self.slot {
            slot.confirmed = slot.confirmed_on_disk.min(to);
            slot.confirmed_on_disk = slot.confirmed;
        }
        self.restart();
    }

    /// Slots are written to disk with checkpoints.
    pub fn checkpoint(&mut self) {
        self.flush();
        if let Some(slot) = &mut self.slot {
            slot.confirmed_on_disk = slot.confirmed;
        }
    }
}

/// What a deed makes of a state.
pub fn apply(schema: &Schema, state: &mut State, deed: &Deed) {
    let key = |table: usize, row: &Row| -> Key { schema.tables[table].key_of(row) };
    match deed {
        Deed::Insert(table, row) => {
            Arc::make_mut(&mut state[*table]).insert(key(*table, row), Arc::clone(row));
        }
        Deed::Update(table, old, new) => {
            let rows = Arc::make_mut(&mut state[*table]);
            rows.remove(&key(*table, old));
            rows.insert(key(*table, new), Arc::clone(new));
        }
        Deed::Delete(table, old) => {
            Arc::make_mut(&mut state[*table]).remove(&key(*table, old));
        }
        Deed::Truncate(oids) => {
            for oid in oids {
                let table = schema.table_of(*oid);
                Arc::make_mut(&mut state[table]).retain(|key, _| schema.oid_of(table, key) != *oid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standby_that_takes_over_knows_nothing_of_timelines_that_it_never_reached() {
        let mut random = Rng::with_seed(1);
        let schema = Arc::new(Schema::draw(&mut random));
        let mut server = Server::new(schema, &mut random);
        server.append(100, Record::Foreign);
        let (end, earlier) = (Lsn(server.insert), Lsn(server.insert - 50));
        server.promote(end);
        assert_eq!((server.timeline, &server.timelines), (2, &BTreeMap::from([(1, end)])));
        server.promote(earlier);
        assert_eq!((server.timeline, &server.timelines), (3, &BTreeMap::from([(1, earlier)])));
    }
}
