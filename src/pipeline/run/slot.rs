//! The slot's beginning: what is meant to be made, where; then the slot; then its position (rule 3).

use std::sync::Arc;

use super::{Error, Running};
use crate::failpoint;
use crate::journal::entry::{Intent, Position};
use crate::model::Table;
use crate::pipeline::ingest::Order;
use crate::source::{self, Source, System, other_system};
use crate::store::engine::Engine;

impl<E: Engine> Running<E> {
    /// Rule 3: an Intent before the slot is made, its position after, so that an orphan is recognised.
    pub(super) async fn first_slot(&mut self, tables: &[Table]) -> Result<(), Error> {
        let orphan = self.recovered.intent.is_some();
        let system = self.source.identify_system().await?;
        if let Some(ours) = self.begun_on()
            && ours.system_identifier != system.system_identifier
        {
            // A slot of that name over there is not the one that an attempt of ours may have left.
            return Err(other_system(&system.system_identifier, &ours.system_identifier).into());
        }
        if !orphan || self.begun_on().as_ref() != Some(&system) {
            let intent = intent(&self.options.slot, &system);
            self.order(Order::Intent(intent.clone())).await?;
            failpoint::hit("connect.intent");
            self.recovered.intent = serde_json::to_vec(&intent).ok().map(Into::into);
        }
        let waits = |whom: String| tracing::info!(whom, "creating the slot waits for running transactions");
        let lsn = self.source.create_slot(tables, orphan, &waits).await?;
        failpoint::hit("connect.slot");
        // Only now it is known whose position this is. Another one's slot is an orphan at the next try.
        still(&self.source, &system).await?;
        self.order(Order::Position(Position { lsn })).await?;
        failpoint::hit("connect.position");
        self.recovered.end_lsn = Some(lsn);
        Ok(())
    }

    /// The server on which our slot was begun (hazard 17): before the first Connected entry is durable, nothing
    /// else tells it from another one that has a slot of that name. Nothing in journals that did not say.
    pub(super) fn begun_on(&self) -> Option<System> {
        let intent: Intent = serde_json::from_slice(self.recovered.intent.as_ref()?).ok()?;
        let Intent { system_identifier, timeline, .. } = intent;
        Some(System { system_identifier, timeline }).filter(|system| !system.system_identifier.is_empty())
    }
}

pub(super) fn intent(slot: &str, system: &System) -> Intent {
    let System { system_identifier, timeline } = system.clone();
    Intent { slot: slot.to_owned(), system_identifier, timeline }
}

/// Whether the server is the one, with the history, that it was when a slot was begun (hazard 17).
pub(super) async fn still(source: &Arc<dyn Source>, system: &System) -> Result<(), source::Error> {
    let now = source.identify_system().await?;
    if now == *system {
        return Ok(());
    }
    let reason = "another server answers than when the slot was begun, or it was promoted since".to_owned();
    Err(source::Error::Retry { operation: "create the slot", reason })
}
