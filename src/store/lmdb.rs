//! The engine over LMDB: a memory-mapped B+tree with one writer and any number of readers.
//!
//! Commits are not synced: after kill -9 the page cache still has them; after a power cut the file is not to
//! be believed (`trust` decides). Opened with `durable`, every commit is synced instead.

use std::ops::{Bound, ControlFlow};
use std::path::Path;

use heed::types::Bytes;
use heed::{CompactionOption, Database, Env, EnvFlags, EnvOpenOptions, MdbError, RoTxn, RwTxn, WithoutTls};

use super::engine::{Batch, Engine, Error, KEY_BYTES_MAX, Read, Space};

/// Address space reserved for the store: its largest size. The file grows only as it is used.
pub const MAP_BYTES: usize = 256 << 30;
/// Views open at the same time, all threads together.
const VIEWS_MAX: u32 = 126;
/// The name of the data file within the store's folder.
pub const DATA_FILE: &str = "data.mdb";

/// See the module.
pub struct Lmdb {
    env: Env<WithoutTls>,
    spaces: [Database<Bytes, Bytes>; Space::ALL.len()],
}

/// A consistent state.
pub struct View<'e> {
    transaction: RoTxn<'e, WithoutTls>,
    spaces: [Database<Bytes, Bytes>; Space::ALL.len()],
}

/// An open batch.
pub struct Changes<'e> {
    transaction: RwTxn<'e>,
    spaces: [Database<Bytes, Bytes>; Space::ALL.len()],
}

fn error(operation: &'static str) -> impl Fn(heed::Error) -> Error {
    move |error| {
        let full = match &error {
            heed::Error::Mdb(MdbError::MapFull) => true,
            heed::Error::Io(io) => io.kind() == std::io::ErrorKind::StorageFull,
            _ => false,
        };
        let reason = error.to_string();
        if full { Error::Full { operation, reason } } else { Error::Broken { operation, reason } }
    }
}

impl Lmdb {
    /// Opens or creates the store in a folder. The caller holds the data folder's lock and opens it once.
    pub fn open(folder: &Path, durable: bool) -> Result<Lmdb, Error> {
        std::fs::create_dir_all(folder)
            .map_err(|source| Error::Broken { operation: "create store", reason: source.to_string() })?;
        let env = open_environment(folder, durable)?;
        let mut transaction = env.write_txn().map_err(error("open store"))?;
        let mut create =
            |name| env.create_database(&mut transaction, Some(name)).map_err(error("open store"));
        let spaces = [create("rows")?, create("links")?, create("dirty")?, create("meta")?];
        transaction.commit().map_err(error("open store"))?;
        Ok(Lmdb { env, spaces })
    }
}

/// The only place where the library asks for promises that the compiler cannot check.
#[allow(unsafe_code)]
fn open_environment(folder: &Path, durable: bool) -> Result<Env<WithoutTls>, Error> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(MAP_BYTES).max_dbs(Space::ALL.len() as u32).max_readers(VIEWS_MAX);
    // SAFETY: NO_SYNC gives up durability after a power cut only; `trust` never lets a store be used that
    // was open at one. Opening maps the file: nobody else changes it, because the data folder's lock admits
    // one process and this process opens it once (a second time is an error of the library).
    unsafe {
        if !durable {
            options.flags(EnvFlags::NO_SYNC);
        }
        options.open(folder).map_err(error("open store"))
    }
}

fn get<'a>(
    transaction: &'a RoTxn<'_, WithoutTls>,
    database: Database<Bytes, Bytes>,
    key: &[u8],
) -> Result<Option<&'a [u8]>, Error> {
    if key.len() > KEY_BYTES_MAX || key.is_empty() {
        return Ok(None);
    }
    database.get(transaction, key).map_err(error("read store"))
}

fn scan<'a>(
    transaction: &'a RoTxn<'_, WithoutTls>,
    database: Database<Bytes, Bytes>,
    prefix: &[u8],
    after: Option<&[u8]>,
    visit: &mut dyn FnMut(&'a [u8], &'a [u8]) -> ControlFlow<()>,
) -> Result<(), Error> {
    let start = match after {
        Some(after) if after >= prefix => Bound::Excluded(after),
        _ if prefix.is_empty() => Bound::Unbounded,
        _ => Bound::Included(prefix),
    };
    let range: (Bound<&[u8]>, Bound<&[u8]>) = (start, Bound::Unbounded);
    for item in database.range(transaction, &range).map_err(error("scan store"))? {
        let (key, value) = item.map_err(error("scan store"))?;
        if !key.starts_with(prefix) || visit(key, value).is_break() {
            break;
        }
    }
    Ok(())
}

impl Read for View<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<&[u8]>, Error> {
        get(&self.transaction, self.spaces[space as usize], key)
    }

    fn scan<'a>(
        &'a self,
        space: Space,
        prefix: &[u8],
        after: Option<&[u8]>,
        visit: &mut dyn FnMut(&'a [u8], &'a [u8]) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        scan(&self.transaction, self.spaces[space as usize], prefix, after, visit)
    }
}

impl Read for Changes<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<&[u8]>, Error> {
        get(&self.transaction, self.spaces[space as usize], key)
    }

    fn scan<'a>(
        &'a self,
        space: Space,
        prefix: &[u8],
        after: Option<&[u8]>,
        visit: &mut dyn FnMut(&'a [u8], &'a [u8]) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        scan(&self.transaction, self.spaces[space as usize], prefix, after, visit)
    }
}

impl Batch for Changes<'_> {
    fn put(&mut self, space: Space, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.spaces[space as usize].put(&mut self.transaction, key, value).map_err(error("write store"))
    }

    fn delete(&mut self, space: Space, key: &[u8]) -> Result<bool, Error> {
        if key.len() > KEY_BYTES_MAX || key.is_empty() {
            return Ok(false);
        }
        self.spaces[space as usize].delete(&mut self.transaction, key).map_err(error("write store"))
    }

    fn commit(self) -> Result<(), Error> {
        self.transaction.commit().map_err(error("commit store"))
    }
}

impl Engine for Lmdb {
    type View<'a> = View<'a>;
    type Batch<'a> = Changes<'a>;

    fn view(&self) -> Result<View<'_>, Error> {
        let transaction = self.env.read_txn().map_err(error("open view"))?;
        Ok(View { transaction, spaces: self.spaces })
    }

    fn batch(&self) -> Result<Changes<'_>, Error> {
        let transaction = self.env.write_txn().map_err(error("begin batch"))?;
        Ok(Changes { transaction, spaces: self.spaces })
    }

    fn sync(&self) -> Result<(), Error> {
        self.env.force_sync().map_err(error("sync store"))
    }

    fn copy_to(&self, path: &Path) -> Result<(), Error> {
        let file = self.env.copy_to_path(path, CompactionOption::Enabled).map_err(error("copy store"))?;
        file.sync_all().map_err(|source| Error::Broken { operation: "sync copy", reason: source.to_string() })
    }

    fn size_bytes(&self) -> Result<u64, Error> {
        self.env.real_disk_size().map_err(error("measure store"))
    }
}
