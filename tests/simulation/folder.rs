//! A data folder's identity: its journal's id and the last epoch, which are on disk before anybody hears of
//! them.

use std::sync::{Arc, Mutex, PoisonError};

use projectord::journal::Error;
use projectord::journal::identity::Identified;
use projectord::model::Epoch;

/// Clones are the same folder.
#[derive(Clone)]
pub struct Folder {
    id: String,
    epoch: Arc<Mutex<Epoch>>,
}

impl Folder {
    pub fn new(seed: u64) -> Folder {
        Folder { id: format!("{:032x}", u128::from(seed) << 32 | 0xfeed), epoch: Arc::default() }
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn epoch(&self) -> Epoch {
        *self.epoch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An older copy is restored.
    pub fn set_epoch(&self, epoch: Epoch) {
        *self.epoch.lock().unwrap_or_else(PoisonError::into_inner) = epoch;
    }
}

impl Identified for Folder {
    fn journal_id(&self) -> &str {
        &self.id
    }

    fn take_epoch(&mut self, seen: Epoch) -> Result<Epoch, Error> {
        let mut epoch = self.epoch.lock().unwrap_or_else(PoisonError::into_inner);
        *epoch = Epoch(epoch.0.max(seen.0) + 1);
        Ok(*epoch)
    }
}
