//! Between the reader and whoever takes the events: bounded by groups, because each costs, and by bytes,
//! because one message may have a gigabyte.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::Shared;
use crate::model::Lsn;
use crate::source::Event;

/// Groups of events that may wait. A group is what one read of the socket brought.
pub const QUEUE_GROUPS_MAX: usize = 1024;

/// Bytes of messages, and of the events that hold them, that may wait. A single group larger than this
/// waits alone.
pub const QUEUE_BYTES_MAX: usize = 64 << 20;

/// Events handed out together at most, give or take one group.
const GATHER_EVENTS: usize = 1024;

/// Bytes, as [`QUEUE_BYTES_MAX`] counts them, handed out together at most, give or take one group.
const GATHER_BYTES: usize = 256 << 10;

/// Events that arrived together.
#[derive(Debug, Default)]
pub(super) struct Group {
    events: Vec<Event>,
    bytes: usize,
    /// The furthest position that one of them speaks of.
    position: Lsn,
}

impl Group {
    pub fn push(&mut self, event: Event) {
        match &event {
            Event::Message { wal_end, payload } => {
                self.bytes += payload.len();
                self.position = self.position.max(*wal_end);
            }
            Event::Keepalive { wal_end, .. } => self.position = self.position.max(*wal_end),
            Event::Connected(_) | Event::Lost { .. } => (),
        }
        self.bytes += size_of::<Event>();
        self.events.push(event);
    }

    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    fn append(&mut self, mut later: Group) {
        self.events.append(&mut later.events);
        self.bytes += later.bytes;
        self.position = self.position.max(later.position);
    }
}

pub(super) struct Queue {
    groups: mpsc::Sender<(Group, OwnedSemaphorePermit)>,
    bytes: Arc<Semaphore>,
}

/// Where the events come out.
pub struct Events {
    groups: mpsc::Receiver<(Group, OwnedSemaphorePermit)>,
    shared: Arc<Shared>,
}

pub(super) fn new(shared: Arc<Shared>) -> (Queue, Events) {
    let (sender, receiver) = mpsc::channel(QUEUE_GROUPS_MAX);
    let bytes = Arc::new(Semaphore::new(QUEUE_BYTES_MAX));
    (Queue { groups: sender, bytes }, Events { groups: receiver, shared })
}

impl Queue {
    /// Waits for room. Tells whether anybody will take the group.
    pub async fn send(&self, group: Group) -> bool {
        // Fits: the limit is far below 4 GiB.
        let bytes = group.bytes.min(QUEUE_BYTES_MAX) as u32;
        let room = async {
            let permit = self.bytes.clone().acquire_many_owned(bytes).await.ok()?;
            self.groups.send((group, permit)).await.ok()
        };
        tokio::select! {
            sent = room => sent.is_some(),
            () = self.groups.closed() => false,
        }
    }
}

impl Events {
    /// What is there, in the stream's order; nothing after the end. Dropping the future loses nothing.
    ///
    /// The server sends each message by itself, so a group often holds but one. Handed on one by one they
    /// would cost whoever takes them a wake-up each, and ingest an fsync for every few.
    pub async fn recv(&mut self) -> Option<Vec<Event>> {
        let (mut group, room) = self.groups.recv().await?;
        while group.events.len() < GATHER_EVENTS
            && group.bytes < GATHER_BYTES
            && let Ok((later, _room)) = self.groups.try_recv()
        {
            group.append(later);
        }
        Some(self.hand_out((group, room)))
    }

    /// The next group if there is one already.
    pub fn try_recv(&mut self) -> Option<Vec<Event>> {
        self.groups.try_recv().ok().map(|group| self.hand_out(group))
    }

    pub(super) fn close(&mut self) {
        self.groups.close();
        while self.groups.try_recv().is_ok() {}
    }

    fn hand_out(&self, (group, _room): (Group, OwnedSemaphorePermit)) -> Vec<Event> {
        self.shared.receive(group.position);
        group.events
    }
}
