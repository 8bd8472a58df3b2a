//! A column's value from PostgreSQL's text form to JSON, and how values compare.
//!
//! The forms are those of `to_jsonb`, so that a query can be the oracle of a document, except for what
//! Elasticsearch could not index: NaN, the infinities, years before Christ or beyond 9999 are null (hazard
//! 37), and bytea is base64.

mod array;
mod bytes;
pub mod decimal;
pub mod order;
pub mod text;
pub mod time;

use crate::model::ColumnKind;

const NULL: &[u8] = b"null";

/// Appends a value as JSON. Whatever the text is, what is appended is one JSON value on one line; only a
/// `json` or `jsonb` value is taken at its word, because PostgreSQL has checked it.
pub fn write(kind: &ColumnKind, text: &[u8], out: &mut Vec<u8>) {
    match kind {
        ColumnKind::Bool => out.extend_from_slice(match text {
            b"t" | b"true" => b"true",
            b"f" | b"false" => b"false",
            _ => NULL,
        }),
        ColumnKind::Int | ColumnKind::Numeric | ColumnKind::Float4 | ColumnKind::Float8 => {
            out.extend_from_slice(if is_json_number(text) { text } else { NULL });
        }
        ColumnKind::Date | ColumnKind::Timestamp | ColumnKind::Timestamptz => time::write(text, out),
        ColumnKind::Json | ColumnKind::Jsonb => text::write_json(text, out),
        ColumnKind::Bytea => bytes::write(text, out),
        ColumnKind::Array(kind) => array::write(kind, text, out),
        ColumnKind::Text
        | ColumnKind::Bpchar
        | ColumnKind::Citext
        | ColumnKind::Time
        | ColumnKind::Timetz
        | ColumnKind::Interval
        | ColumnKind::Uuid
        | ColumnKind::Enum
        | ColumnKind::Other => text::write(text, out),
    }
}

/// `-`? digits without leading zeros, fraction, exponent: RFC 8259, section 6. NaN and the infinities are
/// none.
fn is_json_number(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let integer = digits(text);
    if integer == 0 || (integer > 1 && text[0] == b'0') {
        return false;
    }
    let mut rest = &text[integer..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let length = digits(fraction);
        if length == 0 {
            return false;
        }
        rest = &fraction[length..];
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = match exponent {
            [b'+' | b'-', exponent @ ..] => exponent,
            exponent => exponent,
        };
        return !exponent.is_empty() && digits(exponent) == exponent.len();
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_json_by_their_kind() {
        let cases = [
            (ColumnKind::Bool, "t", "true"),
            (ColumnKind::Bool, "f", "false"),
            (ColumnKind::Int, "-42", "-42"),
            (ColumnKind::Numeric, "12345678901234567890.1234567890", "12345678901234567890.1234567890"),
            (ColumnKind::Numeric, "NaN", "null"),
            (ColumnKind::Numeric, "-Infinity", "null"),
            (ColumnKind::Float8, "1e+20", "1e+20"),
            (ColumnKind::Float8, "1e-05", "1e-05"),
            (ColumnKind::Float4, "Infinity", "null"),
            (ColumnKind::Float4, "0.1", "0.1"),
            (ColumnKind::Text, "a\"b\\c\n\u{1}ä", "\"a\\\"b\\\\c\\n\\u0001ä\""),
            (ColumnKind::Bpchar, "ab  ", "\"ab  \""),
            (ColumnKind::Timestamptz, "2024-03-04 05:06:07.123+00", "\"2024-03-04T05:06:07.123+00:00\""),
            (ColumnKind::Interval, "1 day 02:03:04", "\"1 day 02:03:04\""),
            (ColumnKind::Jsonb, "{\"a\": 1.0}", "{\"a\":1.0}"),
            (ColumnKind::Json, "{\n \"a\" : 1 }", "{\"a\":1}"),
            (ColumnKind::Bytea, "\\xdead", "\"3q0=\""),
            (ColumnKind::Other, "[1,5)", "\"[1,5)\""),
        ];
        for (kind, text, expected) in cases {
            let mut out = Vec::new();
            write(&kind, text.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{kind:?} {text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn only_what_is_a_json_number_counts_as_one(text in "[-+0-9.eE]{0,12}") {
            let parsed = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
            proptest::prop_assert_eq!(is_json_number(text.as_bytes()), parsed);
        }
    }
}
