//! Which documents are next, and what they look like.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Deliverer, Error, Request, VIEW_DOCUMENTS_MAX};
use crate::model::{Action, Document, EntryNo, Generation, Key, Version};
use crate::pipeline::apply::{Compiled, Settle};
use crate::planted::{self, Bug};
use crate::projection::assemble::{AssembleError, Assembled, assemble};
use crate::store::dirty::{self, Class};
use crate::store::engine::Read;
use crate::store::meta::Quarantined;
use crate::store::rows::RowReader;

/// Queue entries looked at for one request before giving up on finding more that are free: what rests and
/// what is in flight is passed over.
const QUEUE_LOOK_MAX: usize = 20_000;
/// Of so many requests one serves scans first (rule 28: scans keep at least a fifth).
const SCAN_TURN: u64 = 5;

/// A generation that may be delivered now.
#[derive(Clone, Debug)]
pub struct OpenGeneration {
    pub generation: Generation,
    pub index: Arc<str>,
}

/// One consistent state to deliver from.
pub struct Frame<'a, R> {
    pub read: &'a R,
    pub entry: EntryNo,
    pub compiled: &'a Compiled,
    pub open: &'a [OpenGeneration],
}

/// A request, and documents that cannot be assembled because a value is not known yet (rule 16): held.
#[derive(Debug, Default)]
pub struct Taken {
    pub request: Option<Request>,
    pub held: u64,
    /// Documents that cannot be sent at all; to be settled.
    pub refused: Vec<Settle>,
    pub bytes: u64,
}

impl Deliverer {
    /// The next request out of this view; nothing when all that is dirty is on its way or rests.
    pub fn take<R: Read>(
        &mut self,
        frame: &Frame<'_, R>,
        now: Duration,
        random: u64,
    ) -> Result<Taken, Error> {
        self.resting_over(now);
        self.served += 1;
        let scans_first = self.served.is_multiple_of(SCAN_TURN);
        let classes = if scans_first { [Class::Scan, Class::Change] } else { Class::ALL };
        let limit = self.options.bulk_documents.min(VIEW_DOCUMENTS_MAX);
        let mut chosen: Vec<(usize, Key)> = Vec::new();
        // Another generation begins each time, so that none waits behind a busy one.
        self.turn = self.turn.wrapping_add(1);
        for class in classes {
            for step in 0..frame.open.len() {
                let position = (self.turn + step) % frame.open.len();
                self.choose(frame, position, class, limit, now, &mut chosen)?;
            }
        }
        self.assemble(frame, chosen, now, random)
    }

    fn choose<R: Read>(
        &self,
        frame: &Frame<'_, R>,
        position: usize,
        class: Class,
        limit: usize,
        now: Duration,
        chosen: &mut Vec<(usize, Key)>,
    ) -> Result<(), Error> {
        if chosen.len() >= limit {
            return Ok(());
        }
        let generation = frame.open[position].generation;
        let mut looked = 0;
        let mut failed = None;
        dirty::walk_queue(frame.read, generation, class, None, &mut |_, key| {
            looked += 1;
            let id = (generation, key);
            let rests = self.resting.get(&id).is_some_and(|rest| rest.until > now);
            let free = !rests && !self.in_flight.contains(&id);
            match if free { self.owes(frame, &id) } else { Ok(false) } {
                Ok(true) => chosen.push((position, id.1)),
                Ok(false) => {}
                Err(error) => {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
            }
            if chosen.len() < limit && looked < QUEUE_LOOK_MAX {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Whether a mark in the queue owes anything: one that apply is about to settle owes only what came after
    /// the view that was judged.
    fn owes<R: Read>(
        &self,
        frame: &Frame<'_, R>,
        id: &(Generation, Key),
    ) -> Result<bool, crate::store::engine::Error> {
        let Some(view) = self.settling.view_of(id) else { return Ok(true) };
        let mark = dirty::mark_of(frame.read, id.0, &id.1)?;
        Ok(mark.is_some_and(|mark| mark.last > view))
    }

    fn assemble<R: Read>(
        &mut self,
        frame: &Frame<'_, R>,
        chosen: Vec<(usize, Key)>,
        now: Duration,
        random: u64,
    ) -> Result<Taken, Error> {
        let mut taken = Taken::default();
        let mut documents = Vec::with_capacity(chosen.len());
        let mut marks = Vec::with_capacity(chosen.len());
        let set = &frame.compiled.schema.plans;
        let rows = RowReader { read: frame.read, schema: &frame.compiled.schema };
        let epoch = if planted::is(Bug::VersionWithoutEpoch) { crate::model::Epoch(1) } else { self.epoch };
        let version = Version::new(epoch, frame.entry);
        let mut body = Vec::with_capacity(2_048);
        let mut bytes = 0;
        for (position, key) in chosen {
            let open = &frame.open[position];
            let Some(plan) = frame.compiled.generations.iter().position(|known| *known == open.generation)
            else {
                continue;
            };
            let plan = &set.plans[plan];
            body.clear();
            let action = match assemble(plan, set, &rows, &key, &mut body) {
                Ok(Assembled::Document) => Action::Index(Bytes::copy_from_slice(&body)),
                Ok(Assembled::Absent) => Action::Delete,
                Err(AssembleError::Incomplete { .. }) => {
                    taken.held += 1;
                    self.rest((open.generation, key), now, random);
                    continue;
                }
                Err(error @ AssembleError::TooLarge { .. }) => {
                    taken.refused.push(Settle {
                        generation: open.generation,
                        view: frame.entry,
                        refused: Some(Quarantined {
                            id: plan.document_id(&key),
                            code: "document-too-large".to_owned(),
                            reason: error.to_string(),
                            entry: frame.entry,
                            since_unix_s: 0,
                            attempts: 0,
                        }),
                        document: key,
                        batch: self.settling.next(),
                    });
                    continue;
                }
                Err(error) => return Err(Error::Assemble(error.to_string())),
            };
            let document =
                Document { index: Arc::clone(&open.index), id: plan.document_id(&key), version, action };
            bytes += document.size_bytes();
            documents.push(document);
            marks.push((open.generation, key));
            if bytes >= self.options.bulk_bytes {
                break;
            }
        }
        if !taken.refused.is_empty() {
            let refused = taken.refused.iter().map(|settle| (settle.generation, settle.document.clone()));
            self.settling.give(frame.entry, refused.collect());
        }
        taken.bytes = bytes as u64;
        if !documents.is_empty() {
            let number = self.next_request;
            self.next_request += 1;
            let request = Request { number, documents, marks, view: frame.entry };
            self.in_flight.extend(request.marks.iter().cloned());
            taken.request = Some(request);
        }
        Ok(taken)
    }

    /// Forgets how often a document was tried, once it has been left alone for long.
    fn resting_over(&mut self, now: Duration) {
        let forget = self.options.retry.max;
        self.resting.retain(|_, rest| rest.until + forget > now);
    }
}
