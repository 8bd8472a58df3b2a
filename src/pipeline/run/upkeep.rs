//! What happens now and then: checkpoints, retention, aliases, the epoch, the status.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::apply_loop::{self, look};
use super::clock::within;
use super::conduct::{forward, tick};
use super::{Error, Running, ingest_loop};
use crate::failpoint;
use crate::model::EntryNo;
use crate::pipeline::apply;
use crate::store::engine::Engine;
use crate::store::meta::Stage;

/// Who lives so long does not die of the store's file at the start; recorded as often.
const LIVED_EVERY: Duration = Duration::from_secs(15);
/// How often the server is asked about our slot.
const SLOT_EVERY: Duration = Duration::from_secs(5);
/// How long that may take: the loops go on meanwhile, but nobody is answered.
const STATUS_WAIT_MAX: Duration = Duration::from_secs(5);

impl<E: Engine> Running<E> {
    /// Everything that is looked after while running, connected or not.
    pub(super) async fn upkeep(&mut self, connected: bool) -> Result<(), Error> {
        if !self.report.forwarding {
            self.report.forwarding = true;
            let durable = self.progress.clone();
            tokio::spawn(forward(durable, self.apply.clone(), || apply_loop::Input::Durable));
            tokio::spawn(tick(self.machine.clock.clone(), self.ingest.clone()));
        }
        self.checkpoint().await?;
        self.look_at_indices().await?;
        let now = self.machine.clock.now();
        if now.saturating_sub(self.report.lived) >= LIVED_EVERY {
            self.report.lived = now;
            self.checkpoints.lived();
        }
        if connected && now.saturating_sub(self.report.slot_asked) >= SLOT_EVERY {
            self.report.slot_asked = now;
            let status = within(&*self.machine.clock, STATUS_WAIT_MAX, self.source.status()).await;
            let late = || crate::source::Error::Retry {
                operation: "look at the slot",
                reason: format!("no answer within {STATUS_WAIT_MAX:?}"),
            };
            match status.unwrap_or_else(|| Err(late())) {
                Err(error @ crate::source::Error::Refused { .. }) => return Err(error.into()),
                Ok(slot) => {
                    self.report.slot = slot;
                    self.report.contact = self.machine.clock.now();
                }
                Err(error) => self.observer.retried("source", &error.to_string()),
            }
        }
        self.report_now();
        Ok(())
    }

    /// Rule 32: a copy of the store, clocked by journaled bytes; then older segments may go.
    async fn checkpoint(&mut self) -> Result<(), Error> {
        let bytes = self.progress.borrow().bytes;
        if let Some(making) = &mut self.report.checkpoint {
            let made = match making.try_recv() {
                Ok(made) => made,
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Closed) => return Err(Error::Panicked("checkpoint")),
            };
            self.report.checkpoint = None;
            failpoint::hit("checkpoint.made");
            match made {
                Ok(entry) => {
                    self.report.checkpoint_entry = entry;
                    let _ = self.ingest.send(ingest_loop::Input::StoreDurable(entry)).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "the store could not be copied; the journal is kept");
                    self.observer.retried("store", &error.to_string());
                }
            }
            return Ok(());
        }
        let since = self.progress.borrow().end.0.saturating_sub(self.report.checkpoint_begun.0);
        let grown = bytes.saturating_sub(self.report.checkpoint_bytes);
        if since > 0 && grown >= self.options.checkpoint_bytes {
            self.report.checkpoint_bytes = bytes;
            let reached = look(&self.board).reached.entry;
            self.report.checkpoint_begun = reached;
            let checkpoints = std::sync::Arc::clone(&self.checkpoints);
            let (answer, made) = oneshot::channel();
            self.machine.host.beside(Box::new(move || {
                let _ = answer.send(checkpoints.make(reached)); // nobody listens once the daemon has ended
            }));
            self.report.checkpoint = Some(made);
        }
        self.report.checkpoint_bytes = self.report.checkpoint_bytes.min(bytes); // segments went
        Ok(())
    }

    /// Lets aliases lead to generations whose first scan is delivered; looks whether indices are still ours.
    pub(super) async fn publish_ready(&mut self) -> Result<(), Error> {
        if !self.report.all_ours {
            return Ok(()); // after a pause the alias may be another daemon's to move (rule 37)
        }
        let published = look(&self.board);
        for state in &published.generations {
            let Some(spec) = self.report.specs.iter().find(|spec| spec.generation == state.generation) else {
                continue;
            };
            let projected = published
                .projected
                .iter()
                .find(|(generation, ..)| *generation == state.generation)
                .map_or(EntryNo::ZERO, |(_, entry, _)| *entry);
            if state.stage == Stage::Building && !state.published && projected >= state.built_from {
                let switched = async {
                    self.sink.refresh(spec).await?;
                    failpoint::hit("alias.switching");
                    self.sink.publish(spec).await?;
                    failpoint::hit("alias.switched");
                    self.sink.prune(spec, self.options.keep_indices).await
                };
                match switched.await {
                    Ok(removed) => {
                        tracing::info!(
                            index = spec.index,
                            alias = spec.alias,
                            ?removed,
                            "the alias leads to the index"
                        );
                        let order = apply::Order::Published(state.generation);
                        let _ = self.apply.send(apply_loop::Input::Order(order));
                    }
                    Err(error @ crate::sink::Error::Refused { .. }) => return Err(error.into()),
                    Err(error) => self.observer.retried("sink", &error.to_string()),
                }
            }
        }
        Ok(())
    }
}
