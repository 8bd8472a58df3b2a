//! Rows that hold a value not known are read by their keys (rule 16).

use super::backfill::{Backfill, Interrupted};
use super::key_texts::key_texts;
use crate::journal::entry::{Backfill as Units, Unit};
use crate::model::{Catalog, EntryNo, TableId};
use crate::pipeline::run::apply_loop::look;
use crate::source::{ChunkRange, ChunkRequest};
use crate::store::engine::{self, Engine};
use crate::store::meta::{self, UnitState};

/// Keys of incomplete rows read at a time.
const KEYS_AT_ONCE: usize = 500;

impl<E: Engine> Backfill<E> {
    /// Rule 16: before a table counts as complete, no row of it may hold a value not known. Rows that became so
    /// before L and were in no chunk are not there any more: the sweep removes them.
    pub(super) async fn fill_incomplete(
        &mut self,
        begin: EntryNo,
        units: &[UnitState],
    ) -> Result<(), Interrupted> {
        loop {
            self.caught_up().await?;
            let units = self.of_this_read(begin, units);
            if self.incomplete_keys(begin, &units)?.is_empty() {
                return Ok(());
            }
            self.read_incomplete(begin, &units).await?;
        }
    }

    /// Those whose tables are read from this marker alone. A part that a gap has sent back to the beginning meanwhile
    /// may hold rows that are gone, which no key finds: its own read, from another marker, removes them, and comes
    /// after this one. What the table's other parts lack, their end looks at (rule 16).
    fn of_this_read(&self, begin: EntryNo, units: &[UnitState]) -> Vec<UnitState> {
        let published = look(&self.board);
        let elsewhere = |table: TableId| {
            let mut parts = published.units.iter().filter(|part| part.table == table && !part.complete);
            parts.any(|part| part.begin != begin || part.again)
        };
        units.iter().filter(|unit| !elsewhere(unit.table)).cloned().collect()
    }

    /// In steady state the same (rule 16).
    pub(super) async fn mend_steady(&mut self) -> Result<(), Interrupted> {
        let units = look(&self.board).units.clone();
        self.read_incomplete(EntryNo::ZERO, &units).await
    }

    /// Reads incomplete rows behind a marker and a wait-out of their own (rule 13): a value is taken only for
    /// a row that was incomplete before that marker, because of a younger one the SELECT may not know.
    async fn read_incomplete(&mut self, since: EntryNo, units: &[UnitState]) -> Result<(), Interrupted> {
        let named = units.iter().map(|unit| Unit { table: unit.table, oid: unit.oid }).collect();
        let keys = Units { begin: EntryNo::ZERO, units: named, keys_only: true, transaction: None };
        let begin = self.marked(keys).await?;
        self.wait_out().await?;
        self.applied(begin).await?;
        let keys = self.incomplete_keys(since, units)?;
        let catalog = look(&self.board).compiled.schema.catalog.clone();
        self.read_keys(begin, &catalog, keys).await
    }

    /// Some keys of each of these units' tables, so that none hides behind another.
    fn incomplete_keys(
        &self,
        since: EntryNo,
        units: &[UnitState],
    ) -> Result<Vec<(TableId, Vec<u8>)>, Interrupted> {
        let store = |error: engine::Error| Interrupted::Store(error.to_string());
        let view = self.engine.view().map_err(store)?;
        let mut tables: Vec<TableId> = units.iter().map(|unit| unit.table).collect();
        tables.sort_unstable_by_key(|table| table.0);
        tables.dedup();
        let mut keys = Vec::new();
        for table in tables {
            let found = meta::incomplete_of(&view, table, since, KEYS_AT_ONCE).map_err(store)?;
            keys.extend(found.into_iter().map(|key| (table, key)));
        }
        Ok(keys)
    }

    async fn read_keys(
        &mut self,
        begin: EntryNo,
        catalog: &Catalog,
        keys: Vec<(TableId, Vec<u8>)>,
    ) -> Result<(), Interrupted> {
        for table in &catalog.tables {
            let texts: Vec<Vec<String>> = keys
                .iter()
                .filter(|(id, _)| *id == table.id)
                .filter_map(|(_, key)| key_texts(table, key))
                .collect();
            if texts.is_empty() {
                continue;
            }
            for oid in table.row_oids() {
                let request = ChunkRequest {
                    begin,
                    table,
                    oid,
                    sequence: 0,
                    range: ChunkRange::Keys(texts.clone()),
                    rows: texts.len() as u32,
                    nonce: self.nonce(),
                };
                let (ticket, ..) = self.chunk(&request).await?;
                let entry = self.appended(ticket).await?;
                self.applied(entry).await?;
            }
        }
        Ok(())
    }
}
