//! The conductor: connects, backfills, publishes, looks after things, until told to stop.

use std::sync::Arc;
use std::sync::mpsc as threads;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::apply_loop::{self, look};
use super::clock::{Clock, Ticks, within};
use super::deliver_loop::{self};
use super::facts::{self, Looked};
use super::{Asked, Ending, Error, Running, ingest_loop};
use crate::failpoint;
use crate::retry::{self, Backoff};
use crate::sink;
use crate::source::{self, Event, Stream};
use crate::store::engine::Engine;
use crate::task::backfill::{Backfill, Interrupted};

/// Pauses between attempts to connect.
const RECONNECT: retry::Options = retry::Options {
    first: Duration::from_millis(200),
    max: Duration::from_secs(15),
    factor: 2.0,
    jitter: 0.5,
};
/// How often the conductor looks after things.
const UPKEEP_EVERY: Duration = Duration::from_millis(500);
/// How long the connection's goodbye may take.
const GOODBYE_MAX: Duration = Duration::from_secs(3);
/// How long after a failed backfill attempt the next one begins.
const BACKFILL_AGAIN: Duration = Duration::from_secs(1);

/// A loop did not end in time; nothing is lost by it.
const STOP_TIMEOUT: &str = "stop-timeout";

/// An attempt to connect came to nothing, and another may not.
struct Missed {
    /// Whose fault it was: metrics and status name it.
    room: &'static str,
    reason: String,
}

/// Why streaming over one connection ended.
pub(super) enum Left {
    /// Told to stop.
    Stopping,
    /// The connection ended; connect again.
    Lost(String),
}

impl<E: Engine> Running<E> {
    /// Connects again and again until told to stop or until something is refused.
    pub(super) async fn conduct(&mut self) -> Result<(), Error> {
        let mut backoff = Backoff::new(RECONNECT);
        let mut ticks = Ticks::new(Arc::clone(&self.machine.clock), UPKEEP_EVERY);
        loop {
            self.report.state = "connecting";
            let connected = self.with_upkeep(&mut ticks).await?;
            let Some(connected) = connected else { return Ok(()) };
            let missed = match connected {
                Ok(stream) => {
                    backoff.succeeded();
                    self.observer.connected();
                    match self.stream(stream, &mut ticks).await? {
                        Left::Stopping => return Ok(()),
                        Left::Lost(reason) => Missed { room: "source", reason },
                    }
                }
                Err(missed) => missed,
            };
            let Missed { room, reason } = missed;
            self.observer.disconnected();
            self.observer.retried(room, &reason);
            self.report.trouble = Some(format!("{room}-unavailable: {reason}"));
            tracing::warn!(reason, attempt = backoff.attempts(), "not connected to the {room}; trying again");
            if !self.rest(backoff.failed((self.machine.random)()), &mut ticks).await? {
                return Ok(());
            }
        }
    }

    /// Connects, with upkeep meanwhile. Nothing when told to stop.
    async fn with_upkeep(&mut self, ticks: &mut Ticks) -> Result<Option<Result<Stream, Missed>>, Error> {
        // Stopping must not wait for a server that does not answer.
        let mut stop = self.outside.stop.clone();
        ticks.tick().await;
        self.upkeep(false).await?;
        let say = self.steps.say(&self.outside.status);
        let connected = tokio::select! {
            biased;
            () = asked_to_stop(&mut stop) => return Ok(None),
            never = say => match never {},
            connected = self.connect() => connected,
        };
        match connected {
            Ok(connected) => Ok(Some(Ok(connected))),
            Err(Error::Source(error)) if !matches!(error, source::Error::Refused { .. }) => {
                Ok(Some(Err(Missed { room: "source", reason: error.to_string() })))
            }
            Err(Error::Sink(error)) if !matches!(error, sink::Error::Refused { .. }) => {
                Ok(Some(Err(Missed { room: "sink", reason: error.to_string() })))
            }
            Err(error) => Err(error),
        }
    }

    /// Rests before the next attempt; false when told to stop.
    async fn rest(&mut self, pause: Duration, ticks: &mut Ticks) -> Result<bool, Error> {
        let mut over = self.machine.clock.pause(pause);
        let mut stop = self.outside.stop.clone();
        loop {
            tokio::select! {
                biased;
                () = asked_to_stop(&mut stop) => return Ok(false),
                Some(name) = self.ended.recv() => return Err(Error::Panicked(name)),
                () = &mut over => return Ok(true),
                Some(asked) = self.outside.asks.recv() => self.asked(asked).await,
                () = ticks.tick() => self.upkeep(false).await?,
            }
        }
    }

    /// One connection's life.
    async fn stream(&mut self, stream: Stream, ticks: &mut Ticks) -> Result<Left, Error> {
        self.report.state = "streaming";
        self.report.connected = true;
        self.report.trouble = None;
        let ingest = self.ingest.clone();
        let mut tasks = JoinSet::new();
        let (goodbye, mut leave) = oneshot::channel::<()>();
        let mut events = stream.events;
        tasks.spawn(async move {
            let mut reason = "the connection ended".to_owned();
            loop {
                let group = tokio::select! {
                    biased;
                    _ = &mut leave => {
                        events.close().await;
                        break;
                    }
                    group = events.next() => group,
                };
                let Some(group) = group else { break };
                if let Some(Event::Lost { reason: why }) = group.last() {
                    why.clone_into(&mut reason);
                }
                if ingest.send(ingest_loop::Input::Events(group)).await.is_err() {
                    break;
                }
            }
            Ended::Stream(reason)
        });
        self.spawn_backfill(&mut tasks, Duration::ZERO);
        let mut stop = self.outside.stop.clone();
        let left = loop {
            tokio::select! {
                biased;
                () = asked_to_stop(&mut stop) => break Ok(Left::Stopping),
                Some(name) = self.ended.recv() => break Err(Error::Panicked(name)),
                Some(ended) = tasks.join_next() => match ended {
                    Ok(Ended::Stream(reason)) => break Ok(Left::Lost(reason)),
                    Ok(Ended::Backfill(Interrupted::Source(error))) if is_changed(&error) => {
                        break Ok(Left::Lost(error.to_string()));
                    }
                    Ok(Ended::Backfill(Interrupted::Source(error @ source::Error::Refused { .. }))) => {
                        break Err(error.into());
                    }
                    // New columns need new facts: connecting again looks for them.
                    Ok(Ended::Backfill(Interrupted::Changed(what))) => {
                        break Ok(Left::Lost(format!("columns changed: {what}")));
                    }
                    Ok(Ended::Backfill(interrupted)) => {
                        tracing::warn!(reason = %interrupted, "the backfill was interrupted; it goes on");
                        self.observer.retried("source", &interrupted.to_string());
                        self.spawn_backfill(&mut tasks, BACKFILL_AGAIN);
                    }
                    Err(_) => break Err(Error::Panicked("backfill")),
                },
                // Before the ticks: looking after things may take longer than the time between two of them.
                Some(asked) = self.outside.asks.recv() => self.asked(asked).await,
                () = ticks.tick() => {
                    let upkeep = self.upkeep(true).await;
                    if let Err(error) = upkeep {
                        break Err(error);
                    }
                    if let Err(error) = self.publish_ready().await {
                        break Err(error);
                    }
                    if self.progress.borrow().stalled {
                        break Ok(Left::Lost("nothing could be journaled for too long (rule 2)".to_owned()));
                    }
                    if self.wants_new_facts() {
                        break Ok(Left::Lost("the columns of a table changed".to_owned()));
                    }
                    match self.look_at_catalog().await {
                        Ok(None) => {}
                        Ok(Some(what)) => break Ok(Left::Lost(what)),
                        Err(error) => break Err(error),
                    }
                }
            }
        };
        self.report.connected = false;
        if matches!(left, Ok(Left::Stopping)) {
            // What is journaled by now is confirmed with the goodbye.
            let _ = goodbye.send(());
            let said =
                async { while !matches!(tasks.join_next().await, Some(Ok(Ended::Stream(_))) | None) {} };
            let _ = within(&*self.machine.clock, GOODBYE_MAX, said).await;
        }
        tasks.abort_all();
        let lost = ingest_loop::Input::Events(vec![Event::Lost { reason: String::new() }]);
        let _ = self.ingest.send(lost).await; // a dead ingest is noticed elsewhere
        left
    }

    fn spawn_backfill(&self, tasks: &mut JoinSet<Ended>, after: Duration) {
        let backfill = Backfill {
            source: Arc::clone(&self.source),
            engine: Arc::clone(&self.engine),
            ingest: self.ingest.clone(),
            board: Arc::clone(&self.board),
            changed: self.changed.clone(),
            observer: Arc::clone(&self.observer),
            status: Arc::clone(&self.backfill_status),
            options: self.options.backfill,
            clock: Arc::clone(&self.machine.clock),
            random: Arc::clone(&self.machine.random),
        };
        let pause = self.machine.clock.pause(after);
        tasks.spawn(async move {
            pause.await;
            Ended::Backfill(backfill.run().await)
        });
    }

    /// A table's columns are not those of the facts any more: apply has said so.
    pub(super) fn wants_new_facts(&self) -> bool {
        let published = look(&self.board);
        published.reached.entry >= self.report.facts_entry && published.units.iter().any(|unit| unit.again)
    }

    /// Stops the loops in their order: nothing new comes in, what is on its way is finished within a
    /// limit, what was settled is written, the store is closed.
    pub(super) async fn stop(mut self, conducted: Result<(), Error>) -> Result<(), Error> {
        self.report.state = "stopping";
        self.report_now();
        let (clock, limit) = (Arc::clone(&self.machine.clock), self.options.stop_within);
        if let Some(deliver) = self.deliver.take() {
            let _ = deliver.send(deliver_loop::Input::Stop);
        }
        let delivered = match self.deliver_ending.take() {
            Some(ending) => ended("deliver", &*clock, ending, limit).await,
            None => Ok(()),
        };
        failpoint::hit("stop.delivered");
        let _ = self.ingest.send(ingest_loop::Input::Stop).await;
        let ingested = ended("ingest", &*clock, self.ingest_ending, limit).await;
        let _ = self.apply.send(apply_loop::Input::Stop);
        let applied = ended("apply", &*clock, self.apply_ending, limit).await;
        failpoint::hit("stop.applied");
        // Whoever found the damage: the next start must not believe this store (rule 31).
        let broken = [delivered.as_ref().err(), applied.as_ref().err(), conducted.as_ref().err()];
        if let Some(error) = broken.into_iter().flatten().find(|error| error.is_store()) {
            self.checkpoints.distrust(&error.to_string());
        }
        // The loop that ended first has the cause; the conductor only saw that one ended, and one that took too
        // long to stop is no cause of anything.
        let errors = [delivered, ingested, applied, conducted].into_iter().filter_map(Result::err);
        if let Some(cause) = errors.min_by_key(is_stop_timeout) {
            return Err(cause);
        }
        self.checkpoints.closed_cleanly()?;
        Ok(())
    }

    async fn asked(&mut self, (ask, answer): Asked) {
        let told = self.answer(ask).await;
        let _ = answer.send(told); // the one who asked may have gone
    }

    /// What looking the projections up again gives, for commands that need it.
    pub(super) async fn look_again(&mut self) -> Result<Looked, Error> {
        let known = self.journaled_facts().map(|facts| facts.catalog).unwrap_or_default();
        facts::look(&self.source, &self.projections, &known).await
    }
}

fn is_stop_timeout(error: &Error) -> bool {
    matches!(error, Error::Refused { code: STOP_TIMEOUT, .. })
}

/// Returns once the end is asked for; also when nobody is left who could ask.
async fn asked_to_stop(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await; // an error is the latter
}

/// A table that was altered while it was read: its facts are looked up again by connecting.
fn is_changed(error: &source::Error) -> bool {
    matches!(error, source::Error::Refused { code: "table-changed", .. })
}

enum Ended {
    Stream(String),
    Backfill(Interrupted),
}

/// Wakes a loop whenever a watched value changes, for as long as both live.
pub(super) async fn forward<T, I: Send + 'static>(
    mut changed: watch::Receiver<T>,
    to: threads::Sender<I>,
    input: impl Fn() -> I,
) {
    while changed.changed().await.is_ok() {
        if to.send(input()).is_err() {
            return;
        }
    }
}

/// Sends ingest a tick now and then, so that idle positions are journaled.
pub(super) async fn tick(clock: Arc<dyn Clock>, ingest: mpsc::Sender<ingest_loop::Input>) {
    let mut ticks = Ticks::new(clock, ingest_loop::TICK);
    loop {
        ticks.tick().await;
        if ingest.send(ingest_loop::Input::Tick).await.is_err() {
            return;
        }
    }
}

/// How a loop ended, once it has.
async fn ended(name: &'static str, clock: &dyn Clock, ending: Ending, limit: Duration) -> Result<(), Error> {
    match within(clock, limit, ending).await {
        Some(Ok(ended)) => ended,
        Some(Err(_)) => Err(Error::Panicked(name)),
        None => Err(Error::Refused {
            code: "stop-timeout",
            reason: format!("the {name} loop did not end within {limit:?}"),
            hint: "Nothing is lost: what was not finished is done again at the next start.".to_owned(),
        }),
    }
}
