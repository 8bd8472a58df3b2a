//! The loop of ingest: takes what comes, syncs in groups, tells what is durable.
//!
//! A group is whatever has gathered while the last sync was running: under load groups grow by themselves,
//! and a single transaction waits for nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot, watch};

use super::clock::Clock;
use super::hosting::{Loop, Turn};
use crate::failpoint;
use crate::model::{EntryNo, Lsn};
use crate::pipeline::Observer;
use crate::pipeline::ingest::{Done, Error, Ingest, Order, Ticket};
use crate::planted::{self, Bug};
use crate::source::{Confirm, Event};

/// Bytes of messages that one group gathers at most before it is synced.
pub const GROUP_BYTES: usize = 8 << 20;
/// Inputs that one group gathers at most: each of them may be empty.
pub const GROUP_INPUTS: usize = 4_096;
/// How often a loop looks around when nothing happens.
pub const TICK: Duration = Duration::from_millis(200);

/// What ingest is told.
pub enum Input {
    Events(Vec<Event>),
    Order(Order, oneshot::Sender<Done>),
    /// The store has made everything up to here its own for good: older segments may go.
    StoreDurable(EntryNo),
    /// Where confirmed positions go from now on.
    Confirm(Confirm),
    /// Is told how far ingest is once everything before this is on disk.
    Tell(oneshot::Sender<Progress>),
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

/// How large a group becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// How long one that is small waits for company before it is synced, and the bytes at which it is not
    /// small any more. A sync costs more than a short wait.
    pub company: (Duration, usize),
    /// See [`GROUP_BYTES`] and [`GROUP_INPUTS`].
    pub bytes: usize,
    pub inputs: usize,
}

impl Default for Group {
    fn default() -> Self {
        Group { company: (Duration::ZERO, 0), bytes: GROUP_BYTES, inputs: GROUP_INPUTS }
    }
}

/// What has been taken and not been synced yet.
struct Gathered {
    before: EntryNo,
    bytes: usize,
    inputs: usize,
    company_until: Option<Duration>,
}

/// Everything the loop needs.
pub struct IngestLoop {
    ingest: Ingest,
    inputs: mpsc::Receiver<Input>,
    progress: watch::Sender<Progress>,
    observer: Arc<dyn Observer>,
    clock: Arc<dyn Clock>,
    group: Group,
    /// What a thread has waited for.
    next: Option<Input>,
    gathered: Option<Gathered>,
    tickets: Vec<(Ticket, oneshot::Sender<Done>)>,
    next_ticket: Ticket,
    tell: Vec<oneshot::Sender<Progress>>,
    confirm: Option<Confirm>,
    confirmed: Lsn,
    /// Without room nothing is read before this time.
    full_until: Option<Duration>,
    stopping: bool,
}

impl IngestLoop {
    pub fn new(
        ingest: Ingest,
        inputs: mpsc::Receiver<Input>,
        progress: watch::Sender<Progress>,
        observer: Arc<dyn Observer>,
        clock: Arc<dyn Clock>,
        group: Group,
    ) -> IngestLoop {
        IngestLoop {
            ingest,
            inputs,
            progress,
            observer,
            clock,
            group,
            next: None,
            gathered: None,
            tickets: Vec::new(),
            next_ticket: 1,
            tell: Vec::new(),
            confirm: None,
            confirmed: Lsn::ZERO,
            full_until: None,
            stopping: false,
        }
    }

    fn take(&mut self, input: Input) -> Result<usize, Error> {
        match input {
            Input::Events(events) => {
                let (mut bytes, messages) = (0, events.len() as u64);
                for event in events {
                    if let Event::Message { payload, .. } = &event {
                        bytes += payload.len();
                    }
                    self.ingest.event(event, self.clock.now())?;
                }
                failpoint::hit("ingest.received");
                self.observer.received(messages, bytes as u64, self.ingest.received());
                return Ok(bytes);
            }
            Input::Order(order, answer) => {
                self.tickets.push((self.next_ticket, answer));
                self.ingest.order(self.next_ticket, order)?;
                self.next_ticket += 1;
                failpoint::hit("ingest.ordered");
            }
            Input::StoreDurable(entry) => {
                self.ingest.journal_mut().retain(entry, self.clock.unix_s().max(0) as u64)?;
            }
            Input::Confirm(to) => {
                self.confirm = Some(to);
                self.confirmed = Lsn::ZERO; // a new connection has been told nothing yet
            }
            Input::Tell(to) => self.tell.push(to),
            Input::Tick => {}
            Input::Stop => self.stopping = true,
        }
        Ok(0)
    }

    /// Takes what is there, as far as the group has room; nothing when there is nothing.
    fn gather(&mut self) -> Result<Option<Gathered>, Error> {
        let mut gathered = self.gathered.take();
        while !self.stopping && !gathered.as_ref().is_some_and(|gathered| self.is_whole(gathered)) {
            let input = match self.next.take().map_or_else(|| self.inputs.try_recv(), Ok) {
                Ok(input) => input,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    self.stopping = true;
                    break;
                }
            };
            let before = self.ingest.journal().end();
            let bytes = self.take(input)?;
            let gathered =
                gathered.get_or_insert(Gathered { before, bytes: 0, inputs: 0, company_until: None });
            gathered.bytes += bytes;
            gathered.inputs += 1;
        }
        Ok(gathered)
    }

    fn is_whole(&self, gathered: &Gathered) -> bool {
        gathered.bytes >= self.group.bytes || gathered.inputs >= self.group.inputs
    }

    /// One wait for company, and only where the group is small: how long it still lasts.
    fn company(&self, gathered: &mut Gathered) -> Option<Duration> {
        let (wait, small) = self.group.company;
        let whole = self.is_whole(gathered) || gathered.bytes == 0 || gathered.bytes >= small;
        if self.stopping || whole || wait.is_zero() {
            return None;
        }
        let now = self.clock.now();
        let until = *gathered.company_until.get_or_insert(now + wait);
        Some(until.saturating_sub(now)).filter(|left| !left.is_zero())
    }

    /// Syncs the group and tells everyone whom it concerns.
    fn settle(&mut self, gathered: &Gathered) -> Result<(), Error> {
        let entries = self.ingest.journal().end().0.saturating_sub(gathered.before.0);
        let bytes = self.ingest.journal().size_bytes();
        let began = self.clock.now();
        self.ingest.sync(began)?;
        if entries > 0 {
            let took = self.clock.now().saturating_sub(began);
            self.observer.journaled(entries, bytes, took, self.ingest.durable_lsn());
        }
        failpoint::hit("ingest.synced");
        for (ticket, done) in self.ingest.take_done() {
            if let Some(position) = self.tickets.iter().position(|(known, _)| *known == ticket) {
                let _ = self.tickets.swap_remove(position).1.send(done); // nobody may be waiting any more
            }
        }
        for to in std::mem::take(&mut self.tell) {
            let _ = to.send(self.describe()); // as above
        }
        self.confirm_durable();
        Ok(())
    }

    fn confirm_durable(&mut self) {
        if let Some(confirm) = &self.confirm
            && self.ingest.durable_lsn() > self.confirmed
        {
            self.confirmed = self.ingest.durable_lsn();
            confirm(self.confirmed); // G4: this is on disk
            self.observer.confirmed(self.confirmed);
            failpoint::hit("ingest.confirmed");
        }
    }

    /// Rule 9: without room nothing more is read. The connection is let go after a while (rule 2), so that
    /// the server can still shut down; PostgreSQL's own limits apply to what it keeps for us.
    fn look_for_room(&mut self) -> Result<(), Error> {
        if !self.ingest.is_full() {
            return Ok(());
        }
        self.progress.send_replace(Progress { stalled: true, ..self.describe() });
        self.ingest.journal_mut().look_for_room()?;
        if self.ingest.is_full() {
            self.full_until = Some(self.clock.now() + TICK);
        }
        Ok(())
    }

    fn describe(&self) -> Progress {
        let journal = self.ingest.journal();
        Progress {
            durable: self.ingest.durable_complete(),
            journaled: self.ingest.durable_lsn(),
            received: self.ingest.received(),
            first: journal.first(),
            end: journal.end(),
            bytes: journal.size_bytes(),
            segments: journal.segments() as u64,
            full: self.ingest.is_full(),
            stalled: self.ingest.is_stalled(self.clock.now()) || self.ingest.is_full(),
        }
    }
}

impl Loop for IngestLoop {
    type Failed = Error;
    const NAME: &'static str = "ingest";

    fn turn(&mut self) -> Result<Turn, Error> {
        let now = self.clock.now();
        match self.full_until {
            Some(until) if now < until => return Ok(Turn::Pause(until - now)),
            _ => self.full_until = None,
        }
        let Some(mut gathered) = self.gather()? else {
            return Ok(if self.stopping { Turn::Ended } else { Turn::Input(None) });
        };
        if planted::is(Bug::ConfirmBeforeFsync) {
            self.confirm_durable();
        }
        if planted::is(Bug::ApplyUnsynced) {
            self.progress.send_replace(self.describe());
        }
        if let Some(left) = self.company(&mut gathered) {
            self.gathered = Some(gathered);
            return Ok(Turn::Pause(left));
        }
        self.settle(&gathered)?;
        self.look_for_room()?;
        self.progress.send_replace(self.describe());
        Ok(if self.stopping { Turn::Ended } else { Turn::Again })
    }

    fn wait(&mut self, _within: Option<Duration>) {
        // Ticks come as inputs. Nothing means that nobody is left who could send any: the next turn sees it.
        self.next = self.inputs.blocking_recv();
    }
}
