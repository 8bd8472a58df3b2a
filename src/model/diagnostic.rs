//! A mistake in a file that a person wrote, with its place.

use std::fmt;

/// One mistake: where, what, and what to write instead. Files are checked whole, so there are many.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    pub file: String,
    /// Counted from 1; zero when the place is the file as a whole.
    pub line: usize,
    /// Counted from 1; zero when the place is the line as a whole.
    pub column: usize,
    /// A short stable word, such as `unknown-column`; docs/errors.md lists them.
    pub code: &'static str,
    pub message: String,
    /// What to write instead; empty when there is nothing better to say than the message.
    pub hint: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
            if self.column > 0 {
                write!(f, ":{}", self.column)?;
            }
        }
        write!(f, ": {} [{}]", self.message, self.code)?;
        if !self.hint.is_empty() {
            write!(f, "\n    {}", self.hint)?;
        }
        Ok(())
    }
}
