//! One suite of tests for every engine: what `engine` promises, checked against a `BTreeMap`.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;

use super::engine::{Batch, Engine, Error, KEY_BYTES_MAX, Read, Space};
use super::folder::Folder;
use super::lmdb::{Lmdb, Options};
use super::memory::Memory;

/// How the suite gets hold of an engine.
trait Adapter: Engine + Sized {
    fn fresh(folder: &Path) -> Self;
    fn of_copy(copy: &Path) -> Self;
}

impl Adapter for Lmdb {
    fn fresh(folder: &Path) -> Lmdb {
        let options = Options { map_size_bytes: 64 << 20, ..Options::default() };
        Lmdb::open(Folder::lock(folder).unwrap(), &options).unwrap()
    }

    fn of_copy(copy: &Path) -> Lmdb {
        let folder = Folder::lock(&copy.with_extension("opened")).unwrap();
        std::fs::copy(copy, folder.data_file()).unwrap();
        Lmdb::open(folder, &Options::default()).unwrap()
    }
}

impl Adapter for Memory {
    fn fresh(_: &Path) -> Memory {
        Memory::new()
    }

    fn of_copy(copy: &Path) -> Memory {
        Memory::open_copy(copy).unwrap()
    }
}

type Model = BTreeMap<(usize, Vec<u8>), Vec<u8>>;

#[derive(Clone, Debug)]
enum Step {
    Put(usize, Vec<u8>, Vec<u8>),
    Delete(usize, Vec<u8>),
    Commit,
    /// The batch is dropped without a commit.
    Drop,
    /// A view is opened and held to the end.
    Hold,
}

/// Short keys over few letters, among them the largest byte, so that prefixes meet; a few long ones.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => prop::collection::vec(prop::sample::select(vec![0u8, 1, 0x61, 0xFE, 0xFF]), 1..5),
        1 => prop::collection::vec(prop::sample::select(vec![0u8, 0xFF]), 509..=KEY_BYTES_MAX),
    ]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..20),
        // More than a page: LMDB keeps such values outside of the tree.
        1 => prop::collection::vec(any::<u8>(), 3_000..9_000),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (0..4usize, key(), value()).prop_map(|(space, key, value)| Step::Put(space, key, value)),
        5 => (0..4usize, key()).prop_map(|(space, key)| Step::Delete(space, key)),
        2 => Just(Step::Commit),
        1 => Just(Step::Drop),
        1 => Just(Step::Hold),
    ]
}

/// Everything that the trait `Read` can be asked, compared with the model.
fn compare(read: &impl Read, model: &Model, probes: &[Vec<u8>]) {
    for space in Space::ALL {
        let number = space as usize;
        let count = model.keys().filter(|(of, _)| *of == number).count() as u64;
        assert_eq!(read.count(space).unwrap(), count);
        for probe in probes {
            let expected = model.get(&(number, probe.clone())).map(Vec::as_slice);
            assert_eq!(read.get(space, probe).unwrap(), expected);
        }
        let prefixes = probes.iter().map(|key| &key[..key.len().min(2)]).chain([&[][..], &[0xFF]]);
        for prefix in prefixes {
            check_scan(read, model, space, prefix, None);
            for after in probes.iter().take(8) {
                check_scan(read, model, space, prefix, Some(after));
            }
        }
    }
}

fn check_scan(read: &impl Read, model: &Model, space: Space, prefix: &[u8], after: Option<&[u8]>) {
    let number = space as usize;
    let expected: Vec<_> = model
        .range((Bound::Included((number, Vec::new())), Bound::Excluded((number + 1, Vec::new()))))
        .filter(|((_, key), _)| key.starts_with(prefix) && after.is_none_or(|after| key.as_slice() > after))
        .map(|((_, key), value)| (key.as_slice(), value.as_slice()))
        .collect();
    assert_eq!(scanned(read, space, prefix, after, usize::MAX), expected, "{prefix:?} after {after:?}");
    let half = expected.len().div_ceil(2);
    assert_eq!(scanned(read, space, prefix, after, half), expected[..half], "broken off at {half}");
}

fn scanned<'a>(
    read: &'a impl Read,
    space: Space,
    prefix: &[u8],
    after: Option<&[u8]>,
    at_most: usize,
) -> Vec<(&'a [u8], &'a [u8])> {
    let mut found = Vec::new();
    if at_most == 0 {
        return found;
    }
    read.scan(space, prefix, after, &mut |key, value| {
        found.push((key, value));
        if found.len() == at_most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .unwrap();
    found
}

fn behaves_as_the_model<E: Adapter>(steps: &[Step]) {
    let place = TempDir::new().unwrap();
    let engine = E::fresh(&place.path().join("store"));
    let probes: Vec<Vec<u8>> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Put(_, key, _) | Step::Delete(_, key) => Some(key.clone()),
            _ => None,
        })
        .take(40)
        .chain([b"absent".to_vec(), Vec::new(), vec![7; KEY_BYTES_MAX + 1]])
        .collect();
    let mut committed = Model::new();
    let mut held = Vec::new();
    let mut open: Option<(E::Batch<'_>, Model)> = None;
    for step in steps {
        if !matches!(step, Step::Hold) && open.is_none() {
            open = Some((engine.batch().unwrap(), committed.clone()));
        }
        match (step, &mut open) {
            (Step::Put(space, key, value), Some((batch, model))) => {
                batch.put(Space::ALL[*space], key, value).unwrap();
                model.insert((*space, key.clone()), value.clone());
            }
            (Step::Delete(space, key), Some((batch, model))) => {
                let there = model.remove(&(*space, key.clone())).is_some();
                assert_eq!(batch.delete(Space::ALL[*space], key).unwrap(), there);
            }
            (Step::Commit, _) => {
                let (batch, model) = open.take().unwrap();
                compare(&batch, &model, &probes);
                batch.commit().unwrap();
                committed = model;
            }
            (Step::Drop, _) => open = None,
            (Step::Hold, _) => held.push((engine.view().unwrap(), committed.clone())),
            (_, None) => unreachable!("a batch was opened above"),
        }
    }
    drop(open);
    held.push((engine.view().unwrap(), committed.clone()));
    // Views are read on another thread than the one that opened them.
    std::thread::scope(|scope| {
        for (view, model) in held {
            let probes = &probes;
            scope.spawn(move || compare(&view, &model, probes));
        }
    });
    let copy = place.path().join("copy");
    engine.copy_to(&copy).unwrap();
    compare(&E::of_copy(&copy).view().unwrap(), &committed, &probes);
}

fn cases() -> ProptestConfig {
    ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn lmdb_behaves_as_an_ordered_map(steps in prop::collection::vec(step(), 1..120)) {
        behaves_as_the_model::<Lmdb>(&steps);
    }

    #[test]
    fn memory_behaves_as_an_ordered_map(steps in prop::collection::vec(step(), 1..120)) {
        behaves_as_the_model::<Memory>(&steps);
    }
}

fn refuses_impossible_keys_and_goes_on<E: Adapter>() {
    let place = TempDir::new().unwrap();
    let engine = E::fresh(&place.path().join("store"));
    let mut batch = engine.batch().unwrap();
    let longest = vec![b'k'; KEY_BYTES_MAX];
    for impossible in [Vec::new(), vec![b'k'; KEY_BYTES_MAX + 1], vec![b'k'; 100_000]] {
        assert!(matches!(batch.put(Space::Rows, &impossible, b"v"), Err(Error::Misuse { .. })));
        assert_eq!(batch.get(Space::Rows, &impossible).unwrap(), None);
        assert!(!batch.delete(Space::Rows, &impossible).unwrap());
    }
    batch.put(Space::Rows, &longest, b"v").unwrap();
    batch.commit().unwrap();
    let view = engine.view().unwrap();
    assert_eq!(view.get(Space::Rows, &longest).unwrap(), Some(b"v".as_slice()));
    assert!(scanned(&view, Space::Rows, &[b'k'; 600], None, 9).is_empty());
    assert_eq!(scanned(&view, Space::Rows, b"", Some(&[b'a'; 600]), 9).len(), 1);
}

fn refuses_a_second_batch_until_the_first_is_over<E: Adapter>() {
    let place = TempDir::new().unwrap();
    let engine = E::fresh(&place.path().join("store"));
    let first = engine.batch().unwrap();
    assert!(matches!(engine.batch().err(), Some(Error::Misuse { .. })));
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(matches!(engine.batch().err(), Some(Error::Misuse { .. }))));
    });
    drop(first);
    engine.batch().unwrap().commit().unwrap();
    engine.batch().unwrap();
}

fn a_copy_that_fails_leaves_no_file<E: Adapter>() {
    let place = TempDir::new().unwrap();
    let engine = E::fresh(&place.path().join("store"));
    let nowhere = place.path().join("no such folder").join("copy");
    assert!(matches!(engine.copy_to(&nowhere), Err(Error::Broken { .. })));
    assert!(!nowhere.exists());
}

#[test]
fn an_impossible_key_is_an_error_and_never_a_panic() {
    refuses_impossible_keys_and_goes_on::<Lmdb>();
    refuses_impossible_keys_and_goes_on::<Memory>();
}

#[test]
fn there_is_one_batch_at_a_time() {
    refuses_a_second_batch_until_the_first_is_over::<Lmdb>();
    refuses_a_second_batch_until_the_first_is_over::<Memory>();
}

#[test]
fn a_failed_copy_is_an_error_without_a_trace() {
    a_copy_that_fails_leaves_no_file::<Lmdb>();
    a_copy_that_fails_leaves_no_file::<Memory>();
}
