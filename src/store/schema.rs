//! What the store must know about tables to keep their rows: keys, links, layouts. Made from the journaled
//! facts and the compiled plans, never from a live catalog (rule 8).

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use crate::model::{Catalog, Row, TableId};
use crate::projection::plan::{Link, LinkId, PlanSet, TableKey};

/// The columns of stored rows, as catalog attnums in the order of their cells. A table gets a new one when
/// its columns change; rows keep theirs until they are written again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    pub table: TableId,
    pub attnums: Vec<i16>,
}

/// Where a table's rows and its links stand in the store. Numbers are given once and never used again, so
/// that a table can be built anew beside its old form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    pub table: TableId,
    pub number: u16,
    /// Columns (attnums) of the link whose order the rows have, if any.
    pub clustered: Option<Vec<i16>>,
    /// Columns (attnums) and number of every other link.
    pub links: Vec<(Vec<i16>, u16)>,
}

/// One table, ready for use.
#[derive(Clone, Debug)]
pub struct StoredTable {
    pub id: TableId,
    /// In store keys.
    pub number: u16,
    pub key: TableKey,
    pub clustered: Option<LinkId>,
    /// All other links of this table, with their numbers in store keys.
    pub links: Vec<(LinkId, u16)>,
    /// The layout that rows are written in: the catalog's columns in their order.
    pub layout: u16,
    pub columns: usize,
    /// Catalog column -> position among the cells, for every older layout.
    older: HashMap<u16, Vec<Option<u16>>>,
}

/// All tables that some projection uses.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    pub catalog: Catalog,
    pub plans: PlanSet,
    tables: Vec<Option<StoredTable>>,
    link_numbers: Vec<u16>,
}

/// The facts, the plans and what the store says do not fit together: a mistake of ours or a damaged store.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the store's description of {table} does not fit its facts: {reason}")]
pub struct Mismatch {
    pub table: String,
    pub reason: String,
}

impl Schema {
    /// Joins facts, plans, and the store's own placements and layouts (position = number of the layout).
    pub fn new(
        catalog: Catalog,
        plans: PlanSet,
        placements: &[Placement],
        layouts: &[Layout],
    ) -> Result<Schema, Mismatch> {
        let mut tables: Vec<Option<StoredTable>> = Vec::new();
        let mut link_numbers = vec![0; plans.links.len()];
        for key in &plans.tables {
            let mismatch = |reason: &str| Mismatch {
                table: catalog.by_id(key.table).map_or_else(String::new, |table| table.qualified_name()),
                reason: reason.to_owned(),
            };
            let table = catalog.by_id(key.table).ok_or_else(|| mismatch("not among the facts"))?;
            let attnums: Vec<i16> = table.columns.iter().map(|column| column.attnum).collect();
            let placement = placements
                .iter()
                .find(|placement| placement.table == key.table)
                .ok_or_else(|| mismatch("it has no place"))?;
            let layout = layouts
                .iter()
                .rposition(|layout| layout.table == key.table && layout.attnums == attnums)
                .ok_or_else(|| mismatch("its columns have no layout"))?;
            let mut stored = StoredTable {
                id: key.table,
                number: placement.number,
                key: key.clone(),
                clustered: None,
                links: Vec::new(),
                layout: layout as u16,
                columns: attnums.len(),
                older: HashMap::new(),
            };
            for link in plans.links.iter().filter(|link| link.table == key.table) {
                let columns = link_attnums(link, &attnums);
                if link.clustered {
                    stored.clustered = Some(link.id);
                } else {
                    let (_, number) = placement
                        .links
                        .iter()
                        .find(|(placed, _)| *placed == columns)
                        .ok_or_else(|| mismatch("a link has no place"))?;
                    link_numbers[usize::from(link.id.0)] = *number;
                    stored.links.push((link.id, *number));
                }
            }
            for (number, old) in layouts.iter().enumerate() {
                if old.table == key.table && number != layout {
                    let position =
                        |attnum: &i16| old.attnums.iter().position(|o| o == attnum).map(|at| at as u16);
                    stored.older.insert(number as u16, attnums.iter().map(position).collect());
                }
            }
            let at = usize::from(key.table.0);
            if tables.len() <= at {
                tables.resize_with(at + 1, || None);
            }
            tables[at] = Some(stored);
        }
        Ok(Schema { catalog, plans, tables, link_numbers })
    }

    /// Nothing when no projection uses this table.
    pub fn table(&self, id: TableId) -> Option<&StoredTable> {
        self.tables.get(usize::from(id.0))?.as_ref()
    }

    pub fn tables(&self) -> impl Iterator<Item = &StoredTable> {
        self.tables.iter().flatten()
    }

    pub fn link(&self, id: LinkId) -> &Link {
        &self.plans.links[usize::from(id.0)] // ids are positions: compile numbers them so
    }

    /// The number of a link that is not clustered, in store keys.
    pub fn link_number(&self, id: LinkId) -> u16 {
        self.link_numbers[usize::from(id.0)]
    }
}

impl StoredTable {
    /// Lets a row of an older layout be read by the catalog's columns.
    pub fn adapt<'a>(&'a self, row: Row<'a>) -> Row<'a> {
        if row.layout == self.layout {
            return row;
        }
        match self.older.get(&row.layout) {
            Some(positions) => row.with_positions(positions),
            None => row,
        }
    }
}

/// The attnums of a link's columns.
pub fn link_attnums(link: &Link, attnums: &[i16]) -> Vec<i16> {
    link.columns.iter().map(|column| attnums[*column]).collect() // columns are positions in this very list
}
