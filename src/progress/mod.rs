//! How far we are, and what the server may be told of it.
//!
//! Four watermarks, each with one meaning: what came (`received`), what is on disk (`journaled`), what is in the
//! row store (`applied`), what every reader of the sink can rely on (`projected`). Only `journaled` is ever
//! confirmed (G4), and only [`Progress`] makes a [`Confirmable`].
//!
//! Pure: `now` is a monotonic clock as the time since some fixed moment. The caller does what a [`Decision`]
//! says. What is decided here and why:
//! - an idle server's position is confirmed only after a Position entry is on disk (rule 3), else a restart
//!   would find the slot beyond the journal; coalesced, because a busy neighbour database moves it all the time;
//! - at once when the server asks for a reply: a fast shutdown asks, and waits for that position (rule 2);
//! - what cannot be journaled is not kept alive: the connection is closed, so that the server may shut down.

mod lag;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use lag::Lag;

use crate::model::{EntryNo, Lsn};

/// At most one Position entry in this time, unless the server asks for a reply (rule 3).
pub const POSITION_INTERVAL: Duration = Duration::from_secs(5);
/// The journal owes an entry and has not advanced for this long: close the connection (rule 2).
pub const STALL_MAX: Duration = Duration::from_secs(10);
/// Not heard of the server for this long: the next status asks it to answer.
pub const ASK_AFTER: Duration = Duration::from_secs(5);
/// Not heard of the server for this long: nobody may say that nothing is behind (rule 39).
pub const CONTACT_FRESH: Duration = Duration::from_secs(15);

/// Everything up to here came from the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Received(pub Lsn);

/// Everything up to here is on our disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Journaled {
    pub lsn: Lsn,
    pub entry: EntryNo,
}

/// Everything up to here is in the row store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    pub lsn: Lsn,
    pub entry: EntryNo,
}

/// Every document that anything up to here concerns is durable in the sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Projected {
    pub lsn: Lsn,
    pub entry: EntryNo,
}

/// A position that may go into a status as flushed. Nobody else can make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirmable(Lsn);

impl Confirmable {
    pub fn lsn(self) -> Lsn {
        self.0
    }
}

/// What has come on this connection and is not on disk yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    Nothing,
    /// The first part of a transaction; its next part is the server's turn.
    Transaction,
    /// Complete, or large enough to be appended: it is the journal's turn.
    Journal,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Nothing,
    /// Send a status, with the request for an answer if `ask`.
    Confirm {
        position: Confirmable,
        ask: bool,
    },
    /// Append a Position entry before anything that comes later (rule 5: not into a transaction); once it is
    /// on disk, [`Progress::on_journaled`] says what to confirm.
    Journal(Lsn),
    /// End the connection without a last status: the journal did not advance for so long.
    Close {
        stalled: Duration,
    },
}

/// See the module. One for the life of the process.
#[derive(Debug)]
pub struct Progress {
    received: Received,
    journaled: Journaled,
    applied: Applied,
    projected: Projected,
    server: Lsn,
    lag: Lag,
    status_interval: Duration,
    /// When the server was last heard of; the beginning, if never.
    contact: Duration,
    /// When the last status went out.
    status: Duration,
    /// A keepalive's position, with nothing pending, that waits for its turn.
    idle: Option<Lsn>,
    /// The position of the Position entry that was asked for and is not on disk yet.
    asked: Option<Lsn>,
    /// When the last Position entry was asked for.
    asked_at: Option<Duration>,
    /// The server asked for a reply and gets it with the next group on disk.
    reply_owed: bool,
    /// Since when the journal has owed something without a break.
    owing: Option<Duration>,
    advanced: Duration,
}

impl Progress {
    /// Where journal, store and dirty set were found at the start. `status_interval`: a status goes out at
    /// least this often.
    pub fn new(
        journaled: Journaled,
        applied: Applied,
        projected: Projected,
        status_interval: Duration,
        now: Duration,
    ) -> Progress {
        Progress {
            received: Received(journaled.lsn),
            journaled,
            applied,
            projected,
            server: journaled.lsn,
            lag: Lag::default(),
            status_interval,
            contact: now,
            status: now,
            idle: None,
            asked: None,
            asked_at: None,
            reply_owed: false,
            owing: None,
            advanced: now,
        }
    }

    /// A connection began, at the journal's end (rule 6). What came on the last one and is not on disk will
    /// come again; it counts as received since it first came.
    pub fn on_connected(&mut self, now: Duration) {
        self.received = Received(self.journaled.lsn);
        self.contact = now;
        self.status = now;
        self.idle = None;
        self.asked = None;
        self.reply_owed = false;
        self.owing = None;
    }

    /// A message came; `commit_end` when it is a commit: the position behind it.
    pub fn on_message(&mut self, wal_end: Lsn, commit_end: Option<Lsn>, now: Duration) {
        self.heard(wal_end, now);
        // The commit to come ends behind every idle position from before it.
        self.idle = None;
        let Some(end) = commit_end else { return };
        self.received.0 = self.received.0.max(end);
        if end > self.projected.lsn {
            self.lag.received(end, now);
        }
    }

    /// A group of entries is on disk.
    pub fn on_journaled(&mut self, journaled: Journaled, now: Duration) -> Decision {
        if journaled.entry > self.journaled.entry {
            self.advanced = now;
        }
        self.journaled.entry = self.journaled.entry.max(journaled.entry);
        self.journaled.lsn = self.journaled.lsn.max(journaled.lsn);
        self.received.0 = self.received.0.max(self.journaled.lsn);
        self.idle = self.idle.filter(|idle| *idle > self.journaled.lsn);
        let landed = self.asked.is_some_and(|asked| asked <= self.journaled.lsn);
        if landed {
            self.asked = None;
        }
        // A reply that waits for its Position entry waits for all of it.
        if landed || (self.reply_owed && self.asked.is_none()) {
            self.confirm(now)
        } else {
            Decision::Nothing
        }
    }

    /// A batch of the store is committed.
    pub fn on_applied(&mut self, applied: Applied) {
        self.applied = applied;
    }

    /// Documents were settled. May go back, when a projection is added.
    pub fn on_projected(&mut self, projected: Projected) {
        self.projected = projected;
        self.lag.projected(projected.lsn);
    }

    /// The server says where it is, and that it has sent everything up to there.
    pub fn on_keepalive(
        &mut self,
        wal_end: Lsn,
        reply_requested: bool,
        pending: Pending,
        now: Duration,
    ) -> Decision {
        self.heard(wal_end, now);
        if let Some(stalled) = self.stalled(pending, now) {
            return Decision::Close { stalled };
        }
        match pending {
            Pending::Nothing => self.received.0 = self.received.0.max(wal_end),
            Pending::Transaction if reply_requested => return self.confirm(now),
            Pending::Transaction => return Decision::Nothing,
            // An answer now would only make the server ask again, and again, until the disk is done.
            Pending::Journal => {
                self.reply_owed |= reply_requested;
                return Decision::Nothing;
            }
        }
        if wal_end <= self.journaled.lsn {
            return if reply_requested { self.confirm(now) } else { Decision::Nothing };
        }
        self.reply_owed |= reply_requested;
        if self.asked.is_some_and(|asked| asked >= wal_end) {
            return Decision::Nothing;
        }
        if reply_requested || self.position_is_due(now) {
            return self.ask(wal_end, now);
        }
        self.idle = Some(wal_end);
        Decision::Nothing
    }

    /// To be called about once a second, whatever else happens.
    pub fn on_tick(&mut self, pending: Pending, now: Duration) -> Decision {
        if let Some(stalled) = self.stalled(pending, now) {
            return Decision::Close { stalled };
        }
        if let (Pending::Nothing, Some(idle), true) = (pending, self.idle, self.position_is_due(now)) {
            return self.ask(idle, now);
        }
        // While the server waits for a reply that the journal owes, a status would be just that reply.
        if now.saturating_sub(self.status) >= self.status_interval && !self.reply_owed {
            return self.confirm(now);
        }
        Decision::Nothing
    }

    /// What may be confirmed: what is on disk.
    pub fn confirmable(&self) -> Confirmable {
        Confirmable(self.journaled.lsn)
    }

    /// How long ago what is projected now was received. Zero only when everything received is projected and
    /// the server was heard of recently; else at least as long as it has been silent (rule 39).
    pub fn lag(&self, now: Duration) -> Duration {
        let silence = self.silence(now);
        let silence = if silence > CONTACT_FRESH { silence } else { Duration::ZERO };
        self.lag.age(now).unwrap_or_default().max(silence)
    }

    /// How long the server has not been heard of.
    pub fn silence(&self, now: Duration) -> Duration {
        now.saturating_sub(self.contact)
    }

    pub fn received(&self) -> Received {
        self.received
    }

    pub fn journaled(&self) -> Journaled {
        self.journaled
    }

    pub fn applied(&self) -> Applied {
        self.applied
    }

    pub fn projected(&self) -> Projected {
        self.projected
    }

    /// The furthest position of the server that we know of.
    pub fn server(&self) -> Lsn {
        self.server
    }

    fn heard(&mut self, wal_end: Lsn, now: Duration) {
        self.contact = now;
        self.server = self.server.max(wal_end);
    }

    fn position_is_due(&self, now: Duration) -> bool {
        self.asked.is_none() && self.asked_at.is_none_or(|at| now.saturating_sub(at) >= POSITION_INTERVAL)
    }

    fn ask(&mut self, position: Lsn, now: Duration) -> Decision {
        self.asked = Some(position);
        self.asked_at = Some(now);
        self.idle = None;
        // From here on it is the journal that owes.
        self.owing.get_or_insert(now);
        Decision::Journal(position)
    }

    fn confirm(&mut self, now: Duration) -> Decision {
        let ask = self.silence(now) >= ASK_AFTER;
        self.status = now;
        self.reply_owed = false;
        Decision::Confirm { position: self.confirmable(), ask }
    }

    /// How long the journal has owed without advancing, if that is too long.
    fn stalled(&mut self, pending: Pending, now: Duration) -> Option<Duration> {
        if pending != Pending::Journal && self.asked.is_none() {
            self.owing = None;
            return None;
        }
        let since = (*self.owing.get_or_insert(now)).max(self.advanced);
        let stalled = now.saturating_sub(since);
        (stalled >= STALL_MAX).then_some(stalled)
    }
}
