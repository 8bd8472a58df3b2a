//! Entries of 1 KB: appended and synced in groups, then read back. `cargo bench --bench journal [folder]`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use projectord::journal::files::RealFiles;
use projectord::journal::{Journal, Kind, Options, Reader};
use projectord::model::EntryNo;

const ENTRIES: u64 = 200_000;
const ENTRY_BYTES: usize = 1024;
const READ_BYTES: usize = 4 << 20;

fn report(what: &str, began: Instant, entries: u64) {
    let seconds = began.elapsed().as_secs_f64();
    let rate = entries as f64 / seconds;
    println!("{what:<28} {rate:>10.0} entries/s {:>8.1} MB/s", rate * ENTRY_BYTES as f64 / 1e6);
}

fn main() {
    let folder = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let folder = folder.map_or_else(std::env::temp_dir, PathBuf::from);
    let payload = vec![7; ENTRY_BYTES];
    for group in [1u64, 10, 100, 1000] {
        let place = folder.join(format!("projectord-bench-{}-{group}", std::process::id()));
        let files = Arc::new(RealFiles::open(place.clone()).unwrap());
        let options = Options { reserve_bytes: 0, ..Options::default() };
        let (mut journal, _) = Journal::open(files.clone(), options, &"0".repeat(32), 0).unwrap();
        let entries = ENTRIES.min(group * 2000);
        let began = Instant::now();
        for number in 1..=entries {
            journal.append(Kind::Command, &[&payload]).unwrap();
            if number % group == 0 {
                journal.sync().unwrap();
            }
        }
        report(&format!("append, sync every {group}"), began, entries);
        let began = Instant::now();
        let mut reader = Reader::open(files, EntryNo(1));
        let mut read = 0;
        while reader.position() <= journal.durable() {
            read += reader.next(journal.durable(), READ_BYTES).unwrap().len() as u64;
        }
        assert_eq!(read, entries);
        report("  read back (page cache)", began, entries);
        std::fs::remove_dir_all(place).unwrap();
    }
}
