//! What is really there after the process ended, however it ended (rules 4, 5).
//!
//! The unsealed last segment is read up to its last good entry; what follows is a torn tail, and cut, unless
//! a good entry behind it says that the bad one had been synced: then it is damage, and a refusal. (A power
//! cut may keep the later half of a write and lose its earlier half; that alone is no damage.) Messages of a
//! transaction whose commit is not there are cut as well. What remains is copied into a new file, synced, and
//! renamed into place: bytes that read well now may be in the page cache alone, and only what was synced is
//! believed.
//!
//! A damaged entry of the very last group that was synced looks like a torn tail. It is not lost in silence:
//! the slot was told a position behind the journal's new end, and the gate refuses (rules 3, 7).

use bytes::Bytes;

use super::entry::{Commit, Kind, Position, Record};
use super::error::Error;
use super::files::{File, Files};
use super::read::{failed, header, own_header, segments};
use super::segment::{self, Header, Parsed};
use crate::failpoint;
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
    /// A Rebuild entry that no Facts have followed yet.
    pub rebuilt: Option<EntryNo>,
    /// Bytes cut off the end.
    pub cut_bytes: u64,
}

/// One segment, read whole.
pub(super) struct Scanned {
    /// Where the entries begin.
    begin: u64,
    /// Behind the last good entry, and its number.
    pub(super) end: u64,
    pub(super) last: EntryNo,
    /// Behind the last entry that does not belong to an open transaction.
    complete_end: u64,
    complete_last: Option<EntryNo>,
    ends_open: bool,
    facts: Option<Bytes>,
    connected: Option<Bytes>,
    intent: Option<Bytes>,
    rebuilt: Option<EntryNo>,
    pub(super) end_lsn: Option<Lsn>,
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
        let file = files.open(&name).map_err(|source| failed("open", &name, source))?;
        let before = match firsts.last() {
            // Entries go into a segment, and its successor is made, only when it is synced to its end.
            Some(before) => Some(scan_sealed(files, *before, first, journal_id)?),
            None => None,
        };
        let header = match own_header(&*file, &name, first, journal_id) {
            // A crash while this segment was being made: entries come only after its header was synced.
            Err(Error::Damaged { .. })
                if (before.is_some() || first == EntryNo::ZERO.next()) && is_young(&*file, &name, first)? =>
            {
                recovered.cut_bytes += file.length().map_err(|source| failed("read", &name, source))?;
                remove(files, &name)?;
                continue;
            }
            header => header?,
        };
        let scanned = scan(&*file, &name, header, EntryNo::MAX)?;
        // A segment that holds nothing but a transaction's parts goes; so does an empty one behind such.
        if let Some(before) = before
            && scanned.complete_last.is_none()
            && (scanned.ends_open || before.ends_open)
        {
            recovered.cut_bytes += scanned.length - scanned.begin;
            remove(files, &name)?;
            continue;
        }
        recovered.cut_bytes += scanned.length - scanned.complete_end;
        recovered.last = scanned.complete_last.unwrap_or(first.previous());
        settle_file(files, &*file, &name, scanned.complete_end)?;
        take(&mut recovered, &scanned);
        break;
    }
    // Before there was a position: in older journals, whose heads do not repeat it, the intent stands further back.
    while recovered.end_lsn.is_none()
        && let Some(first) = firsts.pop()
    {
        let name = segment::name(first);
        let file = files.open(&name).map_err(|source| failed("open", &name, source))?;
        let header = own_header(&*file, &name, first, journal_id)?;
        take(&mut recovered, &scan(&*file, &name, header, EntryNo::MAX)?);
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
    if recovered.end_lsn.is_none() {
        recovered.end_lsn = scanned.end_lsn;
        recovered.rebuilt = scanned.rebuilt;
    }
}

fn remove(files: &dyn Files, name: &str) -> Result<(), Error> {
    files.remove(name).map_err(|source| failed("remove", name, source))?;
    files.sync_folder().map_err(|source| failed("sync", "the folder", source))
}

/// Whether a file with a bad header is one that was never finished: no entry can be in it.
fn is_young(file: &dyn File, name: &str, first: EntryNo) -> Result<bool, Error> {
    // A header that reads well and belongs elsewhere is a mix-up, not a beginning.
    if header(file, name).is_ok() {
        return Ok(false);
    }
    let length = file.length().map_err(|source| failed("read", name, source))?;
    let bytes = read_block(file, name, 0, length as usize)?;
    Ok(!entry_within(&bytes, first, |_| true))
}

/// Reads a segment that another one follows: it must be whole, and reach up to that one.
fn scan_sealed(
    files: &dyn Files,
    first: EntryNo,
    following: EntryNo,
    journal_id: &str,
) -> Result<Scanned, Error> {
    let name = segment::name(first);
    let file = files.open(&name).map_err(|source| failed("open", &name, source))?;
    let header = own_header(&*file, &name, first, journal_id)?;
    let scanned = scan(&*file, &name, header, EntryNo::MAX)?;
    if scanned.last.next() != following || scanned.end != scanned.length {
        let reason = format!("good entries end with {}, the next file begins with {following}", scanned.last);
        return Err(Error::Damaged { file: name, offset: scanned.end, reason });
    }
    Ok(scanned)
}

/// Reads a segment's entries, not beyond `up_to`.
pub(super) fn scan(file: &dyn File, name: &str, header: Header, up_to: EntryNo) -> Result<Scanned, Error> {
    let length = file.length().map_err(|source| failed("read", name, source))?;
    let begin = header.size_bytes;
    let mut scanned = Scanned {
        begin,
        end: begin,
        last: header.first.previous(),
        complete_end: begin,
        complete_last: None,
        ends_open: false,
        facts: None,
        connected: None,
        intent: None,
        rebuilt: None,
        end_lsn: None,
        length,
    };
    for (kind, bytes) in &header.head {
        match kind {
            Kind::Facts => scanned.facts = Some(bytes.clone()),
            Kind::Intent => scanned.intent = Some(bytes.clone()),
            Kind::Connected => scanned.connected = Some(bytes.clone()),
            Kind::Position => scanned.end_lsn = position_of(*kind, &[bytes]),
            // In a head it is the number of the entry.
            Kind::Rebuild => scanned.rebuilt = serde_json::from_slice(bytes).ok(),
            _ => {}
        }
    }
    let mut block = Bytes::new();
    while scanned.end < length && scanned.last < up_to {
        let expected = scanned.last.next();
        let offset = scanned.end;
        let bad = match segment::parse(&block) {
            Parsed::Entry { record, .. } if record.number == expected => {
                let size = segment::size_of(&record);
                let _ = block.split_to(size as usize);
                scanned.entry(&record, offset + size);
                continue;
            }
            Parsed::Entry { .. } => true,
            Parsed::Needs(bytes) => {
                let more =
                    read_block(file, name, offset, bytes.max(1 << 20).min((length - offset) as usize))?;
                let grew = more.len() > block.len();
                block = more;
                !grew || block.len() < bytes
            }
            Parsed::Bad(_) => true,
        };
        if bad {
            let rest = read_block(file, name, offset, (length - offset) as usize)?;
            if entry_within(&rest, expected, |durable| durable >= expected) {
                let reason = format!("entry {expected} is damaged, and it had been synced");
                return Err(Error::Damaged { file: name.to_owned(), offset, reason });
            }
            break;
        }
    }
    Ok(scanned)
}

impl Scanned {
    fn entry(&mut self, record: &Record, end: u64) {
        self.end = end;
        self.last = record.number;
        self.ends_open = record.kind == Kind::TransactionPart;
        if self.ends_open {
            return;
        }
        self.complete_end = end;
        self.complete_last = Some(record.number);
        // A slice would keep its whole block in memory.
        let copy = || Some(Bytes::copy_from_slice(&record.payload));
        match record.kind {
            Kind::Facts => {
                self.facts = copy();
                self.rebuilt = None;
            }
            Kind::Connected => self.connected = copy(),
            Kind::Rebuild => {
                self.end_lsn = position_of(Kind::Rebuild, &[&record.payload]).or(self.end_lsn);
                self.rebuilt = Some(record.number);
                self.connected = None;
            }
            Kind::Intent => self.intent = copy(),
            kind => self.end_lsn = position_of(kind, &[&record.payload]).or(self.end_lsn),
        }
    }
}

/// The position in the write-ahead log that an entry gives, if its kind gives one.
pub(super) fn position_of(kind: Kind, payload: &[&[u8]]) -> Option<Lsn> {
    match kind {
        Kind::Position | Kind::Rebuild => {
            let position: Option<Position> = serde_json::from_slice(&payload.concat()).ok();
            position.map(|position| position.lsn)
        }
        Kind::Transaction => {
            let first = payload.first().filter(|part| part.len() >= Commit::SIZE_BYTES);
            let commit = match first {
                Some(part) => Commit::decode(part).ok().map(|(commit, _)| commit),
                None => Commit::decode(&payload.concat()).ok().map(|(commit, _)| commit),
            };
            commit.map(|commit| commit.end)
        }
        _ => None,
    }
}

fn read_block(file: &dyn File, name: &str, offset: u64, length: usize) -> Result<Bytes, Error> {
    let mut block = vec![0; length];
    let read = file.read_at(offset, &mut block).map_err(|source| failed("read", name, source))?;
    block.truncate(read);
    Ok(Bytes::from(block))
}

/// Whether a good entry with a number from `from` on begins anywhere in these bytes, of which `is_proof` holds
/// for the last entry that had been synced when it was written.
fn entry_within(bytes: &Bytes, from: EntryNo, is_proof: impl Fn(EntryNo) -> bool) -> bool {
    let numbers = from.0..from.0.saturating_add(NUMBERS_AHEAD_MAX);
    (0..bytes.len().saturating_sub(segment::ENTRY_HEAD_BYTES - 1)).any(|at| {
        let number = bytes[at + 8..].first_chunk::<8>().map(|number| u64::from_le_bytes(*number));
        number.is_some_and(|number| number != 0 && numbers.contains(&number))
            && matches!(segment::parse(&bytes.slice(at..)), Parsed::Entry { durable, .. } if is_proof(durable))
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
    failpoint::hit("recover.copied");
    files.rename(TEMPORARY, name).map_err(|source| failed("rename", TEMPORARY, source))?;
    failpoint::hit("recover.renamed");
    files.sync_folder().map_err(|source| failed("sync", "the folder", source))
}
