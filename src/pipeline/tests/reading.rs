//! The backfill, as the task does it: one step at a time, begun again wherever it was interrupted.

use bytes::Bytes;

use super::database::{TABLES, oid_of};
use super::world::World;
use crate::journal::entry::{Backfill, Unit};
use crate::model::{EntryNo, KeyClass};
use crate::pipeline::ingest::{Done, Order};
use crate::source::{ChunkHead, HeldChunk};
use crate::store::engine::Engine;
use crate::store::meta::{self, UnitState};

/// How far the job is.
#[derive(Debug, Default)]
pub struct Reading {
    phase: Phase,
    /// Read, and not given to ingest yet; whether its marker was emitted.
    selected: Option<(HeldChunk, bool)>,
    in_flight: Vec<u64>,
}

#[derive(Debug, Default)]
enum Phase {
    #[default]
    Idle,
    /// Waits for an order, then for apply.
    Begin(u64),
    Units {
        begin: EntryNo,
        all: Vec<UnitState>,
        left: Vec<UnitState>,
    },
    /// A marker for reading incomplete rows.
    KeysBegin {
        begin: EntryNo,
        all: Vec<UnitState>,
        ticket: u64,
    },
    Keys {
        begin: EntryNo,
        all: Vec<UnitState>,
        left: Vec<(usize, u32, Vec<Vec<String>>)>,
        since: EntryNo,
    },
    End(u64),
}

impl World {
    /// A step of the backfill.
    pub fn read(&mut self) {
        let dropped = |ticket: &u64| self.done.get(ticket) == Some(&Done::Dropped);
        if self.reading.in_flight.iter().any(dropped) || self.random.u8(..80) == 0 {
            self.reading = Reading::default();
        }
        if self.reading.selected.is_some() {
            return self.emit();
        }
        let phase = std::mem::take(&mut self.reading.phase);
        self.reading.phase = self.proceed(phase);
    }

    /// The marker follows the SELECT, and ingest hears of the chunk before or after the marker comes back.
    fn emit(&mut self) {
        let Some((chunk, emitted)) = self.reading.selected.take() else { return };
        if !emitted {
            self.database.marker(&chunk.nonce);
        }
        if emitted || self.random.bool() {
            let ticket = self.order(Order::Chunk(chunk));
            self.reading.in_flight.push(ticket);
        } else {
            self.reading.selected = Some((chunk, true));
        }
    }

    fn nonce(&mut self) -> String {
        format!("{:x}", self.random.u64(..))
    }

    fn begin(&mut self, units: Vec<Unit>, keys_only: bool) -> u64 {
        let nonce = self.nonce();
        let backfill = Backfill { begin: EntryNo::ZERO, units, keys_only, transaction: None };
        let ticket = self.order(Order::Begin { nonce: nonce.clone(), backfill });
        self.database.marker(&nonce);
        ticket
    }

    /// The entry of an order once apply has passed it.
    fn passed(&self, ticket: u64) -> Option<EntryNo> {
        match self.done.get(&ticket) {
            Some(Done::Appended(entry)) if self.applier.reached().entry >= *entry => Some(*entry),
            _ => None,
        }
    }

    fn proceed(&mut self, phase: Phase) -> Phase {
        match phase {
            Phase::Idle => self.look(),
            Phase::Begin(ticket) | Phase::End(ticket) if self.passed(ticket).is_some() => Phase::Idle,
            Phase::Begin(ticket) if self.done.get(&ticket) == Some(&Done::Dropped) => Phase::Idle,
            Phase::Units { begin, all, left } => self.read_units(begin, all, left),
            Phase::KeysBegin { begin, all, ticket } => match self.passed(ticket) {
                Some(since) => Phase::Keys { begin, all, left: self.incomplete(), since },
                None => Phase::KeysBegin { begin, all, ticket },
            },
            Phase::Keys { begin, all, mut left, since } => match left.pop() {
                Some((table, oid, keys)) => {
                    self.select_keys(since, table, oid, &keys);
                    Phase::Keys { begin, all, left, since }
                }
                None => Phase::Units { begin, all, left: Vec::new() },
            },
            waiting => waiting,
        }
    }

    fn look(&mut self) -> Phase {
        let units = self.applier.units().to_vec();
        let open = |unit: &&UnitState| !unit.complete && !unit.again && unit.begin != EntryNo::ZERO;
        if let Some(begin) = units.iter().filter(open).map(|unit| unit.begin).min() {
            let all: Vec<_> = units.iter().filter(open).filter(|unit| unit.begin == begin).cloned().collect();
            return Phase::Units { begin, left: all.clone(), all };
        }
        let fresh: Vec<_> = units.iter().filter(|unit| !unit.complete && !unit.again).collect();
        if fresh.is_empty() {
            return Phase::Idle;
        }
        let units = fresh.iter().map(|unit| Unit { table: unit.table, oid: unit.oid }).collect();
        Phase::Begin(self.begin(units, false))
    }

    fn read_units(&mut self, begin: EntryNo, all: Vec<UnitState>, mut left: Vec<UnitState>) -> Phase {
        let now = |unit: &UnitState, world: &World| {
            world.applier.units().iter().find(|now| now.oid == unit.oid && now.begin == begin).cloned()
        };
        while let Some(unit) = left.last_mut() {
            match now(unit, self) {
                Some(now) if now.truncated || unit.read_whole => {
                    left.pop();
                }
                Some(_) => {
                    if self.reading.in_flight.iter().filter(|ticket| !self.done.contains_key(*ticket)).count()
                        < 2
                    {
                        self.select(begin, left.len() - 1, &mut left);
                    }
                    return Phase::Units { begin, all, left };
                }
                None => return Phase::Idle,
            }
        }
        if !self.reading.in_flight.iter().all(|ticket| self.passed(*ticket).is_some()) {
            return Phase::Units { begin, all, left };
        }
        self.reading.in_flight.clear();
        let units: Vec<_> = all.iter().map(|unit| Unit { table: unit.table, oid: unit.oid }).collect();
        if !self.incomplete().is_empty() {
            let ticket = self.begin(units, true);
            return Phase::KeysBegin { begin, all, ticket };
        }
        Phase::End(self.order(Order::End(Backfill { begin, units, keys_only: false, transaction: None })))
    }

    fn select(&mut self, begin: EntryNo, at: usize, left: &mut [UnitState]) {
        let unit = &mut left[at];
        let table = usize::from(unit.table.0) - 1;
        let size = self.random.usize(1..4);
        let rows: Vec<_> = self.database.state[table]
            .iter()
            .filter(|(key, _)| {
                oid_of(table, key) == unit.oid && unit.last_key.as_ref().is_none_or(|last| *key > last)
            })
            .take(size)
            .map(|(key, row)| (key.clone(), row.clone()))
            .collect();
        let last = rows.len() < size;
        let last_key = rows.last().map(|(key, _)| key.clone());
        let lines = rows.iter().map(|(_, row)| line(row)).collect::<String>();
        let head = ChunkHead {
            begin,
            table: unit.table,
            oid: unit.oid,
            sequence: unit.sequence,
            after: unit.last_key.clone(),
            columns: columns(table),
            rows: rows.len() as u32,
            last_key: last_key.clone(),
            last,
            keys_only: false,
        };
        unit.sequence += 1;
        unit.last_key = last_key.or(unit.last_key.take());
        unit.read_whole = last;
        let nonce = self.nonce();
        self.reading.selected = Some((HeldChunk { nonce, head, rows: Bytes::from(lines) }, false));
    }

    fn select_keys(&mut self, begin: EntryNo, table: usize, oid: u32, keys: &[Vec<String>]) {
        let state = &self.database.state[table];
        let rows: Vec<_> =
            keys.iter().filter(|key| oid_of(table, key) == oid).filter_map(|key| state.get(key)).collect();
        let head = ChunkHead {
            begin,
            table: crate::model::TableId(table as u16 + 1),
            oid,
            sequence: 0,
            after: None,
            columns: columns(table),
            rows: rows.len() as u32,
            last_key: None,
            last: true,
            keys_only: true,
        };
        let lines = rows.iter().map(|row| line(row)).collect::<String>();
        let nonce = self.nonce();
        self.reading.selected = Some((HeldChunk { nonce, head, rows: Bytes::from(lines) }, false));
    }

    /// Keys of incomplete rows, by table and oid.
    fn incomplete(&self) -> Vec<(usize, u32, Vec<Vec<String>>)> {
        let view = self.store.view().unwrap();
        let mut keys = Vec::new();
        for (id, key) in meta::incomplete(&view, EntryNo::ZERO, 100).unwrap() {
            let table = usize::from(id.0) - 1;
            let mut rest = &key[..];
            let mut texts = Vec::new();
            for column in TABLES[table].key {
                let kind = super::database::catalog().tables[table].columns[*column].kind.clone();
                let (text, behind) = KeyClass::of(&kind).unwrap().decode(rest).unwrap();
                texts.push(text);
                rest = behind;
            }
            keys.push((table, oid_of(table, &texts), vec![texts]));
        }
        keys
    }
}

fn columns(table: usize) -> Vec<(i16, String, u32)> {
    let columns = TABLES[table].columns.iter().enumerate();
    columns.map(|(at, (name, _))| (at as i16 + 1, (*name).to_owned(), 0)).collect()
}

fn line(row: &super::database::Texts) -> String {
    let cells: Vec<_> = row.iter().map(|cell| cell.as_deref().unwrap_or("\\N")).collect();
    format!("{}\n", cells.join("\t"))
}
