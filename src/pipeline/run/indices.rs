//! Whether the indices are still ours: looked at now and then, and before anything is sent after a pause (rule 37).

use std::time::Duration;

use super::apply_loop::look;
use super::clock::within;
use super::{Error, Running};
use crate::sink::{self, IndexSpec};
use crate::store::engine::Engine;

/// A pause of the process longer than this makes it look whether the indices are still its own; deliver sends
/// nothing until then (rule 37).
pub const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How often the indices are looked at in any case (hazard 51).
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How soon again when the sink did not answer after a pause.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// How long one index may take: nobody else is answered meanwhile.
const LOOK_WAIT_MAX: Duration = Duration::from_secs(5);

/// Only that ends the daemon here: whatever else is refused, requests will say, too, and are tried again.
fn is_foreign(error: &sink::Error) -> bool {
    matches!(error, sink::Error::Refused { code: "alias-foreign", .. })
}

impl<E: Engine> Running<E> {
    /// Connected or not: what was marked before may be sent at any time.
    pub(super) async fn look_at_indices(&mut self) -> Result<(), Error> {
        let (now, boot) = (self.machine.clock.now(), self.machine.clock.boot_time());
        let since = now.saturating_sub(self.report.looked_tick);
        if since > PAUSE_MAX || boot.saturating_sub(self.report.boot) > since + PAUSE_MAX {
            self.report.all_ours = false;
        }
        self.report.boot = boot;
        self.report.looked_tick = now;
        let every = if self.report.all_ours { LOOK_EVERY } else { LOOK_AGAIN };
        if self.report.looked.is_some_and(|looked| now.saturating_sub(looked) < every) {
            return Ok(());
        }
        self.report.looked = Some(now);
        let mut all_ours = true;
        for spec in self.report.specs.clone() {
            all_ours &= self.is_ours(&spec).await?;
        }
        if all_ours {
            self.report.all_ours = true;
            self.looked.0.send_replace(boot);
        }
        Ok(())
    }

    /// False when the sink does not say. An index that is not ours is an error.
    async fn is_ours(&mut self, spec: &IndexSpec) -> Result<bool, Error> {
        let found = match within(&*self.machine.clock, LOOK_WAIT_MAX, self.sink.look(spec)).await {
            Some(Ok(found)) => found,
            Some(Err(error)) if is_foreign(&error) => return Err(error.into()),
            Some(Err(_)) | None => return Ok(false), // later
        };
        let refused = |code, reason: String, hint: String| Err(Error::Refused { code, reason, hint });
        match found {
            None => {
                return refused(
                    "sink-index-gone",
                    format!("index {} is gone", spec.index),
                    "Start again: it is made anew and filled from the local rows.".to_owned(),
                );
            }
            Some(index) if self.folder.indices().get(&spec.index) != Some(&index.uuid) => {
                return refused(
                    "sink-index-gone",
                    format!("index {} was replaced by another one", spec.index),
                    "Start again: the documents are built from the local rows, into a new index.".to_owned(),
                );
            }
            Some(index) if Some(index.epoch) != self.epoch => {
                return refused(
                    "sink-other-writer",
                    format!("index {} was claimed with epoch {} meanwhile", spec.index, index.epoch),
                    "Another daemon writes to it: stop one of them.".to_owned(),
                );
            }
            Some(_) => {}
        }
        // Somebody may have removed the readers' alias, or led it back to an older index: it is put right. One
        // that leads to theirs is not ours to move.
        let published = look(&self.board);
        let live = published.generations.iter().find(|state| state.generation == spec.generation);
        if live.is_some_and(|state| state.published) {
            match within(&*self.machine.clock, LOOK_WAIT_MAX, self.sink.publish(spec)).await {
                Some(Err(error)) if is_foreign(&error) => return Err(error.into()),
                Some(Ok(()) | Err(_)) | None => {} // later
            }
        }
        Ok(true)
    }
}
