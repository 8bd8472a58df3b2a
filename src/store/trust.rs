//! Is the store as it lies there to be believed? If not, what to begin from.
//!
//! ```text
//! closed cleanly, after a sync ............................ trusted
//! not closed, too many deaths in a row, soon after starts .. not trusted: the file may be what they died of
//! not closed, but the same boot, device, inode, birth,
//!   a local file system, no I/O error on record ........... trusted: the page cache had every commit
//! not closed, durable commits, the same inode and birth ... trusted: the disk has every commit
//! anything else ........................................... the newest checkpoint whose checksum holds
//! and without one ......................................... nothing: everything is read anew
//! another journal's store, or a newer program's ........... a refusal: somebody must decide
//! ```
//!
//! What remains (rule 31): a device that dropped written pages without an error within one boot, and an
//! operator who knows that can say so with `--distrust-store`.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::checkpoint::{self, Checkpoint};
use super::engine;
use super::folder::{self, Folder, READERS_FILE, failed, remove_if_there};
use super::guard::{self, Facts};
use super::host::{FileSystem, Host, Identity};
use super::note::Unreadable;
use crate::failpoint;

/// What a start may begin from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The store as it lies there.
    Trusted,
    /// A verified copy; the journal from its entry number on must still be there.
    Checkpoint { checkpoint: Checkpoint, reason: String },
    /// An empty store: the journal from its first entry, or a backfill.
    Nothing { reason: String },
}

/// What is asked about the store.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The journal that the store must be a fold of (rule 34).
    pub journal_id: &'a str,
    /// `--distrust-store`: an operator knows better than the guard.
    pub distrust: bool,
}

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Going on would destroy what may be somebody's (G5). `code` is listed in docs/errors.md.
    #[error("{code}: {reason}\n    {hint}")]
    Refused { code: &'static str, reason: String, hint: String },
    #[error(transparent)]
    Store(#[from] engine::Error),
}

/// The store belongs to another journal.
pub const STORE_OTHER: &str = "store-other";
/// A newer program wrote it.
pub const STORE_NEWER: &str = "store-newer";
/// The store, its guard or a checkpoint is damaged; part of the reason of a verdict.
pub const STORE_DAMAGED: &str = "store-damaged";

/// So many starts may die soon, one after the other, before the store is not believed any more. A supervisor that gives
/// up after five starts still sees one that begins from a checkpoint.
pub const DEATHS_MAX: u32 = 3;

/// Decides; changes nothing.
pub fn judge(folder: &Folder, host: &dyn Host, question: Question<'_>) -> Result<Verdict, Error> {
    let path = folder.path();
    let (sealed, unreadable) = checkpoint::sealed(path)?;
    for error in &unreadable {
        if let Unreadable::Newer(_) = error {
            return Err(newer(path, error));
        }
    }
    for found in &sealed {
        belongs(path, &found.seal.journal_id, question)?;
    }
    let facts = match guard::read(path) {
        Ok(facts) => facts.ok_or_else(|| "there is no guard file".to_owned()),
        Err(error @ Unreadable::Newer(_)) => return Err(newer(path, &error)),
        Err(Unreadable::Damaged(reason)) => Err(format!("{STORE_DAMAGED}: the guard file: {reason}")),
        Err(Unreadable::Io(error)) => {
            return Err(failed("read the store's guard", &guard::path(path), &error).into());
        }
    };
    if let Ok(facts) = &facts {
        belongs(path, &facts.journal_id, question)?;
    }
    let data = folder.data_file();
    let file = host.identity(&data).map_err(|error| failed("look at the store", &data, &error))?;
    let doubt = match (file, facts) {
        (None, Err(_)) => Some("there is no store yet".to_owned()),
        (None, Ok(_)) => Some(format!("{} is not there", data.display())),
        (Some(_), _) if question.distrust => Some("--distrust-store was given".to_owned()),
        (Some(_), Err(reason)) => Some(reason),
        (Some(file), Ok(facts)) => doubt(path, &facts, file, host)?,
    };
    let Some(reason) = doubt else { return Ok(Verdict::Trusted) };
    Ok(match checkpoint::newest_good(path, question.journal_id)? {
        Some(checkpoint) => Verdict::Checkpoint { checkpoint, reason },
        None if sealed.is_empty() && unreadable.is_empty() => Verdict::Nothing { reason },
        None => {
            Verdict::Nothing { reason: format!("{reason}; {STORE_DAMAGED}: no checkpoint's checksum holds") }
        }
    })
}

/// Why the data file is not to be believed, if so.
fn doubt(folder: &Path, facts: &Facts, file: Identity, host: &dyn Host) -> Result<Option<String>, Error> {
    if let Some(reason) = &facts.distrusted {
        return Ok(Some(reason.clone()));
    }
    if file.size_bytes < facts.file.size_bytes {
        // The engine never makes its file shorter.
        return Ok(Some(format!(
            "{STORE_DAMAGED}: the data file has {} bytes and had {}",
            file.size_bytes, facts.file.size_bytes
        )));
    }
    if !facts.open {
        return Ok(None);
    }
    if facts.deaths >= DEATHS_MAX {
        return Ok(Some(format!(
            "{STORE_DAMAGED}: {} starts in a row have died of it, or seem to",
            facts.deaths
        )));
    }
    let not_closed = "the store was not closed, and";
    if facts.file.birth_ns.is_none() {
        return Ok(Some(format!("{not_closed} the file system keeps no birth time to know the file by")));
    }
    if (file.inode, file.birth_ns) != (facts.file.inode, facts.file.birth_ns) {
        return Ok(Some(format!("{not_closed} the data file is not the one that was open")));
    }
    let about = |error: io::Error| failed("look at the store's file system", folder, &error);
    if let FileSystem::Other(number) = host.file_system(folder).map_err(about)? {
        return Ok(Some(format!(
            "{not_closed} its file system (type {number:#x}) is not known to be a local one"
        )));
    }
    if facts.durable_commits {
        return Ok(None);
    }
    let boot_id = host.boot_id();
    if boot_id.is_none() || boot_id != facts.boot_id {
        return Ok(Some(format!("{not_closed} the machine was started again since")));
    }
    if file.device != facts.file.device {
        return Ok(Some(format!("{not_closed} it lies on another device now")));
    }
    Ok(None)
}

fn belongs(folder: &Path, journal_id: &str, question: Question<'_>) -> Result<(), Error> {
    if journal_id == question.journal_id {
        return Ok(());
    }
    Err(Error::Refused {
        code: STORE_OTHER,
        reason: format!(
            "the store in {} belongs to the journal {journal_id}, not to {}",
            folder.display(),
            question.journal_id
        ),
        hint: format!(
            "name the right folder; or, to build the store again: mv {0} {0}.other",
            folder.display()
        ),
    })
}

fn newer(folder: &Path, error: &Unreadable) -> Error {
    Error::Refused {
        code: STORE_NEWER,
        reason: format!("the store in {} was written by a newer program: {error}", folder.display()),
        hint: format!("start that program; or, to build the store again: mv {0} {0}.newer", folder.display()),
    }
}

/// Makes it so: after this the engine may be opened. Interrupted anywhere, it leads to the same verdict
/// at the next start, also without `--distrust-store`.
pub fn settle(folder: &Folder, verdict: &Verdict) -> Result<(), engine::Error> {
    let (path, data) = (folder.path(), folder.data_file());
    let beside = data.with_extension("new");
    let (checkpoint, reason) = match verdict {
        Verdict::Trusted => return Ok(()),
        Verdict::Checkpoint { checkpoint, reason } => (Some(checkpoint), reason),
        Verdict::Nothing { reason } => (None, reason),
    };
    let about = |error: io::Error| failed("replace the store", &data, &error);
    match guard::read(path) {
        Ok(Some(facts)) => guard::write(path, &Facts { distrusted: Some(reason.clone()), ..facts })?,
        // Without a guard nothing is trusted either.
        _ => remove_if_there(&guard::path(path)).map_err(about)?,
    }
    folder::sync_folder(path).map_err(about)?;
    // The untrusted file goes first: its space may be what the copy needs.
    remove_if_there(&data).map_err(about)?;
    remove_if_there(&path.join(READERS_FILE)).map_err(about)?;
    if let Some(checkpoint) = checkpoint {
        copy(&checkpoint.path, &beside).map_err(|error| {
            // The copy's own error is the one to tell; a leftover is overwritten by the next attempt.
            fs::remove_file(&beside).ok();
            about(error)
        })?;
        failpoint::hit("store.restoring");
        fs::rename(&beside, &data).map_err(about)?;
        failpoint::hit("store.restored");
    }
    folder::sync_folder(path).map_err(about)
}

/// A copy that shares its blocks where the file system can do so, and is on disk at the end either way.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let mut target = File::create(to)?;
    if rustix::fs::ioctl_ficlone(&target, &source).is_err() {
        io::copy(&mut source, &mut target)?;
    }
    target.sync_all()
}
