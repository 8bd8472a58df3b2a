//! `quarantine`: documents that the sink refused, and what to do with them.

use clap::Subcommand;
use comfy_table::Table;
use comfy_table::presets::UTF8_NO_BORDERS;

use super::alone;
use crate::config::Config;
use crate::control::{Answer, IDS_MAX, QuarantineAction, Quarantined, Request, Which};
use crate::error::{Exit, Failure};

/// List, retry or drop documents that the sink refused
///
/// A refused document never blocks the others. It waits here until somebody has mended the cause.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("Examples:\n  projectord quarantine list\n  projectord quarantine retry --all\n  projectord quarantine drop orders/17 orders/18\n\n{}", super::EXIT_CODES))]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List them, with the sink's reason (exit code 4 if there are any)
    List {
        #[arg(long)]
        json: bool,
    },
    /// Assemble and send them again
    Retry(Chosen),
    /// Forget that they were refused; the sink keeps what it has of them
    Drop(Chosen),
}

#[derive(Debug, clap::Args)]
struct Chosen {
    /// Projection and document, as `list` shows them: orders/17
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<String>,
    /// All of them: the first 10,000 at a time
    #[arg(long)]
    all: bool,
    #[arg(long)]
    json: bool,
}

pub fn run(config: &Config, args: &Args) -> Result<Exit, Failure> {
    let (action, which, as_json) = match &args.what {
        What::List { json } => (QuarantineAction::List, Which::All, *json),
        What::Retry(chosen) => (QuarantineAction::Retry, chosen.which()?, chosen.json),
        What::Drop(chosen) => (QuarantineAction::Drop, chosen.which()?, chosen.json),
    };
    let request = Request::Quarantine { action, which };
    let answer = super::wait(async {
        match super::ask_daemon(config, &request).await? {
            Some(answer) => Ok(answer),
            None => alone::handle(config, &request),
        }
    })?;
    if as_json {
        println!("{}", super::json(&answer)?);
    }
    match answer {
        Answer::Quarantine { documents, total } => {
            if !as_json {
                print!("{}", list(&documents, total));
            }
            Ok(if total == 0 { Exit::Done } else { Exit::Attention })
        }
        _ if as_json => Ok(Exit::Done),
        answer => super::print_accepted(answer),
    }
}

impl Chosen {
    fn which(&self) -> Result<Which, Failure> {
        if self.ids.len() > IDS_MAX {
            return Err(Failure::new(Exit::Usage, format!("more than {IDS_MAX} documents")).hint("use --all"));
        }
        Ok(if self.all { Which::All } else { Which::Named(self.ids.clone()) })
    }
}

fn list(documents: &[Quarantined], total: u64) -> String {
    if total == 0 {
        return "no document is in quarantine\n".to_owned();
    }
    let mut table = Table::new();
    table.load_style(UTF8_NO_BORDERS);
    table.set_header(["document", "entry", "reason"]);
    for document in documents {
        table.add_row([document.handle.clone(), document.entry.to_string(), document.reason.clone()]);
    }
    let mut text = format!("{}\n", table.trim_fmt());
    if total > documents.len() as u64 {
        text.push_str(&format!("… and {} more\n", total - documents.len() as u64));
    }
    text
}
