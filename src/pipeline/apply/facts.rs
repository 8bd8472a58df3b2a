//! Facts and definitions come into force (rule 8): compiled, given places in the store, their generations
//! begun; what is not used any more is let go.

use std::sync::Arc;

use super::work::Work;
use super::{Applier, Compiled, Error, Limits};
use crate::journal::entry::Facts;
use crate::model::{EntryNo, TableId};
use crate::planted::{self, Bug};
use crate::projection::compile::compile as compile_plans;
use crate::projection::definition;
use crate::projection::plan::PlanSet;
use crate::store::dirty::{self, Target};
use crate::store::engine::Engine;
use crate::store::meta::{self, GenerationState, Stage, Storage};
use crate::store::rows::{self, RowReader};
use crate::store::schema::{Layout, Placement, Schema, link_attnums};

/// Keys removed at a time when something is let go.
const FORGET_KEYS: usize = 10_000;

/// Reads a Facts payload and compiles its definitions.
pub fn plans(entry: EntryNo, payload: &[u8]) -> Result<(Facts, PlanSet), Error> {
    let invalid = |reason: String| Error::Facts { entry, reason };
    let facts: Facts = serde_json::from_slice(payload).map_err(|error| invalid(error.to_string()))?;
    let mut definitions = Vec::with_capacity(facts.definitions.len());
    for journaled in &facts.definitions {
        let parsed = definition::parse(&journaled.name, &journaled.source)
            .map_err(|diagnostics| invalid(first(&diagnostics)))?;
        definitions.push(parsed);
    }
    let plans =
        compile_plans(&definitions, &facts.catalog).map_err(|diagnostics| invalid(first(&diagnostics)))?;
    Ok((facts, plans))
}

fn first(diagnostics: &[crate::model::Diagnostic]) -> String {
    diagnostics.first().map_or_else(|| "no reason given".to_owned(), ToString::to_string)
}

/// The facts in force, compiled for a store whose places and layouts are known.
pub(super) fn compile(
    entry: EntryNo,
    payload: &[u8],
    storage: &Storage,
    limits: Limits,
) -> Result<Compiled, Error> {
    let (facts, mut plans) = plans(entry, payload)?;
    plans.fan_out_max = limits.fan_out;
    let generations = facts.definitions.iter().map(|definition| definition.generation).collect();
    let schema = Schema::new(facts.catalog, plans, &storage.placements, &storage.layouts)
        .map_err(|error| Error::Facts { entry, reason: error.to_string() })?;
    Ok(Compiled { entry, schema, generations })
}

/// Gives every table of these plans its layout and its place. Returns the tables whose rows have to move,
/// because their links or their order changed.
fn place(storage: &mut Storage, facts: &Facts, plans: &PlanSet) -> Vec<TableId> {
    let mut moved = Vec::new();
    for key in &plans.tables {
        let Some(table) = facts.catalog.by_id(key.table) else { continue };
        let attnums: Vec<i16> = table.columns.iter().map(|column| column.attnum).collect();
        let layout = Layout { table: table.id, attnums: attnums.clone() };
        if !storage.layouts.contains(&layout) {
            storage.layouts.push(layout);
        }
        let links = || plans.links.iter().filter(|link| link.table == table.id);
        let clustered = links().find(|link| link.clustered).map(|link| link_attnums(link, &attnums));
        let wanted: Vec<Vec<i16>> =
            links().filter(|link| !link.clustered).map(|link| link_attnums(link, &attnums)).collect();
        let known = storage.placements.iter().position(|placement| placement.table == table.id);
        if let Some(known) = known {
            let placement = &storage.placements[known];
            let same = placement.clustered == clustered
                && placement.links.len() == wanted.len()
                && wanted.iter().all(|columns| placement.links.iter().any(|(placed, _)| placed == columns));
            if same {
                continue;
            }
            storage.placements.remove(known);
            moved.push(table.id);
        }
        let mut take = || {
            storage.next += 1;
            storage.next
        };
        let number = take();
        let links = wanted.into_iter().map(|columns| (columns, take())).collect();
        storage.placements.push(Placement { table: table.id, number, clustered, links });
    }
    moved
}

impl<E: Engine> Applier<E> {
    /// A Facts entry.
    pub(super) fn facts(
        &mut self,
        work: &mut Work<'_, E>,
        entry: EntryNo,
        payload: &[u8],
    ) -> Result<(), Error> {
        let (facts, plans) = plans(entry, payload)?;
        let traces = self.traces_before(work)?;
        let mut storage = meta::storage(work.batch()?)?;
        self.remove_rekeyed(work, entry, &facts, &plans, &mut storage)?;
        self.remove_gone(work, entry, &facts)?;
        let moved = place(&mut storage, &facts, &plans);
        let before = Arc::clone(&self.compiled);
        let compiled = compile(entry, payload, &storage, self.limits)?;
        if !moved.is_empty() {
            self.restart_scans(work)?;
        }
        for table in moved {
            self.move_table(work, &before.schema, &compiled.schema, table)?;
        }
        self.let_go(work, &before.schema, &compiled.schema, &mut storage)?;
        meta::put_storage(work.batch()?, &storage)?;
        meta::put_facts(work.batch()?, payload)?;
        self.reached.facts = entry;
        self.compiled = Arc::new(compiled);
        self.units_of(work, &facts, &before.schema, &traces)?;
        self.generations_of(work, &facts)?;
        self.relations.clear(); // they are bound to the facts before; those in force are bound again
        for message in meta::relations(work.batch()?)? {
            self.bind(&message)?;
        }
        self.close_changed(work, entry)?;
        self.open_generations(work, entry)
    }

    /// Rows under another key than they will have from now on cannot be found any more: they go, and their
    /// table is read again (rule 40).
    fn remove_rekeyed(
        &mut self,
        work: &mut Work<'_, E>,
        entry: EntryNo,
        facts: &Facts,
        plans: &PlanSet,
        storage: &mut Storage,
    ) -> Result<(), Error> {
        let before = Arc::clone(&self.compiled);
        for key in &plans.tables {
            let Some(table) = before.schema.table(key.table) else { continue };
            let attnums = |catalog: &crate::model::Catalog, columns: &[usize]| -> Option<Vec<i16>> {
                let table = catalog.by_id(key.table)?;
                columns.iter().map(|column| table.columns.get(*column).map(|column| column.attnum)).collect()
            };
            let same = table.key.classes == key.classes
                && attnums(&before.schema.catalog, &table.key.columns)
                    == attnums(&facts.catalog, &key.columns);
            if !same {
                self.remove_rows(work, table, |_, _| true, entry, 0)?;
                storage.placements.retain(|placement| placement.table != key.table);
                for unit in self.units.iter_mut().filter(|unit| unit.table == key.table) {
                    unit.again = true;
                }
            }
        }
        Ok(())
    }

    /// A running scan goes on behind a place in the store; rows and links have other places now, so it walks
    /// them from the beginning.
    fn restart_scans(&mut self, work: &mut Work<'_, E>) -> Result<(), Error> {
        for state in &self.generations {
            dirty::restart_scans(work.batch()?, state.generation)?;
        }
        Ok(())
    }

    /// Copies a table's rows to its new place in its new order, with its new links, then removes the old.
    fn move_table(
        &mut self,
        work: &mut Work<'_, E>,
        before: &Schema,
        after: &Schema,
        id: TableId,
    ) -> Result<(), Error> {
        let (Some(old), Some(new)) = (before.table(id), after.table(id)) else { return Ok(()) };
        for removing in [false, true] {
            let mut cursor = None;
            loop {
                let mut keyed = Vec::new();
                let next = {
                    let reader = RowReader { read: &*work.batch()?, schema: before };
                    let mut found = Vec::new();
                    let next =
                        reader.walk_table(id, cursor.as_deref(), self.limits.slice_rows, &mut found)?;
                    for row in &found {
                        keyed.push(reader.key(id, row)?);
                    }
                    next
                };
                for key in keyed {
                    let Some(row) = rows::find_old(work.batch()?, before, old, &key)? else { continue };
                    if removing {
                        rows::remove(work.batch()?, old, &key, &row)?;
                    } else {
                        rows::put(work.batch()?, after, new, &key, None, &row.bytes)?;
                    }
                    work.rows += 1;
                }
                match next {
                    None => break,
                    Some(next) => cursor = Some(next),
                }
                if work.rows >= self.limits.batch_rows {
                    self.reached.inside = true;
                    self.commit(work)?;
                }
            }
        }
        Ok(())
    }

    /// Removes the rows of tables that no projection uses any more: nobody keeps them in step from here.
    fn let_go(
        &mut self,
        work: &mut Work<'_, E>,
        before: &Schema,
        after: &Schema,
        storage: &mut Storage,
    ) -> Result<(), Error> {
        for table in before.tables().filter(|table| after.table(table.id).is_none()) {
            self.remove_rows(work, table, |_, _| true, self.reached.entry.next(), 0)?;
            while !meta::clear_tombstones(work.batch()?, table.id, FORGET_KEYS)? {}
            storage.placements.retain(|placement| placement.table != table.id);
        }
        Ok(())
    }

    /// Begins new generations and drops those that the facts do not name any more.
    fn generations_of(&mut self, work: &mut Work<'_, E>, facts: &Facts) -> Result<(), Error> {
        let named =
            |state: &GenerationState| facts.definitions.iter().any(|d| d.generation == state.generation);
        let (kept, dropped): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.generations).into_iter().partition(named);
        self.generations = kept;
        for state in dropped {
            work.forget(state.generation);
            while !dirty::forget(work.batch()?, state.generation, FORGET_KEYS)? {}
            let quarantined = meta::clear_quarantine(work.batch()?, state.generation)?;
            self.reached.quarantined -= quarantined as u64;
            self.reached.dirty.retain(|(generation, _)| *generation != state.generation);
            meta::remove_generation(work.batch()?, state.generation)?;
        }
        for definition in &facts.definitions {
            if self.generations.iter().any(|state| state.generation == definition.generation) {
                continue;
            }
            let state = GenerationState {
                generation: definition.generation,
                projection: definition.name.clone(),
                index: definition.index.clone(),
                stage: Stage::Waiting,
                published: false,
                built_from: EntryNo::ZERO,
            };
            meta::put_generation(work.batch()?, &state)?;
            self.generations.push(state);
        }
        Ok(())
    }

    /// Opens the generations whose tables are all complete (rule 17), and closes the others. One that was
    /// never built is dirtied whole.
    pub(super) fn open_generations(&mut self, work: &mut Work<'_, E>, entry: EntryNo) -> Result<(), Error> {
        let compiled = Arc::clone(&self.compiled);
        for position in 0..self.generations.len() {
            let generation = self.generations[position].generation;
            let Some(plan) = compiled.generations.iter().position(|known| *known == generation) else {
                continue;
            };
            let complete = compiled.schema.plans.plans[plan].nodes.iter().all(|node| {
                self.units.iter().filter(|unit| unit.table == node.table).all(|unit| unit.complete)
            });
            let state = &mut self.generations[position];
            let before = state.clone();
            match (complete, state.stage) {
                (false, Stage::Building | Stage::Live) => {
                    state.stage = Stage::Waiting;
                    if !planted::is(Bug::GapNotOwed) {
                        dirty::hold(work.batch()?, generation, entry)?;
                    }
                }
                (true, Stage::Waiting) if state.built_from == EntryNo::ZERO => {
                    state.stage = Stage::Building;
                    state.built_from = entry;
                    work.scan(&mut self.reached, generation, Target::Whole, 0, (entry, entry))?;
                }
                (true, Stage::Waiting) => {
                    state.stage = if state.published { Stage::Live } else { Stage::Building };
                    dirty::release(work.batch()?, generation, entry)?;
                }
                _ => {}
            }
            let state = &self.generations[position];
            if *state != before {
                meta::put_generation(work.batch()?, state)?;
            }
        }
        Ok(())
    }
}
