//! What reaches apply beside the journal: documents that deliver has settled, and what operators ask of the
//! quarantine.

use super::work::Work;
use super::{Applier, Error, count_of};
use crate::model::{EntryNo, Generation, Key};
use crate::store::dirty::{self, Class, Mark};
use crate::store::engine::Engine;
use crate::store::meta::{self, Quarantined, Stage};

/// What deliver learnt about one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settle {
    pub generation: Generation,
    pub document: Key,
    /// The view that was delivered, or refused.
    pub view: EntryNo,
    /// In quarantine, and why; else it is in the sink.
    pub refused: Option<Quarantined>,
    /// Counts deliver's judgements within one process, from 1: apply says up to which one it has settled.
    pub batch: u64,
}

/// What is asked of apply beside the journal; the journal need not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// The alias leads to this generation now.
    Published(Generation),
    /// Forget these documents' quarantine; they stay undelivered until they change.
    DropQuarantined(Vec<(Generation, Key)>),
    /// Try these documents again.
    RetryQuarantined(Vec<(Generation, Key)>),
}

impl<E: Engine> Applier<E> {
    pub(super) fn settle(&mut self, work: &mut Work<'_, E>, settle: &Settle) -> Result<(), Error> {
        if !self.is_known(settle.generation) {
            return Ok(());
        }
        let count = count_of(&mut self.reached, settle.generation);
        dirty::settle(work.batch()?, settle.generation, &settle.document, settle.view, count)?;
        match &settle.refused {
            Some(refused) => {
                let earlier = meta::quarantined(work.batch()?, settle.generation, &settle.document)?;
                let attempts = earlier.as_ref().map_or(1, |earlier| earlier.attempts + 1);
                let refused = Quarantined { attempts, ..refused.clone() };
                meta::put_quarantined(work.batch()?, settle.generation, &settle.document, &refused)?;
                self.reached.quarantined += u64::from(earlier.is_none());
                count_of(&mut self.reached, settle.generation).quarantined += u64::from(earlier.is_none());
            }
            None if self.reached.quarantined > 0 => {
                let was = meta::remove_quarantined(work.batch()?, settle.generation, &settle.document)?;
                self.released(settle.generation, was);
            }
            None => {}
        }
        Ok(())
    }

    /// A document left the quarantine, if it was there.
    fn released(&mut self, generation: Generation, was: bool) {
        self.reached.quarantined = self.reached.quarantined.saturating_sub(u64::from(was));
        let count = count_of(&mut self.reached, generation);
        count.quarantined = count.quarantined.saturating_sub(u64::from(was));
    }

    pub(super) fn order(&mut self, work: &mut Work<'_, E>, order: &Order) -> Result<(), Error> {
        match order {
            Order::Published(generation) => {
                for state in &mut self.generations {
                    if state.generation == *generation {
                        state.published = true;
                        if state.stage == Stage::Building {
                            state.stage = Stage::Live;
                        }
                        meta::put_generation(work.batch()?, state)?;
                    }
                }
            }
            Order::DropQuarantined(documents) => {
                for (generation, document) in documents {
                    let was = meta::remove_quarantined(work.batch()?, *generation, document)?;
                    self.released(*generation, was);
                }
            }
            Order::RetryQuarantined(documents) => {
                for (generation, document) in documents {
                    if !self.is_known(*generation) {
                        continue;
                    }
                    let entry = self.reached.entry;
                    let mark = Mark { first: entry, last: entry, class: Class::Change };
                    let count = count_of(&mut self.reached, *generation);
                    dirty::mark(work.batch()?, *generation, document, mark, count)?;
                }
            }
        }
        Ok(())
    }
}
