//! The cluster as a [`Sink`].

use projectord::model::{Document, Epoch, Outcome};
use projectord::sink::{Answer, Error, IndexSpec, PreparedIndex, Sink};
use tokio::sync::oneshot;

use super::{Answered, Cluster, Elastic, Request, foreign};
use crate::desk::Fate;
use crate::points;

fn retry<T>(operation: &'static str, reason: String) -> Result<T, Error> {
    Err(Error::Retry { operation, reason })
}

impl Elastic {
    fn arrive(&self, documents: Vec<Document>, answer: oneshot::Sender<Answered>) {
        let mut cluster = self.cluster();
        let sent = cluster.now;
        cluster.arrived.push_back(Request { documents, answer: Some(answer), sent, due: sent });
    }

    /// A call that happens at one step and answers at another.
    async fn call<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&mut Cluster) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if self.desk.pass(operation).await == Fate::Fails {
            return retry(operation, "planned: not reachable".to_owned());
        }
        let done = work(&mut self.cluster());
        if self.desk.pass("answer").await == Fate::Fails {
            return retry(operation, "planned: no answer".to_owned());
        }
        done
    }
}

fn gone<T>(operation: &'static str, spec: &IndexSpec) -> Result<T, Error> {
    retry(operation, format!("index '{}' is gone", spec.index))
}

impl Sink for Elastic {
    fn check<'a>(&'a self, indices: &'a [IndexSpec]) -> Answer<'a, Vec<Error>> {
        Box::pin(async move {
            let cluster = self.cluster();
            let other = |spec: &&IndexSpec| {
                cluster.indices.get(&spec.index).is_some_and(|held| held.spec.journal_id != spec.journal_id)
            };
            indices.iter().filter(other).map(foreign).collect()
        })
    }

    fn prepare<'a>(&'a self, spec: &'a IndexSpec) -> Answer<'a, Result<PreparedIndex, Error>> {
        Box::pin(self.call("prepare the index", |cluster| {
            cluster.own_alias("prepare the index", spec)?;
            let prepared = cluster.prepare(spec)?;
            self.watch.trace(format_args!("prepared: {} of epoch {}", spec.index, prepared.epoch));
            Ok(prepared)
        }))
    }

    fn claim<'a>(&'a self, spec: &'a IndexSpec, epoch: Epoch) -> Answer<'a, Result<(), Error>> {
        Box::pin(self.call("claim the index", move |cluster| {
            let Some(index) = cluster.indices.get_mut(&spec.index) else {
                return gone("claim the index", spec);
            };
            if index.epoch > epoch {
                return Err(Error::Refused {
                    code: "sink-epoch",
                    operation: "claim the index",
                    reason: format!("epoch {} has claimed '{}'", index.epoch, spec.index),
                    hint: "Stop the other daemon".to_owned(),
                });
            }
            index.epoch = epoch;
            self.watch.trace(format_args!("claimed: {} for epoch {epoch}", spec.index));
            Ok(())
        }))
    }

    fn look<'a>(&'a self, spec: &'a IndexSpec) -> Answer<'a, Result<Option<PreparedIndex>, Error>> {
        Box::pin(self.call("look at the index", |cluster| {
            let durable = !cluster.asynchronous;
            if cluster.indices.get(&spec.index).is_some_and(|index| index.unwritable) {
                return Err(Error::Refused {
                    code: "alias-foreign",
                    operation: "look at the index",
                    reason: "planned: somebody removed the write alias".to_owned(),
                    hint: "Start the daemon again".to_owned(),
                });
            }
            Ok(cluster.indices.get(&spec.index).map(|index| index.prepared(false, durable)))
        }))
    }

    fn send<'a>(&'a self, documents: &'a [Document]) -> Answer<'a, Result<Vec<Outcome>, Error>> {
        let (answer, answered) = oneshot::channel();
        let documents = documents.to_vec();
        Box::pin(async move {
            if points::is_dead() {
                return std::future::pending().await;
            }
            self.arrive(documents, answer);
            match answered.await {
                Ok(answer) => answer,
                Err(_) => retry("send documents", "planned: the connection is lost".to_owned()),
            }
        })
    }

    fn refresh<'a>(&'a self, spec: &'a IndexSpec) -> Answer<'a, Result<(), Error>> {
        Box::pin(self.call("refresh the index", |cluster| {
            if cluster.indices.contains_key(&spec.index) { Ok(()) } else { gone("refresh the index", spec) }
        }))
    }

    fn publish<'a>(&'a self, spec: &'a IndexSpec) -> Answer<'a, Result<(), Error>> {
        Box::pin(self.call("lead the alias to the index", |cluster| {
            cluster.own_alias("lead the alias to the index", spec)?;
            if !cluster.indices.contains_key(&spec.index) {
                return gone("lead the alias to the index", spec);
            }
            cluster.aliases.insert(spec.alias.clone(), spec.index.clone());
            Ok(())
        }))
    }

    fn prune<'a>(&'a self, spec: &'a IndexSpec, keep: u16) -> Answer<'a, Result<Vec<String>, Error>> {
        Box::pin(self.call("delete old indices", move |cluster| {
            let kept = spec.generation.0.saturating_sub(keep);
            let aliases = &cluster.aliases;
            let old = cluster.indices.values().filter(|index| {
                index.spec.journal_id == spec.journal_id
                    && index.spec.projection == spec.projection
                    && index.spec.generation.0 < kept
                    && !aliases.values().any(|target| *target == index.spec.index)
            });
            let names: Vec<String> = old.map(|index| index.spec.index.clone()).collect();
            names.iter().for_each(|name| drop(cluster.indices.remove(name)));
            Ok(names)
        }))
    }
}

impl Cluster {
    /// An alias that leads to somebody else's index is not ours to move.
    fn own_alias(&self, operation: &'static str, spec: &IndexSpec) -> Result<(), Error> {
        let Some(target) = self.aliases.get(&spec.alias) else { return Ok(()) };
        let sibling = self.indices.get(target).is_some_and(|index| {
            index.spec.journal_id == spec.journal_id && index.spec.projection == spec.projection
        });
        if sibling {
            return Ok(());
        }
        Err(Error::Refused {
            code: "alias-foreign",
            operation,
            reason: format!("'{}' leads to '{target}', which is not this daemon's", spec.alias),
            hint: "Remove the alias".to_owned(),
        })
    }
}
