//! What new facts make of stored rows when the stream said nothing.

use std::sync::Arc;

use super::database::catalog;
use super::oracle::{ORDERS_SMALL, PRODUCTS_FULL};
use super::wire;
use crate::journal::Kind;
use crate::journal::entry::{Backfill, Commit, Definition, Facts, Record, Unit, put_message};
use crate::model::{EntryNo, Generation, Key, Lsn, Row, TableId, Trace};
use crate::pipeline::apply::{Applier, join_chunk};
use crate::source::ChunkHead;
use crate::store::dirty::{self, Count, Target};
use crate::store::engine::{Batch, Engine};
use crate::store::memory::{Memory, State};
use crate::store::meta::Stage;
use crate::store::rows::RowReader;

pub const ITEMS: u16 = 4;
const LEAVES: [u32; 2] = [1031, 1032];

pub struct Fold {
    store: Arc<Memory>,
    pub applier: Applier<Memory>,
    facts: Facts,
}

fn definition(number: u16, source: &str) -> Definition {
    Definition {
        name: format!("p{number}"),
        source: source.to_owned(),
        generation: Generation(number),
        index: format!("i{number}"),
    }
}

impl Fold {
    /// Orders with their items, all tables complete, two rows in each leaf of the items.
    pub fn new() -> Fold {
        let store = Arc::new(Memory::new());
        let applier = Applier::load(Arc::clone(&store), "j").unwrap();
        let traces = [1000, 1030, 1031, 1032].map(|oid| Trace { oid, ..Trace::default() }).to_vec();
        let definitions = vec![definition(1, ORDERS_SMALL)];
        let facts = Facts { catalog: catalog(), definitions, assembler: 1, traces };
        let mut fold = Fold { store, applier, facts };
        fold.put_facts();
        let units: Vec<Unit> =
            fold.applier.units().iter().map(|unit| Unit { table: unit.table, oid: unit.oid }).collect();
        let mut backfill = Backfill { begin: EntryNo::ZERO, units, keys_only: false, transaction: None };
        let begin = fold.entry(Kind::BackfillBegin, serde_json::to_vec(&backfill).unwrap());
        for unit in backfill.units.clone() {
            let rows = match LEAVES.iter().position(|leaf| *leaf == unit.oid) {
                Some(leaf) => format!("1\t{0}\t1\t2\tt\n2\t{0}\t1\t2\tt\n", leaf + 1),
                None if unit.oid == 1020 => "1\t\\N\t1\tn\n2\t\\N\t1\tn\n3\t\\N\t1\tn\n".to_owned(),
                None => String::new(),
            };
            fold.chunk(begin, &unit, &rows, false);
        }
        backfill.begin = begin;
        fold.entry(Kind::BackfillEnd, serde_json::to_vec(&backfill).unwrap());
        assert_eq!((fold.incomplete(), fold.rows()), (vec![], vec![1031, 1032, 1031, 1032]));
        fold
    }

    /// All rows of a unit, or those that were incomplete.
    pub fn chunk(&mut self, begin: EntryNo, unit: &Unit, rows: &str, keys_only: bool) {
        let table = self.facts.catalog.by_id(unit.table).unwrap();
        // The columns of leaves have numbers of their own.
        let shift = if unit.table.0 == ITEMS { 5 } else { 0 };
        let columns = table.columns.iter().map(|column| (column.attnum + shift, column.name.clone(), 0));
        let head = ChunkHead {
            begin,
            table: unit.table,
            oid: unit.oid,
            sequence: 0,
            after: None,
            columns: columns.collect(),
            rows: 2,
            last_key: None,
            last: true,
            keys_only,
        };
        self.entry(Kind::Chunk, join_chunk(&head, rows.as_bytes()));
    }

    pub fn entry(&mut self, kind: Kind, payload: Vec<u8>) -> EntryNo {
        let number = self.applier.reached().entry.next();
        self.applier.step(&[Record { number, kind, payload: payload.into() }], &[], &[]).unwrap();
        number
    }

    /// A transaction that updates one item, of this leaf; the key is as it was.
    pub fn update(&mut self, leaf: u32, tuple: &[u8]) -> EntryNo {
        self.transaction(1, leaf, &[&[&b"U"[..], &leaf.to_be_bytes(), b"N", tuple].concat()])
    }

    /// A transaction with these messages of one leaf.
    pub fn transaction(&mut self, xid: u32, leaf: u32, messages: &[&[u8]]) -> EntryNo {
        let commit = Commit { commit: Lsn(1), end: Lsn(2), time_us: 0, xid, rows: 1, first: EntryNo(1) };
        let mut payload = commit.encode().to_vec();
        put_message(&mut payload, &wire::relation(leaf));
        messages.iter().for_each(|message| put_message(&mut payload, message));
        self.entry(Kind::Transaction, payload)
    }

    pub fn put_facts(&mut self) {
        let payload = serde_json::to_vec(&self.facts).unwrap();
        self.entry(Kind::Facts, payload);
    }

    pub fn trace(&mut self, oid: u32) -> &mut Trace {
        self.facts.traces.iter_mut().find(|trace| trace.oid == oid).unwrap()
    }

    pub fn incomplete(&self) -> Vec<u32> {
        self.applier.units().iter().filter(|unit| !unit.complete).map(|unit| unit.oid).collect()
    }

    /// Other projections, numbered from 1.
    pub fn define(&mut self, sources: &[&str]) {
        let numbered = sources.iter().zip(1..);
        self.facts.definitions = numbered.map(|(source, number)| definition(number, source)).collect();
        self.put_facts();
    }

    pub fn view(&self) -> State {
        self.store.view().unwrap()
    }

    /// The leaves of the stored items.
    pub fn rows(&self) -> Vec<u32> {
        self.items(|_, row| row.leaf)
    }

    /// The keys of the stored items, in the order in which they stand.
    pub fn keys(&self) -> Vec<Key> {
        self.items(|reader, row| reader.key(TableId(ITEMS), row).unwrap())
    }

    fn items<T>(&self, of: impl Fn(&RowReader<'_, State>, &Row<'_>) -> T) -> Vec<T> {
        let view = self.view();
        let reader = RowReader { read: &view, schema: &self.applier.compiled().schema };
        let mut rows = Vec::new();
        reader.walk_table(TableId(ITEMS), None, usize::MAX, &mut rows).unwrap();
        rows.iter().map(|row| of(&reader, row)).collect()
    }
}

#[test]
fn traces_of_a_rewrite_make_just_their_table_or_leaf_be_read_again() {
    let mut fold = Fold::new();
    fold.trace(1000).storage = 1; // TRUNCATE or VACUUM FULL of customers
    fold.trace(1032).columns = "altered".to_owned();
    fold.facts.catalog.tables[2].columns[1].not_null = true;
    fold.put_facts();
    assert!(fold.incomplete().is_empty());
    fold.trace(1032).path = "attached".to_owned();
    fold.put_facts();
    assert_eq!(fold.incomplete(), [1032]);
    assert_eq!(fold.applier.generations()[0].stage, Stage::Waiting);
    fold.trace(1030).types.insert("label 1".to_owned(), "new".to_owned());
    fold.put_facts();
    assert_eq!(fold.incomplete(), [1032]);
    fold.trace(1030).types.insert("label 1".to_owned(), "renamed".to_owned());
    fold.put_facts();
    assert_eq!(fold.incomplete(), LEAVES);
}

#[test]
fn the_rows_of_a_leaf_that_is_gone_go_and_their_documents_are_dirty() {
    let mut fold = Fold::new();
    fold.facts.catalog.tables[usize::from(ITEMS) - 1].leaves.remove(0);
    fold.put_facts();
    assert_eq!((fold.rows(), fold.incomplete()), (vec![1032, 1032], vec![]));
    let view = fold.store.view().unwrap();
    let scans = dirty::scans(&view, Generation(1)).unwrap();
    let last = scans.iter().map(|scan| scan.last).max();
    assert_eq!(last, Some(fold.applier.reached().entry), "every order reads items: a whole scan");
}

#[test]
fn a_running_scan_begins_anew_when_rows_have_another_place() {
    let mut fold = Fold::new();
    let mut batch = fold.store.batch().unwrap();
    let target = Target::Prefix { node: 2, key: vec![1] };
    let owed = (EntryNo(1), EntryNo(1));
    let mut count = Count::default();
    for scan in dirty::scans(&batch, Generation(1)).unwrap() {
        dirty::next_scan(&mut batch, Generation(1)).unwrap();
        dirty::advance_scan(&mut batch, Generation(1), &scan, None, EntryNo(1), &mut count).unwrap();
    }
    dirty::add_scan(&mut batch, Generation(1), target, 1, owed, &mut count).unwrap();
    let scan = dirty::next_scan(&mut batch, Generation(1)).unwrap().unwrap();
    let cursor = Some(b"L-somewhere".to_vec());
    dirty::advance_scan(&mut batch, Generation(1), &scan, cursor, EntryNo(1), &mut count).unwrap();
    batch.commit().unwrap();

    let cursor = |fold: &Fold| {
        let scans = dirty::scans(&fold.store.view().unwrap(), Generation(1)).unwrap();
        scans.into_iter().find(|scan| scan.running).unwrap().cursor
    };
    fold.put_facts();
    assert!(cursor(&fold).is_some(), "nothing moved");
    // Another projection reads the items by product, so they get another place and another link.
    fold.facts.definitions.push(definition(2, PRODUCTS_FULL));
    fold.put_facts();
    assert_eq!(cursor(&fold), None);
}

#[test]
fn an_insert_over_a_row_is_an_update_and_counted() {
    let mut fold = Fold::new();
    let commit = Commit { commit: Lsn(1), end: Lsn(2), time_us: 0, xid: 1, rows: 1, first: EntryNo(1) };
    let mut payload = commit.encode().to_vec();
    put_message(&mut payload, &wire::relation(1032));
    let row = [Some("1"), Some("1"), None, None, None].map(|text| text.map(str::to_owned)).to_vec();
    for line in ["1", "5"] {
        let mut row = row.clone();
        row[1] = Some(line.to_owned());
        let insert = wire::deed(&super::database::Deed::Insert(usize::from(ITEMS) - 1, row.into())).to_vec();
        // Whatever leaf it names, it is put under the other one: the row came there unseen.
        let insert = [&b"I"[..], &1032u32.to_be_bytes(), &insert[5..]].concat();
        put_message(&mut payload, &insert);
    }
    fold.entry(Kind::Transaction, payload);
    let reached = fold.applier.reached();
    assert_eq!((reached.inserts_over_rows, reached.rows), (1, 4 + 3 + 1));
    assert_eq!(fold.rows().iter().filter(|leaf| **leaf == 1032).count(), 4);
}

#[test]
fn rows_under_another_identity_are_left_to_a_new_reading() {
    let mut fold = Fold::new();
    let mut relation = wire::relation(1031).to_vec();
    // The flag in front of the first column: it is no part of the identity any more.
    let order_id = relation.windows(9).position(|bytes| bytes == b"order_id\0").unwrap();
    relation[order_id - 1] = 0;
    let commit = Commit { commit: Lsn(1), end: Lsn(2), time_us: 0, xid: 1, rows: 1, first: EntryNo(1) };
    let mut payload = commit.encode().to_vec();
    put_message(&mut payload, &relation);
    // Its old tuple carries the line alone.
    let delete = [&b"D"[..], &1031u32.to_be_bytes(), b"K\0\x05nt\0\0\0\x011nnn"].concat();
    put_message(&mut payload, &delete);
    fold.entry(Kind::Transaction, payload);
    assert_eq!(fold.incomplete(), [1031]);
    assert_eq!(fold.applier.generations()[0].stage, Stage::Waiting);
}
