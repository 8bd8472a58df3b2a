//! Conditions on a row: a small part of SQL, with SQL's logic of three values.
//!
//! `column`, `'text'`, numbers, `true`, `false`, `null`; `=`, `!=`, `<>`, `<`, `<=`, `>`, `>=`, `IN (…)`,
//! `IS [NOT] NULL`, `NOT`, `AND`, `OR`, parentheses. Types are checked when it is compiled, against the
//! columns, with the place in the text. No functions, no arithmetic, nothing that depends on a collation,
//! a time zone or the clock.

mod check;
mod syntax;

use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::definition::Text;
use super::definition::section::{Problems, did_you_mean};
use super::value::order::Order;
use crate::model::{Cell, Table};

/// A compiled condition.
#[derive(Clone, Debug, PartialEq)]
pub enum Predicate {
    /// Nothing: NULL, SQL's unknown.
    Constant(Option<bool>),
    /// A boolean column by itself.
    Is {
        position: usize,
    },
    Null {
        position: usize,
    },
    Compare {
        left: Operand,
        operator: Operator,
        right: Operand,
        order: Order,
    },
    /// A NULL among the values is kept apart, because it makes a miss unknown.
    In {
        position: usize,
        values: Vec<Box<[u8]>>,
        null: bool,
        order: Order,
    },
    Not(Box<Predicate>),
    And(Vec<Predicate>),
    Or(Vec<Predicate>),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    Column(usize),
    Literal(Box<[u8]>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Reads a condition on the rows of a table and checks it; mistakes go to `problems`.
pub fn compile(text: &Text, table: &Table, problems: &mut Problems) -> Option<Predicate> {
    let result = syntax::parse(&text.value).and_then(|expression| check::check(&expression, table));
    result
        .map_err(|mistake| {
            problems.add(text.place_of(mistake.offset), mistake.code, mistake.message, mistake.hint);
        })
        .ok()
}

/// What is wrong with a condition, and at which byte.
#[derive(Debug)]
struct Mistake {
    offset: usize,
    code: &'static str,
    message: String,
    hint: String,
}

impl Mistake {
    fn new(
        offset: usize,
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Mistake {
        Mistake { offset, code, message: message.into(), hint: hint.into() }
    }

    fn unknown_column(offset: usize, name: &str, table: &Table) -> Mistake {
        let hint = did_you_mean(name, table.columns.iter().map(|column| column.name.as_str()));
        let message = format!("{} has no column `{name}`", table.qualified_name());
        Mistake::new(offset, "unknown-column", message, hint)
    }
}

impl Predicate {
    pub fn both(first: Predicate, second: Predicate) -> Predicate {
        Predicate::And(vec![first, second])
    }

    /// Whether it is true, not false nor unknown. The cells are those of the row, from its first column on;
    /// a value that is not known counts as NULL, so look for those first.
    pub fn is_true(&self, cells: &[Cell<'_>]) -> bool {
        self.evaluate(cells) == Some(true)
    }

    fn evaluate(&self, cells: &[Cell<'_>]) -> Option<bool> {
        let text = |position: usize| cells.get(position).and_then(|cell| cell.text());
        match self {
            Predicate::Constant(value) => *value,
            Predicate::Is { position } => text(*position).map(|text| text == b"t"),
            Predicate::Null { position } => Some(text(*position).is_none()),
            Predicate::Compare { left, operator, right, order } => {
                let (left, right) = (left.text(cells)?, right.text(cells)?);
                Some(operator.holds(order.compare(left, right)))
            }
            Predicate::In { position, values, null, order } => {
                let text = text(*position)?;
                let found = values.iter().any(|value| order.compare(text, value).is_eq());
                (found || !null).then_some(found)
            }
            Predicate::Not(inner) => inner.evaluate(cells).map(|value| !value),
            Predicate::And(parts) => junction(parts, cells, false),
            Predicate::Or(parts) => junction(parts, cells, true),
        }
    }

    /// Adds the columns that it looks at.
    pub fn columns(&self, columns: &mut BTreeSet<usize>) {
        match self {
            Predicate::Constant(_) => {}
            Predicate::Is { position } | Predicate::Null { position } | Predicate::In { position, .. } => {
                columns.insert(*position);
            }
            Predicate::Compare { left, right, .. } => {
                for operand in [left, right] {
                    if let Operand::Column(position) = operand {
                        columns.insert(*position);
                    }
                }
            }
            Predicate::Not(inner) => inner.columns(columns),
            Predicate::And(parts) | Predicate::Or(parts) => {
                parts.iter().for_each(|part| part.columns(columns));
            }
        }
    }
}

/// AND is decided by a false part, OR by a true one; otherwise one unknown part makes it unknown.
fn junction(parts: &[Predicate], cells: &[Cell<'_>], decisive: bool) -> Option<bool> {
    let mut result = Some(!decisive);
    for part in parts {
        match part.evaluate(cells) {
            Some(value) if value == decisive => return Some(decisive),
            Some(_) => {}
            None => result = None,
        }
    }
    result
}

impl Operand {
    fn text<'a>(&'a self, cells: &[Cell<'a>]) -> Option<&'a [u8]> {
        match self {
            Operand::Column(position) => cells.get(*position)?.text(),
            Operand::Literal(text) => Some(text),
        }
    }
}

impl Operator {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Operator::Equal => order.is_eq(),
            Operator::NotEqual => order.is_ne(),
            Operator::Less => order.is_lt(),
            Operator::LessOrEqual => order.is_le(),
            Operator::Greater => order.is_gt(),
            Operator::GreaterOrEqual => order.is_ge(),
        }
    }

    /// The same with its sides exchanged.
    fn mirrored(self) -> Operator {
        match self {
            Operator::Less => Operator::Greater,
            Operator::LessOrEqual => Operator::GreaterOrEqual,
            Operator::Greater => Operator::Less,
            Operator::GreaterOrEqual => Operator::LessOrEqual,
            same => same,
        }
    }
}

#[cfg(test)]
mod tests;
