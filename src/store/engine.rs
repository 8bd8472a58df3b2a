//! The narrow door to the storage engine: four ordered spaces of byte keys and values.

use std::ops::ControlFlow;
use std::path::Path;

/// The largest key an engine must take (LMDB's limit: rule 30).
pub const KEY_BYTES_MAX: usize = 511;

/// The parts of the store. Few, because each costs every batch something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    Rows,
    Links,
    Dirty,
    Meta,
}

impl Space {
    pub const ALL: [Space; 4] = [Space::Rows, Space::Links, Space::Dirty, Space::Meta];
}

/// The engine failed. Never about a key or value that was merely absent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No room: on the disk, or in the address space reserved for the store.
    #[error("store: {operation}: no space left ({reason})")]
    Full { operation: &'static str, reason: String },
    /// Reading or writing failed, or the file is damaged. The store is not to be believed any more.
    #[error("store: {operation}: {reason}")]
    Broken { operation: &'static str, reason: String },
}

/// One consistent state. Slices live as long as the borrow of the view.
pub trait Read {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<&[u8]>, Error>;

    /// Visits keys with this prefix in byte order, beginning behind `after` (exclusive) when given, until
    /// `visit` breaks. Slices handed to `visit` live as long as the borrow of the view.
    fn scan<'a>(
        &'a self,
        space: Space,
        prefix: &[u8],
        after: Option<&[u8]>,
        visit: &mut dyn FnMut(&'a [u8], &'a [u8]) -> ControlFlow<()>,
    ) -> Result<(), Error>;
}

/// A batch: reads see its own writes. Dropped without [`Batch::commit`], it never was.
pub trait Batch: Read {
    fn put(&mut self, space: Space, key: &[u8], value: &[u8]) -> Result<(), Error>;

    /// Whether the key was there.
    fn delete(&mut self, space: Space, key: &[u8]) -> Result<bool, Error>;

    /// Makes the whole batch visible to later views at once. Durable only after [`Engine::sync`], or when
    /// the engine was opened with durable commits.
    fn commit(self) -> Result<(), Error>;
}

/// A storage engine. One batch at a time; any number of views beside it, on other threads.
pub trait Engine: Send + Sync + 'static {
    type View<'a>: Read
    where
        Self: 'a;
    type Batch<'a>: Batch
    where
        Self: 'a;

    /// The state after the last committed batch. Short-lived: a view held open makes the file grow.
    fn view(&self) -> Result<Self::View<'_>, Error>;

    fn batch(&self) -> Result<Self::Batch<'_>, Error>;

    /// Everything committed so far survives a power cut once this returns.
    fn sync(&self) -> Result<(), Error>;

    /// Writes a consistent, compact, fsynced copy of the whole store beside it (rule 32: a copy, never a move).
    fn copy_to(&self, path: &Path) -> Result<(), Error>;

    /// Bytes in use on disk.
    fn size_bytes(&self) -> Result<u64, Error>;
}
