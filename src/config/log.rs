//! Section `log`: what is written to stderr, and how.

use tracing_subscriber::EnvFilter;

use super::section::Section;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text on a terminal, JSON otherwise.
    Auto,
    Text,
    Json,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    pub format: Format,
    /// `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,projectord::sink=debug`.
    pub level: String,
}

pub const DEFAULT_LEVEL: &str = "info";

const FORMATS: [(&str, Format); 3] = [("auto", Format::Auto), ("text", Format::Text), ("json", Format::Json)];

/// As the file writes it.
pub fn format_word(format: Format) -> &'static str {
    FORMATS.iter().find(|(_, known)| *known == format).map_or("", |(word, _)| word)
}

/// Checks a level or a list of directives.
pub fn level(text: &str) -> Result<String, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let explain = || {
        "expected error, warn, info, debug, trace, or directives such as info,projectord::sink=debug"
            .to_owned()
    };
    // A single unknown word would be taken for the name of a module and silence everything.
    let is_directive = text.contains(['=', ',', ':']);
    if (is_directive || LEVELS.contains(&text)) && EnvFilter::try_new(text).is_ok() {
        Ok(text.to_owned())
    } else {
        Err(explain())
    }
}

pub(super) fn read(section: Section<'_>) -> Log {
    let log = Log {
        format: section.choice("format", &FORMATS).map_or(Format::Auto, |given| given.value),
        level: section.parsed("level", level).map_or_else(|| DEFAULT_LEVEL.to_owned(), |given| given.value),
    };
    section.end();
    log
}
