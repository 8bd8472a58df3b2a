//! Segment files of any content: read, recovered, read again.

use std::sync::Arc;

use bytes::Bytes;
use projectord::journal::files::Files;
use projectord::journal::memory::MemoryFiles;
use projectord::journal::segment::{self, ENTRY_HEAD_BYTES, Header, Parsed, put_entry};
use projectord::journal::{Journal, Kind, Options, Reader};
use projectord::model::EntryNo;

const ID: &str = "0123456789abcdef0123456789abcdef";
/// Bytes in front of a header's records.
const FIXED_BYTES: usize = 56;

pub const WORDS: &[&[u8]] = &[
    b"pjournal",
    b"\x01\0\0\0",
    ID.as_bytes(),
    b"\x01\0\0\0\0\0\0\0",
    b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
    b"\0\0\0\x04",
    b"\xFF\xFF\xFF\x03",
    b"\xFF\xFF\xFF\x0F",
    b"\x05",
    b"\x06",
    b"\x0B",
];

pub fn seeds() -> Vec<Vec<u8>> {
    let head = [
        (Kind::Facts, Bytes::from_static(b"{}")),
        (Kind::Position, Bytes::from_static(b"{\"lsn\":\"0/5\"}")),
    ];
    let mut file = Header::encode(ID, EntryNo(1), &head);
    put_entry(&mut file, EntryNo(1), EntryNo(0), Kind::Position, &[b"{\"lsn\":\"0/7\"}"]);
    put_entry(&mut file, EntryNo(2), EntryNo(1), Kind::TransactionPart, &[b"\x01\0\0\0x"]);
    put_entry(&mut file, EntryNo(3), EntryNo(1), Kind::Transaction, &[&[7; 40], b"\x01\0\0\0y"]);
    put_entry(&mut file, EntryNo(4), EntryNo(3), Kind::Rebuild, &[b"{\"lsn\":\"0/9\"}"]);
    put_entry(&mut file, EntryNo(5), EntryNo(3), Kind::TransactionPart, &[b""]);
    let empty = Header::encode(ID, EntryNo(1), &[]);
    [0u8, 1].iter().flat_map(|mode| [&file, &empty].map(|file| [&[*mode], &file[..]].concat())).collect()
}

/// The first byte says whether checksums are mended, so that what is behind them is reached too.
pub fn run(bytes: &[u8]) {
    let Some((mode, file)) = bytes.split_first() else { return };
    let mut file = file.to_vec();
    if mode % 2 == 1 {
        mend(&mut file);
    }
    let name = segment::name(EntryNo(1));
    let header = Header::read(&name, |offset, length| {
        let rest = file.get(offset as usize..).unwrap_or_default();
        Ok(rest[..length.min(rest.len())].to_vec())
    });
    let mut plain = Vec::new();
    if let Ok(header) = &header {
        let again = Header::encode(&header.journal_id, header.first, &header.head);
        let whole = header.size_bytes as usize;
        let id_is_plain = header.journal_id.is_ascii();
        // Fewer than five bytes at the records' end are no record.
        if id_is_plain && segment::head_bytes(&header.head) + FIXED_BYTES + 4 == whole {
            assert_eq!(again, file[..whole]);
        }
        let mut rest = Bytes::copy_from_slice(&file[whole..]);
        while let Parsed::Entry { record, durable } = segment::parse(&rest) {
            assert!(durable < record.number || record.number == EntryNo::ZERO);
            let size = segment::size_of(&record) as usize;
            let _ = rest.split_to(size);
            plain.push(record);
        }
    }
    let files = MemoryFiles::new();
    files.put(&name, file.clone());
    let mut reader = Reader::open(Arc::new(files.clone()), EntryNo(1));
    if let Ok(read) = reader.next(EntryNo(u64::MAX), usize::MAX) {
        panic!("{} entries and no end", read.len());
    }
    let Ok((journal, recovered)) = Journal::open(Arc::new(files.clone()), Options::default(), ID, 0) else {
        assert_eq!(files.content(&name), Some(file), "a refusal leaves the file as it was");
        return;
    };
    assert_eq!((journal.end(), journal.durable()), (recovered.last, recovered.last));
    if recovered.last != EntryNo::ZERO {
        let mut reader = Reader::open(Arc::new(files.clone()), EntryNo(1));
        let read = reader.next(recovered.last, usize::MAX).expect("what was recovered can be read");
        let count = recovered.last.0 as usize;
        assert_eq!(read, plain[..count], "an entry that was never written");
        assert!(read.last().is_some_and(|last| last.kind != Kind::TransactionPart));
    }
    assert_eq!(files.list().unwrap().len(), 1);
}

/// Makes the checksums right wherever the lengths lead.
fn mend(file: &mut [u8]) {
    let Some(length) = file.get(FIXED_BYTES - 4..FIXED_BYTES) else { return };
    let length = u32::from_le_bytes(length.try_into().unwrap()) as usize;
    let end = FIXED_BYTES.saturating_add(length);
    if file.len() < end.saturating_add(4) {
        return;
    }
    let checksum = crc32c::crc32c(&file[..end]);
    file[end..end + 4].copy_from_slice(&checksum.to_le_bytes());
    let mut rest = &mut file[end + 4..];
    while rest.len() >= ENTRY_HEAD_BYTES {
        let length = u32::from_le_bytes(rest[..4].try_into().unwrap()) as usize;
        let whole = ENTRY_HEAD_BYTES.saturating_add(length);
        if rest.len() < whole {
            return;
        }
        let checksum = crc32c::crc32c(&rest[8..whole]);
        rest[4..8].copy_from_slice(&checksum.to_le_bytes());
        rest = &mut rest[whole..];
    }
}
