//! Two daemons at once: the first is paused (a frozen machine), its folder is copied, and the second runs on the
//! copy. Then the first wakes. It must stop by itself, and whatever it sends until then must do no harm (rules 35 to
//! 37).
//!
//! Its conductor and its deliver go on; the other two loops do not, so that its journal and its store stay what the
//! copy began with: what it sends is judged by the second's journal. They are turned once it stops.

use std::sync::atomic::Ordering;
use std::time::Duration;

use fastrand::Rng;
use projectord::model::Epoch;
use projectord::pipeline::run::hosting::Turn;

use super::process::Process;
use super::world::{Broken, World};

/// Steps that the first one sleeps on.
const ASLEEP: std::ops::Range<u64> = 5..300;
/// Turns that it is awake before somebody ends it by hand: its conductor may wait for a loop that does not go on.
const AWAKE_MAX: u32 = 400;

/// The first of two daemons.
pub struct Twin {
    process: Process,
    wakes_at: u64,
    awake: u32,
}

impl World {
    /// The process is paused, and another one is to go on with a copy of its folder.
    pub fn split(&mut self, random: &mut Rng) {
        if self.twin.is_some() || self.stopping || self.failing || self.powerless || self.trouble.engine_fails
        {
            return;
        }
        // Before that a folder has no position, and its slot is anybody's orphan.
        if !self.server().slot.as_ref().is_some_and(|slot| slot.streamed) {
            return;
        }
        let Some(mut process) = self.process.take_if(|process| process.status().epoch > Epoch(0)) else {
            return;
        };
        self.truth.divide(process.status().epoch);
        self.watch.note("two daemons: the folder of a paused one is copied");
        process.spared = true;
        self.source.splits.fetch_add(1, Ordering::Relaxed);
        self.twin = Some(Twin { process, wakes_at: self.steps + random.u64(ASLEEP), awake: 0 });
        self.sink.cluster().usurp = false; // it would strike the one that is gone
        self.disk = self.disk.twin();
        self.folder = self.folder.copy();
        self.replaying = false;
        self.server().disconnect("planned: the other side is silent");
        self.clock.advance(Duration::from_secs(random.u64(31..90)));
    }

    /// The first one does something, once it is awake.
    pub fn turn_the_twin(&mut self) -> Result<(), Broken> {
        let Some(twin) = &mut self.twin else { return Ok(()) };
        // It would wait for the slot with a loop that does not go on, if it were the first to connect.
        let connected = self.process.as_ref().is_some_and(|process| process.status().source.connected);
        let asleep = twin.wakes_at > self.steps && !self.quiet;
        if twin.awake == 0 && (asleep || !connected) {
            return Ok(());
        }
        // Then its conductor waits for them to end.
        let all = twin.process.status().state == "stopping";
        let turned = twin.process.turn(&mut self.random, |name| name != "deliver" && !all);
        if matches!(turned, Some(("deliver", Turn::Again))) {
            self.watch.note("two daemons: the first one sends what it owed");
        }
        twin.process.drain(self.random.u32(1..4));
        twin.awake += 1;
        let Some(ended) = twin.process.ended() else {
            if twin.awake > AWAKE_MAX {
                self.watch.note("two daemons: the first one is ended by hand");
                self.twin = None;
            }
            return Ok(());
        };
        self.twin = None;
        match ended {
            Err(error) if error.is_refusal() => {
                let text = error.to_string();
                let code = text.split(':').next().unwrap_or_default();
                self.watch.note("two daemons: the first one stopped by itself");
                self.watch.count(format!("two daemons: the first one stopped: {code}"));
                Ok(())
            }
            ended => Err(format!("the first of two daemons ended so: {ended:?} (rule 37)")),
        }
    }
}
