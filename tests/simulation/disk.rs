//! What outlives a process: the journal's folder, the store and its checkpoints, and what a start may believe
//! of them (rules 31, 32).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fastrand::Rng;
use projectord::journal::files::Files as _;
use projectord::journal::memory::MemoryFiles;
use projectord::model::EntryNo;
use projectord::pipeline::run::Checkpoint;
use projectord::store::engine::{Engine, Error};
use projectord::store::memory::{Memory, State};

use super::points;
use super::watch::Watch;

#[derive(Default)]
struct Kept {
    /// The newest two, oldest first: the entry that each has surely reached.
    checkpoints: Vec<(EntryNo, State)>,
    closed: bool,
    distrusted: bool,
    fail_next: bool,
}

pub struct Disk {
    pub files: MemoryFiles,
    pub store: Arc<Memory>,
    kept: Arc<Mutex<Kept>>,
    watch: Watch,
}

/// What a process does with its store's copies.
struct Keeper {
    store: Arc<Memory>,
    kept: Arc<Mutex<Kept>>,
    watch: Watch,
}

fn locked(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Disk {
    pub fn new(watch: Watch) -> Disk {
        Disk { files: MemoryFiles::new(), store: Arc::new(Memory::new()), kept: Arc::default(), watch }
    }

    /// For a process that begins now: the store, and who keeps it.
    pub fn open(&self) -> (Arc<Memory>, Arc<dyn Checkpoint>) {
        locked(&self.kept).closed = false;
        let (store, kept) = (Arc::clone(&self.store), Arc::clone(&self.kept));
        let keeper = Keeper { store: Arc::clone(&store), kept, watch: self.watch.clone() };
        (store, Arc::new(keeper))
    }

    /// kill -9: the page cache stays.
    pub fn killed(&mut self) {
        let distrusted = std::mem::take(&mut locked(&self.kept).distrusted);
        if distrusted {
            self.watch.note("start: the store was distrusted after an error");
            return self.take_checkpoint();
        }
        self.store = Arc::new(self.store.restarted());
    }

    /// The machine's power goes: what was not synced is lost, in part.
    pub fn power_cut(&mut self, random: &mut Rng) {
        self.files.crash(random.u64(..));
        if locked(&self.kept).closed {
            // Synced and recorded as closed: it is believed.
            self.watch.note("start: a store that was closed cleanly survives a power cut");
            self.store = Arc::new(Memory::from_state(self.store.state()));
            return;
        }
        self.take_checkpoint();
    }

    /// The store is not to be believed: its newest copy, or nothing.
    pub fn take_checkpoint(&mut self) {
        let newest = locked(&self.kept).checkpoints.last().map(|(_, state)| state.clone());
        self.watch.note(match newest {
            Some(_) => "start: from a checkpoint",
            None => "start: from an empty store",
        });
        self.store = Arc::new(newest.map_or_else(Memory::new, Memory::from_state));
    }

    /// The newest copy turns out to be rotten: the one before it, or nothing.
    pub fn rot_checkpoint(&mut self) {
        if locked(&self.kept).checkpoints.len() == 2 {
            self.watch.note("start: the newest checkpoint is rotten");
            locked(&self.kept).checkpoints.pop();
        }
    }

    /// The next copy does not fit.
    pub fn fail_next_copy(&self) {
        locked(&self.kept).fail_next = true;
    }

    /// Bytes of all files.
    pub fn used(&self) -> u64 {
        let names = self.files.list().unwrap_or_default();
        names.iter().filter_map(|name| self.files.content(name)).map(|content| content.len() as u64).sum()
    }

    /// A bit of some file flips.
    pub fn flip(&self, random: &mut Rng) {
        let names = self.files.list().unwrap_or_default();
        if names.is_empty() {
            return;
        }
        let name = &names[random.usize(..names.len())];
        let length = self.files.content(name).map_or(0, |content| content.len() as u64);
        self.files.flip(name, random.u64(..length.max(1)), random.u8(..8));
    }

    /// An older copy of the whole data folder; to be restored later.
    pub fn back_up(&self) -> Backup {
        let checkpoints = locked(&self.kept).checkpoints.clone();
        Backup { files: self.files.copy(), store: self.store.state(), checkpoints }
    }

    /// A copy of it all, which from now on goes ways of its own.
    pub fn twin(&self) -> Disk {
        let backup = self.back_up();
        let mut twin = Disk::new(self.watch.clone());
        twin.restore(&backup);
        twin
    }

    pub fn restore(&mut self, backup: &Backup) {
        self.files = backup.files.copy();
        self.store = Arc::new(Memory::from_state(backup.store.clone()));
        *locked(&self.kept) = Kept { checkpoints: backup.checkpoints.clone(), ..Kept::default() };
    }
}

/// See [`Disk::back_up`].
pub struct Backup {
    files: MemoryFiles,
    store: State,
    checkpoints: Vec<(EntryNo, State)>,
}

impl Checkpoint for Keeper {
    fn make(&self, reached: EntryNo) -> Result<EntryNo, Error> {
        let mut kept = locked(&self.kept);
        if std::mem::take(&mut kept.fail_next) {
            self.watch.note("store: a copy did not fit");
            let (operation, reason) = ("copy the store", "planned: no space left".to_owned());
            return Err(Error::Full { operation, reason });
        }
        self.watch.note("store: a checkpoint was made");
        kept.checkpoints.push((reached, self.store.state()));
        if kept.checkpoints.len() > 2 {
            kept.checkpoints.remove(0);
        }
        // Only by reading a copy back can one know that it is good: the older one counts.
        let older = if kept.checkpoints.len() == 2 { kept.checkpoints[0].0 } else { EntryNo::ZERO };
        Ok(older)
    }

    fn closed_cleanly(&self) -> Result<(), Error> {
        if points::is_dead() {
            return Ok(());
        }
        self.store.sync()?;
        locked(&self.kept).closed = true;
        Ok(())
    }

    fn distrust(&self, reason: &str) {
        self.watch.trace(format_args!("the store is distrusted: {reason}"));
        locked(&self.kept).distrusted |= !points::is_dead();
    }
}
