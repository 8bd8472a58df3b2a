//! Chunks and sweeps (rules 11-18): a chunk row wins only over rows last changed before L.

use std::sync::Arc;

use super::change::Put;
use super::work::Work;
use super::{Applier, Error};
use crate::failpoint;
use crate::journal::entry::{Backfill, Record};
use crate::model::{Cell, Column, EntryNo, Key, Table};
use crate::pgoutput::copy::Rows as CopyRows;
use crate::planted::{self, Bug};
use crate::source::ChunkHead;
use crate::store::engine::Engine;
use crate::store::meta::{self, UnitState};
use crate::store::rows::{self, OldRow};
use crate::store::schema::StoredTable;

impl<E: Engine> Applier<E> {
    /// The marker L came back: these units are read from here on, and their projections wait (rule 17).
    pub(super) fn backfill_begin(
        &mut self,
        work: &mut Work<'_, E>,
        entry: EntryNo,
        backfill: &Backfill,
    ) -> Result<(), Error> {
        if backfill.keys_only {
            return Ok(());
        }
        for unit in &mut self.units {
            if backfill.units.iter().any(|named| named.table == unit.table && named.oid == unit.oid) {
                *unit = UnitState {
                    begin: entry,
                    transaction: backfill.transaction,
                    complete: false,
                    truncated: false,
                    again: false,
                    rows: 0,
                    sequence: 0,
                    last_key: None,
                    read_whole: false,
                    had_rows: self.reached.rows > 0,
                    ..unit.clone()
                };
                meta::put_unit(work.batch()?, unit)?;
            }
        }
        self.open_generations(work, entry)
    }

    /// Rows of a chunk. What was read before a TRUNCATE, by another layout, or for another L is dropped.
    pub(super) fn chunk(&mut self, work: &mut Work<'_, E>, record: &Record) -> Result<(), Error> {
        let entry = record.number;
        let unreadable = |reason: String| Error::Message { entry, reason: format!("chunk: {reason}") };
        let (head, lines) = split_chunk(&record.payload).map_err(|reason| unreadable(reason.to_owned()))?;
        let compiled = Arc::clone(&self.compiled);
        let (Some(table), Some(facts)) =
            (compiled.schema.table(head.table), compiled.schema.catalog.by_id(head.table))
        else {
            return Ok(()); // no projection uses it any more
        };
        let Some(position) = self.units.iter().position(|u| u.table == head.table && u.oid == head.oid)
        else {
            return Ok(());
        };
        let unit = &self.units[position];
        // An attempt that was given up may have left a chunk of this number that read less or more: only one
        // that begins where the last one ended leaves no gap.
        let in_turn = unit.begin == head.begin
            && unit.sequence == head.sequence
            && unit.last_key == head.after
            && !unit.complete
            && !unit.truncated;
        if !(in_turn || head.keys_only) || unit.again {
            return Ok(());
        }
        let Some(columns) = chunk_columns(&head, facts) else {
            let unit = &mut self.units[position];
            unit.again = true; // rule 18
            unit.complete = false;
            meta::put_unit(work.batch()?, unit)?;
            return self.open_generations(work, entry);
        };
        let leaf = leaf_of(facts, head.oid);
        let mut copy = CopyRows::new(lines, head.columns.len());
        while let Some(row) = copy.next_row().map_err(|error| unreadable(error.to_string()))? {
            let copied: Vec<Cell<'_>> = row.cells().collect();
            let mut cells: Vec<Cell<'_>> =
                columns.iter().map(|position| position.map_or(Cell::Null, |at| copied[at])).collect();
            let key = cells_key(table, &cells).ok_or_else(|| unreadable("a row without a key".to_owned()))?;
            self.chunk_row(work, entry, &head, table, &key, leaf, &mut cells)?;
        }
        failpoint::hit("apply.chunk");
        if !head.keys_only {
            let unit = &mut self.units[position];
            unit.sequence += 1;
            unit.rows += u64::from(head.rows);
            unit.last_key = head.last_key.clone().or(unit.last_key.take());
            unit.read_whole |= head.last;
            meta::put_unit(work.batch()?, unit)?;
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "as `upsert`, which it hands them to")]
    fn chunk_row(
        &mut self,
        work: &mut Work<'_, E>,
        entry: EntryNo,
        head: &ChunkHead,
        table: &StoredTable,
        key: &Key,
        leaf: u32,
        cells: &mut [Cell<'_>],
    ) -> Result<(), Error> {
        let compiled = Arc::clone(&self.compiled);
        let old = rows::find_old(work.batch()?, &compiled.schema, table, key)?;
        match old {
            Some(old) if old.last >= head.begin => {
                // Only the very row that was incomplete when L came: another one may have come under its
                // key between the SELECT and the marker, and keeps its own unknown value.
                match meta::incomplete_since(work.batch()?, table.id, key)? {
                    Some(since) if since < head.begin => {
                        self.fill(work, entry, table, key, leaf, cells, &old)
                    }
                    _ => Ok(()),
                }
            }
            None if head.keys_only => Ok(()), // deleted meanwhile: the stream said so
            None if meta::tombstone(work.batch()?, table.id, key)?.is_some_and(|at| at >= head.begin) => {
                Ok(())
            }
            _ => self.upsert(work, entry, table, key, leaf, cells, Put::SameKey),
        }
    }

    /// A row that the stream changed since L keeps what it has; the chunk gives it only what was never
    /// known (rule 16).
    #[expect(clippy::too_many_arguments, reason = "as `upsert`, which it hands them to")]
    fn fill(
        &mut self,
        work: &mut Work<'_, E>,
        entry: EntryNo,
        table: &StoredTable,
        key: &Key,
        leaf: u32,
        cells: &mut [Cell<'_>],
        old: &OldRow,
    ) -> Result<(), Error> {
        let row = old.row(table)?;
        if !row.is_incomplete() || self.is_stale(table, leaf, old) {
            return Ok(()); // what is stale is read whole
        }
        for (column, cell) in cells.iter_mut().enumerate() {
            match row.cell(column) {
                Cell::Unchanged => {}
                // Kept: the old row's own value. `upsert` takes it for every unchanged cell.
                _ => *cell = Cell::Unchanged,
            }
        }
        self.upsert(work, entry, table, key, leaf, cells, Put::SameKey)
    }

    /// Every chunk of these units is in: rows neither seen nor changed since L are gone in the source
    /// (rule 14), and the units are complete.
    pub(super) fn backfill_end(
        &mut self,
        work: &mut Work<'_, E>,
        entry: EntryNo,
        backfill: &Backfill,
    ) -> Result<(), Error> {
        if backfill.keys_only {
            return Ok(());
        }
        let compiled = Arc::clone(&self.compiled);
        for position in 0..self.units.len() {
            let unit = self.units[position].clone();
            let named = backfill.units.iter().any(|named| named.table == unit.table && named.oid == unit.oid);
            // One whose chunks were not all taken is read on from where it is.
            let whole = unit.read_whole || unit.truncated;
            if !named || unit.begin != backfill.begin || unit.again || unit.complete || !whole {
                continue;
            }
            let Some(table) = compiled.schema.table(unit.table) else { continue };
            let leaf = compiled.schema.catalog.by_id(unit.table).map_or(0, |facts| leaf_of(facts, unit.oid));
            if self.owes_values(work, &unit, table, leaf)? {
                continue;
            }
            if unit.had_rows && !planted::is(Bug::NoSweep) {
                self.remove_rows(
                    work,
                    table,
                    |row_leaf, last| row_leaf == leaf && last < unit.begin,
                    entry,
                    0,
                )?;
                for (plan, generation) in self.marked_plans() {
                    let nodes = &compiled.schema.plans.plans[plan].nodes;
                    if nodes.iter().skip(1).any(|node| node.table == unit.table) {
                        work.scan(
                            &mut self.reached,
                            generation,
                            crate::store::dirty::Target::Whole,
                            0,
                            (entry, entry),
                        )?;
                    }
                }
            }
            failpoint::hit("apply.swept");
            let unit = &mut self.units[position];
            unit.complete = true;
            unit.read_whole = true;
            meta::put_unit(work.batch()?, unit)?;
            if !self.is_being_read(table) {
                while !meta::clear_tombstones(work.batch()?, table.id, self.limits.slice_rows)? {}
            }
        }
        self.open_generations(work, entry)
    }

    /// Rule 16: whether a row of this unit that the sweep leaves holds a value not known. Who ordered the end may not
    /// have seen it. It may be the value by which the row is found, so that no document would wait for it.
    fn owes_values(
        &self,
        work: &mut Work<'_, E>,
        unit: &UnitState,
        table: &StoredTable,
        leaf: u32,
    ) -> Result<bool, Error> {
        if self.reached.incomplete == 0 {
            return Ok(false);
        }
        let limit = self.limits.batch_rows;
        let keys = meta::incomplete_of(work.batch()?, unit.table, unit.begin, limit)?;
        if keys.len() == limit {
            return Ok(true); // too many to look whether they are another leaf's
        }
        for key in keys {
            let row = rows::find_old(work.batch()?, &self.compiled.schema, table, &key)?;
            let row = row.as_ref().map(|row| row.row(table)).transpose()?;
            if row.is_some_and(|row| row.leaf == leaf) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What rows that come under this oid are stored with; see [`crate::model::RowWriter::begin`].
pub(super) fn leaf_of(facts: &Table, oid: u32) -> u32 {
    if facts.leaves.iter().any(|leaf| leaf.oid == oid) { oid } else { 0 }
}

/// A chunk's payload: the length of its head, the head as JSON, the rows.
pub fn join_chunk(head: &ChunkHead, rows: &[u8]) -> Vec<u8> {
    // A head is a plain struct of numbers and strings: its serialisation cannot fail.
    let head = serde_json::to_vec(head).unwrap_or_default();
    let mut payload = Vec::with_capacity(4 + head.len() + rows.len());
    payload.extend_from_slice(&(head.len() as u32).to_le_bytes());
    payload.extend_from_slice(&head);
    payload.extend_from_slice(rows);
    payload
}

/// The reverse of [`join_chunk`].
pub fn split_chunk(payload: &[u8]) -> Result<(ChunkHead, &[u8]), &'static str> {
    let (length, rest) = payload.split_first_chunk::<4>().ok_or("no head")?;
    let (head, rows) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or("head cut short")?;
    let head = serde_json::from_slice(head).map_err(|_| "head unreadable")?;
    Ok((head, rows))
}

/// Catalog column -> position in the chunk; nothing when the chunk was read by other columns than the
/// facts have (rule 18). Generated columns are not read. The columns of a leaf have numbers of their own: there,
/// as in the stream, name and type must do.
fn chunk_columns(head: &ChunkHead, facts: &Table) -> Option<Vec<Option<usize>>> {
    let is_leaf = head.oid != facts.oid;
    let same = |column: &Column, (attnum, name, type_oid): &(i16, String, u32)| {
        (is_leaf || column.attnum == *attnum) && column.name == *name && column.type_oid == *type_oid
    };
    let known = |read: &(i16, String, u32)| facts.columns.iter().any(|column| same(column, read));
    if !head.columns.iter().all(known) {
        return None;
    }
    facts
        .columns
        .iter()
        .map(|column| {
            let at = head.columns.iter().position(|read| same(column, read));
            (at.is_some() || column.generated).then_some(at)
        })
        .collect()
}

/// The row's key in cells of the catalog's order.
fn cells_key(table: &StoredTable, cells: &[Cell<'_>]) -> Option<Key> {
    let mut key = Key::with_capacity(16);
    for (column, class) in table.key.columns.iter().zip(&table.key.classes) {
        class.encode(cells.get(*column)?.text()?, &mut key).ok()?;
    }
    Some(key)
}
