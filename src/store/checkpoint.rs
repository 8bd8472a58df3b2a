//! Checkpoints: sealed copies of the store, to begin from when the store itself is not to be believed.
//!
//! A checkpoint is two files: `N.mdb`, a compact copy, and `N.seal`, a note with the copy's checksum, the
//! journal's id and the entry that the copy has reached. The copy without its seal is nothing: the seal is
//! written last and removed first. The newest two are kept (rule 32): the journal may forget what the
//! *older* one has, since only by reading a copy back can one know that it is good.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::engine::{Engine, Error};
use super::folder::{self, failed, remove_if_there};
use super::host::Host;
use super::note::{self, FORMAT, Unreadable};
use crate::failpoint;
use crate::model::EntryNo;

/// Checkpoints that are kept: the newest, and the one before it.
pub const KEPT: usize = 2;

const FOLDER: &str = "checkpoints";
const COPY: &str = "mdb";
const SEAL: &str = "seal";
const READ_BYTES: usize = 1 << 20;

/// What the seal beside a copy says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    pub format: u32,
    pub journal_id: String,
    /// The copy holds every entry up to this one, and possibly a few behind it: its own meta space says
    /// exactly where it stands.
    pub entry: EntryNo,
    pub size_bytes: u64,
    /// xxh3-128 over the whole copy, in hexadecimal.
    pub checksum: String,
    /// Seconds since 1970; for people.
    pub made_at: u64,
}

/// A copy that has a seal. Whether the seal holds is for [`Checkpoint::verify`] to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub path: PathBuf,
    pub seal: Seal,
    sequence: u64,
}

impl Checkpoint {
    /// Reads the whole copy; about a second per gigabyte. The text says what is wrong with it.
    pub fn verify(&self) -> Result<(), String> {
        let about = |error: io::Error| format!("{}: {error}", self.path.display());
        let file = File::open(&self.path).map_err(about)?;
        let size_bytes = file.metadata().map_err(about)?.len();
        if size_bytes != self.seal.size_bytes {
            return Err(format!(
                "{}: {size_bytes} bytes, sealed with {}",
                self.path.display(),
                self.seal.size_bytes
            ));
        }
        if checksum(&file).map_err(about)? != self.seal.checksum {
            return Err(format!("{}: the checksum does not hold", self.path.display()));
        }
        Ok(())
    }
}

/// Every seal in the store's folder that can be read, newest first, whosever it is; and why others cannot.
pub fn sealed(store: &Path) -> Result<(Vec<Checkpoint>, Vec<Unreadable>), Error> {
    let folder = store.join(FOLDER);
    let (mut found, mut unreadable) = (Vec::new(), Vec::new());
    for (sequence, path) in files(&folder, SEAL)? {
        match note::read::<Seal>(&path) {
            Ok(Some(seal)) => {
                found.push(Checkpoint { path: path.with_extension(COPY), seal, sequence });
            }
            Ok(None) => {}
            Err(error) => unreadable.push(error),
        }
    }
    found.sort_by_key(|checkpoint| std::cmp::Reverse(checkpoint.sequence));
    Ok((found, unreadable))
}

/// The newest checkpoint of this journal whose copy is as it was sealed.
pub fn newest_good(store: &Path, journal_id: &str) -> Result<Option<Checkpoint>, Error> {
    let (found, _) = sealed(store)?;
    Ok(found
        .into_iter()
        .filter(|checkpoint| checkpoint.seal.journal_id == journal_id)
        .find(|checkpoint| checkpoint.verify().is_ok()))
}

/// The checkpoints of the store that this process has open.
#[derive(Debug)]
pub struct Checkpoints {
    store: PathBuf,
    journal_id: String,
    /// Read back and found good by this process, newest first.
    good: Vec<Checkpoint>,
}

impl Checkpoints {
    /// Reads what is there back, to know what is good: as long as [`Checkpoint::verify`] for each.
    pub fn open(store: &Path, journal_id: &str) -> Result<Checkpoints, Error> {
        let (found, _) = sealed(store)?;
        let good = found
            .into_iter()
            .filter(|checkpoint| checkpoint.seal.journal_id == journal_id && checkpoint.verify().is_ok())
            .take(KEPT)
            .collect();
        Ok(Checkpoints { store: store.to_owned(), journal_id: journal_id.to_owned(), good })
    }

    /// Those that were found good, newest first.
    pub fn good(&self) -> &[Checkpoint] {
        &self.good
    }

    /// The journal may forget entries up to this one: the last entry of the checkpoint *before* the newest
    /// (rule 32). Nothing while there are not two.
    pub fn forget_up_to(&self) -> Option<EntryNo> {
        let [newest, previous, ..] = self.good.as_slice() else { return None };
        Some(previous.seal.entry.min(newest.seal.entry))
    }

    /// Copies the store, seals the copy, reads it back, and removes what is then one too many. `entry` is
    /// what the store had reached before the call. Takes seconds and, for a moment, the disk space of three
    /// copies; runs beside batches, on its own thread.
    /// [`Error::Full`] leaves everything as it was (rule 9: sync in place then).
    pub fn make(
        &mut self,
        engine: &impl Engine,
        entry: EntryNo,
        host: &dyn Host,
    ) -> Result<&Checkpoint, Error> {
        const OPERATION: &str = "make a checkpoint";
        let folder = self.store.join(FOLDER);
        let about = |error: io::Error| failed(OPERATION, &folder, &error);
        fs::create_dir_all(&folder).and_then(|()| folder::sync_folder(&self.store)).map_err(about)?;
        self.remove_leftovers(&folder)?;

        let last = files(&folder, SEAL)?.into_iter().map(|(sequence, _)| sequence).max();
        let sequence = last.map_or(1, |last| last.saturating_add(1));
        let path = folder.join(format!("{sequence:010}.{COPY}"));
        failpoint::hit("checkpoint.copying");
        engine.copy_to(&path)?;
        failpoint::hit("checkpoint.copied");
        let checkpoint = self.seal(path, sequence, entry, host).map_err(about)?;
        // The copy is on disk and its pages are out of the cache: this reads what the disk has kept.
        if let Err(reason) = checkpoint.verify() {
            remove(&checkpoint).map_err(about)?;
            return Err(Error::Broken { operation: OPERATION, reason });
        }
        failpoint::hit("checkpoint.sealed");
        self.good.insert(0, checkpoint);
        self.good.truncate(KEPT);
        self.remove_leftovers(&folder)?;
        Ok(&self.good[0])
    }

    fn seal(&self, path: PathBuf, sequence: u64, entry: EntryNo, host: &dyn Host) -> io::Result<Checkpoint> {
        let file = File::open(&path)?;
        let seal = Seal {
            format: FORMAT,
            journal_id: self.journal_id.clone(),
            entry,
            size_bytes: file.metadata()?.len(),
            checksum: checksum(&file)?,
            made_at: host.unix_seconds(),
        };
        // The store's own pages are worth more in the cache than those of a copy. Only advice: it may fail.
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).ok();
        note::write(&path.with_extension(SEAL), &seal)?;
        Ok(Checkpoint { path, seal, sequence })
    }

    /// Removes checkpoints that are not among the good ones, and copies that never got a seal.
    fn remove_leftovers(&self, folder: &Path) -> Result<(), Error> {
        for (sequence, path) in files(folder, SEAL)?.into_iter().chain(files(folder, COPY)?) {
            if !self.good.iter().any(|good| good.sequence == sequence) {
                remove_if_there(&path).map_err(|error| failed("remove an old checkpoint", &path, &error))?;
            }
        }
        folder::sync_folder(folder).map_err(|error| failed("remove an old checkpoint", folder, &error))
    }
}

/// Seal first: a copy without one is nothing, a seal without its copy would look like damage.
fn remove(checkpoint: &Checkpoint) -> io::Result<()> {
    remove_if_there(&checkpoint.path.with_extension(SEAL))?;
    remove_if_there(&checkpoint.path)
}

/// Our files with this extension: their sequence numbers and paths.
fn files(folder: &Path, extension: &str) -> Result<Vec<(u64, PathBuf)>, Error> {
    let about = |error: io::Error| failed("list the checkpoints", folder, &error);
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(about)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(about)?.path();
        if path.extension().is_none_or(|found| found != extension) {
            continue;
        }
        if let Some(sequence) = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok()) {
            found.push((sequence, path));
        }
    }
    Ok(found)
}

fn checksum(mut file: &File) -> io::Result<String> {
    let mut sum = Xxh3::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(format!("{:032x}", sum.digest128())),
            Ok(bytes) => sum.update(&buffer[..bytes]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
