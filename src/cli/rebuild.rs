//! `rebuild`: a new slot and everything read again, after a refusal that says so.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{daemon, parts, trust};
use crate::config::Config;
use crate::error::{Exit, Failure};
use crate::journal::files::RealFiles;
use crate::journal::{DataFolder, Journal};
use crate::model::EntryNo;
use crate::pipeline::run;
use crate::source::Source;
use crate::store::engine::{self, Engine};
use crate::store::meta;

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
    let options = parts::journal(config);
    let (journal, recovered) = Journal::open(Arc::new(files), options, folder.journal_id(), unix_s)
        .map_err(|error| failed(error.into()))?;
    forget_unfit_store(config, &journal, recovered.rebuilt, folder.journal_id())?;
    let lsn =
        super::wait(async { run::rebuild(journal, recovered, &source, slot, &waits).await.map_err(failed) })?;
    println!("slot {slot} begins at {lsn}; `projectord run` reads everything again from there");
    Ok(Exit::Done)
}

/// Removes a store that does not meet the journal, before anything is appended: it would take our entries for those
/// that it has applied already, and nothing would be read again.
fn forget_unfit_store(
    config: &Config,
    journal: &Journal,
    rebuilt: Option<EntryNo>,
    journal_id: &str,
) -> Result<(), Failure> {
    let broken = |error: engine::Error| Failure::new(Exit::Failed, error.to_string());
    let (engine, checkpoints) = trust::open(config, journal_id, false)?;
    let reached = engine.view().and_then(|view| meta::reached(&view)).map_err(broken)?;
    checkpoints.closed_cleanly().map_err(broken)?;
    drop((engine, checkpoints));
    let Err(unfit) = run::check_store(&reached, rebuilt, journal, journal_id) else { return Ok(()) };
    let store = config.data.join("store");
    std::fs::remove_dir_all(&store)
        .map_err(|error| Failure::new(Exit::Failed, format!("remove {}: {error}", store.display())))?;
    let why = unfit.to_string();
    eprintln!("{}; the store is built anew", why.lines().next().unwrap_or_default());
    Ok(())
}
