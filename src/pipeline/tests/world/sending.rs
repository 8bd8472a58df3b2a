//! Deliver's turns: a request out of a view, and its answer, whenever it comes.

use std::sync::Arc;

use futures_util::FutureExt;

use super::World;
use crate::pipeline::deliver::{Frame, OpenGeneration};
use crate::sink::Sink as _;
use crate::sink::memory::Fault;
use crate::store::engine::Engine;
use crate::store::meta::{self, Stage};

impl World {
    pub(super) fn deliver(&mut self) {
        let view = self.store.view().unwrap();
        let reached = meta::reached(&view).unwrap();
        let compiled = Arc::clone(self.applier.compiled());
        if reached.inside
            || reached.facts != compiled.entry
            || reached.entry < self.found_end
            || !self.deliverer.has_room(self.now)
        {
            return;
        }
        let open: Vec<_> = meta::generations(&view)
            .unwrap()
            .iter()
            .filter(|state| matches!(state.stage, Stage::Building | Stage::Live))
            .map(|state| OpenGeneration { generation: state.generation, index: state.index.as_str().into() })
            .collect();
        if open.is_empty() {
            return;
        }
        let frame = Frame { read: &view, entry: reached.entry, compiled: &compiled, open: &open };
        let taken = self.deliverer.take(&frame, self.now, self.random.u64(..)).unwrap();
        self.settles.extend(taken.refused);
        let Some(request) = taken.request else { return };
        for settle in &self.settles {
            let id = (settle.generation, settle.document.clone());
            // What apply has not settled yet is sent again only for something newer.
            assert!(settle.view < request.view || !request.marks.contains(&id), "{id:?} is sent twice");
        }
        let request = self.deliverer.sent(request);
        let busy = self.random.u8(b'0'..=b'9');
        let fault = match self.random.u8(..10) {
            _ if self.quiet => Fault::None,
            0 => Fault::Unavailable,
            1 => Fault::AnswerLost,
            2 => Fault::AnswerLostAppliedLate,
            3 => Fault::Busy(Arc::new(move |document| document.id.as_bytes().last() == Some(&busy))),
            _ => Fault::None,
        };
        self.sink.plan([fault]);
        let answer = self.sink.send(&request.documents).now_or_never().unwrap();
        self.answers.push((request.number, answer));
    }

    pub(super) fn answer(&mut self) {
        if self.answers.is_empty() {
            return;
        }
        let (number, answer) = self.answers.swap_remove(self.random.usize(..self.answers.len()));
        let judged = self.deliverer.answered(number, answer, self.now, 0, self.random.u64(..)).unwrap();
        self.settles.extend(judged.settles);
    }
}
