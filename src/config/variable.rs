//! `${VARIABLES}` in values, replaced after parsing: what a variable holds is never read as YAML, and never
//! shown in a message.

use super::node::Place;
use super::section::Reader;

impl Reader<'_> {
    /// Replaces `${NAME}` and `${NAME:-default}`; `$${` stands for `${`. Nothing when a variable is unset.
    pub(super) fn expand(&self, text: &str, place: Place) -> Option<String> {
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        let mut complete = true;
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                expanded.push_str(&rest[..at]);
                expanded.push('{');
                rest = &rest[at + 2..];
                continue;
            }
            expanded.push_str(&rest[..at]);
            let Some(end) = rest[at..].find('}') else {
                self.problem(
                    place,
                    "bad-variable",
                    "'${' without its '}'",
                    "write ${NAME}, or $${ for a plain ${",
                );
                return None;
            };
            let inner = &rest[at + 2..at + end];
            rest = &rest[at + end + 1..];
            let (name, default) = match inner.split_once(":-") {
                Some((name, default)) => (name, Some(default)),
                None => (inner, None),
            };
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                self.problem(
                    place,
                    "bad-variable",
                    format!("'{name}' is not a name of a variable"),
                    "write ${NAME} or ${NAME:-default}",
                );
                complete = false;
                continue;
            }
            match ((self.environment)(name).filter(|value| !value.is_empty()), default) {
                (Some(value), _) => expanded.push_str(&value),
                (None, Some(default)) => expanded.push_str(default),
                (None, None) => {
                    self.problem(
                        place,
                        "unset-variable",
                        format!("the environment variable {name} is not set"),
                        format!("set {name}, or write ${{{name}:-default}}"),
                    );
                    complete = false;
                }
            }
        }
        expanded.push_str(rest);
        complete.then_some(expanded)
    }
}
