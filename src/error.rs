//! How a command ends: its exit code, and the one text that says why.
//!
//! Rooms have errors of their own; here they become what a person or a script sees.

use std::fmt;
use std::process::ExitCode;

use crate::model::Diagnostic;

/// The exit codes, the same for every command; docs/errors.md explains them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// What was asked for is done.
    Done,
    /// It failed; trying again may help.
    Failed,
    /// The command line or a file is wrong; nothing was done.
    Usage,
    /// A safety check refused (G5): going on could have lost or spoilt documents.
    Refused,
    /// It works, but something needs a person, such as documents in quarantine.
    Attention,
    /// The daemon, the write database or the sink cannot be reached.
    Unreachable,
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Refused => 3,
            Exit::Attention => 4,
            Exit::Unreachable => 5,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// Why a command ended otherwise than well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub exit: Exit,
    /// Operation, place and cause in one line; several lines for several mistakes. Never a secret or a
    /// row's value.
    pub message: String,
    /// One command or sentence that mends it; empty when the message says it.
    pub hint: String,
}

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into(), hint: String::new() }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = hint.into();
        self
    }

    /// Mistakes in files, all of them.
    pub fn of_diagnostics(diagnostics: &[Diagnostic]) -> Failure {
        let lines: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
        Failure::new(Exit::Usage, lines.join("\n"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.hint.is_empty() {
            write!(f, "\n    {}", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

impl From<crate::source::postgres::Error> for Failure {
    fn from(error: crate::source::postgres::Error) -> Failure {
        use crate::source::postgres::Error;
        let exit = match &error {
            Error::Retry { .. } => Exit::Unreachable,
            Error::Refused { .. } => Exit::Refused,
            Error::Server { .. } | Error::Protocol { .. } => Exit::Failed,
        };
        Failure::new(exit, error.to_string())
    }
}

impl From<crate::sink::Error> for Failure {
    fn from(error: crate::sink::Error) -> Failure {
        use crate::sink::Error;
        let exit = match &error {
            Error::Retry { .. } => Exit::Unreachable,
            Error::TooLarge { .. } => Exit::Failed,
            Error::Refused { .. } => Exit::Refused,
        };
        Failure::new(exit, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documentation_lists_every_exit_code() {
        let text = include_str!("../docs/errors.md");
        let all = [Exit::Done, Exit::Failed, Exit::Usage, Exit::Refused, Exit::Attention, Exit::Unreachable];
        for exit in all {
            assert!(text.contains(&format!("\n| {} |", exit.code())), "{exit:?}");
        }
    }

    /// What stands in front of a code in the source text.
    const MARKS: [&str; 4] = ["code: \"", "refused(\"", "#[error(\"", ": &str = \""];

    /// Codes in a source file: words after one of [`MARKS`]. Without a hyphen only where nothing else can
    /// be meant.
    fn codes(source: &str) -> impl Iterator<Item = &str> {
        let source = source.split("#[cfg(test)]").next().unwrap_or_default();
        MARKS.iter().flat_map(move |mark| {
            source.split(mark).skip(1).filter_map(|rest| {
                let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '-')?;
                let (code, rest) = rest.split_at(end);
                let whole = match *mark {
                    "#[error(\"" => rest.starts_with(": "),
                    _ => rest.starts_with('"'),
                };
                let plain = matches!(*mark, "code: \"" | "refused(\"");
                (whole && (code.contains('-') || plain && !code.is_empty())).then_some(code)
            })
        })
    }

    #[test]
    fn documentation_lists_every_code() {
        let documentation = include_str!("../docs/errors.md");
        // Values of constants that are written like codes.
        const NO_CODES: [&str; 0] = [];
        let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
        let mut found = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap();
                if path.is_dir() {
                    folders.push(path);
                } else if !name.contains("test") {
                    // Calls are often broken behind the parenthesis.
                    let text = std::fs::read_to_string(&path).unwrap();
                    let text = text.split_whitespace().collect::<Vec<_>>().join(" ").replace("( \"", "(\"");
                    for code in codes(&text).filter(|code| !NO_CODES.contains(code)) {
                        found += 1;
                        assert!(documentation.contains(&format!("`{code}`")), "{code} of {}", path.display());
                    }
                }
            }
        }
        assert!(found > 100, "only {found} codes were found: are they written in another way now?");
    }

    #[test]
    fn codes_are_found_in_source_text() {
        let source = r#"Refused { code: "slot-lost", x } refused("thread", y) #[error("data-locked: z")]
            const A: &str = "sink-gone"; const B: &str = "plain"; #[error("store: {x}")] #[cfg(test)] code: "no""#;
        let mut all: Vec<_> = codes(source).collect();
        all.sort_unstable();
        assert_eq!(all, ["data-locked", "sink-gone", "slot-lost", "thread"]);
    }
}
