//! Transactions that run side by side: row locks, subtransactions, commits that are logged before they are
//! seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fastrand::Rng;
use projectord::model::Lsn;

use super::{Change, Deed, Server, apply};
use crate::schema::{Key, Row};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Running,
    /// In the WAL; not visible, its locks still held.
    Logged,
}

#[derive(Clone, Debug, Default)]
struct Work {
    changes: Vec<Change>,
    /// Its own rows, over what is visible.
    overlay: BTreeMap<(usize, Key), Option<Arc<Row>>>,
    truncated: BTreeSet<u32>,
}

#[derive(Clone, Debug)]
pub struct Open {
    pub xid: u32,
    pub phase: Phase,
    work: Work,
    savepoints: Vec<Work>,
    locks: BTreeSet<(usize, Key)>,
    tables: BTreeSet<usize>,
}

impl Server {
    pub fn begin(&mut self, random: &mut Rng) -> u32 {
        let xid = self.take_xid();
        // Its first statement may be long after it has its id: others are older and end later.
        if random.u8(..8) == 0 {
            self.take_xid();
        }
        self.open.push(Open {
            xid,
            phase: Phase::Running,
            work: Work::default(),
            savepoints: Vec::new(),
            locks: BTreeSet::new(),
            tables: BTreeSet::new(),
        });
        xid
    }

    pub(super) fn at(&self, xid: u32) -> usize {
        self.open.iter().position(|open| open.xid == xid).expect("an open transaction")
    }

    /// Transactions that can do something or end.
    pub fn running(&self) -> Vec<u32> {
        self.open.iter().filter(|open| open.phase == Phase::Running).map(|open| open.xid).collect()
    }

    pub fn logged_unseen(&self) -> Vec<u32> {
        self.open.iter().filter(|open| open.phase == Phase::Logged).map(|open| open.xid).collect()
    }

    /// COMMIT: into the WAL. Without a flush it is an asynchronous one.
    pub fn commit(&mut self, xid: u32, flush: bool) {
        let at = self.at(xid);
        let changes = std::mem::take(&mut self.open[at].work.changes);
        self.open[at].phase = Phase::Logged;
        self.open[at].work.changes.clone_from(&changes);
        if changes.is_empty() {
            self.open.remove(at); // has written nothing
        } else {
            self.logged(xid, changes, flush);
        }
    }

    /// The commit becomes visible, and its locks go.
    pub fn show(&mut self, xid: u32) {
        let Some(at) = self.open.iter().position(|open| open.xid == xid) else { return };
        let open = self.open.remove(at);
        for change in &open.work.changes {
            apply(&self.schema, &mut self.visible, &change.deed);
        }
    }

    pub fn roll_back(&mut self, xid: u32) {
        let at = self.at(xid);
        self.open.remove(at);
    }

    pub fn savepoint(&mut self, xid: u32) {
        let at = self.at(xid);
        self.take_xid();
        let work = self.open[at].work.clone();
        self.open[at].savepoints.push(work);
    }

    /// Rolls back to the last savepoint, or releases it.
    pub fn end_savepoint(&mut self, xid: u32, keep: bool) -> bool {
        let at = self.at(xid);
        match self.open[at].savepoints.pop() {
            Some(work) if !keep => {
                self.open[at].work = work;
                true
            }
            _ => false,
        }
    }

    pub(super) fn row(&self, at: usize, table: usize, key: &Key) -> Option<Arc<Row>> {
        let work = &self.open[at].work;
        match work.overlay.get(&(table, key.clone())) {
            Some(row) => row.clone(),
            None if work.truncated.contains(&self.schema.oid_of(table, key)) => None,
            None => self.visible[table].get(key).cloned(),
        }
    }

    /// Whether this row may be written by this transaction now, without waiting for another.
    pub(super) fn lock(&mut self, at: usize, table: usize, key: &Key) -> bool {
        let free = self.open.iter().enumerate().all(|(other, open)| {
            other == at || !(open.tables.contains(&table) || open.locks.contains(&(table, key.clone())))
        });
        if free {
            self.open[at].locks.insert((table, key.clone()));
        }
        free
    }

    pub(super) fn push(&mut self, at: usize, table: usize, deed: Deed) {
        let published = self.published(table);
        let written = Lsn(self.insert);
        let change = |deed| Change { deed, published, at: written };
        let schema = Arc::clone(&self.schema);
        let described = &schema.tables[table];
        let work = &mut self.open[at].work;
        match &deed {
            Deed::Insert(_, row) => {
                work.overlay.insert((table, described.key_of(row)), Some(Arc::clone(row)));
            }
            Deed::Update(_, old, new) => {
                work.overlay.insert((table, described.key_of(old)), None);
                work.overlay.insert((table, described.key_of(new)), Some(Arc::clone(new)));
            }
            Deed::Delete(_, old) => {
                work.overlay.insert((table, described.key_of(old)), None);
            }
            Deed::Truncate(oids) => {
                work.overlay.retain(|(table, key), _| !oids.contains(&schema.oid_of(*table, key)));
                work.truncated.extend(oids);
            }
        }
        work.changes.push(change(deed));
    }

    /// A random statement in a running transaction.
    pub fn deed(&mut self, xid: u32, random: &mut Rng) {
        let at = self.at(xid);
        let table = random.usize(..self.schema.tables.len());
        if random.u8(..60) == 0 {
            return self.truncate(at, table, random);
        }
        if random.u8(..25) == 0 {
            return self.shift(at, table, random);
        }
        self.row_deed(at, table, random);
    }

    pub(super) fn row_deed(&mut self, at: usize, table: usize, random: &mut Rng) {
        let schema = Arc::clone(&self.schema);
        let described = &schema.tables[table];
        let mut drawn = described.row(random);
        let key = described.key_of(&drawn);
        if !self.lock(at, table, &key) {
            return;
        }
        let Some(old) = self.row(at, table, &key) else {
            return self.push(at, table, Deed::Insert(table, Arc::new(drawn)));
        };
        match random.u8(..10) {
            0..3 => self.push(at, table, Deed::Delete(table, old)),
            3..5 => {
                // The key moves; what was drawn stands for the new row, in part.
                let moved = described.row(random);
                for column in &described.key {
                    if random.bool() {
                        drawn[*column].clone_from(&moved[*column]);
                    }
                }
                let new = mixed(described.key.as_slice(), &old, drawn, random);
                self.update(at, table, &old, new);
            }
            _ => {
                let new = mixed(described.key.as_slice(), &old, drawn, random);
                self.update(at, table, &old, new);
            }
        }
    }

    pub(super) fn update(&mut self, at: usize, table: usize, old: &Arc<Row>, new: Row) {
        let schema = Arc::clone(&self.schema);
        let described = &schema.tables[table];
        let (before, after) = (described.key_of(old), described.key_of(&new));
        if before != after && (!self.lock(at, table, &after) || self.row(at, table, &after).is_some()) {
            return; // would wait, or is refused
        }
        let new = Arc::new(new);
        if schema.oid_of(table, &before) == schema.oid_of(table, &after) {
            return self.push(at, table, Deed::Update(table, Arc::clone(old), new));
        }
        // Into another leaf: the server makes two of it (hazard 28).
        self.push(at, table, Deed::Delete(table, Arc::clone(old)));
        self.push(at, table, Deed::Insert(table, new));
    }

    /// `UPDATE … SET id = id + 1`: the last one first, as the server's own check demands (hazard 24).
    fn shift(&mut self, at: usize, table: usize, random: &mut Rng) {
        let schema = Arc::clone(&self.schema);
        let described = &schema.tables[table];
        let column = described.key[described.key.len() - 1];
        let mut rows: Vec<Arc<Row>> = self.visible[table].values().cloned().collect();
        let number = |row: &Row| row[column].as_ref().and_then(|text| text.parse::<u32>().ok());
        if rows.iter().any(|row| number(row).is_none()) || rows.len() > 6 || random.bool() {
            return;
        }
        rows.sort_by_key(|row| std::cmp::Reverse(number(row)));
        for old in rows {
            let key = described.key_of(&old);
            if !self.lock(at, table, &key) {
                return;
            }
            let Some(old) = self.row(at, table, &key) else { continue };
            let mut new = Row::clone(&old);
            new[column] = number(&old).map(|number| (number + 1).to_string());
            self.update(at, table, &old, new);
        }
    }

    pub(super) fn truncate(&mut self, at: usize, table: usize, random: &mut Rng) {
        let exclusive = self.open.iter().enumerate().all(|(other, open)| {
            other == at || !(open.tables.contains(&table) || open.locks.iter().any(|(t, _)| *t == table))
        });
        if !exclusive {
            return;
        }
        let mut oids = self.schema.row_oids(table);
        if oids.len() > 1 && random.bool() {
            oids.remove(random.usize(..oids.len()));
        }
        self.open[at].tables.insert(table);
        self.push(at, table, Deed::Truncate(oids));
    }
}

/// The old row with some of the new one's columns; the key is the new one's.
fn mixed(key: &[usize], old: &Row, drawn: Row, random: &mut Rng) -> Row {
    let columns = old.iter().zip(drawn).enumerate();
    columns
        .map(|(at, (old, new))| if key.contains(&at) || random.u8(..3) == 0 { new } else { old.clone() })
        .collect()
}
