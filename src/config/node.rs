//! A YAML file as a tree in which every key and value knows its place.
//!
//! Deserializing straight into structs would stop at the first mistake; a file is judged whole, so it is
//! read into this tree first and walked by [`super::section`]. Scalars keep the text that stands in the
//! file: a password `0123` is not the number 83, and `on` is not yet a boolean.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use crate::model::Diagnostic;

/// Line and column, counted from 1; zero when unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

/// One value of the file. Not `Debug`: it may hold a secret.
pub struct Node {
    pub place: Place,
    pub value: Value,
}

pub enum Value {
    Null,
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping.
pub struct Key {
    pub name: String,
    pub place: Place,
}

impl Value {
    /// As messages name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "nothing",
            Value::Scalar(_) => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a section",
        }
    }
}

/// Sections and lists within one another. Reading takes some of the stack for each level.
const DEPTH_MAX: usize = 32;

/// Parses one YAML document; an empty file is [`Value::Null`].
pub fn parse(file: &str, source: &str) -> Result<Node, Diagnostic> {
    let options = serde_saphyr::options! {
        with_snippet: false,
        budget: serde_saphyr::budget! { max_depth: DEPTH_MAX },
    };
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(source, options) {
        Ok(raw) => Ok(finish(raw, source)),
        Err(error) => {
            let place = error.location().map(|at| at_place(&at)).unwrap_or_default();
            let text = error.render();
            let message = text.lines().next().unwrap_or("not a YAML document").trim();
            // The library may repeat the place that we print ourselves.
            let message = message.split(" at line ").next().unwrap_or(message);
            Err(Diagnostic {
                file: file.to_owned(),
                line: place.line,
                column: place.column,
                code: "yaml-syntax",
                message: message.trim_start_matches("error: ").to_owned(),
                hint: String::new(),
            })
        }
    }
}

fn at_place(location: &serde_saphyr::Location) -> Place {
    Place { line: location.line() as usize, column: location.column() as usize }
}

/// As serde hands it over, before scalars get their own text back.
enum Raw {
    Null,
    Text(String),
    /// A plain scalar that YAML takes for a number or a boolean, in serde's words.
    Typed(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

fn finish(raw: Spanned<Raw>, source: &str) -> Node {
    let place = at_place(&raw.referenced);
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Text(text) => Value::Scalar(text),
        Raw::Typed(text) => Value::Scalar(written(&raw.defined, source).unwrap_or(text)),
        Raw::List(items) => Value::List(items.into_iter().map(|item| finish(item, source)).collect()),
        Raw::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| {
                    let key = Key { place: at_place(&key.referenced), name: key.value };
                    (key, finish(value, source))
                })
                .collect(),
        ),
    };
    Node { place, value }
}

/// The characters that stand in the file for a plain scalar.
fn written(location: &serde_saphyr::Location, source: &str) -> Option<String> {
    let span = location.span();
    let start = usize::try_from(span.byte_offset()?).ok()?;
    let end = start.checked_add(usize::try_from(span.byte_len()?).ok()?)?;
    let text = source.get(start..end)?.trim();
    // A tag such as `!!int` belongs to the span but not to the value.
    (!text.is_empty() && !text.starts_with('!')).then(|| text.to_owned())
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Raw, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element::<Spanned<Raw>>()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry::<Spanned<String>, Spanned<Raw>>()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(source: &str) -> (String, usize, usize) {
        let node = parse("f", source).map_err(|d| d.to_string()).unwrap();
        let Value::Map(entries) = node.value else { panic!("{source}") };
        let (_, node) = entries.into_iter().next().unwrap();
        let Value::Scalar(text) = node.value else { panic!("{source}: {}", node.value.kind()) };
        (text, node.place.line, node.place.column)
    }

    #[test]
    fn scalars_keep_the_text_that_stands_in_the_file() {
        for (source, expected) in [
            ("a: 0123", "0123"),
            ("a: 1e3", "1e3"),
            ("a: yes", "yes"),
            ("a: 12345678901234567890123456789", "12345678901234567890123456789"),
            ("a: '12'", "12"),
            ("a: \"null\"", "null"),
            ("a: 0x1F # comment", "0x1F"),
            ("a: ${X:-5}", "${X:-5}"),
            ("a: é 1", "é 1"),
        ] {
            assert_eq!(scalar(source), (expected.to_owned(), 1, 4), "{source}");
        }
    }

    #[test]
    fn places_count_characters_behind_other_characters() {
        assert_eq!(scalar("# é\né:   true"), ("true".to_owned(), 2, 6));
    }

    #[test]
    fn nesting_beyond_the_limit_is_a_mistake() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(parse("f", &nested(DEPTH_MAX)).is_ok());
        assert_eq!(parse("f", &nested(DEPTH_MAX + 1)).err().unwrap().code, "yaml-syntax");
        assert_eq!(parse("f", &nested(100_000)).err().unwrap().code, "yaml-syntax");
    }

    #[test]
    fn broken_yaml_is_reported_with_its_place() {
        for (source, line, column) in [("a: [1, 2\nb: 3\n", 2, 2), ("a: 1\na: 2\n", 2, 1)] {
            let problem = parse("f", source).err().unwrap();
            assert_eq!((problem.line, problem.column), (line, column), "{problem}");
            assert_eq!(problem.code, "yaml-syntax");
            assert!(!problem.message.contains('\n'));
        }
    }
}
