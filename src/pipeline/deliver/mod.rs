//! Deliver: dirty documents -> assembled from one consistent view -> sink -> settled.
//!
//! [`Deliverer`] is the state of the loop and knows no thread, socket or clock: it is asked for the next
//! request, told how requests ended, and says what to settle. One document id is in at most one request at a
//! time: that is its lane (hazards 45, 49). Documents that must be tried again are assembled again, from a
//! newer view if there is one (rule 39).

mod judge;
mod settling;
mod take;

use std::sync::Arc;
use std::time::Duration;

use hashbrown::{HashMap, HashSet};

use super::apply::Settle;
use crate::model::{Document, EntryNo, Epoch, Generation, Key, Version};
use crate::retry::{self, Backoff};
use crate::store::engine;
pub use take::{Frame, OpenGeneration};

/// Documents assembled from one view before it is let go (rule "views are short": a view held open makes
/// the store grow).
pub const VIEW_DOCUMENTS_MAX: usize = 500;
/// Judged documents after which a rate of refusals means something.
const REFUSAL_WINDOW: u32 = 200;

/// Limits of requests, from the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub requests_in_flight: usize,
    pub bulk_documents: usize,
    pub bulk_bytes: usize,
    /// Share of refused documents among the last ones judged that stops the daemon, 0 to 1.
    pub refusal_limit: f64,
    /// Pauses before a document or the whole sink is tried again.
    pub retry: retry::Options,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            requests_in_flight: 4,
            bulk_documents: 1_000,
            bulk_bytes: 5 << 20,
            refusal_limit: 0.5,
            retry: retry::Options::default(),
        }
    }
}

/// Why deliver cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] engine::Error),
    #[error("assemble: {0}")]
    Assemble(String),
    /// Rule 36.
    #[error(
        "sink-other-writer: index {index} holds document {id} at version {current}, which this process never wrote\n    \
         Stop the other daemon that writes to this index; then start this one again: it takes a new epoch."
    )]
    OtherWriter { index: String, id: String, current: Version },
    #[error(
        "sink-refuses-all: {refused} of the last {judged} documents of index {index} were refused, most with {code}\n    \
         The mapping does not fit the documents. See `projectord quarantine list`, mend the projection, and start again."
    )]
    RefusalRate { index: String, refused: u32, judged: u32, code: String },
    #[error(
        "sink-index-gone: index {index} is gone or was replaced: {reason}\n    \
         Start again: an index that is gone is made anew and filled from the local rows."
    )]
    IndexGone { index: String, reason: String },
}

/// One bulk request on its way.
#[derive(Clone, Debug)]
pub struct Request {
    pub number: u64,
    pub documents: Vec<Document>,
    /// Which mark each document settles.
    pub marks: Vec<(Generation, Key)>,
    pub view: EntryNo,
}

/// A document that is not to be touched for a while.
#[derive(Clone, Debug)]
struct Resting {
    until: Duration,
    backoff: Backoff,
}

/// The state of the loop.
#[derive(Debug)]
pub struct Deliverer {
    options: Options,
    epoch: Epoch,
    next_request: u64,
    in_flight: HashSet<(Generation, Key)>,
    settling: settling::Settling,
    requests: HashMap<u64, Arc<Request>>,
    resting: HashMap<(Generation, Key), Resting>,
    /// The whole sink rests.
    sink_rests: Option<Resting>,
    refusals: HashMap<Generation, Refusals>,
    turn: usize,
    served: u64,
}

#[derive(Clone, Debug, Default)]
struct Refusals {
    judged: u32,
    refused: u32,
    code: String,
}

impl Deliverer {
    pub fn new(options: Options, epoch: Epoch) -> Deliverer {
        Deliverer {
            options,
            epoch,
            next_request: 1,
            in_flight: HashSet::new(),
            settling: settling::Settling::default(),
            requests: HashMap::new(),
            resting: HashMap::new(),
            sink_rests: None,
            refusals: HashMap::new(),
            turn: 0,
            served: 0,
        }
    }

    /// Whether another request may go out now.
    pub fn has_room(&self, now: Duration) -> bool {
        let rests = self.sink_rests.as_ref().is_some_and(|rest| now < rest.until);
        // After a failure of the sink one request at a time finds out whether it is back.
        let allowed = if self.sink_rests.is_some() { 1 } else { self.options.requests_in_flight };
        !rests && self.requests.len() < allowed
    }

    /// The store holds all settles up to this batch ([`Settle::batch`]): whatever view is taken from now on
    /// shows them.
    pub fn settled(&mut self, batch: u64) {
        self.settling.held(batch);
    }

    pub fn in_flight(&self) -> usize {
        self.requests.len()
    }

    /// When something that rests may be tried again.
    pub fn wakes_at(&self, now: Duration) -> Option<Duration> {
        let documents = self.resting.values().map(|rest| rest.until).filter(|until| *until > now).min();
        [documents, self.sink_rests.as_ref().map(|rest| rest.until)].into_iter().flatten().min()
    }
}

/// How a request ended, for those who count.
#[derive(Debug, Default)]
pub struct Judged {
    pub settles: Vec<Settle>,
    pub delivered: super::observer::Delivered,
    /// Reasons of what is tried again.
    pub retries: Vec<String>,
    /// The whole request failed: why.
    pub sink_failed: Option<String>,
}
