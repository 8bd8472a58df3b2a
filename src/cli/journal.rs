//! `journal`: looking back at what happened.

use clap::Subcommand;
use clap::builder::PossibleValuesParser;

use super::seam::{self, Selection};
use crate::config::Config;
use crate::error::{Exit, Failure};
use crate::journal::Kind;

/// Look at the journal; a daemon may run beside it
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  projectord journal list\n  projectord journal show --from 1200 --to 1300\n  projectord journal show --kind command --json"
)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the segment files: entries, bytes, age
    List {
        #[arg(long)]
        json: bool,
    },
    /// Show entries, one line each
    Show {
        /// The first entry to show
        #[arg(long, value_name = "N")]
        from: Option<u64>,
        /// The last entry to show
        #[arg(long, value_name = "N")]
        to: Option<u64>,
        /// Only entries of this kind
        #[arg(long, value_parser = PossibleValuesParser::new((0..=u8::MAX).filter_map(Kind::from_byte).map(Kind::name)))]
        kind: Option<String>,
        /// Show column values as well: rows may hold personal data
        #[arg(long)]
        values: bool,
        #[arg(long)]
        json: bool,
    },
}

pub fn run(config: &Config, args: &Args) -> Result<Exit, Failure> {
    match &args.what {
        What::List { json } => seam::journal_list(config, *json)?,
        What::Show { from, to, kind, values, json } => {
            if let (Some(from), Some(to)) = (from, to)
                && from > to
            {
                return Err(Failure::new(Exit::Usage, format!("--from {from} lies behind --to {to}")));
            }
            let selection =
                Selection { from: *from, to: *to, kind: kind.as_deref(), values: *values, json: *json };
            seam::journal_show(config, selection)?;
        }
    }
    Ok(Exit::Done)
}
