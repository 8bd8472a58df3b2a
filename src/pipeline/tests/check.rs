//! What must hold, now and at rest.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::database::{State, TABLES};
use super::oracle;
use super::world::World;
use crate::model::EntryNo;
use crate::projection::plan::key_of;
use crate::store::engine::{Engine, Read, Space};
use crate::store::meta::{self, Stage};
use crate::store::rows::RowReader;
use crate::store::{dirty, part};

fn parsed(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap()
}

impl World {
    /// The state of the source as of an entry.
    pub fn state_at(&self, entry: EntryNo) -> &State {
        let (_, state) = self.states.range(..=entry.0).next_back().unwrap();
        &self.database.history[*state].1
    }

    /// All documents of an index as of an entry; computed once for each state.
    fn documents_at(&mut self, index: &str, entry: EntryNo) -> &BTreeMap<String, Value> {
        let (_, state) = self.states.range(..=entry.0).next_back().unwrap();
        let history = &self.database.history;
        let source = self.sources[index];
        let known = self.expected.entry((source, *state));
        known.or_insert_with(|| oracle::documents(source, &history[*state].1))
    }

    pub fn check(&mut self) {
        self.check_accepted();
        let view = self.store.view().unwrap();
        let reached = meta::reached(&view).unwrap();
        if reached.inside || self.random.u8(..2) > 0 {
            return;
        }
        drop(view);
        self.check_promises();
        self.check_links();
    }

    /// Every accepted write is the document of a committed state; versions grow by the sink's own rule.
    fn check_accepted(&mut self) {
        let accepted = self.sink.accepted();
        for write in &accepted[self.checked..] {
            let entry = write.version.entry();
            let expected = self.documents_at(&write.index, entry).get(&write.id).cloned();
            let found = write.body.as_deref().map(parsed);
            assert_eq!(found, expected, "{} {} at {}", write.index, write.id, entry);
        }
        for write in &accepted[self.checked..] {
            let before =
                self.accepted_last.insert((write.index.to_string(), write.id.clone()), write.version);
            assert!(before < Some(write.version), "versions grow");
        }
        self.checked = accepted.len();
    }

    /// What is said to be projected is in the sink.
    fn check_promises(&mut self) {
        let store = std::sync::Arc::clone(&self.store);
        let view = store.view().unwrap();
        let reached = meta::reached(&view).unwrap();
        let quarantined = meta::quarantine(&view, 1_000).unwrap();
        for state in meta::generations(&view).unwrap() {
            let projected = dirty::projected(&view, state.generation, reached.entry).unwrap();
            if state.built_from == EntryNo::ZERO
                || projected < state.built_from
                || state.stage == Stage::Dropped
            {
                continue;
            }
            let held = self.sink.documents(&state.index);
            let expected = self.documents_at(&state.index, projected).clone();
            let ids: BTreeSet<&String> = held.keys().chain(expected.keys()).collect();
            for id in ids {
                if quarantined
                    .iter()
                    .any(|(generation, _, why)| *generation == state.generation && why.id == *id)
                {
                    continue;
                }
                // A newer version was compared with its own state when it was accepted.
                let body = match self.last_version(&state.index, id) {
                    Some(version) if version.entry() >= projected => continue,
                    _ => held.get(id).map(|(_, body)| parsed(body)),
                };
                assert_eq!(
                    body.as_ref(),
                    expected.get(id),
                    "{} {id} is not what projected {projected} says\n{}",
                    state.index,
                    self.describe()
                );
            }
        }
    }

    /// The version that the sink accepted last for a document, deletes too.
    fn last_version(&self, index: &str, id: &str) -> Option<crate::model::Version> {
        self.accepted_last.get(&(index.to_owned(), id.to_owned())).copied()
    }

    /// Every link has just the entries that the rows ask for; complete tables hold just the source's rows.
    fn check_links(&self) {
        let view = self.store.view().unwrap();
        let reached = meta::reached(&view).unwrap();
        let compiled = self.applier.compiled();
        let schema = &compiled.schema;
        let reader = RowReader { read: &view, schema };
        let (mut expected, mut count, mut unknown) = (BTreeSet::new(), 0, 0);
        for table in schema.tables() {
            let mut rows = Vec::new();
            reader.walk_table(table.id, None, usize::MAX, &mut rows).unwrap();
            let mut found = BTreeMap::new();
            for row in &rows {
                let key = reader.key(table.id, row).unwrap();
                count += 1;
                unknown += u64::from(row.is_incomplete());
                for link in schema.plans.links.iter().filter(|link| link.table == table.id) {
                    let foreign = key_of(row, &link.columns, &link.classes);
                    let mut entry = Vec::new();
                    if link.clustered {
                        entry.push(b'P');
                        entry.extend(table.number.to_be_bytes());
                    } else {
                        let Some(foreign) = &foreign else { continue };
                        entry.push(b'L');
                        entry.extend(schema.link_number(link.id).to_be_bytes());
                        part::put(&mut entry, foreign);
                    }
                    part::put(&mut entry, &key);
                    expected.insert(entry);
                }
                let texts: Vec<_> = (0..table.columns)
                    .map(|column| {
                        row.cell(column).text().map(|text| String::from_utf8(text.to_vec()).unwrap())
                    })
                    .collect();
                let at = usize::from(table.id.0) - 1;
                found.insert(super::database::key_of(at, &texts), texts);
            }
            if self.applier.units().iter().all(|unit| unit.table != table.id || unit.complete) {
                let at = usize::from(table.id.0) - 1;
                let source =
                    self.state_at(reached.entry)[at].iter().map(|(key, row)| (key.clone(), (**row).clone()));
                assert_eq!(found, source.collect(), "rows of {} at {}", TABLES[at].name, reached.entry);
            }
        }
        let mut links = BTreeSet::new();
        view.scan(Space::Links, &[], None, &mut |key, _| {
            links.insert(key.to_vec());
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(links, expected, "links");
        assert_eq!(view.count(Space::Rows).unwrap(), count, "rows of no table");
        assert_eq!(
            (reached.rows, reached.incomplete),
            (count, unknown),
            "counts of rows and of incomplete ones"
        );
    }

    /// Everything is in the sink, and nothing is left over.
    pub fn check_rest(&mut self) {
        let store = std::sync::Arc::clone(&self.store);
        let view = store.view().unwrap();
        let reached = meta::reached(&view).unwrap();
        self.check_promises();
        self.check_links();
        assert_eq!(self.state_at(reached.entry), &self.database.state, "everything was streamed");
        let states = meta::generations(&view).unwrap();
        assert_eq!(states.len(), self.applier.compiled().generations.len());
        for state in &states {
            assert_eq!(dirty::projected(&view, state.generation, reached.entry).unwrap(), reached.entry);
            let held = self.sink.documents(&state.index);
            let held: BTreeMap<_, _> = held.into_iter().map(|(id, (_, body))| (id, parsed(&body))).collect();
            assert_eq!(held, oracle::documents(self.sources[&state.index], &self.database.state));
        }
        assert_eq!(
            view.count(Space::Dirty).unwrap(),
            0,
            "marks, scans or barriers are left: {}",
            self.describe()
        );
        assert_eq!((reached.quarantined, reached.incomplete, reached.inserts_over_rows), (0, 0, 0));
        assert!(
            reached.dirty.iter().all(|(generation, _)| states.iter().any(|s| s.generation == *generation))
        );
        assert!(meta::quarantine(&view, 1).unwrap().is_empty());
        view.scan(Space::Meta, b"t/", None, &mut |_, _| panic!("a tombstone is left")).unwrap();
    }
}
