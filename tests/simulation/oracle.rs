//! Every document, computed from all rows of a state by a shape's own description. Nothing of the projection
//! engine is used: this is what its results are compared with.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::schema::{Domain, Key, Row, Schema};
use super::shape::{Children, Condition, Content, Field, Function, Shape};

pub type Rows = BTreeMap<Key, Arc<Row>>;
/// All tables of one committed state, by their position in the schema.
pub type State = Vec<Arc<Rows>>;
pub type Documents = BTreeMap<String, Value>;

/// All documents of a shape, by id.
pub fn documents(schema: &Schema, shape: &Shape, state: &State) -> Documents {
    let oracle = Oracle { schema, state };
    let rows = state[shape.root].iter();
    let exists =
        |row: &Row| shape.filter.as_ref().is_none_or(|filter| oracle.holds(filter, row) == Some(true));
    rows.filter(|(_, row)| exists(row))
        .map(|(key, row)| (document_id(key), oracle.object(&shape.fields, shape.root, row)))
        .collect()
}

/// One document of a shape; nothing when it does not exist.
pub fn document(schema: &Schema, shape: &Shape, state: &State, id: &str) -> Option<Value> {
    let oracle = Oracle { schema, state };
    let (_, row) = state[shape.root].iter().find(|(key, _)| document_id(key) == id)?;
    let exists = shape.filter.as_ref().is_none_or(|filter| oracle.holds(filter, row) == Some(true));
    exists.then(|| oracle.object(&shape.fields, shape.root, row))
}

/// The document's id; see docs/projections.md, "Document ids".
pub fn document_id(key: &[String]) -> String {
    match key {
        [single] if single.is_empty() || single.starts_with('\\') => format!("\\{single}"),
        [single] => single.clone(),
        columns => {
            let escaped: Vec<String> =
                columns.iter().map(|column| column.replace('\\', "\\\\").replace('-', "\\-")).collect();
            escaped.join("-")
        }
    }
}

struct Oracle<'a> {
    schema: &'a Schema,
    state: &'a State,
}

impl Oracle<'_> {
    fn object(&self, fields: &[(String, Field)], table: usize, row: &Row) -> Value {
        let fields = fields.iter().map(|(name, field)| (name.clone(), self.field(field, table, row)));
        Value::Object(fields.collect::<Map<_, _>>())
    }

    fn cell(&self, table: usize, column: usize, row: &Row) -> Value {
        let domain = self.schema.tables[table].columns[column].domain;
        row[column].as_ref().map_or(Value::Null, |text| value_of(domain, text))
    }

    fn field(&self, field: &Field, table: usize, row: &Row) -> Value {
        match field {
            Field::Column(column) => self.cell(table, *column, row),
            Field::One { table: target, via, fields } => match &row[*via] {
                None => Value::Null,
                Some(text) => match self.state[*target].get(std::slice::from_ref(text)) {
                    None => Value::Null,
                    Some(found) => self.object(fields, *target, found),
                },
            },
            Field::Many { children, order, content, .. } => {
                let mut rows = self.children(children, table, row, None);
                rows.sort_by(|a, b| self.compare(children.table, order, a, b));
                let value = |child: &&Row| match content {
                    Content::Fields(fields) => self.object(fields, children.table, child),
                    Content::Value(column) => self.cell(children.table, *column, child),
                };
                rows.iter().map(value).collect()
            }
            Field::Aggregate { function, children, column, filter, .. } => {
                let rows = self.children(children, table, row, filter.as_ref());
                self.aggregate(*function, children.table, *column, &rows)
            }
        }
    }

    /// Rows that hang on a row: a plain search through the whole table.
    fn children(
        &self,
        children: &Children,
        table: usize,
        row: &Row,
        filter: Option<&Condition>,
    ) -> Vec<&Row> {
        let own = self.schema.tables[table].single_key().expect("a parent has one key column");
        let parent = row[own].as_ref().expect("a key is not NULL");
        let refers = |child: &Row, column: usize| child[column].as_ref() == Some(parent);
        let mut found: Vec<&Row> = match children.through {
            None => {
                let rows = self.state[children.table].values();
                rows.map(|row| &**row).filter(|row| refers(row, children.via)).collect()
            }
            Some((junction, onward)) => {
                let joined = self.state[junction].values().filter(|row| refers(row, children.via));
                let targets = joined.filter_map(|row| {
                    let text = row[onward].as_ref()?;
                    self.state[children.table].get(std::slice::from_ref(text)).map(|row| &**row)
                });
                targets.collect()
            }
        };
        for condition in children.filter.iter().chain(filter) {
            found.retain(|row| self.holds(condition, row) == Some(true));
        }
        found
    }

    fn compare(&self, table: usize, order: &[(usize, bool)], a: &Row, b: &Row) -> Ordering {
        let described = &self.schema.tables[table];
        let keys = described.key.iter().map(|column| (*column, false));
        for (column, descending) in order.iter().copied().chain(keys) {
            let ascending = match (&a[column], &b[column]) {
                (None, None) => Ordering::Equal,
                (None, _) => Ordering::Greater,
                (_, None) => Ordering::Less,
                (Some(a), Some(b)) => compare_texts(described.columns[column].domain, a, b),
            };
            let by = if descending { ascending.reverse() } else { ascending };
            if by.is_ne() {
                return by;
            }
        }
        Ordering::Equal
    }

    fn aggregate(&self, function: Function, table: usize, column: Option<usize>, rows: &[&Row]) -> Value {
        let Some(column) = column else { return json!(rows.len()) };
        let domain = self.schema.tables[table].columns[column].domain;
        let texts: Vec<&String> = rows.iter().filter_map(|row| row[column].as_ref()).collect();
        // Of equal values the first text is the least, the last the most.
        let by = |a: &&&String, b: &&&String| compare_texts(domain, a, b).then_with(|| a.cmp(b));
        match function {
            Function::Count => json!(texts.len()),
            _ if texts.is_empty() => Value::Null,
            Function::Sum => {
                let hundredths: i64 = texts.iter().map(|text| hundredths(text)).sum();
                let decimal = texts.iter().any(|text| text.contains('.'));
                sum(hundredths, decimal)
            }
            Function::Min => value_of(domain, texts.iter().min_by(by).expect("not empty")),
            Function::Max => value_of(domain, texts.iter().max_by(by).expect("not empty")),
        }
    }

    /// SQL's three values.
    fn holds(&self, condition: &Condition, row: &Row) -> Option<bool> {
        match condition {
            Condition::IsNull(column) => Some(row[*column].is_none()),
            Condition::IsNotNull(column) => Some(row[*column].is_some()),
            Condition::Is(column) => row[*column].as_ref().map(|text| text == "t"),
            Condition::Less(column, number) => {
                row[*column].as_ref().map(|text| hundredths(text) < i64::from(*number) * 100)
            }
            Condition::In(column, numbers) => {
                let number = row[*column].as_ref().map(|text| hundredths(text));
                number.map(|number| numbers.iter().any(|one| i64::from(*one) * 100 == number))
            }
            Condition::Equal(column, text) => row[*column].as_ref().map(|held| held == text),
            Condition::Not(inner) => self.holds(inner, row).map(|value| !value),
            Condition::Both(a, b) => match (self.holds(a, row), self.holds(b, row)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Condition::Either(a, b) => match (self.holds(a, row), self.holds(b, row)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
        }
    }
}

fn value_of(domain: Domain, text: &str) -> Value {
    match domain {
        Domain::Number(_) | Domain::Decimal => parsed(text),
        Domain::Flag => json!(text == "t"),
        Domain::Name | Domain::Code | Domain::Toast => json!(text),
    }
}

/// A number as JSON would read its text: an integer stays one.
fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("a number")
}

fn sum(hundredths: i64, decimal: bool) -> Value {
    if decimal {
        parsed(&format!("{}.{:02}", hundredths / 100, hundredths % 100))
    } else {
        json!(hundredths / 100)
    }
}

/// Numbers and decimals of the schemas have two decimals at most, and no sign.
fn hundredths(text: &str) -> i64 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "00"));
    whole.parse::<i64>().expect("a number") * 100 + fraction.parse::<i64>().expect("two digits")
}

fn compare_texts(domain: Domain, a: &str, b: &str) -> Ordering {
    match domain {
        Domain::Number(_) | Domain::Decimal => hundredths(a).cmp(&hundredths(b)),
        Domain::Flag | Domain::Name | Domain::Code | Domain::Toast => a.as_bytes().cmp(b.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_escaped_where_columns_are_joined() {
        let id = |columns: &[&str]| {
            document_id(&columns.iter().map(|column| (*column).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(id(&["a-b"]), "a-b");
        assert_eq!(id(&["\\a"]), "\\\\a");
        assert_eq!(id(&["a-b", "1"]), "a\\-b-1");
        assert_eq!(id(&["e\\", "2"]), "e\\\\-2");
    }
}
