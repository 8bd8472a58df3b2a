//! The thread of ingest: takes what comes, syncs in groups, tells what is durable.
//!
//! A group is whatever has gathered while the last sync was running: under load groups grow by themselves,
//! and a single transaction waits for nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};

use super::clock::Clock;
use crate::model::{EntryNo, Lsn};
use crate::pipeline::Observer;
use crate::pipeline::ingest::{Done, Error, Ingest, Order, Ticket};
use crate::source::{Confirm, Event};

/// Bytes of messages that one group gathers at most before it is synced.
const GROUP_BYTES: usize = 8 << 20;
/// How often a thread looks around when nothing happens.
pub const TICK: Duration = Duration::from_millis(200);

/// What ingest is told.
pub enum Input {
    Events(Vec<Event>),
    Order(Order, oneshot::Sender<Done>),
    /// The store has made everything up to here its own for good: older segments may go.
    StoreDurable(EntryNo),
    /// Where confirmed positions go from now on.
    Confirm(Confirm),
    Tick,
    Stop,
}

/// What ingest tells the others.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// What apply may read.
    pub durable: EntryNo,
    pub journaled: Lsn,
    pub received: Lsn,
    pub first: EntryNo,
    pub end: EntryNo,
    pub bytes: u64,
    pub segments: u64,
    pub full: bool,
    /// Rule 2: the connection must go.
    pub stalled: bool,
}

/// The thread's body. Returns when told to stop, or with the error that ends the process.
pub fn run(
    mut ingest: Ingest,
    mut inputs: mpsc::Receiver<Input>,
    progress: watch::Sender<Progress>,
    observer: Arc<dyn Observer>,
    clock: Clock,
    group: (Duration, usize),
) -> Result<(), Error> {
    let mut tickets: Vec<(Ticket, oneshot::Sender<Done>)> = Vec::new();
    let mut next_ticket: Ticket = 1;
    let mut confirm: Option<Confirm> = None;
    let mut confirmed = Lsn::ZERO;
    let mut stopping = false;
    while !stopping {
        let Some(mut input) = inputs.blocking_recv() else { break };
        let before = ingest.journal().end();
        let mut gathered = 0;
        let mut company = group.0;
        loop {
            match input {
                Input::Events(events) => {
                    let (mut bytes, messages) = (0, events.len() as u64);
                    for event in events {
                        if let Event::Message { payload, .. } = &event {
                            bytes += payload.len();
                        }
                        ingest.event(event, clock.now())?;
                    }
                    gathered += bytes;
                    observer.received(messages, bytes as u64, ingest.received());
                }
                Input::Order(order, answer) => {
                    tickets.push((next_ticket, answer));
                    ingest.order(next_ticket, order)?;
                    next_ticket += 1;
                }
                Input::StoreDurable(entry) => {
                    ingest.journal_mut().retain(entry, clock.unix_s().max(0) as u64)?;
                }
                Input::Confirm(to) => {
                    confirm = Some(to);
                    confirmed = Lsn::ZERO; // a new connection has been told nothing yet
                }
                Input::Tick => {}
                Input::Stop => stopping = true,
            }
            if gathered >= GROUP_BYTES {
                break;
            }
            match inputs.try_recv() {
                Ok(next) => input = next,
                // One wait for company, and only where the group is small: a sync costs more than that.
                Err(_) if gathered > 0 && gathered < group.1 && !company.is_zero() => {
                    std::thread::sleep(std::mem::take(&mut company));
                    input = Input::Tick;
                }
                Err(_) => break,
            }
        }
        settle(&mut ingest, before, &observer, clock)?;
        for (ticket, done) in ingest.take_done() {
            if let Some(position) = tickets.iter().position(|(known, _)| *known == ticket) {
                let _ = tickets.swap_remove(position).1.send(done); // nobody may be waiting any more
            }
        }
        if let Some(confirm) = &confirm
            && ingest.durable_lsn() > confirmed
        {
            confirmed = ingest.durable_lsn();
            confirm(confirmed); // G4: this is on disk
            observer.confirmed(confirmed);
        }
        wait_for_room(&mut ingest, &progress, clock)?;
        progress.send_replace(describe(&ingest, clock));
    }
    settle(&mut ingest, EntryNo::ZERO, &observer, clock)
}

fn settle(
    ingest: &mut Ingest,
    before: EntryNo,
    observer: &Arc<dyn Observer>,
    clock: Clock,
) -> Result<(), Error> {
    let entries = ingest.journal().end().0.saturating_sub(before.0);
    let bytes = ingest.journal().size_bytes();
    let began = Instant::now();
    ingest.sync(clock.now())?;
    if entries > 0 {
        observer.journaled(entries, bytes, began.elapsed(), ingest.durable_lsn());
    }
    Ok(())
}

/// Rule 9: without room nothing more is read. The connection is let go after a while (rule 2), so that the
/// server can still shut down; PostgreSQL's own limits apply to what it keeps for us.
fn wait_for_room(ingest: &mut Ingest, progress: &watch::Sender<Progress>, clock: Clock) -> Result<(), Error> {
    if !ingest.is_full() {
        return Ok(());
    }
    progress.send_replace(Progress { stalled: true, ..describe(ingest, clock) });
    ingest.journal_mut().look_for_room()?;
    if ingest.is_full() {
        std::thread::sleep(TICK);
    }
    Ok(())
}

fn describe(ingest: &Ingest, clock: Clock) -> Progress {
    let journal = ingest.journal();
    Progress {
        durable: ingest.durable_complete(),
        journaled: ingest.durable_lsn(),
        received: ingest.received(),
        first: journal.first(),
        end: journal.end(),
        bytes: journal.size_bytes(),
        segments: journal.segments() as u64,
        full: ingest.is_full(),
        stalled: ingest.is_stalled(clock.now()) || ingest.is_full(),
    }
}
