//! What a data folder had done that was put aside for an older copy of itself: the copy cannot know of it.

use projectord::model::Lsn;

use super::world::World;

impl World {
    /// An older copy is about to come back.
    pub fn put_the_folder_aside(&mut self) {
        self.newer_end = self.newer_end.max(self.journal_end());
    }

    /// A failover has taken back what came after a position. Where a newer folder had delivered some of that and the
    /// copy has not come there, nobody can know which documents are of commits that are gone: the operator, who
    /// brought the copy back, has them built anew (docs/operations.md, "An older copy of the data folder").
    pub fn commits_are_gone(&mut self, since: Lsn) {
        if self.newer_end <= since {
            return;
        }
        self.newer_end = since;
        // What the journal itself has of them, the gate sees.
        if self.journal_end() <= since {
            self.watch.note("operator: backfill behind an older copy and a failover");
            self.lost_writes();
        }
    }

    fn journal_end(&self) -> Lsn {
        self.journal_as_it_stands().and_then(|recovered| recovered.end_lsn).unwrap_or(Lsn::ZERO)
    }
}
