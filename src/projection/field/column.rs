//! `name:`, `name: other_column` and `{ column: c, type: es_type }`: a column's value.

use super::Built;
use crate::projection::assemble::Write;
use crate::projection::compile::Builder;
use crate::projection::definition::section::{Problems, Section};
use crate::projection::definition::yaml::{Place, Spot, Tree, Value};
use crate::projection::mapping;

#[derive(Clone, Debug)]
pub struct Column {
    pub column: Spot<String>,
    /// The field's mapping in place of the one that follows from the column's type.
    pub mapping: Option<serde_json::Value>,
}

impl Column {
    pub fn named(column: Spot<String>) -> Column {
        Column { column, mapping: None }
    }

    pub fn compile(&self, node: usize, builder: &mut Builder<'_>) -> Option<Built> {
        let (position, column) = builder.column(node, &self.column)?;
        let mapping = self.mapping.clone().unwrap_or_else(|| mapping::of_column(column));
        Some(Built { write: Write::Column { position, kind: column.kind.clone() }, mapping })
    }
}

pub fn parse(place: Place, entries: &[(Spot<String>, Tree)], problems: &mut Problems) -> Option<Column> {
    let section = Section::new(place, entries, "a column", &["column", "type"], problems);
    let mapping = mapping_override(&section, problems);
    Some(Column { column: section.text("column", problems)?, mapping })
}

/// `type`: the name of an Elasticsearch type, or a whole field mapping with a `type` in it.
pub fn mapping_override(section: &Section<'_>, problems: &mut Problems) -> Option<serde_json::Value> {
    let tree = section.get("type")?;
    match &tree.value {
        Value::Text(name) if name == "scaled_float" => {
            let message = "`scaled_float` needs a scaling factor";
            let hint = "write `type: { type: scaled_float, scaling_factor: 100 }`";
            problems.add(tree.place, "wrong-value", message, hint);
            None
        }
        Value::Text(name) if !name.is_empty() => Some(serde_json::json!({ "type": name })),
        Value::Map(entries) if entries.iter().any(|(key, _)| key.value == "type") => {
            Some(tree.value.to_json())
        }
        _ => {
            let message = "`type` must be the name of an Elasticsearch type or a map with `type` in it";
            problems.add(tree.place, "wrong-value", message, "write for example `type: keyword`");
            None
        }
    }
}
