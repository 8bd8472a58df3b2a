//! A disk that is soon full.

use std::path::Path;
use std::process::Command;

use super::process;

/// A tmpfs of a few megabytes; unmounted when dropped.
pub struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// Of 32 MiB. Nothing where it cannot be mounted: only root can.
    pub fn mount() -> Option<SmallDisk> {
        let folder = super::private_folder("disk");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", "size=32m", "tmpfs"]).arg(folder.path());
        let mounted = process::is_root() && command.output().is_ok_and(|output| output.status.success());
        mounted.then_some(SmallDisk(folder))
    }

    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    /// So large that this much more goes onto it.
    pub fn leave(&self, mebibytes: u64) {
        let mut command = Command::new("df");
        let said = process::run(command.args(["--output=used", "-k"]).arg(self.0.path()));
        let used: u64 =
            said.split_whitespace().last().and_then(|used| used.parse().ok()).expect("df says it");
        self.resize(&format!("{}k", used + mebibytes * 1024));
    }

    /// `size` as mount(8) writes it.
    pub fn resize(&self, size: &str) {
        process::run(Command::new("mount").args(["-o", &format!("remount,size={size}")]).arg(self.0.path()));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a daemon that is being killed may still hold files of it.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}
