//! Definitions and catalog facts to plans.
//!
//! Flow: [`compile`] gives every definition a [`Builder`], which resolves names, adds a [`Draft`] for every
//! place where rows are read, and gathers mistakes. When all definitions are right, [`links`] decides for
//! each join which way goes over a row's own key and which needs an index, over all projections together.

pub mod join;
mod links;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;
use xxhash_rust::xxh3::Xxh3;

use super::affected::FAN_OUT_MAX;
use super::assemble::{Frame, OrderBy, Shape};
use super::definition::section::{Problems, did_you_mean};
use super::definition::yaml::{Place, Spot};
use super::definition::{Definition, Text};
use super::field;
use super::plan::{Plan, PlanSet, TableKey};
use super::predicate::{self, Predicate};
use super::value::order::Order;
use crate::model::{Catalog, Column, Diagnostic, KeyClass, Table};

/// Places where rows are read, in one projection. Every changed row is looked up from each of them.
pub const NODES_MAX: usize = 256;

/// A table as a definition names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableName {
    /// Not given: `public` first, else the only schema that has such a table.
    pub schema: Option<String>,
    pub name: String,
}

/// The tables that these definitions name, each once: whose facts the catalog must hold for [`compile`].
pub fn tables_named(definitions: &[Definition]) -> Vec<TableName> {
    let mut names = Vec::new();
    for definition in definitions {
        names.push(&definition.root);
        field::tables(&definition.fields, &mut names);
    }
    let names: BTreeSet<_> = names.into_iter().map(|name| split(&name.value)).collect();
    names.into_iter().collect()
}

fn split(name: &str) -> TableName {
    match name.split_once('.') {
        Some((schema, name)) => TableName { schema: Some(schema.to_owned()), name: name.to_owned() },
        None => TableName { schema: None, name: name.to_owned() },
    }
}

/// Compiles all projections together.
///
/// # Errors
/// Every mistake in any of the files, in the order of files and places.
pub fn compile(definitions: &[Definition], catalog: &Catalog) -> Result<PlanSet, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let mut drafts = Vec::new();
    for (position, definition) in definitions.iter().enumerate() {
        let mut builder = Builder::new(catalog, &definition.file);
        for other in &definitions[..position] {
            builder.compare_names(definition, other);
        }
        let draft = builder.projection(definition);
        problems.append(&mut builder.problems.list);
        drafts.push((definition, draft, builder.nodes));
    }
    if !problems.is_empty() {
        problems.sort();
        problems.dedup();
        return Err(problems);
    }
    let tables = table_keys(drafts.iter().flat_map(|(_, _, nodes)| nodes));
    let mut set = PlanSet { plans: Vec::new(), links: Vec::new(), tables, fan_out_max: FAN_OUT_MAX };
    for (definition, shape, nodes) in drafts {
        let Some(shape) = shape else { continue };
        let nodes = links::nodes(nodes, &mut set);
        set.plans.push(Plan {
            projection: Arc::from(definition.name.value.as_str()),
            alias: Arc::from(definition.index.value.as_str()),
            nodes,
            shape,
        });
    }
    links::cluster(&mut set);
    Ok(set)
}

/// A step from a row to rows that are joined with it. How they are found is in the node's
/// [`super::plan::Join`].
#[derive(Clone, Debug)]
pub struct Hop {
    pub node: usize,
    /// Rows for which this is not true are passed over.
    pub filter: Option<Predicate>,
}

/// A node in the making.
#[derive(Debug)]
pub struct Draft<'c> {
    pub table: &'c Table,
    pub parent: Option<(usize, Vec<Pair>)>,
    pub used: BTreeSet<usize>,
    /// Whether documents read many rows at once here.
    pub many: bool,
}

/// One equality of a join: positions in the two tables' column lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    pub parent: usize,
    pub child: usize,
    pub class: KeyClass,
}

/// Compiles one definition.
#[derive(Debug)]
pub struct Builder<'c> {
    pub catalog: &'c Catalog,
    pub problems: Problems,
    pub nodes: Vec<Draft<'c>>,
}

impl<'c> Builder<'c> {
    fn new(catalog: &'c Catalog, file: &str) -> Builder<'c> {
        Builder { catalog, problems: Problems::new(file), nodes: Vec::new() }
    }

    fn compare_names(&mut self, definition: &Definition, other: &Definition) {
        if definition.name.value == other.name.value {
            let message = format!("{} has a projection `{}` too", other.file, definition.name.value);
            self.problems.add(
                definition.name.place,
                "duplicate-projection",
                message,
                "give one of them another name",
            );
        }
        if definition.index.value == other.index.value {
            let message = format!("{} writes to `{}` too", other.file, definition.index.value);
            let hint = "give each projection an index of its own";
            self.problems.add(definition.index.place, "duplicate-index", message, hint);
        }
    }

    fn projection(&mut self, definition: &Definition) -> Option<Shape> {
        let table = self.table(&definition.root)?;
        let root = self.node(table, definition.root.place, None, false)?;
        let filter = definition.filter.as_ref().and_then(|text| self.filter(root, text));
        let (fields, properties) = field::compile_fields(&definition.fields, root, self);
        if !self.problems.list.is_empty() {
            return None;
        }
        let mapping = json!({ "dynamic": definition.dynamic, "properties": properties });
        let fingerprint = self.fingerprint(definition, &mapping);
        let frames = self.nodes.iter().map(|node| Frame::new(node.table.id, &node.used)).collect();
        let (_, classes) = key_of_table(table).ok()?;
        Some(Shape {
            filter,
            fields,
            frames,
            key_classes: classes,
            mapping,
            settings: definition.settings.clone(),
            fingerprint,
        })
    }

    /// Everything that decides what documents hold: the definition and the facts that it was read with.
    fn fingerprint(&self, definition: &Definition, mapping: &serde_json::Value) -> u64 {
        let mut hash = Xxh3::new();
        hash.update(&super::ASSEMBLER.to_le_bytes());
        hash.update(&definition.fingerprint().to_le_bytes());
        // serde_json's maps are sorted or keep the file's order, so this text is a function of the file.
        hash.update(mapping.to_string().as_bytes());
        for node in &self.nodes {
            hash.update(node.table.qualified_name().as_bytes());
            // The root's key is the document's id; the others' keys are orders.
            hash.update(node.table.key.join("\0").as_bytes());
            for position in &node.used {
                let column = &node.table.columns[*position];
                hash.update(format!("\0{}\0{}", column.name, column.type_name).as_bytes());
            }
            if let Some((parent, pairs)) = &node.parent {
                let parent = &self.nodes[*parent].table.columns;
                for pair in pairs {
                    let (up, down) = (&parent[pair.parent].name, &node.table.columns[pair.child].name);
                    hash.update(format!("\0{up}\0{down}").as_bytes());
                }
            }
        }
        hash.digest()
    }

    /// Finds a table by the name that the definition gives it.
    pub fn table(&mut self, name: &Spot<String>) -> Option<&'c Table> {
        let tables = &self.catalog.tables;
        let TableName { schema, name: bare } = split(&name.value);
        let found: Vec<&'c Table> = tables
            .iter()
            .filter(|table| {
                table.name == bare && schema.as_ref().is_none_or(|schema| table.schema == *schema)
            })
            .collect();
        let public = found.iter().find(|table| table.schema == "public");
        match (&found[..], public) {
            ([table], _) | (_, Some(table)) => Some(table),
            ([], _) => {
                let known = tables.iter().map(|table| match schema {
                    Some(_) => table.qualified_name(),
                    None => table.name.clone(),
                });
                let known: Vec<String> = known.collect();
                let hint = did_you_mean(&name.value, known.iter().map(String::as_str));
                let message = format!("there is no table `{}`", name.value);
                self.problems.add(name.place, "unknown-table", message, hint);
                None
            }
            (several, None) => {
                let names: Vec<_> = several.iter().map(|table| table.qualified_name()).collect();
                let message = format!("several schemas have a table `{bare}`");
                let hint = format!("write one of {}", names.join(", "));
                self.problems.add(name.place, "ambiguous-table", message, hint);
                None
            }
        }
    }

    /// Adds a node; nothing when the table's rows cannot be told apart, or there are too many nodes.
    pub fn node(
        &mut self,
        table: &'c Table,
        place: Place,
        parent: Option<(usize, Vec<Pair>)>,
        many: bool,
    ) -> Option<usize> {
        if let Err((code, message, hint)) = key_of_table(table) {
            self.problems.add(place, code, message, hint);
            return None;
        }
        if self.nodes.len() >= NODES_MAX {
            let message = format!("a projection reads at most {NODES_MAX} tables");
            self.problems.add(place, "too-many-tables", message, "split the projection");
            return None;
        }
        let mut used = BTreeSet::new();
        if let Some((parent, pairs)) = &parent {
            used.extend(pairs.iter().map(|pair| pair.child));
            self.nodes[*parent].used.extend(pairs.iter().map(|pair| pair.parent));
        }
        self.nodes.push(Draft { table, parent, used, many });
        Some(self.nodes.len() - 1)
    }

    /// Finds a column of a node's table and notes that the document depends on it.
    pub fn column(&mut self, node: usize, name: &Spot<String>) -> Option<(usize, &'c Column)> {
        let table = self.nodes[node].table;
        let (position, column) = self.column_of(table, name)?;
        self.nodes[node].used.insert(position);
        Some((position, column))
    }

    /// Finds a column of a table.
    pub fn column_of(&mut self, table: &'c Table, name: &Spot<String>) -> Option<(usize, &'c Column)> {
        let Some((position, column)) = table.column(&name.value) else {
            let hint = did_you_mean(&name.value, table.columns.iter().map(|column| column.name.as_str()));
            let message = format!("{} has no column `{}`", table.qualified_name(), name.value);
            self.problems.add(name.place, "unknown-column", message, hint);
            return None;
        };
        if column.generated {
            let message = format!(
                "`{}` of {} is generated: PostgreSQL does not send it with changes",
                name.value,
                table.qualified_name()
            );
            let hint = "use the columns that it is generated from";
            self.problems.add(name.place, "generated-column", message, hint);
            return None;
        }
        Some((position, column))
    }

    /// Compiles a condition on a node's rows.
    pub fn filter(&mut self, node: usize, text: &Text) -> Option<Predicate> {
        let predicate = predicate::compile(text, self.nodes[node].table, &mut self.problems)?;
        predicate.columns(&mut self.nodes[node].used);
        Some(predicate)
    }

    /// The order of the rows of a node by their own key, and the dependence on it.
    pub fn key_order(&mut self, node: usize) -> Vec<OrderBy> {
        let draft = &mut self.nodes[node];
        let Ok((columns, classes)) = key_of_table(draft.table) else { return Vec::new() };
        draft.used.extend(&columns);
        let order = |(position, class)| OrderBy { position, kind: Order::of_key(class), descending: false };
        columns.into_iter().zip(classes).map(order).collect()
    }
}

/// Code, message and hint.
type Refusal = (&'static str, String, String);

/// Positions and classes of a table's own key, or why it has none that we could use.
fn key_of_table(table: &Table) -> Result<(Vec<usize>, Vec<KeyClass>), Refusal> {
    let name = table.qualified_name();
    if table.key.is_empty() {
        let message = format!("{name} has neither a primary key nor a replica identity index");
        return Err(("no-key", message, "give it a primary key".to_owned()));
    }
    let mut columns = Vec::new();
    let mut classes = Vec::new();
    for key in &table.key {
        let Some((position, column)) = table.column(key) else {
            let message = format!("the key of {name} has a column `{key}` that the table does not have");
            return Err(("no-key", message, String::new()));
        };
        let Some(class) = KeyClass::of(&column.kind) else {
            let message = format!(
                "the key column `{key}` of {name} is {}, whose equality is not that of its text",
                column.type_name
            );
            let hint = "use REPLICA IDENTITY USING INDEX over columns of another type";
            return Err(("unusable-key", message, hint.to_owned()));
        };
        columns.push(position);
        classes.push(class);
    }
    Ok((columns, classes))
}

fn table_keys<'a, 'c: 'a>(nodes: impl Iterator<Item = &'a Draft<'c>>) -> Vec<TableKey> {
    let mut tables: Vec<TableKey> = Vec::new();
    for node in nodes {
        // Nodes of tables without a usable key were refused.
        if let Ok((columns, classes)) = key_of_table(node.table) {
            tables.push(TableKey { table: node.table.id, columns, classes });
        }
    }
    tables.sort_by_key(|key| key.table);
    tables.dedup_by_key(|key| key.table);
    tables
}

#[cfg(test)]
mod tests;
