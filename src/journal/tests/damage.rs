//! Torn tails are cut, damage is refused, and nothing is accepted in silence.

use bytes::Bytes;

use super::super::segment::{self, Header};
use super::*;

/// Three segments and entries that were synced one by one.
fn filled() -> (MemoryFiles, Journal) {
    let files = MemoryFiles::new();
    let mut journal = opened(&files);
    while journal.segments() < 3 || !journal.end().0.is_multiple_of(3) {
        let text = format!("entry {} with some words behind it", journal.end().next());
        append(&mut journal, Kind::Command, &text);
        journal.sync().unwrap();
    }
    append(&mut journal, Kind::Command, "the one before the last");
    journal.sync().unwrap();
    append(&mut journal, Kind::Command, "the last one");
    journal.sync().unwrap();
    (files, journal)
}

fn names(files: &MemoryFiles) -> Vec<String> {
    let mut names = super::super::files::Files::list(files).unwrap();
    names.sort();
    names
}

#[test]
fn a_tail_torn_at_any_byte_of_the_last_entry_is_cut() {
    let (files, journal) = filled();
    let end = journal.end();
    let name = names(&files).pop().unwrap();
    let content = files.content(&name).unwrap();
    let size = segment::ENTRY_HEAD_BYTES + "the last one".len();
    for torn in 1..=size {
        let kept = &content[..content.len() - torn];
        for tail in [vec![], vec![0; torn], vec![0xFF; torn], vec![0; 5000]] {
            let copy = files.copy();
            copy.put(&name, [kept, &tail[..]].concat());
            let (mut journal, recovered) = open(&copy).unwrap();
            assert_eq!(recovered.last, end.previous(), "{torn} bytes torn, {} put", tail.len());
            assert_eq!(recovered.cut_bytes as usize, size - torn + tail.len());
            append(&mut journal, Kind::Command, "another last one");
            journal.sync().unwrap();
            let records = read(&copy, end, end, 1).unwrap();
            assert_eq!(texts(&records), ["another last one"]);
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_is_refused_or_cuts_the_last_entry_and_is_never_accepted() {
    let (files, journal) = filled();
    let end = journal.end();
    let whole = read(&files, EntryNo(1), end, 1 << 20).unwrap();
    let last_size = segment::size_of(whole.last().unwrap()) as usize;
    let names = names(&files);
    let (mut refused, mut cut) = (0, 0);
    for name in &names {
        let length = files.content(name).unwrap().len();
        for at in 0..length {
            let copy = files.copy();
            copy.flip(name, at as u64, (at % 8) as u8);
            match open(&copy) {
                Err(_) => refused += 1,
                Ok((journal, recovered)) if recovered.last < end => {
                    let tail = name == names.last().unwrap() && at >= length - last_size;
                    assert!(tail, "{name} byte {at}: cut to {}", recovered.last);
                    let records = read(&copy, EntryNo(1), journal.end(), 1 << 20).unwrap();
                    assert_eq!(records, whole[..whole.len() - 1]);
                    cut += 1;
                }
                Ok(_) => {
                    read(&copy, EntryNo(1), end, 1 << 20).expect_err("a flipped bit is noticed in reading");
                    refused += 1;
                }
            }
        }
    }
    assert!(cut == last_size && refused > 500, "{cut} {refused}");
}

#[test]
fn a_last_write_kept_in_pieces_is_cut_at_its_first_gap() {
    let files = MemoryFiles::new();
    let mut journal = opened(&files);
    append(&mut journal, Kind::Command, "synced");
    journal.sync().unwrap();
    let mut group = Vec::new();
    for number in 2..6 {
        segment::put_entry(&mut group, EntryNo(number), EntryNo(1), Kind::Command, &[b"group"]);
    }
    let name = segment::name(EntryNo(1));
    let size = group.len() / 4;
    group[size..2 * size].fill(0);
    files.put(&name, [files.content(&name).unwrap(), group].concat());
    assert_eq!(open(&files).unwrap().1.last, EntryNo(2));
}

#[test]
fn rot_in_what_had_been_synced_is_refused_when_a_later_entry_says_so() {
    let files = MemoryFiles::new();
    let mut journal = opened(&files);
    for text in ["one", "two", "three"] {
        append(&mut journal, Kind::Command, text);
        journal.sync().unwrap();
    }
    let name = segment::name(EntryNo(1));
    let end = files.content(&name).unwrap().len();
    files.flip(&name, end as u64 - 10 - 2 * segment::ENTRY_HEAD_BYTES as u64, 0);
    assert!(matches!(open(&files), Err(Error::Damaged { .. })));
}

#[test]
fn a_rotten_header_is_no_unfinished_segment_however_large_numbers_and_heads_are() {
    for (first, head) in [(1, 0), (1 << 30, 0), (1 << 30, 5 << 20), (1 << 42, 10)] {
        let files = MemoryFiles::new();
        let mut before = Header::encode(ID, EntryNo(first), &[]);
        segment::put_entry(&mut before, EntryNo(first), EntryNo::ZERO, Kind::Command, &[b"before"]);
        files.put(&segment::name(EntryNo(first)), before);
        let head = [(Kind::Facts, Bytes::from(vec![7; head]))];
        let mut last = Header::encode(ID, EntryNo(first + 1), &head);
        segment::put_entry(&mut last, EntryNo(first + 1), EntryNo(first), Kind::Command, &[b"last"]);
        let name = segment::name(EntryNo(first + 1));
        files.put(&name, last);
        assert_eq!(open(&files.copy()).unwrap().1.last, EntryNo(first + 1));
        for at in [0, 20, 52, 57] {
            files.flip(&name, at, 1);
            open(&files.copy()).err().unwrap_or_else(|| panic!("{first}: byte {at} is noticed"));
            files.flip(&name, at, 1);
        }
    }
}

#[test]
fn a_first_segment_torn_while_it_was_made_does_not_lock_the_folder_out() {
    let header = Header::encode(ID, EntryNo(1), &[]);
    for kept in 0..header.len() {
        for fill in [0, header.len() - kept] {
            let files = MemoryFiles::new();
            files.put(&segment::name(EntryNo(1)), [&header[..kept], &vec![0; fill]].concat());
            let (mut journal, recovered) = open(&files).unwrap();
            assert_eq!(recovered.last, EntryNo::ZERO);
            assert_eq!(append(&mut journal, Kind::Command, "first"), EntryNo(1));
        }
    }
}

#[test]
fn missing_and_foreign_segments_are_refused() {
    let (files, _) = filled();
    let names = names(&files);
    let copy = files.copy();
    super::super::files::Files::remove(&copy, &names[names.len() - 2]).unwrap();
    assert!(matches!(open(&copy), Err(Error::Damaged { .. } | Error::Missing { .. })));

    for name in &names {
        let copy = files.copy();
        let other = "f".repeat(32);
        let first = segment::first_of_name(name).unwrap();
        let old = copy.content(name).unwrap();
        let header = Header::encode(&other, first, &[]);
        copy.put(name, [&header, &old[header.len()..]].concat());
        assert!(matches!(open(&copy), Err(Error::Other { .. })), "{name}");
        // Another file under this one's name.
        let copy = files.copy();
        copy.put(&segment::name(EntryNo(first.0 + 1000)), old);
        assert!(open(&copy).is_err(), "{name} twice");
    }
}

#[test]
fn an_open_transaction_over_several_segments_is_cut_wherever_recovery_is_interrupted() {
    for cut in 0.. {
        let files = MemoryFiles::new();
        let mut journal = opened(&files);
        append(&mut journal, Kind::Position, "{\"lsn\":\"0/7\"}");
        while journal.segments() < 4 {
            append(&mut journal, Kind::TransactionPart, &"part".repeat(40));
            journal.sync().unwrap();
        }
        drop(journal);
        files.cut_power_after(cut);
        let interrupted = open(&files).is_err();
        files.crash(cut);
        let (mut journal, recovered) = open(&files).unwrap();
        assert_eq!((recovered.last, recovered.end_lsn), (EntryNo(1), Some(Lsn(7))));
        assert_eq!((journal.segments(), journal.first()), (1, EntryNo(1)));
        assert_eq!(append(&mut journal, Kind::Command, "goes on"), EntryNo(2));
        if !interrupted {
            assert!(cut > 8, "recovery has several operations");
            break;
        }
    }
}
