//! What the journal's files hold, read by nothing of the daemon's own code: the bytes are parsed here again.

use std::collections::HashMap;
use std::path::PathBuf;

const ENTRY_HEAD_BYTES: usize = 21;
const POSITION: u8 = 4;
const TRANSACTION: u8 = 6;

/// Follows the segments of a data folder.
pub struct JournalEnd {
    folder: PathBuf,
    /// Where reading goes on, by file.
    read: HashMap<PathBuf, usize>,
    end: u64,
}

impl JournalEnd {
    /// `folder` holds the segments; it need not be there yet.
    pub fn new(folder: PathBuf) -> JournalEnd {
        JournalEnd { folder, read: HashMap::new(), end: 0 }
    }

    /// The highest position up to which everything is in the files now.
    pub fn position(&mut self) -> u64 {
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "journal") {
                self.follow(path);
            }
        }
        self.end
    }

    fn follow(&mut self, path: PathBuf) {
        use std::io::{Read, Seek, SeekFrom};
        let Ok(mut file) = std::fs::File::open(&path) else { return }; // deleted meanwhile
        let from = self.read.entry(path).or_default();
        let length = file.metadata().map_or(0, |about| about.len() as usize);
        if *from > length {
            *from = 0; // made anew by a recovery
        }
        let mut bytes = Vec::new();
        if file.seek(SeekFrom::Start(*from as u64)).and_then(|_| file.read_to_end(&mut bytes)).is_err() {
            return;
        }
        let mut at = 0;
        if *from == 0 {
            // magic 8, format 4, journal id 32, first entry 8, head length 4, head, checksum 4
            let Some(head) = bytes.get(52..56) else { return };
            at = 60 + u32_at(head, 0) as usize;
        }
        while let Some(head) = bytes.get(at..at + ENTRY_HEAD_BYTES) {
            let length = u32_at(head, 0) as usize;
            let Some(checked) = bytes.get(at + 8..at + ENTRY_HEAD_BYTES + length) else { break };
            // Zeros allocated ahead, or an entry that is just being written.
            if u32_at(head, 4) != crc32c::crc32c(checked) {
                break;
            }
            let payload = &checked[ENTRY_HEAD_BYTES - 8..];
            let position = match head[20] {
                TRANSACTION => u64::from_le_bytes(payload[8..16].try_into().expect("eight bytes")),
                POSITION => position(payload),
                _ => 0,
            };
            self.end = self.end.max(position);
            at += ENTRY_HEAD_BYTES + length;
        }
        *from += at.min(bytes.len());
    }
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
