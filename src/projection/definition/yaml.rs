//! YAML as a tree in which every key and every value knows its place.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Error, Spanned};

/// Where something stands in a file, counted from 1; zeros mean the file as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

/// Something with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot<T> {
    pub place: Place,
    pub value: T,
}

/// One value with its place.
pub type Tree = Spot<Value>;

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Tree>),
    Map(Vec<(Spot<String>, Tree)>),
}

/// Maps and lists within one another. Reading takes some of the stack for each level, in a debug build
/// some 30 KB.
const DEPTH_MAX: usize = 48;

/// Reads one YAML document.
///
/// # Errors
/// At the first thing that is not YAML, or that passes the parser's limits: its place, a short code and
/// what is wrong.
pub fn parse(text: &str) -> Result<Tree, (Place, &'static str, String)> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: DEPTH_MAX },
        // `y`, `n`, `on` are names of columns, not truths.
        strict_booleans: true,
    };
    serde_saphyr::from_str_with_options::<Spanned<Value>>(text, options).map(spot).map_err(|error| {
        let error = error.without_snippet();
        let place = error.location().map(|location| Place {
            line: usize::try_from(location.line()).unwrap_or(0),
            column: usize::try_from(location.column()).unwrap_or(0),
        });
        let code =
            if matches!(error, Error::DuplicateMappingKey { .. }) { "duplicate-key" } else { "yaml-syntax" };
        let message = error.to_string();
        let message = message.lines().next().unwrap_or_default().to_owned();
        (place.unwrap_or_default(), code, message)
    })
}

impl Value {
    /// The same without places.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Value::Null => serde_json::Value::Null,
            Value::Bool(bool) => (*bool).into(),
            Value::Number(number) => number.clone().into(),
            Value::Text(text) => text.clone().into(),
            Value::List(items) => items.iter().map(|item| item.value.to_json()).collect(),
            Value::Map(entries) => serde_json::Value::Object(
                entries.iter().map(|(key, item)| (key.value.clone(), item.value.to_json())).collect(),
            ),
        }
    }

    /// What it is, for messages.
    pub fn describe(&self) -> &'static str {
        match self {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

fn spot<T>(spanned: Spanned<T>) -> Spot<T> {
    let place = Place {
        line: usize::try_from(spanned.referenced.line()).unwrap_or(0),
        column: usize::try_from(spanned.referenced.column()).unwrap_or(0),
    };
    Spot { place, value: spanned.value }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        let number = serde_json::Number::from_f64(value);
        number.map(Value::Number).ok_or_else(|| E::custom("a number that JSON cannot hold"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Value>>()? {
            list.push(spot(item));
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map: Vec<(Spot<String>, Tree)> = Vec::new();
        while let Some(key) = entries.next_key::<Spanned<String>>()? {
            let value = entries.next_value::<Spanned<Value>>()?;
            let key = spot(key);
            if map.iter().any(|(other, _)| other.value == key.value) {
                return Err(A::Error::custom(format!("duplicate mapping key: {}", key.value)));
            }
            map.push((key, spot(value)));
        }
        Ok(Value::Map(map))
    }
}
