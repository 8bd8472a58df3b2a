//! The Elasticsearch mapping that follows from a column's type.

use serde_json::{Value, json};

use crate::model::{Column, ColumnKind};

/// The longest keyword that is indexed, in characters: Lucene's limit of a term is 32,766 bytes.
const KEYWORD_CHARS_MAX: u32 = 8191;

/// The mapping of one column's values.
pub fn of_column(column: &Column) -> Value {
    of_kind(&column.kind, &column.type_name)
}

fn of_kind(kind: &ColumnKind, type_name: &str) -> Value {
    let name = match kind {
        ColumnKind::Bool => "boolean",
        ColumnKind::Int => match type_name.trim_end_matches("[]") {
            "int2" | "smallint" => "short",
            "int4" | "integer" | "int" => "integer",
            // An oid is unsigned; a domain's own name tells nothing of its width.
            _ => "long",
        },
        ColumnKind::Float4 => "float",
        ColumnKind::Float8 | ColumnKind::Numeric => "double",
        ColumnKind::Text | ColumnKind::Citext | ColumnKind::Other => {
            let keyword = json!({ "type": "keyword", "ignore_above": KEYWORD_CHARS_MAX });
            return json!({ "type": "text", "fields": { "keyword": keyword } });
        }
        ColumnKind::Date | ColumnKind::Timestamp | ColumnKind::Timestamptz => "date",
        ColumnKind::Json | ColumnKind::Jsonb => return json!({ "type": "object", "enabled": false }),
        ColumnKind::Bytea => "binary",
        ColumnKind::Array(element) => return of_kind(element, type_name),
        ColumnKind::Bpchar
        | ColumnKind::Time
        | ColumnKind::Timetz
        | ColumnKind::Interval
        | ColumnKind::Uuid
        | ColumnKind::Enum => "keyword",
    };
    json!({ "type": name })
}
