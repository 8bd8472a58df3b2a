//! `one: table`: the row that this row refers to, as an object; null when there is none.

use serde_json::json;

use super::{Built, Field, compile_fields, parse_fields};
use crate::projection::assemble::Write;
use crate::projection::compile::{Builder, Hop, join};
use crate::projection::definition::Source;
use crate::projection::definition::section::{Problems, Section};
use crate::projection::definition::yaml::{Place, Spot, Tree};

#[derive(Clone, Debug)]
pub struct One {
    pub table: Spot<String>,
    /// The referring columns of the parent's table; empty to follow the only foreign key.
    pub via: Vec<Spot<String>>,
    /// The columns referred to; empty for those of the foreign key or the primary key.
    pub references: Vec<Spot<String>>,
    pub fields: Vec<Field>,
    place: Place,
}

const KEYS: &[&str] = &["one", "via", "references", "fields"];

pub fn parse(
    place: Place,
    entries: &[(Spot<String>, Tree)],
    source: &Source<'_>,
    depth: usize,
    problems: &mut Problems,
) -> Option<One> {
    let section = Section::new(place, entries, "`one`", KEYS, problems);
    let table = section.text("one", problems);
    let via = section.texts("via", problems);
    let references = section.texts("references", problems);
    let fields = match section.get("fields") {
        Some(tree) => parse_fields(tree, source, depth + 1, problems),
        None => {
            problems.add(place, "missing-key", "`one` needs `fields:`", "add `fields: [id, …]`");
            Vec::new()
        }
    };
    Some(One { table: table?, via, references, fields, place })
}

impl One {
    pub fn compile(&self, node: usize, builder: &mut Builder<'_>) -> Option<Built> {
        let table = builder.table(&self.table)?;
        let pairs = join::to_one(node, table, self.table.place, &self.via, &self.references, builder)?;
        let child = builder.node(table, self.place, Some((node, pairs)), false)?;
        let (fields, properties) = compile_fields(&self.fields, child, builder);
        Some(Built {
            write: Write::One { hop: Hop { node: child, filter: None }, fields },
            mapping: json!({ "properties": properties }),
        })
    }
}
