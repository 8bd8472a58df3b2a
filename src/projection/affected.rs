//! Which documents a changed row dirties: the superset rule of the design.
//!
//! Every changed row contributes the documents through its old foreign keys, through its new ones, and those
//! of rows that refer to its old and to its new key. The rest of the way up to the root is followed in the
//! state after the change: whatever breaks that way later is itself a change that contributes. A way that
//! fans out widely is not followed at all but handed over as a scan, to be unfolded slice by slice.

use super::plan::{Access, ColumnSet, LinkId, Plan, PlanSet, Rows, RowsError, key_of};
use crate::model::{Key, Row, TableId};
use crate::planted::{self, Bug};

/// Rows that one fan-out may lead to before it becomes a scan. Small enough that a change costs at most
/// some tens of marks at once, large enough that an order's few lines never make a scan.
/// (Tests use few rows.)
pub const FAN_OUT_MAX: usize = if cfg!(test) { 2 } else { 64 };

/// What a change makes dirty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Contribution {
    /// The document of this root row (which may not exist).
    Point { key: Key },
    /// The documents above the rows that `nodes[node]`'s join leads up to from this key.
    Scan { node: u16, key: Key, depth: u16 },
}

/// Rows, with a limit on how many are read through a link.
pub trait Upward: Rows {
    /// Appends at most `limit` rows; returns whether those were all.
    fn linked_at_most<'a>(
        &'a self,
        link: LinkId,
        key: &[u8],
        limit: usize,
        rows: &mut Vec<Row<'a>>,
    ) -> Result<bool, RowsError>;
}

/// Which columns differ between two rows of one table.
pub fn changed(old: &Row<'_>, new: &Row<'_>, columns: usize) -> ColumnSet {
    let mut set = ColumnSet::default();
    for column in 0..columns {
        if old.cell(column) != new.cell(column) {
            set.insert(column);
        }
    }
    set
}

/// A changed row: an insert has no old one, a delete no new one.
#[derive(Clone, Copy, Debug)]
pub struct RowChange<'a> {
    pub table: TableId,
    pub old: Option<Row<'a>>,
    pub new: Option<Row<'a>>,
    /// Only looked at when both rows are there.
    pub changed: ColumnSet,
}

/// Hands every contribution of a changed row to one plan's documents to `contribute`. `rows` is the
/// state after the change.
pub fn affected(
    plan: &Plan,
    plans: &PlanSet,
    rows: &impl Upward,
    change: &RowChange<'_>,
    contribute: &mut impl FnMut(Contribution),
) -> Result<(), RowsError> {
    for (position, node) in plan.nodes.iter().enumerate() {
        if node.table != change.table {
            continue;
        }
        if change.old.is_some() && change.new.is_some() && !change.changed.intersects(node.used) {
            continue;
        }
        let mut contributed: Option<Key> = None;
        let old =
            if planted::is(Bug::NewForeignKeysOnly) && change.new.is_some() { &None } else { &change.old };
        for row in [old, &change.new].into_iter().flatten() {
            let Some(key) = upward_key(plan, plans, position, row) else { continue };
            if contributed.as_ref() != Some(&key) {
                climb(plan, plans, rows, position, &key, contribute)?;
                contributed = Some(key);
            }
        }
    }
    Ok(())
}

/// Contributes what lies above these rows of a node; a scan's slices come here.
pub fn above(
    plan: &Plan,
    plans: &PlanSet,
    rows: &impl Upward,
    node: usize,
    row: &Row<'_>,
    contribute: &mut impl FnMut(Contribution),
) -> Result<(), RowsError> {
    match upward_key(plan, plans, node, row) {
        Some(key) => climb(plan, plans, rows, node, &key, contribute),
        None => Ok(()),
    }
}

/// The key by which a row of this node is found from above: its own for the root, else the join's columns.
/// Nothing when the row joins nothing.
fn upward_key(plan: &Plan, plans: &PlanSet, node: usize, row: &Row<'_>) -> Option<Key> {
    let node = &plan.nodes[node]; // callers pass positions of this plan's nodes
    match &node.parent {
        Some((_, join)) => key_of(row, &join.columns, &join.classes),
        None => {
            let table = plans.tables.iter().find(|table| table.table == node.table)?;
            key_of(row, &table.columns, &table.classes)
        }
    }
}

fn climb(
    plan: &Plan,
    plans: &PlanSet,
    rows: &impl Upward,
    node: usize,
    key: &Key,
    contribute: &mut impl FnMut(Contribution),
) -> Result<(), RowsError> {
    let Some((parent, join)) = &plan.nodes[node].parent else {
        contribute(Contribution::Point { key: key.clone() });
        return Ok(());
    };
    let parent_table = plan.nodes[*parent].table;
    match join.up {
        // The joined columns are the parent's own key: at the root there is nothing left to read.
        Access::Key if *parent == 0 => contribute(Contribution::Point { key: key.clone() }),
        Access::Key => {
            if let Some(row) = rows.get(parent_table, key)? {
                above(plan, plans, rows, *parent, &row, contribute)?;
            }
        }
        Access::Link(link) => {
            let mut found = Vec::new();
            if rows.linked_at_most(link, key, plans.fan_out_max, &mut found)? {
                for row in &found {
                    above(plan, plans, rows, *parent, row, contribute)?;
                }
            } else {
                let depth = depth(plan, *parent);
                contribute(Contribution::Scan { node: node as u16, key: key.clone(), depth });
            }
        }
    }
    Ok(())
}

/// Hops from a node to the root.
pub fn depth(plan: &Plan, mut node: usize) -> u16 {
    let mut hops = 0;
    while let Some((parent, _)) = &plan.nodes[node].parent {
        node = *parent; // parents stand before their children, so this ends
        hops += 1;
    }
    hops
}
