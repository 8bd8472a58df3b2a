//! What happened in a run: a trace that is hashed (and printed when somebody wants to read it), counts of
//! the states worth reaching, and the promises that the fakes see broken.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::hash::Hasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use projectord::model::Lsn;
use xxhash_rust::xxh3::Xxh3;

#[derive(Default)]
struct Seen {
    counts: BTreeMap<String, u64>,
    trace: Xxh3,
    lines: u64,
    loud: bool,
    step: u64,
    broken: Option<String>,
    /// The largest position that was confirmed, and what was received, on this connection.
    confirmed: Lsn,
    received: Lsn,
}

/// See the module. Clones are the same one.
#[derive(Clone, Default)]
pub struct Watch {
    seen: Arc<Mutex<Seen>>,
}

impl Watch {
    pub fn new(loud: bool) -> Watch {
        let watch = Watch::default();
        watch.seen().loud = loud;
        watch
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn step(&self, step: u64) {
        self.seen().step = step;
    }

    /// A state worth reaching was reached; part of the trace.
    pub fn note(&self, what: &'static str) {
        self.count(what.to_owned());
    }

    /// The same, with a name that was put together.
    pub fn count(&self, what: String) {
        self.trace(&what);
        *self.seen().counts.entry(what).or_default() += 1;
    }

    /// A line of the trace.
    pub fn trace(&self, what: impl Display) {
        let mut seen = self.seen();
        let line = format!("{:>5} {what}", seen.step);
        seen.trace.write(line.as_bytes());
        seen.lines += 1;
        if seen.loud {
            println!("{line}");
        }
    }

    /// A promise was broken; the first one counts.
    pub fn broken(&self, what: impl Display) {
        let what = what.to_string();
        self.trace(format!("BROKEN {what}"));
        self.seen().broken.get_or_insert(what);
    }

    pub fn take_broken(&self) -> Option<String> {
        self.seen().broken.take()
    }

    /// The hash of the whole trace.
    pub fn hash(&self) -> u64 {
        self.seen().trace.finish()
    }

    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.seen().counts.clone()
    }

    /// A stream begins at the journal's end.
    pub fn began(&self, from: Lsn) {
        let mut seen = self.seen();
        seen.confirmed = Lsn::ZERO;
        seen.received = from;
    }

    pub fn received(&self, position: Lsn) {
        let mut seen = self.seen();
        seen.received = seen.received.max(position);
    }

    /// How far the last connection has brought anything.
    pub fn brought(&self) -> Lsn {
        self.seen().received
    }

    /// I5: nothing is confirmed that was not received; whether it is durable, the world looks at.
    pub fn confirmed(&self, position: Lsn) {
        self.trace(format_args!("confirmed {position}"));
        let mut seen = self.seen();
        let received = seen.received;
        seen.confirmed = seen.confirmed.max(position);
        drop(seen);
        if position > received {
            self.broken(format_args!("{position} was confirmed and only {received} received (I5)"));
        }
    }

    /// What was confirmed since the last look.
    pub fn take_confirmed(&self) -> Option<Lsn> {
        let confirmed = std::mem::take(&mut self.seen().confirmed);
        (confirmed > Lsn::ZERO).then_some(confirmed)
    }
}
