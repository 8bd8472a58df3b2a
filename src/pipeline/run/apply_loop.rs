//! The loop of apply: reads what is durable, folds it into the store, settles what was delivered.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;

use super::clock::Clock;
use super::hosting::{Loop, Turn};
use super::ingest_loop::TICK;
use crate::failpoint;
use crate::journal::Reader;
use crate::model::{EntryNo, Generation, Lsn};
use crate::pipeline::Observer;
use crate::pipeline::apply::{Applier, Compiled, Error, Order, Settle};
use crate::store::dirty;
use crate::store::engine::Engine;
use crate::store::meta::{GenerationState, Reached, UnitState};

/// Bytes of entries read and applied at a time: bounds memory, and how long settled documents wait.
pub const READ_BYTES: usize = 2 << 20;
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

/// Everything the loop needs.
pub struct Apply<E: Engine> {
    pub applier: Applier<E>,
    pub engine: Arc<E>,
    pub reader: Reader,
    /// Bytes of entries that one turn reads; see [`READ_BYTES`].
    pub read_bytes: usize,
    pub inputs: Receiver<Input>,
    pub durable: watch::Receiver<super::ingest_loop::Progress>,
    pub board: Board,
    pub changed: watch::Sender<u64>,
    pub observer: Arc<dyn Observer>,
    pub clock: Arc<dyn Clock>,
    /// The journal's end as it was found.
    pub found_end: EntryNo,
    pub state: State,
}

/// What the loop remembers from one turn to the next.
#[derive(Default)]
pub struct State {
    /// What a thread has waited for.
    next: Option<Input>,
    positions: VecDeque<(EntryNo, Lsn)>,
    /// Times that the store was published.
    published: u64,
    /// See [`Published::settled`].
    settled: u64,
    stopping: bool,
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

impl<E: Engine> Loop for Apply<E> {
    type Failed = Failed;
    const NAME: &'static str = "apply";

    fn turn(&mut self) -> Result<Turn, Failed> {
        let (settles, orders) = self.take_inputs();
        let durable = self.durable.borrow_and_update().durable;
        let behind = self.applier.reached().entry < durable && !self.state.stopping;
        let records = if behind { self.reader.next(durable, self.read_bytes)? } else { Vec::new() };
        let idle = records.is_empty() && settles.is_empty() && orders.is_empty();
        if idle && self.state.stopping {
            return Ok(Turn::Ended);
        }
        if idle && !self.applier.has_scans() {
            if self.state.published == 0 {
                self.publish()?;
            }
            return Ok(Turn::Input(Some(TICK)));
        }
        let began = self.clock.now();
        let rows = self.applier.step(&records, &settles, &orders)?;
        self.state.settled = settles.last().map_or(self.state.settled, |settle| settle.batch);
        self.remember_position();
        if !records.is_empty() {
            let took = self.clock.now().saturating_sub(began);
            self.observer.applied(self.applier.reached().entry, rows, took);
        }
        self.publish()?;
        failpoint::hit("apply.published");
        Ok(Turn::Again)
    }

    fn wait(&mut self, within: Option<Duration>) {
        // Neither running out of time nor that nobody is left to send is news here: the next turn looks.
        self.state.next = self.inputs.recv_timeout(within.unwrap_or(TICK)).ok();
    }
}

impl<E: Engine> Apply<E> {
    fn take_inputs(&mut self) -> (Vec<Settle>, Vec<Order>) {
        let (mut settles, mut orders) = (Vec::new(), Vec::new());
        loop {
            match self.state.next.take().map_or_else(|| self.inputs.try_recv(), Ok) {
                Ok(Input::Durable) => {}
                Ok(Input::Settled(more)) => settles.extend(more),
                Ok(Input::Order(order)) => orders.push(order),
                Ok(Input::Stop) => self.state.stopping = true,
                Err(TryRecvError::Empty) => return (settles, orders),
                // Whoever gave orders is gone.
                Err(TryRecvError::Disconnected) => {
                    self.state.stopping = true;
                    return (settles, orders);
                }
            }
        }
    }

    /// Which WAL position belongs to the entry reached.
    fn remember_position(&mut self) {
        let reached = self.applier.reached();
        let positions = &mut self.state.positions;
        if positions.back().is_none_or(|(_, lsn)| *lsn != reached.lsn) {
            if positions.len() == POSITIONS_MAX {
                positions.pop_front();
            }
            positions.push_back((reached.entry, reached.lsn));
        }
    }

    fn publish(&mut self) -> Result<(), Failed> {
        self.state.published += 1;
        let positions = &self.state.positions;
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
            settled: self.state.settled,
            generations: self.applier.generations().to_vec(),
            units: self.applier.units().to_vec(),
            reached,
            projected,
        };
        *self.board.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(published);
        self.changed.send_replace(self.state.published);
        Ok(())
    }
}
