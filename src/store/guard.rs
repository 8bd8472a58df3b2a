//! The guard: a note in the store's folder that says whether the data file may be believed.
//!
//! Without an fsync per commit the file is whole after kill -9 (the page cache has every commit) and
//! possibly torn after a power cut, and LMDB has no checksums to tell. So before the first batch the guard
//! records, durably, that the store is open, in which boot of the kernel, and which file it is. After the
//! last batch and a sync it records that the store is closed.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::engine::{Engine, Error};
use super::folder::{self, DATA_FILE};
use super::host::{Host, Identity};
use super::lmdb::Durability;
use super::note::{self, FORMAT, Unreadable};
use crate::failpoint;
use crate::model::EntryNo;

const GUARD_FILE: &str = "guard.json";

/// What the guard file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    pub format: u32,
    /// The journal that this store is a fold of (rule 34).
    pub journal_id: String,
    /// A process has, or had until it died, the store open.
    pub open: bool,
    /// The boot in which it was opened.
    pub boot_id: Option<String>,
    /// The data file when it was opened; its size also later.
    pub file: Identity,
    /// Whether every commit was fsynced in order.
    pub durable_commits: bool,
    /// Processes in a row that ended without closing the store before this one. All but the first of them had just been
    /// started and had not [lived](Guard::lived): a damaged page may end everybody who reads it, and the engine then
    /// has no words for it.
    #[serde(default)]
    pub deaths: u32,
    /// Why the file is not to be believed whatever else holds: an I/O error, an operator's word.
    pub distrusted: Option<String>,
    /// The newest checkpoint when this was written; for people.
    pub checkpoint: Option<EntryNo>,
    /// When this was written, seconds since 1970; for people.
    pub written_at: u64,
}

/// The guard of a store that this process has open.
#[derive(Debug)]
pub struct Guard {
    folder: PathBuf,
    facts: Facts,
}

impl Guard {
    /// Records that the store in this folder is open. To be called when the engine is open and nothing
    /// has been written yet.
    pub fn begin(
        folder: &Path,
        host: &dyn Host,
        journal_id: &str,
        durability: Durability,
    ) -> Result<Guard, Error> {
        let before = read(folder).ok().flatten().filter(|before| before.open && before.distrusted.is_none());
        let facts = Facts {
            format: FORMAT,
            journal_id: journal_id.to_owned(),
            open: true,
            boot_id: host.boot_id(),
            file: data_file(folder, host)?,
            durable_commits: durability == Durability::Commit,
            deaths: before.map_or(0, |before| before.deaths.saturating_add(1)),
            distrusted: None,
            checkpoint: None,
            written_at: host.unix_seconds(),
        };
        let guard = Guard { folder: folder.to_owned(), facts };
        guard.write()?;
        Ok(guard)
    }

    /// Records that the file does not end whoever works with it, and how large it has become.
    pub fn lived(&mut self, host: &dyn Host) -> Result<(), Error> {
        // With durable commits a power cut may take what no commit has named yet: the size is not known then.
        let size_bytes = match self.facts.durable_commits {
            true => self.facts.file.size_bytes,
            false => data_file(&self.folder, host)?.size_bytes,
        };
        if (self.facts.deaths, self.facts.file.size_bytes) == (0, size_bytes) {
            return Ok(());
        }
        self.facts.deaths = 0;
        self.facts.file.size_bytes = size_bytes;
        self.facts.written_at = host.unix_seconds();
        self.write()
    }

    /// Records the newest checkpoint, for people who look.
    pub fn checkpointed(&mut self, entry: EntryNo, host: &dyn Host) -> Result<(), Error> {
        self.facts.checkpoint = Some(entry);
        self.facts.written_at = host.unix_seconds();
        self.write()
    }

    /// Records that the file is not to be believed any more, for an I/O error was seen (rule 31: the same
    /// boot proves nothing then). The process should end; the next start takes a checkpoint.
    pub fn distrust(&mut self, reason: &str) -> Result<(), Error> {
        self.facts.distrusted = Some(reason.to_owned());
        self.write()
    }

    /// Syncs the engine, records that the store is closed, and closes it, in this order: the lock must
    /// outlive the note. Nothing can be written in between, as the engine is ours alone. When the sync
    /// fails, the file is recorded as not to be believed.
    pub fn close(mut self, engine: impl Engine, host: &dyn Host) -> Result<(), Error> {
        if let Err(error) = engine.sync() {
            self.distrust(&error.to_string())?;
            return Err(error);
        }
        failpoint::hit("store.closing");
        self.facts.open = false;
        self.facts.file.size_bytes = data_file(&self.folder, host)?.size_bytes;
        self.facts.written_at = host.unix_seconds();
        self.write()?;
        failpoint::hit("store.closed");
        drop(engine);
        Ok(())
    }

    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    fn write(&self) -> Result<(), Error> {
        write(&self.folder, &self.facts)
    }
}

/// The guard file of a folder.
pub fn path(folder: &Path) -> PathBuf {
    folder.join(GUARD_FILE)
}

/// What the guard says, if there is one.
pub fn read(folder: &Path) -> Result<Option<Facts>, Unreadable> {
    note::read(&path(folder))
}

/// Replaces the guard.
pub fn write(folder: &Path, facts: &Facts) -> Result<(), Error> {
    let path = path(folder);
    note::write(&path, facts).map_err(|error| folder::failed("write the store's guard", &path, &error))
}

fn data_file(folder: &Path, host: &dyn Host) -> Result<Identity, Error> {
    const OPERATION: &str = "look at the store's data file";
    let path = folder.join(DATA_FILE);
    let found = host.identity(&path).map_err(|error| folder::failed(OPERATION, &path, &error))?;
    found.ok_or_else(|| Error::Broken {
        operation: OPERATION,
        reason: format!("{} is not there", path.display()),
    })
}
