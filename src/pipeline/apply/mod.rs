//! Apply: journal -> row store. A fold of the journal alone.
//!
//! [`Applier::step`] takes the entries that have become durable and the documents that deliver has settled,
//! and makes them one batch of the store (or several, for something large: rule 29). It knows no thread and
//! no clock; `run` drives it.
//!
//! Reading order: [`work`] (the open batch and what it has gathered), [`facts`] (definitions and layouts come
//! into force), [`units`] (what is to be read), [`transaction`] (messages), [`change`] (one row), [`backfill`] (chunks and sweeps),
//! [`early`] (transactions older than a reading), [`unfold`] (scans become points).

pub mod backfill;
mod change;
mod document_key;
mod early;
pub mod facts;
mod order;
pub mod transaction;
mod unfold;
mod units;
mod work;

use std::sync::Arc;

use hashbrown::HashMap;

use crate::journal::Kind;
use crate::journal::entry::{Command, Commit, InvalidEntry, Position, Record};
use crate::model::{EntryNo, Generation};
use crate::planted::{self, Bug};
use crate::projection::affected::FAN_OUT_MAX;
use crate::store::dirty::{self, Target};
use crate::store::engine::{self, Engine};
use crate::store::meta::{self, GenerationState, Reached, Stage, UnitState};
use crate::store::schema::Schema;
use transaction::Bound;
use work::Work;

/// How much apply does at a time.
/// (Tests use small limits, so that everything large happens to a few rows.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rows changed in one batch of the store before it is committed, when entries allow: large enough that a
    /// commit costs little, small enough that memory and the pause of deliver stay small (rule 29).
    pub batch_rows: usize,
    /// A generation with fewer scan points than this in its queue gets the next slice of its scan.
    pub scan_points_low: u64,
    /// Rows of one slice of a scan, a TRUNCATE, a sweep or a move of a table.
    pub slice_rows: usize,
    /// Rows that one fan-out may lead to before it becomes a scan.
    pub fan_out: usize,
}

impl Limits {
    /// So small that everything large happens to a few rows.
    pub const SMALL: Limits = Limits { batch_rows: 4, scan_points_low: 2, slice_rows: 2, fan_out: 2 };
}

impl Default for Limits {
    fn default() -> Self {
        if cfg!(test) {
            Limits::SMALL
        } else {
            Limits { batch_rows: 20_000, scan_points_low: 4_000, slice_rows: 2_000, fan_out: FAN_OUT_MAX }
        }
    }
}

/// Why apply cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] engine::Error),
    #[error("journal-unreadable: entry {entry}: {source}")]
    Entry { entry: EntryNo, source: InvalidEntry },
    #[error("journal-unreadable: entry {entry}: {reason}")]
    Message { entry: EntryNo, reason: String },
    #[error("facts-invalid: entry {entry}: {reason}")]
    Facts { entry: EntryNo, reason: String },
    #[error("journal-gap: entry {found} follows {after}")]
    Gap { after: EntryNo, found: EntryNo },
}

/// The facts in force, compiled: shared with deliver.
#[derive(Clone, Debug, Default)]
pub struct Compiled {
    /// The Facts entry.
    pub entry: EntryNo,
    pub schema: Schema,
    /// Generation of each plan, by position.
    pub generations: Vec<Generation>,
}

/// The fold.
pub use backfill::{join_chunk, split_chunk};
pub use document_key::{from_hex, to_hex};
pub use order::{Order, Settle};

pub struct Applier<E> {
    engine: Arc<E>,
    reached: Reached,
    compiled: Arc<Compiled>,
    generations: Vec<GenerationState>,
    units: Vec<UnitState>,
    relations: HashMap<u32, Bound>,
    /// Id of the transaction that is being applied, when it began before a marker L (see [`early`]).
    early: Option<u32>,
    limits: Limits,
}

impl<E: Engine> Applier<E> {
    /// Goes on where the store stands. A new store begins before the first entry of this journal.
    pub fn load(engine: Arc<E>, journal_id: &str) -> Result<Applier<E>, Error> {
        let view = engine.view()?;
        let mut reached = meta::reached(&view)?;
        if reached.journal_id.is_empty() {
            reached.journal_id = journal_id.to_owned();
        }
        let generations = meta::generations(&view)?;
        let units = meta::units(&view)?;
        let facts = meta::facts(&view)?;
        let storage = meta::storage(&view)?;
        let relations = meta::relations(&view)?;
        drop(view);
        let compiled = match facts {
            None => Compiled::default(),
            Some(payload) => facts::compile(reached.facts, &payload, &storage, Limits::default())?,
        };
        let mut applier = Applier {
            engine,
            reached,
            compiled: Arc::new(compiled),
            generations,
            units,
            relations: HashMap::new(),
            early: None,
            limits: Limits::default(),
        };
        for message in relations {
            applier.bind(&message)?;
        }
        if planted::is(Bug::HalfAppliedIsDone) && applier.reached.inside {
            applier.reached.message = u32::MAX;
        }
        if planted::is(Bug::ScanNotDurable) {
            applier.reached.dirty.iter_mut().for_each(|(_, count)| count.scans = 0);
        }
        Ok(applier)
    }

    pub fn with_limits(mut self, limits: Limits) -> Applier<E> {
        self.limits = limits;
        Arc::make_mut(&mut self.compiled).schema.plans.fan_out_max = limits.fan_out;
        self
    }

    pub fn reached(&self) -> &Reached {
        &self.reached
    }

    pub fn compiled(&self) -> &Arc<Compiled> {
        &self.compiled
    }

    pub fn generations(&self) -> &[GenerationState] {
        &self.generations
    }

    pub fn units(&self) -> &[UnitState] {
        &self.units
    }

    /// Whether there is a scan to unfold now.
    pub fn has_scans(&self) -> bool {
        self.generations.iter().any(|state| self.wants_slice(state))
    }

    /// Applies entries in their order, settles documents, carries out orders, and unfolds a slice of a scan
    /// where the queue runs low; all in one batch unless it is too large for one. Entries at or before the
    /// one reached are skipped: after a crash the journal is read again from there.
    pub fn step(&mut self, records: &[Record], settles: &[Settle], orders: &[Order]) -> Result<u64, Error> {
        let engine = Arc::clone(&self.engine);
        let mut work = Work::new(&*engine)?;
        for settle in settles {
            self.settle(&mut work, settle)?;
        }
        for order in orders {
            self.order(&mut work, order)?;
        }
        let mut rows = 0;
        for record in records {
            if record.number <= self.reached.entry {
                continue;
            }
            if record.number != self.reached.entry.next() {
                return Err(Error::Gap { after: self.reached.entry, found: record.number });
            }
            self.entry(&mut work, record)?;
            self.reached.entry = record.number;
            self.reached.message = 0;
            self.reached.inside = record.kind == Kind::TransactionPart;
            if work.rows >= self.limits.batch_rows {
                rows += work.rows as u64;
                self.commit(&mut work)?;
            }
        }
        self.unfold_slice(&mut work)?;
        // A barrier waits for the points of this batch too (rule 23).
        work.write_points(&mut self.reached)?;
        for position in 0..self.generations.len() {
            dirty::lift_barriers(work.batch()?, self.generations[position].generation)?;
        }
        rows += work.rows as u64;
        self.commit(&mut work)?;
        Ok(rows)
    }

    fn entry(&mut self, work: &mut Work<'_, E>, record: &Record) -> Result<(), Error> {
        let entry = record.number;
        self.early = None;
        match record.kind {
            Kind::Connected if planted::is(Bug::RelationKept) => {}
            Kind::Connected => {
                self.relations.clear();
                meta::clear_relations(work.batch()?)?;
            }
            Kind::Facts => self.facts(work, entry, &record.payload)?,
            Kind::Intent => {}
            Kind::Position => {
                let position: Position = json(record)?;
                self.reached.lsn = position.lsn;
            }
            Kind::Rebuild => {
                let position: Position = json(record)?;
                self.rebuild(work, entry, &position)?;
            }
            Kind::TransactionPart => {
                if let Some(xid) = early::xid_of_part(&record.payload) {
                    self.note_early(work, xid)?;
                }
                self.messages(work, entry, &record.payload)?;
            }
            Kind::Transaction => {
                let (commit, messages) =
                    Commit::decode(&record.payload).map_err(|source| Error::Entry { entry, source })?;
                self.note_early(work, commit.xid)?;
                self.messages(work, entry, messages)?;
                self.reached.lsn = commit.end;
                self.reached.commit_time_us = commit.time_us;
            }
            Kind::BackfillBegin => {
                let backfill = json(record)?;
                self.backfill_begin(work, entry, &backfill)?;
            }
            Kind::Chunk => self.chunk(work, record)?,
            Kind::BackfillEnd => {
                let backfill = json(record)?;
                self.backfill_end(work, entry, &backfill)?;
            }
            Kind::Command => {
                let command: Command = json(record)?;
                self.command(work, entry, &command)?;
            }
        }
        Ok(())
    }

    /// Positions begin anew and every table is to be read again: whatever the stream said last may have a
    /// gap behind it.
    fn rebuild(&mut self, work: &mut Work<'_, E>, entry: EntryNo, position: &Position) -> Result<(), Error> {
        self.reached.lsn = position.lsn;
        self.relations.clear();
        meta::clear_relations(work.batch()?)?;
        for unit in &mut self.units {
            *unit = UnitState::unread(unit.table, unit.oid);
            meta::put_unit(work.batch()?, unit)?;
        }
        self.open_generations(work, entry)
    }

    /// Begins an empty store in the middle of the journal, where everything is read again.
    pub fn begin_at(&mut self, entry: EntryNo) {
        if self.reached.entry == EntryNo::ZERO {
            self.reached.entry = entry;
        }
    }

    fn command(&mut self, work: &mut Work<'_, E>, entry: EntryNo, command: &Command) -> Result<(), Error> {
        match command {
            Command::Whole { generation } => {
                if self.generations.iter().any(|state| state.generation == *generation) {
                    work.scan(&mut self.reached, *generation, Target::Whole, 0, (entry, entry))?;
                }
            }
            Command::Anew { generation } => {
                for state in &mut self.generations {
                    if state.generation == *generation && state.built_from != EntryNo::ZERO {
                        state.built_from = entry;
                        state.published = false;
                        if state.stage == Stage::Live {
                            state.stage = Stage::Building;
                        }
                        meta::put_generation(work.batch()?, state)?;
                        work.scan(&mut self.reached, *generation, Target::Whole, 0, (entry, entry))?;
                    }
                }
            }
            Command::Documents { generation, .. } if !self.is_known(*generation) => {}
            Command::ReadAgain { units } => {
                for unit in &mut self.units {
                    if units.iter().any(|named| named.table == unit.table && named.oid == unit.oid) {
                        *unit = UnitState::unread(unit.table, unit.oid);
                        meta::put_unit(work.batch()?, unit)?;
                    }
                }
                self.open_generations(work, entry)?;
            }
            Command::Documents { generation, keys } => {
                for key in keys {
                    let key = from_hex(key).ok_or_else(|| Error::Message {
                        entry,
                        reason: "a document's key is not hexadecimal".to_owned(),
                    })?;
                    work.point(*generation, key, entry);
                }
            }
        }
        Ok(())
    }

    /// Dropped generations owe nothing, whatever is still said of them.
    fn is_known(&self, generation: Generation) -> bool {
        self.generations.iter().any(|state| state.generation == generation)
    }

    /// Commits what is open, with how far it has come, and begins anew.
    fn commit(&mut self, work: &mut Work<'_, E>) -> Result<(), Error> {
        work.commit(&mut self.reached)
    }

    /// Whether anything of this projection's generation is worth a mark: one that was never built gets a
    /// whole scan once its tables are complete, and its index is empty until then.
    fn is_marked(state: &GenerationState) -> bool {
        match state.stage {
            Stage::Waiting => state.built_from != EntryNo::ZERO,
            Stage::Building | Stage::Live => true,
            Stage::Dropped => false,
        }
    }

    /// Plans whose documents are to be marked, with their generations.
    fn marked_plans(&self) -> Vec<(usize, Generation)> {
        let compiled = &self.compiled;
        compiled
            .generations
            .iter()
            .enumerate()
            .filter(|(_, generation)| {
                self.generations
                    .iter()
                    .any(|state| state.generation == **generation && Self::is_marked(state))
            })
            .map(|(plan, generation)| (plan, *generation))
            .collect()
    }
}

/// The counters of one generation.
fn count_of(reached: &mut Reached, generation: Generation) -> &mut dirty::Count {
    let position = match reached.dirty.iter().position(|(known, _)| *known == generation) {
        Some(position) => position,
        None => {
            reached.dirty.push((generation, dirty::Count::default()));
            reached.dirty.len() - 1
        }
    };
    &mut reached.dirty[position].1
}

fn json<T: serde::de::DeserializeOwned>(record: &Record) -> Result<T, Error> {
    serde_json::from_slice(&record.payload).map_err(|error| Error::Entry {
        entry: record.number,
        source: InvalidEntry { kind: record.kind.name(), reason: error.to_string() },
    })
}
