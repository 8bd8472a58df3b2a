//! The engine over LMDB (heed): a memory-mapped copy-on-write B+tree in one file.
//!
//! One LMDB database per [`Space`], plain bytes for keys and values. Reads are pointers into the map. By
//! default nothing is fsynced per commit (`MDB_NOSYNC`): the journal is the durability, kill -9 loses
//! nothing, and whether the file may be believed after a power cut is `trust`'s business, not ours.
//!
//! What LMDB asks of us: views are short (pages that a view sees are not used again, so the file grows),
//! one batch at a time, and a batch ends on the thread that began it.

mod environment;
#[cfg(test)]
mod kill_test;
#[cfg(test)]
mod tests;

use std::fs::{self, OpenOptions};
use std::marker::PhantomData;
use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use heed::types::Bytes;
use heed::{CommitOrAbort, CompactionOption, Env, MdbError, RoTxn, RwTxn, WithoutTls};

use super::engine::{Batch, Engine, Error, KEY_BYTES_MAX, Read, Space};
use super::folder::{self, Folder};

type Database = heed::Database<'static, Bytes, Bytes>;

/// What makes a commit survive a power cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Nothing by itself: the journal is applied again over a checkpoint.
    #[default]
    Journal,
    /// Every commit is fsynced, data before the page that names it. Some four times slower.
    Commit,
}

/// How to open the engine.
#[derive(Clone, Debug)]
pub struct Options {
    /// Address space to reserve, and so the largest size of the file. Costs no memory and no disk; reduced
    /// when the process may not have that much.
    pub map_size_bytes: usize,
    /// Views that may be open at once.
    pub views_max: u32,
    pub durability: Durability,
}

impl Default for Options {
    fn default() -> Self {
        Options { map_size_bytes: MAP_SIZE_BYTES, views_max: VIEWS_MAX, durability: Durability::Journal }
    }
}

/// Default of [`Options::map_size_bytes`].
pub const MAP_SIZE_BYTES: usize = 256 << 30;
/// Default of [`Options::views_max`]: 64 bytes each in the table of readers.
pub const VIEWS_MAX: u32 = 512;
/// LMDB keeps a value's length in 32 bits.
pub const VALUE_BYTES_MAX: usize = u32::MAX as usize;

/// See the module. Dropping it closes the file (without a sync) and then gives the folder's lock back.
#[derive(Debug)]
pub struct Lmdb {
    // Declared before `folder`: fields are dropped in this order, so the lock outlives the map.
    env: Env<WithoutTls>,
    databases: [Database; Space::ALL.len()],
    batch_open: AtomicBool,
    folder: Folder,
}

impl Lmdb {
    /// Opens the store in this folder, or begins an empty one. Whether what is there may be believed must
    /// have been settled before (`trust`).
    pub fn open(folder: Folder, options: &Options) -> Result<Lmdb, Error> {
        let env = environment::open(&folder, options)?;
        let lmdb = (|| {
            // Slots of views that a killed process left behind would pin their pages for ever.
            env.clear_stale_readers()?;
            let names = ["rows", "links", "dirty", "meta"];
            env.create_databases_and_commit(env.write_txn()?, |opener, txn| {
                let create = |name| opener.create_database::<Bytes, Bytes>(txn, Some(name));
                let [rows, links, dirty, meta] = names.map(create);
                Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit([rows?, links?, dirty?, meta?]))
            })
        })()
        .map_err(failed("open the store's spaces"))?;
        match lmdb {
            CommitOrAbort::Commit(databases) => {
                Ok(Lmdb { env, databases, batch_open: AtomicBool::new(false), folder })
            }
            // The closure above never aborts; were it to, there would be nothing to work with.
            CommitOrAbort::Abort(()) => Err(Error::Broken {
                operation: "open the store's spaces",
                reason: "the transaction was given up".to_owned(),
            }),
        }
    }

    /// The folder that this engine holds the lock of.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Address space that was reserved in the end: the file cannot become larger.
    pub fn map_size_bytes(&self) -> usize {
        self.env.info().map_size
    }

    /// Views that are open now, counted by LMDB itself, and after killed readers were cleared away
    /// (rule 33: looked at on a timer).
    pub fn views_open(&self) -> Result<u32, Error> {
        self.env.clear_stale_readers().map_err(failed("look after the readers"))?;
        Ok(self.env.info().number_of_readers)
    }
}

/// See [`Engine::view`]. May be used on any thread, on one at a time.
pub struct View<'e> {
    txn: RoTxn<'e, WithoutTls>,
    databases: &'e [Database; Space::ALL.len()],
}

impl Read for View<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<&[u8]>, Error> {
        get(self.databases[space as usize], &self.txn, key)
    }

    fn scan<'a>(
        &'a self,
        space: Space,
        prefix: &[u8],
        after: Option<&[u8]>,
        visit: &mut dyn FnMut(&'a [u8], &'a [u8]) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        scan(self.databases[space as usize], &self.txn, prefix, after, visit)
    }

    fn count(&self, space: Space) -> Result<u64, Error> {
        self.databases[space as usize].len(&self.txn).map_err(failed("count keys"))
    }
}

/// See [`Engine::batch`]. Not `Send`: LMDB's writer lock is a mutex of the thread that took it.
pub struct WriteBatch<'e> {
    txn: RwTxn<'e>,
    databases: &'e [Database; Space::ALL.len()],
    // Declared last: released only when the transaction is over.
    _open: OpenBatch<'e>,
    _on_its_thread: PhantomData<*const ()>,
}

/// Marks that a batch is open, for as long as it lives.
struct OpenBatch<'e>(&'e AtomicBool);

impl Drop for OpenBatch<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Read for WriteBatch<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<&[u8]>, Error> {
        get(self.databases[space as usize], &self.txn, key)
    }

    fn scan<'a>(
        &'a self,
        space: Space,
        prefix: &[u8],
        after: Option<&[u8]>,
        visit: &mut dyn FnMut(&'a [u8], &'a [u8]) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        scan(self.databases[space as usize], &self.txn, prefix, after, visit)
    }

    fn count(&self, space: Space) -> Result<u64, Error> {
        self.databases[space as usize].len(&self.txn).map_err(failed("count keys"))
    }
}

impl Batch for WriteBatch<'_> {
    fn put(&mut self, space: Space, key: &[u8], value: &[u8]) -> Result<(), Error> {
        if !is_key(key) || value.len() > VALUE_BYTES_MAX {
            return Err(Error::Misuse {
                operation: "put",
                reason: format!(
                    "a key of {} and a value of {} bytes; keys have 1 to {KEY_BYTES_MAX}",
                    key.len(),
                    value.len()
                ),
            });
        }
        self.databases[space as usize].put(&mut self.txn, key, value).map_err(failed("put"))
    }

    fn delete(&mut self, space: Space, key: &[u8]) -> Result<bool, Error> {
        if !is_key(key) {
            return Ok(false);
        }
        self.databases[space as usize].delete(&mut self.txn, key).map_err(failed("delete"))
    }

    fn commit(self) -> Result<(), Error> {
        let WriteBatch { txn, _open, .. } = self;
        txn.commit().map_err(failed("commit"))
    }
}

impl Engine for Lmdb {
    type View<'a> = View<'a>;
    type Batch<'a> = WriteBatch<'a>;

    fn view(&self) -> Result<View<'_>, Error> {
        let txn = self.env.read_txn().map_err(failed("open a view"))?;
        Ok(View { txn, databases: &self.databases })
    }

    fn batch(&self) -> Result<WriteBatch<'_>, Error> {
        if self.batch_open.swap(true, Ordering::Acquire) {
            return Err(Error::Misuse {
                operation: "begin a batch",
                reason: "another batch is open; there is one writer (rule 26)".to_owned(),
            });
        }
        let open = OpenBatch(&self.batch_open);
        let txn = self.env.write_txn().map_err(failed("begin a batch"))?;
        Ok(WriteBatch { txn, databases: &self.databases, _open: open, _on_its_thread: PhantomData })
    }

    fn sync(&self) -> Result<(), Error> {
        self.env.force_sync().map_err(failed("sync"))
    }

    fn copy_to(&self, path: &Path) -> Result<(), Error> {
        let copied = self.copy_with(path, CompactionOption::Enabled).or_else(|error| match error {
            // Compaction insists that every page is accounted for; a plain copy takes the file as it is.
            heed::Error::Mdb(MdbError::Incompatible) => self.copy_with(path, CompactionOption::Disabled),
            other => Err(other),
        });
        if copied.is_err() {
            // The copy's own error is the one to tell; a leftover is overwritten by the next attempt.
            fs::remove_file(path).ok();
        }
        copied.map_err(failed("copy the store"))
    }

    fn size_bytes(&self) -> Result<u64, Error> {
        self.env.real_disk_size().map_err(failed("measure the store"))
    }
}

impl Lmdb {
    fn copy_with(&self, path: &Path, compaction: CompactionOption) -> heed::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
        self.env.copy_to_file(&mut file, compaction)?;
        file.sync_all()?;
        if let Some(parent) = path.parent() {
            folder::sync_folder(parent)?;
        }
        Ok(())
    }
}

fn is_key(key: &[u8]) -> bool {
    !key.is_empty() && key.len() <= KEY_BYTES_MAX
}

fn get<'a>(database: Database, txn: &'a RoTxn, key: &[u8]) -> Result<Option<&'a [u8]>, Error> {
    if !is_key(key) {
        return Ok(None);
    }
    database.get(txn, key).map_err(failed("get"))
}

/// One allocation (the bound) and one descent, then a step per key: the end is where the prefix ends, so
/// there is no upper bound to compute.
fn scan<'a>(
    database: Database,
    txn: &'a RoTxn,
    prefix: &[u8],
    after: Option<&[u8]>,
    visit: &mut dyn FnMut(&'a [u8], &'a [u8]) -> ControlFlow<()>,
) -> Result<(), Error> {
    let start = match after {
        Some(after) if after >= prefix && !after.is_empty() => Bound::Excluded(after),
        _ if prefix.is_empty() => Bound::Unbounded,
        _ => Bound::Included(prefix),
    };
    let range = database.range(txn, &(start, Bound::Unbounded)).map_err(failed("scan"))?;
    for item in range {
        let (key, value) = item.map_err(failed("scan"))?;
        if !key.starts_with(prefix) || visit(key, value).is_break() {
            break;
        }
    }
    Ok(())
}

/// Names the operation, and sorts LMDB's errors into what the caller can do about them.
fn failed(operation: &'static str) -> impl Fn(heed::Error) -> Error {
    move |error| {
        let reason = error.to_string();
        match error {
            heed::Error::Mdb(MdbError::MapFull) => {
                Error::Full { operation, reason: format!("{reason}; raise `store.map_bytes`") }
            }
            heed::Error::Mdb(MdbError::TxnFull) => Error::Full { operation, reason },
            heed::Error::Mdb(MdbError::ReadersFull | MdbError::BadValSize)
            | heed::Error::EnvAlreadyOpened => Error::Misuse { operation, reason },
            heed::Error::Io(io) if folder::is_full(&io) => Error::Full { operation, reason },
            _ => Error::Broken { operation, reason },
        }
    }
}
