//! A journal that was written well and damaged afterwards: what is read is what was written, or a refusal.

use std::sync::Arc;

use projectord::journal::entry::Record;
use projectord::journal::files::Files;
use projectord::journal::memory::MemoryFiles;
use projectord::journal::segment;
use projectord::journal::{Journal, Kind, Options, Reader};
use projectord::model::EntryNo;

use super::take::Take;

const ID: &str = "0123456789abcdef0123456789abcdef";

pub const WORDS: &[&[u8]] = &[b"\xFE", b"\xFF", b"\0\0\0\0", b"\x01\x05aaaaa", b"\x03\x20", b"pjournal"];

pub fn seeds() -> Vec<Vec<u8>> {
    // How many entries, the entries, what is synced, then the damages.
    let plan = |damage: &[u8]| -> Vec<u8> {
        let entries = (0..12u8).flat_map(|at| {
            let kind = [4u8, 5, 5, 6, 8, 10][usize::from(at % 6)];
            [&[kind, at % 3], &[9][..], b"some text"].concat()
        });
        [12u8].into_iter().chain(entries).chain(damage.iter().copied()).collect()
    };
    vec![
        plan(b""),
        plan(&[0, 0, 100, 0, 3]),                    // a flipped bit
        plan(&[1, 0, 30, 0]),                        // a cut
        plan(&[2, 0, 10, 0, 4, 0, 0, 0, 0]),         // overwritten
        plan(&[3, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9]), // garbage behind the end
        plan(&[4, 1]),                               // a file gone
        plan(&[5, 0, 1]),                            // a file under another's name
        plan(&[6, 0, 60, 0, 40]),                    // a hole
    ]
}

struct Written {
    files: MemoryFiles,
    records: Vec<Record>,
    /// The last entry that was synced, and how long the last file was then.
    durable: EntryNo,
    durable_bytes: usize,
}

fn write(take: &mut Take<'_>) -> Written {
    let files = MemoryFiles::new();
    let options = Options { segment_bytes: 400, ..Options::default() };
    let (mut journal, _) = Journal::open(Arc::new(files.clone()), options, ID, 0).unwrap();
    let mut records = Vec::new();
    let length = |files: &MemoryFiles| {
        let name = files.list().unwrap().pop().unwrap();
        files.content(&name).unwrap().len()
    };
    let mut durable_bytes = length(&files);
    for _ in 0..take.byte() % 32 {
        let kind = Kind::from_byte(take.byte() % 12).unwrap_or(Kind::Transaction);
        let sync = take.byte().is_multiple_of(3);
        let payload = take.piece();
        let number = journal.append(kind, &[payload]).unwrap();
        records.push(Record { number, kind, payload: payload.to_vec().into() });
        if sync {
            journal.sync().unwrap();
            durable_bytes = length(&files);
        }
    }
    let durable = journal.durable();
    Written { files, records, durable, durable_bytes }
}

/// Damages one file; tells whether only what was never synced can have suffered.
fn damage(take: &mut Take<'_>, written: &Written) -> bool {
    let names = written.files.list().unwrap();
    let kind = take.byte() % 7;
    let which = usize::from(take.byte()) % names.len();
    let name = &names[names.len() - 1 - which];
    let mut content = written.files.content(name).unwrap();
    let from_end = usize::from(take.byte()) | usize::from(take.byte()) << 8;
    let at = content.len().saturating_sub(from_end);
    let harmless = which == 0 && at >= written.durable_bytes;
    match kind {
        0 if at < content.len() => content[at] ^= 1 << (take.byte() % 8),
        1 => content.truncate(at),
        2 => {
            let piece = take.piece();
            let end = (at + piece.len()).min(content.len());
            content[at..end].copy_from_slice(&piece[..end - at]);
        }
        3 => {
            content.extend(take.piece());
            written.files.put(name, content);
            return which == 0;
        }
        4 => {
            written.files.remove(name).unwrap();
            return false;
        }
        5 => {
            let other = &names[usize::from(take.byte()) % names.len()];
            content = written.files.content(other).unwrap();
            written.files.put(name, content);
            return other == name;
        }
        _ => {
            let end = (at + usize::from(take.byte())).min(content.len());
            content[at..end].fill(0);
        }
    }
    written.files.put(name, content);
    harmless
}

pub fn run(bytes: &[u8]) {
    let mut take = Take(bytes);
    let written = write(&mut take);
    let mut harmless = true;
    while !take.is_empty() && !written.files.list().unwrap().is_empty() {
        harmless &= damage(&mut take, &written);
    }
    // Without recovery: never anything else than what was written.
    let mut reader = Reader::open(Arc::new(written.files.clone()), EntryNo(1));
    while let Ok(read) = reader.next(reader.position(), 1) {
        let Some(record) = read.first() else { break };
        assert_eq!(Some(record), written.records.get(record.number.0 as usize - 1));
    }
    let opened = Journal::open(Arc::new(written.files.clone()), Options::default(), ID, 0);
    let Ok((mut journal, recovered)) = opened else {
        assert!(!harmless, "an unsynced end was damaged, and the journal is refused");
        return;
    };
    let last = recovered.last.0 as usize;
    assert!(last <= written.records.len());
    if harmless {
        // Parts without their commit go, even when they were synced.
        let durable = &written.records[..written.durable.0 as usize];
        let kept =
            durable.iter().rposition(|record| record.kind != Kind::TransactionPart).map_or(0, |at| at + 1);
        assert!(last >= kept, "entry {kept} was synced, {last} is the last one now");
    }
    read_all(&written.files, &written.records[..last]);
    let number = journal.append(Kind::Position, &[b"behind"]).unwrap();
    assert_eq!(number.0 as usize, last + 1);
    journal.sync().unwrap();
    let behind = Record { number, kind: Kind::Position, payload: b"behind"[..].into() };
    read_all(&written.files, &[&written.records[..last], &[behind]].concat());
}

/// From the first entry that is still there on.
fn read_all(files: &MemoryFiles, expected: &[Record]) {
    let names = files.list().unwrap();
    let first = names.first().and_then(|name| segment::first_of_name(name)).unwrap();
    let mut reader = Reader::open(Arc::new(files.clone()), first);
    let read = reader.next(EntryNo(expected.len() as u64), usize::MAX);
    // Files in the middle are looked at when they are read, not at the start.
    if let Ok(read) = read {
        assert_eq!(read, expected[first.0 as usize - 1..], "what was not written");
    }
}
