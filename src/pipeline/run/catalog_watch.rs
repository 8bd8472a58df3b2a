//! Looks now and then whether tables changed without a word in the stream (hazards 28, 30-33).

use std::time::Duration;

use tokio::sync::oneshot;

use super::clock::within;
use super::ingest_loop::Input;
use super::{Error, Running};
use crate::journal::entry::Facts;
use crate::model::{Catalog, Table, Trace};
use crate::pipeline::ingest::Order;
use crate::source::{self, Found};
use crate::store::engine::Engine;

/// How long the look may take: the loops go on meanwhile, but nobody is answered.
const LOOK_WAIT_MAX: Duration = Duration::from_secs(5);

/// What a look has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Shown {
    Nothing,
    /// Files were rewritten, or types renamed: what has to be read again, apply finds by the traces.
    Traces,
    /// Something that only a new connection judges: the gate passes it, or refuses it. What it was.
    Other(String),
}

impl<E: Engine> Running<E> {
    /// Says why the connection should be made anew, when it should.
    pub(super) async fn look_at_catalog(&mut self) -> Result<Option<String>, Error> {
        let now = self.machine.clock.now();
        if now.saturating_sub(self.report.catalog_looked) < self.options.catalog_interval {
            return Ok(None);
        }
        self.report.catalog_looked = now;
        let Some(facts) = self.journaled_facts() else { return Ok(None) };
        let looked = within(&*self.machine.clock, LOOK_WAIT_MAX, self.source.look(&facts.catalog)).await;
        let late = || source::Error::Retry {
            operation: "look at the tables",
            reason: format!("no answer within {LOOK_WAIT_MAX:?}"),
        };
        let found = match looked.unwrap_or_else(|| Err(late())) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            Err(error @ source::Error::Refused { .. }) => return Err(error.into()),
            Err(error) => {
                self.observer.retried("source", &error.to_string());
                return Ok(None); // later; the stream itself notices a server that is gone
            }
        };
        match shown(&facts, &found) {
            Shown::Nothing => Ok(None),
            Shown::Other(what) => Ok(Some(what)),
            Shown::Traces => {
                let names: Vec<&str> = rewritten(&facts, &found.traces).collect();
                if !names.is_empty() {
                    tracing::info!(tables = names.join(", "), "changed without a word: read again");
                }
                self.journal_traces(Facts { traces: found.traces, ..facts }).await?;
                Ok(None)
            }
        }
    }

    /// Has the same facts with newer traces journaled, without waiting for it: an open transaction may hold
    /// it up for long. Were it lost, the next look would find the same again.
    async fn journal_traces(&mut self, facts: Facts) -> Result<(), Error> {
        self.recovered.facts = Some(serde_json::to_vec(&facts).unwrap_or_default().into());
        let (answer, _) = oneshot::channel();
        let order = Input::Order(Order::Facts(Box::new(facts)), answer);
        self.ingest.send(order).await.map_err(|_| Error::Panicked("ingest"))
    }
}

fn shown(facts: &Facts, found: &Found) -> Shown {
    if let Some((name, _)) = found.missing.first() {
        return Shown::Other(format!("{name} is gone"));
    }
    let before = |table: &&Table| facts.catalog.by_id(table.id) != Some(table);
    if let Some(table) = found.catalog.tables.iter().find(before) {
        return Shown::Other(format!("{} is not as it was", table.qualified_name()));
    }
    for now in &found.traces {
        let standing = facts.traces.iter().find(|before| before.oid == now.oid).map(|known| &known.standing);
        // None in older journals: then the gate has just passed it.
        if standing.is_some_and(|standing| *standing != now.standing) {
            let name = name_of(&facts.catalog, now.oid).unwrap_or("a table");
            return Shown::Other(format!("{name} or its publication is not as it was"));
        }
    }
    if found.traces == facts.traces { Shown::Nothing } else { Shown::Traces }
}

/// Names of relations whose rows are not to be believed any more.
fn rewritten<'a>(facts: &'a Facts, now: &'a [Trace]) -> impl Iterator<Item = &'a str> {
    facts.traces.iter().filter_map(move |before| {
        let now = now.iter().find(|now| now.oid == before.oid)?;
        if before.is_rewritten(now) { name_of(&facts.catalog, before.oid) } else { None }
    })
}

fn name_of(catalog: &Catalog, oid: u32) -> Option<&str> {
    let leaf = catalog.tables.iter().flat_map(|table| &table.leaves).find(|leaf| leaf.oid == oid);
    let table = catalog.tables.iter().find(|table| table.oid == oid);
    leaf.map(|leaf| leaf.name.as_str()).or(table.map(|table| table.name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Leaf, ReplicaIdentity, TableId};

    fn facts() -> Facts {
        let leaf = Leaf { oid: 11, schema: "public".to_owned(), name: "leaf".to_owned() };
        let table = Table {
            id: TableId(1),
            oid: 10,
            schema: "public".to_owned(),
            name: "orders".to_owned(),
            identity: ReplicaIdentity::Default,
            leaves: vec![leaf],
            columns: Vec::new(),
            key: Vec::new(),
            primary_key: Vec::new(),
            foreign_keys: Vec::new(),
            unique_keys: Vec::new(),
        };
        let root = Trace { oid: 10, ..Trace::default() };
        let leaf = Trace { oid: 11, path: "10:5".to_owned(), ..Trace::default() };
        Facts {
            catalog: Catalog { tables: vec![table] },
            definitions: Vec::new(),
            assembler: 1,
            traces: vec![root, leaf],
        }
    }

    fn look(change: impl FnOnce(&mut Found)) -> (Shown, Vec<String>) {
        let facts = facts();
        let mut found =
            Found { catalog: facts.catalog.clone(), missing: Vec::new(), traces: facts.traces.clone() };
        change(&mut found);
        let names = rewritten(&facts, &found.traces).map(str::to_owned).collect();
        (shown(&facts, &found), names)
    }

    #[test]
    fn what_the_gate_must_judge_is_told_from_what_only_has_to_be_read_again() {
        let none: Vec<String> = Vec::new();
        assert_eq!(look(|_| {}), (Shown::Nothing, none.clone()));
        assert_eq!(look(|found| found.traces[0].storage = 2), (Shown::Traces, none.clone()), "TRUNCATE");
        assert_eq!(look(|found| found.traces[1].storage = 2), (Shown::Traces, vec!["leaf".to_owned()]));
        let other = |words: &str| (Shown::Other(words.to_owned()), none.clone());
        let standing = look(|found| found.traces[1].standing = "unlogged".to_owned());
        assert_eq!(standing, other("leaf or its publication is not as it was"));
        let detached = look(|found| drop(found.catalog.tables[0].leaves.pop()));
        assert_eq!(detached, other("public.orders is not as it was"));
        let gone = look(|found| {
            found.catalog.tables.clear();
            found.missing.push(("public.orders".to_owned(), Vec::new()));
        });
        assert_eq!(gone, other("public.orders is gone"));
    }
}
