//! Reboots, kills, rot and mix-ups, each told to the guard by a pretended machine.

use std::fs;
use std::io;
use std::path::Path;

use tempfile::TempDir;

use super::checkpoint::{Checkpoints, KEPT};
use super::engine::{Batch, Engine, Read, Space};
use super::folder::{DATA_FILE, Folder};
use super::guard::{self, Guard};
use super::host::{FileSystem, Host, Identity, ThisHost};
use super::lmdb::{Durability, Lmdb, Options};
use super::note::{self, FORMAT};
use super::trust::{Error, Question, STORE_DAMAGED, STORE_NEWER, STORE_OTHER, Verdict, judge, settle};
use crate::model::EntryNo;

/// A machine whose facts can be chosen; everything else is what the real one says.
#[derive(Clone)]
struct Pretended {
    boot_id: Option<String>,
    file_system: FileSystem,
    bend: fn(Identity) -> Identity,
}

impl Default for Pretended {
    fn default() -> Self {
        Pretended { boot_id: Some("first".to_owned()), file_system: FileSystem::Local, bend: |as_is| as_is }
    }
}

impl Host for Pretended {
    fn boot_id(&self) -> Option<String> {
        self.boot_id.clone()
    }

    fn file_system(&self, _: &Path) -> io::Result<FileSystem> {
        Ok(self.file_system)
    }

    fn identity(&self, file: &Path) -> io::Result<Option<Identity>> {
        Ok(ThisHost.identity(file)?.map(self.bend))
    }

    fn unix_seconds(&self) -> u64 {
        1
    }
}

fn rebooted() -> Pretended {
    Pretended { boot_id: Some("second".to_owned()), ..Pretended::default() }
}

struct Place(TempDir);

impl Place {
    fn new() -> Place {
        Place(TempDir::new().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn judge_as(&self, host: &Pretended, journal_id: &str, distrust: bool) -> Result<Verdict, Error> {
        judge(&Folder::lock(self.path()).unwrap(), host, Question { journal_id, distrust })
    }

    fn judge(&self, host: &Pretended) -> Verdict {
        self.judge_as(host, "ours", false).unwrap()
    }

    /// A whole start, as the conductor does it.
    fn start(&self, host: &Pretended, durability: Durability) -> (Lmdb, Guard) {
        let folder = Folder::lock(self.path()).unwrap();
        let verdict = judge(&folder, host, Question { journal_id: "ours", distrust: false }).unwrap();
        settle(&folder, &verdict).unwrap();
        let options = Options { map_size_bytes: 64 << 20, durability, ..Options::default() };
        let lmdb = Lmdb::open(folder, &options).unwrap();
        let guard = Guard::begin(lmdb.path(), host, "ours", durability).unwrap();
        (lmdb, guard)
    }

    /// A store that reached `entry` and was never closed: its guard is simply dropped.
    fn killed_at(&self, entry: u64) {
        let (lmdb, _guard) = self.start(&Pretended::default(), Durability::Journal);
        reach(&lmdb, entry);
    }

    fn checkpoint_at(&self, entry: u64) {
        let (lmdb, guard) = self.start(&Pretended::default(), Durability::Journal);
        reach(&lmdb, entry);
        let mut checkpoints = Checkpoints::open(self.path(), "ours").unwrap();
        checkpoints.make(&lmdb, EntryNo(entry), &Pretended::default()).unwrap();
        guard.close(lmdb, &Pretended::default()).unwrap();
    }

    /// The entry that a start on this machine finds.
    fn found(&self, host: &Pretended) -> u64 {
        reached(&self.start(host, Durability::Journal).0)
    }

    /// Checkpoint copies, oldest first.
    fn copies(&self) -> Vec<std::path::PathBuf> {
        let entries = fs::read_dir(self.path().join("checkpoints")).unwrap();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|end| end == "mdb"));
        paths.sort();
        paths
    }
}

fn reach(lmdb: &Lmdb, entry: u64) {
    let mut batch = lmdb.batch().unwrap();
    batch.put(Space::Meta, b"entry", &entry.to_be_bytes()).unwrap();
    for key in 0..2_000u32 {
        batch.put(Space::Rows, &key.to_be_bytes(), &entry.to_be_bytes()).unwrap();
    }
    batch.commit().unwrap();
}

fn reached(lmdb: &Lmdb) -> u64 {
    let view = lmdb.view().unwrap();
    view.get(Space::Meta, b"entry").unwrap().map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap()))
}

/// Changes one byte in the middle of a file, behind the back of everybody.
fn rot(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn reason(verdict: &Verdict) -> &str {
    match verdict {
        Verdict::Trusted => "trusted",
        Verdict::Checkpoint { reason, .. } | Verdict::Nothing { reason } => reason,
    }
}

#[test]
fn an_empty_folder_is_nothing_and_a_first_start_works() {
    let place = Place::new();
    assert_eq!(reason(&place.judge(&Pretended::default())), "there is no store yet");
    assert_eq!(place.found(&Pretended::default()), 0);
}

#[test]
fn a_store_that_was_closed_is_trusted_also_after_a_reboot_on_another_machine() {
    let place = Place::new();
    let (lmdb, guard) = place.start(&Pretended::default(), Durability::Journal);
    reach(&lmdb, 7);
    guard.close(lmdb, &Pretended::default()).unwrap();
    let elsewhere = Pretended {
        file_system: FileSystem::Other(0x6969),
        bend: |as_is| Identity { device: 99, inode: 99, birth_ns: None, ..as_is },
        ..rebooted()
    };
    assert_eq!(place.judge(&elsewhere), Verdict::Trusted);
    assert_eq!(place.found(&elsewhere), 7);
}

#[test]
fn a_killed_store_is_trusted_in_the_same_boot_with_its_last_commit() {
    let place = Place::new();
    place.killed_at(7);
    assert_eq!(place.judge(&Pretended::default()), Verdict::Trusted);
    assert_eq!(place.found(&Pretended::default()), 7);
}

#[test]
fn a_killed_store_is_distrusted_for_each_fact_that_does_not_hold() {
    let place = Place::new();
    place.killed_at(7);
    let as_it_was = Pretended::default;
    let check = |host: Pretended, words: &str| {
        let verdict = place.judge(&host);
        assert!(matches!(verdict, Verdict::Nothing { .. }), "{words}: {verdict:?}");
        assert!(reason(&verdict).contains(words), "{words}: {verdict:?}");
    };
    check(rebooted(), "started again");
    check(Pretended { boot_id: None, ..as_it_was() }, "started again");
    check(Pretended { file_system: FileSystem::Other(0x6969), ..as_it_was() }, "0x6969");
    check(Pretended { bend: |it| Identity { device: it.device + 1, ..it }, ..as_it_was() }, "device");
    check(Pretended { bend: |it| Identity { inode: it.inode + 1, ..it }, ..as_it_was() }, "not the one");
    check(Pretended { bend: |it| Identity { birth_ns: Some(1), ..it }, ..as_it_was() }, "not the one");
    check(Pretended { bend: |it| Identity { size_bytes: 9, ..it }, ..as_it_was() }, STORE_DAMAGED);
    assert_eq!(place.judge(&as_it_was()), Verdict::Trusted);
}

#[test]
fn without_a_birth_time_only_a_clean_close_is_trusted() {
    let place = Place::new();
    let no_birth = Pretended { bend: |it| Identity { birth_ns: None, ..it }, ..Pretended::default() };
    let (lmdb, guard) = place.start(&no_birth, Durability::Journal);
    drop((lmdb, guard));
    assert!(reason(&place.judge(&no_birth)).contains("birth time"));
    let (lmdb, guard) = place.start(&no_birth, Durability::Journal);
    guard.close(lmdb, &no_birth).unwrap();
    assert_eq!(place.judge(&no_birth), Verdict::Trusted);
}

#[test]
fn durable_commits_are_trusted_after_a_reboot_but_not_in_a_copied_file() {
    let place = Place::new();
    let (lmdb, guard) = place.start(&Pretended::default(), Durability::Commit);
    reach(&lmdb, 7);
    drop((lmdb, guard));
    assert_eq!(place.judge(&rebooted()), Verdict::Trusted);
    let data = place.path().join(DATA_FILE);
    fs::copy(&data, data.with_extension("copied")).unwrap();
    fs::rename(data.with_extension("copied"), &data).unwrap();
    assert!(reason(&place.judge(&rebooted())).contains("not the one"));
}

#[test]
fn a_recorded_io_error_outweighs_the_same_boot_and_a_later_clean_close() {
    let place = Place::new();
    let (lmdb, mut guard) = place.start(&Pretended::default(), Durability::Journal);
    guard.distrust("sync: input/output error").unwrap();
    assert_eq!(guard::read(place.path()).unwrap().unwrap().distrusted.unwrap(), "sync: input/output error");
    guard.close(lmdb, &Pretended::default()).unwrap();
    assert_eq!(reason(&place.judge(&Pretended::default())), "sync: input/output error");
}

#[test]
fn a_store_of_which_three_starts_have_died_in_a_row_is_not_believed_unless_one_lived() {
    let place = Place::new();
    let host = Pretended::default();
    place.checkpoint_at(5);
    place.killed_at(6); // long after its start, for all that anybody knows
    for entry in 7..10 {
        assert_eq!(place.judge(&host), Verdict::Trusted);
        place.killed_at(entry);
    }
    let verdict = place.judge(&host);
    assert!(reason(&verdict).contains("3 starts in a row"), "{verdict:?}");
    let (lmdb, mut guard) = place.start(&host, Durability::Journal);
    assert_eq!(reached(&lmdb), 5);
    guard.lived(&host).unwrap();
    drop((lmdb, guard));
    for entry in 6..8 {
        assert_eq!(place.judge(&host), Verdict::Trusted);
        place.killed_at(entry);
    }
    let (lmdb, mut guard) = place.start(&host, Durability::Journal);
    assert_eq!(reached(&lmdb), 7);
    guard.lived(&host).unwrap();
    drop((lmdb, guard));
    place.killed_at(9);
    assert_eq!(place.judge(&host), Verdict::Trusted);
}

#[test]
fn a_store_that_became_shorter_than_it_was_once_is_damaged() {
    let place = Place::new();
    let host = Pretended::default();
    let (lmdb, mut guard) = place.start(&host, Durability::Journal);
    reach(&lmdb, 7);
    guard.lived(&host).unwrap();
    drop((lmdb, guard));
    assert_eq!(place.judge(&host), Verdict::Trusted);
    let data = fs::OpenOptions::new().write(true).open(place.path().join(DATA_FILE)).unwrap();
    data.set_len(data.metadata().unwrap().len() / 2).unwrap();
    assert!(reason(&place.judge(&host)).contains(STORE_DAMAGED));
}

#[test]
fn after_a_reboot_the_newest_checkpoint_is_copied_into_place_again_and_again() {
    let place = Place::new();
    place.checkpoint_at(5);
    place.checkpoint_at(8);
    place.killed_at(9);
    assert!(matches!(place.judge(&rebooted()), Verdict::Checkpoint { checkpoint, .. }
        if checkpoint.seal.entry == EntryNo(8)));
    assert_eq!(place.found(&rebooted()), 8);
    // The second power cut finds the checkpoints as they were (rule 32).
    assert_eq!(place.found(&Pretended { boot_id: Some("third".to_owned()), ..rebooted() }), 8);
    assert_eq!(place.copies().len(), KEPT);
}

#[test]
fn a_rotten_newest_checkpoint_gives_way_to_the_one_before_it_and_two_rotten_ones_to_nothing() {
    let place = Place::new();
    place.checkpoint_at(5);
    place.checkpoint_at(8);
    place.killed_at(9);
    let copies = place.copies();
    rot(&copies[1]);
    assert_eq!(place.found(&rebooted()), 5);
    rot(&copies[0]);
    let verdict = place.judge(&Pretended { boot_id: Some("third".to_owned()), ..rebooted() });
    assert!(matches!(&verdict, Verdict::Nothing { reason } if reason.contains(STORE_DAMAGED)), "{verdict:?}");
}

#[test]
fn distrust_on_the_command_line_forces_the_checkpoint_also_after_a_clean_close() {
    let place = Place::new();
    place.checkpoint_at(5);
    place.killed_at(9);
    let (lmdb, guard) = place.start(&Pretended::default(), Durability::Journal);
    guard.close(lmdb, &Pretended::default()).unwrap();
    let verdict = place.judge_as(&Pretended::default(), "ours", true).unwrap();
    settle(&Folder::lock(place.path()).unwrap(), &verdict).unwrap();
    // Killed before the engine was opened: the next start does the same without being told.
    assert!(matches!(place.judge(&Pretended::default()), Verdict::Checkpoint { .. }));
    assert_eq!(place.found(&Pretended::default()), 5);
}

#[test]
fn a_store_of_another_journal_is_refused_by_its_guard_and_by_its_checkpoints_alone() {
    let place = Place::new();
    place.checkpoint_at(5);
    let check = |expected: &str| {
        let refused = place.judge_as(&Pretended::default(), "theirs", true);
        assert!(matches!(&refused, Err(Error::Refused { code, .. }) if *code == expected), "{refused:?}");
    };
    check(STORE_OTHER);
    fs::remove_file(guard::path(place.path())).unwrap();
    check(STORE_OTHER);
}

#[test]
fn a_newer_programs_guard_and_a_newer_programs_seal_are_refused() {
    for note in ["guard.json", "checkpoints/0000000001.seal"] {
        let place = Place::new();
        place.checkpoint_at(5);
        note::write(&place.path().join(note), &serde_json::json!({ "format": FORMAT + 1 })).unwrap();
        let refused = place.judge_as(&Pretended::default(), "ours", true);
        assert!(matches!(&refused, Err(Error::Refused { code, .. }) if *code == STORE_NEWER), "{refused:?}");
    }
}

#[test]
fn a_damaged_guard_a_missing_guard_and_a_missing_data_file_lead_to_the_checkpoint() {
    let check = |spoil: fn(&Path), words: &str| {
        let place = Place::new();
        place.checkpoint_at(5);
        spoil(place.path());
        let verdict = place.judge(&Pretended::default());
        assert!(matches!(verdict, Verdict::Checkpoint { .. }), "{verdict:?}");
        assert!(reason(&verdict).contains(words), "{verdict:?}");
        assert_eq!(place.found(&Pretended::default()), 5);
    };
    check(|path| rot(&guard::path(path)), STORE_DAMAGED);
    check(|path| fs::remove_file(guard::path(path)).unwrap(), "no guard");
    check(|path| fs::remove_file(path.join(DATA_FILE)).unwrap(), "is not there");
}

#[test]
fn the_journal_may_forget_up_to_the_previous_checkpoint_that_reads_well() {
    let place = Place::new();
    let (lmdb, _guard) = place.start(&Pretended::default(), Durability::Journal);
    let mut checkpoints = Checkpoints::open(place.path(), "ours").unwrap();
    let mut seen = Vec::new();
    for entry in [3, 5, 8, 13] {
        reach(&lmdb, entry);
        checkpoints.make(&lmdb, EntryNo(entry), &Pretended::default()).unwrap();
        seen.push(checkpoints.forget_up_to().map(|entry| entry.0));
        assert!(place.copies().len() <= KEPT);
    }
    assert_eq!(seen, [None, Some(3), Some(5), Some(8)]);
    rot(&place.copies()[1]);
    let mut again = Checkpoints::open(place.path(), "ours").unwrap();
    assert_eq!(again.forget_up_to(), None);
    reach(&lmdb, 21);
    again.make(&lmdb, EntryNo(21), &Pretended::default()).unwrap();
    assert_eq!(again.forget_up_to(), Some(EntryNo(8)));
    assert_eq!(place.copies().len(), KEPT);
}

#[test]
fn a_copy_without_a_seal_is_not_a_checkpoint_and_is_cleared_away_by_the_next_one() {
    let place = Place::new();
    place.checkpoint_at(5);
    fs::write(place.path().join("checkpoints/0000000009.mdb"), "half").unwrap();
    place.killed_at(6);
    assert_eq!(place.found(&rebooted()), 5);
    place.checkpoint_at(7);
    let names: Vec<_> = place.copies().iter().map(|path| path.file_stem().unwrap().to_owned()).collect();
    assert_eq!(names, ["0000000001", "0000000002"]);
}
