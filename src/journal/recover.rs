//! What is really there after the process ended, however it ended (rules 4, 5).
//!
//! The unsealed last segment is read up to its last good entry; what follows is a torn tail, and cut, unless
//! good entries follow it: then it is damage, and a refusal. Messages of a transaction whose commit is not
//! there are cut as well. What remains is copied into a new file, synced, and renamed into place: bytes that
//! read well now may be in the page cache alone, and only what was synced is believed.

use bytes::Bytes;

use super::entry::{Commit, Kind, Position, Record};
use super::error::Error;
use super::files::{File, Files};
use super::read::{failed, header, segments};
use super::segment::{self, Header, Parsed};
use crate::model::{EntryNo, Lsn};

const TEMPORARY: &str = "recover.tmp";
/// Where good entries are looked for behind a bad one: numbers further ahead are chance.
const NUMBERS_AHEAD_MAX: u64 = 1 << 24;

/// What the journal says when it is opened.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// The last entry; zero in a new journal.
    pub last: EntryNo,
    /// The position at which streaming goes on; nothing before there was one.
    pub end_lsn: Option<Lsn>,
    /// Payloads of the last Facts, Connected and Intent entries.
    pub facts: Option<Bytes>,
    pub connected: Option<Bytes>,
    pub intent: Option<Bytes>,
    /// Bytes cut off the end.
    pub cut_bytes: u64,
    pub(super) head: Vec<(Kind, Bytes)>,
}

/// One segment, read whole.
struct Scanned {
    header: Header,
    /// Behind the last entry that does not belong to an open transaction.
    complete_end: u64,
    complete_last: Option<EntryNo>,
    entries: u64,
    ends_open: bool,
    facts: Option<Bytes>,
    connected: Option<Bytes>,
    intent: Option<Bytes>,
    end_lsn: Option<Lsn>,
    length: u64,
}

/// Mends what can be mended and tells what is there.
pub(super) fn recover(files: &dyn Files, journal_id: &str) -> Result<Recovered, Error> {
    let names = files.list().map_err(|source| failed("list", "the journal", source))?;
    if names.iter().any(|name| name == TEMPORARY) {
        files.remove(TEMPORARY).map_err(|source| failed("remove", TEMPORARY, source))?;
    }
    let mut firsts = segments(files)?;
    let mut recovered = Recovered::default();
    while let Some(first) = firsts.pop() {
        let name = segment::name(first);
        let mut file = files.open(&name).map_err(|source| failed("open", &name, source))?;
        let scanned = match scan(&mut *file, &name, first, journal_id) {
            Ok(scanned) => scanned,
            // A crash while this segment was being made: entries come only after its header was synced.
            Err(Error::Damaged { offset: 0, .. }) if !firsts.is_empty() && is_young(&*file)? => {
                recovered.cut_bytes += file.length().map_err(|source| failed("read", &name, source))?;
                remove(files, &name)?;
                continue;
            }
            Err(error) => return Err(error),
        };
        // A segment that holds nothing but a transaction's parts goes; so does an empty one behind such.
        if scanned.complete_last.is_none()
            && let Some(before) = firsts.last()
            && (scanned.entries > 0 || ends_open(files, *before, journal_id)?)
        {
            recovered.cut_bytes += scanned.length - scanned.header.size_bytes;
            remove(files, &name)?;
            continue;
        }
        recovered.cut_bytes += scanned.length - scanned.complete_end;
        recovered.last = scanned.complete_last.unwrap_or(first.previous());
        settle_file(files, &*file, &name, scanned.complete_end)?;
        take(&mut recovered, &scanned);
        recovered.head = scanned.header.head;
        break;
    }
    // The position may stand further back: a segment can hold chunks alone.
    while recovered.end_lsn.is_none()
        && let Some(first) = firsts.pop()
    {
        let name = segment::name(first);
        let mut file = files.open(&name).map_err(|source| failed("open", &name, source))?;
        take(&mut recovered, &scan(&mut *file, &name, first, journal_id)?);
    }
    Ok(recovered)
}

fn take(recovered: &mut Recovered, scanned: &Scanned) {
    let or = |known: &mut Option<Bytes>, found: &Option<Bytes>| {
        if known.is_none() {
            known.clone_from(found);
        }
    };
    or(&mut recovered.facts, &scanned.facts);
    or(&mut recovered.connected, &scanned.connected);
    or(&mut recovered.intent, &scanned.intent);
    recovered.end_lsn = recovered.end_lsn.or(scanned.end_lsn);
}

fn remove(files: &dyn Files, name: &str) -> Result<(), Error> {
    files.remove(name).map_err(|source| failed("remove", name, source))?;
    files.sync_folder().map_err(|source| failed("sync", "the folder", source))
}

/// Whether a file with a bad header is one that was never finished: no entry can be in it.
fn is_young(file: &dyn File) -> Result<bool, Error> {
    let length = file.length().map_err(|source| failed("read", "a segment", source))?;
    let mut bytes = vec![0; length.min(4 << 20) as usize];
    let read = file.read_at(0, &mut bytes).map_err(|source| failed("read", "a segment", source))?;
    bytes.truncate(read);
    Ok(!entry_within(&Bytes::from(bytes), EntryNo::ZERO))
}

fn ends_open(files: &dyn Files, first: EntryNo, journal_id: &str) -> Result<bool, Error> {
    let name = segment::name(first);
    let mut file = files.open(&name).map_err(|source| failed("open", &name, source))?;
    Ok(scan(&mut *file, &name, first, journal_id)?.ends_open)
}

fn scan(file: &mut dyn File, name: &str, first: EntryNo, journal_id: &str) -> Result<Scanned, Error> {
    let header = header(file, name)?;
    if header.journal_id != journal_id {
        return Err(Error::Other {
            file: name.to_owned(),
            found: header.journal_id,
            expected: journal_id.to_owned(),
        });
    }
    if header.first != first {
        let reason = format!("its header says that it begins with entry {}", header.first);
        return Err(Error::Damaged { file: name.to_owned(), offset: 0, reason });
    }
    let length = file.length().map_err(|source| failed("read", name, source))?;
    let mut offset = header.size_bytes;
    let mut scanned = Scanned {
        complete_end: offset,
        complete_last: None,
        entries: 0,
        ends_open: false,
        facts: None,
        connected: None,
        intent: None,
        end_lsn: None,
        length,
        header,
    };
    for (kind, bytes) in &scanned.header.head {
        match kind {
            Kind::Facts => scanned.facts = Some(bytes.clone()),
            Kind::Connected => scanned.connected = Some(bytes.clone()),
            _ => {}
        }
    }
    let mut expected = first;
    let mut block = Bytes::new();
    while offset < length {
        let bad = match segment::parse(&block) {
            Parsed::Entry(record) if record.number == expected => {
                let size = segment::size_of(&record);
                let _ = block.split_to(size as usize);
                offset += size;
                expected = expected.next();
                scanned.entry(&record, offset);
                continue;
            }
            Parsed::Entry(_) => true,
            Parsed::Needs(bytes) => {
                let more = read_block(file, name, offset, bytes.max(1 << 20))?;
                let grew = more.len() > block.len();
                block = more;
                !grew || block.len() < bytes
            }
            Parsed::Bad(_) => true,
        };
        if bad {
            let rest = read_block(file, name, offset, (length - offset) as usize)?;
            if entry_within(&rest.slice(1.min(rest.len())..), expected) {
                return Err(Error::Damaged {
                    file: name.to_owned(),
                    offset,
                    reason: format!("entry {expected} is damaged and good entries follow it"),
                });
            }
            break;
        }
    }
    Ok(scanned)
}

impl Scanned {
    fn entry(&mut self, record: &Record, end: u64) {
        self.entries += 1;
        self.ends_open = record.kind == Kind::TransactionPart;
        if self.ends_open {
            return;
        }
        self.complete_end = end;
        self.complete_last = Some(record.number);
        // A slice would keep its whole block in memory.
        let copy = || Some(Bytes::copy_from_slice(&record.payload));
        match record.kind {
            Kind::Facts => self.facts = copy(),
            Kind::Connected => self.connected = copy(),
            Kind::Intent => self.intent = copy(),
            Kind::Position => {
                let position: Option<Position> = serde_json::from_slice(&record.payload).ok();
                self.end_lsn = position.map(|position| position.lsn).or(self.end_lsn);
            }
            Kind::Transaction => {
                let commit = Commit::decode(&record.payload).ok();
                self.end_lsn = commit.map(|(commit, _)| commit.end).or(self.end_lsn);
            }
            _ => {}
        }
    }
}

fn read_block(file: &dyn File, name: &str, offset: u64, length: usize) -> Result<Bytes, Error> {
    let mut block = vec![0; length];
    let read = file.read_at(offset, &mut block).map_err(|source| failed("read", name, source))?;
    block.truncate(read);
    Ok(Bytes::from(block))
}

/// Whether a good entry with a number from `from` on begins anywhere in these bytes.
fn entry_within(bytes: &Bytes, from: EntryNo) -> bool {
    let numbers = from.0..from.0.saturating_add(NUMBERS_AHEAD_MAX);
    (0..bytes.len().saturating_sub(segment::ENTRY_HEAD_BYTES - 1)).any(|at| {
        let number = bytes[at + 8..].first_chunk::<8>().map(|number| u64::from_le_bytes(*number));
        number.is_some_and(|number| number != 0 && numbers.contains(&number))
            && matches!(segment::parse(&bytes.slice(at..)), Parsed::Entry(_))
    })
}

/// Copies the good part of a segment, makes it durable, and puts it in the segment's place.
fn settle_file(files: &dyn Files, file: &dyn File, name: &str, end: u64) -> Result<(), Error> {
    let mut copy = files.create(TEMPORARY).map_err(|source| failed("create", TEMPORARY, source))?;
    let mut offset = 0;
    while offset < end {
        let block = read_block(file, name, offset, (end - offset).min(4 << 20) as usize)?;
        if block.is_empty() {
            let reason = "it became shorter while it was copied".to_owned();
            return Err(Error::Damaged { file: name.to_owned(), offset, reason });
        }
        copy.write_at(offset, &block).map_err(|source| failed("write", TEMPORARY, source))?;
        offset += block.len() as u64;
    }
    copy.sync().map_err(|source| failed("sync", TEMPORARY, source))?;
    files.rename(TEMPORARY, name).map_err(|source| failed("rename", TEMPORARY, source))?;
    files.sync_folder().map_err(|source| failed("sync", "the folder", source))
}
