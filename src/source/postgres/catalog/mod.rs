//! The facts about tables that the journal keeps (rule 8), read from the system catalogs.
//!
//! Everything is read in one snapshot, so that columns, keys and leaves belong together. What a fact means
//! for us is judged elsewhere: the gate refuses tables, the projections refuse columns.
//!
//! Flow: names -> oids -> columns, types, indexes, foreign keys, leaves -> [`Catalog`]; [`traces`] beside it.

pub mod kind;
pub mod listing;
mod traces;

use std::collections::{BTreeMap, HashMap};

use super::answer::{Answer, answers};
use super::sql::literal;
use super::{Error, Sql};
use crate::model::{Catalog, Column, ForeignKey, Leaf, ReplicaIdentity, Table, TableId, Trace};
pub use listing::{ListedTable, Resolved, list_tables, resolve};

const READ: &str = "read the catalog";

/// Ids given out since the journal began, by schema and name; also those of tables no longer used, because
/// an id is never used again for another table.
pub type KnownIds = BTreeMap<(String, String), TableId>;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// In the order in which the tables were asked for.
    pub catalog: Catalog,
    /// Names that mean no ordinary or partitioned table.
    pub missing: Vec<(String, String)>,
    pub traces: Vec<Trace>,
}

/// Reads the facts about these tables, by schema and name. A table that `known` does not hold gets the
/// next free number, the first one being 1. The publication is part of the traces.
///
/// # Errors
/// When a statement fails, or the 65,535 table numbers of a journal are used up.
pub async fn read(
    sql: &mut dyn Sql,
    tables: &[(String, String)],
    known: &KnownIds,
    publication: &str,
) -> Result<Read, Error> {
    if tables.is_empty() {
        return Ok(Read::default());
    }
    sql.rows(READ, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let result = read_in_snapshot(sql, tables, known, publication).await;
    let end = if result.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = sql.rows(READ, end).await;
    // The first error says more than one about the rollback.
    let read = result?;
    ended?;
    Ok(read)
}

async fn read_in_snapshot(
    sql: &mut dyn Sql,
    tables: &[(String, String)],
    known: &KnownIds,
    publication: &str,
) -> Result<Read, Error> {
    sql.rows(READ, "SELECT pg_catalog.set_config('search_path', '', true)").await?;
    let mut found = named_tables(sql, tables).await?;
    let mut read = Read::default();
    let mut numbers = Numbers::new(known);
    for name in tables {
        match found.remove(name) {
            Some(mut table) => {
                table.id = numbers.of(name)?;
                read.catalog.tables.push(table);
            }
            // A name asked for twice was taken out the first time.
            None if read.catalog.table(&name.0, &name.1).is_some() => {}
            None => read.missing.push(name.clone()),
        }
    }
    if read.catalog.tables.is_empty() {
        return Ok(read);
    }
    let mut by_oid: HashMap<u32, &mut Table> =
        read.catalog.tables.iter_mut().map(|table| (table.oid, table)).collect();
    let mut oids: Vec<u32> = by_oid.keys().copied().collect();
    oids.sort_unstable();
    let oids = oids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    read_columns(sql, &oids, &mut by_oid).await?;
    read_indexes(sql, &oids, &mut by_oid).await?;
    read_foreign_keys(sql, &oids, &mut by_oid).await?;
    read_leaves(sql, &oids, &mut by_oid).await?;
    read.traces = traces::read(sql, READ, &oids, publication).await?;
    Ok(read)
}

/// Gives out table numbers.
struct Numbers<'a> {
    known: &'a KnownIds,
    highest: u16,
}

impl<'a> Numbers<'a> {
    fn new(known: &'a KnownIds) -> Self {
        Numbers { known, highest: known.values().map(|id| id.0).max().unwrap_or(0) }
    }

    fn of(&mut self, name: &(String, String)) -> Result<TableId, Error> {
        if let Some(id) = self.known.get(name) {
            return Ok(*id);
        }
        self.highest = self.highest.checked_add(1).ok_or_else(|| Error::Refused {
            code: "too-many-tables",
            operation: READ,
            reason: "all 65,535 table numbers of this journal are used up".to_owned(),
            hint: "begin a new journal in an empty data folder".to_owned(),
        })?;
        Ok(TableId(self.highest))
    }
}

/// A list of `(schema, name)` rows to compare with.
pub(super) fn name_list<'a>(names: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    names
        .map(|(schema, name)| format!("({}, {})", literal(schema), literal(name)))
        .collect::<Vec<_>>()
        .join(", ")
}

type ByName = HashMap<(String, String), Table>;

async fn named_tables(sql: &mut dyn Sql, tables: &[(String, String)]) -> Result<ByName, Error> {
    let names = name_list(tables.iter().map(|(schema, name)| (schema.as_str(), name.as_str())));
    let statement = format!(
        "SELECT c.oid, n.nspname, c.relname, c.relreplident
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p') AND (n.nspname, c.relname) IN ({names})"
    );
    let rows = sql.rows(READ, &statement).await?;
    answers(READ, &rows)
        .map(|row| {
            let (schema, name) = (row.text(1)?.to_owned(), row.text(2)?.to_owned());
            let table = Table {
                id: TableId::default(),
                oid: row.parsed(0)?,
                schema: schema.clone(),
                name: name.clone(),
                identity: identity(&row, 3)?,
                leaves: Vec::new(),
                columns: Vec::new(),
                key: Vec::new(),
                primary_key: Vec::new(),
                foreign_keys: Vec::new(),
                unique_keys: Vec::new(),
            };
            Ok(((schema, name), table))
        })
        .collect()
}

/// `pg_class.relreplident`.
pub(super) fn identity(row: &Answer<'_>, column: usize) -> Result<ReplicaIdentity, Error> {
    Ok(match row.text(column)? {
        "d" => ReplicaIdentity::Default,
        "n" => ReplicaIdentity::Nothing,
        "f" => ReplicaIdentity::Full,
        "i" => ReplicaIdentity::Index,
        _ => {
            let reason = "an unknown kind of replica identity".to_owned();
            return Err(Error::Protocol { operation: row.operation, reason });
        }
    })
}

async fn read_columns(
    sql: &mut dyn Sql,
    oids: &str,
    by_oid: &mut HashMap<u32, &mut Table>,
) -> Result<(), Error> {
    let types = kind::Types::read(sql, READ, oids).await?;
    // From 18 on attnotnull is also set by a NOT NULL that was never validated.
    let statement = format!(
        "SELECT a.attrelid, a.attnum, a.attname, a.atttypid, a.atttypmod,
                pg_catalog.format_type(a.atttypid, a.atttypmod),
                a.attnotnull AND NOT EXISTS (
                    SELECT FROM pg_catalog.pg_constraint k
                    WHERE k.conrelid = a.attrelid AND k.contype = 'n' AND NOT k.convalidated
                      AND k.conkey = ARRAY[a.attnum]),
                a.attgenerated <> '', COALESCE(l.collisdeterministic, true)
         FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation
         WHERE a.attrelid IN ({oids}) AND a.attnum > 0 AND NOT a.attisdropped
         ORDER BY a.attrelid, a.attnum"
    );
    let rows = sql.rows(READ, &statement).await?;
    for row in answers(READ, &rows) {
        let type_oid = row.parsed(3)?;
        let column = Column {
            attnum: row.parsed(1)?,
            name: row.text(2)?.to_owned(),
            type_oid,
            type_modifier: row.parsed(4)?,
            type_name: spoken_type_name(row.text(5)?),
            kind: types.kind_of_column(type_oid, row.flag(8)?),
            not_null: row.flag(6)?,
            generated: row.flag(7)?,
        };
        if let Some(table) = by_oid.get_mut(&row.parsed(0)?) {
            table.columns.push(column);
        }
    }
    Ok(())
}

/// With an empty search_path every type outside pg_catalog comes with its schema; people leave out
/// `public`.
fn spoken_type_name(name: &str) -> String {
    name.strip_prefix("public.").unwrap_or(name).to_owned()
}

async fn read_indexes(
    sql: &mut dyn Sql,
    oids: &str,
    by_oid: &mut HashMap<u32, &mut Table>,
) -> Result<(), Error> {
    // The primary key first; temporal keys (18) are unique per range only and lead to no single row.
    let statement = format!(
        "SELECT i.indrelid, i.indisprimary, i.indisreplident, i.indimmediate, {INDEX_COLUMNS}
         FROM pg_catalog.pg_index i
         WHERE i.indrelid IN ({oids}) AND {INDEX_IDENTIFIES}
         ORDER BY i.indrelid, i.indisprimary DESC, i.indexrelid"
    );
    let rows = sql.rows(READ, &statement).await?;
    for row in answers(READ, &rows) {
        let Some(table) = by_oid.get_mut(&row.parsed(0)?) else { continue };
        let (primary, chosen, immediate) = (row.flag(1)?, row.flag(2)?, row.flag(3)?);
        let columns = row.names(4)?;
        if immediate {
            let is_key = match table.identity {
                ReplicaIdentity::Default | ReplicaIdentity::Full => primary,
                ReplicaIdentity::Index => chosen,
                ReplicaIdentity::Nothing => false,
            };
            if is_key {
                table.key = columns.clone();
            }
            table.unique_keys.push(columns.clone());
        }
        if primary {
            table.primary_key = columns;
        }
    }
    Ok(())
}

/// The columns of index `i` as a JSON array of names, without INCLUDEd ones.
pub(super) const INDEX_COLUMNS: &str = "(
    SELECT pg_catalog.json_agg(a.attname ORDER BY k.position)
    FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, position)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    WHERE k.position <= i.indnkeyatts)";

/// Whether index `i` tells rows apart; `indimmediate` is asked separately (hazard 2).
pub(super) const INDEX_IDENTIFIES: &str = "i.indisunique AND i.indisvalid AND i.indislive
    AND i.indpred IS NULL AND i.indexprs IS NULL AND NOT i.indisexclusion";

/// Whether index `i` is what the stream tells the rows of relation `c` apart by, so that UPDATE and DELETE do not
/// fail once it is published (hazards 1, 2).
pub(super) fn index_is_identity() -> String {
    format!(
        "i.indrelid = c.oid AND i.indimmediate AND {INDEX_IDENTIFIES}
         AND CASE c.relreplident WHEN 'i' THEN i.indisreplident WHEN 'n' THEN false ELSE i.indisprimary END"
    )
}

async fn read_foreign_keys(
    sql: &mut dyn Sql,
    oids: &str,
    by_oid: &mut HashMap<u32, &mut Table>,
) -> Result<(), Error> {
    // A key to a partitioned table has a second row per partition of the other side; only the declared
    // one has no parent on the same table.
    let statement = format!(
        "SELECT k.conrelid, k.conname, n.nspname, c.relname,
                (SELECT pg_catalog.json_agg(a.attname ORDER BY u.position)
                 FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY AS u(attnum, position)
                 JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.attnum),
                (SELECT pg_catalog.json_agg(a.attname ORDER BY u.position)
                 FROM pg_catalog.unnest(k.confkey) WITH ORDINALITY AS u(attnum, position)
                 JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.attnum)
         FROM pg_catalog.pg_constraint k
         JOIN pg_catalog.pg_class c ON c.oid = k.confrelid
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE k.contype = 'f' AND k.conrelid IN ({oids})
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint p
                           WHERE p.oid = k.conparentid AND p.conrelid = k.conrelid)
         ORDER BY k.conrelid, k.conname"
    );
    let rows = sql.rows(READ, &statement).await?;
    for row in answers(READ, &rows) {
        let foreign_key = ForeignKey {
            name: row.text(1)?.to_owned(),
            columns: row.names(4)?,
            foreign_schema: row.text(2)?.to_owned(),
            foreign_table: row.text(3)?.to_owned(),
            references: row.names(5)?,
        };
        if let Some(table) = by_oid.get_mut(&row.parsed(0)?) {
            table.foreign_keys.push(foreign_key);
        }
    }
    Ok(())
}

async fn read_leaves(
    sql: &mut dyn Sql,
    oids: &str,
    by_oid: &mut HashMap<u32, &mut Table>,
) -> Result<(), Error> {
    // A leaf that is being detached is no longer published through its root. By oid, so that new leaves
    // come last and the positions of the old ones stay.
    let statement = format!(
        "{} SELECT t.root, c.oid, n.nspname, c.relname
         FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind = 'r' AND c.oid <> t.root
         ORDER BY t.root, c.oid",
        tree_of(&format!("SELECT c.oid FROM pg_catalog.pg_class c WHERE c.oid IN ({oids})"))
    );
    let rows = sql.rows(READ, &statement).await?;
    for row in answers(READ, &rows) {
        let leaf =
            Leaf { oid: row.parsed(1)?, schema: row.text(2)?.to_owned(), name: row.text(3)?.to_owned() };
        if let Some(table) = by_oid.get_mut(&row.parsed(0)?) {
            table.leaves.push(leaf);
        }
    }
    Ok(())
}

/// `WITH … tree(root, oid, path)`: the relations that `roots` selects, and what is below the partitioned
/// ones. The path names the catalog rows that hang a relation under its root.
pub(super) fn tree_of(roots: &str) -> String {
    format!(
        "WITH RECURSIVE roots(oid) AS ({roots}),
              tree(root, oid, path) AS (
                 SELECT r.oid, r.oid, '' FROM roots r
                 UNION ALL
                 SELECT t.root, i.inhrelid, pg_catalog.concat(t.path, i.inhparent, ':', i.xmin, ' ')
                 FROM tree t JOIN pg_catalog.pg_class p ON p.oid = t.oid AND p.relkind = 'p'
                 JOIN pg_catalog.pg_inherits i ON i.inhparent = t.oid AND NOT i.inhdetachpending)"
    )
}
