//! A row's identity as bytes.
//!
//! A key is the columns of an identity, one after the other, each in a form that is injective and free
//! of prefixes, so that keys can be compared, joined and scanned by prefix as plain bytes:
//!
//! - [`KeyClass::Int`]: eight bytes, big-endian, sign flipped: sorts as the numbers do.
//! - [`KeyClass::Numeric`], [`KeyClass::Text`], [`KeyClass::Bpchar`]: the normalised text and a zero byte,
//!   which no PostgreSQL text can contain.

use super::catalog::ColumnKind;

/// An encoded key. Never shortened: the store shortens long ones for its own use (rule 30).
pub type Key = Vec<u8>;

/// How a key column is made comparable. Both sides of a join must have the same class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyClass {
    Int,
    /// Trailing zeros of the fraction do not count: 5.00 equals 5.
    Numeric,
    /// Trailing blanks do not count.
    Bpchar,
    Text,
}

/// A key column's value that cannot be part of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a key column holds a value that is not of its declared type")]
pub struct InvalidKey;

impl KeyClass {
    /// The class of a column; nothing for kinds whose equality is not the equality of their text
    /// (citext, floats, json), which cannot be keys or joined by.
    pub fn of(kind: &ColumnKind) -> Option<KeyClass> {
        match kind {
            ColumnKind::Int => Some(KeyClass::Int),
            ColumnKind::Numeric => Some(KeyClass::Numeric),
            ColumnKind::Bpchar => Some(KeyClass::Bpchar),
            ColumnKind::Bool
            | ColumnKind::Text
            | ColumnKind::Date
            | ColumnKind::Timestamp
            | ColumnKind::Timestamptz
            | ColumnKind::Time
            | ColumnKind::Uuid
            | ColumnKind::Bytea
            | ColumnKind::Enum => Some(KeyClass::Text),
            ColumnKind::Float4
            | ColumnKind::Float8
            | ColumnKind::Citext
            | ColumnKind::Timetz
            | ColumnKind::Interval
            | ColumnKind::Json
            | ColumnKind::Jsonb
            | ColumnKind::Array(_)
            | ColumnKind::Other => None,
        }
    }

    /// Appends one column's value to a key.
    ///
    /// # Errors
    /// When an `Int` is not a decimal number within 64 bits, or a text holds a zero byte.
    pub fn encode(self, text: &[u8], key: &mut Key) -> Result<(), InvalidKey> {
        match self {
            KeyClass::Int => {
                let number = parse_int(text).ok_or(InvalidKey)?;
                key.extend_from_slice(&((number as u64) ^ (1 << 63)).to_be_bytes());
                return Ok(());
            }
            KeyClass::Numeric => key.extend_from_slice(trim_fraction(text)),
            KeyClass::Bpchar => key.extend_from_slice(trim_blanks(text)),
            KeyClass::Text => key.extend_from_slice(text),
        }
        if text.contains(&0) {
            return Err(InvalidKey);
        }
        key.push(0);
        Ok(())
    }

    /// Splits the first column off a key: its normalised text and the rest.
    ///
    /// # Errors
    /// When the bytes were not made by [`KeyClass::encode`] with the same classes.
    pub fn decode(self, key: &[u8]) -> Result<(String, &[u8]), InvalidKey> {
        match self {
            KeyClass::Int => {
                let (head, rest) = key.split_first_chunk::<8>().ok_or(InvalidKey)?;
                let number = (u64::from_be_bytes(*head) ^ (1 << 63)) as i64;
                Ok((number.to_string(), rest))
            }
            KeyClass::Numeric | KeyClass::Bpchar | KeyClass::Text => {
                let end = key.iter().position(|byte| *byte == 0).ok_or(InvalidKey)?;
                let text = String::from_utf8_lossy(&key[..end]).into_owned();
                Ok((text, &key[end + 1..]))
            }
        }
    }
}

/// Decimal digits with an optional minus sign, within 64 bits; faster than going through `str`.
fn parse_int(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        _ => (false, text),
    };
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    let mut magnitude: u64 = 0;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        magnitude = magnitude * 10 + u64::from(digit); // 19 digits stay below 2^64
    }
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// `ab  ` to `ab`: only blanks, no other white space, are padding.
fn trim_blanks(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
    &text[..end]
}

/// `5.00` to `5`, `5.10` to `5.1`; numbers without a fraction and NaN stay.
fn trim_fraction(text: &[u8]) -> &[u8] {
    if !text.contains(&b'.') {
        return text;
    }
    let mut end = text.len();
    while end > 0 && text[end - 1] == b'0' {
        end -= 1;
    }
    if end > 0 && text[end - 1] == b'.' {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(class: KeyClass, text: &str) -> Key {
        let mut key = Key::new();
        class.encode(text.as_bytes(), &mut key).unwrap();
        key
    }

    #[test]
    fn integers_sort_as_numbers_and_come_back() {
        let numbers = ["-9223372036854775808", "-10", "-1", "0", "7", "10", "9223372036854775807"];
        let keys: Vec<_> = numbers.iter().map(|n| encoded(KeyClass::Int, n)).collect();
        assert!(keys.is_sorted());
        for (number, key) in numbers.iter().zip(&keys) {
            assert_eq!(KeyClass::Int.decode(key).unwrap(), (number.to_string(), &[][..]));
        }
    }

    #[test]
    fn equal_values_have_equal_keys() {
        for (a, b) in [("5.00", "5"), ("5.10", "5.1"), ("-0.50", "-0.5"), ("100", "100")] {
            assert_eq!(encoded(KeyClass::Numeric, a), encoded(KeyClass::Numeric, b));
        }
        assert_ne!(encoded(KeyClass::Numeric, "100"), encoded(KeyClass::Numeric, "1"));
        assert_eq!(encoded(KeyClass::Bpchar, "ab   "), encoded(KeyClass::Bpchar, "ab"));
    }

    #[test]
    fn composite_keys_are_injective() {
        let key = |a: &str, b: &str| {
            let mut key = encoded(KeyClass::Text, a);
            KeyClass::Text.encode(b.as_bytes(), &mut key).unwrap();
            key
        };
        assert_ne!(key("a", "bc"), key("ab", "c"));
        assert_ne!(key("", "a"), key("a", ""));
    }

    #[test]
    fn values_that_are_no_keys_are_refused() {
        for text in ["", "-", "1.5", "9223372036854775808", "12a", "+1"] {
            assert_eq!(KeyClass::Int.encode(text.as_bytes(), &mut Key::new()), Err(InvalidKey), "{text}");
        }
        assert_eq!(KeyClass::Text.encode(b"a\0b", &mut Key::new()), Err(InvalidKey));
    }
}
