//! The server's end of a replication connection: what is flushed, in the order of the commits, from where it
//! was asked to begin.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use fastrand::Rng;
use projectord::model::Lsn;
use projectord::source::Event;
use tokio::sync::mpsc::UnboundedSender;

use super::{Record, Server, wire};

/// Positions that the other side has confirmed and that have not arrived yet.
pub type Confirmed = Arc<Mutex<VecDeque<Lsn>>>;

pub struct Walsender {
    /// The backend's pid.
    pub pid: i32,
    to: UnboundedSender<Vec<Event>>,
    pub confirmed: Confirmed,
    /// Commits that end at or before it are passed over.
    from: Lsn,
    /// The next record in the WAL.
    next: usize,
    /// Everything up to here was sent.
    pub sent: Lsn,
    queue: VecDeque<(Lsn, Bytes)>,
    announced: HashSet<u32>,
    layout: wire::Layout,
    /// Asks for an answer in the middle of transactions.
    pub chatty: bool,
}

impl Walsender {
    pub fn new(
        pid: i32,
        from: Lsn,
        server: &Server,
        to: UnboundedSender<Vec<Event>>,
        confirmed: Confirmed,
    ) -> Walsender {
        let next = server.wal.partition_point(|logged| logged.end <= from);
        Walsender {
            pid,
            to,
            confirmed,
            from,
            next,
            sent: from,
            queue: VecDeque::new(),
            announced: HashSet::new(),
            layout: wire::Layout(pid.unsigned_abs().into()),
            chatty: false,
        }
    }

    /// Whether the other side has gone; the server notices later.
    pub fn is_abandoned(&self) -> bool {
        self.to.is_closed()
    }

    /// The connection breaks.
    pub fn end(&mut self, reason: &str) {
        let _ = self.to.send(vec![Event::Lost { reason: reason.to_owned() }]);
    }

    /// Sends a few messages, or a keepalive when there is nothing.
    pub fn send(&mut self, server: &Server, random: &mut Rng) {
        let mut events = Vec::new();
        for _ in 0..random.usize(1..14) {
            while self.queue.is_empty() && self.decode(server, random) {}
            match self.queue.pop_front() {
                Some((wal_end, payload)) => {
                    self.sent = self.sent.max(wal_end);
                    events.push(Event::Message { wal_end, payload });
                }
                None => {
                    let wal_end = Lsn(server.flushed).max(self.sent);
                    self.sent = wal_end;
                    events.push(Event::Keepalive { wal_end, reply_requested: random.u8(..4) == 0 });
                    break;
                }
            }
            // Keepalives come in the middle of a transaction too, with the position of what was sent.
            if !self.queue.is_empty() && random.u8(..30) == 0 {
                events.push(Event::Keepalive { wal_end: self.sent, reply_requested: random.bool() });
            } else if self.chatty && self.queue.len() % 3 == 1 {
                events.push(Event::Keepalive { wal_end: self.sent, reply_requested: true });
            }
        }
        let _ = self.to.send(events); // the other side may have gone
    }

    /// Queues the messages of the next record; false when there is none on disk.
    fn decode(&mut self, server: &Server, random: &mut Rng) -> bool {
        let Some(logged) = server.wal.get(self.next).filter(|logged| logged.end.0 <= server.flushed) else {
            return false;
        };
        self.next += 1;
        let (start, end) = (logged.start, logged.end);
        match &logged.record {
            Record::Foreign => {
                if random.u8(..8) == 0 {
                    self.queue.push_back((end, wire::marker("somebody else's", "x", end)));
                }
            }
            Record::Marker { nonce, .. } => {
                self.queue.push_back((end, wire::marker(projectord::source::MARKER_PREFIX, nonce, end)));
            }
            Record::Commit { number, xid, changes } => {
                if end <= self.from {
                    return true;
                }
                let schema = &server.schema;
                // Rows have the positions at which they were written: side by side with those of others, and
                // all before the commit (hazard 16).
                let first = changes.first().map_or(start, |change| change.at);
                let mut messages = vec![(first, wire::begin(start, *xid, *number))];
                if random.u8(..30) == 0 {
                    messages.push((first, wire::origin()));
                }
                for change in changes.iter().filter(|change| change.published) {
                    for oid in wire::named(schema, &change.deed) {
                        if self.announced.insert(oid) {
                            messages.push((change.at, wire::relation(schema, oid, self.layout)));
                        }
                    }
                    messages.push((change.at, wire::deed(schema, &change.deed, self.layout)));
                }
                messages.push((end, wire::commit(start, end, *number)));
                // From version 15 on a transaction that holds nothing published is not sent at all.
                if messages.len() > 2 || random.bool() {
                    self.sent = self.sent.max(start);
                    self.queue.extend(messages);
                }
            }
        }
        true
    }

    /// A status message arrives: the next position, unless it is still on its way.
    pub fn take_confirmed(&mut self) -> Option<Lsn> {
        self.confirmed.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

impl Server {
    /// The walsender sends something; false when there is none.
    pub fn stream(&mut self, random: &mut Rng) -> bool {
        let Some(mut walsender) = self.walsender.take() else { return false };
        walsender.send(self, random);
        self.walsender = Some(walsender);
        true
    }

    /// How far it was sent, when a chunk's marker comes behind, and whether that chunk was handed over.
    pub fn unsent_chunk(&self) -> Option<(Lsn, bool)> {
        let sent = self.walsender.as_ref()?.sent;
        let mut behind = self.wal.iter().rev().take_while(|logged| logged.end > sent);
        let answered = behind.find_map(|logged| match &logged.record {
            Record::Marker { nonce, .. } => self.chunks.get(nonce),
            _ => None,
        });
        answered.map(|answered| (sent, *answered))
    }

    /// A status message arrives: the server believes it, whatever it says (hazard 13).
    pub fn take_status(&mut self) {
        let Some(walsender) = &mut self.walsender else { return };
        if let (Some(position), Some(slot)) = (walsender.take_confirmed(), &mut self.slot) {
            slot.confirmed = slot.confirmed.max(position);
            slot.streamed = true;
        }
    }

    /// The server notices that the other side has gone.
    pub fn notice_abandoned(&mut self) {
        if self.walsender.as_ref().is_some_and(Walsender::is_abandoned) {
            // What the other side said last may still arrive.
            for _ in 0..8 {
                self.take_status();
            }
            self.walsender = None;
        }
    }
}
