//! Reads the maps of a definition: every wrong key and value becomes a diagnostic, and reading goes on.

use super::yaml::{Place, Spot, Tree, Value};
use crate::model::Diagnostic;

/// The mistakes found so far in one file.
#[derive(Debug)]
pub struct Problems {
    file: String,
    pub list: Vec<Diagnostic>,
}

impl Problems {
    pub fn new(file: &str) -> Problems {
        Problems { file: file.to_owned(), list: Vec::new() }
    }

    /// Notes a mistake. An empty hint means that the message says it all.
    pub fn add(
        &mut self,
        place: Place,
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.list.push(Diagnostic {
            file: self.file.clone(),
            line: place.line,
            column: place.column,
            code,
            message: message.into(),
            hint: hint.into(),
        });
    }
}

/// A map whose keys are known beforehand.
#[derive(Clone, Copy, Debug)]
pub struct Section<'t> {
    pub place: Place,
    entries: &'t [(Spot<String>, Tree)],
}

impl<'t> Section<'t> {
    /// Takes a map and reports every key that is not `allowed`. `what` names the map in messages.
    pub fn new(
        place: Place,
        entries: &'t [(Spot<String>, Tree)],
        what: &str,
        allowed: &[&str],
        problems: &mut Problems,
    ) -> Section<'t> {
        for (key, _) in entries {
            if !allowed.contains(&key.value.as_str()) {
                let hint = did_you_mean(&key.value, allowed.iter().copied());
                let hint = if hint.is_empty() { format!("known keys: {}", allowed.join(", ")) } else { hint };
                problems.add(key.place, "unknown-key", format!("{what} has no key `{}`", key.value), hint);
            }
        }
        Section { place, entries }
    }

    pub fn get(&self, key: &str) -> Option<&'t Tree> {
        self.entries.iter().find(|(other, _)| other.value == key).map(|(_, value)| value)
    }

    /// A text, or nothing; a wrong value is reported and counts as nothing.
    pub fn text(&self, key: &str, problems: &mut Problems) -> Option<Spot<String>> {
        let tree = self.get(key)?;
        text(tree, &format!("`{key}`"), problems)
    }

    /// A text that must be there.
    pub fn required(&self, key: &str, what: &str, problems: &mut Problems) -> Option<Spot<String>> {
        if self.get(key).is_none() {
            problems.add(
                self.place,
                "missing-key",
                format!("{what} needs `{key}:`"),
                format!("add `{key}: …`"),
            );
        }
        self.text(key, problems)
    }

    /// True or false; false when the key is absent.
    pub fn flag(&self, key: &str, problems: &mut Problems) -> bool {
        match self.get(key).map(|tree| (tree.place, &tree.value)) {
            None => false,
            Some((_, Value::Bool(flag))) => *flag,
            Some((place, other)) => {
                let message = format!("`{key}` must be true or false, not {}", other.describe());
                problems.add(place, "wrong-value", message, "");
                false
            }
        }
    }

    /// A text or a list of texts; empty when the key is absent.
    pub fn texts(&self, key: &str, problems: &mut Problems) -> Vec<Spot<String>> {
        let what = format!("`{key}`");
        match self.get(key) {
            None => Vec::new(),
            Some(Tree { value: Value::List(items), .. }) => {
                items.iter().filter_map(|item| text(item, &what, problems)).collect()
            }
            Some(tree) => text(tree, &what, problems).into_iter().collect(),
        }
    }
}

/// The tree as a text that is not empty.
pub fn text(tree: &Tree, what: &str, problems: &mut Problems) -> Option<Spot<String>> {
    match &tree.value {
        Value::Text(text) if !text.is_empty() => Some(Spot { place: tree.place, value: text.clone() }),
        Value::Text(_) | Value::Null => {
            problems.add(tree.place, "wrong-value", format!("{what} must not be empty"), "");
            None
        }
        other => {
            let message = format!("{what} must be a text, not {}", other.describe());
            problems.add(tree.place, "wrong-value", message, "put it in quotes if it is meant as a name");
            None
        }
    }
}

/// `did you mean …?` for the nearest of the known names; empty when none is near.
pub fn did_you_mean<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    let limit = (name.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| format!("did you mean `{candidate}`?"))
        .unwrap_or_default()
}

/// Names longer than this are not compared: nobody mistypes them, and the cost grows with the square.
const NAME_CHARS_MAX: usize = 100;

/// Single-letter edits and swaps of neighbours from one name to the other, letter case aside.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.to_lowercase().chars().take(NAME_CHARS_MAX).collect();
    let b: Vec<char> = b.to_lowercase().chars().take(NAME_CHARS_MAX).collect();
    let width = b.len() + 1;
    let mut table: Vec<usize> = vec![0; (a.len() + 1) * width];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            table[i * width + j] = if i == 0 || j == 0 {
                i + j
            } else {
                let change = usize::from(a[i - 1] != b[j - 1]);
                let mut best = (table[(i - 1) * width + j] + 1)
                    .min(table[i * width + j - 1] + 1)
                    .min(table[(i - 1) * width + j - 1] + change);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(table[(i - 2) * width + j - 2] + 1);
                }
                best
            };
        }
    }
    table[a.len() * width + b.len()]
}
