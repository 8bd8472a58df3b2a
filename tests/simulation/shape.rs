//! Random projections over a schema, in a description of their own: the YAML file is printed from it, and the
//! oracle interprets it.

use std::rc::Rc;

use fastrand::Rng;

use super::schema::{Domain, Schema};

/// Tables that one projection joins at most.
const JOINS_MAX: usize = 5;

#[derive(Clone, Debug)]
pub struct Shape {
    pub name: String,
    pub root: usize,
    pub filter: Option<Condition>,
    pub fields: Vec<(String, Field)>,
}

#[derive(Clone, Debug)]
pub enum Field {
    Column(usize),
    /// The row of `table` that column `via` of this row refers to.
    One {
        table: usize,
        via: usize,
        fields: Vec<(String, Field)>,
    },
    Many {
        children: Children,
        /// Column of the child, and whether it descends.
        order: Vec<(usize, bool)>,
        nested: bool,
        content: Content,
    },
    Aggregate {
        function: Function,
        /// A `many` beside it of this name; else its own.
        sibling: Option<String>,
        children: Children,
        column: Option<usize>,
        filter: Option<Condition>,
    },
}

/// Rows that refer to a row, straight or over a junction.
#[derive(Clone, Debug)]
pub struct Children {
    pub table: usize,
    /// The column that refers to the parent, of the child or of the junction.
    pub via: usize,
    /// The junction, and its column that refers to the child.
    pub through: Option<(usize, usize)>,
    pub filter: Option<Condition>,
}

#[derive(Clone, Debug)]
pub enum Content {
    Fields(Vec<(String, Field)>),
    Value(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    Count,
    Sum,
    Min,
    Max,
}

/// A condition on a row, by position of its columns.
#[derive(Clone, Debug)]
pub enum Condition {
    IsNull(usize),
    IsNotNull(usize),
    Is(usize),
    Less(usize, u32),
    In(usize, Vec<u32>),
    Equal(usize, String),
    Not(Box<Condition>),
    Both(Box<Condition>, Box<Condition>),
    Either(Box<Condition>, Box<Condition>),
}

impl Shape {
    pub fn draw(random: &mut Rng, schema: &Schema, name: &str) -> Shape {
        let root = random.usize(..schema.tables.len());
        let mut left = JOINS_MAX;
        let filter = draw_filter(random, schema, root, 4);
        let fields = draw_fields(random, schema, root, 3, &mut left);
        Shape { name: name.to_owned(), root, filter, fields }
    }
}

fn draw_fields(
    random: &mut Rng,
    schema: &Schema,
    at: usize,
    depth: usize,
    left: &mut usize,
) -> Vec<(String, Field)> {
    let table = &schema.tables[at];
    let mut fields: Vec<(String, Field)> = Vec::new();
    for (position, column) in table.columns.iter().enumerate() {
        if random.u8(..3) > 0 {
            fields.push((column.name.clone(), Field::Column(position)));
        }
    }
    if fields.is_empty() {
        fields.push(("x".to_owned(), Field::Column(random.usize(..table.columns.len()))));
    }
    if depth == 0 {
        return fields;
    }
    let mut joins = Vec::new();
    for (via, column) in table.columns.iter().enumerate() {
        joins.extend(column.refers.map(|target| (target, via, None, true)));
    }
    joins.extend(
        children_of(schema, at).into_iter().map(|(table, via, through)| (table, via, through, false)),
    );
    random.shuffle(&mut joins);
    for (number, (target, via, through, one)) in joins.into_iter().enumerate() {
        if *left == 0 || random.u8(..4) == 0 {
            continue;
        }
        *left -= 1;
        if one {
            let below = draw_fields(random, schema, target, depth - 1, left);
            fields.push((format!("o{number}"), Field::One { table: target, via, fields: below }));
        } else {
            let filter = draw_filter(random, schema, target, 4);
            let children = Children { table: target, via, through, filter };
            draw_many(random, schema, children, number, depth, left, &mut fields);
        }
    }
    fields
}

/// Tables whose rows refer to rows of this one: table, column, and the junction with its other column.
/// Table, column, and the way behind a junction.
type Child = (usize, usize, Option<(usize, usize)>);

fn children_of(schema: &Schema, at: usize) -> Vec<Child> {
    let mut found = Vec::new();
    if schema.tables[at].single_key().is_none() {
        return found;
    }
    for (child, table) in schema.tables.iter().enumerate() {
        for (via, column) in table.columns.iter().enumerate() {
            if column.refers != Some(at) {
                continue;
            }
            found.push((child, via, None));
            for (onward, other) in table.columns.iter().enumerate() {
                if let Some(target) = other.refers.filter(|_| onward != via) {
                    found.push((target, via, Some((child, onward))));
                }
            }
        }
    }
    found
}

fn draw_many(
    random: &mut Rng,
    schema: &Schema,
    children: Children,
    number: usize,
    depth: usize,
    left: &mut usize,
    fields: &mut Vec<(String, Field)>,
) {
    let table = &schema.tables[children.table];
    let name = format!("m{number}");
    let many = random.u8(..4) > 0;
    if many {
        let mut order = Vec::new();
        if random.bool() {
            let ordered: Vec<usize> =
                (0..table.columns.len()).filter(|at| table.columns[*at].domain != Domain::Flag).collect();
            order.push((ordered[random.usize(..ordered.len())], random.bool()));
        }
        let nested = random.u8(..4) == 0;
        let content = if !nested && random.u8(..4) == 0 {
            Content::Value(random.usize(..table.columns.len()))
        } else {
            Content::Fields(draw_fields(random, schema, children.table, depth - 1, left))
        };
        fields.push((name.clone(), Field::Many { children: children.clone(), order, nested, content }));
    }
    if !many || random.u8(..3) == 0 {
        let function = [Function::Count, Function::Sum, Function::Min, Function::Max][random.usize(..4)];
        let fits = |at: &usize| match (function, table.columns[*at].domain) {
            (Function::Count, _) | (_, Domain::Number(_) | Domain::Decimal) => true,
            (Function::Min | Function::Max, domain) => domain.is_text(),
            _ => false,
        };
        let columns: Vec<usize> = (0..table.columns.len()).filter(fits).collect();
        let column = columns.get(random.usize(..columns.len().max(1))).copied();
        let column = column.filter(|_| function != Function::Count || random.bool());
        let function = if column.is_none() { Function::Count } else { function };
        let filter = draw_filter(random, schema, children.table, 3);
        let sibling = many.then_some(name);
        let children = if sibling.is_some() { children } else { Children { filter: None, ..children } };
        let aggregate = Field::Aggregate { function, sibling, children, column, filter };
        fields.push((format!("a{number}"), aggregate));
    }
}

/// One of `rarely` rows of dice has a condition.
fn draw_filter(random: &mut Rng, schema: &Schema, at: usize, rarely: u8) -> Option<Condition> {
    (random.u8(..rarely) == 0).then(|| draw_condition(random, schema, at, 2))
}

fn draw_condition(random: &mut Rng, schema: &Schema, at: usize, depth: usize) -> Condition {
    let table = &schema.tables[at];
    if depth > 0 && random.u8(..3) == 0 {
        let first = Box::new(draw_condition(random, schema, at, depth - 1));
        return match random.u8(..3) {
            0 => Condition::Not(first),
            1 => Condition::Both(first, Box::new(draw_condition(random, schema, at, depth - 1))),
            _ => Condition::Either(first, Box::new(draw_condition(random, schema, at, depth - 1))),
        };
    }
    let column = random.usize(..table.columns.len());
    match table.columns[column].domain {
        _ if random.u8(..3) == 0 => Condition::IsNotNull(column),
        _ if random.u8(..8) == 0 => Condition::IsNull(column),
        Domain::Number(most) if random.bool() => Condition::Less(column, random.u32(1..=most + 1)),
        Domain::Number(most) => {
            Condition::In(column, (0..random.usize(1..3)).map(|_| random.u32(1..=most)).collect())
        }
        Domain::Decimal => Condition::Less(column, random.u32(1..8)),
        Domain::Flag => Condition::Is(column),
        Domain::Toast => Condition::IsNotNull(column),
        domain @ (Domain::Name | Domain::Code) => Condition::Equal(column, domain.value(random)),
    }
}

/// A few sets of definitions: names come back in other shapes, and the same shapes under the same names.
pub fn draw_sets(random: &mut Rng, schema: &Schema) -> Vec<Vec<Rc<Shape>>> {
    let drawn: Vec<Vec<Rc<Shape>>> = ["first", "second"]
        .iter()
        .map(|name| (0..2).map(|_| Rc::new(Shape::draw(random, schema, name))).collect())
        .collect();
    let mut sets = Vec::new();
    for _ in 0..3 {
        let mut set = vec![Rc::clone(&drawn[0][random.usize(..2)])];
        if random.bool() {
            set.push(Rc::clone(&drawn[1][random.usize(..2)]));
        }
        sets.push(set);
    }
    sets
}

/// Two projections of one table: documents of its rows, and documents that hold the same rows by a column which the
/// others do not use. Nothing when no column of the schema is fit for that.
pub fn draw_sharing_sets(random: &mut Rng, schema: &Schema) -> Option<Vec<Vec<Rc<Shape>>>> {
    let mut fit: Vec<(usize, usize, usize)> = Vec::new();
    for (at, table) in schema.tables.iter().enumerate() {
        let others = table.columns.iter().enumerate().filter(|(column, _)| !table.key.contains(column));
        fit.extend(others.filter_map(|(column, described)| Some((at, column, described.refers?))));
    }
    let (shared, via, parent) = *fit.get(random.usize(..fit.len().max(1)))?;
    let mut left = JOINS_MAX;
    let mut fields = draw_fields(random, schema, shared, 1, &mut left);
    fields.retain(|(_, field)| match field {
        Field::Column(column) | Field::One { via: column, .. } => *column != via,
        _ => true,
    });
    if fields.is_empty() {
        fields.push(("x".to_owned(), Field::Column(schema.tables[shared].key[0])));
    }
    let rows = Rc::new(Shape { name: "first".to_owned(), root: shared, filter: None, fields });
    let mut fields = draw_fields(random, schema, parent, 0, &mut left);
    let children = Children { table: shared, via, through: None, filter: None };
    let content = Content::Fields(draw_fields(random, schema, shared, 0, &mut left));
    fields.push(("shared".to_owned(), Field::Many { children, order: Vec::new(), nested: false, content }));
    let parents = Rc::new(Shape { name: "second".to_owned(), root: parent, filter: None, fields });
    let changed = Rc::new(Shape::draw(random, schema, "first"));
    Some(vec![
        vec![Rc::clone(&rows), Rc::clone(&parents)],
        vec![changed, Rc::clone(&parents)],
        vec![rows, parents],
    ])
}

#[cfg(test)]
mod tests {
    use projectord::projection::compile::compile;
    use projectord::projection::definition::parse;

    use super::*;

    #[test]
    fn every_shape_that_is_drawn_is_a_projection_that_compiles() {
        let mut kinds = [0; 4];
        for seed in 0..500 {
            let mut random = Rng::with_seed(seed);
            let schema = Schema::draw(&mut random);
            let shape = Shape::draw(&mut random, &schema, "p");
            let text = shape.yaml(&schema);
            let parsed = parse("p.yaml", &text).unwrap_or_else(|found| panic!("{found:?}\n{text}"));
            let compiled = compile(&[parsed], &schema.catalog());
            compiled.unwrap_or_else(|found| panic!("seed {seed}: {found:?}\n{text}\n{schema:?}"));
            for (_, field) in &shape.fields {
                kinds[match field {
                    Field::Column(_) => 0,
                    Field::One { .. } => 1,
                    Field::Many { .. } => 2,
                    Field::Aggregate { .. } => 3,
                }] += 1;
            }
        }
        assert!(kinds.iter().all(|count| *count > 50), "{kinds:?}");
    }
}
