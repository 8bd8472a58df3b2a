//! The bytes of a segment file.
//!
//! ```text
//! magic 8 | format u32 | journal id 32 | first entry u64 | head length u32 | head | crc32c u32
//! then entries:  length u32 | crc32c u32 | number u64 | unsynced u32 | kind u8 | payload (length bytes)
//! ```
//!
//! All numbers are little-endian. An entry's checksum covers everything behind it. `unsynced` counts the
//! entries in front of this one that were not yet durable when it was appended: it tells damage of what had
//! been synced from a last write that a power cut kept in pieces (rule 4).
//! The head repeats what is in force, so that a segment can be read alone (rule 8): records of kind, length
//! and bytes.

use bytes::{Buf, Bytes};

use super::entry::{Kind, Record};
use super::error::Error;
use crate::model::EntryNo;

pub const FORMAT: u32 = 1;
const MAGIC: &[u8; 8] = b"pjournal";
/// In front of each entry's payload.
pub const ENTRY_HEAD_BYTES: usize = 21;
/// The largest payload of an entry. Ingest cuts transactions into parts far smaller than this; one message
/// and one backfill chunk have to fit.
pub const ENTRY_BYTES_MAX: usize = 64 << 20;
/// The largest head: facts, and the relations of a few thousand tables.
pub const HEAD_BYTES_MAX: usize = 256 << 20;
const FIXED_BYTES: usize = 8 + 4 + 32 + 8 + 4;

/// Name of the segment that begins with this entry.
pub fn name(first: EntryNo) -> String {
    format!("{:020}.journal", first.0)
}

/// The reverse of [`name`]; nothing for other files.
pub fn first_of_name(name: &str) -> Option<EntryNo> {
    let digits = name.strip_suffix(".journal")?;
    (digits.len() == 20).then(|| digits.parse().ok().map(EntryNo)).flatten()
}

/// Bytes that a head takes.
pub fn head_bytes(head: &[(Kind, Bytes)]) -> usize {
    head.iter().map(|(_, bytes)| 5 + bytes.len()).sum()
}

/// What stands in front of a segment's entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub journal_id: String,
    pub first: EntryNo,
    pub head: Vec<(Kind, Bytes)>,
    /// Where the entries begin.
    pub size_bytes: u64,
}

impl Header {
    pub fn encode(journal_id: &str, first: EntryNo, head: &[(Kind, Bytes)]) -> Vec<u8> {
        let mut records = Vec::with_capacity(head_bytes(head));
        for (kind, bytes) in head {
            records.push(*kind as u8);
            records.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            records.extend_from_slice(bytes);
        }
        let mut out = Vec::with_capacity(FIXED_BYTES + records.len() + 4);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        let mut id = [b'0'; 32];
        for (place, byte) in id.iter_mut().zip(journal_id.bytes()) {
            *place = byte;
        }
        out.extend_from_slice(&id);
        out.extend_from_slice(&first.0.to_le_bytes());
        out.extend_from_slice(&(records.len() as u32).to_le_bytes());
        out.extend_from_slice(&records);
        let checksum = crc32c::crc32c(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Reads a header with `read(offset, length)`.
    pub fn read(file: &str, read: impl Fn(u64, usize) -> Result<Vec<u8>, Error>) -> Result<Header, Error> {
        let damaged = |reason: &str| Error::Damaged {
            file: file.to_owned(),
            offset: 0,
            reason: format!("the header {reason}"),
        };
        let fixed = read(0, FIXED_BYTES)?;
        if fixed.len() < FIXED_BYTES || &fixed[..8] != MAGIC {
            return Err(damaged("is not a journal's"));
        }
        let mut rest = &fixed[8..];
        let found = rest.get_u32_le();
        if found > FORMAT {
            return Err(Error::Newer { file: file.to_owned(), found, known: FORMAT });
        }
        if found < FORMAT {
            return Err(damaged("has no format")); // there was none before the first
        }
        let journal_id = String::from_utf8_lossy(&rest[..32]).into_owned();
        rest.advance(32);
        let first = EntryNo(rest.get_u64_le());
        let length = rest.get_u32_le() as usize;
        if length > HEAD_BYTES_MAX {
            return Err(damaged("claims an impossible length"));
        }
        let whole = read(0, FIXED_BYTES + length + 4)?;
        if whole.len() < FIXED_BYTES + length + 4 {
            return Err(damaged("is cut short"));
        }
        let (covered, mut checksum) = whole.split_at(FIXED_BYTES + length);
        if crc32c::crc32c(covered) != checksum.get_u32_le() {
            return Err(damaged("has a wrong checksum"));
        }
        let mut records = Bytes::copy_from_slice(&covered[FIXED_BYTES..]);
        let mut head = Vec::new();
        while records.len() >= 5 {
            let kind = Kind::from_byte(records.get_u8()).ok_or_else(|| damaged("has an unknown record"))?;
            let length = records.get_u32_le() as usize;
            if length > records.len() {
                return Err(damaged("has a record cut short"));
            }
            head.push((kind, records.split_to(length)));
        }
        Ok(Header { journal_id, first, head, size_bytes: whole.len() as u64 })
    }
}

/// Appends one entry's bytes. `durable` is the last entry that is synced already.
pub fn put_entry(out: &mut Vec<u8>, number: EntryNo, durable: EntryNo, kind: Kind, payload: &[&[u8]]) {
    let length: usize = payload.iter().map(|part| part.len()).sum();
    // Too many to count claim less than is true, which is harmless.
    let unsynced = u32::try_from(number.previous().0.saturating_sub(durable.0)).unwrap_or(u32::MAX);
    let mut covered = [0; ENTRY_HEAD_BYTES - 8];
    covered[..8].copy_from_slice(&number.0.to_le_bytes());
    covered[8..12].copy_from_slice(&unsynced.to_le_bytes());
    covered[12] = kind as u8;
    let mut checksum = crc32c::crc32c(&covered);
    for part in payload {
        checksum = crc32c::crc32c_append(checksum, part);
    }
    out.extend_from_slice(&(length as u32).to_le_bytes());
    out.extend_from_slice(&checksum.to_le_bytes());
    out.extend_from_slice(&covered);
    for part in payload {
        out.extend_from_slice(part);
    }
}

/// What stands at the beginning of these bytes.
pub enum Parsed {
    Entry {
        record: Record,
        /// Everything up to here had been synced when this one was appended.
        durable: EntryNo,
    },
    /// The entry is longer than the bytes: so many are needed.
    Needs(usize),
    /// No entry: a torn or damaged one.
    Bad(&'static str),
}

/// Reads the entry at the front of a block, without copying its payload.
pub fn parse(block: &Bytes) -> Parsed {
    if block.len() < ENTRY_HEAD_BYTES {
        return Parsed::Needs(ENTRY_HEAD_BYTES);
    }
    let mut head = &block[..ENTRY_HEAD_BYTES];
    let length = head.get_u32_le() as usize;
    let checksum = head.get_u32_le();
    if length > ENTRY_BYTES_MAX {
        return Parsed::Bad("an impossible length");
    }
    let whole = ENTRY_HEAD_BYTES + length;
    if block.len() < whole {
        return Parsed::Needs(whole);
    }
    if crc32c::crc32c(&block[8..whole]) != checksum {
        return Parsed::Bad("a wrong checksum");
    }
    let number = EntryNo(head.get_u64_le());
    let durable = EntryNo(number.previous().0.saturating_sub(u64::from(head.get_u32_le())));
    let Some(kind) = Kind::from_byte(head.get_u8()) else { return Parsed::Bad("an unknown kind") };
    Parsed::Entry { record: Record { number, kind, payload: block.slice(ENTRY_HEAD_BYTES..whole) }, durable }
}

/// Bytes of an entry on disk.
pub fn size_of(record: &Record) -> u64 {
    (ENTRY_HEAD_BYTES + record.payload.len()) as u64
}
