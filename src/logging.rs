//! What goes to stderr: text on a terminal, JSON lines otherwise. Never a secret, never a row's value; that is
//! the duty of whoever writes an event.

use std::io::{self, IsTerminal, Stderr, Write};

use tracing_subscriber::EnvFilter;

use crate::config::log::{self, Format};
use crate::error::{Exit, Failure};

/// The variable that other Rust programs know.
const LEVEL_VARIABLE: &str = "RUST_LOG";

/// Starts logging. The command line wins over RUST_LOG, and that over the file.
pub fn start(options: &log::Log, command_line: Option<&str>) -> Result<(), Failure> {
    let variable = std::env::var(LEVEL_VARIABLE).ok().filter(|level| !level.is_empty());
    let level = command_line.or(variable.as_deref()).unwrap_or(&options.level);
    let level = log::level(level).map_err(|reason| {
        Failure::new(Exit::Usage, format!("log level '{level}': {reason}"))
            .hint(format!("mend --log-level or {LEVEL_VARIABLE}"))
    })?;
    let filter = EnvFilter::new(level);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match options.format {
        Format::Json => builder.json().flatten_event(true).try_init(),
        Format::Auto if !std::io::stderr().is_terminal() => builder.json().flatten_event(true).try_init(),
        Format::Auto => builder.with_writer(|| AboveBar(io::stderr())).try_init(),
        Format::Text if std::io::stderr().is_terminal() => {
            builder.with_writer(|| AboveBar(io::stderr())).try_init()
        }
        Format::Text => builder.with_ansi(false).try_init(),
    };
    started.map_err(|error| Failure::new(Exit::Failed, format!("start logging: {error}")))
}

/// A terminal's last line may be a progress bar: what is logged takes its place, and the bar draws itself
/// again below.
struct AboveBar(Stderr);

impl Write for AboveBar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(&[b"\r\x1b[2K", bytes].concat())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
