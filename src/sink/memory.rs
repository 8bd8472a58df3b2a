//! A sink in memory with the cluster's version semantics, that can be told to fail: for tests of `deliver`.
//!
//! It remembers deletes for ever, unless told to forget them, and keeps a record of every accepted write.
//! Faults are planned beforehand, one for each coming `send`; holding lets a test look at the world while
//! requests are on their way.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use super::{Answer, Error, IndexSpec, PreparedIndex, Sink};
use crate::model::{Action, Document, Epoch, Outcome, Version};

/// What happens to one `send`.
#[derive(Clone)]
pub enum Fault {
    /// Nothing: a turn without a fault.
    None,
    /// Nothing is written; the caller learns only that it does not know.
    Unavailable,
    /// Everything is written; the caller learns only that it does not know.
    AnswerLost,
    /// The caller learns only that it does not know; the documents are written by [`Memory::apply_late`].
    AnswerLostAppliedLate,
    /// These documents are answered as overloaded (429) and not written.
    Busy(Predicate),
    /// These documents are answered with a conflict that names this version, and not written.
    Conflict(Predicate, Option<Version>),
    /// The call fails with this, nothing is written.
    Fails(Error),
}

/// Which documents a fault is about.
pub type Predicate = Arc<dyn Fn(&Document) -> bool + Send + Sync>;

/// One write that was accepted, in the order of acceptance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub index: Arc<str>,
    pub id: String,
    pub version: Version,
    /// Nothing for a delete.
    pub body: Option<Bytes>,
}

#[derive(Clone)]
struct Held {
    version: Version,
    /// Nothing for a tombstone.
    body: Option<Bytes>,
}

struct Index {
    spec: IndexSpec,
    uuid: String,
    epoch: Epoch,
    documents: BTreeMap<String, Held>,
}

#[derive(Default)]
struct State {
    indices: BTreeMap<String, Index>,
    aliases: BTreeMap<String, String>,
    faults: VecDeque<Fault>,
    rejects: Option<Predicate>,
    accepted: Vec<Accepted>,
    late: Vec<Vec<Document>>,
    created: u64,
    sends: u64,
}

/// See the module. Clones share their state, as clients of one cluster do.
#[derive(Clone)]
pub struct Memory {
    state: Arc<Mutex<State>>,
    /// Whether answers are held back.
    hold: Arc<watch::Sender<bool>>,
    /// Calls of `send` that wait for their answer.
    waiting: Arc<watch::Sender<usize>>,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory::new()
    }
}

impl Memory {
    pub fn new() -> Memory {
        Memory { state: Arc::default(), hold: Arc::new(watch::Sender::new(false)), waiting: Arc::default() }
    }

    /// The next sends meet these faults, one each, after those already planned.
    pub fn plan(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.extend(faults);
    }

    /// From now on these documents are rejected as `test_rejected`; nothing ends it.
    pub fn reject(&self, which: Option<Predicate>) {
        self.state().rejects = which;
    }

    /// From now on sends are carried out, and their answers wait for [`Memory::release`].
    pub fn hold(&self) {
        self.hold.send_replace(true);
    }

    pub fn release(&self) {
        self.hold.send_replace(false);
    }

    /// Until so many sends wait for their answer.
    pub async fn wait_for_held(&self, sends: usize) {
        // The sender lives as long as `self`, so this ends only with the condition.
        let _ = self.waiting.subscribe().wait_for(|waiting| *waiting >= sends).await;
    }

    /// Carries out what [`Fault::AnswerLostAppliedLate`] kept back, oldest first.
    pub fn apply_late(&self) {
        let mut state = self.state();
        for documents in std::mem::take(&mut state.late) {
            for document in &documents {
                state.apply(document);
            }
        }
    }

    /// What happens after `index.gc_deletes`: versions of deleted documents are known no more (hazard 45).
    pub fn forget_deletes(&self) {
        for index in self.state().indices.values_mut() {
            index.documents.retain(|_, held| held.body.is_some());
        }
    }

    /// Somebody deletes the index.
    pub fn remove_index(&self, name: &str) {
        let mut state = self.state();
        state.indices.remove(name);
        state.aliases.retain(|_, target| target != name);
    }

    /// Somebody puts an empty index of the same name in its place.
    pub fn replace_index(&self, name: &str) {
        let mut state = self.state();
        state.created += 1;
        let uuid = format!("memory-{}", state.created);
        if let Some(index) = state.indices.get_mut(name) {
            index.uuid = uuid;
            index.epoch = Epoch(0);
            index.documents.clear();
        }
    }

    /// Somebody writes another epoch into the index, as a second daemon would.
    pub fn overwrite_epoch(&self, name: &str, epoch: Epoch) {
        if let Some(index) = self.state().indices.get_mut(name) {
            index.epoch = epoch;
        }
    }

    /// Every write that was accepted so far, in order.
    pub fn accepted(&self) -> Vec<Accepted> {
        self.state().accepted.clone()
    }

    /// Calls of `send` so far, failed ones too.
    pub fn sends(&self) -> u64 {
        self.state().sends
    }

    /// The documents that exist in this index, with their versions.
    pub fn documents(&self, index: &str) -> BTreeMap<String, (Version, Bytes)> {
        let state = self.state();
        let documents = state.indices.get(index).map(|index| &index.documents);
        let alive = |(id, held): (&String, &Held)| Some((id.clone(), (held.version, held.body.clone()?)));
        documents.into_iter().flatten().filter_map(alive).collect()
    }

    /// The index that this alias leads to.
    pub fn alias(&self, alias: &str) -> Option<String> {
        self.state().aliases.get(alias).cloned()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked while holding it has failed already.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn execute(&self, documents: &[Document]) -> Result<Vec<Outcome>, Error> {
        let mut state = self.state();
        state.sends += 1;
        let lost = |reason: &str| Error::Retry { operation: "send documents", reason: reason.to_owned() };
        let fault = state.faults.pop_front().unwrap_or(Fault::None);
        let (outcomes, answer) = match &fault {
            Fault::Unavailable => return Err(lost("planned: unavailable")),
            Fault::Fails(error) => return Err(error.clone()),
            Fault::AnswerLostAppliedLate => {
                state.late.push(documents.to_vec());
                return Err(lost("planned: no answer in time"));
            }
            fault => {
                let outcomes = documents.iter().map(|document| state.meet(fault, document)).collect();
                (outcomes, !matches!(fault, Fault::AnswerLost))
            }
        };
        if answer { Ok(outcomes) } else { Err(lost("planned: the answer is lost")) }
    }

    /// Counts a held send even if its future is dropped meanwhile.
    async fn wait_for_release(&self) {
        struct Counted<'a>(&'a watch::Sender<usize>);
        impl Drop for Counted<'_> {
            fn drop(&mut self) {
                self.0.send_modify(|waiting| *waiting -= 1);
            }
        }
        let mut hold = self.hold.subscribe();
        if *hold.borrow_and_update() {
            self.waiting.send_modify(|waiting| *waiting += 1);
            let _counted = Counted(&self.waiting);
            let _ = hold.wait_for(|held| !held).await;
        }
    }
}

impl State {
    fn meet(&mut self, fault: &Fault, document: &Document) -> Outcome {
        match fault {
            Fault::Busy(which) if which(document) => Outcome::Retry { reason: "planned: 429".to_owned() },
            Fault::Conflict(which, current) if which(document) => Outcome::Conflict { current: *current },
            _ => self.apply(document),
        }
    }

    fn apply(&mut self, document: &Document) -> Outcome {
        if self.rejects.as_ref().is_some_and(|rejects| rejects(document)) {
            let reason = "planned: rejected".to_owned();
            return Outcome::Rejected { code: "test_rejected".to_owned(), reason };
        }
        let Some(index) = self.indices.get_mut(&*document.index) else {
            return Outcome::IndexGone { reason: format!("no index '{}'", document.index) };
        };
        if let Some(held) = index.documents.get(&document.id)
            && held.version >= document.version
        {
            return Outcome::Conflict { current: Some(held.version) };
        }
        let body = match &document.action {
            Action::Index(body) => Some(body.clone()),
            Action::Delete => None,
        };
        let held = Held { version: document.version, body: body.clone() };
        index.documents.insert(document.id.clone(), held);
        let (index, id, version) = (document.index.clone(), document.id.clone(), document.version);
        self.accepted.push(Accepted { index, id, version, body });
        Outcome::Applied
    }

    fn prepare(&mut self, spec: &IndexSpec) -> Result<PreparedIndex, Error> {
        if let Some(index) = self.indices.get(&spec.index) {
            let same = index.spec.journal_id == spec.journal_id && index.spec.definition == spec.definition;
            return if same { Ok(index.prepared(false)) } else { Err(foreign(spec)) };
        }
        self.created += 1;
        let uuid = format!("memory-{}", self.created);
        let index = Index { spec: spec.clone(), uuid, epoch: Epoch(0), documents: BTreeMap::new() };
        let prepared = index.prepared(true);
        self.indices.insert(spec.index.clone(), index);
        Ok(prepared)
    }
}

impl Index {
    fn prepared(&self, created: bool) -> PreparedIndex {
        PreparedIndex { uuid: self.uuid.clone(), epoch: self.epoch, created, durable: true }
    }
}

fn foreign(spec: &IndexSpec) -> Error {
    Error::Refused {
        code: "index-foreign",
        operation: "prepare the index",
        reason: format!("index '{}' is not this daemon's", spec.index),
        hint: "Choose another index".to_owned(),
    }
}

fn gone(operation: &'static str, spec: &IndexSpec) -> Error {
    Error::Retry { operation, reason: format!("index '{}' is gone", spec.index) }
}

impl Sink for Memory {
    fn check<'a>(&'a self, indices: &'a [IndexSpec]) -> Answer<'a, Vec<Error>> {
        Box::pin(async move {
            let state = self.state();
            let other = |spec: &&IndexSpec| {
                state.indices.get(&spec.index).is_some_and(|index| index.spec.journal_id != spec.journal_id)
            };
            indices.iter().filter(other).map(foreign).collect()
        })
    }

    fn prepare<'a>(&'a self, spec: &'a IndexSpec) -> Answer<'a, Result<PreparedIndex, Error>> {
        Box::pin(async move { self.state().prepare(spec) })
    }

    fn claim<'a>(&'a self, spec: &'a IndexSpec, epoch: Epoch) -> Answer<'a, Result<(), Error>> {
        Box::pin(async move {
            let mut state = self.state();
            let index = state.indices.get_mut(&spec.index).ok_or_else(|| gone("claim the index", spec))?;
            if index.epoch > epoch {
                return Err(Error::Refused {
                    code: "sink-epoch",
                    operation: "claim the index",
                    reason: format!("epoch {} has claimed '{}'", index.epoch, spec.index),
                    hint: "Stop the other daemon".to_owned(),
                });
            }
            index.epoch = epoch;
            Ok(())
        })
    }

    fn look<'a>(&'a self, spec: &'a IndexSpec) -> Answer<'a, Result<Option<PreparedIndex>, Error>> {
        Box::pin(async move { Ok(self.state().indices.get(&spec.index).map(|index| index.prepared(false))) })
    }

    fn send<'a>(&'a self, documents: &'a [Document]) -> Answer<'a, Result<Vec<Outcome>, Error>> {
        Box::pin(async move {
            let answer = self.execute(documents);
            self.wait_for_release().await;
            answer
        })
    }

    fn refresh<'a>(&'a self, _spec: &'a IndexSpec) -> Answer<'a, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }

    fn publish<'a>(&'a self, spec: &'a IndexSpec) -> Answer<'a, Result<(), Error>> {
        Box::pin(async move {
            let mut state = self.state();
            if !state.indices.contains_key(&spec.index) {
                return Err(gone("lead the alias to the index", spec));
            }
            state.aliases.insert(spec.alias.clone(), spec.index.clone());
            Ok(())
        })
    }

    fn prune<'a>(&'a self, spec: &'a IndexSpec, keep: u16) -> Answer<'a, Result<Vec<String>, Error>> {
        Box::pin(async move {
            let mut state = self.state();
            let kept = spec.generation.0.saturating_sub(keep);
            let state = &mut *state;
            let old = |index: &Index| {
                index.spec.journal_id == spec.journal_id
                    && index.spec.projection == spec.projection
                    && index.spec.generation.0 < kept
            };
            let led_to = |name: &String| state.aliases.values().any(|target| target == name);
            let names = state.indices.iter().filter(|(name, index)| old(index) && !led_to(name));
            let names: Vec<String> = names.map(|(name, _)| name.clone()).collect();
            names.iter().for_each(|name| drop(state.indices.remove(name)));
            Ok(names)
        })
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
