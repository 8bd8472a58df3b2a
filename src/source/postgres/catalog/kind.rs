//! How a column's text is to be read, resolved through `pg_type` (hazard 38).
//!
//! Only the built-in base types are known by name; everything else is followed to them: domains to their
//! base, arrays to their element. What cannot be followed is [`ColumnKind::Other`].

use std::collections::HashMap;

use crate::model::ColumnKind;
use crate::source::postgres::answer::answers;
use crate::source::postgres::{Error, Sql};

/// Domains over arrays over domains … end somewhere; a catalog that says otherwise is damaged.
const DEPTH_MAX: usize = 32;

/// The types that some tables' columns use, and those that these are made of.
#[derive(Debug, Default)]
pub struct Types {
    by_oid: HashMap<u32, Type>,
}

#[derive(Debug)]
struct Type {
    schema: String,
    name: String,
    /// `pg_type.typtype`.
    class: String,
    /// Of a domain.
    base: u32,
    /// Of a true array with commas between its elements; zero otherwise.
    element: u32,
}

impl Types {
    /// Reads the types of the columns of these tables, given as a list of oids.
    pub(crate) async fn read(
        sql: &mut dyn Sql,
        operation: &'static str,
        tables: &str,
    ) -> Result<Types, Error> {
        // A true array is the array type of its element: int2vector and box have an element, too, but
        // another text form. box[] has ';' between its elements.
        let statement = format!(
            "WITH RECURSIVE need(oid) AS (
                 SELECT a.atttypid FROM pg_catalog.pg_attribute a
                 WHERE a.attrelid IN ({tables}) AND a.attnum > 0 AND NOT a.attisdropped
                 UNION
                 SELECT CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.typelem END
                 FROM need JOIN pg_catalog.pg_type t ON t.oid = need.oid
                 WHERE t.typtype = 'd' OR t.typelem <> 0)
             SELECT t.oid, n.nspname, t.typname, t.typtype, t.typbasetype,
                    COALESCE((SELECT e.oid FROM pg_catalog.pg_type e
                              WHERE e.oid = t.typelem AND e.typarray = t.oid AND t.typdelim = ','), 0)
             FROM need JOIN pg_catalog.pg_type t ON t.oid = need.oid
             JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace"
        );
        let rows = sql.rows(operation, &statement).await?;
        let mut types = Types::default();
        for row in answers(operation, &rows) {
            let found = Type {
                schema: row.text(1)?.to_owned(),
                name: row.text(2)?.to_owned(),
                class: row.text(3)?.to_owned(),
                base: row.parsed(4)?,
                element: row.parsed(5)?,
            };
            types.by_oid.insert(row.parsed(0)?, found);
        }
        Ok(types)
    }

    /// The kind of a column. Text under a collation that is not deterministic behaves like citext: equal
    /// values with unequal texts, so it must not be joined by its bytes.
    pub fn kind_of_column(&self, type_oid: u32, deterministic: bool) -> ColumnKind {
        match self.kind(type_oid, 0) {
            ColumnKind::Text | ColumnKind::Bpchar if !deterministic => ColumnKind::Citext,
            kind => kind,
        }
    }

    fn kind(&self, oid: u32, depth: usize) -> ColumnKind {
        let Some(found) = self.by_oid.get(&oid).filter(|_| depth < DEPTH_MAX) else {
            return ColumnKind::Other;
        };
        match found.class.as_str() {
            "d" => self.kind(found.base, depth + 1),
            "e" => ColumnKind::Enum,
            "b" if found.element != 0 => ColumnKind::Array(Box::new(self.kind(found.element, depth + 1))),
            "b" if found.schema == "pg_catalog" => built_in(&found.name),
            // An extension's type lives in whatever schema the extension was put.
            "b" if found.name == "citext" => ColumnKind::Citext,
            _ => ColumnKind::Other,
        }
    }
}

fn built_in(name: &str) -> ColumnKind {
    match name {
        "bool" => ColumnKind::Bool,
        "int2" | "int4" | "int8" | "oid" => ColumnKind::Int,
        "float4" => ColumnKind::Float4,
        "float8" => ColumnKind::Float8,
        "numeric" => ColumnKind::Numeric,
        // Network addresses have one text per value, as texts have.
        "text" | "varchar" | "name" | "char" | "xml" | "inet" | "cidr" | "macaddr" | "macaddr8" => {
            ColumnKind::Text
        }
        "bpchar" => ColumnKind::Bpchar,
        "date" => ColumnKind::Date,
        "timestamp" => ColumnKind::Timestamp,
        "timestamptz" => ColumnKind::Timestamptz,
        "time" => ColumnKind::Time,
        "timetz" => ColumnKind::Timetz,
        "interval" => ColumnKind::Interval,
        "uuid" => ColumnKind::Uuid,
        "json" => ColumnKind::Json,
        "jsonb" => ColumnKind::Jsonb,
        "bytea" => ColumnKind::Bytea,
        _ => ColumnKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_that_refers_to_itself_is_other_and_ends() {
        let damaged = Type {
            schema: "public".to_owned(),
            name: "loop".to_owned(),
            class: "d".to_owned(),
            base: 7,
            element: 0,
        };
        let types = Types { by_oid: HashMap::from([(7, damaged)]) };
        assert_eq!(types.kind_of_column(7, true), ColumnKind::Other);
        assert_eq!(types.kind_of_column(8, true), ColumnKind::Other);
    }
}
