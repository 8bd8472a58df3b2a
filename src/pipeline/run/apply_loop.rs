//! The thread of apply: reads what is durable, folds it into the store, settles what was delivered.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use tokio::sync::watch;

use super::ingest_loop::TICK;
use crate::journal::Reader;
use crate::model::{EntryNo, Generation, Lsn};
use crate::pipeline::Observer;
use crate::pipeline::apply::{Applier, Compiled, Error, Order, Settle};
use crate::store::dirty;
use crate::store::engine::Engine;
use crate::store::meta::{GenerationState, Reached, UnitState};

/// Bytes of entries read and applied at a time: bounds memory, and how long settled documents wait.
const READ_BYTES: usize = 2 << 20;
/// Commits remembered to tell the WAL position of an entry.
const POSITIONS_MAX: usize = 65_536;

/// What apply is told.
pub enum Input {
    /// Ingest has made more durable.
    Durable,
    Settled(Vec<Settle>),
    Order(Order),
    Stop,
}

/// What the store holds, for everyone to look at.
#[derive(Clone, Debug, Default)]
pub struct Published {
    pub compiled: Arc<Compiled>,
    pub reached: Reached,
    pub generations: Vec<GenerationState>,
    pub units: Vec<UnitState>,
    /// Everything up to here is in the sink, by generation.
    pub projected: Vec<(Generation, EntryNo, Lsn)>,
    /// Apply has reached the end of the journal as it was found.
    pub caught_up: bool,
    /// The last of deliver's batches that is settled in the store.
    pub settled: u64,
}

/// Shared: written by apply, read by all.
pub type Board = Arc<RwLock<Arc<Published>>>;

/// What was published last.
pub fn look(board: &Board) -> Arc<Published> {
    // Only an Arc is replaced under the lock: a panic cannot leave it half written.
    Arc::clone(&board.read().unwrap_or_else(PoisonError::into_inner))
}

/// Everything the thread needs.
pub struct Apply<E: Engine> {
    pub applier: Applier<E>,
    pub engine: Arc<E>,
    pub reader: Reader,
    pub inputs: Receiver<Input>,
    pub durable: watch::Receiver<super::ingest_loop::Progress>,
    pub board: Board,
    pub changed: watch::Sender<u64>,
    pub observer: Arc<dyn Observer>,
    /// The journal's end as it was found.
    pub found_end: EntryNo,
    /// See [`Published::settled`].
    pub settled: u64,
}

/// Why the loop ended.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    #[error(transparent)]
    Apply(#[from] Error),
    #[error(transparent)]
    Journal(#[from] crate::journal::Error),
    #[error(transparent)]
    Store(#[from] crate::store::engine::Error),
}

impl Failed {
    /// Whether the store itself failed, so that it is not to be believed any more.
    pub fn is_store(&self) -> bool {
        use crate::store::engine::Error::Broken;
        matches!(self, Failed::Store(Broken { .. }) | Failed::Apply(Error::Store(Broken { .. })))
    }
}

impl<E: Engine> Apply<E> {
    /// The thread's body.
    pub fn run(mut self) -> Result<Applier<E>, Failed> {
        let mut positions: VecDeque<(EntryNo, Lsn)> = VecDeque::new();
        let mut turn = 0u64;
        let mut stopping = false;
        loop {
            let durable = self.durable.borrow().durable;
            let behind = self.applier.reached().entry < durable;
            let (mut settles, mut orders) = (Vec::new(), Vec::new());
            // With work at hand only what is already there is taken; else this is where the thread waits.
            let mut next = if behind || self.applier.has_scans() || stopping {
                self.inputs.try_recv().ok()
            } else {
                match self.inputs.recv_timeout(TICK) {
                    Ok(input) => Some(input),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => {
                        stopping = true;
                        None
                    }
                }
            };
            while let Some(input) = next {
                match input {
                    Input::Durable => {}
                    Input::Settled(more) => settles.extend(more),
                    Input::Order(order) => orders.push(order),
                    Input::Stop => stopping = true,
                }
                next = self.inputs.try_recv().ok();
            }
            let durable = self.durable.borrow_and_update().durable;
            let records = if self.applier.reached().entry < durable && !stopping {
                self.reader.next(durable, READ_BYTES)?
            } else {
                Vec::new()
            };
            let idle = records.is_empty() && settles.is_empty() && orders.is_empty();
            if idle && stopping {
                return Ok(self.applier);
            }
            if idle && !self.applier.has_scans() {
                if turn == 0 {
                    turn += 1;
                    self.publish(&positions, turn)?;
                }
                continue;
            }
            let began = Instant::now();
            let rows = self.applier.step(&records, &settles, &orders)?;
            self.settled = settles.last().map_or(self.settled, |settle| settle.batch);
            let reached = self.applier.reached();
            if positions.back().is_none_or(|(_, lsn)| *lsn != reached.lsn) {
                if positions.len() == POSITIONS_MAX {
                    positions.pop_front();
                }
                positions.push_back((reached.entry, reached.lsn));
            }
            if !records.is_empty() {
                self.observer.applied(reached.entry, rows, began.elapsed());
            }
            turn += 1;
            self.publish(&positions, turn)?;
        }
    }

    fn publish(&self, positions: &VecDeque<(EntryNo, Lsn)>, turn: u64) -> Result<(), Failed> {
        let reached = self.applier.reached().clone();
        let mut projected = Vec::new();
        let view = self.engine.view()?;
        for state in self.applier.generations() {
            if state.built_from == EntryNo::ZERO {
                projected.push((state.generation, EntryNo::ZERO, Lsn::ZERO)); // nothing of it is anywhere yet
                continue;
            }
            let entry = dirty::projected(&view, state.generation, reached.entry)?;
            let at = positions.partition_point(|(known, _)| *known <= entry);
            // Older than what is remembered (only after a start): nothing is claimed.
            let lsn = match at.checked_sub(1).and_then(|at| positions.get(at)) {
                Some((_, lsn)) => *lsn,
                None if entry >= reached.entry => reached.lsn,
                None => Lsn::ZERO,
            };
            projected.push((state.generation, entry, lsn));
        }
        drop(view);
        let published = Published {
            compiled: Arc::clone(self.applier.compiled()),
            caught_up: reached.entry >= self.found_end,
            settled: self.settled,
            generations: self.applier.generations().to_vec(),
            units: self.applier.units().to_vec(),
            reached,
            projected,
        };
        *self.board.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(published);
        self.changed.send_replace(turn);
        Ok(())
    }
}
