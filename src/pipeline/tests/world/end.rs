//! How a process ends and another goes on, and how everything comes to rest.

use std::sync::Arc;
use std::time::Duration;

use super::{JOURNAL_ID, REST_MAX, World, deliverer, journal};
use crate::journal::Reader;
use crate::journal::entry::{Facts, Position};
use crate::model::Lsn;
use crate::pipeline::apply::{self, Applier};
use crate::pipeline::ingest::{self, Ingest, Order};
use crate::pipeline::tests::reading::Reading;
use crate::store::dirty;
use crate::store::engine::Engine;
use crate::store::memory::Memory as Store;
use crate::store::meta::{self, Stage};

impl World {
    pub(super) fn publish(&mut self) {
        let view = self.store.view().unwrap();
        let reached = meta::reached(&view).unwrap();
        for state in self.applier.generations() {
            let projected = dirty::projected(&view, state.generation, reached.entry).unwrap();
            if state.stage == Stage::Building && projected >= state.built_from {
                self.orders.push(apply::Order::Published(state.generation));
            }
        }
    }

    /// The process ends, or the power; a new process goes on with what there is.
    pub(super) fn crash(&mut self) {
        self.epoch += 1;
        self.connection = None;
        self.store = Arc::new(match self.random.u8(..3) {
            0 => self.store.restarted(),
            1 => {
                self.files.crash(self.random.u64(..));
                self.store.after_power_cut(self.random.u64(..))
            }
            _ => Store::from_state(self.checkpoint.clone()),
        });
        let (journal, recovered) = journal(&self.files);
        self.found_end = journal.end();
        self.states.split_off(&self.found_end.next().0);
        let options = ingest::Options { part_bytes: 300 };
        let end = recovered.end_lsn.unwrap_or(Lsn::ZERO);
        self.ingest = Ingest::new(journal, options, end, recovered.facts.clone());
        self.applier = Applier::load(Arc::clone(&self.store), JOURNAL_ID).unwrap();
        self.reader = Reader::open(Arc::new(self.files.clone()), self.applier.reached().entry.next());
        self.deliverer = deliverer(self.epoch);
        self.answers.clear();
        self.settles.clear();
        self.orders.clear();
        self.reading = Reading::default();
        // What was not synced is ordered again, as a start does.
        if end == Lsn::ZERO {
            self.order(Order::Position(Position { lsn: self.database.history[0].0 }));
        }
        let known = recovered.facts.map(|facts| serde_json::from_slice::<Facts>(&facts).unwrap());
        if known.as_ref() != Some(&self.facts) {
            self.order(Order::Facts(Box::new(self.facts.clone())));
        }
    }

    /// Nothing new happens and nothing fails: everything has to come to rest.
    pub(super) fn rest(&mut self) {
        self.quiet = true;
        self.sink.reject(None);
        for turn in 0..REST_MAX {
            self.now += Duration::from_secs(1);
            match turn % 10 {
                0 | 1 => self.stream(),
                2 => self.ingest.sync(self.now).unwrap(),
                3 | 4 => self.apply(),
                5 => self.deliver(),
                6 => self.answer(),
                7 => self.read(),
                8 => self.publish(),
                _ => {
                    if turn % 100 == 99 {
                        self.retry_quarantined();
                    }
                    self.check();
                    if self.is_at_rest() {
                        self.quiet = false;
                        return self.check_rest();
                    }
                }
            }
        }
        panic!("no rest: {}", self.describe());
    }

    pub(super) fn is_at_rest(&self) -> bool {
        let reached = self.applier.reached();
        let streamed = self
            .connection
            .as_ref()
            .is_some_and(|c| c.next == self.database.log.len() && c.sending.is_empty());
        streamed
            && reached.entry == self.ingest.journal().end()
            && self.answers.is_empty()
            && self.settles.is_empty()
            && self.orders.is_empty()
            && !self.applier.has_scans()
            && self.applier.units().iter().all(|unit| unit.complete)
            && reached
                .dirty
                .iter()
                .all(|(_, count)| count.changes + count.scanned + count.scans + count.quarantined == 0)
    }

    pub fn describe(&self) -> String {
        format!(
            "reached {:?}\nunits {:#?}\ngenerations {:#?}\njournal {} durable {}\nanswers {} settles {}\nreading {:?}",
            self.applier.reached(),
            self.applier.units(),
            self.applier.generations(),
            self.ingest.journal().end(),
            self.ingest.durable_complete(),
            self.answers.len(),
            self.settles.len(),
            self.reading,
        )
    }
}
