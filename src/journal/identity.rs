//! Who this data folder is: its journal's id, the last epoch taken, and the lock that keeps a second
//! daemon out.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::files::make_folder;
use crate::failpoint;
use crate::model::Epoch;

/// Format of the whole data folder.
pub const FORMAT: u32 = 1;
/// Digits of a journal's id, which the segments have room for.
const JOURNAL_ID_DIGITS: usize = 32;
/// What makes a folder a data folder: it is there once a journal was begun.
pub const FILE: &str = "identity.json";
const LOCK: &str = "lock";

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Stored {
    format: u32,
    journal_id: String,
    epoch: Epoch,
    created_unix_s: u64,
    /// See [`Identified::indices`].
    #[serde(default)]
    indices: Indices,
}

/// The uuid of each index, by its name.
pub type Indices = BTreeMap<String, String>;

/// What stands in an identity of every format.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// A locked data folder. The lock is the operating system's: it goes with the process, however that ends.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    stored: Stored,
    _lock: fs::File,
}

fn failed(operation: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::Failed { operation, file: path.display().to_string(), source }
}

/// What a data folder is asked: whose it is, and for an epoch. Handed in, so that a simulation needs no folder.
pub trait Identified: Send {
    /// 32 hexadecimal digits.
    fn journal_id(&self) -> &str;

    /// Takes a new epoch above `seen` and above every one taken here before; on disk before it is returned
    /// (rule 35).
    fn take_epoch(&mut self, seen: Epoch) -> Result<Epoch, Error>;

    /// The indices that this journal fills. One of another uuid holds what nobody knows of: it was deleted and
    /// made again, or came back from a snapshot.
    fn indices(&self) -> Indices;

    /// Puts others in their place, on disk before it returns.
    fn remember_indices(&mut self, indices: Indices) -> Result<(), Error>;
}

impl Identified for DataFolder {
    fn journal_id(&self) -> &str {
        self.journal_id()
    }

    fn take_epoch(&mut self, seen: Epoch) -> Result<Epoch, Error> {
        self.take_epoch(seen)
    }

    fn indices(&self) -> Indices {
        self.stored.indices.clone()
    }

    fn remember_indices(&mut self, indices: Indices) -> Result<(), Error> {
        if indices == self.stored.indices {
            return Ok(());
        }
        self.stored.indices = indices;
        write(&self.path, &self.stored)
    }
}

impl DataFolder {
    /// Locks the folder, creates it (0700) when it is not there. `random` becomes the id of a new journal.
    pub fn open(path: &Path, random: u128, now_unix_s: u64) -> Result<DataFolder, Error> {
        make_folder(path).map_err(|source| failed("create", path, source))?;
        let lock = lock(path)?;
        let file = path.join(FILE);
        let stored = match fs::read(&file) {
            Ok(bytes) => read(&file, &bytes)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let stored = Stored {
                    format: FORMAT,
                    journal_id: format!("{random:032x}"),
                    epoch: Epoch(0),
                    created_unix_s: now_unix_s,
                    indices: Indices::new(),
                };
                write(path, &stored)?;
                stored
            }
            Err(error) => return Err(failed("read", &file, error)),
        };
        Ok(DataFolder { path: path.to_owned(), stored, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// 32 hexadecimal digits.
    pub fn journal_id(&self) -> &str {
        &self.stored.journal_id
    }

    pub fn epoch(&self) -> Epoch {
        self.stored.epoch
    }

    /// Takes a new epoch above `seen` and above every one taken here before; on disk before it is returned
    /// (rule 35).
    pub fn take_epoch(&mut self, seen: Epoch) -> Result<Epoch, Error> {
        // `seen` comes from the index: whatever stands there must not wrap around to a small epoch.
        let epoch = self.stored.epoch.max(seen).0.checked_add(1).map(Epoch);
        let epoch = epoch.filter(|epoch| *epoch <= Epoch::MAX).ok_or(Error::Exhausted)?;
        self.stored.epoch = epoch;
        write(&self.path, &self.stored)?;
        Ok(epoch)
    }
}

fn read(file: &Path, bytes: &[u8]) -> Result<Stored, Error> {
    let name = || file.display().to_string();
    let unreadable = |reason: String| Error::Identity { file: name(), reason };
    // The format first: a newer one may look different in everything else.
    let Format { format } = serde_json::from_slice(bytes).map_err(|error| unreadable(error.to_string()))?;
    if format > FORMAT {
        return Err(Error::Newer { file: name(), found: format, known: FORMAT });
    }
    let stored: Stored = serde_json::from_slice(bytes).map_err(|error| unreadable(error.to_string()))?;
    let id = &stored.journal_id;
    if id.len() != JOURNAL_ID_DIGITS || !id.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(unreadable("its journal_id is not 32 hexadecimal digits".to_owned()));
    }
    Ok(stored)
}

/// Reads the journal's id without taking the lock, for commands that only look.
pub fn look(path: &Path) -> Result<String, Error> {
    let file = path.join(FILE);
    let bytes = fs::read(&file).map_err(|source| failed("read", &file, source))?;
    Ok(read(&file, &bytes)?.journal_id)
}

fn write(path: &Path, stored: &Stored) -> Result<(), Error> {
    let file = path.join(FILE);
    let temporary = path.join("identity.tmp");
    let write = || -> std::io::Result<()> {
        let mut out =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        out.write_all(&serde_json::to_vec_pretty(stored)?)?;
        out.sync_all()?;
        failpoint::hit("identity.written");
        fs::rename(&temporary, &file)?;
        failpoint::hit("identity.renamed");
        fs::File::open(path)?.sync_all()
    };
    write().map_err(|source| failed("write", &file, source))
}

fn lock(path: &Path) -> Result<fs::File, Error> {
    let file = path.join(LOCK);
    let mut lock = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&file)
        .map_err(|source| failed("open", &file, source))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = lock.read_to_string(&mut pid); // only for the message
            let pid = pid.trim().to_owned();
            return Err(Error::Locked { folder: path.display().to_string(), pid });
        }
        Err(fs::TryLockError::Error(source)) => return Err(failed("lock", &file, source)),
    }
    let write = |lock: &mut fs::File| -> std::io::Result<()> {
        lock.set_len(0)?;
        lock.rewind()?;
        writeln!(lock, "{}", std::process::id())
    };
    write(&mut lock).map_err(|source| failed("write", &file, source))?;
    Ok(lock)
}
