//! All tables by name: for projections that leave out the schema, and for "did you mean".

use crate::source::postgres::answer::{answers, pin_search_path};
use crate::source::postgres::{Error, Sql};

const LIST: &str = "list the tables";

/// More tables than this are not listed. Only names without a schema, and advice, depend on the list.
pub const LISTED_MAX: usize = 100_000;

/// A table that a projection could name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTable {
    pub schema: String,
    pub name: String,
    /// In the order of attnum.
    pub columns: Vec<String>,
}

/// All ordinary and partitioned tables outside PostgreSQL's own schemas, leaves included; those of `public`
/// first, then by schema and name.
pub async fn list_tables(sql: &mut dyn Sql) -> Result<Vec<ListedTable>, Error> {
    pin_search_path(sql, LIST).await?;
    // Schema names that begin with pg_ are reserved (PostgreSQL docs, "The System Catalog Schema").
    let statement = format!(
        "SELECT n.nspname, c.relname,
                (SELECT pg_catalog.json_agg(a.attname ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
           AND n.nspname <> 'information_schema' AND NOT pg_catalog.starts_with(n.nspname::text, 'pg_')
         ORDER BY n.nspname <> 'public', n.nspname, c.relname
         LIMIT {LISTED_MAX}"
    );
    let rows = sql.rows(LIST, &statement).await?;
    answers(LIST, &rows)
        .map(|row| {
            Ok(ListedTable {
                schema: row.text(0)?.to_owned(),
                name: row.text(1)?.to_owned(),
                columns: row.names(2)?,
            })
        })
        .collect()
}

/// What a name without a schema means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved<'a> {
    One(&'a ListedTable),
    /// Not in `public`, and in more than one other schema: these.
    Ambiguous(Vec<&'a str>),
    Missing,
}

/// A name without a schema means the table in `public`, or the only one of that name. The session's
/// search_path has no say: a file must mean the same for every role.
pub fn resolve<'a>(tables: &'a [ListedTable], name: &str) -> Resolved<'a> {
    let named: Vec<&ListedTable> = tables.iter().filter(|table| table.name == name).collect();
    if let Some(table) = named.iter().find(|table| table.schema == "public") {
        return Resolved::One(table);
    }
    match named.as_slice() {
        [] => Resolved::Missing,
        [table] => Resolved::One(table),
        several => Resolved::Ambiguous(several.iter().map(|table| table.schema.as_str()).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_schema_means_public_or_the_only_one() {
        let table = |schema: &str, name: &str| ListedTable {
            schema: schema.to_owned(),
            name: name.to_owned(),
            columns: Vec::new(),
        };
        let tables = [
            table("public", "orders"),
            table("archive", "orders"),
            table("sales", "lines"),
            table("a", "twice"),
            table("b", "twice"),
        ];
        assert_eq!(resolve(&tables, "orders"), Resolved::One(&tables[0]));
        assert_eq!(resolve(&tables, "lines"), Resolved::One(&tables[2]));
        assert_eq!(resolve(&tables, "twice"), Resolved::Ambiguous(vec!["a", "b"]));
        assert_eq!(resolve(&tables, "Orders"), Resolved::Missing);
    }
}
