//! Reading entries in their order, from any of them on.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::entry::Record;
use super::error::Error;
use super::files::{File, Files};
use super::segment::{self, Header, Parsed};
use crate::model::EntryNo;

/// Read from disk at once.
const BLOCK_BYTES: usize = 1 << 20;

/// Reads on from one entry. Runs beside the writer: the caller names the last entry that is durable, and
/// nothing behind it is looked at.
pub struct Reader {
    files: Arc<dyn Files>,
    current: Option<Open>,
    next: EntryNo,
}

struct Open {
    name: String,
    file: Box<dyn File>,
    /// Where `block` begins in the file.
    offset: u64,
    block: Bytes,
}

/// All segments by their first entry.
pub(super) fn segments(files: &dyn Files) -> Result<Vec<EntryNo>, Error> {
    let names = files.list().map_err(|source| failed("list", "the journal", source))?;
    let mut firsts: Vec<EntryNo> = names.iter().filter_map(|name| segment::first_of_name(name)).collect();
    firsts.sort_unstable();
    Ok(firsts)
}

pub(super) fn failed(operation: &'static str, file: &str, source: std::io::Error) -> Error {
    Error::Failed { operation, file: file.to_owned(), source }
}

/// Reads the header of the segment that is to begin with `first`. Its name and its journal are checked: a
/// file of another folder, or under another one's name, is refused.
pub(super) fn own_header(
    file: &dyn File,
    name: &str,
    first: EntryNo,
    journal_id: &str,
) -> Result<Header, Error> {
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
    Ok(header)
}

/// Reads a segment's header.
pub(super) fn header(file: &dyn File, name: &str) -> Result<Header, Error> {
    Header::read(name, |offset, length| {
        let mut bytes = vec![0; length.min(file.length().map_err(|e| failed("read", name, e))? as usize)];
        let read = file.read_at(offset, &mut bytes).map_err(|source| failed("read", name, source))?;
        bytes.truncate(read);
        Ok(bytes)
    })
}

impl Reader {
    /// The next entry read will be `from`.
    pub fn open(files: Arc<dyn Files>, from: EntryNo) -> Reader {
        Reader { files, current: None, next: from.max(EntryNo::ZERO.next()) }
    }

    /// The entry that comes next.
    pub fn position(&self) -> EntryNo {
        self.next
    }

    /// Entries up to and including `up_to`, about `max_bytes` of them, at least one if there is one.
    ///
    /// # Errors
    /// Damage, missing segments, and failures of the disk. All entries up to `up_to` must be durable. After
    /// an error the reader stands where it stood before.
    pub fn next(&mut self, up_to: EntryNo, max_bytes: usize) -> Result<Vec<Record>, Error> {
        let from = self.next;
        let records = self.read_on(up_to, max_bytes);
        if records.is_err() {
            self.next = from;
            self.current = None;
        }
        records
    }

    fn read_on(&mut self, up_to: EntryNo, max_bytes: usize) -> Result<Vec<Record>, Error> {
        let mut records = Vec::new();
        let mut bytes = 0;
        // What was read ahead last time may have been truncated and written anew since.
        if let Some(open) = &mut self.current {
            open.block.clear();
        }
        while self.next <= up_to && bytes < max_bytes {
            if self.current.is_none() {
                self.current = Some(self.open_segment()?);
            }
            let Some(open) = &mut self.current else { break };
            match open.entry()? {
                Some(record) if record.number < self.next => {}
                Some(record) if record.number == self.next => {
                    bytes += record.payload.len() + segment::ENTRY_HEAD_BYTES;
                    self.next = record.number.next();
                    records.push(record);
                }
                Some(record) => {
                    return Err(open.damaged(format!(
                        "entry {} follows {}",
                        record.number,
                        self.next.previous()
                    )));
                }
                // The end of this segment: the entry is in the next one.
                None => {
                    let following = self.open_segment()?;
                    if following.name == open_name(&self.current) {
                        return Err(following.damaged(format!("it ends before entry {}", self.next)));
                    }
                    self.current = Some(following);
                }
            }
        }
        Ok(records)
    }

    fn open_segment(&mut self) -> Result<Open, Error> {
        let firsts = segments(&*self.files)?;
        let at = firsts.partition_point(|first| *first <= self.next);
        let Some(first) = at.checked_sub(1).and_then(|at| firsts.get(at)) else {
            let (file, found) = match firsts.first() {
                Some(first) => (segment::name(*first), *first),
                None => ("the journal".to_owned(), EntryNo::ZERO),
            };
            return Err(Error::Missing { entry: self.next, file, found });
        };
        let name = segment::name(*first);
        let file = self.files.open(&name).map_err(|source| failed("open", &name, source))?;
        let header = header(&*file, &name)?;
        Ok(Open { name, file, offset: header.size_bytes, block: Bytes::new() })
    }
}

fn open_name(open: &Option<Open>) -> &str {
    open.as_ref().map_or("", |open| &open.name)
}

impl Open {
    fn damaged(&self, reason: String) -> Error {
        Error::Damaged { file: self.name.clone(), offset: self.offset, reason }
    }

    /// The next entry of this segment; nothing at its end.
    fn entry(&mut self) -> Result<Option<Record>, Error> {
        loop {
            match segment::parse(&self.block) {
                Parsed::Entry { record, .. } => {
                    let size = segment::size_of(&record);
                    self.offset += size;
                    let _ = self.block.split_to(size as usize);
                    return Ok(Some(record));
                }
                Parsed::Needs(bytes) => {
                    if !self.fill(bytes)? {
                        return Ok(None);
                    }
                }
                Parsed::Bad(reason) => return Err(self.damaged(format!("an entry has {reason}"))),
            }
        }
    }

    /// Reads a block that begins where the current one's rest does. False when the file ends before so
    /// many bytes.
    fn fill(&mut self, needed: usize) -> Result<bool, Error> {
        // No larger than what is there: most reads are of a few entries that have just been written.
        let length = self.file.length().map_err(|source| failed("read", &self.name, source))?;
        let left = usize::try_from(length.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let mut block = BytesMut::zeroed(needed.max(BLOCK_BYTES).min(left));
        let read = self.file.read_at(self.offset, &mut block).map_err(|e| failed("read", &self.name, e))?;
        block.truncate(read);
        let grew = read > self.block.len();
        self.block = block.freeze();
        Ok(grew && read >= needed)
    }
}
