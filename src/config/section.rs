//! Reading one section of the file: every mistake is noted with its place and reading goes on, so that a
//! person sees all of them at once.
//!
//! A value that is wrong is noted and replaced by its default; [`super::load`] hands out nothing when
//! anything was noted, so such a stand-in is never used. Texts of messages show a value as it stands in the
//! file, never what a variable or a secret file held.

use std::cell::RefCell;
use std::fmt::Display;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;

use super::nearest::nearest;
use super::node::{Key, Node, Place, Value};
use super::quantity;
use super::secret;
use crate::model::Diagnostic;

/// Where variables come from; a test hands in its own.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What all sections of one file share.
pub struct Reader<'a> {
    pub file: &'a str,
    /// Relative paths in the file begin here.
    pub folder: &'a Path,
    pub environment: Environment<'a>,
    pub problems: RefCell<Vec<Diagnostic>>,
    pub warnings: RefCell<Vec<Diagnostic>>,
}

impl Reader<'_> {
    pub fn problem(
        &self,
        place: Place,
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.problems.borrow_mut().push(self.diagnostic(place, code, message.into(), hint.into()));
    }

    pub fn warning(
        &self,
        place: Place,
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.warnings.borrow_mut().push(self.diagnostic(place, code, message.into(), hint.into()));
    }

    fn diagnostic(&self, place: Place, code: &'static str, message: String, hint: String) -> Diagnostic {
        Diagnostic { file: self.file.to_owned(), line: place.line, column: place.column, code, message, hint }
    }
}

/// A value that was given, with its place.
pub struct Given<T> {
    pub value: T,
    pub place: Place,
}

/// One value of a list.
pub struct Listed {
    pub value: String,
    /// As it stands in the file, for messages.
    pub written: String,
    pub place: Place,
}

/// One section while it is being read.
pub struct Section<'a> {
    reader: &'a Reader<'a>,
    /// Where the section is, for what it lacks.
    pub place: Place,
    entries: &'a [(Key, Node)],
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    /// The file as a whole.
    pub fn root(reader: &'a Reader<'a>, node: &'a Node) -> Section<'a> {
        Section::of(reader, Some(node), "the file", Place { line: 1, column: 1 })
    }

    /// The section below `key`; an absent one reads as empty.
    pub fn section(&self, key: &'static str) -> Section<'a> {
        let node = self.find(key);
        let place = node.map_or(self.place, |(key, _)| key.place);
        Section::of(self.reader, node.map(|(_, node)| node), key, place)
    }

    fn of(reader: &'a Reader<'a>, node: Option<&'a Node>, name: &str, place: Place) -> Section<'a> {
        let entries = match node {
            Some(Node { value: Value::Map(entries), .. }) => entries.as_slice(),
            Some(Node { value: Value::Null, .. }) | None => &[],
            Some(other) => {
                let kind = other.value.kind();
                reader.problem(
                    other.place,
                    "wrong-kind",
                    format!("{name} is {kind}; expected a section"),
                    "write `key: value` lines below it",
                );
                &[]
            }
        };
        Section { reader, place, entries, asked: RefCell::default() }
    }

    fn find(&self, key: &'static str) -> Option<&'a (Key, Node)> {
        self.asked.borrow_mut().push(key);
        self.entries.iter().find(|(entry, _)| entry.name == key)
    }

    /// The section has been read: what was not asked for is unknown.
    pub fn end(self) {
        let asked = self.asked.borrow();
        for (key, _) in self.entries.iter().filter(|(key, _)| !asked.contains(&key.name.as_str())) {
            let hint = match nearest(&key.name, asked.iter().copied()) {
                Some(known) => format!("did you mean '{known}'?"),
                None => format!("known here: {}", asked.join(", ")),
            };
            self.reader.problem(key.place, "unknown-key", format!("unknown key '{}'", key.name), hint);
        }
    }

    pub fn problem(
        &self,
        place: Place,
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.reader.problem(place, code, message, hint);
    }

    pub fn warning(
        &self,
        place: Place,
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.reader.warning(place, code, message, hint);
    }

    /// Whether the key stands in the file, right or wrong.
    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(entry, _)| entry.name == key)
    }

    /// Notes that a required key is absent.
    pub fn missing(&self, key: &str, hint: &str) {
        self.problem(self.place, "missing-key", format!("'{key}' is missing"), hint);
    }

    fn scalar(&self, key: &str, node: &Node) -> Option<Given<String>> {
        match &node.value {
            Value::Scalar(text) => {
                let value = self.reader.expand(text, node.place)?;
                Some(Given { value, place: node.place })
            }
            other => {
                self.problem(
                    node.place,
                    "wrong-kind",
                    format!("'{key}' is {}; expected a single value", other.kind()),
                    "",
                );
                None
            }
        }
    }

    /// The text of a key, if it is there.
    pub fn text(&self, key: &'static str) -> Option<Given<String>> {
        let (_, node) = self.find(key)?;
        let given = self.scalar(key, node)?;
        if given.value.is_empty() {
            self.problem(given.place, "bad-value", format!("'{key}' is empty"), "");
            return None;
        }
        Some(given)
    }

    /// The text of a key that must be there.
    pub fn required_text(&self, key: &'static str, hint: &str) -> String {
        let text = self.text(key).map(|given| given.value);
        if !self.has(key) {
            self.missing(key, hint);
        }
        text.unwrap_or_default()
    }

    /// A key whose text `parse` understands or explains.
    pub fn parsed<T>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Given<T>> {
        let (_, node) = self.find(key)?;
        let given = self.scalar(key, node)?;
        match parse(&given.value) {
            Ok(value) => Some(Given { value, place: given.place }),
            Err(reason) => {
                let written = match &node.value {
                    Value::Scalar(text) => text.as_str(),
                    _ => "",
                };
                let message = format!("'{key}' is '{}'; {reason}", shortened(written));
                self.problem(given.place, "bad-value", message, "");
                None
            }
        }
    }

    pub fn boolean(&self, key: &'static str, default: bool) -> bool {
        let parse = |text: &str| text.parse::<bool>().map_err(|_| "expected true or false".to_owned());
        self.parsed(key, parse).map_or(default, |given| given.value)
    }

    pub fn number<T>(&self, key: &'static str, default: T, range: RangeInclusive<T>) -> T
    where
        T: FromStr + PartialOrd + Display,
    {
        let explain = format!("expected a whole number from {} to {}", range.start(), range.end());
        let parse = |text: &str| text.parse().ok().filter(|number| range.contains(number)).ok_or(explain);
        self.parsed(key, parse).map_or(default, |given| given.value)
    }

    pub fn duration(
        &self,
        key: &'static str,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        let parse = |text: &str| {
            let duration = quantity::duration(text)?;
            within(duration, &range, quantity::duration_text)
        };
        self.parsed(key, parse).map_or(default, |given| given.value)
    }

    pub fn size(&self, key: &'static str, default: u64, range: RangeInclusive<u64>) -> u64 {
        self.given_size(key, range).map_or(default, |given| given.value)
    }

    pub fn given_size(&self, key: &'static str, range: RangeInclusive<u64>) -> Option<Given<u64>> {
        self.parsed(key, |text| within(quantity::size(text)?, &range, quantity::size_text))
    }

    /// One of a closed set of words.
    pub fn choice<T: Copy>(&self, key: &'static str, words: &[(&str, T)]) -> Option<Given<T>> {
        self.parsed(key, |text| {
            if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
                return Ok(*value);
            }
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let mut reason = format!("expected one of: {}", known.join(", "));
            if let Some(word) = nearest(text, known) {
                reason.push_str(&format!("; did you mean '{word}'?"));
            }
            Err(reason)
        })
    }

    /// A path; a relative one begins at the configuration file's folder.
    pub fn path(&self, key: &'static str) -> Option<Given<PathBuf>> {
        let given = self.text(key)?;
        Some(Given { value: self.reader.folder.join(given.value), place: given.place })
    }

    /// A list of texts; a single text counts as a list of one.
    pub fn list(&self, key: &'static str) -> Option<Vec<Listed>> {
        let (_, node) = self.find(key)?;
        let nodes = match &node.value {
            Value::List(nodes) => nodes.as_slice(),
            Value::Scalar(_) => std::slice::from_ref(node),
            other => {
                self.problem(
                    node.place,
                    "wrong-kind",
                    format!("'{key}' is {}; expected a list", other.kind()),
                    "",
                );
                return None;
            }
        };
        let listed = |node: &Node| {
            let Given { value, place } = self.scalar(key, node)?;
            let Value::Scalar(written) = &node.value else { return None };
            Some(Listed { value, written: shortened(written), place })
        };
        Some(nodes.iter().filter_map(listed).collect())
    }

    /// A secret, written here or in the file that its twin `*_file` names.
    pub fn secret(&self, key: &'static str, file_key: &'static str) -> Option<Given<SecretString>> {
        let inline = self.find(key);
        let file = self.find(file_key);
        if let (Some(_), Some((second, _))) = (inline, file) {
            let message = format!("'{key}' and '{file_key}' are both given");
            self.problem(second.place, "conflicting-keys", message, "keep one of them");
            return None;
        }
        if let Some((_, node)) = inline {
            let given = self.scalar(key, node)?;
            if given.value.is_empty() {
                self.problem(given.place, "bad-value", format!("'{key}' is empty"), "");
                return None;
            }
            return Some(Given { value: given.value.into(), place: given.place });
        }
        let (_, node) = file?;
        let given = self.scalar(file_key, node)?;
        let path = self.reader.folder.join(&given.value);
        match secret::read(&path) {
            Ok((secret, mode)) => {
                if mode & 0o077 != 0 {
                    self.warning(
                        given.place,
                        "loose-secret-file",
                        format!(
                            "'{file_key}' can be read by others than its owner (mode {:03o})",
                            mode & 0o777
                        ),
                        "chmod 600 this file",
                    );
                }
                Some(Given { value: secret, place: given.place })
            }
            Err(reason) => {
                self.problem(given.place, "unreadable-file", format!("'{file_key}': {reason}"), "");
                None
            }
        }
    }

    /// A file that must be there, such as a CA certificate.
    pub fn existing_file(&self, key: &'static str) -> Option<PathBuf> {
        let given = self.path(key)?;
        match fs::metadata(&given.value) {
            Ok(found) if found.is_file() => Some(given.value),
            Ok(_) => {
                self.problem(given.place, "unreadable-file", format!("'{key}' is not a file"), "");
                None
            }
            Err(error) => {
                self.problem(given.place, "unreadable-file", format!("'{key}': {error}"), "");
                None
            }
        }
    }
}

fn within<T: PartialOrd + Copy>(
    value: T,
    range: &RangeInclusive<T>,
    show: impl Fn(T) -> String,
) -> Result<T, String> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(format!("expected {} to {}", show(*range.start()), show(*range.end())))
}

/// Messages quote at most this much of a value.
fn shortened(text: &str) -> String {
    const SHOWN_CHARS: usize = 60;
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
