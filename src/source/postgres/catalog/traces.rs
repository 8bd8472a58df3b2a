//! Traces of what the stream does not say; see [`Trace`].

use std::collections::BTreeMap;

use super::tree_of;
use crate::model::Trace;
use crate::source::postgres::answer::answers;
use crate::source::postgres::sql::literal;
use crate::source::postgres::{Error, Sql};

/// Reads the traces of these tables, given as a list of oids, and of all leaves below them.
pub(super) async fn read(
    sql: &mut dyn Sql,
    operation: &'static str,
    tables: &str,
    publication: &str,
) -> Result<Vec<Trace>, Error> {
    let mut types = read_types(sql, operation, tables).await?;
    let roots = format!("SELECT c.oid FROM pg_catalog.pg_class c WHERE c.oid IN ({tables})");
    // A row of a catalog is told by its xmin: no statement that changes it keeps that. The relations between
    // root and leaf count for the leaf, because detaching one of them detaches it.
    let statement = format!(
        "{tree}
         SELECT c.oid, CASE WHEN c.reltoastrelid <> 0 THEN c.reltoastrelid ELSE c.relfilenode END,
                (SELECT pg_catalog.md5(pg_catalog.string_agg(a.attnum || ':' || a.xmin::text, ',' ORDER BY a.attnum))
                 FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0),
                t.path,
                (SELECT pg_catalog.concat(p.oid, ' ', p.xmin) FROM pg_catalog.pg_publication p
                 WHERE p.pubname = {publication}),
                pg_catalog.concat_ws(' ', c.relkind, c.relpersistence, c.relreplident, c.relrowsecurity,
                    c.relforcerowsecurity, c.relowner,
                    (SELECT i.indexrelid FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisvalid
                     AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END LIMIT 1),
                    c.relkind = 'r' AND EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhparent = c.oid),
                    (SELECT pg_catalog.concat(p.oid, ' ', p.xmin, ' ', r.oid)
                     FROM pg_catalog.pg_publication p
                     LEFT JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid
                     WHERE p.pubname = {publication}))
         FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid
         ORDER BY c.oid",
        tree = tree_of(&roots),
        publication = literal(publication)
    );
    let rows = sql.rows(operation, &statement).await?;
    answers(operation, &rows)
        .map(|row| {
            let oid = row.parsed(0)?;
            Ok(Trace {
                oid,
                storage: row.parsed(1)?,
                columns: row.optional(2).unwrap_or_default().to_owned(),
                path: row.text(3)?.to_owned(),
                publication: row.optional(4).unwrap_or_default().to_owned(),
                standing: row.text(5)?.to_owned(),
                types: types.remove(&oid).unwrap_or_default(),
            })
        })
        .collect()
}

type Texts = BTreeMap<String, String>;

/// What the texts of these tables' values are made of: the labels of enums by their own oids, and the lists
/// of attributes of composite types, which ALTER TYPE changes without touching any table.
async fn read_types(
    sql: &mut dyn Sql,
    operation: &'static str,
    tables: &str,
) -> Result<BTreeMap<u32, Texts>, Error> {
    let statement = format!(
        "WITH RECURSIVE need(root, oid) AS (
             SELECT a.attrelid, a.atttypid FROM pg_catalog.pg_attribute a
             WHERE a.attrelid IN ({tables}) AND a.attnum > 0 AND NOT a.attisdropped
             UNION
             SELECT n.root, below.oid FROM need n JOIN pg_catalog.pg_type t ON t.oid = n.oid
             CROSS JOIN LATERAL (
                 SELECT t.typbasetype WHERE t.typtype = 'd'
                 UNION ALL SELECT t.typelem WHERE t.typelem <> 0
                 UNION ALL SELECT a.atttypid FROM pg_catalog.pg_attribute a
                     WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
                 UNION ALL SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid
                 UNION ALL SELECT r.rngtypid FROM pg_catalog.pg_range r WHERE r.rngmultitypid = t.oid
             ) AS below(oid))
         SELECT n.root, 'label ' || e.oid, e.enumlabel
         FROM need n JOIN pg_catalog.pg_enum e ON e.enumtypid = n.oid
         UNION ALL
         SELECT n.root, 'composite ' || t.oid,
                (SELECT pg_catalog.string_agg(a.attnum || ':' || a.atttypid, ',' ORDER BY a.attnum)
                 FROM pg_catalog.pg_attribute a
                 WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped)
         FROM need n JOIN pg_catalog.pg_type t ON t.oid = n.oid AND t.typtype = 'c'"
    );
    let rows = sql.rows(operation, &statement).await?;
    let mut types: BTreeMap<u32, Texts> = BTreeMap::new();
    for row in answers(operation, &rows) {
        let text = row.optional(2).unwrap_or_default().to_owned();
        types.entry(row.parsed(0)?).or_default().insert(row.text(1)?.to_owned(), text);
    }
    Ok(types)
}
