//! The fields of a document: one file for each kind.
//!
//! A kind reads its own words of the definition (`parse`), names the tables that it needs (`tables`), and
//! becomes a [`Write`] and a piece of the index mapping (`compile`); how a [`Write`] puts bytes into a
//! document is [`super::assemble`]'s part. A new kind is a file here, a variant of [`Kind`] and an entry in
//! `KINDS`.

pub mod aggregate;
pub mod column;
pub mod many;
pub mod one;

use std::collections::BTreeMap;

use super::assemble::{Member, Write};
use super::compile::{Builder, Hop};
use super::definition::section::{Problems, did_you_mean};
use super::definition::yaml::{Spot, Tree, Value};
use super::definition::{DEPTH_MAX, Source};

/// One field of the document, as it was written.
#[derive(Clone, Debug)]
pub struct Field {
    pub name: Spot<String>,
    pub kind: Kind,
}

#[derive(Clone, Debug)]
pub enum Kind {
    Column(column::Column),
    One(one::One),
    Many(many::Many),
    Aggregate(aggregate::Aggregate),
}

/// The key that says what kind a field is.
const KINDS: &[&str] = &["column", "one", "many", "count", "sum", "min", "max"];

/// Names that Elasticsearch keeps for itself within documents.
const RESERVED: &[&str] = &[
    "_id",
    "_index",
    "_source",
    "_type",
    "_routing",
    "_version",
    "_seq_no",
    "_field_names",
    "_ignored",
    "_nested_path",
    "_doc_count",
    "_tier",
    "_size",
    "_meta",
];

/// A compiled field: how it is written, and its piece of the mapping.
#[derive(Debug)]
pub struct Built {
    pub write: Write,
    pub mapping: serde_json::Value,
}

/// Reads `fields`: a list of names and maps, or a map.
pub fn parse_fields(tree: &Tree, source: &Source<'_>, depth: usize, problems: &mut Problems) -> Vec<Field> {
    if depth > DEPTH_MAX {
        let message = format!("objects are nested deeper than {DEPTH_MAX} levels");
        problems.add(tree.place, "too-deep", message, "");
        return Vec::new();
    }
    let mut fields = Vec::new();
    let mut add = |name: &Spot<String>, value: &Tree, problems: &mut Problems| {
        check_name(name, &fields, problems);
        if let Some(kind) = parse_kind(name, value, source, depth, problems) {
            fields.push(Field { name: name.clone(), kind });
        }
    };
    match &tree.value {
        Value::Map(entries) if !entries.is_empty() => {
            entries.iter().for_each(|(name, value)| add(name, value, problems));
        }
        Value::List(items) if !items.is_empty() => {
            for item in items {
                match &item.value {
                    Value::Text(name) => {
                        let name = Spot { place: item.place, value: name.clone() };
                        add(&name, &Tree { place: item.place, value: Value::Null }, problems);
                    }
                    Value::Map(entries) => {
                        entries.iter().for_each(|(name, value)| add(name, value, problems));
                    }
                    other => {
                        let message = format!("a field is a name or `name: …`, not {}", other.describe());
                        problems.add(item.place, "wrong-value", message, "");
                    }
                }
            }
        }
        _ => {
            let message = "`fields` must be a list of columns or a map of fields, and not empty";
            problems.add(tree.place, "wrong-value", message, "write for example `fields: [id, name]`");
        }
    }
    fields
}

fn check_name(name: &Spot<String>, fields: &[Field], problems: &mut Problems) {
    if fields.iter().any(|field| field.name.value == name.value) {
        let message = format!("two fields of one object are called `{}`", name.value);
        problems.add(name.place, "duplicate-field", message, "give one of them another name");
    }
    let text = &name.value;
    if text.is_empty() || text.contains('.') || text.chars().any(char::is_control) {
        let message = "a field name must not be empty nor hold dots or control characters";
        problems.add(name.place, "field-name", message, "an object inside is a field of its own");
    } else if RESERVED.contains(&text.as_str()) {
        let message = format!("Elasticsearch keeps the name `{text}` for itself");
        problems.add(name.place, "field-name", message, "choose another name");
    }
}

fn parse_kind(
    name: &Spot<String>,
    tree: &Tree,
    source: &Source<'_>,
    depth: usize,
    problems: &mut Problems,
) -> Option<Kind> {
    let entries = match &tree.value {
        Value::Null => return Some(Kind::Column(column::Column::named(name.clone()))),
        Value::Text(text) => {
            let column = Spot { place: tree.place, value: text.clone() };
            return Some(Kind::Column(column::Column::named(column)));
        }
        Value::Map(entries) => entries,
        other => {
            let message = format!("a field is nothing, a column's name or a map, not {}", other.describe());
            problems.add(tree.place, "wrong-value", message, "put the name in quotes");
            return None;
        }
    };
    let kinds: Vec<_> =
        entries.iter().map(|(key, _)| key).filter(|key| KINDS.contains(&key.value.as_str())).collect();
    match kinds[..] {
        [key] => match key.value.as_str() {
            "column" => column::parse(tree.place, entries, problems).map(Kind::Column),
            "one" => one::parse(tree.place, entries, source, depth, problems).map(Kind::One),
            "many" => many::parse(tree.place, entries, source, depth, problems).map(Kind::Many),
            function => {
                aggregate::parse(function, tree.place, entries, source, problems).map(Kind::Aggregate)
            }
        },
        [] => {
            let known = KINDS.join(", ");
            let hint = entries
                .iter()
                .map(|(key, _)| did_you_mean(&key.value, KINDS.iter().copied()))
                .find(|hint| !hint.is_empty())
                .unwrap_or_else(|| format!("one of these keys says what it is: {known}"));
            let message = format!("nothing says what kind of field `{}` is", name.value);
            problems.add(name.place, "unknown-kind", message, hint);
            None
        }
        [first, second, ..] => {
            let message = format!("a field cannot be both `{}` and `{}`", first.value, second.value);
            problems.add(second.place, "two-kinds", message, "make two fields of it");
            None
        }
    }
}

/// The tables that these fields name.
pub fn tables<'d>(fields: &'d [Field], names: &mut Vec<&'d Spot<String>>) {
    for field in fields {
        match &field.kind {
            Kind::Column(_) => {}
            Kind::One(one) => {
                names.push(&one.table);
                tables(&one.fields, names);
            }
            Kind::Many(many) => many.tables(names),
            Kind::Aggregate(aggregate) => aggregate.tables(fields, names),
        }
    }
}

/// Compiles the fields of one object, whose columns come from the rows of `node`.
pub fn compile_fields(
    fields: &[Field],
    node: usize,
    builder: &mut Builder<'_>,
) -> (Vec<Member>, serde_json::Map<String, serde_json::Value>) {
    // Aggregates come last because they may name a `many` of the same object.
    let mut siblings: BTreeMap<&str, Vec<Hop>> = BTreeMap::new();
    let mut built: Vec<Option<Built>> = Vec::with_capacity(fields.len());
    for field in fields {
        built.push(match &field.kind {
            Kind::Column(column) => column.compile(node, builder),
            Kind::One(one) => one.compile(node, builder),
            Kind::Many(many) => many.compile(node, builder).map(|(hops, built)| {
                siblings.insert(&field.name.value, hops);
                built
            }),
            Kind::Aggregate(_) => None,
        });
    }
    for (field, built) in fields.iter().zip(&mut built) {
        if let Kind::Aggregate(aggregate) = &field.kind {
            *built = aggregate.compile(node, fields, &siblings, builder);
        }
    }
    let mut members = Vec::new();
    let mut properties = serde_json::Map::new();
    for (field, built) in fields.iter().zip(built) {
        if let Some(built) = built {
            members.push(Member::new(&field.name.value, members.is_empty(), built.write));
            properties.insert(field.name.value.clone(), built.mapping);
        }
    }
    (members, properties)
}
