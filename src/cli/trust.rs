//! The store of a data folder, opened only as far as it may be believed; its checkpoints, and its clean end.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::Config;
use crate::config::store::Durability as Wanted;
use crate::error::{Exit, Failure};
use crate::model::EntryNo;
use crate::pipeline::run::Checkpoint;
use crate::store::checkpoint::Checkpoints;
use crate::store::engine::Error;
use crate::store::folder::Folder;
use crate::store::guard::{self, Facts, Guard};
use crate::store::host::ThisHost;
use crate::store::lmdb::{Durability, Lmdb, Options};
use crate::store::trust::{self, Question, Verdict};

/// Opens the store of this journal: as it lies there, from a checkpoint, or empty.
pub fn open(
    config: &Config,
    journal_id: &str,
    distrust: bool,
) -> Result<(Arc<Lmdb>, Arc<dyn Checkpoint>), Failure> {
    let failed = |error: Error| Failure::new(Exit::Failed, error.to_string());
    let path = config.data.join("store");
    let folder = Folder::lock(&path).map_err(failed)?;
    let verdict = trust::judge(&folder, &ThisHost, Question { journal_id, distrust }).map_err(refused)?;
    match &verdict {
        Verdict::Trusted => {}
        Verdict::Checkpoint { checkpoint, reason } => {
            tracing::warn!(
                reason,
                entry = checkpoint.seal.entry.0,
                "the store is not to be believed; its last checkpoint is"
            );
        }
        Verdict::Nothing { reason } => tracing::info!(reason, "the store begins empty"),
    }
    trust::settle(&folder, &verdict).map_err(failed)?;
    let durability = match config.store.durability {
        Wanted::Journal => Durability::Journal,
        Wanted::Commit => Durability::Commit,
    };
    let options = Options {
        map_size_bytes: usize::try_from(config.store.map_bytes).unwrap_or(usize::MAX),
        durability,
        ..Options::default()
    };
    let engine = Lmdb::open(folder, &options).inspect_err(|error| damaged(&path, error)).map_err(failed)?;
    let engine = Arc::new(engine);
    let guard = Guard::begin(&path, &ThisHost, journal_id, durability).map_err(failed)?;
    let checkpoints = Checkpoints::open(&path, journal_id).map_err(failed)?;
    let keeper = Keeper {
        engine: Arc::clone(&engine),
        guard: Mutex::new(Some(guard)),
        checkpoints: Mutex::new(checkpoints),
    };
    Ok((engine, Arc::new(keeper)))
}

/// What the engine itself calls damage is not believed at the next start; an error of the file system proves
/// nothing about the file.
fn damaged(store: &Path, error: &Error) {
    let Error::Broken { reason, .. } = error else { return };
    if !reason.starts_with("MDB_") {
        return;
    }
    if let Ok(Some(facts)) = guard::read(store)
        && let Err(error) = guard::write(store, &Facts { distrusted: Some(reason.clone()), ..facts })
    {
        tracing::error!(%error, "the store's guard could not be written");
    }
}

fn refused(error: trust::Error) -> Failure {
    let exit = match &error {
        trust::Error::Refused { .. } => Exit::Refused,
        trust::Error::Store(_) => Exit::Failed,
    };
    Failure::new(exit, error.to_string())
}

struct Keeper {
    engine: Arc<Lmdb>,
    /// Taken when the store is closed.
    guard: Mutex<Option<Guard>>,
    checkpoints: Mutex<Checkpoints>,
}

impl Drop for Keeper {
    /// An end by an error of ours is not one that the store's file brought about: it takes no part in the count.
    fn drop(&mut self) {
        self.lived();
    }
}

impl Checkpoint for Keeper {
    fn make(&self, reached: EntryNo) -> Result<EntryNo, Error> {
        // Both are written to only by calls that end in a consistent state or in the end of the process.
        let mut checkpoints = self.checkpoints.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = checkpoints.make(&self.engine, reached, &ThisHost)?.seal.entry;
        if let Some(guard) = &mut *self.guard.lock().unwrap_or_else(PoisonError::into_inner) {
            guard.checkpointed(entry, &ThisHost)?;
        }
        Ok(checkpoints.forget_up_to().unwrap_or_default())
    }

    fn lived(&self) {
        if let Some(guard) = &mut *self.guard.lock().unwrap_or_else(PoisonError::into_inner)
            && let Err(error) = guard.lived(&ThisHost)
        {
            tracing::warn!(%error, "the store's guard could not be written");
        }
    }

    fn distrust(&self, reason: &str) {
        if let Some(guard) = &mut *self.guard.lock().unwrap_or_else(PoisonError::into_inner)
            && let Err(error) = guard.distrust(reason)
        {
            tracing::error!(%error, "the store's guard could not be written");
        }
    }

    fn closed_cleanly(&self) -> Result<(), Error> {
        let guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner).take();
        match guard {
            Some(guard) => guard.close(Arc::clone(&self.engine), &ThisHost),
            None => Ok(()),
        }
    }
}
