//! Looking at a journal without its lock: beside a running daemon, or where none runs.
//!
//! Nothing is written, nothing mended. An entry that is not whole ends the look: a torn tail, or one that is
//! being written just now. What the last entries say may be taken back by the next start (rule 5); who must
//! know what is durable asks the daemon.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};

use super::entry::{Commit, Kind, Position, Record};
use super::error::Error;
use super::read::failed;
use super::segment::{self, Header, Parsed};
use crate::model::{EntryNo, Lsn};

/// Read from disk at once.
const BLOCK_BYTES: usize = 1 << 20;

/// A segment's file as it lies there.
#[derive(Clone, Debug)]
pub struct Segment {
    pub path: PathBuf,
    /// The entry that it begins with.
    pub first: EntryNo,
    pub bytes: u64,
    /// Seconds since 1970 of the last write to it, by this machine's clock.
    pub written_unix_s: u64,
}

/// All segments in their order; none where there is no journal.
pub fn segments(folder: &Path) -> Result<Vec<Segment>, Error> {
    let list = match fs::read_dir(folder) {
        Ok(list) => list,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed("list", &folder.display().to_string(), source)),
    };
    let mut segments = Vec::new();
    for entry in list {
        let entry = entry.map_err(|source| failed("list", &folder.display().to_string(), source))?;
        let Some(first) = entry.file_name().to_str().and_then(segment::first_of_name) else { continue };
        // Retention may have removed it since.
        let Ok(metadata) = entry.metadata() else { continue };
        let written = metadata.modified().unwrap_or(UNIX_EPOCH);
        segments.push(Segment {
            path: entry.path(),
            first,
            bytes: metadata.len(),
            written_unix_s: written.duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs()),
        });
    }
    segments.sort_by_key(|segment| segment.first);
    Ok(segments)
}

impl Segment {
    /// The file's name, without its folder.
    pub fn name(&self) -> String {
        segment::name(self.first)
    }

    /// Seconds since the last write to it.
    pub fn age_s(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        now.saturating_sub(self.written_unix_s)
    }
}

/// What comes next in a segment.
#[derive(Debug)]
pub enum Next {
    Entry(Record),
    End,
    /// Behind the last whole entry is something that is none.
    Torn(Torn),
}

/// See [`Next::Torn`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    pub file: String,
    pub offset: u64,
    /// Bytes from there to the end of the file.
    pub bytes: u64,
    pub reason: &'static str,
}

/// Reads one segment from its beginning.
pub struct Look {
    /// What was in force in front of the first entry: Facts, Intent, Connected, and under
    /// [`Kind::TransactionPart`] the Relation messages.
    pub head: Vec<(Kind, Bytes)>,
    name: String,
    file: File,
    offset: u64,
    expected: EntryNo,
    block: Bytes,
}

impl Look {
    /// Opens a segment; nothing when its file is gone meanwhile.
    pub fn open(segment: &Segment) -> Result<Option<Look>, Error> {
        let name = segment.name();
        let file = match File::open(&segment.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed("open", &name, source)),
        };
        let header = Header::read(&name, |offset, length| {
            let there = file.metadata().map_err(|source| failed("read", &name, source))?.len();
            read(&file, &name, offset, length.min(usize::try_from(there).unwrap_or(usize::MAX)))
        })?;
        Ok(Some(Look {
            head: header.head,
            name,
            file,
            offset: header.size_bytes,
            expected: header.first,
            block: Bytes::new(),
        }))
    }

    /// The next entry of this segment.
    pub fn entry(&mut self) -> Result<Next, Error> {
        loop {
            match segment::parse(&self.block) {
                Parsed::Entry { record, .. } if record.number == self.expected => {
                    let size = segment::size_of(&record);
                    self.offset += size;
                    self.expected = record.number.next();
                    let _ = self.block.split_to(size as usize); // it was parsed from so many bytes
                    return Ok(Next::Entry(record));
                }
                Parsed::Entry { .. } => return self.torn("an entry with another number"),
                Parsed::Needs(bytes) => {
                    let wanted = bytes.max(BLOCK_BYTES);
                    let block = read(&self.file, &self.name, self.offset, wanted)?;
                    if block.is_empty() {
                        return Ok(Next::End);
                    }
                    let short = block.len() < bytes;
                    self.block = block.into();
                    if short {
                        return self.torn("an entry cut short");
                    }
                }
                Parsed::Bad(reason) => return self.torn(reason),
            }
        }
    }

    fn torn(&self, reason: &'static str) -> Result<Next, Error> {
        let length = self.file.metadata().map_err(|source| failed("read", &self.name, source))?.len();
        let bytes = length.saturating_sub(self.offset);
        Ok(Next::Torn(Torn { file: self.name.clone(), offset: self.offset, bytes, reason }))
    }
}

fn read(file: &File, name: &str, offset: u64, length: usize) -> Result<Vec<u8>, Error> {
    let mut block = BytesMut::zeroed(length);
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut block[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(source) => return Err(failed("read", name, source)),
        }
    }
    block.truncate(filled);
    Ok(block.into())
}

/// What the journal's last entries say, as [`super::Recovered`] would find it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Payloads of the last Facts and Connected entries.
    pub facts: Option<Bytes>,
    pub connected: Option<Bytes>,
    /// Where streaming would go on.
    pub end_lsn: Option<Lsn>,
}

/// Reads the newest segment, and older ones as far as the position is not found.
pub fn state(folder: &Path) -> Result<State, Error> {
    let mut state = State::default();
    for segment in segments(folder)?.iter().rev() {
        let Some(mut look) = Look::open(segment)? else { continue };
        let mut here = State::default();
        for (kind, payload) in &look.head {
            here.take(*kind, payload);
        }
        while let Next::Entry(record) = look.entry()? {
            here.take(record.kind, &record.payload);
        }
        state = State {
            facts: state.facts.or(here.facts),
            connected: state.connected.or(here.connected),
            end_lsn: state.end_lsn.or(here.end_lsn),
        };
        if state.end_lsn.is_some() {
            break;
        }
    }
    Ok(state)
}

impl State {
    fn take(&mut self, kind: Kind, payload: &Bytes) {
        // A slice would keep its whole block in memory.
        let copy = || Some(Bytes::copy_from_slice(payload));
        match kind {
            Kind::Facts => self.facts = copy(),
            Kind::Connected => self.connected = copy(),
            Kind::Position => {
                let position: Option<Position> = serde_json::from_slice(payload).ok();
                self.end_lsn = position.map(|position| position.lsn).or(self.end_lsn);
            }
            Kind::Rebuild => {
                let position: Option<Position> = serde_json::from_slice(payload).ok();
                self.end_lsn = position.map(|position| position.lsn).or(self.end_lsn);
                self.connected = None;
            }
            Kind::Transaction => {
                let commit = Commit::decode(payload).ok();
                self.end_lsn = commit.map(|(commit, _)| commit.end).or(self.end_lsn);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write;
    use std::sync::Arc;

    use super::*;
    use crate::journal::files::RealFiles;
    use crate::journal::{Journal, Options};

    const ID: &str = "0123456789abcdef0123456789abcdef";

    fn journal(folder: &Path) -> Journal {
        let files = Arc::new(RealFiles::open(folder.to_owned()).unwrap());
        let options = Options { segment_bytes: 300, ..Options::default() };
        Journal::open(files, options, ID, 0).unwrap().0
    }

    fn numbers(folder: &Path) -> (Vec<u64>, Option<Torn>) {
        let mut numbers = Vec::new();
        for segment in segments(folder).unwrap() {
            let mut look = Look::open(&segment).unwrap().unwrap();
            loop {
                match look.entry().unwrap() {
                    Next::Entry(record) => numbers.push(record.number.0),
                    Next::End => break,
                    Next::Torn(torn) => return (numbers, Some(torn)),
                }
            }
        }
        (numbers, None)
    }

    #[test]
    fn entries_of_all_segments_are_seen_beside_the_one_who_writes_them() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(numbers(&folder.path().join("nothing")), (vec![], None));
        assert_eq!(state(&folder.path().join("nothing")).unwrap(), State::default());
        let mut journal = journal(folder.path());
        let position = |lsn| serde_json::to_vec(&Position { lsn: Lsn(lsn) }).unwrap();
        journal.append(Kind::Position, &[&position(7)]).unwrap();
        for _ in 0..20 {
            journal.append(Kind::Chunk, &[&[b'x'; 50]]).unwrap();
            journal.sync().unwrap();
        }
        journal.append(Kind::Facts, &[b"{}"]).unwrap(); // not synced, so not written
        assert_eq!(numbers(folder.path()), ((1..=21).collect(), None));
        assert!(segments(folder.path()).unwrap().len() > 2);
        let found = state(folder.path()).unwrap();
        assert_eq!((found.end_lsn, found.facts), (Some(Lsn(7)), None));
    }

    #[test]
    fn a_torn_tail_is_told_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = journal(folder.path());
        journal.append(Kind::Intent, &[b"{}"]).unwrap();
        journal.sync().unwrap();
        let path = folder.path().join(segment::name(EntryNo(1)));
        let whole = fs::metadata(&path).unwrap().len();
        for tail in [&[0xFF; 5][..], &[0; 40], &[0xFF; 400]] {
            OpenOptions::new().append(true).open(&path).unwrap().write_all(tail).unwrap();
            let (seen, torn) = numbers(folder.path());
            let torn = torn.unwrap();
            assert_eq!((seen, torn.offset, torn.bytes), (vec![1], whole, tail.len() as u64));
            assert_eq!(fs::metadata(&path).unwrap().len(), whole + tail.len() as u64);
            OpenOptions::new().write(true).open(&path).unwrap().set_len(whole).unwrap();
        }
    }
}
