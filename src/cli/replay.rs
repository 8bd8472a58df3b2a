//! `replay`: assembling and sending documents again from the store.

use std::time::Duration;

use super::alone;
use crate::config::Config;
use crate::control::{Answer, IDS_MAX, Request, Target};
use crate::error::{Exit, Failure};
use crate::model::EntryNo;

/// How often `--wait` looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Assemble documents again from the local store and send them; the write database is not read
#[derive(Debug, clap::Args)]
#[command(after_help = format!("Examples:\n  projectord replay --all --wait\n  projectord replay --projection orders\n  projectord replay --id 17 --id 18 --projection orders\n\n{}", super::EXIT_CODES))]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(true).args(["all", "projection", "id"])))]
pub struct Args {
    /// Every document of every projection
    #[arg(long, conflicts_with_all = ["projection", "id"])]
    all: bool,
    /// Every document of this projection; with --id, only those of it
    #[arg(long, value_name = "NAME")]
    projection: Option<String>,
    /// This document; may be repeated
    #[arg(long, value_name = "ID", num_args = 1..)]
    id: Vec<String>,
    /// Return only when the sink has them; needs a running daemon
    #[arg(long)]
    wait: bool,
}

pub fn run(config: &Config, args: &Args) -> Result<Exit, Failure> {
    let request = Request::Replay { target: target(args)? };
    super::wait(async {
        let Some(answer) = super::ask_daemon(config, &request).await? else {
            if args.wait {
                return Err(super::no_daemon(config));
            }
            return super::print_accepted(alone::handle(config, &request)?);
        };
        let entry = match &answer {
            Answer::Accepted { entry, .. } => *entry,
            _ => None,
        };
        let exit = super::print_accepted(answer)?;
        match entry {
            Some(entry) if args.wait => wait_for(config, entry).await,
            _ => Ok(exit),
        }
    })
}

fn target(args: &Args) -> Result<Target, Failure> {
    if args.id.len() > IDS_MAX {
        return Err(
            Failure::new(Exit::Usage, format!("more than {IDS_MAX} documents")).hint("use --projection")
        );
    }
    Ok(match &args.projection {
        _ if args.all => Target::All,
        projection if !args.id.is_empty() => {
            Target::Documents { ids: args.id.clone(), projection: projection.clone() }
        }
        Some(name) => Target::Projection(name.clone()),
        // Unreachable by the argument group; an empty list of documents does nothing.
        None => Target::Documents { ids: Vec::new(), projection: None },
    })
}

/// Waits as long as it takes: whoever is tired of it presses Ctrl-C, and the replay goes on.
/// Trouble is told and waited out, as the daemon itself does; a daemon that ends ends this.
async fn wait_for(config: &Config, entry: EntryNo) -> Result<Exit, Failure> {
    let mut told = None;
    loop {
        let answer = super::ask_daemon(config, &Request::Status).await?;
        let Some(Answer::Status(status)) = answer else { return Err(super::no_daemon(config)) };
        if status.trouble != told {
            if let Some(trouble) = &status.trouble {
                eprintln!("waiting: {trouble}");
            }
            told.clone_from(&status.trouble);
        }
        if status.watermarks.projected_entry >= entry {
            // Quarantine releases the watermark but is named (rule 28).
            let quarantined: u64 = status.projections.iter().map(|projection| projection.quarantined).sum();
            return Ok(if quarantined == 0 { Exit::Done } else { Exit::Attention });
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}
