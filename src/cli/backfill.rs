//! `backfill`: reading tables again while the stream goes on.

use std::io::{BufRead, IsTerminal, Write};

use crate::config::Config;
use crate::control::{Request, Which};
use crate::error::{Exit, Failure};

/// Read the tables of projections again from the write database, beside the running stream
///
/// Documents stay readable meanwhile. Needs a running daemon.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("Examples:\n  projectord backfill --projection orders\n  projectord backfill --all --yes\n\n{}", super::EXIT_CODES))]
pub struct Args {
    /// A projection whose tables are to be read; may be repeated
    #[arg(long, value_name = "NAME", required_unless_present = "all", conflicts_with = "all")]
    projection: Vec<String>,
    /// All projections
    #[arg(long)]
    all: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub fn run(config: &Config, args: &Args) -> Result<Exit, Failure> {
    let projections = if args.all { Which::All } else { Which::Named(args.projection.clone()) };
    if !args.yes {
        confirm(if args.all {
            "every table".to_owned()
        } else {
            format!("the tables of {}", args.projection.join(", "))
        })?;
    }
    let request = Request::Backfill { projections };
    let answer = super::wait(super::ask_daemon(config, &request))?;
    super::print_accepted(answer.ok_or_else(|| super::no_daemon(config))?)
}

pub(super) fn confirm(what: String) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::new(Exit::Failed, format!("ask: {error}"));
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Err(Failure::new(Exit::Usage, "nobody is there to be asked").hint("add --yes"));
    }
    eprint!("Read {what} of the write database again? [y/N] ");
    std::io::stderr().flush().map_err(failed)?;
    let mut line = String::new();
    input.lock().read_line(&mut line).map_err(failed)?;
    match line.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::new(Exit::Failed, "not confirmed; nothing was done")),
    }
}
