//! `many: table`: the rows that refer to this row, or that a junction table connects with it, as an array.

use serde_json::json;

use super::{Built, Field, compile_fields, parse_fields};
use crate::projection::assemble::{Content, OrderBy, Write};
use crate::projection::compile::{Builder, Hop, join};
use crate::projection::definition::section::{Problems, Section, text};
use crate::projection::definition::yaml::{Place, Spot, Tree, Value};
use crate::projection::definition::{Source, Text};
use crate::projection::mapping;
use crate::projection::value::order::Order;

#[derive(Clone, Debug)]
pub struct Many {
    pub children: Children,
    order_by: Vec<(Spot<String>, bool)>,
    nested: bool,
    content: Contents,
    place: Place,
}

/// Which rows: shared with the aggregates.
#[derive(Clone, Debug)]
pub struct Children {
    pub table: Spot<String>,
    /// The junction table, if there is one.
    pub through: Option<Spot<String>>,
    /// The columns of the child, or of the junction, that refer to the parent.
    pub via: Vec<Spot<String>>,
    /// The columns of the parent that they refer to.
    pub references: Vec<Spot<String>>,
    /// The columns of the junction that refer to the child.
    pub target_via: Vec<Spot<String>>,
    pub filter: Option<Text>,
}

#[derive(Clone, Debug)]
enum Contents {
    Fields(Vec<Field>),
    Values(Spot<String>, Option<serde_json::Value>),
}

const KEYS: &[&str] = &[
    "many",
    "through",
    "via",
    "references",
    "target_via",
    "where",
    "order_by",
    "nested",
    "fields",
    "values",
    "type",
];

pub fn parse(
    place: Place,
    entries: &[(Spot<String>, Tree)],
    source: &Source<'_>,
    depth: usize,
    problems: &mut Problems,
) -> Option<Many> {
    let section = Section::new(place, entries, "`many`", KEYS, problems);
    let table = section.text("many", problems);
    let order_by = order_by(&section, problems);
    let nested = section.flag("nested", problems);
    let mapping = super::column::mapping_override(&section, problems);
    let fields = section.get("fields").map(|tree| parse_fields(tree, source, depth + 1, problems));
    let values = section.text("values", problems);
    let content = match (fields, values) {
        (Some(fields), None) => {
            if let Some(tree) = section.get("type") {
                let message = "`type` goes with `values`; fields have types of their own";
                problems.add(tree.place, "wrong-value", message, "");
            }
            Contents::Fields(fields)
        }
        (None, Some(values)) => {
            if nested {
                let message = "`nested` goes with `fields`: plain values have no fields to keep together";
                problems.add(section.place, "wrong-value", message, "leave `nested` out");
            }
            Contents::Values(values, mapping)
        }
        (Some(_), Some(values)) => {
            let message = "`many` has either `fields` or `values`, not both";
            problems.add(values.place, "wrong-value", message, "");
            return None;
        }
        (None, None) => {
            if section.get("values").is_none() {
                let message = "`many` needs `fields:` or `values:`";
                problems.add(place, "missing-key", message, "add `fields: [id, …]` or `values: COLUMN`");
            }
            return None;
        }
    };
    let children = Children::parse(table?, &section, source, problems);
    Some(Many { children, order_by, nested, content, place })
}

fn order_by(section: &Section<'_>, problems: &mut Problems) -> Vec<(Spot<String>, bool)> {
    let Some(tree) = section.get("order_by") else { return Vec::new() };
    let items = match &tree.value {
        Value::List(items) => items.iter().collect(),
        _ => vec![tree],
    };
    let mut order = Vec::new();
    for item in items {
        match &item.value {
            Value::Map(entries) if entries.len() == 1 => {
                let (column, direction) = &entries[0];
                match &direction.value {
                    Value::Text(word) if word == "asc" => order.push((column.clone(), false)),
                    Value::Text(word) if word == "desc" => order.push((column.clone(), true)),
                    _ => {
                        let message = "an order is `asc` or `desc`";
                        problems.add(direction.place, "wrong-value", message, "");
                    }
                }
            }
            Value::Map(_) => {
                let message = "each item of `order_by` is one column";
                problems.add(item.place, "wrong-value", message, "write `- column: desc`, one per line");
            }
            _ => order.extend(text(item, "a column of `order_by`", problems).map(|column| (column, false))),
        }
    }
    order
}

impl Children {
    pub fn parse(
        table: Spot<String>,
        section: &Section<'_>,
        source: &Source<'_>,
        problems: &mut Problems,
    ) -> Children {
        let through = section.text("through", problems);
        let target_via = section.texts("target_via", problems);
        if through.is_none()
            && let Some(first) = target_via.first()
        {
            let message = "`target_via` names columns of a junction table";
            problems.add(first.place, "wrong-value", message, "add `through: TABLE`");
        }
        Children {
            table,
            through,
            via: section.texts("via", problems),
            references: section.texts("references", problems),
            target_via,
            filter: source.expression(section, "where", problems),
        }
    }

    /// Adds the nodes that lead to the children, the children's own last.
    pub fn compile(&self, node: usize, place: Place, builder: &mut Builder<'_>) -> Option<Vec<Hop>> {
        let table = builder.table(&self.table);
        let mut hops = Vec::new();
        let node = match &self.through {
            None => {
                let table = table?;
                let pairs =
                    join::to_many(node, table, self.table.place, &self.via, &self.references, builder)?;
                builder.node(table, place, Some((node, pairs)), true)?
            }
            Some(through) => {
                let junction = builder.table(through)?;
                let table = table?;
                let pairs =
                    join::to_many(node, junction, through.place, &self.via, &self.references, builder)?;
                let used = pairs.iter().map(|pair| pair.child).collect::<Vec<_>>();
                let middle = builder.node(junction, place, Some((node, pairs)), true)?;
                let pairs = join::onward(middle, table, self.table.place, &self.target_via, &used, builder)?;
                hops.push(Hop { node: middle, filter: None });
                builder.node(table, place, Some((middle, pairs)), false)?
            }
        };
        let filter = match &self.filter {
            Some(text) => Some(builder.filter(node, text)?),
            None => None,
        };
        hops.push(Hop { node, filter });
        Some(hops)
    }

    pub fn tables<'d>(&'d self, names: &mut Vec<&'d Spot<String>>) {
        names.push(&self.table);
        names.extend(&self.through);
    }
}

impl Many {
    pub fn tables<'d>(&'d self, names: &mut Vec<&'d Spot<String>>) {
        self.children.tables(names);
        if let Contents::Fields(fields) = &self.content {
            super::tables(fields, names);
        }
    }

    /// The way to the children, for aggregates that share it, and the field.
    pub fn compile(&self, node: usize, builder: &mut Builder<'_>) -> Option<(Vec<Hop>, Built)> {
        let hops = self.children.compile(node, self.place, builder)?;
        let child = hops.last()?.node;
        let mut order = Vec::new();
        for (name, descending) in &self.order_by {
            let Some((position, column)) = builder.column(child, name) else { continue };
            match Order::of(&column.kind) {
                Some(kind) => order.push(OrderBy { position, kind, descending: *descending }),
                None => {
                    let message =
                        format!("rows cannot be ordered by `{}` ({})", name.value, column.type_name);
                    builder.problems.add(name.place, "no-order", message, "order by another column");
                }
            }
        }
        // The row's own key makes the order complete, so that a document is a function of the rows.
        order.extend(builder.key_order(child));
        let (content, mapping) = match &self.content {
            Contents::Fields(fields) => {
                let (fields, properties) = compile_fields(fields, child, builder);
                let mapping = if self.nested {
                    json!({ "type": "nested", "properties": properties })
                } else {
                    json!({ "properties": properties })
                };
                (Content::Object(fields), mapping)
            }
            Contents::Values(name, mapping) => {
                let (position, column) = builder.column(child, name)?;
                let mapping = mapping.clone().unwrap_or_else(|| mapping::of_column(column));
                (Content::Value { position, kind: column.kind.clone() }, mapping)
            }
        };
        let write = Write::Many { hops: hops.clone(), order, content };
        Some((hops, Built { write, mapping }))
    }
}
