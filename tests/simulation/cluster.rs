//! An Elasticsearch that is nastier than the real one: requests are carried out when the scheduler says so,
//! late, twice or never; answers are lost, cut short, or speak of some items only; versions of deletes are
//! forgotten; a node that restarts forgets what it had only acknowledged.

mod answer;
mod fault;
mod sink;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use projectord::model::{Action, Document, Epoch, Outcome, Version};
use projectord::sink::{Error, IndexSpec, PreparedIndex};
use tokio::sync::oneshot;

pub use self::fault::Fault;
use super::desk::Desk;
use super::watch::Watch;

/// `index.gc_deletes` of our indices, as the settings of the real sink have it at least (rule 37).
const GC_DELETES: Duration = Duration::from_secs(3_600);
/// The longest that a request may lie somewhere before it is carried out: less than that, which the daemon counts
/// on and cannot enforce (docs/operations.md).
const LATE_MAX: Duration = Duration::from_secs(3_300);
/// A request of a cluster that is very late is carried out between these ages.
const VERY_LATE: (Duration, Duration) = (Duration::from_secs(3_300), Duration::from_secs(3_540));

/// What comes later than deletes are remembered is counted in these.
const HOUR: Duration = Duration::from_secs(3_600);

/// One write that was accepted.
#[derive(Clone, Debug)]
pub struct Accepted {
    pub index: Arc<str>,
    pub id: String,
    pub version: Version,
    pub body: Option<Bytes>,
}

#[derive(Clone, Debug)]
struct Held {
    version: Version,
    /// Nothing for a tombstone.
    body: Option<Bytes>,
    at: Duration,
}

#[derive(Clone, Debug)]
pub struct Index {
    pub spec: IndexSpec,
    pub uuid: String,
    pub epoch: Epoch,
    documents: BTreeMap<String, Held>,
    /// Somebody has taken the alias away through which it is written.
    pub unwritable: bool,
    /// What a restart of the node leads back to, when acknowledged writes are not synced.
    synced: Option<BTreeMap<String, Held>>,
}

type Answered = Result<Vec<Outcome>, Error>;

struct Request {
    documents: Vec<Document>,
    answer: Option<oneshot::Sender<Answered>>,
    /// When it was sent, and when it is carried out that lies somewhere.
    sent: Duration,
    due: Duration,
}

#[derive(Default)]
pub struct Cluster {
    pub indices: BTreeMap<String, Index>,
    pub aliases: BTreeMap<String, String>,
    arrived: VecDeque<Request>,
    /// Answers on their way back.
    answers: Vec<(oneshot::Sender<Answered>, Answered)>,
    late: Vec<Request>,
    pub accepted: Vec<Accepted>,
    /// One version came with two bodies.
    pub contradicted: Vec<String>,
    pub now: Duration,
    pub asynchronous: bool,
    /// Late requests come nearly as late as deletes are remembered.
    pub very_late: bool,
    /// Another daemon writes what the next request wants to write, just before it.
    pub usurp: bool,
    /// Writes that came when the version of the delete before them was forgotten.
    forgotten: u64,
    /// Documents that are another daemon's, until ours are accepted again.
    pub usurped: BTreeSet<(Arc<str>, String)>,
    created: u64,
    snapshots: BTreeMap<String, Index>,
}

/// See the module. Clones are clients of one cluster.
#[derive(Clone)]
pub struct Elastic {
    pub cluster: Arc<Mutex<Cluster>>,
    pub desk: Desk,
    pub watch: Watch,
}

impl Elastic {
    pub fn new(desk: Desk, watch: Watch) -> Elastic {
        Elastic { cluster: Arc::default(), desk, watch }
    }

    pub fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries out one request that has arrived, whoever sent it, or gives one answer back.
    pub fn serve(&self, random: &mut Rng, fault: Fault) -> bool {
        let mut cluster = self.cluster();
        if !cluster.answers.is_empty() && (cluster.arrived.is_empty() || random.bool()) {
            let at = random.usize(..cluster.answers.len());
            let (to, answer) = cluster.answers.swap_remove(at);
            if to.send(answer).is_err() {
                self.watch.note("sink: an answer to a process that is gone");
            }
            return true;
        }
        if cluster.arrived.is_empty() {
            return false;
        }
        let at = random.usize(..cluster.arrived.len());
        let Some(request) = cluster.arrived.remove(at) else { return false };
        if request.answer.as_ref().is_none_or(oneshot::Sender::is_closed) {
            self.watch.note("sink: a request of a process that is gone was carried out");
        }
        self.watch.note(fault.name());
        cluster.carry_out(request, fault, random);
        if std::mem::take(&mut cluster.forgotten) > 0 {
            self.watch.note("sink: a write behind a delete whose version was forgotten");
        }
        true
    }

    /// Requests that lay somewhere are carried out when they are due.
    pub fn serve_late(&self, at_once: bool) {
        let mut cluster = self.cluster();
        let now = cluster.now;
        let mut late = std::mem::take(&mut cluster.late);
        late.sort_by_key(|request| request.due);
        for request in late {
            if at_once || request.due <= now {
                // Then, and not now, is when it was carried out.
                cluster.now = request.due.min(now);
                if request.due - request.sent >= VERY_LATE.0 && !at_once {
                    self.watch.note("sink: carried out when deletes are nearly forgotten");
                }
                self.watch.trace("a late request is carried out");
                for document in &request.documents {
                    // Nothing defends against a write behind a delete that is forgotten (rule 37): it does not happen.
                    if request.due - request.sent > GC_DELETES {
                        if !cluster.remembers(document) {
                            continue;
                        }
                        self.watch.note("sink: carried out hours late");
                    }
                    cluster.apply(document);
                }
            } else {
                cluster.late.push(request);
            }
        }
        cluster.now = now;
        if std::mem::take(&mut cluster.forgotten) > 0 {
            self.watch.note("sink: a late write behind a delete whose version was forgotten");
        }
    }

    pub fn is_idle(&self) -> bool {
        let cluster = self.cluster();
        cluster.arrived.is_empty() && cluster.answers.is_empty() && cluster.late.is_empty()
    }
}

impl Cluster {
    fn carry_out(&mut self, request: Request, fault: Fault, random: &mut Rng) {
        let documents = &request.documents;
        if std::mem::take(&mut self.usurp) {
            documents.iter().for_each(|document| self.write_as_another(document));
        }
        let unknown = |reason: &str| {
            Err(Error::Retry { operation: "send documents", reason: format!("planned: {reason}") })
        };
        let chosen: Vec<bool> = documents.iter().map(|_| random.bool()).collect();
        let one = random.usize(..documents.len().max(1));
        let answer = match fault {
            Fault::Unavailable => unknown("status 503"),
            Fault::Unauthorized => Err(Error::Refused {
                code: "sink-unauthorized",
                operation: "send documents",
                reason: "planned: 401".to_owned(),
                hint: "Look at the credentials".to_owned(),
            }),
            Fault::Late => {
                let (sent, mut due) =
                    (request.sent, self.now + LATE_MAX.mul_f64(random.f64() * random.f64()));
                if self.very_late && random.u8(..3) > 0 {
                    let within = VERY_LATE.1 - VERY_LATE.0;
                    due = self.now.max(sent + VERY_LATE.0 + within.mul_f64(random.f64()));
                } else if self.very_late {
                    due = self.now + HOUR * (2 + (sent.as_millis() % 5) as u32);
                }
                self.late.push(Request { documents: documents.clone(), answer: None, sent, due });
                unknown("no answer in time")
            }
            _ => {
                if fault == Fault::Twice {
                    let due = self.now + Duration::from_secs(random.u64(..90));
                    let (documents, sent) = (documents.clone(), request.sent);
                    self.late.push(Request { documents, answer: None, sent, due });
                }
                let mut outcomes = Vec::new();
                for (at, document) in documents.iter().enumerate() {
                    outcomes.push(match fault {
                        Fault::Busy if chosen[at] => Outcome::Retry { reason: "planned".to_owned() },
                        Fault::Rejected if chosen[at] => rejected("document_parsing_exception"),
                        Fault::TooLarge if at == one => rejected("too_large"),
                        _ => self.apply(document),
                    });
                }
                answer::come_back(documents, &outcomes, fault)
            }
        };
        if let Some(to) = request.answer {
            self.answers.push((to, answer));
        }
    }

    /// A write of a daemon that has claimed the index after us: with a higher version, and with what it likes.
    fn write_as_another(&mut self, document: &Document) {
        let Some(index) = self.indices.get_mut(&*document.index) else { return };
        // Far above what a process may have taken that has not claimed it yet.
        index.epoch = Epoch(index.epoch.max(document.version.epoch()).0 + 1_000);
        let version = Version::new(index.epoch, document.version.entry());
        let body = Some(Bytes::from_static(b"{\"another\":true}"));
        index.documents.insert(document.id.clone(), Held { version, body, at: self.now });
        self.usurped.insert((Arc::clone(&document.index), document.id.clone()));
    }

    /// Whether a version of this document is still known.
    fn remembers(&self, document: &Document) -> bool {
        let held = self.indices.get(&*document.index).and_then(|index| index.documents.get(&document.id));
        held.is_some_and(|held| held.body.is_some() || held.at + GC_DELETES >= self.now)
    }

    fn apply(&mut self, document: &Document) -> Outcome {
        let now = self.now;
        let Some(index) = self.indices.get_mut(&*document.index) else {
            return Outcome::IndexGone { reason: format!("no index '{}'", document.index) };
        };
        if index.unwritable {
            return Outcome::IndexGone { reason: "planned: the write alias leads nowhere".to_owned() };
        }
        let held = index.documents.get(&document.id);
        let forgotten = held.is_some_and(|held| held.body.is_none() && held.at + GC_DELETES < now);
        self.forgotten += u64::from(forgotten);
        if let Some(held) = held.filter(|_| !forgotten)
            && held.version >= document.version
        {
            let same = match &document.action {
                Action::Index(body) => held.body.as_ref() == Some(body),
                Action::Delete => held.body.is_none(),
            };
            if held.version == document.version && !same {
                self.contradicted.push(format!("{} {} at {}", document.index, document.id, held.version));
            }
            return Outcome::Conflict { current: Some(held.version) };
        }
        let body = match &document.action {
            Action::Index(body) => Some(body.clone()),
            Action::Delete => None,
        };
        let held = Held { version: document.version, body: body.clone(), at: now };
        index.documents.insert(document.id.clone(), held);
        let (index, id, version) = (document.index.clone(), document.id.clone(), document.version);
        self.usurped.remove(&(Arc::clone(&index), id.clone()));
        self.accepted.push(Accepted { index, id, version, body });
        Outcome::Applied
    }

    /// Whatever is on its way never arrives.
    pub fn forget_requests(&mut self) {
        self.arrived.clear();
        self.late.clear();
    }

    /// Keeps a copy of an index; false when there is one already.
    pub fn take_snapshot(&mut self, name: &str) -> bool {
        let Some(index) = self.indices.get(name).filter(|_| !self.snapshots.contains_key(name)) else {
            return false;
        };
        self.snapshots.insert(name.to_owned(), index.clone()).is_none()
    }

    /// The index as it was, under its name and alias, with a uuid of its own.
    pub fn restore_snapshot(&mut self, name: &str) -> bool {
        let Some(mut index) = self.snapshots.remove(name) else { return false };
        self.created += 1;
        index.uuid = format!("uuid-{}", self.created);
        self.indices.insert(name.to_owned(), index);
        true
    }

    /// Documents that exist in an index.
    pub fn documents(&self, index: &str) -> BTreeMap<String, (Version, Bytes)> {
        let documents = self.indices.get(index).map(|index| &index.documents);
        let alive = |(id, held): (&String, &Held)| Some((id.clone(), (held.version, held.body.clone()?)));
        documents.into_iter().flatten().filter_map(alive).collect()
    }

    fn prepare(&mut self, spec: &IndexSpec) -> Result<PreparedIndex, Error> {
        let durable = !self.asynchronous;
        if let Some(index) = self.indices.get_mut(&spec.index) {
            index.unwritable = false; // put back
            let same = index.spec.journal_id == spec.journal_id && index.spec.definition == spec.definition;
            return if same { Ok(index.prepared(false, durable)) } else { Err(foreign(spec)) };
        }
        self.created += 1;
        let synced = self.asynchronous.then(BTreeMap::new);
        let index = Index {
            spec: spec.clone(),
            uuid: format!("uuid-{}", self.created),
            epoch: Epoch(0),
            documents: BTreeMap::new(),
            unwritable: false,
            synced,
        };
        let prepared = index.prepared(true, durable);
        self.indices.insert(spec.index.clone(), index);
        Ok(prepared)
    }

    /// The asynchronous translog reaches the disk.
    pub fn sync(&mut self) {
        for index in self.indices.values_mut().filter(|index| index.synced.is_some()) {
            index.synced = Some(index.documents.clone());
        }
    }

    /// A node restarts: acknowledged and not synced is lost. Whether anything was.
    pub fn restart(&mut self) -> bool {
        let mut lost = false;
        for index in self.indices.values_mut() {
            if let Some(synced) = &index.synced {
                lost |= index.documents.len() != synced.len()
                    || index
                        .documents
                        .iter()
                        .any(|(id, held)| synced.get(id).is_none_or(|known| known.version != held.version));
                index.documents.clone_from(synced);
            }
        }
        lost
    }
}

impl Index {
    fn prepared(&self, created: bool, durable: bool) -> PreparedIndex {
        PreparedIndex { uuid: self.uuid.clone(), epoch: self.epoch, created, durable }
    }
}

fn rejected(code: &str) -> Outcome {
    Outcome::Rejected { code: code.to_owned(), reason: "planned".to_owned() }
}

fn foreign(spec: &IndexSpec) -> Error {
    Error::Refused {
        code: "index-foreign",
        operation: "prepare the index",
        reason: format!("index '{}' is not this daemon's", spec.index),
        hint: "Choose another index".to_owned(),
    }
}
