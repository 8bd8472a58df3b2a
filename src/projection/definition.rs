//! A projection file: what a person wrote, with the place of every word.
//!
//! It is parsed without a catalog: keys and the form of values are checked here, names of tables and
//! columns in [`super::compile`]. All mistakes of a file are reported at once, except that a file which is
//! not YAML has just that one.

pub mod section;
pub mod yaml;

use section::{Problems, Section};
use xxhash_rust::xxh3::Xxh3;
use yaml::{Place, Spot, Tree, Value};

use super::field::{self, Field};
use crate::model::Diagnostic;

/// A projection file longer than this is refused before it is read.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;
/// Objects inside objects, `fields` within `fields`.
pub const DEPTH_MAX: usize = 16;

/// One projection, as it was written.
#[derive(Clone, Debug)]
pub struct Definition {
    pub file: String,
    pub name: Spot<String>,
    /// `table` or `schema.table`: one document per row.
    pub root: Spot<String>,
    /// The alias that clients read.
    pub index: Spot<String>,
    /// Condition on the root row; where it is not true, there is no document.
    pub filter: Option<Text>,
    /// Index settings, as they are given to the sink; an object.
    pub settings: serde_json::Value,
    /// `dynamic` of the index mapping.
    pub dynamic: serde_json::Value,
    pub fields: Vec<Field>,
    fingerprint: u64,
}

/// A text within which places are needed: an expression.
#[derive(Clone, Debug)]
pub struct Text {
    pub place: Place,
    pub value: String,
    /// Whether it stands in the file letter by letter from `place` on.
    verbatim: bool,
}

const KEYS: &[&str] = &["projection", "root", "index", "where", "settings", "dynamic", "fields"];

/// Reads one projection file. `file` is its name for messages.
///
/// # Errors
/// All mistakes of its form, in the order of their places.
pub fn parse(file: &str, text: &str) -> Result<Definition, Vec<Diagnostic>> {
    let mut problems = Problems::new(file);
    let definition = read(file, text, &mut problems);
    problems.list.sort();
    match definition {
        Some(definition) if problems.list.is_empty() => Ok(definition),
        _ => Err(problems.list),
    }
}

fn read(file: &str, text: &str, problems: &mut Problems) -> Option<Definition> {
    if text.len() > FILE_BYTES_MAX {
        let message = format!("the file is longer than {FILE_BYTES_MAX} bytes");
        problems.add(Place::default(), "file-too-large", message, "split it into several projections");
        return None;
    }
    let tree = match yaml::parse(text) {
        Ok(tree) => tree,
        Err((place, code, message)) => {
            problems.add(place, code, message, "");
            return None;
        }
    };
    let Value::Map(entries) = &tree.value else {
        let message = format!("a projection file is a map, not {}", tree.value.describe());
        problems.add(tree.place, "wrong-value", message, "begin with `projection: NAME`");
        return None;
    };
    let section = Section::new(tree.place, entries, "a projection", KEYS, problems);
    let name = section.required("projection", "a projection", problems);
    let root = section.required("root", "a projection", problems);
    let index = section.required("index", "a projection", problems);
    let source = Source { text };
    let filter = source.expression(&section, "where", problems);
    let settings = match section.get("settings") {
        None => serde_json::Value::Object(serde_json::Map::new()),
        Some(Tree { value: map @ Value::Map(_), .. }) => map.to_json(),
        Some(other) => {
            let message = format!("`settings` must be a map, not {}", other.value.describe());
            problems.add(other.place, "wrong-value", message, "");
            serde_json::Value::Null
        }
    };
    let dynamic = dynamic(&section, problems);
    let fields = match section.get("fields") {
        Some(tree) => field::parse_fields(tree, &source, 0, problems),
        None => {
            problems.add(tree.place, "missing-key", "a projection needs `fields:`", "add `fields: [id, …]`");
            Vec::new()
        }
    };
    let mut hash = Xxh3::new();
    digest(&tree.value, &mut hash);
    Some(Definition {
        file: file.to_owned(),
        name: name?,
        root: root?,
        index: index?,
        filter,
        settings,
        dynamic,
        fields,
        fingerprint: hash.digest(),
    })
}

impl Definition {
    /// Equal for files that say the same: comments, layout and the order of keys do not count. Stable over
    /// versions of the program.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

/// The text of the file, to find expressions in.
#[derive(Clone, Copy, Debug)]
pub struct Source<'t> {
    text: &'t str,
}

impl Source<'_> {
    /// An expression under this key, with its exact place where that can be known.
    pub fn expression(&self, section: &Section<'_>, key: &str, problems: &mut Problems) -> Option<Text> {
        let spot = section.text(key, problems)?;
        let mut place = spot.place;
        let mut verbatim = false;
        if let Some(line) = self.text.lines().nth(place.line.saturating_sub(1)) {
            let rest: String = line.chars().skip(place.column.saturating_sub(1)).collect();
            if rest.starts_with(&spot.value) {
                verbatim = true;
            } else if rest.starts_with(['"', '\'']) && rest[1..].starts_with(&spot.value) {
                place.column += 1;
                verbatim = true;
            }
        }
        Some(Text { place, value: spot.value, verbatim })
    }
}

impl Text {
    /// The place of a byte offset of the text; that of the whole when the file holds it in another form.
    pub fn place_of(&self, offset: usize) -> Place {
        let before = self.value.get(..offset).unwrap_or_default();
        let column = if self.verbatim { before.chars().count() } else { 0 };
        Place { line: self.place.line, column: self.place.column + column }
    }
}

fn dynamic(section: &Section<'_>, problems: &mut Problems) -> serde_json::Value {
    match section.get("dynamic") {
        None => "strict".into(),
        Some(Tree { value: Value::Bool(dynamic), .. }) => (*dynamic).into(),
        Some(Tree { value: Value::Text(text), .. }) if ["strict", "runtime"].contains(&text.as_str()) => {
            text.as_str().into()
        }
        Some(other) => {
            let message = "`dynamic` must be strict, runtime, true or false";
            problems.add(other.place, "wrong-value", message, "leave it out for strict");
            serde_json::Value::Null
        }
    }
}

/// Hashes a tree: kinds and lengths go in too, so that different trees are different texts; maps by the
/// order of their keys.
fn digest(value: &Value, hash: &mut Xxh3) {
    match value {
        Value::Null => hash.update(b"n"),
        Value::Bool(bool) => hash.update(if *bool { b"t" } else { b"f" }),
        Value::Number(number) => digest_text(b"d", &number.to_string(), hash),
        Value::Text(text) => digest_text(b"s", text, hash),
        Value::List(items) => {
            digest_text(b"l", &items.len().to_string(), hash);
            items.iter().for_each(|item| digest(&item.value, hash));
        }
        Value::Map(entries) => {
            digest_text(b"m", &entries.len().to_string(), hash);
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_by(|(a, _), (b, _)| a.value.cmp(&b.value));
            for (key, item) in entries {
                digest_text(b"k", &key.value, hash);
                digest(&item.value, hash);
            }
        }
    }
}

fn digest_text(kind: &[u8], text: &str, hash: &mut Xxh3) {
    hash.update(kind);
    hash.update(&(text.len() as u64).to_le_bytes());
    hash.update(text.as_bytes());
}

#[cfg(test)]
mod tests;
