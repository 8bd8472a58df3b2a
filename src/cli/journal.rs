//! `journal`: looking back at what happened. Reads only and takes no lock, so that a daemon may run beside.

mod list;
mod messages;
mod show;

use std::io::{BufWriter, ErrorKind, Stdout, Write};
use std::path::PathBuf;

use clap::Subcommand;
use clap::builder::PossibleValuesParser;

use self::messages::Values;
use self::show::Selection;
use crate::config::Config;
use crate::error::{Exit, Failure};
use crate::journal::peek::Torn;
use crate::journal::{self, Kind};

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
        What::List { json } => list::run(config, *json)?,
        What::Show { from, to, kind, values, json } => {
            if let (Some(from), Some(to)) = (from, to)
                && from > to
            {
                return Err(Failure::new(Exit::Usage, format!("--from {from} lies behind --to {to}")));
            }
            let values = if *values { Values::Shown } else { Values::Hidden };
            let (from, to, kind) = (*from, *to, kind.as_deref());
            show::run(config, Selection { from, to, kind, values, json: *json })?;
        }
    }
    Ok(Exit::Done)
}

fn folder(config: &Config) -> PathBuf {
    config.data.join("journal")
}

fn failed(error: journal::Error) -> Failure {
    super::daemon::failure(error.into())
}

/// Not an error: beside a daemon it is the entry that is being written.
fn torn_line(torn: &Torn) -> String {
    let Torn { file, offset, bytes, reason } = torn;
    format!(
        "note: {file} ends in {bytes} bytes (from {offset} on) that are no whole entry: {reason}; the next start cuts them off, or a daemon is writing them now"
    )
}

/// Standard output, which whoever reads it may close at any time: `journal show | head`.
struct Out {
    to: BufWriter<Stdout>,
    closed: bool,
}

impl Out {
    fn new() -> Out {
        Out { to: BufWriter::new(std::io::stdout()), closed: false }
    }

    fn text(
        &mut self,
        write: impl FnOnce(&mut BufWriter<Stdout>) -> std::io::Result<()>,
    ) -> Result<(), Failure> {
        if self.closed {
            return Ok(());
        }
        match write(&mut self.to) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            Err(error) => Err(Failure::new(Exit::Failed, format!("write the journal's entries: {error}"))),
        }
    }

    /// One JSON object.
    fn line(&mut self, value: &serde_json::Value) -> Result<(), Failure> {
        self.text(|to| writeln!(to, "{value}"))
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        let _ = self.to.flush(); // nobody is left to be told
    }
}
