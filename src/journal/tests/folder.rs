//! The data folder's identity and lock, and the journal on a real file system.

use std::fs;

use super::super::DataFolder;
use super::super::files::{Files, RealFiles};
use super::*;
use crate::model::Epoch;

#[test]
fn the_identity_stays_and_the_epoch_grows_over_restarts_and_above_what_was_seen() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("deep").join("data");
    let mut folder = DataFolder::open(&path, 0xAB, 5).unwrap();
    let id = folder.journal_id().to_owned();
    assert_eq!(id, format!("{:032x}", 0xAB));
    assert_eq!(folder.take_epoch(Epoch(0)).unwrap(), Epoch(1));
    assert_eq!(folder.take_epoch(Epoch(41)).unwrap(), Epoch(42));
    drop(folder);
    let mut folder = DataFolder::open(&path, 0xCD, 6).unwrap();
    assert_eq!((folder.journal_id(), folder.epoch()), (&id[..], Epoch(42)));
    assert_eq!(folder.take_epoch(Epoch(7)).unwrap(), Epoch(43));
    for seen in [Epoch::MAX, Epoch(u32::MAX)] {
        assert!(matches!(folder.take_epoch(seen), Err(Error::Exhausted)), "{seen}");
    }
    assert_eq!(folder.take_epoch(Epoch(0)).unwrap(), Epoch(44));
}

#[test]
fn a_second_daemon_is_refused_with_the_process_that_holds_the_folder() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = DataFolder::open(temporary.path(), 1, 0).unwrap();
    match DataFolder::open(temporary.path(), 2, 0) {
        Err(Error::Locked { pid, .. }) => assert_eq!(pid, std::process::id().to_string()),
        other => panic!("{other:?}"),
    }
    drop(folder);
    DataFolder::open(temporary.path(), 2, 0).unwrap();
}

#[test]
fn an_identity_that_is_newer_or_makes_no_sense_is_refused() {
    let check = |content: &str, expected: &str| {
        let temporary = tempfile::tempdir().unwrap();
        fs::write(temporary.path().join("identity.json"), content).unwrap();
        let error = DataFolder::open(temporary.path(), 1, 0).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{content}: {error}");
        assert_eq!(fs::read_to_string(temporary.path().join("identity.json")).unwrap(), content);
    };
    check(r#"{"format": 2, "everything": "is different"}"#, "journal-newer");
    check(r#"{"format": 1, "everything": "is different"}"#, "data-unreadable");
    check(r#"{"format": 1, "journal_id": "short", "epoch": 1, "created_unix_s": 0}"#, "data-unreadable");
    check("", "data-unreadable");
}

#[test]
fn the_journal_works_on_a_real_file_system() {
    let temporary = tempfile::tempdir().unwrap();
    let files = Arc::new(RealFiles::open(temporary.path().join("journal")).unwrap());
    let options = Options { reserve_bytes: 0, ..small() };
    for round in 0..3u64 {
        let (mut journal, recovered) = Journal::open(files.clone(), options.clone(), ID, 0).unwrap();
        assert_eq!(recovered.last, EntryNo(round * 10));
        for _ in 0..12 {
            append(&mut journal, Kind::Command, &"x".repeat(100));
            journal.sync().unwrap();
        }
        journal.truncate_after(EntryNo((round + 1) * 10)).unwrap();
        let mut reader = Reader::open(files.clone(), EntryNo(1));
        assert_eq!(reader.next(journal.durable(), 1 << 20).unwrap().len() as u64, (round + 1) * 10);
        assert!(!journal.is_full());
    }
    assert!(files.list().unwrap().iter().all(|name| name.ends_with(".journal")));
}
