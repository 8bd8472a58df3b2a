//! What the machine says about itself and about a file: the facts that trust is founded on (rule 31).
//!
//! Handed in by a trait, so that a test can pretend a reboot, a restored volume or a network file system.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Which file it is. A copy of it is another one, and so is what takes its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub device: u64,
    pub inode: u64,
    /// When the file was created, nanoseconds since 1970; nothing where the file system does not keep it.
    pub birth_ns: Option<u64>,
    pub size_bytes: u64,
}

/// What kind of file system a folder lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// Its pages live in this kernel's cache and nowhere else, so that they outlive a killed process.
    Local,
    /// A network, a user-space or an unknown one, by `statfs`'s type number.
    Other(u64),
}

/// See the module.
pub trait Host: Send + Sync {
    /// One per boot of the kernel; nothing where there is no such thing.
    fn boot_id(&self) -> Option<String>;

    fn file_system(&self, path: &Path) -> io::Result<FileSystem>;

    /// Nothing when there is no such file.
    fn identity(&self, file: &Path) -> io::Result<Option<Identity>>;

    /// Seconds since 1970, for people who read a note. Nothing is decided by it.
    fn unix_seconds(&self) -> u64;
}

/// The machine that we run on.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThisHost;

/// File systems of the kernel itself, over block devices or memory (statfs(2), `f_type`). Whatever is not
/// here is not trusted after a crash, only after a clean close: that costs time and never truth.
const LOCAL: [u64; 11] = [
    0xEF53,      // ext2, ext3, ext4
    0x5846_5342, // XFS
    0x9123_683E, // btrfs
    0x0102_1994, // tmpfs
    0x794C_7630, // overlayfs: containers
    0x2FC1_2FC1, // ZFS
    0xF2F5_2010, // F2FS
    0xCA45_1A4E, // bcachefs
    0x3153_464A, // JFS
    0x5265_4973, // ReiserFS
    0x8584_58F6, // ramfs
];

impl Host for ThisHost {
    fn boot_id(&self) -> Option<String> {
        let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let id = text.trim();
        (!id.is_empty()).then(|| id.to_owned())
    }

    fn file_system(&self, path: &Path) -> io::Result<FileSystem> {
        let about = rustix::fs::statfs(path)?;
        // The field's type differs between machines; the number fits 32 bits, and sign extension is noise.
        let number = about.f_type as u64 & 0xFFFF_FFFF;
        Ok(if LOCAL.contains(&number) { FileSystem::Local } else { FileSystem::Other(number) })
    }

    fn identity(&self, file: &Path) -> io::Result<Option<Identity>> {
        let about = match fs::metadata(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let birth = about.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Ok(Some(Identity {
            device: about.dev(),
            inode: about.ino(),
            birth_ns: birth.and_then(|since| u64::try_from(since.as_nanos()).ok()),
            size_bytes: about.len(),
        }))
    }

    fn unix_seconds(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copied_and_renamed_file_is_another_one_and_a_written_one_the_same() {
        let place = tempfile::tempdir().unwrap();
        let (first, second) = (place.path().join("first"), place.path().join("second"));
        fs::write(&first, "one").unwrap();
        let before = ThisHost.identity(&first).unwrap().unwrap();
        fs::write(&first, "more").unwrap();
        let written = ThisHost.identity(&first).unwrap().unwrap();
        assert_eq!(written, Identity { size_bytes: 4, ..before });
        fs::copy(&first, &second).unwrap();
        fs::rename(&second, &first).unwrap();
        assert_ne!(ThisHost.identity(&first).unwrap().unwrap().inode, before.inode);
        assert_eq!(ThisHost.identity(&second).unwrap(), None);
    }

    #[test]
    fn proc_is_not_a_local_file_system_for_a_store() {
        assert!(matches!(ThisHost.file_system(Path::new("/proc")).unwrap(), FileSystem::Other(0x9FA0)));
    }

    #[test]
    fn the_boot_id_does_not_change_while_we_look() {
        assert_eq!(ThisHost.boot_id(), ThisHost.boot_id());
    }
}
