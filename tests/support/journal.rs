//! What the journal's files hold, read by nothing of the daemon's own code: the bytes are parsed here again.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

const ENTRY_HEAD_BYTES: usize = 21;
const POSITION: u8 = 4;
const TRANSACTION: u8 = 6;
const REBUILD: u8 = 11;

/// Follows the segments of a data folder.
pub struct JournalEnd {
    folder: PathBuf,
    /// Where reading goes on, by file.
    read: HashMap<PathBuf, Followed>,
    end: u64,
}

/// The last whole entry that was read. What is cut off, by a recovery or with an open transaction's parts, makes
/// room for others at the same place: where this one is not there any more, the file is read anew.
#[derive(Clone, Copy, Default)]
struct Followed {
    at: usize,
    checksum: u32,
}

impl JournalEnd {
    /// `folder` holds the segments; it need not be there yet.
    pub fn new(folder: PathBuf) -> JournalEnd {
        JournalEnd { folder, read: HashMap::new(), end: 0 }
    }

    /// The highest position up to which everything is in the files now. A Rebuild entry begins anew: nothing
    /// before its position will ever be asked for, and everything behind it has to come after it.
    pub fn position(&mut self) -> u64 {
        let files = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = files
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "journal"))
            .collect();
        paths.sort(); // by the first entry's number
        for path in paths {
            self.follow(path);
        }
        self.end
    }

    fn follow(&mut self, path: PathBuf) {
        let last = self.read.get(&path).copied().unwrap_or_default();
        let Some(mut bytes) = tail(&path, last.at) else { return };
        let goes_on = last.at > 0 && entry(&bytes).is_some_and(|entry| entry.checksum == last.checksum);
        let mut from = last.at;
        let mut at = 0;
        if !goes_on {
            from = 0;
            let Some(whole) = tail(&path, 0) else { return };
            bytes = whole;
            // magic 8, format 4, journal id 32, first entry 8, head length 4, head, checksum 4
            let Some(head) = bytes.get(52..56) else { return };
            at = 60 + u32_at(head, 0) as usize;
        }
        while let Some(entry) = bytes.get(at..).and_then(entry) {
            self.end = match entry.kind {
                TRANSACTION => self.end.max(u64_at(entry.payload, 8)),
                POSITION => self.end.max(position(entry.payload)),
                REBUILD => position(entry.payload),
                _ => self.end,
            };
            self.read.insert(path.clone(), Followed { at: from + at, checksum: entry.checksum });
            at += ENTRY_HEAD_BYTES + entry.payload.len();
        }
    }
}

struct Entry<'a> {
    checksum: u32,
    kind: u8,
    payload: &'a [u8],
}

/// The entry at the beginning of these bytes; none where there are zeros allocated ahead, or where one is just
/// being written.
fn entry(bytes: &[u8]) -> Option<Entry<'_>> {
    let head = bytes.get(..ENTRY_HEAD_BYTES)?;
    let checked = bytes.get(8..ENTRY_HEAD_BYTES + u32_at(head, 0) as usize)?;
    let checksum = u32_at(head, 4);
    let payload = checked.get(ENTRY_HEAD_BYTES - 8..)?;
    (checksum == crc32c::crc32c(checked)).then_some(Entry { checksum, kind: head[20], payload })
}

/// What a file holds from there on; nothing when it was deleted meanwhile.
fn tail(path: &Path, from: usize) -> Option<Vec<u8>> {
    let mut file = File::open(path).ok()?;
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(from as u64)).ok()?;
    file.read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn position(payload: &[u8]) -> u64 {
    let json: serde_json::Value = serde_json::from_slice(payload).expect("JSON");
    match &json["lsn"] {
        serde_json::Value::String(text) => super::daemon::parse_lsn(text),
        number => number.as_u64().expect("a position"),
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
