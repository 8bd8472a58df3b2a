//! One row changes: the row, its links, the documents it dirties.

use std::sync::Arc;

use super::work::Work;
use super::{Applier, Error};
use crate::model::{Cell, EntryNo, Generation, Row, RowWriter};
use crate::planted::{self, Bug};
use crate::projection::affected::{self, Contribution, RowChange, Upward};
use crate::projection::plan::{LinkId, RowsError};
use crate::store::dirty::{Count, Target};
use crate::store::engine::{self, Engine, Read};
use crate::store::meta::{self, UnitState};
use crate::store::rows::{self, OldRow, RowReader};
use crate::store::schema::StoredTable;

impl<R: Read> Upward for RowReader<'_, R> {
    fn linked_at_most<'a>(
        &'a self,
        link: LinkId,
        key: &[u8],
        limit: usize,
        rows: &mut Vec<Row<'a>>,
    ) -> Result<bool, RowsError> {
        let rest = self
            .walk_link(link, key, None, limit.saturating_add(1), rows)
            .map_err(|error| RowsError(error.to_string()))?;
        Ok(rest.is_none())
    }
}

/// What is known of a row that is put in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// The stream says that it is new.
    Inserted,
    /// It keeps the key under which it stood.
    SameKey,
    /// Its key may be another now.
    AnyKey,
}

impl<E: Engine> Applier<E> {
    /// Puts a row in place. `identity` is the key under which the old row stands; `cells` are in the
    /// catalog's order, and unchanged TOAST values among them are taken from the old row.
    #[expect(clippy::too_many_arguments, reason = "one row change has that many parts, in this one place")]
    pub(super) fn upsert(
        &mut self,
        work: &mut Work<'_, E>,
        entry: EntryNo,
        table: &StoredTable,
        identity: &[u8],
        leaf: u32,
        cells: &mut [Cell<'_>],
        put: Put,
    ) -> Result<(), Error> {
        let compiled = Arc::clone(&self.compiled);
        let schema = &compiled.schema;
        let old = rows::find_old(work.batch()?, schema, table, identity)?;
        let mut writer = RowWriter::default();
        let changed_at = self.counts_as(entry, table.id, leaf);
        writer.begin(changed_at, table.layout, leaf);
        let mut incomplete = false;
        {
            let leaves_out = cells.contains(&Cell::Unchanged);
            let known = old.as_ref().filter(|old| leaves_out && !self.is_stale(table, leaf, old));
            let old_row = known.map(|old| old.row(table)).transpose()?;
            for (column, cell) in cells.iter().enumerate() {
                let cell = match (cell, &old_row) {
                    (Cell::Unchanged, _) if planted::is(Bug::IgnoreUnchanged) => Cell::Null,
                    (Cell::Unchanged, Some(old)) => old.cell(column),
                    (cell, _) => *cell,
                };
                incomplete |= cell == Cell::Unchanged;
                writer.cell(cell);
            }
        }
        let row = Row::parse(writer.bytes())
            .map_err(|error| Error::Message { entry, reason: error.to_string() })?;
        let mut key = identity.to_vec();
        if put == Put::Inserted && old.is_some() {
            self.reached.inserts_over_rows += 1; // rule 19: an update all the same, and the sign of a gap
        }
        if put == Put::AnyKey {
            let new_key = crate::projection::plan::key_of(&row, &table.key.columns, &table.key.classes);
            key = new_key.unwrap_or(key); // an unchanged, TOASTed key stands in the old tuple alone
        }
        if key != identity {
            if let Some(old) = &old {
                rows::remove(work.batch()?, table, identity, old)?;
                self.reached.rows -= 1;
                self.note_incomplete(work, table, identity, None)?;
            }
            self.entomb(work, table, identity, entry)?;
            // Whatever stands under the new key is not there in the source any more.
            self.delete(work, entry, table, &key)?;
            rows::put(work.batch()?, schema, table, &key, None, writer.bytes())?;
            self.reached.rows += 1;
            // Another key is another row: nothing is compared (a root's key need not be among its fields).
            self.contribute(work, entry, table, old.as_ref(), None)?;
        } else {
            if rows::put(work.batch()?, schema, table, &key, old.as_ref(), writer.bytes())? {
                self.moved(work, entry, table, &key);
            }
            self.reached.rows += u64::from(old.is_none());
        }
        self.note_incomplete(work, table, &key, incomplete.then_some(changed_at))?;
        work.rows += 1;
        let old = old.filter(|_| key == identity);
        self.contribute(work, entry, table, old.as_ref(), Some(writer.bytes()))
    }

    /// A row moved within its table. A scan that walks its roots may never meet it, although no column of the
    /// document changed: the row stands by a column that another projection uses.
    fn moved(&mut self, work: &mut Work<'_, E>, entry: EntryNo, table: &StoredTable, key: &[u8]) {
        if planted::is(Bug::MovedRowUnscanned) {
            return;
        }
        for (plan, generation) in self.marked_plans() {
            let root = self.compiled.schema.plans.plans[plan].nodes.first().map(|node| node.table);
            let scanned = |(of, count): &(Generation, Count)| *of == generation && count.scans > 0;
            if root == Some(table.id) && self.reached.dirty.iter().any(scanned) {
                work.point(generation, key.to_vec(), entry);
            }
        }
    }

    /// Removes the row under a key; one that is not there may still have to be kept from coming back with a
    /// chunk (rule 14).
    pub(super) fn delete(
        &mut self,
        work: &mut Work<'_, E>,
        entry: EntryNo,
        table: &StoredTable,
        key: &[u8],
    ) -> Result<(), Error> {
        let compiled = Arc::clone(&self.compiled);
        self.entomb(work, table, key, entry)?;
        let Some(old) = rows::find_old(work.batch()?, &compiled.schema, table, key)? else { return Ok(()) };
        rows::remove(work.batch()?, table, key, &old)?;
        self.reached.rows -= 1;
        work.rows += 1;
        self.note_incomplete(work, table, key, None)?;
        self.contribute(work, entry, table, Some(&old), None)
    }

    fn entomb(
        &mut self,
        work: &mut Work<'_, E>,
        table: &StoredTable,
        key: &[u8],
        entry: EntryNo,
    ) -> Result<(), Error> {
        let being_read = |unit: &UnitState| unit.table == table.id && !unit.complete && !self.is_early(unit);
        if self.units.iter().any(being_read) && !planted::is(Bug::NoTombstones) {
            meta::put_tombstone(work.batch()?, table.id, key, entry)?;
        }
        Ok(())
    }

    /// Whether changes of this row may have been missed: what it holds is nobody's value any more. A table is read
    /// again because of a gap that lies behind the journal's end of that moment; only the marker L is surely behind the
    /// gap. A transaction that wrote in the gap and commits behind L holds its rows' locks from before L.
    pub(super) fn is_stale(&self, table: &StoredTable, leaf: u32, old: &OldRow) -> bool {
        !planted::is(Bug::StaleIsKnown)
            && self.units.iter().any(|unit| {
                let stale = unit.begin == EntryNo::ZERO || old.last < unit.begin;
                unit.table == table.id && (leaf == 0 || unit.oid == leaf) && !unit.complete && stale
            })
    }

    /// Whether some part of this table is not complete.
    pub(super) fn is_being_read(&self, table: &StoredTable) -> bool {
        self.units.iter().any(|unit| unit.table == table.id && !unit.complete)
    }

    /// Keeps the list of rows that hold a value not known.
    pub(super) fn note_incomplete(
        &mut self,
        work: &mut Work<'_, E>,
        table: &StoredTable,
        key: &[u8],
        since: Option<EntryNo>,
    ) -> Result<(), Error> {
        if since.is_none() && self.reached.incomplete == 0 {
            return Ok(());
        }
        let was = meta::set_incomplete(work.batch()?, table.id, key, since)?;
        match (was, since) {
            (false, Some(_)) => self.reached.incomplete += 1,
            (true, None) => self.reached.incomplete -= 1,
            _ => {}
        }
        Ok(())
    }

    /// Dirties what a changed row dirties, in every projection (the superset rule).
    fn contribute(
        &mut self,
        work: &mut Work<'_, E>,
        entry: EntryNo,
        table: &StoredTable,
        old: Option<&OldRow>,
        new: Option<&[u8]>,
    ) -> Result<(), Error> {
        let plans = self.marked_plans();
        if plans.is_empty() {
            return Ok(());
        }
        let compiled = Arc::clone(&self.compiled);
        let broken = |reason: String| engine::Error::Broken { operation: "find documents", reason };
        let old = old.map(|old| old.row(table)).transpose()?;
        let new = new.map(|new| Row::parse(new).map_err(|error| broken(error.to_string()))).transpose()?;
        let changed = match (&old, &new) {
            (Some(old), Some(new)) => affected::changed(old, new, table.columns),
            _ => Default::default(),
        };
        let change = RowChange { table: table.id, old, new, changed };
        let mut points = Vec::new();
        let mut scans = Vec::new();
        {
            let reader = RowReader { read: &*work.batch()?, schema: &compiled.schema };
            for (plan, generation) in plans {
                let set = &compiled.schema.plans;
                affected::affected(&set.plans[plan], set, &reader, &change, &mut |contribution| {
                    match contribution {
                        Contribution::Point { key } => points.push((generation, key)),
                        Contribution::Scan { node, key, depth } => {
                            scans.push((generation, Target::Prefix { node, key }, depth));
                        }
                    }
                })
                .map_err(|error| broken(error.to_string()))?;
            }
        }
        for (generation, key) in points {
            work.point(generation, key, entry);
        }
        for (generation, target, depth) in scans {
            work.scan(&mut self.reached, generation, target, depth, (entry, entry))?;
        }
        Ok(())
    }
}
