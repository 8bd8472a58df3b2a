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
    /// The caller asked for what no engine does: a key or value of an impossible size, a second batch.
    /// Nothing was changed; the store is as good as before.
    #[error("store: {operation}: {reason}")]
    Misuse { operation: &'static str, reason: String },
}

/// One consistent state. Slices live as long as the borrow of the view.
///
/// A key that no [`Batch::put`] would take (empty, or above [`KEY_BYTES_MAX`]) is simply not there.
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

    /// Keys in this space. Takes no longer for a large space than for a small one.
    fn count(&self, space: Space) -> Result<u64, Error>;
}

/// A batch: reads see its own writes. Dropped without [`Batch::commit`], it never was. After an error of
/// `put` or `delete` other than [`Error::Misuse`] it must be dropped.
pub trait Batch: Read {
    /// Replaces what was there. The key has 1 to [`KEY_BYTES_MAX`] bytes; the value may be empty.
    fn put(&mut self, space: Space, key: &[u8], value: &[u8]) -> Result<(), Error>;

    /// Whether the key was there.
    fn delete(&mut self, space: Space, key: &[u8]) -> Result<bool, Error>;

    /// Makes the whole batch visible to later views at once. Durable only after [`Engine::sync`], or when
    /// the engine was opened with durable commits.
    fn commit(self) -> Result<(), Error>;
}

/// A storage engine. One batch at a time; any number of views beside it, on other threads.
pub trait Engine: Send + Sync + 'static {
    type View<'a>: Read + Send
    where
        Self: 'a;
    type Batch<'a>: Batch
    where
        Self: 'a;

    /// The state after the last committed batch. Short-lived: a view held open makes the file grow.
    fn view(&self) -> Result<Self::View<'_>, Error>;

    /// The one writer's batch (rule 26); it stays on the thread that began it. [`Error::Misuse`] while
    /// another one is open: waiting for it would be for ever if the same thread holds it.
    fn batch(&self) -> Result<Self::Batch<'_>, Error>;

    /// Everything committed so far survives a power cut once this returns.
    fn sync(&self) -> Result<(), Error>;

    /// Writes a consistent, compact, fsynced copy of the whole store to a file at `path`, replacing what
    /// was there (rule 32: a copy, never a move). It holds every batch that was committed before the call, and
    /// perhaps some that were committed during it. A failed copy leaves no file.
    fn copy_to(&self, path: &Path) -> Result<(), Error>;

    /// Bytes in use on disk.
    fn size_bytes(&self) -> Result<u64, Error>;
}

/// A shared engine is one, so that whoever closes it may hold it together with others.
impl<E: Engine> Engine for std::sync::Arc<E> {
    type View<'a> = E::View<'a>;
    type Batch<'a> = E::Batch<'a>;

    fn view(&self) -> Result<Self::View<'_>, Error> {
        (**self).view()
    }

    fn batch(&self) -> Result<Self::Batch<'_>, Error> {
        (**self).batch()
    }

    fn sync(&self) -> Result<(), Error> {
        (**self).sync()
    }

    fn copy_to(&self, path: &Path) -> Result<(), Error> {
        (**self).copy_to(path)
    }

    fn size_bytes(&self) -> Result<u64, Error> {
        (**self).size_bytes()
    }
}
