//! A new beginning after a gap: a slot that was lost, dropped or moved on by another, a server that was
//! restored. The journal goes on; positions begin anew, and the next start reads every table again into new
//! indices behind the same aliases. Until then the documents stay as they are.

use std::sync::Arc;

use super::Error;
use super::slot::{intent, still};
use crate::failpoint;
use crate::journal::entry::Position;
use crate::journal::{Journal, Recovered};
use crate::model::Lsn;
use crate::pipeline::ingest::{Ingest, Options, Order};
use crate::source::Source;

/// Makes the slot anew (dropping one of its name that nobody uses) and journals it. Returns where the slot
/// begins. The daemon must not run: the data folder's lock says so. What the store has applied must lie within the
/// journal ([`super::check_store`]): entries that only the store knows would stand in for these two.
pub async fn rebuild(
    journal: Journal,
    recovered: Recovered,
    source: &Arc<dyn Source>,
    slot: &str,
    waits: &(dyn Fn(String) + Sync),
) -> Result<Lsn, Error> {
    let end = recovered.end_lsn.unwrap_or(Lsn::ZERO);
    let mut ingest = Ingest::new(journal, Options::default(), end, recovered.facts);
    let now = std::time::Duration::ZERO;
    // Rule 3: the intent first, so that a slot left by an attempt that fails half-way is known as ours.
    let system = source.identify_system().await?;
    ingest.order(1, Order::Intent(intent(slot, &system)))?;
    ingest.sync(now)?;
    failpoint::hit("rebuild.intent");
    // The tables that the journal knows may be gone from the definitions: the next start says which are needed.
    let lsn = source.create_slot(&[], true, waits).await?;
    failpoint::hit("rebuild.slot");
    still(source, &system).await?;
    ingest.order(2, Order::Rebuild(Position { lsn }))?;
    ingest.sync(now)?;
    Ok(lsn)
}
