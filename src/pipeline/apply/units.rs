//! Which tables and leaves there are under new facts, and which of them must be read (again).

use std::sync::Arc;

use super::backfill::leaf_of;
use super::work::Work;
use super::{Applier, Error};
use crate::journal::entry::Facts;
use crate::model::{EntryNo, Table, Trace};
use crate::store::engine::Engine;
use crate::store::meta::{self, UnitState};
use crate::store::schema::Schema;

impl<E: Engine> Applier<E> {
    /// The traces of the facts in force, from before new ones are put there.
    pub(super) fn traces_before(&mut self, work: &mut Work<'_, E>) -> Result<Vec<Trace>, Error> {
        let entry = self.reached.facts;
        let Some(payload) = meta::facts(work.batch()?)? else { return Ok(Vec::new()) };
        let facts: Facts = serde_json::from_slice(&payload)
            .map_err(|error| Error::Facts { entry, reason: error.to_string() })?;
        Ok(facts.traces)
    }

    /// Removes the rows of leaves that were detached or dropped: nothing in the stream says so (hazard 28).
    /// Rows that moved to another leaf meanwhile carry that one's oid and stay (rule 19).
    pub(super) fn remove_gone(
        &mut self,
        work: &mut Work<'_, E>,
        entry: EntryNo,
        facts: &Facts,
    ) -> Result<(), Error> {
        let before = Arc::clone(&self.compiled);
        for unit in self.units.clone() {
            let (Some(table), Some(known), Some(now)) = (
                before.schema.table(unit.table),
                before.schema.catalog.by_id(unit.table),
                facts.catalog.by_id(unit.table),
            ) else {
                continue; // a table that is let go loses all rows
            };
            let leaf = leaf_of(known, unit.oid);
            // Under another oid of a plain table the sweep of its reading removes what is too much.
            if now.row_oids().any(|oid| leaf_of(now, oid) == leaf) {
                continue;
            }
            self.remove_rows(work, table, |row_leaf, _| row_leaf == leaf, entry, 0)?;
            self.scan_users(work, &before, unit.table, entry)?;
        }
        Ok(())
    }

    /// One state per plain table or leaf; a new one is incomplete, and so is one whose rows are not to be
    /// believed any more.
    pub(super) fn units_of(
        &mut self,
        work: &mut Work<'_, E>,
        facts: &Facts,
        before: &Schema,
        traces: &[Trace],
    ) -> Result<(), Error> {
        let compiled = Arc::clone(&self.compiled);
        let rewritten = |oid: u32| {
            let of = |all: &[Trace]| all.iter().find(|trace| trace.oid == oid).cloned();
            // Older journals have none: then nothing is known, and nothing is read again for it.
            of(traces).zip(of(&facts.traces)).is_some_and(|(before, now)| before.is_rewritten(&now))
        };
        let mut units = Vec::new();
        for table in facts.catalog.tables.iter().filter(|table| compiled.schema.table(table.id).is_some()) {
            let known = before.catalog.by_id(table.id);
            let changed = known.is_some_and(|known| is_changed(known, table)) || rewritten(table.oid);
            for oid in table.row_oids() {
                let known = self.units.iter().find(|unit| unit.table == table.id && unit.oid == oid);
                let known = known.filter(|unit| !changed && !unit.again && !rewritten(oid));
                let unit = known.cloned().unwrap_or_else(|| UnitState::unread(table.id, oid));
                meta::put_unit(work.batch()?, &unit)?;
                units.push(unit);
            }
        }
        let gone = |old: &UnitState| {
            !units.iter().any(|unit: &UnitState| unit.table == old.table && unit.oid == old.oid)
        };
        let gone: Vec<UnitState> = self.units.iter().filter(|old| gone(old)).cloned().collect();
        self.units = units;
        for unit in gone {
            meta::remove_unit(work.batch()?, &unit)?;
            if let Some(table) = compiled.schema.table(unit.table)
                && !self.is_being_read(table)
            {
                while !meta::clear_tombstones(work.batch()?, unit.table, self.limits.slice_rows)? {}
            }
        }
        Ok(())
    }
}

/// Whether stored rows were read by other columns or under another key (rules 18, 40). NOT NULL is a promise
/// about values and changes none.
fn is_changed(before: &Table, now: &Table) -> bool {
    let columns = |table: &Table| {
        let mut columns = table.columns.clone();
        columns.iter_mut().for_each(|column| column.not_null = false);
        columns
    };
    columns(before) != columns(now) || before.key != now.key
}
