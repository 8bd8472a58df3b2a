//! `count`, `sum`, `min` and `max` over the rows of a `many` of the same object, or of a table.

use std::collections::BTreeMap;

use serde_json::json;

use super::many::Children;
use super::{Built, Field, Kind};
use crate::model::ColumnKind;
use crate::projection::assemble::{Function, Write};
use crate::projection::compile::{Builder, Hop};
use crate::projection::definition::section::{Problems, Section};
use crate::projection::definition::yaml::{Place, Spot, Tree};
use crate::projection::definition::{Source, Text};
use crate::projection::mapping;
use crate::projection::predicate::Predicate;
use crate::projection::value::order::Order;

#[derive(Clone, Debug)]
pub struct Aggregate {
    function: &'static str,
    /// The first part of the path (a `many` beside it, or a table), with how to join a table.
    children: Children,
    /// The second part of the path.
    column: Option<Spot<String>>,
    filter: Option<Text>,
    mapping: Option<serde_json::Value>,
    place: Place,
}

const FUNCTIONS: &[&str] = &["count", "sum", "min", "max"];
const JOIN_KEYS: &[&str] = &["through", "via", "references", "target_via"];

pub fn parse(
    function: &str,
    place: Place,
    entries: &[(Spot<String>, Tree)],
    source: &Source<'_>,
    problems: &mut Problems,
) -> Option<Aggregate> {
    let function = FUNCTIONS.iter().copied().find(|known| *known == function)?;
    let mut keys = vec![function, "where", "type"];
    keys.extend(JOIN_KEYS);
    let section = Section::new(place, entries, &format!("`{function}`"), &keys, problems);
    let mapping = super::column::mapping_override(&section, problems);
    let path = section.text(function, problems)?;
    // `children`, `children.column`; a table may be written with its schema when a column follows.
    let (table, column) = match path.value.rsplit_once('.') {
        Some((table, column)) => {
            let offset = table.chars().count() + 1;
            let place = Place { line: path.place.line, column: path.place.column + offset };
            let column = Spot { place, value: column.to_owned() };
            (Spot { place: path.place, value: table.to_owned() }, Some(column))
        }
        None => (path, None),
    };
    if column.is_none() && function != "count" {
        let message = format!("`{function}` needs a column");
        let hint = format!("write `{function}: {}.COLUMN`", table.value);
        problems.add(table.place, "wrong-value", message, hint);
        return None;
    }
    let mut children = Children::parse(table, &section, source, problems);
    let filter = children.filter.take();
    Some(Aggregate { function, children, column, filter, mapping, place })
}

impl Aggregate {
    fn sibling<'d>(&self, fields: &'d [Field]) -> Option<&'d Field> {
        let name = &self.children.table.value;
        fields.iter().find(|field| field.name.value == *name && matches!(field.kind, Kind::Many(_)))
    }

    pub fn tables<'d>(&'d self, fields: &'d [Field], names: &mut Vec<&'d Spot<String>>) {
        if self.sibling(fields).is_none() {
            self.children.tables(names);
        }
    }

    pub fn compile(
        &self,
        node: usize,
        fields: &[Field],
        siblings: &BTreeMap<&str, Vec<Hop>>,
        builder: &mut Builder<'_>,
    ) -> Option<Built> {
        let mut hops = match self.sibling(fields) {
            Some(sibling) => {
                let joined = self.children.through.iter().chain(&self.children.via);
                if let Some(word) = joined.chain(&self.children.references).next() {
                    let message = format!(
                        "`{}` is the field beside it, which says how it is joined",
                        self.children.table.value
                    );
                    builder.problems.add(word.place, "wrong-value", message, "leave the join out here");
                }
                // Not there: the field itself is wrong, which was reported already.
                siblings.get(sibling.name.value.as_str())?.clone()
            }
            None => self.children.compile(node, self.place, builder)?,
        };
        let last = hops.last_mut()?;
        if let Some(text) = &self.filter {
            let filter = builder.filter(last.node, text)?;
            last.filter = Some(match last.filter.take() {
                Some(first) => Predicate::both(first, filter),
                None => filter,
            });
        }
        let Some(name) = &self.column else {
            let write =
                Write::Aggregate { hops, function: Function::Count { position: None }, order: Vec::new() };
            let mapping = self.mapping.clone().unwrap_or_else(|| json!({ "type": "long" }));
            return Some(Built { write, mapping });
        };
        let (position, column) = builder.column(last.node, name)?;
        let kind = column.kind.clone();
        let (function, derived) = match (self.function, &kind) {
            ("count", _) => (Some(Function::Count { position: Some(position) }), json!({ "type": "long" })),
            ("sum", ColumnKind::Int) => {
                (Some(Function::Sum { position, float: false }), json!({ "type": "long" }))
            }
            ("sum", ColumnKind::Numeric) => {
                (Some(Function::Sum { position, float: false }), json!({ "type": "double" }))
            }
            ("sum", ColumnKind::Float4 | ColumnKind::Float8) => {
                (Some(Function::Sum { position, float: true }), json!({ "type": "double" }))
            }
            ("min" | "max", _) => {
                let order = Order::of(&kind).filter(|_| has_extremes(&kind));
                let largest = self.function == "max";
                let function = order.map(|order| Function::Extreme { position, kind, order, largest });
                (function, mapping::of_column(column))
            }
            _ => (None, json!({})),
        };
        let Some(function) = function else {
            let message =
                format!("there is no `{}` of `{}`, which is {}", self.function, name.value, column.type_name);
            let hint = match self.function {
                "sum" => "sum takes integer, numeric and float columns",
                _ => "min and max take numbers, texts, dates and times",
            };
            builder.problems.add(name.place, "wrong-type", message, hint);
            return None;
        };
        // Floats do not add up alike in any order.
        let order = if matches!(function, Function::Sum { float: true, .. }) {
            builder.key_order(last.node)
        } else {
            Vec::new()
        };
        let write = Write::Aggregate { hops, function, order };
        Some(Built { write, mapping: self.mapping.clone().unwrap_or(derived) })
    }
}

/// The kinds of which PostgreSQL has min and max, and whose order is that of [`Order`]. (An enum's order
/// is that of its declaration, which is not in the catalog facts.)
fn has_extremes(kind: &ColumnKind) -> bool {
    matches!(
        kind,
        ColumnKind::Int
            | ColumnKind::Numeric
            | ColumnKind::Float4
            | ColumnKind::Float8
            | ColumnKind::Text
            | ColumnKind::Bpchar
            | ColumnKind::Date
            | ColumnKind::Timestamp
            | ColumnKind::Timestamptz
            | ColumnKind::Time
    )
}
