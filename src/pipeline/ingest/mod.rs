//! Ingest: source -> journal.
//!
//! [`Ingest`] appends what comes from the stream, holds backfill chunks until their marker comes back
//! (rule 11), lets nothing in between the parts of a transaction (rule 5), and says what may be confirmed
//! after each sync. It decodes nothing but the first bytes of a message, and waits for nobody downstream. It
//! knows no thread and no clock.

mod head;
mod marker;
mod transaction;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashMap;

use crate::journal::entry::{Backfill, Command, Facts, Intent, Position};
use crate::planted::{self, Bug};
use head::Head;

use crate::journal::{self, Journal, Kind};
use crate::model::{EntryNo, Lsn};
use crate::pgoutput::decoder::decode;
use crate::pgoutput::message::Message;
use crate::pipeline::apply;
use crate::progress::{IDLE_POSITION_EVERY, JOURNAL_STALL_MAX};
use crate::source::{Event, HeldChunk, Identity, MARKER_PREFIX};

/// A message larger than this cannot be journaled: the stream stops with an error. Elasticsearch would
/// refuse a document of that size (100 MB) in any case.
pub const MESSAGE_BYTES_MAX: usize = 60 << 20;
/// Markers remembered whose orders have not come yet: more than chunks can be in flight.
const MARKERS_SEEN_MAX: usize = 256;

/// Why ingest cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// The stream does not say what the protocol allows: the connection is given up and begun anew.
    #[error("source-stream: {0}")]
    Stream(String),
    #[error(
        "source-message-too-large: a message of {bytes} bytes; the limit is {limit}\n    \
         Rows of that size are not supported; exclude the table or make the row smaller."
    )]
    TooLarge { bytes: usize, limit: usize },
}

/// What to append as soon as no transaction is open.
#[derive(Debug)]
pub enum Order {
    Command(Command),
    Facts(Box<Facts>),
    Intent(Intent),
    Position(Position),
    /// A new slot after a gap.
    Rebuild(Position),
    /// Append a BackfillBegin when this marker comes back.
    Begin {
        nonce: String,
        backfill: Backfill,
    },
    End(Backfill),
    /// Hold until its marker comes back.
    Chunk(HeldChunk),
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// Appended under this number; durable with the next sync.
    Appended(EntryNo),
    /// The connection ended before the marker came back: read again (rule 11).
    Dropped,
}

/// Identifies an order to whoever gave it.
pub type Ticket = u64;

#[derive(Debug)]
struct OpenTransaction {
    first: EntryNo,
    /// Its BEGIN, which every part repeats: apply has to know whose it is before the commit.
    begin: Bytes,
    commit: Lsn,
    xid: u32,
    rows: u32,
    /// The messages gathered since the last part.
    messages: Vec<u8>,
    parts: bool,
}

/// Limits, from the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes of messages of one transaction that are gathered before they are appended as a part.
    pub part_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { part_bytes: 1 << 20 }
    }
}

/// The state of the loop.
pub struct Ingest {
    journal: Journal,
    options: Options,
    open: Option<OpenTransaction>,
    /// Orders that wait for the open transaction to end.
    waiting: VecDeque<(Ticket, Order)>,
    /// Orders that wait for their marker.
    held: HashMap<String, (Ticket, Order)>,
    /// Markers of this connection whose orders have not come yet.
    seen: VecDeque<String>,
    done: Vec<(Ticket, Done)>,
    head: Head,
    /// End of the last complete entry that carries a position.
    end_lsn: Lsn,
    /// The same, of what is on disk.
    durable_lsn: Lsn,
    received: Lsn,
    /// The last entry that apply may read once it is durable: not a part of an open transaction.
    complete: EntryNo,
    durable_complete: EntryNo,
    idle: Option<(Lsn, bool)>,
    last_position: Duration,
    /// Since when data is pending that was not yet journaled (rule 2).
    pending_since: Option<Duration>,
}

impl Ingest {
    /// `end_lsn` is where the journal ends; zero before there was a slot.
    pub fn new(journal: Journal, options: Options, end_lsn: Lsn, facts: Option<Bytes>) -> Ingest {
        let complete = journal.end();
        // The connection too: a segment that begins before the next one must not forget the last identity.
        let head = Head { facts, ..Head::found(journal.head()) };
        Ingest {
            durable_complete: journal.durable(),
            journal,
            options,
            open: None,
            waiting: VecDeque::new(),
            held: HashMap::new(),
            seen: VecDeque::new(),
            done: Vec::new(),
            head,
            end_lsn,
            durable_lsn: end_lsn,
            received: end_lsn,
            complete,
            idle: None,
            last_position: Duration::ZERO,
            pending_since: None,
        }
    }

    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    pub fn journal_mut(&mut self) -> &mut Journal {
        &mut self.journal
    }

    /// The last entry that apply may read.
    pub fn durable_complete(&self) -> EntryNo {
        if planted::is(Bug::ApplyUnsynced) { self.complete } else { self.durable_complete }
    }

    /// What PostgreSQL may be told (G4).
    pub fn durable_lsn(&self) -> Lsn {
        if planted::is(Bug::ConfirmBeforeFsync) { self.end_lsn } else { self.durable_lsn }
    }

    /// The end of everything appended, synced or not.
    pub fn end_lsn(&self) -> Lsn {
        self.end_lsn
    }

    pub fn received(&self) -> Lsn {
        self.received
    }

    /// Whether something was appended since the last sync.
    pub fn is_dirty(&self) -> bool {
        self.journal.end() > self.journal.durable()
    }

    /// Rule 9: no room; nothing more is to be read until there is.
    pub fn is_full(&self) -> bool {
        self.journal.is_full()
    }

    /// Rule 2: data is pending and nothing reached the disk for so long that the connection must go.
    pub fn is_stalled(&self, now: Duration) -> bool {
        self.pending_since.is_some_and(|since| now.saturating_sub(since) > JOURNAL_STALL_MAX)
    }

    /// Takes an event of the stream.
    pub fn event(&mut self, event: Event, now: Duration) -> Result<(), Error> {
        match event {
            Event::Connected(identity) => self.connected(&identity),
            Event::Message { wal_end, payload } => {
                if planted::is(Bug::SkipSamePosition)
                    && wal_end == self.received
                    && matches!(payload.first(), Some(b'I' | b'U' | b'D'))
                {
                    return Ok(());
                }
                if planted::is(Bug::SkipEarlierPosition)
                    && wal_end < self.received
                    && matches!(payload.first(), Some(b'I' | b'U' | b'D'))
                {
                    return Ok(());
                }
                self.received = self.received.max(wal_end);
                self.pending_since.get_or_insert(now);
                self.message(&payload)
            }
            Event::Keepalive { wal_end, reply_requested } => {
                self.received = self.received.max(wal_end);
                let asked = reply_requested || self.idle.is_some_and(|(_, asked)| asked);
                self.idle = Some((wal_end, asked));
                self.idle_position(now)
            }
            Event::Lost { .. } => self.lost(),
        }
    }

    /// Takes an order; its fate is told by [`Ingest::take_done`].
    pub fn order(&mut self, ticket: Ticket, order: Order) -> Result<(), Error> {
        let nonce = match &order {
            Order::Begin { nonce, .. } => Some(nonce),
            Order::Chunk(chunk) => Some(&chunk.nonce),
            _ => None,
        };
        match nonce {
            // Its marker was quicker than the order. Later than the marker is no worse: whatever the
            // stream changed since L wins over the chunk either way (rule 14).
            Some(nonce) if !self.seen.contains(nonce) => {
                self.held.insert(nonce.clone(), (ticket, order));
                Ok(())
            }
            _ => {
                self.waiting.push_back((ticket, order));
                self.append_waiting()
            }
        }
    }

    /// Orders that are settled since the last call.
    pub fn take_done(&mut self) -> Vec<(Ticket, Done)> {
        std::mem::take(&mut self.done)
    }

    /// Writes and syncs everything appended: a group.
    pub fn sync(&mut self, now: Duration) -> Result<(), Error> {
        self.idle_position(now)?;
        self.journal.sync()?;
        self.durable_lsn = self.end_lsn;
        self.durable_complete = self.complete;
        self.pending_since = self.open.as_ref().map(|_| now);
        Ok(())
    }

    fn connected(&mut self, identity: &Identity) -> Result<(), Error> {
        self.drop_open()?;
        let payload = json(identity);
        self.append(Kind::Connected, &[&payload])?;
        self.head.connected = Some(payload.into());
        self.head.relations.clear();
        self.journal.set_head(self.head.records());
        Ok(())
    }

    /// The connection ended: an open transaction and held chunks are dropped (rules 5, 11).
    fn lost(&mut self) -> Result<(), Error> {
        self.drop_open()?;
        self.idle = None;
        self.pending_since = None;
        self.seen.clear();
        if planted::is(Bug::HeldChunkKept) {
            let mut kept: Vec<(Ticket, Order)> = self.held.drain().map(|(_, order)| order).collect();
            kept.sort_unstable_by_key(|(ticket, _)| *ticket);
            self.waiting.extend(kept);
            return self.append_waiting();
        }
        let mut dropped: Vec<Ticket> = self.held.drain().map(|(_, (ticket, _))| ticket).collect();
        dropped.sort_unstable(); // the order of a map is nobody's
        self.done.extend(dropped.into_iter().map(|ticket| (ticket, Done::Dropped)));
        self.append_waiting()
    }

    fn drop_open(&mut self) -> Result<(), Error> {
        if let Some(open) = self.open.take()
            && open.parts
        {
            self.journal.truncate_after(open.first.previous())?;
        }
        self.head.announced.clear();
        Ok(())
    }

    /// Nothing pending: the server's own position may be confirmed once it is journaled (rules 2, 3): at
    /// once when the server asks (it may be shutting down and waiting for just that), else now and then.
    fn idle_position(&mut self, now: Duration) -> Result<(), Error> {
        let Some((wal_end, asked)) = self.idle else { return Ok(()) };
        let pending = self.open.is_some() && !planted::is(Bug::ConfirmPendingKeepalive);
        if pending || wal_end <= self.end_lsn {
            return Ok(());
        }
        if !asked && now.saturating_sub(self.last_position) < IDLE_POSITION_EVERY {
            return Ok(());
        }
        self.idle = None;
        self.last_position = now;
        self.append(Kind::Position, &[&json(&Position { lsn: wal_end })])?;
        self.end_lsn = wal_end;
        Ok(())
    }

    fn append_waiting(&mut self) -> Result<(), Error> {
        while self.open.is_none()
            && let Some((ticket, order)) = self.waiting.pop_front()
        {
            let number = match &order {
                Order::Command(command) => self.append(Kind::Command, &[&json(command)])?,
                Order::Intent(intent) => {
                    let payload = json(intent);
                    let number = self.append(Kind::Intent, &[&payload])?;
                    self.head.intent = Some(payload.into());
                    self.journal.set_head(self.head.records());
                    number
                }
                Order::End(backfill) => self.append(Kind::BackfillEnd, &[&json(backfill)])?,
                Order::Position(position) => {
                    let number = self.append(Kind::Position, &[&json(position)])?;
                    self.end_lsn = self.end_lsn.max(position.lsn);
                    number
                }
                Order::Rebuild(position) => {
                    let number = self.append(Kind::Rebuild, &[&json(position)])?;
                    self.end_lsn = position.lsn; // may lie behind: another server's positions
                    self.head.connected = None;
                    self.head.rebuilt = Some(journal::writer::rebuilt_at(number));
                    self.head.relations.clear();
                    self.journal.set_head(self.head.records());
                    number
                }
                Order::Facts(facts) => {
                    let payload = json(facts);
                    let number = self.append(Kind::Facts, &[&payload])?;
                    self.head.facts = Some(payload.into());
                    self.head.rebuilt = None;
                    self.journal.set_head(self.head.records());
                    number
                }
                Order::Chunk(chunk) => {
                    self.append(Kind::Chunk, &[&apply::join_chunk(&chunk.head, &chunk.rows)])?
                }
                Order::Begin { backfill, .. } => self.append(Kind::BackfillBegin, &[&json(backfill)])?,
            };
            self.done.push((ticket, Done::Appended(number)));
        }
        Ok(())
    }

    fn append(&mut self, kind: Kind, payload: &[&[u8]]) -> Result<EntryNo, Error> {
        let number = self.append_raw(kind, payload)?;
        self.complete = number;
        Ok(number)
    }

    fn append_raw(&mut self, kind: Kind, payload: &[&[u8]]) -> Result<EntryNo, Error> {
        let number = self.journal.append(kind, payload)?;
        if !self.head.announced.is_empty() && matches!(kind, Kind::Transaction | Kind::TransactionPart) {
            self.head.relations.extend(self.head.announced.drain(..));
            self.journal.set_head(self.head.records());
        }
        Ok(number)
    }
}

fn parse(payload: &[u8]) -> Result<Message<'_>, Error> {
    decode(payload).map_err(|error| Error::Stream(error.to_string()))
}

/// Control entries are plain structs of numbers and strings: their serialisation cannot fail.
fn json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
