//! The thread of deliver: assembles from views, hands requests to the runtime, judges the answers.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use tokio::sync::watch;

use super::apply_loop::{self, Board};
use super::clock::Clock;
use super::ingest_loop::TICK;
use crate::model::Outcome;
use crate::pipeline::Observer;
use crate::pipeline::deliver::{Deliverer, Error, Frame, OpenGeneration};
use crate::sink::{self, Sink};
use crate::store::engine::Engine;
use crate::store::meta::{self, GenerationState, Stage};

/// With a request on its way, a request that is not full waits this long for more documents.
const GATHER: Duration = Duration::from_millis(5);

/// What deliver is told.
pub enum Input {
    /// The store has changed.
    Changed,
    Answer {
        number: u64,
        answer: Result<Vec<Outcome>, sink::Error>,
        took: Duration,
    },
    Stop,
}

/// Everything the thread needs.
pub struct Deliver<E: Engine> {
    pub deliverer: Deliverer,
    pub engine: Arc<E>,
    pub board: Board,
    pub inputs: Receiver<Input>,
    pub answers: Sender<Input>,
    pub apply: Sender<apply_loop::Input>,
    pub sink: Arc<dyn Sink>,
    pub runtime: tokio::runtime::Handle,
    pub observer: Arc<dyn Observer>,
    pub clock: Clock,
    pub full_request: usize,
    /// What keeps the sink from taking documents, while something does.
    pub trouble: watch::Sender<Option<String>>,
    /// Commit time of the view of each request on its way.
    pub commits: HashMap<u64, i64>,
}

impl<E: Engine> Deliver<E> {
    /// The thread's body. On Stop it sends nothing more and returns once every request was answered.
    pub fn run(mut self) -> Result<(), Error> {
        let mut stopping = false;
        let mut dry = false;
        let mut gathering: Option<Instant> = None;
        loop {
            if stopping && self.deliverer.in_flight() == 0 {
                return Ok(());
            }
            let now = self.clock.now();
            if !stopping && !dry && self.deliverer.has_room(now) {
                match self.request(&mut gathering)? {
                    Sent::Request => continue,
                    Sent::Gathering => {}
                    Sent::Nothing => dry = true,
                }
            }
            let now = self.clock.now();
            let wakes = self.deliverer.wakes_at(now).map_or(TICK, |at| at.saturating_sub(now));
            let wait = if gathering.is_some() { GATHER } else { wakes.clamp(Duration::from_millis(1), TICK) };
            let mut next = match self.inputs.recv_timeout(wait) {
                Ok(input) => Some(input),
                Err(RecvTimeoutError::Timeout) => {
                    dry = false;
                    None
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            while let Some(input) = next {
                match input {
                    Input::Changed => dry = false,
                    Input::Answer { number, answer, took } => {
                        dry = false;
                        self.answered(number, answer, took)?;
                    }
                    Input::Stop => stopping = true,
                }
                next = self.inputs.try_recv().ok();
            }
        }
    }

    /// Assembles and sends one request from a view of its own.
    fn request(&mut self, gathering: &mut Option<Instant>) -> Result<Sent, Error> {
        let published = apply_loop::look(&self.board);
        if !published.caught_up {
            return Ok(Sent::Nothing);
        }
        let dirty: u64 = published.reached.dirty.iter().map(|(_, count)| count.changes + count.scanned).sum();
        if self.deliverer.in_flight() > 0 && (dirty as usize) < self.full_request {
            let since = *gathering.get_or_insert_with(Instant::now);
            if since.elapsed() < GATHER {
                return Ok(Sent::Gathering);
            }
        }
        *gathering = None;
        self.deliverer.settled(published.settled); // published before the view is taken: it shows them
        let view = self.engine.view()?;
        let reached = meta::reached(&view)?;
        if reached.inside || reached.facts != published.compiled.entry {
            return Ok(Sent::Nothing); // rule 29; or facts that are being published just now
        }
        // Of this very view: what was published may be a moment older, and a table may have opened or closed.
        let open = open_generations(&meta::generations(&view)?);
        if open.is_empty() {
            return Ok(Sent::Nothing);
        }
        let began = Instant::now();
        let frame = Frame { read: &view, entry: reached.entry, compiled: &published.compiled, open: &open };
        let taken = self.deliverer.take(&frame, self.clock.now(), fastrand::u64(..))?;
        drop(view);
        if !taken.refused.is_empty() {
            let _ = self.apply.send(apply_loop::Input::Settled(taken.refused)); // as in `answered`
        }
        let Some(request) = taken.request else { return Ok(Sent::Nothing) };
        self.observer.assembled(request.documents.len() as u64, taken.bytes, began.elapsed());
        if published.generations.iter().all(|state| state.stage == Stage::Live) {
            self.commits.insert(request.number, reached.commit_time_us);
        }
        let request = self.deliverer.sent(request);
        let (sink, answers) = (Arc::clone(&self.sink), self.answers.clone());
        self.runtime.spawn(async move {
            let began = Instant::now();
            let answer = sink.send(&request.documents).await;
            let number = request.number;
            drop(request);
            // The thread may have ended; then nobody needs the answer.
            let _ = answers.send(Input::Answer { number, answer, took: began.elapsed() });
        });
        Ok(Sent::Request)
    }

    fn answered(
        &mut self,
        number: u64,
        answer: Result<Vec<Outcome>, sink::Error>,
        took: Duration,
    ) -> Result<(), Error> {
        let (now, unix_s) = (self.clock.now(), self.clock.unix_s());
        let mut judged = self.deliverer.answered(number, answer, now, unix_s, fastrand::u64(..))?;
        judged.delivered.took = took;
        let commit_time_us = self.commits.remove(&number);
        if let Some(committed) = commit_time_us
            && judged.delivered.indexed > 0
        {
            // Both clocks are wall clocks: a skew between them shows here and nowhere else (hazard 43).
            self.observer.commit_to_acknowledged(self.clock.since_commit(committed));
        }
        self.trouble.send_if_modified(|trouble| {
            let now = judged.sink_failed.clone();
            let changed = *trouble != now;
            *trouble = now;
            changed
        });
        self.observer.delivered(judged.delivered);
        for reason in &judged.retries {
            self.observer.retried("sink", reason);
        }
        if !judged.settles.is_empty() {
            // Apply may have ended; its marks stay, and what was sent is sent again: no harm.
            let _ = self.apply.send(apply_loop::Input::Settled(judged.settles));
        }
        Ok(())
    }
}

enum Sent {
    Request,
    /// A request that is not full waits a little for more.
    Gathering,
    Nothing,
}

/// Generations that may be delivered (rule 17).
fn open_generations(states: &[GenerationState]) -> Vec<OpenGeneration> {
    states
        .iter()
        .filter(|state| matches!(state.stage, Stage::Building | Stage::Live))
        .map(|state| OpenGeneration { generation: state.generation, index: state.index.as_str().into() })
        .collect()
}
