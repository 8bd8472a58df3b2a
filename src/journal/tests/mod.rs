//! The journal over a folder that is nastier than a disk.

mod damage;
mod folder;
mod limits;
mod schedule;

use std::sync::Arc;

use super::entry::{Commit, Kind, Record};
use super::memory::MemoryFiles;
use super::recover::Recovered;
use super::writer::{Journal, Options};
use super::{Error, Reader};
use crate::model::{EntryNo, Lsn};

const ID: &str = "0123456789abcdef0123456789abcdef";

fn small() -> Options {
    Options {
        segment_bytes: 300,
        retain_bytes: 600,
        retain_age_s: 100,
        quota_bytes: 1 << 20,
        reserve_bytes: 0,
        ..Options::default()
    }
}

fn open(files: &MemoryFiles) -> Result<(Journal, Recovered), Error> {
    Journal::open(Arc::new(files.clone()), small(), ID, 0)
}

fn opened(files: &MemoryFiles) -> Journal {
    open(files).unwrap().0
}

/// Everything from an entry on, read in pieces.
fn read(files: &MemoryFiles, from: EntryNo, up_to: EntryNo, max_bytes: usize) -> Result<Vec<Record>, Error> {
    let mut reader = Reader::open(Arc::new(files.clone()), from);
    let mut records = Vec::new();
    while reader.position() <= up_to {
        let more = reader.next(up_to, max_bytes)?;
        assert!(!more.is_empty(), "no entry at {}", reader.position());
        records.extend(more);
    }
    Ok(records)
}

fn texts(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| std::str::from_utf8(&record.payload).unwrap()).collect()
}

fn append(journal: &mut Journal, kind: Kind, text: &str) -> EntryNo {
    journal.append(kind, &[text.as_bytes()]).unwrap()
}

fn commit(end: Lsn) -> Commit {
    Commit { commit: end, end, time_us: 0, xid: 1, rows: 0, first: EntryNo(1) }
}
