//! What only the engine over LMDB does: files, limits, damage.

use std::fs;

use tempfile::TempDir;

use super::*;

fn options(map_size_bytes: usize) -> Options {
    Options { map_size_bytes, ..Options::default() }
}

fn open(place: &TempDir) -> Lmdb {
    Lmdb::open(Folder::lock(place.path()).unwrap(), &options(64 << 20)).unwrap()
}

fn fill(lmdb: &Lmdb, keys: u32) {
    let mut batch = lmdb.batch().unwrap();
    for key in 0..keys {
        batch.put(Space::Rows, &key.to_be_bytes(), &[7; 200]).unwrap();
    }
    batch.commit().unwrap();
}

#[test]
fn commits_are_there_after_closing_and_opening_again() {
    let place = TempDir::new().unwrap();
    let lmdb = open(&place);
    fill(&lmdb, 1_000);
    drop(lmdb);
    assert_eq!(open(&place).view().unwrap().count(Space::Rows).unwrap(), 1_000);
}

#[test]
fn commits_are_there_after_a_process_that_never_closed_the_file() {
    let place = TempDir::new().unwrap();
    let lmdb = open(&place);
    fill(&lmdb, 1_000);
    // What another process would find in the page cache right now.
    let other = TempDir::new().unwrap();
    fs::copy(lmdb.folder.data_file(), other.path().join(folder::DATA_FILE)).unwrap();
    assert_eq!(open(&other).view().unwrap().count(Space::Rows).unwrap(), 1_000);
}

#[test]
fn the_default_options_reserve_a_large_map_and_a_small_file() {
    let place = TempDir::new().unwrap();
    let lmdb = Lmdb::open(Folder::lock(place.path()).unwrap(), &Options::default()).unwrap();
    assert!(lmdb.map_size_bytes() >= 64 << 20);
    assert!(lmdb.size_bytes().unwrap() < 1 << 20);
}

#[test]
fn a_store_that_reaches_its_largest_size_says_full_and_keeps_its_last_commit() {
    let place = TempDir::new().unwrap();
    let lmdb = open(&place);
    fill(&lmdb, 10);
    let mut batch = lmdb.batch().unwrap();
    let full =
        (10..1_000_000u32).find_map(|key| batch.put(Space::Rows, &key.to_be_bytes(), &[7; 2_000]).err());
    assert!(matches!(full, Some(Error::Full { .. })), "{full:?}");
    drop(batch);
    assert_eq!(lmdb.view().unwrap().count(Space::Rows).unwrap(), 10);
    fill(&lmdb, 20);
    assert_eq!(lmdb.view().unwrap().count(Space::Rows).unwrap(), 20);
}

#[test]
fn too_many_views_are_an_error_and_a_closed_one_makes_room() {
    let place = TempDir::new().unwrap();
    let few = Options { views_max: 3, ..options(64 << 20) };
    let lmdb = Lmdb::open(Folder::lock(place.path()).unwrap(), &few).unwrap();
    let mut views: Vec<_> = (0..3).map(|_| lmdb.view().unwrap()).collect();
    assert!(matches!(lmdb.view().err(), Some(Error::Misuse { .. })));
    assert!(lmdb.views_open().unwrap() >= 3);
    views.pop();
    lmdb.view().unwrap();
}

#[test]
fn a_file_that_is_no_store_is_an_error() {
    let place = TempDir::new().unwrap();
    fs::write(place.path().join(folder::DATA_FILE), vec![0x55; 40_000]).unwrap();
    let opened = Lmdb::open(Folder::lock(place.path()).unwrap(), &options(64 << 20));
    assert!(matches!(opened, Err(Error::Broken { .. })));
}

#[test]
fn a_file_that_was_cut_short_is_an_error_and_not_a_crash_of_the_process() {
    let place = TempDir::new().unwrap();
    fill(&open(&place), 50_000);
    let file = fs::File::options().write(true).open(place.path().join(folder::DATA_FILE)).unwrap();
    file.set_len(3 * 4_096).unwrap();
    let read = Lmdb::open(Folder::lock(place.path()).unwrap(), &options(64 << 20)).and_then(|lmdb| {
        let view = lmdb.view()?;
        view.scan(Space::Rows, b"", None, &mut |_, _| ControlFlow::Continue(()))
    });
    assert!(matches!(read, Err(Error::Broken { .. })), "{read:?}");
}

#[test]
fn durable_commits_and_a_sync_are_the_same_store() {
    let place = TempDir::new().unwrap();
    let durable = Options { durability: Durability::Commit, ..options(64 << 20) };
    let lmdb = Lmdb::open(Folder::lock(place.path()).unwrap(), &durable).unwrap();
    fill(&lmdb, 10);
    lmdb.sync().unwrap();
    drop(lmdb);
    assert_eq!(open(&place).view().unwrap().count(Space::Rows).unwrap(), 10);
}

#[test]
fn a_copy_leaves_out_the_pages_that_are_free() {
    let place = TempDir::new().unwrap();
    let lmdb = open(&place);
    fill(&lmdb, 50_000);
    let mut batch = lmdb.batch().unwrap();
    for key in 100..50_000u32 {
        batch.delete(Space::Rows, &key.to_be_bytes()).unwrap();
    }
    batch.commit().unwrap();
    let copy = place.path().join("copy");
    lmdb.copy_to(&copy).unwrap();
    let (before, after) = (lmdb.size_bytes().unwrap(), fs::metadata(&copy).unwrap().len());
    assert!(after * 20 < before, "{before} -> {after}");
}
