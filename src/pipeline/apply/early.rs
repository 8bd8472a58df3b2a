//! Transactions that are older than a marker L and commit behind it (rules 12 to 15).
//!
//! Such a one may have written rows while their table was not published: the stream has a part of what it did. The
//! chunks show it whole, because they are read when it has ended. So what the stream has of it counts as from
//! before L, and the chunks win.

use super::work::Work;
use super::{Applier, Error};
use crate::journal::entry;
use crate::model::{EntryNo, TableId};
use crate::pgoutput::decoder::decode;
use crate::pgoutput::message::Message;
use crate::planted::{self, Bug};
use crate::store::engine::Engine;
use crate::store::meta::{self, UnitState};

/// Whose part this is: it begins with the transaction's BEGIN, except in older journals.
pub(super) fn xid_of_part(payload: &[u8]) -> Option<u32> {
    match decode(entry::messages(payload).next()?) {
        Ok(Message::Begin { xid, .. }) => Some(xid),
        _ => None,
    }
}

impl<E: Engine> Applier<E> {
    /// Takes note of whose changes follow.
    pub(super) fn note_early(&mut self, work: &mut Work<'_, E>, xid: u32) -> Result<(), Error> {
        if planted::is(Bug::EarlyIsLate) {
            return Ok(());
        }
        for unit in self.units.iter_mut().filter(|unit| unit.is_early(xid)) {
            self.early = Some(xid);
            if !unit.had_rows {
                unit.had_rows = true; // it may put rows there that no chunk has
                meta::put_unit(work.batch()?, unit)?;
            }
        }
        Ok(())
    }

    /// Whether the transaction that is being applied is older than this unit's reading. Behind a TRUNCATE all that
    /// it does is in the stream (rule 15), and nothing is read.
    pub(super) fn is_early(&self, unit: &UnitState) -> bool {
        !unit.truncated && self.early.is_some_and(|xid| unit.is_early(xid))
    }

    /// The entry that a row of this table counts as changed by.
    pub(super) fn counts_as(&self, entry: EntryNo, table: TableId, leaf: u32) -> EntryNo {
        if self.early.is_none() {
            return entry;
        }
        let of = |unit: &&UnitState| unit.table == table && (leaf == 0 || unit.oid == leaf);
        self.units
            .iter()
            .find(|unit| of(unit) && self.is_early(unit))
            .map_or(entry, |unit| unit.begin.previous())
    }
}
