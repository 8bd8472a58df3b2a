//! Which joins go over a row's own key, and which need an index; which index orders a table's rows.

use super::{Draft, Pair};
use crate::model::{KeyClass, TableId};
use crate::projection::plan::{Access, ColumnSet, Join, Link, LinkId, Node, PlanSet};

/// Turns drafts into nodes; adds the links that their joins need and nobody made before.
pub fn nodes(drafts: Vec<Draft<'_>>, set: &mut PlanSet) -> Vec<Node> {
    let tables: Vec<TableId> = drafts.iter().map(|draft| draft.table.id).collect();
    let mut nodes = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let parent =
            draft.parent.map(|(parent, pairs)| (parent, join(tables[parent], draft.table.id, pairs, set)));
        let mut used = ColumnSet::default();
        draft.used.iter().for_each(|column| used.insert(*column));
        nodes.push(Node { table: draft.table.id, parent, used, many: draft.many });
    }
    nodes
}

/// Chooses the link by which each table's rows are stored: the one that most nodes scan downward.
pub fn cluster(set: &mut PlanSet) {
    let mut scans = vec![0usize; set.links.len()];
    for node in set.plans.iter().flat_map(|plan| &plan.nodes) {
        if let Some((_, Join { down: Access::Link(link), .. })) = &node.parent
            && node.many
        {
            scans[usize::from(link.0)] += 1;
        }
    }
    for position in 0..set.links.len() {
        let table = set.links[position].table;
        let rivals = set.links.iter().enumerate().filter(|(_, link)| link.table == table);
        // Of equals the first one, so that the choice stays the same.
        let best = rivals.max_by_key(|(rival, _)| (scans[*rival], usize::MAX - rival)).map(|(best, _)| best);
        set.links[position].clustered = best == Some(position) && scans[position] > 0;
    }
}

/// Both ends of a join share one order of columns, because they share one key.
fn join(parent: TableId, child: TableId, mut pairs: Vec<Pair>, set: &mut PlanSet) -> Join {
    let own_key = |table: TableId| {
        let found = set.tables.iter().find(|key| key.table == table);
        found.map(|key| key.columns.clone()).unwrap_or_default()
    };
    let (parent_key, child_key) = (own_key(parent), own_key(child));
    // The order is that of the child's key if the join is over it, else of the parent's, else of the
    // child's columns, so that equal joins find one link.
    if is_permutation(pairs.iter().map(|pair| pair.child), &child_key) {
        pairs.sort_by_key(|pair| child_key.iter().position(|column| *column == pair.child));
    } else if is_permutation(pairs.iter().map(|pair| pair.parent), &parent_key) {
        pairs.sort_by_key(|pair| parent_key.iter().position(|column| *column == pair.parent));
    } else {
        pairs.sort_by_key(|pair| (pair.child, pair.parent));
    }
    let columns: Vec<usize> = pairs.iter().map(|pair| pair.child).collect();
    let parent_columns: Vec<usize> = pairs.iter().map(|pair| pair.parent).collect();
    let classes: Vec<KeyClass> = pairs.iter().map(|pair| pair.class).collect();
    let down = access(child, &columns, &child_key, &classes, set);
    let up = access(parent, &parent_columns, &parent_key, &classes, set);
    Join { parent_columns, columns, classes, down, up }
}

fn access(
    table: TableId,
    columns: &[usize],
    own_key: &[usize],
    classes: &[KeyClass],
    set: &mut PlanSet,
) -> Access {
    if columns == own_key {
        return Access::Key;
    }
    if let Some(link) = set.links.iter().find(|link| link.table == table && link.columns == columns) {
        return Access::Link(link.id);
    }
    // A projection has few joins, and there are few projections: 65,535 links are out of reach, and the
    // store refuses a set of links that repeats an id.
    let id = LinkId(u16::try_from(set.links.len()).unwrap_or(u16::MAX));
    set.links.push(Link {
        id,
        table,
        columns: columns.to_vec(),
        classes: classes.to_vec(),
        clustered: false,
    });
    Access::Link(id)
}

fn is_permutation(columns: impl Iterator<Item = usize>, key: &[usize]) -> bool {
    let mut columns: Vec<usize> = columns.collect();
    let mut key = key.to_vec();
    columns.sort_unstable();
    key.sort_unstable();
    columns == key
}
