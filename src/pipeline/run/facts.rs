//! Which facts are in force, and which are to come: definitions from files, tables from the source.

use std::sync::Arc;

use super::{Error, Running};
use crate::journal::entry::{Definition, Facts};
use crate::model::{Catalog, Diagnostic, Generation, Trace};
use crate::pipeline::ingest::{Done, Order};
use crate::projection::compile::{compile, tables_named};
use crate::projection::definition::{self, Definition as Parsed};
use crate::projection::plan::PlanSet;
use crate::sink::IndexSpec;
use crate::source::{self, Source};
use crate::store::engine::Engine;

/// A projection file as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectionFile {
    /// For errors.
    pub path: String,
    pub text: String,
}

/// Definitions compiled against the source as it is now.
pub struct Looked {
    pub parsed: Vec<Parsed>,
    pub catalog: Catalog,
    pub traces: Vec<Trace>,
    pub plans: PlanSet,
}

/// Parses the files; every mistake of all of them at once.
pub fn parse(files: &[ProjectionFile]) -> Result<Vec<Parsed>, Error> {
    let mut parsed = Vec::new();
    let mut mistakes = Vec::new();
    for file in files {
        match definition::parse(&file.path, &file.text) {
            Ok(definition) => parsed.push(definition),
            Err(found) => mistakes.extend(found),
        }
    }
    if mistakes.is_empty() { Ok(parsed) } else { Err(Error::Projections(mistakes)) }
}

/// Looks up the tables that these definitions name; the last part is what was not found.
pub async fn find(
    source: &Arc<dyn Source>,
    parsed: &[Parsed],
    known: &Catalog,
) -> Result<(Catalog, Vec<Trace>, Vec<Diagnostic>), source::Error> {
    let names: Vec<String> = tables_named(parsed)
        .into_iter()
        .map(|table| match table.schema {
            Some(schema) => format!("{schema}.{}", table.name),
            None => table.name,
        })
        .collect();
    let found = source.find(&names, known).await?;
    let missing = found.missing.iter().map(|(name, instead)| Diagnostic {
        file: "projections".to_owned(),
        line: 0,
        column: 0,
        code: "unknown-table",
        message: format!("there is no table {name}"),
        hint: match instead.as_slice() {
            [] => "Check the name, and that the reading role may see the table.".to_owned(),
            instead => format!("Did you mean {}?", instead.join(" or ")),
        },
    });
    Ok((found.catalog, found.traces, missing.collect()))
}

/// Compiles what [`find`] has found; every mistake of all files at once.
pub fn compile_found(
    parsed: &[Parsed],
    catalog: &Catalog,
    missing: Vec<Diagnostic>,
) -> Result<PlanSet, Vec<Diagnostic>> {
    compile(parsed, catalog).map_err(|found| {
        // Compile says the same of a missing table, but with its place.
        let placed = found.iter().any(|mistake| mistake.code == "unknown-table");
        let missing = if placed { Vec::new() } else { missing };
        missing.into_iter().chain(found).collect()
    })
}

/// Looks the tables up and compiles.
pub async fn look(
    source: &Arc<dyn Source>,
    files: &[ProjectionFile],
    known: &Catalog,
) -> Result<Looked, Error> {
    let parsed = parse(files)?;
    let (catalog, traces, missing) = find(source, &parsed, known).await?;
    let plans = compile_found(&parsed, &catalog, missing).map_err(Error::Projections)?;
    Ok(Looked { parsed, catalog, traces, plans })
}

/// The facts as they should be: generations are kept where the definition is the same, unless `anew` names
/// the projection; new ones are numbered on behind `highest`. `files` stand in the order of
/// [`Looked::parsed`].
pub fn facts_of(
    looked: &Looked,
    files: &[ProjectionFile],
    before: Option<&Facts>,
    anew: &[String],
    highest: u16,
    journal_id: &str,
) -> Facts {
    let journaled = before.and_then(|facts| facts.definitions.iter().map(|known| known.generation.0).max());
    let mut next = journaled.unwrap_or(0).max(highest);
    let compiled = before.map(compiled_before).unwrap_or_default();
    let definitions = looked
        .parsed
        .iter()
        .zip(&looked.plans.plans)
        .zip(files)
        .map(|((parsed, plan), file)| {
            // The same definition over the same facts, assembled the same way: the same documents.
            let kept = compiled.iter().find(|(known, fingerprint)| {
                known.name == parsed.name.value
                    && !anew.contains(&known.name)
                    && *fingerprint == plan.fingerprint()
            });
            let kept = kept.map(|(known, _)| *known);
            match kept {
                Some(kept) => Definition { source: file.text.clone(), ..kept.clone() },
                None => {
                    next += 1;
                    let short = journal_id.get(..6).unwrap_or(journal_id);
                    Definition {
                        name: parsed.name.value.clone(),
                        source: file.text.clone(),
                        generation: Generation(next),
                        index: format!("{}-{short}-{next}", parsed.index.value),
                    }
                }
            }
        })
        .collect();
    Facts {
        catalog: looked.catalog.clone(),
        definitions,
        assembler: crate::projection::ASSEMBLER,
        traces: looked.traces.clone(),
    }
}

/// The indices that these facts feed.
pub fn indices_of(facts: &Facts, looked: &Looked, journal_id: &str) -> Vec<IndexSpec> {
    facts
        .definitions
        .iter()
        .zip(&looked.parsed)
        .zip(&looked.plans.plans)
        .map(|((definition, parsed), plan)| IndexSpec {
            projection: definition.name.clone(),
            generation: definition.generation,
            index: definition.index.clone(),
            alias: parsed.index.value.clone(),
            mappings: plan.mapping().clone(),
            settings: plan.settings().clone(),
            journal_id: journal_id.to_owned(),
            definition: format!("{:016x}", plan.fingerprint()),
        })
        .collect()
}

impl<E: Engine> Running<E> {
    /// The facts that the journal holds last.
    pub(super) fn journaled_facts(&self) -> Option<Facts> {
        let payload = self.recovered.facts.as_ref()?;
        serde_json::from_slice(payload).ok()
    }

    pub(super) fn facts_of(&self, looked: &Looked, before: Option<&Facts>, anew: &[String]) -> Facts {
        let taken = self.highest_generation().max(self.report.generation_floor);
        facts_of(looked, &self.projections, before, anew, taken, &self.journal_id)
    }

    fn highest_generation(&self) -> u16 {
        let published = super::apply_loop::look(&self.board);
        published.generations.iter().map(|state| state.generation.0).max().unwrap_or(0)
    }

    pub(super) fn indices(&self, facts: &Facts, looked: &Looked) -> Vec<IndexSpec> {
        indices_of(facts, looked, &self.journal_id)
    }

    /// Appends facts to the journal.
    pub(super) async fn journal_facts(&mut self, facts: &Facts) -> Result<(), Error> {
        self.report.facts_entry = self.order(Order::Facts(Box::new(facts.clone()))).await?;
        self.recovered.facts = Some(serde_json::to_vec(facts).unwrap_or_default().into());
        Ok(())
    }

    /// Gives ingest an order and waits until it is durable.
    pub(super) async fn order(&mut self, order: Order) -> Result<crate::model::EntryNo, Error> {
        let (answer, done) = tokio::sync::oneshot::channel();
        let lost =
            || source::Error::Retry { operation: "journal", reason: "the connection ended".to_owned() };
        self.ingest
            .send(super::ingest_loop::Input::Order(order, answer))
            .await
            .map_err(|_| Error::Panicked("ingest"))?;
        match done.await {
            Ok(Done::Appended(entry)) => Ok(entry),
            Ok(Done::Dropped) => Err(lost().into()),
            Err(_) => Err(Error::Panicked("ingest")),
        }
    }
}

/// Journaled definitions with the fingerprints of their plans; none when this program cannot compile them
/// any more.
fn compiled_before(facts: &Facts) -> Vec<(&Definition, u64)> {
    if facts.assembler != crate::projection::ASSEMBLER {
        return Vec::new();
    }
    let parsed: Result<Vec<_>, _> = facts
        .definitions
        .iter()
        .map(|definition| definition::parse(&definition.name, &definition.source))
        .collect();
    let plans = parsed.and_then(|parsed| compile(&parsed, &facts.catalog));
    let Ok(plans) = plans else { return Vec::new() };
    facts.definitions.iter().zip(plans.plans.iter().map(|plan| plan.fingerprint())).collect()
}
