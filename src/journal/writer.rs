//! The end of the journal that is written to.

use std::sync::Arc;

use bytes::Bytes;

use super::entry::Kind;
use super::entry::Position;
use super::error::Error;
use super::files::{File, Files};
use super::read::{failed, own_header, segments};
use super::recover::{self, Recovered};
use super::segment::{self, ENTRY_BYTES_MAX, HEAD_BYTES_MAX, Header};
use crate::failpoint;
use crate::model::{EntryNo, Lsn};

/// Default of [`Options::write_bytes`].
/// (Tests write often, so that a crash finds several writes on their way.)
pub const WRITE_BYTES: usize = if cfg!(test) { 512 } else { 4 << 20 };

/// Limits, from the configuration.
#[derive(Clone, Debug)]
pub struct Options {
    /// A segment that has reached this size is followed by a new one.
    pub segment_bytes: u64,
    /// Segments beyond this size all together may go, oldest first, once the store needs them no more.
    pub retain_bytes: u64,
    /// So may segments older than this.
    pub retain_age_s: u64,
    /// Size at which ingest stops reading (rule 9).
    pub quota_bytes: u64,
    /// Free space of the file system below which ingest stops reading (rule 9).
    pub reserve_bytes: u64,
    /// Appended bytes that are gathered before they are written, synced or not.
    pub write_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            segment_bytes: 64 << 20,
            retain_bytes: 1 << 30,
            retain_age_s: 24 * 3600,
            quota_bytes: 64 << 30,
            reserve_bytes: 256 << 20,
            write_bytes: WRITE_BYTES,
        }
    }
}

/// A segment and when it was sealed, for retention.
#[derive(Clone, Debug)]
struct Sealed {
    first: EntryNo,
    size_bytes: u64,
    sealed_unix_s: u64,
}

/// See the module.
pub struct Journal {
    files: Arc<dyn Files>,
    options: Options,
    journal_id: String,
    sealed: Vec<Sealed>,
    first: EntryNo,
    file: Box<dyn File>,
    /// Bytes written to the current segment.
    written: u64,
    buffer: Vec<u8>,
    head: Vec<(Kind, Bytes)>,
    end: EntryNo,
    /// The position that the last entries with one give; each segment's head repeats it.
    end_lsn: Option<Lsn>,
    durable: EntryNo,
    poisoned: bool,
    full: bool,
    /// The time as it was last told; good enough for retention.
    now_unix_s: u64,
}

impl Journal {
    /// Opens or creates the journal in a folder; recovers it first (rule 4). `now_unix_s` is when segments
    /// found count as sealed.
    pub fn open(
        files: Arc<dyn Files>,
        options: Options,
        journal_id: &str,
        now_unix_s: u64,
    ) -> Result<(Journal, Recovered), Error> {
        let recovered = recover::recover(&*files, journal_id)?;
        let mut firsts = segments(&*files)?;
        if firsts.is_empty() {
            create(&*files, journal_id, EntryNo(1), &[])?;
            firsts.push(EntryNo(1));
        }
        let first = firsts.pop().unwrap_or(EntryNo(1)); // one was created when there was none
        let mut sealed = Vec::new();
        for first in firsts {
            let name = segment::name(first);
            let file = files.open(&name).map_err(|source| failed("open", &name, source))?;
            own_header(&*file, &name, first, journal_id)?;
            let size_bytes = file.length().map_err(|source| failed("read", &name, source))?;
            sealed.push(Sealed { first, size_bytes, sealed_unix_s: now_unix_s });
        }
        let name = segment::name(first);
        let file = files.open(&name).map_err(|source| failed("open", &name, source))?;
        let written = file.length().map_err(|source| failed("read", &name, source))?;
        // What is in force at the end, not what the last segment began with. Relations are not repeated: the
        // next connection empties them (rule 6), and no row comes before it.
        let facts = recovered.facts.iter().map(|facts| (Kind::Facts, facts.clone()));
        let intent = recovered.intent.iter().map(|intent| (Kind::Intent, intent.clone()));
        let connected = recovered.connected.iter().map(|connected| (Kind::Connected, connected.clone()));
        let rebuilt = recovered.rebuilt.iter().map(|entry| (Kind::Rebuild, rebuilt_at(*entry)));
        let head = facts.chain(intent).chain(connected).chain(rebuilt).collect();
        let write_bytes = options.write_bytes;
        let mut journal = Journal {
            files,
            options,
            journal_id: journal_id.to_owned(),
            sealed,
            first,
            file,
            written,
            buffer: Vec::with_capacity(write_bytes + write_bytes / 4),
            head,
            end: recovered.last,
            end_lsn: recovered.end_lsn,
            durable: recovered.last,
            poisoned: false,
            full: false,
            now_unix_s,
        };
        journal.look_for_room()?;
        Ok((journal, recovered))
    }

    /// Appends an entry; `payload` is its parts one after the other. Nothing is durable before
    /// [`Journal::sync`].
    pub fn append(&mut self, kind: Kind, payload: &[&[u8]]) -> Result<EntryNo, Error> {
        self.alive()?;
        let bytes: usize = payload.iter().map(|part| part.len()).sum();
        if bytes > ENTRY_BYTES_MAX {
            return Err(Error::TooLarge { bytes, limit: ENTRY_BYTES_MAX });
        }
        if self.end >= EntryNo::MAX {
            return Err(Error::Exhausted);
        }
        let number = self.end.next();
        segment::put_entry(&mut self.buffer, number, self.durable, kind, payload);
        self.end = number;
        self.end_lsn = recover::position_of(kind, payload).or(self.end_lsn);
        if self.buffer.len() >= self.options.write_bytes {
            self.write_out()?;
        }
        Ok(number)
    }

    /// Makes everything appended durable; returns the last entry that is. After an error the journal takes
    /// nothing more: the same pages may read fine and the next sync may "succeed" (rule 4).
    pub fn sync(&mut self) -> Result<EntryNo, Error> {
        self.alive()?;
        if self.end == self.durable {
            return Ok(self.durable);
        }
        self.write_out()?;
        failpoint::hit("journal.syncing");
        let name = segment::name(self.first);
        let synced = self.file.sync().map_err(|source| failed("sync", &name, source));
        self.poison(synced)?;
        failpoint::hit("journal.synced");
        self.durable = self.end;
        if self.written >= self.options.segment_bytes {
            let rolled = self.roll();
            self.poison(rolled)?;
            failpoint::hit("journal.rolled");
        }
        Ok(self.durable)
    }

    /// The last entry appended.
    pub fn end(&self) -> EntryNo {
        self.end
    }

    /// The last entry that survives a power cut.
    pub fn durable(&self) -> EntryNo {
        self.durable
    }

    /// What the next segment's head will repeat: after opening, facts, intent and connection as they were found.
    pub fn head(&self) -> &[(Kind, Bytes)] {
        &self.head
    }

    /// What the next segment begins with (rules 6, 8).
    pub fn set_head(&mut self, head: Vec<(Kind, Bytes)>) {
        self.head = head;
    }

    /// Removes every entry behind this one (rule 5), durably.
    ///
    /// # Errors
    /// Also when `last` is before what is still there: nothing is removed then.
    pub fn truncate_after(&mut self, last: EntryNo) -> Result<(), Error> {
        self.alive()?;
        if last >= self.end {
            return Ok(());
        }
        if last.next() < self.first() {
            let file = segment::name(self.first());
            return Err(Error::Missing { entry: last, file, found: self.first() });
        }
        self.write_out()?;
        failpoint::hit("journal.truncating");
        let truncated = self.truncate_files(last);
        self.poison(truncated)?;
        failpoint::hit("journal.truncated");
        self.end = last;
        self.durable = self.durable.min(last);
        // Some of what is left may have been written and not yet synced.
        let name = segment::name(self.first);
        let synced = self.file.sync().map_err(|source| failed("sync", &name, source));
        self.poison(synced)?;
        self.durable = last;
        Ok(())
    }

    /// Removes old segments that neither the store (which has made everything up to `store_durable` its own
    /// for good) nor the retention asks for. Returns how many.
    pub fn retain(&mut self, store_durable: EntryNo, now_unix_s: u64) -> Result<usize, Error> {
        self.alive()?;
        self.now_unix_s = now_unix_s;
        let mut removed = 0;
        while let Some(oldest) = self.sealed.first() {
            let last = self.sealed.get(1).map_or(self.first, |next| next.first).previous();
            let too_old = now_unix_s.saturating_sub(oldest.sealed_unix_s) > self.options.retain_age_s;
            // Half the quota at most: looking back must never be what fills it.
            let keep = self.options.retain_bytes.min(self.options.quota_bytes / 2);
            let too_many = self.size_bytes() > keep;
            if last > store_durable || !(too_old || too_many) {
                break;
            }
            let name = segment::name(oldest.first);
            let gone = self.files.remove(&name).map_err(|source| failed("remove", &name, source));
            self.poison(gone)?;
            self.sealed.remove(0);
            removed += 1;
            failpoint::hit("journal.forgotten");
            // One by one: a power cut must not keep an older segment and lose a younger one.
            let synced = self.files.sync_folder().map_err(|source| failed("sync", "the folder", source));
            self.poison(synced)?;
        }
        self.look_for_room()?;
        Ok(removed)
    }

    /// Looks whether quota and reserve leave room (rule 9); [`Journal::is_full`] says what was found.
    pub fn look_for_room(&mut self) -> Result<(), Error> {
        let free = self.files.free_bytes().map_err(|source| failed("look at", "the folder", source))?;
        self.full = self.size_bytes() >= self.options.quota_bytes || free < self.options.reserve_bytes;
        Ok(())
    }

    /// Ingest is to stop reading.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Bytes of all segments.
    pub fn size_bytes(&self) -> u64 {
        self.sealed.iter().map(|sealed| sealed.size_bytes).sum::<u64>()
            + self.written
            + self.buffer.len() as u64
    }

    pub fn segments(&self) -> usize {
        self.sealed.len() + 1
    }

    /// The oldest entry that is still there (or the next one, when there is none).
    pub fn first(&self) -> EntryNo {
        self.sealed.first().map_or(self.first, |sealed| sealed.first)
    }

    fn alive(&self) -> Result<(), Error> {
        if self.poisoned {
            let source = std::io::Error::other("an earlier write failed");
            return Err(failed("write", &segment::name(self.first), source));
        }
        Ok(())
    }

    fn poison<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        self.poisoned |= result.is_err();
        result
    }

    fn write_out(&mut self) -> Result<(), Error> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        failpoint::hit("journal.writing");
        let name = segment::name(self.first);
        let wrote = self.file.write_at(self.written, &self.buffer).map_err(|e| failed("write", &name, e));
        self.poison(wrote)?;
        failpoint::hit("journal.written");
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Begins a new segment behind the last durable entry.
    fn roll(&mut self) -> Result<(), Error> {
        let first = self.end.next();
        let mut head = self.head.clone();
        // Retention may take every entry that gave the position.
        if let Some(lsn) = self.end_lsn {
            let position = serde_json::to_vec(&Position { lsn }).unwrap_or_default(); // plain data: cannot fail
            head.push((Kind::Position, position.into()));
        }
        let (file, written) = create(&*self.files, &self.journal_id, first, &head)?;
        let sealed = Sealed { first: self.first, size_bytes: self.written, sealed_unix_s: self.now_unix_s };
        self.sealed.push(sealed);
        self.first = first;
        self.file = file;
        self.written = written;
        self.look_for_room()
    }

    fn truncate_files(&mut self, last: EntryNo) -> Result<(), Error> {
        while self.first > last.next()
            && let Some(before) = self.sealed.pop()
        {
            let name = segment::name(self.first);
            self.files.remove(&name).map_err(|source| failed("remove", &name, source))?;
            // One by one: a power cut must not keep a younger segment and lose an older one.
            self.files.sync_folder().map_err(|source| failed("sync", "the folder", source))?;
            let name = segment::name(before.first);
            self.file = self.files.open(&name).map_err(|source| failed("open", &name, source))?;
            self.first = before.first;
            self.written = before.size_bytes;
        }
        let name = segment::name(self.first);
        let header = own_header(&*self.file, &name, self.first, &self.journal_id)?;
        let scanned = recover::scan(&*self.file, &name, header, last)?;
        if scanned.last != last {
            let reason = "an entry of ours cannot be read back".to_owned();
            return Err(Error::Damaged { file: name, offset: scanned.end, reason });
        }
        self.file.set_length(scanned.end).map_err(|source| failed("truncate", &name, source))?;
        self.written = scanned.end;
        self.end_lsn = scanned.end_lsn;
        Ok(())
    }
}

/// What a head says of a Rebuild entry that no Facts have followed yet: its number.
pub fn rebuilt_at(entry: EntryNo) -> Bytes {
    serde_json::to_vec(&entry).unwrap_or_default().into() // a number: cannot fail
}

/// Creates a segment: header and file synced, then the folder.
fn create(
    files: &dyn Files,
    journal_id: &str,
    first: EntryNo,
    head: &[(Kind, Bytes)],
) -> Result<(Box<dyn File>, u64), Error> {
    let bytes = segment::head_bytes(head);
    if bytes > HEAD_BYTES_MAX {
        return Err(Error::TooLarge { bytes, limit: HEAD_BYTES_MAX });
    }
    let name = segment::name(first);
    let mut file = files.create(&name).map_err(|source| failed("create", &name, source))?;
    failpoint::hit("segment.created");
    let bytes = Header::encode(journal_id, first, head);
    file.write_at(0, &bytes).map_err(|source| failed("write", &name, source))?;
    file.sync().map_err(|source| failed("sync", &name, source))?;
    failpoint::hit("segment.synced");
    files.sync_folder().map_err(|source| failed("sync", "the folder", source))?;
    Ok((file, bytes.len() as u64))
}
