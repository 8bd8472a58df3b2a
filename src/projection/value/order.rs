//! How texts of a column compare: for orders, extremes and conditions.

use std::cmp::Ordering;

use super::{decimal, time};
use crate::model::{ColumnKind, KeyClass};

/// The order of a column's values, taken from their texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Integers and numerics, exactly.
    Decimal,
    Float,
    /// By bytes, as the collation "C"; booleans, times, uuids and bytea order so by their texts too, enums
    /// by their labels.
    Text,
    /// By bytes without trailing blanks.
    Bpchar,
    /// Dates and timestamps, infinities and years before Christ among them.
    Temporal,
}

impl Order {
    /// Nothing for kinds whose order is not that of their text in any of these ways.
    pub fn of(kind: &ColumnKind) -> Option<Order> {
        match kind {
            ColumnKind::Int | ColumnKind::Numeric => Some(Order::Decimal),
            ColumnKind::Float4 | ColumnKind::Float8 => Some(Order::Float),
            ColumnKind::Bool
            | ColumnKind::Text
            | ColumnKind::Time
            | ColumnKind::Uuid
            | ColumnKind::Bytea
            | ColumnKind::Enum => Some(Order::Text),
            ColumnKind::Bpchar => Some(Order::Bpchar),
            ColumnKind::Date | ColumnKind::Timestamp | ColumnKind::Timestamptz => Some(Order::Temporal),
            ColumnKind::Citext
            | ColumnKind::Timetz
            | ColumnKind::Interval
            | ColumnKind::Json
            | ColumnKind::Jsonb
            | ColumnKind::Array(_)
            | ColumnKind::Other => None,
        }
    }

    /// An order in which different keys differ.
    pub fn of_key(class: KeyClass) -> Order {
        match class {
            KeyClass::Int | KeyClass::Numeric => Order::Decimal,
            KeyClass::Bpchar => Order::Bpchar,
            KeyClass::Text => Order::Text,
        }
    }

    pub fn compare(self, a: &[u8], b: &[u8]) -> Ordering {
        match self {
            Order::Decimal => decimal::compare(a, b),
            Order::Float => compare_floats(float(a), float(b)),
            Order::Text => a.cmp(b),
            Order::Bpchar => trim(a).cmp(trim(b)),
            Order::Temporal => time::compare(a, b),
        }
    }
}

/// A float's text as a number; NaN for what is none.
pub fn float(text: &[u8]) -> f64 {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
}

/// As PostgreSQL: NaN equals itself and is the largest; zeros are equal.
pub fn compare_floats(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

fn trim(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_order_as_postgresql_orders_them() {
        let cases: [(Order, &[&str]); 5] = [
            (
                Order::Decimal,
                &[
                    "-Infinity",
                    "-10.5",
                    "-10",
                    "-9.99",
                    "-0.1",
                    "0",
                    "0.05",
                    "0.5",
                    "2",
                    "10",
                    "Infinity",
                    "NaN",
                ],
            ),
            (Order::Float, &["-Infinity", "-1e+20", "-0.5", "0", "1e-05", "3", "1e+20", "Infinity", "NaN"]),
            (Order::Text, &["", "A", "B", "a", "ab", "ä"]),
            (Order::Bpchar, &["a ", "a!", "b"]),
            (
                Order::Temporal,
                &[
                    "-infinity",
                    "0044-03-15 BC",
                    "0001-01-01 BC",
                    "0001-01-01",
                    "2024-03-04 05:06:07+00",
                    "2024-03-04 05:06:07.1+00",
                    "2024-03-04 05:06:07.12+00",
                    "2024-03-04 05:06:08+00",
                    "10000-01-01 00:00:00+00",
                    "infinity",
                ],
            ),
        ];
        for (order, values) in cases {
            for (i, a) in values.iter().enumerate() {
                for (j, b) in values.iter().enumerate() {
                    assert_eq!(order.compare(a.as_bytes(), b.as_bytes()), i.cmp(&j), "{order:?} {a} {b}");
                }
            }
        }
        for (a, b) in [("5", "5.00"), ("-0", "0.000"), ("0.10", "0.1"), ("-3.0", "-3")] {
            assert_eq!(Order::Decimal.compare(a.as_bytes(), b.as_bytes()), Ordering::Equal, "{a} {b}");
        }
        assert_eq!(Order::Bpchar.compare(b"a  ", b"a"), Ordering::Equal);
    }
}
