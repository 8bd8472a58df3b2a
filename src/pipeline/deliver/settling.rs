//! Documents that were judged and whose marks apply has not settled yet.
//!
//! Between the sink's answer and apply's next commit a mark still stands in the queue although nothing is owed:
//! without this memory the document would be assembled and sent once more, only to be told that it is there.

use std::collections::VecDeque;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::model::{EntryNo, Generation, Key};

type Id = (Generation, Key);

/// As large as what deliver has judged and apply not settled: at most the queue of one view.
#[derive(Debug, Default)]
pub(super) struct Settling {
    /// By document: the batch of settles that it is in, and the view that was judged.
    judged: HashMap<Id, (u64, EntryNo), FixedState>,
    batches: VecDeque<(u64, Vec<Id>)>,
    given: u64,
}

impl Settling {
    /// The number of the batch that is made next.
    pub fn next(&self) -> u64 {
        self.given + 1
    }

    /// These documents are settled by the next batch.
    pub fn give(&mut self, view: EntryNo, documents: Vec<Id>) {
        self.given += 1;
        for id in &documents {
            self.judged.insert(id.clone(), (self.given, view));
        }
        self.batches.push_back((self.given, documents));
    }

    /// The store holds all settles up to this batch.
    pub fn held(&mut self, batch: u64) {
        while self.batches.front().is_some_and(|(number, _)| *number <= batch) {
            let Some((number, documents)) = self.batches.pop_front() else { return };
            for id in documents {
                // A later batch may have judged it again.
                if self.judged.get(&id).is_some_and(|(known, _)| *known == number) {
                    self.judged.remove(&id);
                }
            }
        }
    }

    /// The view whose judgement of this document apply has not seen yet.
    pub fn view_of(&self, id: &Id) -> Option<EntryNo> {
        self.judged.get(id).map(|(_, view)| *view)
    }
}
