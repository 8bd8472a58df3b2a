//! What happens now and then: checkpoints, retention, aliases, the epoch, the status; and what operators ask.

use std::time::Duration;

use super::apply_loop::{self, look};
use super::conduct::forward;
use super::{Ask, Error, ReplayTarget, Running, Told, ingest_loop};
use crate::journal::entry::{Command, Unit};
use crate::model::{EntryNo, Generation, Key};
use crate::pipeline::apply::{self, to_hex};
use crate::pipeline::ingest::Order;
use crate::sink::IndexSpec;
use crate::store::engine::Engine;
use crate::store::meta::{self, Quarantined, Stage};

/// A pause of the process longer than this makes it look whether the indices are still its own (rule 37).
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How often the indices are looked at in any case (hazard 51).
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How often the server is asked about our slot.
const SLOT_EVERY: Duration = Duration::from_secs(5);
/// How long that may take: the loops go on meanwhile, but nobody is answered.
const STATUS_WAIT_MAX: Duration = Duration::from_secs(5);
/// Quarantined documents listed at most.
const LIST_MAX: usize = 10_000;

impl<E: Engine> Running<E> {
    /// Everything that is looked after while running, connected or not.
    pub(super) async fn upkeep(&mut self, connected: bool) -> Result<(), Error> {
        if !self.report.forwarding {
            self.report.forwarding = true;
            let durable = self.progress.clone();
            tokio::spawn(forward(durable, self.apply.clone(), || apply_loop::Input::Durable));
            tokio::spawn(super::conduct::tick(self.ingest.clone()));
        }
        self.checkpoint().await?;
        let now = self.clock.now();
        if connected && now.saturating_sub(self.report.slot_asked) >= SLOT_EVERY {
            self.report.slot_asked = now;
            let status = tokio::time::timeout(STATUS_WAIT_MAX, self.source.status()).await;
            let late = || crate::source::Error::Retry {
                operation: "look at the slot",
                reason: format!("no answer within {STATUS_WAIT_MAX:?}"),
            };
            match status.unwrap_or_else(|_| Err(late())) {
                Err(error @ crate::source::Error::Refused { .. }) => return Err(error.into()),
                Ok(slot) => {
                    self.report.slot = slot;
                    self.report.contact = self.clock.now();
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
            if !making.is_finished() {
                return Ok(());
            }
            let made = making.await.map_err(|_| Error::Panicked("checkpoint"))?;
            self.report.checkpoint = None;
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
            self.report.checkpoint = Some(tokio::task::spawn_blocking(move || checkpoints.make(reached)));
        }
        self.report.checkpoint_bytes = self.report.checkpoint_bytes.min(bytes); // segments went
        Ok(())
    }

    /// Lets aliases lead to generations whose first scan is delivered; looks whether indices are still ours.
    pub(super) async fn publish_ready(&mut self, specs: &[IndexSpec]) -> Result<(), Error> {
        let published = look(&self.board);
        for state in &published.generations {
            let Some(spec) = self.specs(specs).into_iter().find(|spec| spec.generation == state.generation)
            else {
                continue;
            };
            let projected = published
                .projected
                .iter()
                .find(|(generation, ..)| *generation == state.generation)
                .map_or(EntryNo::ZERO, |(_, entry, _)| *entry);
            if state.stage == Stage::Building && !state.published && projected >= state.built_from {
                let switched = async {
                    self.sink.refresh(&spec).await?;
                    self.sink.publish(&spec).await?;
                    self.sink.prune(&spec, self.options.keep_indices).await
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
        self.look_at_indices(specs).await
    }

    async fn look_at_indices(&mut self, specs: &[IndexSpec]) -> Result<(), Error> {
        let (now, boot) = (self.clock.now(), self.clock.boot_time());
        let paused = boot.saturating_sub(self.report.boot)
            > now.saturating_sub(self.report.looked_tick) + PAUSE_MAX
            || now.saturating_sub(self.report.looked_tick) > PAUSE_MAX;
        self.report.boot = boot;
        self.report.looked_tick = now;
        if !paused && now.saturating_sub(self.report.looked) < LOOK_EVERY {
            return Ok(());
        }
        self.report.looked = now;
        for spec in self.specs(specs) {
            let Ok(found) = self.sink.look(&spec).await else { continue }; // later
            let refused = |code, reason: String, hint: String| Err(Error::Refused { code, reason, hint });
            match found {
                None => {
                    return refused(
                        "sink-index-gone",
                        format!("index {} is gone", spec.index),
                        "Start again: it is made anew and filled from the local rows.".to_owned(),
                    );
                }
                Some(index) if Some(index.epoch) != self.epoch => {
                    return refused(
                        "sink-other-writer",
                        format!("index {} was claimed with epoch {} meanwhile", spec.index, index.epoch),
                        "Another daemon writes to it: stop one of them.".to_owned(),
                    );
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn specs(&self, specs: &[IndexSpec]) -> Vec<IndexSpec> {
        self.report.specs.clone().unwrap_or_else(|| specs.to_vec())
    }

    /// What an operator asks.
    pub(super) async fn answer(&mut self, ask: Ask) -> Told {
        let failed = |code, reason: String| Told::Failed { code, reason };
        let answered = match ask {
            Ask::Replay(target) => self.replay(target).await,
            Ask::QuarantineList => self.quarantine().map(Told::Quarantine),
            Ask::QuarantineRetry(ids) => {
                self.quarantine_order(ids, "tried again", apply::Order::RetryQuarantined)
            }
            Ask::QuarantineDrop(ids) => self.quarantine_order(ids, "dropped", apply::Order::DropQuarantined),
            Ask::Backfill(projections) => self.backfill_anew(projections).await,
        };
        answered.unwrap_or_else(|error| failed("failed", error.to_string()))
    }

    /// Documents again from local rows: a command entry, so that its versions win.
    async fn replay(&mut self, target: ReplayTarget) -> Result<Told, Error> {
        let unknown = |what: String| Ok(Told::Failed { code: "replay-unknown", reason: what });
        let published = look(&self.board);
        let generations: Vec<(Generation, String)> =
            published.generations.iter().map(|state| (state.generation, state.projection.clone())).collect();
        let mut commands = Vec::new();
        match target {
            ReplayTarget::All => {
                commands.extend(
                    generations.iter().map(|(generation, _)| Command::Whole { generation: *generation }),
                );
            }
            ReplayTarget::Projections(names) => {
                for name in names {
                    match generations.iter().find(|(_, known)| *known == name) {
                        Some((generation, _)) => commands.push(Command::Whole { generation: *generation }),
                        None => return unknown(format!("there is no projection {name}")),
                    }
                }
            }
            ReplayTarget::Ids { projection, ids } => {
                let compiled = &published.compiled;
                let mut known = vec![false; ids.len()];
                for (generation, name) in &generations {
                    if projection.as_ref().is_some_and(|wanted| wanted != name) {
                        continue;
                    }
                    let Some(plan) = compiled.generations.iter().position(|g| g == generation) else {
                        continue;
                    };
                    let plan = &compiled.schema.plans.plans[plan];
                    let mut keys = Vec::new();
                    for (position, id) in ids.iter().enumerate() {
                        if let Some(key) = plan.document_key(id) {
                            known[position] = true;
                            keys.push(to_hex(&key));
                        }
                    }
                    if !keys.is_empty() {
                        commands.push(Command::Documents { generation: *generation, keys });
                    }
                }
                if let Some(position) = known.iter().position(|known| !known) {
                    return unknown(format!(
                        "{} is no document id of any projection asked for",
                        ids[position]
                    ));
                }
            }
        }
        let mut entry = None;
        let count = commands.len();
        for command in commands {
            entry = Some(self.order(Order::Command(command)).await?);
        }
        Ok(Told::Done { what: format!("{count} commands journaled"), entry })
    }

    fn quarantine(&self) -> Result<Vec<(String, Quarantined)>, Error> {
        let view = self.engine.view()?;
        let all = meta::quarantine(&view, LIST_MAX)?;
        Ok(all.into_iter().map(|(generation, _, why)| (self.projection(generation), why)).collect())
    }

    fn projection(&self, generation: Generation) -> String {
        let published = look(&self.board);
        let state = published.generations.iter().find(|state| state.generation == generation);
        state.map_or_else(|| generation.to_string(), |state| state.projection.clone())
    }

    fn quarantine_order(
        &self,
        ids: Option<Vec<String>>,
        what: &str,
        order: impl Fn(Vec<(Generation, Key)>) -> apply::Order,
    ) -> Result<Told, Error> {
        let view = self.engine.view()?;
        let all = meta::quarantine(&view, LIST_MAX)?;
        drop(view);
        let handle =
            |generation: Generation, why: &Quarantined| format!("{}/{}", self.projection(generation), why.id);
        if let Some(missing) = ids
            .iter()
            .flatten()
            .find(|id| !all.iter().any(|(generation, _, why)| handle(*generation, why) == **id))
        {
            return Ok(Told::Failed {
                code: "quarantine-unknown",
                reason: format!("{missing} is not in quarantine"),
            });
        }
        let chosen: Vec<_> = all
            .into_iter()
            .filter(|(generation, _, why)| {
                ids.as_ref().is_none_or(|ids| ids.contains(&handle(*generation, why)))
            })
            .map(|(generation, key, _)| (generation, key))
            .collect();
        let count = chosen.len();
        let _ = self.apply.send(apply_loop::Input::Order(order(chosen))); // a dead apply is noticed elsewhere
        Ok(Told::Done { what: format!("{count} documents {what}"), entry: None })
    }

    /// Everything of these projections is read again, into new indices behind the same aliases.
    async fn backfill_anew(&mut self, projections: Option<Vec<String>>) -> Result<Told, Error> {
        let Some(before) = self.journaled_facts() else {
            return Ok(Told::Failed {
                code: "not-ready",
                reason: "the first backfill has not begun".to_owned(),
            });
        };
        let names: Vec<String> = match projections {
            None => before.definitions.iter().map(|definition| definition.name.clone()).collect(),
            Some(names) => names,
        };
        if let Some(unknown) =
            names.iter().find(|name| !before.definitions.iter().any(|known| known.name == **name))
        {
            return Ok(Told::Failed {
                code: "replay-unknown",
                reason: format!("there is no projection {unknown}"),
            });
        }
        let looked = self.look_again().await?;
        let facts = self.facts_of(&looked, Some(&before), &names);
        let specs = self.indices(&facts, &looked);
        self.prepare_sink(&specs).await?;
        let units: Vec<Unit> = looked
            .parsed
            .iter()
            .zip(&looked.plans.plans)
            .filter(|(parsed, _)| names.contains(&parsed.name.value))
            .flat_map(|(_, plan)| plan.nodes.iter().map(|node| node.table))
            .filter_map(|table| facts.catalog.by_id(table))
            .flat_map(|table| table.row_oids().map(|oid| Unit { table: table.id, oid }))
            .collect();
        self.report.specs = Some(specs);
        self.journal_facts(&facts).await?;
        self.order(Order::Command(Command::ReadAgain { units })).await?;
        Ok(Told::Done { what: format!("reading {} again, into new indices", names.join(", ")), entry: None })
    }
}
