//! The store's folder: what lies where, and that it is ours alone.
//!
//! ```text
//! lock            held (flock) for as long as a Folder, or the engine that took it over, lives
//! data.mdb        the engine's file; lock.mdb beside it is the engine's own
//! guard.json      whether data.mdb may be believed: guard.rs
//! checkpoints/    sealed copies of data.mdb: checkpoint.rs
//! ```
//!
//! A [`Folder`] is neither copied nor cloned, and an engine swallows it. Whoever holds one may therefore
//! replace the files in it: nobody has them open.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::engine::Error;

/// The engine's file.
pub const DATA_FILE: &str = "data.mdb";
/// The engine's table of readers and its writer's lock. Worthless without an open engine.
pub const READERS_FILE: &str = "lock.mdb";
const LOCK_FILE: &str = "lock";

/// The store's folder, locked by this process (single writer; rule 33: only the daemon opens the store).
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Closing it gives the lock back.
    _lock: File,
}

impl Folder {
    /// Creates the folder if need be and locks it. Does not wait: whoever holds the lock holds it for long.
    pub fn lock(path: &Path) -> Result<Folder, Error> {
        const OPERATION: &str = "lock the store's folder";
        fs::create_dir_all(path).map_err(|error| failed(OPERATION, path, &error))?;
        let file = path.join(LOCK_FILE);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&file)
            .map_err(|error| failed(OPERATION, &file, &error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Folder { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Error::Misuse {
                operation: OPERATION,
                reason: format!("{} is in use by a running daemon or command", path.display()),
            }),
            Err(TryLockError::Error(error)) => Err(failed(OPERATION, &file, &error)),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn data_file(&self) -> PathBuf {
        self.path.join(DATA_FILE)
    }
}

/// An I/O error with its place, sorted into what the caller can do about it.
pub fn failed(operation: &'static str, path: &Path, error: &io::Error) -> Error {
    let reason = format!("{}: {error}", path.display());
    if is_full(error) { Error::Full { operation, reason } } else { Error::Broken { operation, reason } }
}

/// Whether there is no room: the disk, a quota, or a limit on the size of files.
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// Makes the names in this folder (created, renamed, removed) survive a power cut.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Removes a file that may not be there.
pub fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_locked_once_and_again_after_its_release() {
        let place = tempfile::tempdir().unwrap();
        let held = Folder::lock(place.path()).unwrap();
        assert!(matches!(Folder::lock(place.path()), Err(Error::Misuse { .. })));
        drop(held);
        Folder::lock(place.path()).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error_with_its_path() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Folder::lock(&file.join("store")).unwrap_err();
        assert!(error.to_string().contains("file/store"), "{error}");
    }

    #[test]
    fn a_full_disk_is_told_from_a_broken_one() {
        let full = failed("write", Path::new("/x"), &io::Error::from(io::ErrorKind::StorageFull));
        let broken = failed("write", Path::new("/x"), &io::Error::from(io::ErrorKind::InvalidData));
        assert!(matches!(full, Error::Full { .. }));
        assert!(matches!(broken, Error::Broken { .. }));
    }
}
