//! What is on the disk for certain.

use super::MemoryFiles;

impl MemoryFiles {
    /// The folder as a power cut leaves it that loses everything not synced.
    pub fn durable(&self) -> MemoryFiles {
        let left = MemoryFiles::new();
        let disk = self.disk();
        for (name, inode) in &disk.durable_names {
            left.put(name, disk.inodes.get(inode).map_or_else(Vec::new, |inode| inode.durable.clone()));
        }
        left
    }
}
