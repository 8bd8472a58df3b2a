//! A process that is really killed, in the middle of its commits.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::*;

const FOLDER: &str = "PROJECTORD_TEST_KILLED_STORE";

fn open(folder: &Path) -> Lmdb {
    let options = Options { map_size_bytes: 256 << 20, ..Options::default() };
    Lmdb::open(Folder::lock(folder).unwrap(), &options).unwrap()
}

fn entry(lmdb: &Lmdb) -> u64 {
    let view = lmdb.view().unwrap();
    let found = view.get(Space::Meta, b"entry").unwrap();
    found.map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap()))
}

/// Not a test by itself: what the killed process does, until it is killed. Ten rows to an entry.
#[test]
#[ignore = "run by the test below, in a process of its own"]
fn writes_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let lmdb = open(Path::new(&folder));
    for number in entry(&lmdb) + 1.. {
        let mut batch = lmdb.batch().unwrap();
        for row in 0..10u8 {
            let key = [&number.to_be_bytes()[..], &[row]].concat();
            batch.put(Space::Rows, &key, &[row; 500]).unwrap();
        }
        batch.put(Space::Meta, b"entry", &number.to_be_bytes()).unwrap();
        batch.commit().unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "committed {number}").and_then(|()| out.flush()).unwrap();
    }
}

#[test]
fn a_killed_process_leaves_every_commit_that_it_made_and_no_half_of_another() {
    let place = TempDir::new().unwrap();
    for round in 0..5u64 {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture"])
            .arg("store::lmdb::kill_test::writes_until_it_is_killed")
            .env(FOLDER, place.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut told = 0;
        let mut lines = 0;
        for line in BufReader::new(writer.stdout.take().unwrap()).lines() {
            if let Some(number) = line.unwrap().strip_prefix("committed ") {
                told = number.parse().unwrap();
                lines += 1;
            }
            if lines == 20 + round * 7 {
                writer.kill().unwrap();
            }
        }
        writer.wait().unwrap();
        assert!(lines > 0, "the writer wrote nothing");
        let lmdb = open(place.path());
        let found = entry(&lmdb);
        assert!(found >= told, "told {told}, found {found}");
        assert_eq!(lmdb.view().unwrap().count(Space::Rows).unwrap(), found * 10);
    }
}
