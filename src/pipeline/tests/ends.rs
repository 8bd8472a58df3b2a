//! When a table that is being read counts as complete.

use super::silent::{Fold, ITEMS};
use crate::journal::Kind;
use crate::journal::entry::{Backfill, Unit};
use crate::model::{EntryNo, TableId};
use crate::store::meta::Stage;

const LEAF: u32 = 1032;

/// An item that is not known, of which only the key is in the stream.
const UNKNOWN: &[u8] = b"\0\x05t\0\0\0\x017t\0\0\0\x012uuu";

#[test]
fn a_table_is_not_complete_while_a_row_of_it_holds_a_value_not_known() {
    let mut fold = Fold::new();
    fold.trace(LEAF).path = "attached".to_owned();
    fold.put_facts();
    let unit = Unit { table: TableId(ITEMS), oid: LEAF };
    let mut backfill =
        Backfill { begin: EntryNo::ZERO, units: vec![unit.clone()], keys_only: false, transaction: None };
    let payload = |backfill: &Backfill| serde_json::to_vec(backfill).unwrap();
    backfill.begin = fold.entry(Kind::BackfillBegin, payload(&backfill));
    fold.chunk(backfill.begin, &unit, "1\t2\t1\t2\tt\n", false);
    // Whoever ordered the end had looked before this was applied.
    fold.update(LEAF, UNKNOWN);
    fold.entry(Kind::BackfillEnd, payload(&backfill));
    assert_eq!(fold.incomplete(), [LEAF]);
    assert_eq!(fold.applier.generations()[0].stage, Stage::Waiting);

    let keys = Backfill { keys_only: true, ..backfill.clone() };
    let begin = fold.entry(Kind::BackfillBegin, payload(&keys));
    fold.chunk(begin, &unit, "7\t2\t1\t2\tt\n", true);
    fold.entry(Kind::BackfillEnd, payload(&backfill));
    assert_eq!((fold.incomplete(), fold.applier.reached().incomplete), (vec![], 0));
}
