//! Cutting, forgetting, filling up, and failing; and reading beside all that.

use super::super::entry::Position;
use super::super::files::Files;
use super::super::segment;
use super::*;

#[test]
fn truncating_over_segment_borders_leaves_every_prefix_durably() {
    let build = || {
        let files = MemoryFiles::new();
        let mut journal = opened(&files);
        for number in 1..=12 {
            append(&mut journal, Kind::Command, &format!("{number:100}"));
            if number < 12 {
                journal.sync().unwrap();
            }
        }
        assert!(journal.segments() >= 3);
        (files, journal)
    };
    for last in 0..=12 {
        let (files, mut journal) = build();
        journal.truncate_after(EntryNo(last)).unwrap();
        if last < 12 {
            assert_eq!((journal.end(), journal.durable()), (EntryNo(last), EntryNo(last)));
        }
        assert_eq!(append(&mut journal, Kind::Command, "new"), EntryNo(last + 1));
        journal.sync().unwrap();
        drop(journal);
        files.crash(last);
        let (_, recovered) = open(&files).unwrap();
        assert_eq!(recovered.last, EntryNo(last + 1));
        let records = read(&files, EntryNo(1), recovered.last, 1).unwrap();
        assert_eq!(texts(&records).pop(), Some("new"));
    }
}

#[test]
fn truncating_before_what_is_still_there_is_refused() {
    let files = MemoryFiles::new();
    let mut journal = opened(&files);
    for _ in 0..20 {
        append(&mut journal, Kind::Command, &"x".repeat(100));
        journal.sync().unwrap();
    }
    assert!(journal.retain(EntryNo(20), 0).unwrap() > 0);
    let first = journal.first();
    assert!(matches!(journal.truncate_after(EntryNo(first.0 - 2)), Err(Error::Missing { .. })));
    journal.truncate_after(first.previous()).unwrap();
    assert_eq!(append(&mut journal, Kind::Command, "goes on"), first);
}

#[test]
fn retention_keeps_what_the_store_or_the_limits_ask_for() {
    let check = |store_durable: u64, now: u64, expected: &str| {
        let files = MemoryFiles::new();
        let mut journal = opened(&files);
        for _ in 0..20 {
            append(&mut journal, Kind::Command, &"x".repeat(100));
            journal.sync().unwrap();
        }
        journal.retain(EntryNo(store_durable), now).unwrap();
        let first = journal.first();
        let found = if first == EntryNo(1) {
            "everything"
        } else if journal.segments() == 1 {
            "the last segment"
        } else {
            assert!(first.0 <= store_durable + 1, "{first} is needed");
            assert!(journal.size_bytes() <= 600 || first.0 + 3 > store_durable, "{}", journal.size_bytes());
            "some"
        };
        assert_eq!(found, expected, "store {store_durable}, {now} s");
        read(&files, first, EntryNo(20), 1 << 20).unwrap();
    };
    check(0, 1000, "everything");
    check(1, 1000, "everything");
    check(9, 0, "some");
    check(20, 0, "some");
    check(20, 100, "some");
    check(20, 101, "the last segment");
}

#[test]
fn a_failed_sync_poisons_and_recovery_believes_nothing_of_that_file() {
    for seed in 0..40 {
        let files = MemoryFiles::new();
        let mut journal = opened(&files);
        append(&mut journal, Kind::Command, "synced");
        journal.sync().unwrap();
        append(&mut journal, Kind::Command, "not synced");
        files.fail_next_sync();
        journal.sync().unwrap_err();
        assert_eq!(journal.durable(), EntryNo(1));
        journal.sync().expect_err("the next sync would succeed, and keep nothing");
        journal.append(Kind::Command, &[]).unwrap_err();
        journal.truncate_after(EntryNo(1)).unwrap_err();
        journal.retain(EntryNo(1), 0).unwrap_err();
        drop(journal);
        // It reads fine, from the page cache. What recovery tells must survive the power cut that follows.
        let (journal, recovered) = open(&files).unwrap();
        assert_eq!(recovered.last, EntryNo(2));
        drop(journal);
        files.crash(seed);
        assert_eq!(open(&files).unwrap().1.last, EntryNo(2), "seed {seed}");
    }
}

#[test]
fn the_journal_is_full_at_its_quota_and_at_the_reserve_and_has_room_again_after_retention() {
    let files = MemoryFiles::new();
    let options = Options { quota_bytes: 2000, reserve_bytes: 5000, ..small() };
    let (mut journal, _) = Journal::open(Arc::new(files.clone()), options, ID, 0).unwrap();
    assert!(!journal.is_full());
    while !journal.is_full() {
        assert!(journal.size_bytes() < 2400, "the quota is noticed at the next segment");
        append(&mut journal, Kind::Command, &"x".repeat(100));
        journal.sync().unwrap();
    }
    assert!(journal.size_bytes() >= 2000);
    journal.retain(journal.durable(), 0).unwrap();
    assert!(!journal.is_full());
    files.set_capacity(Some(journal.size_bytes() + 4999));
    journal.look_for_room().unwrap();
    assert!(journal.is_full());
    files.set_capacity(Some(journal.size_bytes() + 5000));
    journal.look_for_room().unwrap();
    assert!(!journal.is_full());
}

#[test]
fn a_full_disk_is_an_error_of_its_own_and_what_was_synced_stays() {
    for free in 0..200 {
        let files = MemoryFiles::new();
        let mut journal = opened(&files);
        append(&mut journal, Kind::Command, "synced");
        journal.sync().unwrap();
        files.set_capacity(Some(journal.size_bytes() + free));
        append(&mut journal, Kind::Command, &"x".repeat(300));
        assert!(journal.sync().unwrap_err().is_full());
        assert!(journal.append(Kind::Command, &[]).is_err());
        drop(journal);
        files.set_capacity(None);
        assert_eq!(open(&files).unwrap().1.last, EntryNo(1));
    }
}

#[test]
fn too_large_an_entry_is_refused_and_leaves_no_trace() {
    let files = MemoryFiles::new();
    let mut journal = opened(&files);
    let half = vec![0; segment::ENTRY_BYTES_MAX / 2 + 1];
    assert!(matches!(journal.append(Kind::Chunk, &[&half, &half]), Err(Error::TooLarge { .. })));
    assert_eq!(append(&mut journal, Kind::Command, "next"), EntryNo(1));
    journal.sync().unwrap();
}

#[test]
fn a_reader_beside_a_writer_that_truncates_never_returns_what_it_read_ahead() {
    for (before, after) in [(3, 3), (12, 1), (12, 12), (2, 12)] {
        let files = MemoryFiles::new();
        let mut journal = opened(&files);
        append(&mut journal, Kind::Command, "stays");
        for _ in 0..before {
            append(&mut journal, Kind::TransactionPart, &format!("{:100}", "stale"));
            journal.sync().unwrap();
        }
        let mut reader = Reader::open(Arc::new(files.clone()), EntryNo(1));
        assert_eq!(texts(&reader.next(EntryNo(1), 1 << 20).unwrap()), ["stays"]);
        journal.truncate_after(EntryNo(1)).unwrap();
        for _ in 0..after {
            append(&mut journal, Kind::Command, &format!("{:100}", "fresh"));
            journal.sync().unwrap();
        }
        let records = reader.next(journal.durable(), 1 << 20).unwrap();
        assert_eq!(records.len(), after);
        assert!(texts(&records).iter().all(|text| text.starts_with("fresh")), "{before} {after}");
    }
}

#[test]
fn a_reader_returns_nothing_behind_what_it_is_told_and_stands_still_after_an_error() {
    let files = MemoryFiles::new();
    let mut journal = opened(&files);
    for text in ["one", "two", "three"] {
        append(&mut journal, Kind::Command, text);
    }
    journal.sync().unwrap();
    let mut reader = Reader::open(Arc::new(files.clone()), EntryNo::ZERO);
    assert_eq!(texts(&reader.next(EntryNo(1), 1 << 20).unwrap()), ["one"]);
    assert!(reader.next(EntryNo(1), 1 << 20).unwrap().is_empty());
    reader.next(EntryNo(4), 1 << 20).expect_err("there is no fourth");
    assert_eq!(reader.position(), EntryNo(2));
    assert_eq!(texts(&reader.next(EntryNo(3), 1 << 20).unwrap()), ["two", "three"]);
    files.remove(&segment::name(EntryNo(1))).unwrap();
    let mut reader = Reader::open(Arc::new(files), EntryNo(1));
    assert!(matches!(reader.next(EntryNo(3), 1), Err(Error::Missing { .. })));
}

#[test]
fn the_position_and_the_facts_survive_when_their_entries_are_forgotten() {
    let files = MemoryFiles::new();
    let mut journal = opened(&files);
    append(&mut journal, Kind::Facts, "old facts");
    journal.set_head(vec![(Kind::Facts, "old facts".into())]);
    append(&mut journal, Kind::Facts, "facts");
    journal.append(Kind::Transaction, &[&commit(Lsn(77)).encode(), b"messages"]).unwrap();
    journal.sync().unwrap();
    drop(journal);
    // Reopened: nobody tells the head anew before segments are begun.
    let mut journal = opened(&files);
    for _ in 0..20 {
        append(&mut journal, Kind::Chunk, &"x".repeat(100));
        journal.sync().unwrap();
    }
    journal.retain(journal.durable(), 1000).unwrap();
    assert_eq!(journal.segments(), 1);
    drop(journal);
    let (_, recovered) = open(&files).unwrap();
    assert_eq!(recovered.end_lsn, Some(Lsn(77)));
    assert_eq!(recovered.facts.as_deref(), Some(&b"facts"[..]));
}

#[test]
fn what_a_rebuild_said_is_repeated_by_the_segments_behind_it() {
    let files = MemoryFiles::new();
    let mut journal = opened(&files);
    let position = |lsn| serde_json::to_string(&Position { lsn: Lsn(lsn) }).unwrap();
    append(&mut journal, Kind::Position, &position(900));
    let rebuilt = append(&mut journal, Kind::Rebuild, &position(70));
    journal.set_head(vec![(Kind::Rebuild, super::super::writer::rebuilt_at(rebuilt))]);
    for number in 0..12 {
        append(&mut journal, Kind::Command, &format!("{number:100}"));
        journal.sync().unwrap();
    }
    assert!(journal.segments() >= 3);
    drop(journal);
    let (mut journal, recovered) = open(&files).unwrap();
    assert_eq!((recovered.end_lsn, recovered.rebuilt), (Some(Lsn(70)), Some(rebuilt)));
    // Also when it is opened twice before anything follows.
    for number in 0..6 {
        append(&mut journal, Kind::Command, &format!("{number:100}"));
        journal.sync().unwrap();
    }
    drop(journal);
    assert_eq!(open(&files).unwrap().1.rebuilt, Some(rebuilt));
}
