//! `rebuild`: a new slot and everything read again, after a refusal that says so.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{daemon, parts};
use crate::config::Config;
use crate::error::{Exit, Failure};
use crate::journal::DataFolder;
use crate::journal::files::RealFiles;
use crate::pipeline::run;
use crate::source::Source;

/// Begin anew after a gap: make the slot again and let the next `run` read every table again
///
/// For a slot that is lost, missing or was moved on by another consumer, and for a server that was restored
/// or replaced. Documents stay readable meanwhile: new indices are built behind the same aliases. The daemon
/// must not run.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("Examples:\n  projectord rebuild --yes && projectord run\n\n{}", super::EXIT_CODES))]
pub struct Args {
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub fn run(config: &Config, args: &Args) -> Result<Exit, Failure> {
    if !args.yes {
        let what = format!("every table, and make slot {} anew", config.source.slot);
        super::backfill::confirm(what)?;
    }
    let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
    let random = u128::from(fastrand::u64(..)) << 64 | u128::from(fastrand::u64(..));
    let failed = |error: run::Error| daemon::failure(error);
    let folder = DataFolder::open(&config.data, random, unix_s).map_err(|error| failed(error.into()))?;
    let files = RealFiles::open(config.data.join("journal"))
        .map_err(|error| Failure::new(Exit::Failed, format!("open the journal's folder: {error}")))?;
    let source: Arc<dyn Source> = parts::source(config, None);
    let slot = &config.source.slot;
    let waits = |whom: String| eprintln!("waiting for running transactions: {whom}");
    let lsn = super::wait(async {
        run::rebuild(&folder, Arc::new(files), parts::journal(config), &source, slot, unix_s, &waits)
            .await
            .map_err(failed)
    })?;
    println!("slot {slot} begins at {lsn}; `projectord run` reads everything again from there");
    Ok(Exit::Done)
}
