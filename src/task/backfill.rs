//! Backfill: every table that is not complete is read in chunks beside the running stream (rules 11-18).
//!
//! ```text
//! marker L ----> comes back: BackfillBegin is journaled (its number is L)
//! wait-out       until every transaction that ran then has ended (rules 12, 13)
//! chunks  ----> SELECT and marker in one session; journaled where the marker comes back (rule 11)
//! incomplete keys, again and again until there are none (rule 16)
//! BackfillEnd -> sweep, complete
//! ```
//!
//! The state is the store's: a backfill that was interrupted goes on behind the last chunk that apply has
//! seen, whoever interrupted it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::chunk_size::{CHUNK_ROWS, adapted};
use crate::failpoint;
use crate::journal::entry::{Backfill as Units, Unit};
use crate::model::{Catalog, EntryNo, Table};
use crate::pipeline::Observer;
use crate::pipeline::ingest::{Done, Order};
use crate::pipeline::run::apply_loop::{Board, Published, look};
use crate::pipeline::run::clock::{Clock, Random, within};
use crate::pipeline::run::ingest_loop::Input;
use crate::pipeline::status::BackfillStatus;
use crate::planted::{self, Bug};
use crate::source::{ChunkRange, ChunkRequest, Error, Source};
use crate::store::engine::Engine;
use crate::store::meta::UnitState;

/// Chunks whose markers have not come back yet.
const CHUNKS_IN_FLIGHT: usize = 4;
/// A marker that has not come back after so long is given up, and with it this attempt.
const MARKER_WAIT_MAX: Duration = Duration::from_secs(600);

/// Limits, from the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Rows of the first chunk.
    pub chunk_rows: u32,
    /// How long a chunk's SELECT should take (rule 42).
    pub chunk_target: Duration,
}

/// Why an attempt ended. All of them are tried again, behind the last chunk applied.
#[derive(Debug, thiserror::Error)]
pub enum Interrupted {
    #[error(transparent)]
    Source(#[from] Error),
    #[error("the connection ended")]
    Lost,
    #[error("a marker did not come back in {0:?}")]
    NoMarker(Duration),
    #[error("{0}")]
    Store(String),
    #[error("the columns of {0} changed while it was read")]
    Changed(String),
}

/// The job, while one replication connection lasts.
pub struct Backfill<E> {
    pub source: Arc<dyn Source>,
    pub engine: Arc<E>,
    pub ingest: mpsc::Sender<Input>,
    pub board: Board,
    pub changed: watch::Receiver<u64>,
    pub observer: Arc<dyn Observer>,
    pub status: Arc<Mutex<Vec<BackfillStatus>>>,
    pub options: Options,
    pub clock: Arc<dyn Clock>,
    pub random: Random,
}

impl<E: Engine> Backfill<E> {
    /// Reads what is incomplete, then waits for something to become so; ends only when interrupted.
    pub async fn run(mut self) -> Interrupted {
        loop {
            if let Err(interrupted) = self.once().await {
                return interrupted;
            }
            // An end that apply did not take (rule 16): nothing else need happen for what is left to be read.
            if look(&self.board).units.iter().any(|unit| !unit.complete && !unit.again) {
                continue;
            }
            if self.changed.changed().await.is_err() {
                return Interrupted::Lost;
            }
        }
    }

    /// One round: everything that is incomplete now.
    pub async fn once(&mut self) -> Result<(), Interrupted> {
        self.caught_up().await?;
        let published = look(&self.board);
        let (open, fresh): (Vec<_>, Vec<_>) = published
            .units
            .iter()
            .filter(|unit| !unit.complete && !unit.again) // those need new facts first
            .cloned()
            .partition(|unit| unit.begin != EntryNo::ZERO);
        let mut begins: Vec<EntryNo> = open.iter().map(|unit| unit.begin).collect();
        if !fresh.is_empty() {
            let units: Vec<_> = fresh.iter().map(|unit| Unit { table: unit.table, oid: unit.oid }).collect();
            begins.push(self.begin(units).await?);
        }
        begins.sort_unstable();
        begins.dedup();
        if !begins.is_empty() {
            self.note_waiting(&begins);
            self.wait_out().await?;
        }
        for begin in begins {
            self.read(begin).await?;
        }
        let published = look(&self.board);
        if published.reached.incomplete > 0 && published.units.iter().all(|unit| unit.complete) {
            self.mend_steady().await?;
        }
        Ok(())
    }

    /// Marker L for these units; returns L once apply has seen it.
    pub async fn begin(&mut self, units: Vec<Unit>) -> Result<EntryNo, Interrupted> {
        let backfill = Units { begin: EntryNo::ZERO, units, keys_only: false, transaction: None };
        let begin = self.marked(backfill).await?;
        self.applied(begin).await?;
        failpoint::hit("backfill.begun");
        Ok(begin)
    }

    pub(super) async fn marked(&mut self, mut backfill: Units) -> Result<EntryNo, Interrupted> {
        let nonce = self.nonce();
        backfill.transaction = Some(self.source.emit_marker(&nonce).await?);
        // Ingest remembers a marker that is quicker than its order.
        let done = self.order(Order::Begin { nonce, backfill }).await?;
        failpoint::hit("backfill.marked");
        self.appended(done).await
    }

    /// What is going to be read, before the wait that may be long.
    fn note_waiting(&self, begins: &[EntryNo]) {
        let published = look(&self.board);
        let catalog = &published.compiled.schema.catalog;
        for unit in published.units.iter().filter(|unit| !unit.complete && begins.contains(&unit.begin)) {
            self.note(catalog, unit, unit.rows, 0, "waiting");
        }
    }

    pub(super) async fn wait_out(&self) -> Result<(), Interrupted> {
        if planted::is(Bug::NoWaitOut) {
            return Ok(());
        }
        let status = Arc::clone(&self.status);
        let note = move |whom: Option<String>| {
            let mut tables = lock(&status);
            let mut waiting: Vec<_> = tables.iter_mut().filter(|table| table.state == "waiting").collect();
            if let Some(whom) = &whom
                && waiting.iter().any(|table| table.waits_for.as_ref() != Some(whom))
            {
                tracing::info!(whom, "reading tables waits for running transactions");
            }
            waiting.iter_mut().for_each(|table| table.waits_for.clone_from(&whom));
        };
        self.source.wait_out(&|whom| note(Some(whom))).await?;
        failpoint::hit("backfill.waited");
        note(None);
        Ok(())
    }

    /// Reads all units of one L to their ends.
    async fn read(&mut self, begin: EntryNo) -> Result<(), Interrupted> {
        let published = look(&self.board);
        let units: Vec<UnitState> =
            published.units.iter().filter(|unit| unit.begin == begin && !unit.complete).cloned().collect();
        let catalog = published.compiled.schema.catalog.clone();
        let mut estimates = Vec::new();
        for unit in &units {
            let estimate = self.source.estimate(unit.oid).await?;
            self.note(&catalog, unit, unit.rows, estimate, "waiting");
            estimates.push(estimate);
        }
        for (unit, estimate) in units.iter().zip(&estimates) {
            let Some(table) = catalog.by_id(unit.table) else { continue };
            if !unit.read_whole && !unit.truncated {
                self.read_unit(begin, table, unit, *estimate).await?;
            }
        }
        self.fill_incomplete(begin, &units).await?;
        let done = Units {
            begin,
            units: units.iter().map(|unit| Unit { table: unit.table, oid: unit.oid }).collect(),
            keys_only: false,
            transaction: None,
        };
        failpoint::hit("backfill.ending");
        let ended = self.appended(self.order(Order::End(done)).await?).await?;
        self.applied(ended).await?;
        failpoint::hit("backfill.ended");
        for (unit, estimate) in units.iter().zip(&estimates) {
            let now = look(&self.board).units.iter().find(|now| now.oid == unit.oid).cloned();
            let rows = now.map_or(unit.rows, |now| now.rows);
            self.note(&catalog, unit, rows, *estimate, "complete");
        }
        Ok(())
    }

    async fn read_unit(
        &mut self,
        begin: EntryNo,
        table: &Table,
        unit: &UnitState,
        estimate: u64,
    ) -> Result<(), Interrupted> {
        let catalog = Catalog { tables: vec![table.clone()] };
        let mut sequence = unit.sequence;
        let mut last_key = unit.last_key.clone();
        let mut rows = unit.rows;
        let mut size = self.options.chunk_rows.clamp(CHUNK_ROWS.0, CHUNK_ROWS.1);
        let mut in_flight = Vec::new();
        let mut appended = begin;
        loop {
            let request = ChunkRequest {
                begin,
                table,
                oid: unit.oid,
                sequence,
                range: ChunkRange::After(last_key.take()),
                rows: size,
                nonce: self.nonce(),
            };
            let (ticket, last, read, key, took) = self.chunk(&request).await?;
            rows += read;
            sequence += 1;
            last_key = key;
            size = adapted(size, took, self.options.chunk_target);
            self.note(&catalog, unit, rows, estimate, "reading");
            self.observer.backfilled(&table.qualified_name(), rows, estimate);
            in_flight.push(ticket);
            if in_flight.len() >= CHUNKS_IN_FLIGHT || last {
                for ticket in in_flight.drain(..) {
                    appended = self.appended(ticket).await?;
                }
            }
            if self.is_overtaken(unit, begin)? {
                return Ok(()); // rule 15: the rest is in the stream
            }
            if last {
                // Before that nobody knows which rows are incomplete (rule 16).
                return self.applied(appended).await;
            }
        }
    }

    /// Reads a chunk with its marker, and hands it to ingest.
    pub(super) async fn chunk(
        &self,
        request: &ChunkRequest<'_>,
    ) -> Result<(oneshot::Receiver<Done>, bool, u64, Option<Vec<String>>, Duration), Interrupted> {
        let (chunk, took) = self.source.read_chunk(request).await?;
        failpoint::hit("backfill.chunk_read");
        let (last, rows, key) = (chunk.head.last, u64::from(chunk.head.rows), chunk.head.last_key.clone());
        let ticket = self.order(Order::Chunk(chunk)).await?;
        failpoint::hit("backfill.chunk_ordered");
        Ok((ticket, last, rows, key, took))
    }

    fn is_overtaken(&self, unit: &UnitState, begin: EntryNo) -> Result<bool, Interrupted> {
        let published = look(&self.board);
        let now = published.units.iter().find(|now| now.table == unit.table && now.oid == unit.oid);
        match now {
            Some(now) if now.again => Err(Interrupted::Changed(format!("table {}", now.oid))),
            Some(now) => Ok(now.truncated && now.begin == begin),
            None => Err(Interrupted::Changed(format!("table {}", unit.oid))),
        }
    }

    async fn order(&self, order: Order) -> Result<oneshot::Receiver<Done>, Interrupted> {
        let (answer, done) = oneshot::channel();
        self.ingest.send(Input::Order(order, answer)).await.map_err(|_| Interrupted::Lost)?;
        Ok(done)
    }

    /// Waits until apply has seen an entry.
    pub(super) async fn applied(&mut self, entry: EntryNo) -> Result<(), Interrupted> {
        self.wait_for(|published| published.reached.entry >= entry && !published.reached.inside).await
    }

    pub(super) async fn caught_up(&mut self) -> Result<(), Interrupted> {
        self.wait_for(|published| published.caught_up && !published.reached.inside).await
    }

    async fn wait_for(&mut self, reached: impl Fn(&Published) -> bool) -> Result<(), Interrupted> {
        while !reached(&look(&self.board)) {
            self.changed.changed().await.map_err(|_| Interrupted::Lost)?;
        }
        Ok(())
    }

    /// Unique for ever: a marker of an earlier attempt must not be taken for one of this.
    pub(super) fn nonce(&self) -> String {
        format!("{:016x}{:016x}", (self.random)(), (self.random)())
    }

    pub(super) async fn appended(&self, done: oneshot::Receiver<Done>) -> Result<EntryNo, Interrupted> {
        match within(&*self.clock, MARKER_WAIT_MAX, done).await {
            Some(Ok(Done::Appended(entry))) => Ok(entry),
            Some(Ok(Done::Dropped) | Err(_)) => Err(Interrupted::Lost),
            None => Err(Interrupted::NoMarker(MARKER_WAIT_MAX)),
        }
    }

    fn note(&self, catalog: &Catalog, unit: &UnitState, rows: u64, estimate: u64, state: &str) {
        let Some(table) = catalog.by_id(unit.table) else { return };
        let leaf = table.leaves.iter().find(|leaf| leaf.oid == unit.oid);
        let name =
            leaf.map_or_else(|| table.qualified_name(), |leaf| format!("{}.{}", leaf.schema, leaf.name));
        let status = BackfillStatus { table: name, rows, estimate, state: state.to_owned(), waits_for: None };
        let mut all = lock(&self.status);
        match all.iter_mut().find(|known| known.table == status.table) {
            Some(known) => *known = status,
            None => all.push(status),
        }
    }
}

fn lock(status: &Mutex<Vec<BackfillStatus>>) -> std::sync::MutexGuard<'_, Vec<BackfillStatus>> {
    status.lock().unwrap_or_else(PoisonError::into_inner) // a list for display: half an update is no harm
}
