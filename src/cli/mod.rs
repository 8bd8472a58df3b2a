//! The command line: one file per command. Each reads the configuration, does one thing, and ends with an
//! exit code that means the same everywhere (docs/errors.md).
//!
//! The only place, with `main`, that names concrete backends ([`parts`]). Commands that change something
//! ask the daemon; without one, [`alone`] does what can be done.

mod alone;
mod backfill;
mod check;
mod completions;
mod daemon;
mod journal;
mod parts;
mod progress_bar;
mod quarantine;
mod rebuild;
mod replay;
mod run;
mod setup_sql;
mod status;
mod trust;

use std::future::Future;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};

use crate::config::{self, Config};
use crate::control::{self, Answer, Request};
use crate::error::{Exit, Failure};

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed; trying again may help
  2  wrong command line, configuration or projection; nothing was done
  3  refused by a safety check
  4  works, but something needs a person (see `projectord status`)
  5  daemon, write database or sink not reachable";

/// Keeps Elasticsearch documents exactly in step with a PostgreSQL write database.
#[derive(Debug, Parser)]
#[command(name = "projectord", version, after_help = format!("{FIRST_STEPS}\n\n{EXIT_CODES}"), max_term_width = 100, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,

    /// The configuration file [default: ./projectord.yaml, then /etc/projectord/projectord.yaml]
    #[arg(long, global = true, value_name = "PATH", env = config::CONFIG_VARIABLE)]
    config: Option<PathBuf>,

    /// error, warn, info, debug, trace, or directives such as info,projectord::sink=debug
    #[arg(long, global = true, value_name = "LEVEL", value_parser = config::log::level)]
    log_level: Option<String>,
}

const FIRST_STEPS: &str = "\
First steps:
  projectord setup-sql > setup.sql      # roles, publication, slot: read it, then a DBA runs it
  psql -v ON_ERROR_STOP=1 -f setup.sql shop
  projectord check                      # everything that can be wrong, all at once
  projectord run                        # the daemon
  projectord status --watch             # what it does";

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Check(check::Args),
    Status(status::Args),
    SetupSql(setup_sql::Args),
    Journal(journal::Args),
    Quarantine(quarantine::Args),
    Backfill(backfill::Args),
    Rebuild(rebuild::Args),
    Replay(replay::Args),
    Completions(completions::Args),
}

/// Runs one command to its end.
pub fn main(cli: Cli) -> Result<Exit, Failure> {
    if let Command::Completions(args) = cli.command {
        return completions::run(&args);
    }
    let path = cli.config.unwrap_or_else(default_path);
    let config = load(&path)?;
    // The daemon logs as it was configured to; a command says only what went wrong, unless asked.
    if matches!(cli.command, Command::Run(_)) {
        crate::logging::start(&config.log, cli.log_level.as_deref())?;
    } else if cli.log_level.is_some() {
        let log = config::Log { format: config::log::Format::Text, ..config.log.clone() };
        crate::logging::start(&log, cli.log_level.as_deref())?;
    }
    match cli.command {
        Command::Run(args) => run::run(&config, &args),
        Command::Check(args) => check::run(&config, &args),
        Command::Status(args) => status::run(&config, &args),
        Command::SetupSql(args) => setup_sql::run(&config, &args),
        Command::Journal(args) => journal::run(&config, &args),
        Command::Quarantine(args) => quarantine::run(&config, &args),
        Command::Backfill(args) => backfill::run(&config, &args),
        Command::Rebuild(args) => rebuild::run(&config, &args),
        Command::Replay(args) => replay::run(&config, &args),
        Command::Completions(args) => completions::run(&args),
    }
}

/// The first default path that is there; the first of all when none is, so that the error names it.
fn default_path() -> PathBuf {
    let there = config::DEFAULT_PATHS.into_iter().map(Path::new).find(|path| path.exists());
    there.unwrap_or(Path::new(config::DEFAULT_PATHS[0])).to_owned()
}

fn load(path: &Path) -> Result<Config, Failure> {
    config::load(path, &|name| std::env::var(name).ok())
        .map_err(|diagnostics| Failure::of_diagnostics(&diagnostics))
}

/// Warnings go to stderr: they are not what the command was asked for.
fn warn(config: &Config) {
    for warning in &config.warnings {
        eprintln!("warning: {warning}");
    }
}

/// A small runtime for a command that asks something.
fn wait<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, format!("start the runtime: {error}")))?;
    runtime.block_on(future)
}

/// Asks the daemon of this data folder; nothing when none runs.
async fn ask_daemon(config: &Config, request: &Request) -> Result<Option<Answer>, Failure> {
    match control::client::ask(&config.control_socket(), request).await {
        Ok(Answer::Refused { code, message, hint }) => {
            Err(Failure::new(Exit::Refused, format!("{code}: {message}")).hint(hint))
        }
        Ok(answer) => Ok(Some(answer)),
        Err(control::client::Error::NoDaemon) => Ok(None),
        Err(error) => Err(Failure::new(Exit::Unreachable, error.to_string())),
    }
}

fn no_daemon(config: &Config) -> Failure {
    Failure::new(Exit::Unreachable, format!("no daemon runs in {}", config.data.display()))
        .hint("start it: projectord run")
}

/// Prints what the daemon did, with the number that says when it is done.
fn print_accepted(answer: Answer) -> Result<Exit, Failure> {
    match answer {
        Answer::Accepted { message, entry } => {
            match entry {
                Some(entry) => println!("{message} (journal entry {entry})"),
                None => println!("{message}"),
            }
            Ok(Exit::Done)
        }
        _ => Err(unexpected()),
    }
}

fn unexpected() -> Failure {
    Failure::new(Exit::Failed, "the daemon answered something else than was asked")
        .hint("command and daemon should be of the same version")
}

fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(value)
        .map_err(|error| Failure::new(Exit::Failed, format!("write JSON: {error}")))
}
