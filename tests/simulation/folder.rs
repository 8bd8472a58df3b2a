//! A data folder's identity: its journal's id and the last epoch, which are on disk before anybody hears of
//! them.

use std::sync::{Arc, Mutex, PoisonError};

use projectord::journal::Error;
use projectord::journal::identity::{Identified, Indices};
use projectord::model::Epoch;

use super::points;

/// Clones are the same folder.
#[derive(Clone)]
pub struct Folder {
    id: String,
    epoch: Arc<Mutex<Epoch>>,
    indices: Arc<Mutex<Indices>>,
}

impl Folder {
    pub fn new(seed: u64) -> Folder {
        Folder {
            id: format!("{:032x}", u128::from(seed) << 32 | 0xfeed),
            epoch: Arc::default(),
            indices: Arc::default(),
        }
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// Another folder with the same in it.
    pub fn copy(&self) -> Folder {
        let epoch = *self.epoch.lock().unwrap_or_else(PoisonError::into_inner);
        let (epoch, indices) = (Arc::new(Mutex::new(epoch)), Arc::new(Mutex::new(self.indices())));
        Folder { id: self.id.clone(), epoch, indices }
    }
}

/// The dead write nothing.
fn alive() -> Result<(), Error> {
    if points::is_dead() {
        let source = std::io::Error::other("the process has died");
        return Err(Error::Failed { operation: "write", file: "identity.json".to_owned(), source });
    }
    Ok(())
}

impl Identified for Folder {
    fn journal_id(&self) -> &str {
        &self.id
    }

    fn take_epoch(&mut self, seen: Epoch) -> Result<Epoch, Error> {
        alive()?;
        let mut epoch = self.epoch.lock().unwrap_or_else(PoisonError::into_inner);
        *epoch = Epoch(epoch.0.max(seen.0) + 1);
        Ok(*epoch)
    }

    fn indices(&self) -> Indices {
        self.indices.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remember_indices(&mut self, indices: Indices) -> Result<(), Error> {
        alive()?;
        *self.indices.lock().unwrap_or_else(PoisonError::into_inner) = indices;
        Ok(())
    }
}
