//! Replication messages become row changes.

use std::sync::Arc;

use super::change::Put;
use super::work::Work;
use super::{Applier, Compiled, Error};
use crate::failpoint;
use crate::journal::entry;
use crate::model::{Cell, ColumnKind, EntryNo, Key, KeyClass, Relation, TableId};
use crate::pgoutput::decoder::decode;
use crate::pgoutput::message::Message;
use crate::pgoutput::tuple::Tuple;
use crate::planted::{self, Bug};
use crate::store::dirty::Target;
use crate::store::engine::Engine;
use crate::store::meta;
use crate::store::rows::{self, RowReader};
use crate::store::schema::StoredTable;

/// A relation of this connection, joined with what the facts say of its table.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    /// Nothing for a table that no projection uses.
    pub table: Option<TableId>,
    /// See [`crate::model::RowWriter::begin`].
    pub leaf: u32,
    /// Catalog column -> position in the tuple.
    columns: Vec<Option<u16>>,
    /// Positions in the tuple of the row's key, in the key's order, and their classes.
    key: Vec<(u16, KeyClass)>,
}

impl Bound {
    /// The tuple's cells in the catalog's order; a column that the stream does not carry is NULL.
    pub fn arrange<'a>(&self, tuple: &[Cell<'a>], cells: &mut Vec<Cell<'a>>) {
        cells.clear();
        cells.extend(self.columns.iter().map(|position| {
            position.and_then(|position| tuple.get(usize::from(position)).copied()).unwrap_or(Cell::Null)
        }));
    }

    /// The row's key in a tuple; nothing when a part of it is NULL or not carried.
    pub fn key(&self, tuple: &[Cell<'_>]) -> Option<Key> {
        let mut key = Key::with_capacity(16);
        for (position, class) in &self.key {
            class.encode(tuple.get(usize::from(*position))?.text()?, &mut key).ok()?;
        }
        Some(key)
    }
}

impl<E: Engine> Applier<E> {
    /// Applies the messages of one entry, from where an interrupted batch left off.
    pub(super) fn messages(
        &mut self,
        work: &mut Work<'_, E>,
        entry: EntryNo,
        payload: &[u8],
    ) -> Result<(), Error> {
        let done = self.reached.message;
        for (number, message) in (0u32..).zip(entry::messages(payload)) {
            if number < done {
                continue;
            }
            self.message(work, entry, number, message)?;
        }
        Ok(())
    }

    fn message(
        &mut self,
        work: &mut Work<'_, E>,
        entry: EntryNo,
        number: u32,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let unreadable =
            |reason: String| Error::Message { entry, reason: format!("message {number}: {reason}") };
        match decode(bytes).map_err(|error| unreadable(error.to_string()))? {
            Message::Insert { oid, new } => self.row(work, entry, oid, None, Some((new, Put::Inserted))),
            Message::Update { oid, old: None, new } => {
                self.row(work, entry, oid, None, Some((new, Put::SameKey)))
            }
            Message::Update { oid, old: Some((_, old)), new } => {
                self.row(work, entry, oid, Some(old), Some((new, Put::AnyKey)))
            }
            Message::Delete { oid, old, .. } => self.row(work, entry, oid, Some(old), None),
            Message::Truncate { oids, .. } => {
                let oids: Vec<u32> = oids.iter().collect();
                self.truncate(work, entry, number, &oids)
            }
            Message::Relation(relation)
                if planted::is(Bug::RelationKept) && self.relations.contains_key(&relation.oid) =>
            {
                Ok(())
            }
            Message::Relation(relation) => {
                meta::put_relation(work.batch()?, relation.oid, bytes)?;
                self.bind(bytes)?;
                self.close_changed(work, entry)
            }
            // A commit is the entry's head, a marker an entry of its own; origin and type names are not used.
            _ => Ok(()),
        }
    }

    fn row(
        &mut self,
        work: &mut Work<'_, E>,
        entry: EntryNo,
        oid: u32,
        old: Option<Tuple<'_>>,
        new: Option<(Tuple<'_>, Put)>,
    ) -> Result<(), Error> {
        let unreadable = |reason: &str| Error::Message { entry, reason: reason.to_owned() };
        let bound =
            self.relations.get(&oid).ok_or_else(|| unreadable("a row without its relation (rule 6)"))?;
        let Some(id) = bound.table else { return Ok(()) };
        let compiled = Arc::clone(&self.compiled);
        let Some(table) = compiled.schema.table(id) else { return Ok(()) };
        let leaf = bound.leaf;
        let old: Option<Vec<Cell<'_>>> = old.map(|old| old.cells().collect());
        let new: Option<(Vec<Cell<'_>>, Put)> = new.map(|(new, put)| (new.cells().collect(), put));
        // The old tuple carries the key when the key changed, and when it is TOASTed (hazard 23).
        let after = new.as_ref().map(|(new, _)| new);
        let identity = match planted::is(Bug::UnchangedUnderNewKey) {
            false => old.as_ref().or(after),
            true => after.or(old.as_ref()),
        };
        let identity = identity.and_then(|tuple| bound.key(tuple));
        let identity = identity.ok_or_else(|| unreadable("a row without a key"))?;
        match new {
            None => self.delete(work, entry, table, &identity)?,
            Some((new, put)) => {
                let mut cells = Vec::with_capacity(table.columns);
                bound.arrange(&new, &mut cells);
                // A key that is TOASTed and did not change stands in the old tuple alone (hazard 23); a row
                // that is not known yet has it from nowhere else.
                for (column, (position, _)) in table.key.columns.iter().zip(&bound.key) {
                    if cells[*column] == Cell::Unchanged
                        && let Some(known) = old.as_ref().and_then(|old| old.get(usize::from(*position)))
                    {
                        cells[*column] = *known;
                    }
                }
                self.upsert(work, entry, table, &identity, leaf, &mut cells, put)?;
            }
        }
        Ok(())
    }

    /// Removes the rows of these relations, in slices (rule 24): rows of a root make points, another table
    /// makes a whole scan of every projection that uses it.
    fn truncate(
        &mut self,
        work: &mut Work<'_, E>,
        entry: EntryNo,
        number: u32,
        oids: &[u32],
    ) -> Result<(), Error> {
        let compiled = Arc::clone(&self.compiled);
        for oid in oids {
            let Some(bound) = self.relations.get(oid) else {
                return Err(Error::Message { entry, reason: "a TRUNCATE without its relation".to_owned() });
            };
            let (Some(id), leaf) = (bound.table, bound.leaf) else { continue };
            if leaf != 0 && planted::is(Bug::IgnoreLeafTruncate) {
                continue;
            }
            let Some(table) = compiled.schema.table(id) else { continue };
            let early = self.early;
            for unit in &mut self.units {
                let being_read = unit.oid == *oid && !unit.complete && unit.begin != EntryNo::ZERO;
                if early.is_some_and(|xid| unit.is_early(xid)) {
                    continue; // the chunks are behind it
                }
                if being_read && !planted::is(Bug::TruncateIgnoredByBackfill) {
                    unit.truncated = true; // rule 15
                    meta::put_unit(work.batch()?, unit)?;
                }
            }
            self.remove_rows(work, table, |row_leaf, _| leaf == 0 || row_leaf == leaf, entry, number)?;
            self.scan_users(work, &compiled, id, entry)?;
        }
        Ok(())
    }

    /// A whole scan for every projection that uses this table other than as its root.
    pub(super) fn scan_users(
        &mut self,
        work: &mut Work<'_, E>,
        compiled: &Compiled,
        id: TableId,
        entry: EntryNo,
    ) -> Result<(), Error> {
        for (plan, generation) in self.marked_plans() {
            let nodes = &compiled.schema.plans.plans[plan].nodes;
            if nodes.iter().skip(1).any(|node| node.table == id) {
                work.scan(&mut self.reached, generation, Target::Whole, 0, (entry, entry))?;
            }
        }
        Ok(())
    }

    /// Removes rows of a table that `chosen` picks by leaf and last entry, slice by slice, with points for
    /// the documents that they are the roots of. A batch that ends half-way notes that `number` messages of
    /// the entry are done, so that this one is begun again: removing twice is removing once.
    pub(super) fn remove_rows(
        &mut self,
        work: &mut Work<'_, E>,
        table: &StoredTable,
        chosen: impl Fn(u32, EntryNo) -> bool,
        entry: EntryNo,
        number: u32,
    ) -> Result<(), Error> {
        let compiled = Arc::clone(&self.compiled);
        let roots: Vec<_> = self
            .marked_plans()
            .into_iter()
            .filter(|(plan, _)| compiled.schema.plans.plans[*plan].nodes[0].table == table.id)
            .map(|(_, generation)| generation)
            .collect();
        let mut cursor = None;
        loop {
            let batch = work.batch()?;
            let reader = RowReader { read: &*batch, schema: &compiled.schema };
            let mut found = Vec::new();
            let next = reader.walk_table(table.id, cursor.as_deref(), self.limits.slice_rows, &mut found)?;
            let mut keys = Vec::new();
            for row in found.iter().filter(|row| chosen(row.leaf, row.last)) {
                keys.push(reader.key(table.id, row)?);
            }
            for key in keys {
                if let Some(old) = rows::find_old(work.batch()?, &compiled.schema, table, &key)? {
                    rows::remove(work.batch()?, table, &key, &old)?;
                    self.reached.rows -= 1;
                    self.note_incomplete(work, table, &key, None)?;
                    work.rows += 1;
                }
                for generation in &roots {
                    work.point(*generation, key.clone(), entry);
                }
            }
            match next {
                None => return Ok(()),
                Some(next) => cursor = Some(next),
            }
            if work.rows >= self.limits.batch_rows {
                self.reached.message = number;
                self.reached.inside = true;
                self.commit(work)?;
                failpoint::hit("apply.removing");
            }
        }
    }

    /// Takes a Relation message into the cache. One whose columns are not those of the facts means DDL:
    /// its table is read again (rules 18, 40); until then columns are matched by name.
    pub(super) fn bind(&mut self, message: &[u8]) -> Result<(), Error> {
        let unreadable = |reason: String| Error::Message { entry: self.reached.entry, reason };
        let relation = match decode(message).map_err(|error| unreadable(error.to_string()))? {
            Message::Relation(relation) => relation,
            _ => return Err(unreadable("a stored relation is another message".to_owned())),
        };
        let compiled = Arc::clone(&self.compiled);
        let oid = relation.oid;
        let bound = match compiled.schema.catalog.by_row_oid(oid) {
            Some(facts) if compiled.schema.table(facts.id).is_some() => {
                let leaf = super::backfill::leaf_of(facts, oid);
                let position = |name: &str| relation.columns.iter().position(|column| column.name == name);
                let columns: Vec<_> =
                    facts.columns.iter().map(|column| position(&column.name).map(|at| at as u16)).collect();
                let key = facts
                    .key
                    .iter()
                    .filter_map(|name| {
                        let kind: &ColumnKind = &facts.column(name)?.1.kind;
                        // Old tuples carry only the columns of the identity that is in force now.
                        let at = position(name).filter(|at| relation.columns[*at].key)?;
                        Some((at as u16, KeyClass::of(kind)?))
                    })
                    .collect::<Vec<_>>();
                // Rule 40: without its key no row can be placed; the table is read again under new facts.
                let table = (key.len() == facts.key.len()).then_some(facts.id);
                if table.is_none() || !fits(&relation, facts) {
                    self.read_again(oid);
                }
                Bound { table, leaf, columns, key }
            }
            _ => Bound { table: None, leaf: 0, columns: Vec::new(), key: Vec::new() },
        };
        self.relations.insert(oid, bound);
        Ok(())
    }

    /// Rule 17: what a table that has to be read again is used by does not deliver until then.
    pub(super) fn close_changed(&mut self, work: &mut Work<'_, E>, entry: EntryNo) -> Result<(), Error> {
        if !self.units.iter().any(|unit| unit.again) {
            return Ok(());
        }
        for unit in self.units.iter().filter(|unit| unit.again) {
            meta::put_unit(work.batch()?, unit)?;
        }
        self.open_generations(work, entry)
    }

    fn read_again(&mut self, oid: u32) {
        for unit in self.units.iter_mut().filter(|unit| unit.oid == oid) {
            unit.again = true;
            unit.complete = false;
        }
    }
}

/// Whether a relation has just the columns that the facts say (generated ones may be missing).
pub fn fits(relation: &Relation, facts: &crate::model::Table) -> bool {
    let known =
        |name: &str, type_oid: u32| facts.column(name).is_some_and(|(_, column)| column.type_oid == type_oid);
    relation.columns.iter().all(|column| known(&column.name, column.type_oid))
        && facts.columns.iter().all(|column| {
            column.generated || relation.columns.iter().any(|streamed| streamed.name == column.name)
        })
}
