//! A folder in memory that is nastier than a disk, for tests and the simulation.
//!
//! Nothing here outlives the process. What was not synced is lost at [`MemoryFiles::crash`], wholly, in part, or
//! out of order, and so are names whose folder was not synced. A sync can fail, and then lie for ever after; the
//! disk can be full; the power can go at any operation; bits can flip. Everything random comes from a given seed.

mod durable;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::files::{File, Files};

/// A disk's sector: writes are torn at multiples of this, or at any byte.
const SECTOR_BYTES: usize = 512;

/// See the module. Clones are the same folder.
#[derive(Clone, Default)]
pub struct MemoryFiles {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Default)]
struct Disk {
    /// Names as the running process sees them.
    names: BTreeMap<String, u64>,
    /// Names that survive a crash for certain.
    durable_names: BTreeMap<String, u64>,
    renamed: Vec<Renamed>,
    inodes: HashMap<u64, Inode>,
    last_inode: u64,
    /// Grows with each crash: files opened before it are of no use any more.
    life: u64,
    /// Bytes that all files may take together.
    capacity: Option<u64>,
    /// Operations until the power goes.
    power: Option<u64>,
    fail_sync: bool,
}

/// A change of names that the folder's sync makes durable.
#[derive(Clone)]
struct Renamed {
    removed: Option<String>,
    added: Option<(String, u64)>,
}

#[derive(Default)]
struct Inode {
    content: Vec<u8>,
    /// What survives a crash for certain; `pending` is what may.
    durable: Vec<u8>,
    pending: Vec<Change>,
    /// A sync failed: the pages count as clean, and no later sync keeps anything.
    lying: bool,
}

#[derive(Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Change::Write { offset, bytes } => {
                content.resize(content.len().max(offset + bytes.len()), 0);
                content[*offset..offset + bytes.len()].copy_from_slice(bytes);
            }
            Change::Length(length) => content.resize(*length, 0),
        }
    }

    /// What a crash makes of it when it came to the disk only in part.
    fn torn(&self, random: &mut fastrand::Rng) -> Vec<Change> {
        let Change::Write { offset, bytes } = self else { return Vec::new() };
        match random.u8(..3) {
            // Any prefix.
            0 => {
                let kept = random.usize(..=bytes.len());
                vec![Change::Write { offset: *offset, bytes: bytes[..kept].to_vec() }]
            }
            // Some of its sectors, in any order; the file is as long as if all had been kept.
            1 => {
                let mut kept = vec![Change::Write { offset: offset + bytes.len(), bytes: Vec::new() }];
                for (at, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
                    if random.bool() {
                        let offset = offset + at * SECTOR_BYTES;
                        kept.push(Change::Write { offset, bytes: sector.to_vec() });
                    }
                }
                kept
            }
            // One piece in the middle is missing.
            _ => {
                let from = random.usize(..=bytes.len());
                let to = random.usize(from..=bytes.len());
                vec![
                    Change::Write { offset: *offset, bytes: bytes[..from].to_vec() },
                    Change::Write { offset: offset + to, bytes: bytes[to..].to_vec() },
                ]
            }
        }
    }
}

impl Inode {
    fn crash(&mut self, random: &mut fastrand::Rng) {
        let pending = std::mem::take(&mut self.pending);
        let how = random.u8(..5);
        let kept = random.usize(..=pending.len());
        for (at, change) in pending.iter().enumerate() {
            let whole = match how {
                0 => break,
                1 => true,
                // A prefix; the next one is torn.
                2 if at > kept => break,
                2 => at < kept,
                // Any of them, in order of writing or not.
                3 => random.bool(),
                _ => false,
            };
            if whole {
                change.apply(&mut self.durable);
            } else if how != 3 || random.bool() {
                for part in change.torn(random) {
                    part.apply(&mut self.durable);
                }
            }
        }
        self.content.clone_from(&self.durable);
        self.lying = false;
    }
}

impl Renamed {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        if let Some(name) = &self.removed {
            names.remove(name);
        }
        if let Some((name, inode)) = &self.added {
            names.insert(name.clone(), *inode);
        }
    }
}

impl Disk {
    /// Every operation that changes something passes here.
    fn operate(&mut self) -> io::Result<()> {
        match &mut self.power {
            Some(0) => Err(io::Error::other("the power is gone")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn inode(&self, name: &str) -> io::Result<u64> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rename(&mut self, renamed: Renamed) {
        renamed.apply(&mut self.names);
        self.renamed.push(renamed);
    }

    fn used(&self) -> u64 {
        self.names.values().filter_map(|inode| self.inodes.get(inode)).map(|i| i.content.len() as u64).sum()
    }
}

impl MemoryFiles {
    pub fn new() -> MemoryFiles {
        MemoryFiles::default()
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A power cut: what was not synced is lost, as the seed decides. Open files are of no use any more.
    pub fn crash(&self, seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut disk = self.disk();
        let disk = &mut *disk;
        let renamed = std::mem::take(&mut disk.renamed);
        let how = random.usize(..4);
        let kept = random.usize(..=renamed.len());
        for (at, renamed) in renamed.iter().enumerate() {
            // Nothing, everything, a prefix, or any of them.
            if [false, true, at < kept, random.bool()][how] {
                renamed.apply(&mut disk.durable_names);
            }
        }
        disk.names = disk.durable_names.clone();
        let names = &disk.names;
        disk.inodes.retain(|inode, _| names.values().any(|named| named == inode));
        let mut inodes: Vec<_> = disk.inodes.iter_mut().collect();
        inodes.sort_unstable_by_key(|(inode, _)| **inode); // the order of a map is not the seed's
        for (_, inode) in inodes {
            inode.crash(&mut random);
        }
        disk.life += 1;
        disk.power = None;
        disk.fail_sync = false;
    }

    /// The power goes after so many more changing operations: each later one fails until
    /// [`MemoryFiles::crash`].
    pub fn cut_power_after(&self, operations: u64) {
        self.disk().power = Some(operations);
    }

    /// The next sync of a file fails; from then on that file's syncs succeed and keep nothing.
    pub fn fail_next_sync(&self) {
        self.disk().fail_sync = true;
    }

    /// All files together may take so many bytes; nothing for no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.disk().capacity = bytes;
    }

    /// Flips one bit of a file, on the disk and in the page cache. Nothing happens behind the file's end.
    pub fn flip(&self, name: &str, offset: u64, bit: u8) {
        let mut disk = self.disk();
        let inode = disk.names.get(name).copied().unwrap_or_default();
        if let Some(inode) = disk.inodes.get_mut(&inode) {
            for byte in [&mut inode.content, &mut inode.durable].map(|bytes| bytes.get_mut(offset as usize)) {
                byte.into_iter().for_each(|byte| *byte ^= 1 << (bit % 8));
            }
        }
    }

    /// A file's bytes as the running process sees them.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let disk = self.disk();
        disk.names.get(name).and_then(|inode| disk.inodes.get(inode)).map(|inode| inode.content.clone())
    }

    /// Puts a file in place, durably.
    pub fn put(&self, name: &str, content: Vec<u8>) {
        let mut disk = self.disk();
        let number = disk.last_inode + 1;
        disk.last_inode = number;
        disk.inodes.insert(number, Inode { durable: content.clone(), content, ..Inode::default() });
        disk.names.insert(name.to_owned(), number);
        disk.durable_names.insert(name.to_owned(), number);
    }

    /// A folder of its own with the same content; everything in it is durable.
    pub fn copy(&self) -> MemoryFiles {
        let copy = MemoryFiles::new();
        let names = self.list().unwrap_or_default();
        names.iter().for_each(|name| copy.put(name, self.content(name).unwrap_or_default()));
        copy
    }

    fn handle(&self, inode: u64, life: u64) -> Box<dyn File> {
        Box::new(MemoryFile { files: self.clone(), inode, life })
    }
}

impl Files for MemoryFiles {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.disk().names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut disk = self.disk();
        disk.operate()?;
        if disk.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        disk.last_inode += 1;
        let inode = disk.last_inode;
        disk.inodes.insert(inode, Inode::default());
        disk.rename(Renamed { removed: None, added: Some((name.to_owned(), inode)) });
        Ok(self.handle(inode, disk.life))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let disk = self.disk();
        Ok(self.handle(disk.inode(name)?, disk.life))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.operate()?;
        let inode = disk.inode(from)?;
        disk.rename(Renamed { removed: Some(from.to_owned()), added: Some((to.to_owned(), inode)) });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.operate()?;
        disk.inode(name)?;
        disk.rename(Renamed { removed: Some(name.to_owned()), added: None });
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut disk = self.disk();
        disk.operate()?;
        disk.durable_names = disk.names.clone();
        disk.renamed.clear();
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let disk = self.disk();
        Ok(disk.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(disk.used())))
    }
}

struct MemoryFile {
    files: MemoryFiles,
    inode: u64,
    life: u64,
}

impl MemoryFile {
    fn with<T>(&self, work: impl FnOnce(&mut Disk, u64) -> io::Result<T>) -> io::Result<T> {
        let mut disk = self.files.disk();
        if disk.life != self.life || !disk.inodes.contains_key(&self.inode) {
            return Err(io::Error::other("opened before the crash"));
        }
        work(&mut disk, self.inode)
    }

    fn change(&self, change: Change) -> io::Result<()> {
        self.with(|disk, inode| {
            disk.operate()?;
            let Some(inode) = disk.inodes.get_mut(&inode) else { return Ok(()) };
            change.apply(&mut inode.content);
            inode.pending.push(change);
            Ok(())
        })
    }
}

impl File for MemoryFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let room = self.with(|disk, inode| {
            let length = disk.inodes.get(&inode).map_or(0, |inode| inode.content.len()) as u64;
            Ok(disk.capacity.map(|capacity| {
                // Overwriting takes no room.
                let free = capacity.saturating_sub(disk.used());
                usize::try_from((length + free).saturating_sub(offset)).unwrap_or(usize::MAX)
            }))
        })?;
        let fits = room.unwrap_or(usize::MAX).min(bytes.len());
        self.change(Change::Write { offset: offset as usize, bytes: bytes[..fits].to_vec() })?;
        if fits < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.with(|disk, inode| {
            let content = disk.inodes.get(&inode).map_or(&[][..], |inode| &inode.content);
            let rest = content.get(offset as usize..).unwrap_or_default();
            let read = rest.len().min(buffer.len());
            buffer[..read].copy_from_slice(&rest[..read]);
            Ok(read)
        })
    }

    fn length(&self) -> io::Result<u64> {
        self.with(|disk, inode| Ok(disk.inodes.get(&inode).map_or(0, |inode| inode.content.len()) as u64))
    }

    fn set_length(&mut self, length: u64) -> io::Result<()> {
        self.change(Change::Length(length as usize))
    }

    fn sync(&mut self) -> io::Result<()> {
        self.with(|disk, inode| {
            disk.operate()?;
            let fail = std::mem::take(&mut disk.fail_sync);
            let Some(inode) = disk.inodes.get_mut(&inode) else { return Ok(()) };
            if fail {
                inode.lying = true;
                return Err(io::Error::other("the device says no"));
            }
            if !inode.lying {
                for change in std::mem::take(&mut inode.pending) {
                    change.apply(&mut inode.durable);
                }
            }
            Ok(())
        })
    }
}
