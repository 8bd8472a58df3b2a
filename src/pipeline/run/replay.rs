//! What operators ask of the running daemon: documents again, quarantine, everything read anew.

use super::apply_loop::{self, look};
use super::{Ask, Error, ReplayTarget, Running, Told};
use crate::journal::entry::{Command, Unit};
use crate::model::{Generation, Key};
use crate::pipeline::apply::{self, to_hex};
use crate::pipeline::ingest::Order;
use crate::store::engine::Engine;
use crate::store::meta::{self, Quarantined};

/// Quarantined documents listed at most.
const LIST_MAX: usize = 10_000;

impl<E: Engine> Running<E> {
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
        let (facts, specs) = self.prepare_facts(&looked, Some(&before), names.clone()).await?;
        let units: Vec<Unit> = looked
            .parsed
            .iter()
            .zip(&looked.plans.plans)
            .filter(|(parsed, _)| names.contains(&parsed.name.value))
            .flat_map(|(_, plan)| plan.nodes.iter().map(|node| node.table))
            .filter_map(|table| facts.catalog.by_id(table))
            .flat_map(|table| table.row_oids().map(|oid| Unit { table: table.id, oid }))
            .collect();
        self.report.specs = specs;
        self.journal_facts(&facts).await?;
        self.order(Order::Command(Command::ReadAgain { units })).await?;
        Ok(Told::Done { what: format!("reading {} again, into new indices", names.join(", ")), entry: None })
    }
}
