//! The loop of deliver: assembles from views, hands requests to the runtime, judges the answers.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use hashbrown::HashMap;
use tokio::sync::watch;

use super::apply_loop::{self, Board};
use super::clock::{Clock, Random};
use super::hosting::{Loop, Turn};
use super::indices::PAUSE_MAX;
use super::ingest_loop::TICK;
use crate::failpoint;
use crate::model::Outcome;
use crate::pipeline::Observer;
use crate::pipeline::deliver::{Deliverer, Error, Frame, OpenGeneration};
use crate::planted::{self, Bug};
use crate::sink::{self, Sink};
use crate::store::engine::Engine;
use crate::store::meta::{self, GenerationState, Stage};

/// With a request on its way, a request that is not full waits this long for more documents.
const GATHER: Duration = Duration::from_millis(5);

/// How often a sink that does not take documents is logged: there may be many answers a second.
const WARN_EVERY: Duration = Duration::from_secs(60);

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

/// Everything the loop needs.
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
    pub clock: Arc<dyn Clock>,
    pub random: Random,
    pub full_request: usize,
    /// What keeps the sink from taking documents, while something does.
    pub trouble: watch::Sender<Option<String>>,
    /// When the last look began that found all indices to be ours, by [`Clock::boot_time`].
    pub looked: watch::Receiver<Duration>,
    pub state: State,
}

/// What the loop remembers from one turn to the next.
#[derive(Default)]
pub struct State {
    /// What a thread has waited for.
    next: Option<Input>,
    /// Nothing more can be sent until something changes or rests no more.
    dry: bool,
    /// Since when a request that is not full waits for more documents.
    gathering: Option<Duration>,
    /// When to look again although nothing has come in.
    look_at: Duration,
    stopping: bool,
    /// When this loop was turned last, by [`Clock::boot_time`].
    turned: Option<Duration>,
    /// The end of a pause behind which nobody has looked yet whose the indices are.
    woken: Option<Duration>,
    /// When it was last logged that the sink does not take documents.
    warned: Option<Duration>,
    /// Commit time of the view of each request on its way.
    commits: HashMap<u64, i64>,
}

impl State {
    /// Before its first turn. A pause of the process may end then, too: it counts from when the indices were claimed.
    pub fn since(claimed: Duration) -> State {
        State { turned: Some(claimed), ..State::default() }
    }
}

impl<E: Engine> Loop for Deliver<E> {
    type Failed = Error;
    const NAME: &'static str = "deliver";

    /// After Stop nothing more is sent, and the loop ends once every request was answered.
    fn turn(&mut self) -> Result<Turn, Error> {
        // The channel cannot close: its other end is held for the answers.
        while let Some(input) = self.state.next.take().or_else(|| self.inputs.try_recv().ok()) {
            match input {
                Input::Changed => self.state.dry = false,
                Input::Answer { number, answer, took } => {
                    self.state.dry = false;
                    self.answered(number, answer, took)?;
                }
                Input::Stop => self.state.stopping = true,
            }
        }
        if self.state.stopping && self.deliverer.in_flight() == 0 {
            return Ok(Turn::Ended);
        }
        let now = self.clock.now();
        if now >= self.state.look_at {
            self.state.dry = false;
        }
        let ours = self.is_still_ours();
        if ours && !self.state.stopping && !self.state.dry && self.deliverer.has_room(now) {
            match self.request()? {
                Sent::Request => return Ok(Turn::Again),
                Sent::Gathering => {}
                Sent::Nothing => self.state.dry = true,
            }
        }
        let now = self.clock.now();
        let wakes = self.deliverer.wakes_at(now).map_or(TICK, |at| at.saturating_sub(now));
        let gathering = self.state.gathering.is_some();
        let wait = if gathering { GATHER } else { wakes.clamp(Duration::from_millis(1), TICK) };
        self.state.look_at = now + wait;
        Ok(Turn::Input(Some(wait)))
    }

    fn wait(&mut self, within: Option<Duration>) {
        self.state.next = self.inputs.recv_timeout(within.unwrap_or(TICK)).ok(); // the time is looked at there
    }
}

impl<E: Engine> Deliver<E> {
    /// Rule 37: after a pause another daemon may have taken over, and what is owed here may be the past of a document
    /// whose delete the sink has forgotten since.
    fn is_still_ours(&mut self) -> bool {
        let boot = self.clock.boot_time();
        let turned = self.state.turned.replace(boot);
        if turned.is_some_and(|turned| boot.saturating_sub(turned) > PAUSE_MAX) {
            self.state.woken = Some(boot);
        }
        self.state.woken = self.state.woken.filter(|woken| *self.looked.borrow() < *woken);
        self.state.woken.is_none() || planted::is(Bug::SendBeforeLook)
    }

    /// Assembles and sends one request from a view of its own.
    fn request(&mut self) -> Result<Sent, Error> {
        let published = apply_loop::look(&self.board);
        if !published.caught_up && !planted::is(Bug::DeliverBeforeCaughtUp) {
            return Ok(Sent::Nothing);
        }
        let dirty: u64 = published.reached.dirty.iter().map(|(_, count)| count.changes + count.scanned).sum();
        if self.deliverer.in_flight() > 0 && (dirty as usize) < self.full_request {
            let now = self.clock.now();
            let since = *self.state.gathering.get_or_insert(now);
            if now.saturating_sub(since) < GATHER {
                return Ok(Sent::Gathering);
            }
        }
        self.state.gathering = None;
        self.deliverer.settled(published.settled); // published before the view is taken: it shows them
        let view = self.engine.view()?;
        let reached = meta::reached(&view)?;
        let inside = reached.inside && !planted::is(Bug::ViewInsideTransaction);
        if inside || reached.facts != published.compiled.entry {
            return Ok(Sent::Nothing); // rule 29; or facts that are being published just now
        }
        // Of this very view: what was published may be a moment older, and a table may have opened or closed.
        let open = open_generations(&meta::generations(&view)?);
        if open.is_empty() {
            return Ok(Sent::Nothing);
        }
        let began = self.clock.now();
        let frame = Frame { read: &view, entry: reached.entry, compiled: &published.compiled, open: &open };
        let taken = self.deliverer.take(&frame, began, (self.random)())?;
        drop(view);
        if !taken.refused.is_empty() {
            let _ = self.apply.send(apply_loop::Input::Settled(taken.refused)); // as in `answered`
        }
        let Some(request) = taken.request else { return Ok(Sent::Nothing) };
        self.observer.assembled(
            request.documents.len() as u64,
            taken.bytes,
            self.clock.now().saturating_sub(began),
        );
        if published.generations.iter().all(|state| state.stage == Stage::Live) {
            self.state.commits.insert(request.number, reached.commit_time_us);
        }
        let request = self.deliverer.sent(request);
        let (sink, answers) = (Arc::clone(&self.sink), self.answers.clone());
        let clock = Arc::clone(&self.clock);
        let assembled = self.clock.boot_time();
        failpoint::hit("deliver.assembled");
        self.runtime.spawn(async move {
            let began = clock.now();
            failpoint::hit("deliver.sending");
            // A pause may also fall between the two.
            let late = clock.boot_time().saturating_sub(assembled) > PAUSE_MAX;
            let answer = if late && !planted::is(Bug::SendBeforeLook) {
                let reason = "the process was paused before it was sent".to_owned();
                Err(sink::Error::Retry { operation: "send documents", reason })
            } else {
                sink.send(&request.documents).await
            };
            failpoint::hit("deliver.sent");
            let took = clock.now().saturating_sub(began);
            let number = request.number;
            drop(request);
            // The loop may have ended; then nobody needs the answer.
            let _ = answers.send(Input::Answer { number, answer, took });
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
        let mut judged = self.deliverer.answered(number, answer, now, unix_s, (self.random)())?;
        judged.delivered.took = took;
        let commit_time_us = self.state.commits.remove(&number);
        if let Some(committed) = commit_time_us
            && judged.delivered.indexed > 0
        {
            // Both clocks are wall clocks: a skew between them shows here and nowhere else (hazard 43).
            self.observer.commit_to_acknowledged(self.clock.since_commit(committed));
        }
        if let Some(reason) = &judged.sink_failed
            && self.state.warned.is_none_or(|warned| now >= warned + WARN_EVERY)
        {
            self.state.warned = Some(now);
            tracing::warn!(reason, "the sink does not take documents; trying again");
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
            failpoint::hit("deliver.settling");
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
        .filter(|state| {
            matches!(state.stage, Stage::Building | Stage::Live) || planted::is(Bug::DeliverHalfRead)
        })
        .map(|state| OpenGeneration { generation: state.generation, index: state.index.as_str().into() })
        .collect()
}
