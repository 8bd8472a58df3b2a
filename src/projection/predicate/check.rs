//! Checks a condition against the columns of its table and makes literals comparable with them.

use super::syntax::{Expression, Value, Word};
use super::{Mistake, Operand, Operator, Predicate};
use crate::model::{Column, ColumnKind, Table};
use crate::projection::value::order::Order;

pub fn check(expression: &Expression, table: &Table) -> Result<Predicate, Mistake> {
    let all = |parts: &[Expression]| -> Result<Vec<Predicate>, Mistake> {
        parts.iter().map(|part| check(part, table)).collect()
    };
    Ok(match expression {
        Expression::And(parts) => Predicate::And(all(parts)?),
        Expression::Or(parts) => Predicate::Or(all(parts)?),
        Expression::Not(inner) => Predicate::Not(Box::new(check(inner, table)?)),
        Expression::Null(value) => match resolve(value, table)? {
            Resolved::Column(position, _) => Predicate::Null { position },
            Resolved::Literal => Predicate::Constant(Some(value.word == Word::Null)),
        },
        Expression::Value(value) => alone(value, table)?,
        Expression::Compare(left, operator, right) => compare(left, *operator, right, table)?,
        Expression::In(value, list) => member(value, list, table)?,
    })
}

enum Resolved<'c> {
    Column(usize, &'c Column),
    Literal,
}

fn resolve<'c>(value: &Value, table: &'c Table) -> Result<Resolved<'c>, Mistake> {
    let Word::Name(name) = &value.word else { return Ok(Resolved::Literal) };
    let Some((position, column)) = table.column(name) else {
        return Err(Mistake::unknown_column(value.offset, name, table));
    };
    if column.generated {
        let message = format!("`{name}` is generated: PostgreSQL does not send it with changes");
        let hint = "use the columns that it is generated from";
        return Err(Mistake::new(value.offset, "generated-column", message, hint));
    }
    Ok(Resolved::Column(position, column))
}

fn alone(value: &Value, table: &Table) -> Result<Predicate, Mistake> {
    match (&value.word, resolve(value, table)?) {
        (_, Resolved::Column(position, column)) if column.kind == ColumnKind::Bool => {
            Ok(Predicate::Is { position })
        }
        (Word::True, _) => Ok(Predicate::Constant(Some(true))),
        (Word::False, _) => Ok(Predicate::Constant(Some(false))),
        (Word::Null, _) => Ok(Predicate::Constant(None)),
        _ => {
            let message = "this is no condition by itself";
            let hint = "only a boolean column can stand alone";
            Err(Mistake::new(value.offset, "where-type", message, hint))
        }
    }
}

fn compare(left: &Value, operator: Operator, right: &Value, table: &Table) -> Result<Predicate, Mistake> {
    match (resolve(left, table)?, resolve(right, table)?) {
        (Resolved::Column(a, left_column), Resolved::Column(b, right_column)) => {
            let order = comparable(left_column, left.offset, operator)?;
            let other = comparable(right_column, right.offset, operator)?;
            if order != other || (order != Order::Decimal && left_column.kind != right_column.kind) {
                let message = format!(
                    "`{}` is {}, `{}` is {}: they do not compare",
                    left_column.name, left_column.type_name, right_column.name, right_column.type_name
                );
                return Err(Mistake::new(right.offset, "where-type", message, ""));
            }
            Ok(Predicate::Compare { left: Operand::Column(a), operator, right: Operand::Column(b), order })
        }
        (Resolved::Column(position, column), Resolved::Literal) => {
            against_literal(position, column, left.offset, operator, right)
        }
        (Resolved::Literal, Resolved::Column(position, column)) => {
            against_literal(position, column, right.offset, operator.mirrored(), left)
        }
        (Resolved::Literal, Resolved::Literal) => {
            let message = "a comparison needs a column";
            Err(Mistake::new(left.offset, "where-type", message, "column names stand without quotes"))
        }
    }
}

fn against_literal(
    position: usize,
    column: &Column,
    offset: usize,
    operator: Operator,
    value: &Value,
) -> Result<Predicate, Mistake> {
    let order = comparable(column, offset, operator)?;
    if value.word == Word::Null {
        let message = "a comparison with NULL is never true";
        return Err(Mistake::new(value.offset, "where-type", message, "write IS NULL or IS NOT NULL"));
    }
    let right = Operand::Literal(literal(value, column)?);
    Ok(Predicate::Compare { left: Operand::Column(position), operator, right, order })
}

fn member(value: &Value, list: &[Value], table: &Table) -> Result<Predicate, Mistake> {
    let Resolved::Column(position, column) = resolve(value, table)? else {
        let message = "IN needs a column before it";
        return Err(Mistake::new(value.offset, "where-type", message, ""));
    };
    let order = comparable(column, value.offset, Operator::Equal)?;
    let mut values = Vec::new();
    let mut null = false;
    for item in list {
        match item.word {
            Word::Null => null = true,
            Word::Name(_) => {
                let message = "the list of IN holds values, not columns";
                return Err(Mistake::new(item.offset, "where-type", message, "texts stand in single quotes"));
            }
            _ => values.push(literal(item, column)?),
        }
    }
    Ok(Predicate::In { position, values, null, order })
}

/// How a column compares, if the operator may be used with it.
fn comparable(column: &Column, offset: usize, operator: Operator) -> Result<Order, Mistake> {
    let Some(order) = Order::of(&column.kind).filter(|_| column.kind != ColumnKind::Bytea) else {
        let message = format!("`{}` is {}, which does not compare here", column.name, column.type_name);
        return Err(Mistake::new(
            offset,
            "where-type",
            message,
            "IS NULL and IS NOT NULL work with every type",
        ));
    };
    let equality = matches!(operator, Operator::Equal | Operator::NotEqual);
    let reason = match column.kind {
        ColumnKind::Text | ColumnKind::Bpchar => "the order of texts depends on the database's collation",
        ColumnKind::Enum => "the order of an enum is that of its declaration, which is not known here",
        _ => return Ok(order),
    };
    if equality {
        return Ok(order);
    }
    Err(Mistake::new(offset, "where-order", format!("`{}`: {reason}", column.name), "use =, != or IN"))
}

/// A literal in the form in which the column's values come.
fn literal(value: &Value, column: &Column) -> Result<Box<[u8]>, Mistake> {
    let wrong = |hint: &str| {
        let message = format!("this is not a value of `{}`, which is {}", column.name, column.type_name);
        Mistake::new(value.offset, "where-type", message, hint)
    };
    let text = match (&column.kind, &value.word) {
        (ColumnKind::Bool, Word::True) => "t".to_owned(),
        (ColumnKind::Bool, Word::False) => "f".to_owned(),
        (ColumnKind::Bool, _) => return Err(wrong("write true or false")),
        (
            ColumnKind::Int | ColumnKind::Numeric | ColumnKind::Float4 | ColumnKind::Float8,
            Word::Number(number),
        ) => number.clone(),
        (ColumnKind::Int | ColumnKind::Numeric | ColumnKind::Float4 | ColumnKind::Float8, _) => {
            return Err(wrong("write a number without quotes"));
        }
        (_, Word::Text(text)) => match column.kind {
            ColumnKind::Date => {
                date(text).ok_or_else(|| wrong("write 'YYYY-MM-DD', 'infinity' or '-infinity'"))?
            }
            ColumnKind::Timestamp => timestamp(text, false)
                .ok_or_else(|| wrong("write 'YYYY-MM-DD HH:MM:SS', without a time zone"))?,
            ColumnKind::Timestamptz => {
                timestamp(text, true).ok_or_else(|| wrong("write 'YYYY-MM-DD HH:MM:SS+00': in UTC"))?
            }
            ColumnKind::Time => time(text).ok_or_else(|| wrong("write 'HH:MM:SS'"))?,
            ColumnKind::Uuid => uuid(text).ok_or_else(|| wrong("write it with its four dashes"))?,
            _ => text.clone(),
        },
        _ => return Err(wrong("write it in single quotes")),
    };
    Ok(text.into_bytes().into_boxed_slice())
}

/// Whether the text has the form: `9` stands for a digit, everything else for itself.
fn has_form(text: &str, form: &str) -> bool {
    text.len() == form.len()
        && text.bytes().zip(form.bytes()).all(|(byte, form)| match form {
            b'9' => byte.is_ascii_digit(),
            other => byte == other,
        })
}

fn is_infinity(text: &str) -> bool {
    matches!(text, "infinity" | "-infinity")
}

fn in_range(text: &str, range: std::ops::RangeInclusive<u8>) -> bool {
    text.parse().is_ok_and(|number: u8| range.contains(&number))
}

fn date(text: &str) -> Option<String> {
    let plain =
        || has_form(text, "9999-99-99") && in_range(&text[5..7], 1..=12) && in_range(&text[8..], 1..=31);
    (is_infinity(text) || plain()).then(|| text.to_owned())
}

fn timestamp(text: &str, zoned: bool) -> Option<String> {
    if is_infinity(text) {
        return Some(text.to_owned());
    }
    let day = date(text.get(..10)?)?;
    let mut rest = &text[10..];
    if zoned {
        let cut = ["Z", "+00:00", "+00"].iter().find_map(|zone| rest.strip_suffix(zone));
        rest = cut.unwrap_or(rest);
    }
    let clock = match rest {
        "" => "00:00:00".to_owned(),
        rest => time(rest.strip_prefix([' ', 'T'])?)?,
    };
    Some(format!("{day} {clock}"))
}

/// As PostgreSQL writes it: with seconds, and without trailing zeros of the fraction.
fn time(text: &str) -> Option<String> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 6 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let clock = if has_form(clock, "99:99") { format!("{clock}:00") } else { clock.to_owned() };
    let valid = has_form(&clock, "99:99:99")
        && in_range(&clock[..2], 0..=24)
        && in_range(&clock[3..5], 0..=59)
        && in_range(&clock[6..], 0..=59);
    let fraction = fraction.trim_end_matches('0');
    valid.then(|| if fraction.is_empty() { clock } else { format!("{clock}.{fraction}") })
}

fn uuid(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let form = |(position, byte): (usize, u8)| match position {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    (text.len() == 36 && text.bytes().enumerate().all(form)).then_some(text)
}
