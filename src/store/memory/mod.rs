//! The engine without a disk: for tests, and for the simulation, which needs a store that can die in
//! every way a real one can.
//!
//! Every commit is kept as a free copy (`tree`), the last few of them for longer, so that the simulation can ask
//! for the two ends a process comes to:
//! - killed ([`Memory::restarted`]): the page cache survives, and with it every commit; an open batch does not;
//! - power cut ([`Memory::after_power_cut`]): some commit since the last sync, which one is up to luck. The
//!   real engine may also come back torn, which nobody can model usefully: after a power cut the start must
//!   distrust the store, and a simulation may hand it any of these states to see whether it does.

mod tree;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use self::tree::Tree;
use super::engine::{Batch, Engine, Error, KEY_BYTES_MAX, Read, Space};
use super::folder;

/// Commits since the last sync that a power cut can lead back to; older ones count as written back.
pub const COMMITS_KEPT_MAX: usize = 64;

const COPY_MAGIC: &[u8; 8] = b"pjmemory";

/// See the module.
#[derive(Debug, Default)]
pub struct Memory {
    history: Mutex<History>,
    batch_open: AtomicBool,
    fault: Mutex<Option<Fault>>,
}

/// What may become of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No room.
    Full,
    Broken,
    /// It is done, and whoever asked for it hears that it failed.
    Unheard,
}

impl Fault {
    fn error(self) -> Error {
        let (operation, reason) = ("commit", "planned".to_owned());
        match self {
            Fault::Full => Error::Full { operation, reason },
            Fault::Broken | Fault::Unheard => Error::Broken { operation, reason },
        }
    }
}

#[derive(Clone, Debug, Default)]
struct History {
    last: State,
    /// What a power cut may lead back to, oldest first; the last commit itself is not among them.
    older: VecDeque<State>,
}

/// One committed state of all four spaces. Cloning is free.
#[derive(Clone, Debug, Default)]
pub struct State {
    spaces: [Tree; Space::ALL.len()],
}

impl Memory {
    pub fn new() -> Memory {
        Memory::default()
    }

    /// The store that a start after kill -9 finds.
    pub fn restarted(&self) -> Memory {
        Memory { history: Mutex::new(self.history().clone()), ..Memory::default() }
    }

    /// A store that a start after a power cut may find: one of the commits since the last sync, which one
    /// is drawn by `random`.
    pub fn after_power_cut(&self, random: u64) -> Memory {
        let history = self.history();
        let drawn = (random % (history.older.len() as u64 + 1)) as usize;
        Memory::from_state(history.older.get(drawn).unwrap_or(&history.last).clone())
    }

    /// The last commit, as a checkpoint that needs no file.
    pub fn state(&self) -> State {
        self.history().last.clone()
    }

    /// A store that begins with this state, synced.
    pub fn from_state(state: State) -> Memory {
        let history = History { last: state, older: VecDeque::new() };
        Memory { history: Mutex::new(history), ..Memory::default() }
    }

    /// Reads a file that [`Engine::copy_to`] wrote.
    pub fn open_copy(path: &Path) -> Result<Memory, Error> {
        const OPERATION: &str = "read a copy";
        let bytes = fs::read(path).map_err(|error| folder::failed(OPERATION, path, &error))?;
        let state = State::decode(&bytes).ok_or_else(|| Error::Broken {
            operation: OPERATION,
            reason: format!("{}: cut short or not a copy", path.display()),
        })?;
        Ok(Memory::from_state(state))
    }

    /// The next commit fails.
    pub fn fail_next_commit(&self, fault: Fault) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
    }

    fn history(&self) -> MutexGuard<'_, History> {
        // Every change under the lock is a single assignment or push: a panic leaves nothing half done.
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Space, key length and value length (little-endian), key, value; for every key.
    fn encode(&self, out: &mut impl Write) -> std::io::Result<()> {
        out.write_all(COPY_MAGIC)?;
        for (space, tree) in self.spaces.iter().enumerate() {
            let mut written = Ok(());
            tree.scan(&[], false, &mut |key, value| {
                written = encode_pair(out, space as u8, key, value);
                if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            written?;
        }
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Option<State> {
        let mut rest = bytes.strip_prefix(COPY_MAGIC)?;
        let mut state = State::default();
        while !rest.is_empty() {
            let (head, behind) = rest.split_first_chunk::<9>()?;
            let [space, k0, k1, k2, k3, v0, v1, v2, v3] = *head;
            let (key, behind) = behind.split_at_checked(u32::from_le_bytes([k0, k1, k2, k3]) as usize)?;
            let (value, behind) = behind.split_at_checked(u32::from_le_bytes([v0, v1, v2, v3]) as usize)?;
            state.spaces.get_mut(space as usize)?.put(key, value);
            rest = behind;
        }
        Some(state)
    }
}

fn encode_pair(out: &mut impl Write, space: u8, key: &[u8], value: &[u8]) -> std::io::Result<()> {
    out.write_all(&[space])?;
    out.write_all(&(key.len() as u32).to_le_bytes())?;
    out.write_all(&(value.len() as u32).to_le_bytes())?;
    out.write_all(key)?;
    out.write_all(value)
}

impl Read for State {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<&[u8]>, Error> {
        Ok(self.spaces[space as usize].get(key))
    }

    fn scan<'a>(
        &'a self,
        space: Space,
        prefix: &[u8],
        after: Option<&[u8]>,
        visit: &mut dyn FnMut(&'a [u8], &'a [u8]) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let (from, exclusive) = match after {
            Some(after) if after >= prefix => (after, true),
            _ => (prefix, false),
        };
        self.spaces[space as usize].scan(from, exclusive, &mut |key, value| {
            if key.starts_with(prefix) { visit(key, value) } else { ControlFlow::Break(()) }
        });
        Ok(())
    }

    fn count(&self, space: Space) -> Result<u64, Error> {
        Ok(self.spaces[space as usize].count())
    }
}

/// See [`Engine::batch`].
pub struct WriteBatch<'e> {
    state: State,
    memory: &'e Memory,
    /// As with the real engine, so that nothing is written against this one that it would refuse.
    _on_its_thread: PhantomData<*const ()>,
}

impl Drop for WriteBatch<'_> {
    fn drop(&mut self) {
        self.memory.batch_open.store(false, Ordering::Release);
    }
}

impl Read for WriteBatch<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<&[u8]>, Error> {
        self.state.get(space, key)
    }

    fn scan<'a>(
        &'a self,
        space: Space,
        prefix: &[u8],
        after: Option<&[u8]>,
        visit: &mut dyn FnMut(&'a [u8], &'a [u8]) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        self.state.scan(space, prefix, after, visit)
    }

    fn count(&self, space: Space) -> Result<u64, Error> {
        self.state.count(space)
    }
}

impl Batch for WriteBatch<'_> {
    fn put(&mut self, space: Space, key: &[u8], value: &[u8]) -> Result<(), Error> {
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(Error::Misuse {
                operation: "put",
                reason: format!("a key of {} bytes; keys have 1 to {KEY_BYTES_MAX}", key.len()),
            });
        }
        self.state.spaces[space as usize].put(key, value);
        Ok(())
    }

    fn delete(&mut self, space: Space, key: &[u8]) -> Result<bool, Error> {
        Ok(self.state.spaces[space as usize].delete(key))
    }

    fn commit(mut self) -> Result<(), Error> {
        let fault = self.memory.fault.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(fault) = fault.filter(|fault| *fault != Fault::Unheard) {
            return Err(fault.error());
        }
        let mut history = self.memory.history();
        let before = std::mem::replace(&mut history.last, std::mem::take(&mut self.state));
        if history.older.len() == COMMITS_KEPT_MAX {
            history.older.pop_front();
        }
        history.older.push_back(before);
        fault.map_or(Ok(()), |fault| Err(fault.error()))
    }
}

impl Engine for Memory {
    type View<'a> = State;
    type Batch<'a> = WriteBatch<'a>;

    fn view(&self) -> Result<State, Error> {
        Ok(self.state())
    }

    fn batch(&self) -> Result<WriteBatch<'_>, Error> {
        if self.batch_open.swap(true, Ordering::Acquire) {
            return Err(Error::Misuse {
                operation: "begin a batch",
                reason: "another batch is open; there is one writer (rule 26)".to_owned(),
            });
        }
        Ok(WriteBatch { state: self.state(), memory: self, _on_its_thread: PhantomData })
    }

    fn sync(&self) -> Result<(), Error> {
        self.history().older.clear();
        Ok(())
    }

    fn copy_to(&self, path: &Path) -> Result<(), Error> {
        let state = self.state();
        let write = || {
            let mut out = BufWriter::new(File::create(path)?);
            state.encode(&mut out)?;
            out.into_inner()?.sync_all()?;
            path.parent().map_or(Ok(()), folder::sync_folder)
        };
        write().map_err(|error| {
            // The copy's own error is the one to tell; a leftover is overwritten by the next attempt.
            fs::remove_file(path).ok();
            folder::failed("copy the store", path, &error)
        })
    }

    fn size_bytes(&self) -> Result<u64, Error> {
        let mut bytes = 0;
        for tree in &self.state().spaces {
            tree.scan(&[], false, &mut |key, value| {
                bytes += (key.len() + value.len()) as u64;
                ControlFlow::Continue(())
            });
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(memory: &Memory, key: &[u8], value: &[u8]) {
        let mut batch = memory.batch().unwrap();
        batch.put(Space::Rows, key, value).unwrap();
        batch.commit().unwrap();
    }

    fn value(memory: &Memory) -> Option<Vec<u8>> {
        memory.view().unwrap().get(Space::Rows, b"k").unwrap().map(<[u8]>::to_vec)
    }

    #[test]
    fn a_killed_process_finds_its_last_commit_and_nothing_of_the_open_batch() {
        let memory = Memory::new();
        put(&memory, b"k", b"committed");
        let mut open = memory.batch().unwrap();
        open.put(Space::Rows, b"k", b"open").unwrap();
        let restarted = memory.restarted();
        assert_eq!(value(&restarted).as_deref(), Some(b"committed".as_slice()));
        // The open batch died with the process: the new one may begin its own.
        put(&restarted, b"k", b"later");
    }

    #[test]
    fn a_power_cut_leads_back_to_any_commit_since_the_last_sync_and_to_no_older_one() {
        let memory = Memory::new();
        put(&memory, b"k", b"0");
        memory.sync().unwrap();
        put(&memory, b"k", b"1");
        put(&memory, b"k", b"2");
        let mut seen: Vec<_> = (0..3).map(|random| value(&memory.after_power_cut(random)).unwrap()).collect();
        seen.sort();
        assert_eq!(seen, [b"0", b"1", b"2"]);
    }

    #[test]
    fn the_commits_that_are_kept_are_bounded() {
        let memory = Memory::new();
        for number in 0..200u8 {
            put(&memory, b"k", &[number]);
        }
        assert_eq!(memory.history().older.len(), COMMITS_KEPT_MAX);
    }

    #[test]
    fn a_copy_that_was_cut_short_anywhere_is_refused_or_ends_between_two_keys() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("copy");
        let memory = Memory::new();
        put(&memory, b"k", b"value");
        memory.copy_to(&path).unwrap();
        let whole = fs::read(&path).unwrap();
        for end in (0..whole.len()).filter(|end| *end != COPY_MAGIC.len()) {
            fs::write(&path, &whole[..end]).unwrap();
            assert!(Memory::open_copy(&path).is_err(), "{end}");
        }
    }
}
