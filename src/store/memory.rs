//! The engine in memory, for tests and the simulation: ordered maps, copied whole for a view.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::engine::{Batch, Engine, Error, KEY_BYTES_MAX, Read, Space};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;
type Spaces = [Arc<Map>; Space::ALL.len()];

/// See the module. Correct rather than quick: a batch copies the spaces that it writes to.
#[derive(Default)]
pub struct Memory {
    committed: Mutex<Spaces>,
    writing: Mutex<()>,
}

/// A consistent state.
pub struct View {
    spaces: Spaces,
}

/// An open batch.
pub struct Changes<'e> {
    engine: &'e Memory,
    view: View,
    _writing: MutexGuard<'e, ()>,
}

impl Memory {
    fn committed(&self) -> MutexGuard<'_, Spaces> {
        // A panic elsewhere leaves the maps whole: they are replaced at once, never half.
        self.committed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state as it is now; with [`Memory::restore`] a test goes back to it, as a crash does.
    pub fn snapshot(&self) -> View {
        View { spaces: self.committed().clone() }
    }

    /// Goes back to an earlier state.
    pub fn restore(&self, view: &View) {
        *self.committed() = view.spaces.clone();
    }
}

impl Read for View {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<&[u8]>, Error> {
        Ok(self.spaces[space as usize].get(key).map(Vec::as_slice))
    }

    fn scan<'a>(
        &'a self,
        space: Space,
        prefix: &[u8],
        after: Option<&[u8]>,
        visit: &mut dyn FnMut(&'a [u8], &'a [u8]) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after.to_vec()),
            _ => Bound::Included(prefix.to_vec()),
        };
        for (key, value) in self.spaces[space as usize].range((start, Bound::Unbounded)) {
            if !key.starts_with(prefix) || visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl Read for Changes<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<&[u8]>, Error> {
        self.view.get(space, key)
    }

    fn scan<'a>(
        &'a self,
        space: Space,
        prefix: &[u8],
        after: Option<&[u8]>,
        visit: &mut dyn FnMut(&'a [u8], &'a [u8]) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        self.view.scan(space, prefix, after, visit)
    }
}

impl Batch for Changes<'_> {
    fn put(&mut self, space: Space, key: &[u8], value: &[u8]) -> Result<(), Error> {
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(Error::Broken {
                operation: "write store",
                reason: format!("key of {} bytes", key.len()),
            });
        }
        Arc::make_mut(&mut self.view.spaces[space as usize]).insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, space: Space, key: &[u8]) -> Result<bool, Error> {
        if !self.view.spaces[space as usize].contains_key(key) {
            return Ok(false);
        }
        Ok(Arc::make_mut(&mut self.view.spaces[space as usize]).remove(key).is_some())
    }

    fn commit(self) -> Result<(), Error> {
        *self.engine.committed() = self.view.spaces;
        Ok(())
    }
}

impl Engine for Memory {
    type View<'a> = View;
    type Batch<'a> = Changes<'a>;

    fn view(&self) -> Result<View, Error> {
        Ok(self.snapshot())
    }

    fn batch(&self) -> Result<Changes<'_>, Error> {
        let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Changes { engine: self, view: self.snapshot(), _writing: writing })
    }

    fn sync(&self) -> Result<(), Error> {
        Ok(())
    }

    fn copy_to(&self, _path: &Path) -> Result<(), Error> {
        Err(Error::Broken { operation: "copy store", reason: "a store in memory has no file".to_owned() })
    }

    fn size_bytes(&self) -> Result<u64, Error> {
        let spaces = self.committed();
        Ok(spaces
            .iter()
            .flat_map(|map| map.iter())
            .map(|(key, value)| (key.len() + value.len()) as u64)
            .sum())
    }
}
