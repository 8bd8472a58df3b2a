//! Document ids: an injective text of the root row's key (rule 27).

use crate::model::{Key, KeyClass};
use crate::projection::plan::Plan;

impl Plan {
    /// The document id of a root key. Different keys have different ids:
    ///
    /// - One column: its text. An empty text, which Elasticsearch refuses, and one that begins with `\` get a
    ///   `\` in front.
    /// - Several columns: their texts joined with `-`, after `\` became `\\` and `-` became `\-`.
    /// - A text that is not UTF-8 (a SQL_ASCII database) becomes `\x` and its bytes in hex, which the
    ///   forms above never give.
    ///
    /// It may be longer than the 512 bytes that Elasticsearch takes.
    pub fn document_id(&self, root_key: &[u8]) -> String {
        document_id(&self.shape.key_classes, root_key)
    }

    /// The root key that [`Plan::document_id`] makes this id of; nothing when it makes it of none.
    pub fn document_key(&self, id: &str) -> Option<Key> {
        document_key(&self.shape.key_classes, id)
    }
}

fn document_key(classes: &[KeyClass], id: &str) -> Option<Key> {
    let mut columns = vec![Vec::new()];
    if classes.len() == 1 {
        columns[0] = match id.strip_prefix("\\x") {
            Some(hex) => from_hex(hex)?,
            None => id.strip_prefix('\\').unwrap_or(id).as_bytes().to_vec(),
        };
    } else {
        let mut rest = id.as_bytes();
        while let Some((byte, behind)) = rest.split_first() {
            rest = behind;
            match byte {
                b'-' => columns.push(Vec::new()),
                b'\\' => {
                    let (escaped, behind) = rest.split_first()?;
                    rest = behind;
                    match escaped {
                        // A backslash of the text is doubled, so this one begins a column in hex.
                        b'x' => {
                            let length = rest.iter().position(|byte| *byte == b'-').unwrap_or(rest.len());
                            let (hex, behind) = rest.split_at(length);
                            rest = behind;
                            columns.last_mut()?.extend(from_hex(std::str::from_utf8(hex).ok()?)?);
                        }
                        escaped => columns.last_mut()?.push(*escaped),
                    }
                }
                byte => columns.last_mut()?.push(*byte),
            }
        }
    }
    // A minus sign of a number is escaped like any other, so the columns are right; their values may not be.
    if columns.len() != classes.len() {
        return None;
    }
    let mut key = Key::new();
    for (column, class) in columns.iter().zip(classes) {
        class.encode(column, &mut key).ok()?;
    }
    (document_id(classes, &key) == id).then_some(key)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let digit = |digit: u8| char::from(digit).to_digit(16);
    pairs.iter().map(|[high, low]| Some((digit(*high)? << 4 | digit(*low)?) as u8)).collect()
}

fn document_id(classes: &[KeyClass], root_key: &[u8]) -> String {
    let mut id = String::with_capacity(root_key.len() + 8);
    let mut rest = root_key;
    for (position, class) in classes.iter().enumerate() {
        if position > 0 {
            id.push('-');
        }
        let number;
        let text: &[u8] = match class {
            KeyClass::Int => {
                let Some((head, tail)) = rest.split_first_chunk::<8>() else { break };
                rest = tail;
                number = ((u64::from_be_bytes(*head) ^ (1 << 63)) as i64).to_string();
                number.as_bytes()
            }
            KeyClass::Numeric | KeyClass::Bpchar | KeyClass::Text => {
                let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
                let text = &rest[..end];
                rest = rest.get(end + 1..).unwrap_or_default();
                text
            }
        };
        match std::str::from_utf8(text) {
            Ok(text) if classes.len() == 1 => {
                if text.is_empty() || text.starts_with('\\') {
                    id.push('\\');
                }
                id.push_str(text);
            }
            Ok(text) => {
                for char in text.chars() {
                    if matches!(char, '\\' | '-') {
                        id.push('\\');
                    }
                    id.push(char);
                }
            }
            Err(_) => {
                id.push_str("\\x");
                text.iter().for_each(|byte| id.push_str(&format!("{byte:02x}")));
            }
        }
    }
    id
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(classes: &[KeyClass], columns: &[&[u8]]) -> String {
        let mut key = Vec::new();
        for (class, column) in classes.iter().zip(columns) {
            class.encode(column, &mut key).unwrap();
        }
        document_id(classes, &key)
    }

    #[test]
    fn ids_are_the_text_of_the_key() {
        let text = KeyClass::Text;
        type Case<'a> = (&'a [KeyClass], &'a [&'a [u8]], &'a str);
        let cases: [Case<'_>; 9] = [
            (&[KeyClass::Int], &[b"-42"], "-42"),
            (&[text], &[b"a-b"], "a-b"),
            (&[text], &[b""], "\\"),
            (&[text], &[b"\\x"], "\\\\x"),
            (&[text], &[b"\xFF"], "\\xff"),
            (&[KeyClass::Int, text], &[b"7", b"a-b"], "7-a\\-b"),
            (&[text, text], &[b"a-", b"b"], "a\\--b"),
            (&[text, text], &[b"a", b"-b"], "a-\\-b"),
            (&[text, text], &[b"", b""], "-"),
        ];
        for (classes, columns, expected) in cases {
            assert_eq!(id(classes, columns), expected);
        }
    }

    #[test]
    fn ids_that_are_no_utf_8_lead_back_to_their_keys_too() {
        let text = KeyClass::Text;
        type Case<'a> = (&'a [KeyClass], &'a [&'a [u8]]);
        let cases: [Case<'_>; 4] = [
            (&[text], &[b"\xFF"]),
            (&[text, text], &[b"a\xFF", b"b"]),
            (&[text, text], &[b"-", b"\xFE-"]),
            (&[KeyClass::Int, text], &[b"-7", b"\xFF\\x"]),
        ];
        for (classes, columns) in cases {
            let id = id(classes, columns);
            let key = document_key(classes, &id).unwrap();
            assert_eq!(document_id(classes, &key), id);
        }
        for id in ["\\x", "\\xf", "\\xzz", "\\x61"] {
            assert_eq!(document_key(&[text], id), None, "{id} is the id of no key");
        }
    }

    proptest! {
        #[test]
        fn different_keys_have_different_ids(
            a in proptest::collection::vec(proptest::sample::select(&b"-\\xf\xFFa"[..]), 0..6),
            b in proptest::collection::vec(proptest::sample::select(&b"-\\xf\xFFa"[..]), 0..6),
            c in proptest::collection::vec(proptest::sample::select(&b"-\\xf\xFFa"[..]), 0..6),
            d in proptest::collection::vec(proptest::sample::select(&b"-\\xf\xFFa"[..]), 0..6),
        ) {
            let pair = [KeyClass::Text, KeyClass::Text];
            prop_assert_eq!((&a, &b) == (&c, &d), id(&pair, &[&a, &b]) == id(&pair, &[&c, &d]));
            prop_assert_eq!(a == c, id(&pair[..1], &[&a]) == id(&pair[..1], &[&c]));
        }
    }
}
