//! What must hold at every moment: every accepted document is the oracle's at its version's commit, versions
//! grow, and what is said to be projected is in the sink.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use projectord::journal::entry::Record;
use projectord::model::{EntryNo, Epoch, Version};
use projectord::pipeline::Status;
use projectord::store::dirty;
use projectord::store::memory::State as Store;
use projectord::store::meta::{self, Stage};
use serde_json::Value;

use super::chronicle::Chronicle;
use super::cluster::Cluster;
use super::oracle::{self, Documents};
use super::postgres::Server;
use super::schema::Schema;
use super::shape::Shape;
use super::watch::Watch;

pub struct Truth {
    schema: Arc<Schema>,
    pub chronicle: Chronicle,
    /// The same, of daemons up to an epoch: a copy of their folder has gone ways of its own since.
    former: BTreeMap<Epoch, Chronicle>,
    /// What feeds an index: the shape, and the entry before which the index was not there.
    indices: BTreeMap<String, Fed>,
    documents: HashMap<(usize, i64), Rc<Documents>>,
    accepted: HashMap<(Arc<str>, String), Held>,
    /// The entry at which each document was accepted last, unless the journal has been set back since.
    newest: HashMap<(Arc<str>, String), EntryNo>,
    checked: usize,
    /// Promises older than this do not count: the sink lost what it had acknowledged.
    pub floor: EntryNo,
    /// The journal's last entries may have been lost by a bit that flipped.
    pub rotten: bool,
}

/// What the sink holds of a document.
#[derive(Clone, Copy)]
struct Held {
    version: Version,
    /// The state that it shows. An older copy of the data folder counts its entries anew; commits are counted once.
    number: i64,
}

struct Fed {
    shape: Rc<Shape>,
    uuid: String,
    since: EntryNo,
}

pub type Broken = String;

impl Truth {
    pub fn new(schema: Arc<Schema>) -> Truth {
        Truth {
            schema,
            chronicle: Chronicle::default(),
            former: BTreeMap::new(),
            indices: BTreeMap::new(),
            documents: HashMap::new(),
            accepted: HashMap::new(),
            newest: HashMap::new(),
            checked: 0,
            floor: EntryNo::ZERO,
            rotten: false,
        }
    }

    /// The journal is an older one: what came behind its end never was.
    pub fn restore(&mut self, chronicle: Chronicle) {
        self.chronicle = chronicle.restored_after(&self.chronicle);
        self.newest.clear();
        self.former.clear(); // epochs begin anew there, too
    }

    /// Entries that have become durable.
    pub fn read(&mut self, records: &[Record], server: &Server, watch: &Watch) {
        self.chronicle.read(records, server, watch);
    }

    /// What daemons up to this epoch have sent means the entries as they are now.
    pub fn divide(&mut self, epoch: Epoch) {
        self.former.insert(epoch, self.chronicle.clone());
    }

    fn number_of(&self, version: Version) -> i64 {
        let entry = version.entry();
        match self.former.range(version.epoch()..).next() {
            Some((_, chronicle)) => chronicle.number_at(entry),
            None => self.chronicle.number_at(entry),
        }
    }

    /// Notices indices that were made since the last look.
    pub fn meet(&mut self, cluster: &Cluster, shapes: &[Rc<Shape>], end: EntryNo) {
        for (name, index) in &cluster.indices {
            let known = self.indices.get(name);
            if known.is_some_and(|known| known.uuid == index.uuid) {
                continue;
            }
            let named = |shape: &&Rc<Shape>| shape.name == index.spec.projection;
            // An older copy of the data folder may give a name that is free again to another definition.
            let shape = shapes.iter().find(named).or(known.map(|known| &known.shape));
            let Some(shape) = shape.map(Rc::clone) else { continue }; // somebody else's
            // What another index of that name once held counts for nothing.
            self.accepted.retain(|(held, _), _| **held != **name);
            self.newest.retain(|(held, _), _| **held != **name);
            let fed = Fed { shape, uuid: index.uuid.clone(), since: end.next() };
            self.indices.insert(name.clone(), fed);
        }
    }

    fn documents_at(&mut self, shape: &Rc<Shape>, number: i64, server: &Server) -> Rc<Documents> {
        let key = (Rc::as_ptr(shape) as usize, number);
        if self.documents.len() > 64 {
            self.documents.clear();
        }
        let state = &server.archive[&number];
        let found = self
            .documents
            .entry(key)
            .or_insert_with(|| Rc::new(oracle::documents(&self.schema, shape, state)));
        Rc::clone(found)
    }

    /// I2, I3, I4: what was accepted since the last look.
    pub fn check_accepted(
        &mut self,
        cluster: &mut Cluster,
        server: &Server,
        watch: &Watch,
    ) -> Result<(), Broken> {
        if let Some(what) = cluster.contradicted.pop() {
            return Err(format!("one version with two bodies: {what} (I4)"));
        }
        for write in &cluster.accepted[self.checked..] {
            watch.trace(format_args!(
                "accepted: {} {} {} at {} {}",
                write.index,
                if write.body.is_some() { "puts" } else { "deletes" },
                write.id,
                write.version.epoch(),
                write.version.entry()
            ));
            let Some(fed) = self.indices.get(&*write.index) else {
                return Err(format!("a write to index {}, which nobody made", write.index));
            };
            let entry = write.version.entry();
            let number = self.number_of(write.version);
            let state = &server.archive[&number];
            let expected = oracle::document(&self.schema, &fed.shape, state, &write.id);
            let found = write.body.as_deref().map(parsed);
            if found != expected {
                return Err(format!(
                    "{} {} at entry {entry} (commit {number}): sent {found:?}, the rows say {expected:?} (I2, I3)",
                    write.index, write.id
                ));
            }
            let held = Held { version: write.version, number };
            let before = self.accepted.insert((Arc::clone(&write.index), write.id.clone()), held);
            let before = before.map(|before| before.version);
            // A delete that came again after the sink had forgotten it changes nothing.
            let again = write.body.is_none() && before == Some(write.version);
            if before >= Some(write.version) && !again {
                let (index, id) = (&write.index, &write.id);
                return Err(format!("{index} {id}: version {} after {before:?} (I4)", write.version));
            }
            let newest = self.newest.insert((Arc::clone(&write.index), write.id.clone()), entry);
            if newest > Some(entry) && !self.rotten {
                let (index, id) = (&write.index, &write.id);
                return Err(format!("{index} {id} goes back to entry {entry}, from {newest:?} (I4)"));
            }
        }
        self.checked = cluster.accepted.len();
        Ok(())
    }

    /// An index is gone or was set back: what was accepted does not count any more.
    pub fn forget(&mut self, index: &str) {
        self.accepted.retain(|(known, _), _| **known != *index);
        self.newest.retain(|(known, _), _| **known != *index);
    }

    /// I1, I10: what the store says is projected is in the sink.
    pub fn check_promises(
        &mut self,
        view: &Store,
        cluster: &Cluster,
        server: &Server,
    ) -> Result<bool, Broken> {
        let reached = meta::reached(view).map_err(|error| error.to_string())?;
        if reached.inside {
            return Ok(false);
        }
        let quarantined = meta::quarantine(view, 1_000).map_err(|error| error.to_string())?;
        let mut promised = false;
        for state in meta::generations(view).map_err(|error| error.to_string())? {
            let projected =
                dirty::projected(view, state.generation, reached.entry).map_err(|error| error.to_string())?;
            let built = state.built_from != EntryNo::ZERO && projected >= state.built_from;
            if self.chronicle.awaits_rebuild()
                || state.built_from < self.chronicle.rebuilt_at().max(self.floor)
            {
                continue;
            }
            if !built || state.stage == Stage::Dropped || projected < self.floor {
                continue;
            }
            let except: BTreeSet<&str> = quarantined
                .iter()
                .filter(|(generation, ..)| *generation == state.generation)
                .map(|(_, _, why)| why.id.as_str())
                .collect();
            promised |=
                self.check_index(&state.index, state.built_from, projected, &except, cluster, server)?;
        }
        Ok(promised)
    }

    fn check_index(
        &mut self,
        index: &str,
        built_from: EntryNo,
        projected: EntryNo,
        except: &BTreeSet<&str>,
        cluster: &Cluster,
        server: &Server,
    ) -> Result<bool, Broken> {
        let Some(fed) = self.indices.get(index) else { return Ok(false) };
        let there = cluster.indices.get(index).is_some_and(|found| found.uuid == fed.uuid);
        if !there || built_from < fed.since {
            return Ok(false);
        }
        let shape = Rc::clone(&fed.shape);
        let number = self.chronicle.number_at(projected);
        let expected = self.documents_at(&shape, number, server);
        let held = cluster.documents(index);
        let name: Arc<str> = index.into();
        for id in held.keys().chain(expected.keys()) {
            let last = self.accepted.get(&(Arc::clone(&name), id.clone()));
            // A newer one was compared with its own state when it was accepted; another daemon's is found out
            // by the next write, or at rest.
            let another = cluster.usurped.contains(&(Arc::clone(&name), id.clone()));
            if another || except.contains(id.as_str()) || last.is_some_and(|last| last.number > number) {
                continue;
            }
            let found = held.get(id).map(|(_, body)| parsed(body));
            if found.as_ref() != expected.get(id) {
                return Err(format!(
                    "{index} {id} is not what projected {projected} (commit {number}) says: {found:?}, not {:?} (I1, I10)",
                    expected.get(id)
                ));
            }
        }
        Ok(true)
    }

    /// I10: the position that the status calls projected is no more than the truth.
    pub fn check_status(
        &mut self,
        status: &Status,
        view: &Store,
        cluster: &Cluster,
        server: &Server,
    ) -> Result<(), Broken> {
        let position = status.watermarks.projected;
        let quarantined = meta::quarantine(view, 1_000).map_err(|error| error.to_string())?;
        let watermarks = &status.watermarks;
        if watermarks.projected > watermarks.server
            || watermarks.applied > watermarks.journaled
            || watermarks.journaled > watermarks.received
            || watermarks.received > watermarks.server
        {
            return Err(format!("watermarks out of order: {watermarks:?} (I10)"));
        }
        if self.chronicle.is_forked() || position.0 == 0 || watermarks.projected_entry < self.floor {
            return Ok(());
        }
        let number = server.moment_at(position).number;
        let generations = meta::generations(view).map_err(|error| error.to_string())?;
        for projection in &status.projections {
            // One that was in quarantine may have left it since.
            if projection.state != "live" || projection.quarantined > 0 {
                continue;
            }
            let Some(fed) = self.indices.get(&projection.index) else { continue };
            let there = cluster.indices.get(&projection.index).is_some_and(|found| found.uuid == fed.uuid);
            let since = fed.since.max(self.floor);
            // The status may be a little older than the store; and what was gone before the index was built
            // never was in it.
            let built = generations.iter().any(|state| {
                state.generation == projection.generation
                    && (since..=watermarks.applied_entry).contains(&state.built_from)
                    && self.chronicle.number_at(state.built_from) <= number
            });
            if !there || !built {
                continue;
            }
            let shape = Rc::clone(&fed.shape);
            let expected = self.documents_at(&shape, number, server);
            let held = cluster.documents(&projection.index);
            let name: Arc<str> = projection.index.as_str().into();
            for id in held.keys().chain(expected.keys()) {
                let last = self.accepted.get(&(Arc::clone(&name), id.clone()));
                let newer = last.is_some_and(|last| last.number >= number)
                    || cluster.usurped.contains(&(Arc::clone(&name), id.clone()));
                let refused = quarantined
                    .iter()
                    .any(|(generation, _, why)| *generation == projection.generation && why.id == *id);
                let found = held.get(id).map(|(_, body)| parsed(body));
                if !newer && !refused && found.as_ref() != expected.get(id) {
                    return Err(format!(
                        "the status says that {position} is projected; {} {id} is not (I10)",
                        projection.index
                    ));
                }
            }
        }
        Ok(())
    }

    /// Whether the aliases lead to just the documents of the last state; what differs.
    pub fn converged(
        &mut self,
        shapes: &[Rc<Shape>],
        cluster: &Cluster,
        server: &Server,
    ) -> Result<(), String> {
        let number = server.history.last().map_or(0, |moment| moment.number);
        for shape in shapes {
            let expected = self.documents_at(shape, number, server);
            let Some(index) = cluster.aliases.get(&shape.name) else {
                return Err(format!("alias {} leads nowhere", shape.name));
            };
            let held = cluster.documents(index);
            let held: Documents = held.into_iter().map(|(id, (_, body))| (id, parsed(&body))).collect();
            if held != *expected {
                let ids: BTreeSet<&String> = held.keys().chain(expected.keys()).collect();
                let odd: Vec<_> = ids.into_iter().filter(|id| held.get(*id) != expected.get(*id)).collect();
                return Err(format!("{index}: {odd:?} differ from commit {number}"));
            }
        }
        Ok(())
    }
}

fn parsed(body: &[u8]) -> Value {
    serde_json::from_slice(body).expect("JSON")
}
