//! From nothing to a stream that has passed the gate: facts, publication, slot, indices, epoch, connection.

use std::sync::Arc;
use std::sync::mpsc as threads;

use super::conduct::forward;
use super::deliver_loop::{self, Deliver};
use super::facts::{self, Looked};
use super::{Error, Running, hosting, ingest_loop};
use crate::failpoint;
use crate::journal::entry::{Command, Facts, Unit};
use crate::model::{Epoch, Lsn};
use crate::pipeline::deliver::Deliverer;
use crate::pipeline::ingest::Order;
use crate::planted::{self, Bug};
use crate::sink::{self, IndexSpec};
use crate::source::{Event, Identity, Resume, Stream};
use crate::store::engine::Engine;

impl<E: Engine> Running<E> {
    /// Everything from the tables' facts to a stream that has passed the gate.
    pub(super) async fn connect(&mut self) -> Result<Stream, Error> {
        self.steps.at("look the tables up");
        let before = self.journaled_facts();
        let known = before.as_ref().map(|facts| facts.catalog.clone()).unwrap_or_default();
        let mut looked = facts::look(&self.source, &self.projections, &known).await?;
        self.steps.at("prepare the publication");
        self.source.prepare_publication(&looked.catalog.tables).await?;
        failpoint::hit("connect.publication");
        // Membership in the publication is among the traces.
        if let Some(found) = self.source.look(&looked.catalog).await? {
            looked.traces = found.traces;
        }
        // After a gap nobody knows what the indices lack: all of them are built anew (rule 34).
        let rebuilt = self.recovered.rebuilt.is_some();
        let anew: Vec<String> = if rebuilt {
            looked.parsed.iter().map(|parsed| parsed.name.value.clone()).collect()
        } else {
            Vec::new()
        };
        self.steps.at("prepare the indices");
        let (facts, specs) = self.prepare_facts(&looked, before.as_ref(), anew).await?;
        if before.as_ref() != Some(&facts) || self.wants_new_facts() {
            self.steps.at("journal the tables' columns");
            self.journal_facts(&facts).await?;
            failpoint::hit("connect.facts");
            self.recovered.rebuilt = None;
        }
        let mut indices = self.folder.indices();
        indices.retain(|index, _| specs.iter().any(|spec| spec.index == *index));
        self.folder.remember_indices(indices)?;
        self.report.specs = specs;
        let stream = self.open_stream(&facts).await?;
        if self.deliver.is_none() {
            self.start_deliver()?; // rule 37: this process holds the slot now
        }
        Ok(stream)
    }

    /// New facts, and their indices prepared and claimed. The projections in `anew`, and those whose index was
    /// replaced, get new generations.
    pub(super) async fn prepare_facts(
        &mut self,
        looked: &Looked,
        before: Option<&Facts>,
        mut anew: Vec<String>,
    ) -> Result<(Facts, Vec<IndexSpec>), Error> {
        loop {
            let (facts, specs) = self.free_generations(looked, before, &anew).await?;
            if self.recovered.end_lsn.is_none() || planted::is(Bug::SlotMadeAgain) {
                self.steps.at("create the slot");
                self.first_slot(&facts.catalog.tables).await?;
                self.steps.at("prepare the indices");
            }
            let replaced = self.prepare_sink(&specs, before).await?;
            if replaced.is_empty() {
                return Ok((facts, specs));
            }
            if replaced.iter().all(|projection| anew.contains(projection)) {
                let reason = "an index that was free a moment ago is somebody's".to_owned();
                return Err(sink::Error::Retry { operation: "prepare the index", reason }.into());
            }
            anew.extend(replaced);
        }
    }

    /// Facts whose new generations have indices that are not there yet: one left by an earlier journal of
    /// this data folder may hold documents that nobody knows of.
    async fn free_generations(
        &mut self,
        looked: &Looked,
        before: Option<&Facts>,
        anew: &[String],
    ) -> Result<(Facts, Vec<IndexSpec>), Error> {
        loop {
            let facts = self.facts_of(looked, before, anew);
            let specs = self.indices(&facts, looked);
            let mut taken = None;
            for spec in &specs {
                let known = before
                    .is_some_and(|before| before.definitions.iter().any(|d| d.generation == spec.generation));
                if !known && self.sink.look(spec).await?.is_some() {
                    taken = taken.max(Some(spec.generation.0));
                }
            }
            match taken {
                None => return Ok((facts, specs)),
                Some(taken) if taken == u16::MAX => {
                    return Err(Error::Refused {
                        code: "generations-exhausted",
                        reason: "every generation number has an index".to_owned(),
                        hint: "Delete old indices of this journal.".to_owned(),
                    });
                }
                Some(taken) => self.report.generation_floor = taken,
            }
        }
    }

    /// Rule 35: indices prepared, then an epoch above all that they have seen, written to them and here
    /// before the first document. Returns the projections whose index is another one than we have filled: they
    /// need a new generation, and nothing is claimed.
    async fn prepare_sink(
        &mut self,
        specs: &[IndexSpec],
        before: Option<&Facts>,
    ) -> Result<Vec<String>, Error> {
        let boot = self.machine.clock.boot_time();
        let mut seen = match self.epoch {
            None => self.epoch_in_force(specs, before).await?,
            Some(_) => Epoch(0),
        };
        let mut empty = Vec::new();
        let mut replaced = Vec::new();
        let known = self.folder.indices();
        // Until new facts are journaled, the indices of the old ones are filled as well.
        let mut indices = known.clone();
        for spec in specs {
            let prepared = self.sink.prepare(spec).await?;
            failpoint::hit("sink.prepared");
            seen = seen.max(prepared.epoch);
            if !prepared.durable {
                tracing::warn!(
                    index = spec.index,
                    "sink-not-durable: the sink may lose acknowledged writes in a crash (rule 39)"
                );
            }
            // Nobody has claimed it: it was made just now, or by a process that died before it could say so.
            if prepared.created || prepared.epoch == Epoch(0) {
                empty.push(spec.generation);
            } else if known.get(&spec.index) != Some(&prepared.uuid) {
                tracing::warn!(
                    index = spec.index,
                    "sink-index-replaced: somebody put another index in the place of ours; building a new one"
                );
                replaced.push(spec.projection.clone());
            }
            indices.insert(spec.index.clone(), prepared.uuid);
        }
        if !replaced.is_empty() {
            return Ok(replaced);
        }
        let epoch = match self.epoch {
            Some(epoch) => epoch,
            None => {
                let epoch = self.folder.take_epoch(seen)?;
                self.epoch = Some(epoch);
                failpoint::hit("epoch.taken");
                epoch
            }
        };
        if seen > epoch {
            return Err(Error::Refused {
                code: "sink-other-writer",
                reason: format!(
                    "an index has epoch {seen}, this process took {epoch}: another daemon writes to it"
                ),
                hint: "Stop the other daemon, then start this one again.".to_owned(),
            });
        }
        // A new generation is built whole in any case; for one that was built before, the index is gone.
        // Journaled before the claim, which is what tells an index that is being filled from an empty one.
        for generation in empty {
            if self.recovered.facts.is_some() {
                self.order(Order::Command(Command::Anew { generation })).await?;
                failpoint::hit("connect.anew");
            }
        }
        self.folder.remember_indices(indices)?;
        for spec in specs {
            self.sink.claim(spec, epoch).await?;
            failpoint::hit("sink.claimed");
        }
        self.looked.0.send_replace(boot);
        Ok(Vec::new())
    }

    /// What the indices that these would replace were claimed with, by a newer copy of this data folder perhaps. They
    /// stay in force when what is asked for now comes to nothing, and this process has to be above them then.
    /// (`&mut`, because the folder is not `Sync`.)
    async fn epoch_in_force(&mut self, specs: &[IndexSpec], before: Option<&Facts>) -> Result<Epoch, Error> {
        let mut seen = Epoch(0);
        for definition in before.iter().flat_map(|facts| &facts.definitions) {
            let replaces =
                |spec: &&IndexSpec| spec.projection == definition.name && spec.index != definition.index;
            let Some(spec) = specs.iter().find(replaces) else { continue };
            let (index, generation) = (definition.index.clone(), definition.generation);
            match self.sink.look(&IndexSpec { index, generation, ..spec.clone() }).await {
                Ok(found) => seen = seen.max(found.map_or(Epoch(0), |found| found.epoch)),
                Err(sink::Error::Refused { .. }) => {} // a matter for whoever prepares that index
                Err(error) => return Err(error.into()),
            }
        }
        Ok(seen)
    }

    async fn open_stream(&mut self, facts: &Facts) -> Result<Stream, Error> {
        self.steps.at("journal what came before");
        // What the last connection brought may still lie before ingest: the journal's end is behind that.
        let (tell, told) = tokio::sync::oneshot::channel();
        let asked = self.ingest.send(ingest_loop::Input::Tell(tell)).await;
        asked.map_err(|_| Error::Panicked("ingest"))?;
        let progress = told.await.map_err(|_| Error::Panicked("ingest"))?;
        let end_lsn = Some(progress.journaled).filter(|lsn| *lsn != Lsn::ZERO);
        let end_lsn = end_lsn.map(|lsn| if planted::is(Bug::ResumeOneEarly) { Lsn(lsn.0 - 1) } else { lsn });
        let recorded: Option<Identity> =
            self.recovered.connected.as_ref().and_then(|payload| serde_json::from_slice(payload).ok());
        let resume = Resume {
            end_lsn: end_lsn.or(self.recovered.end_lsn),
            recorded,
            begun_on: self.begun_on(),
            tables: facts.catalog.tables.clone(),
        };
        self.steps.at("begin the stream");
        let stream = self.source.connect(&resume).await?;
        self.steps.at("journal the connection");
        failpoint::hit("connect.gate");
        for warning in &stream.warnings {
            tracing::warn!("{warning}");
        }
        self.recovered.connected = serde_json::to_vec(&stream.identity).ok().map(Into::into);
        self.report.identity = Some(stream.identity.clone());
        // At the first connection nobody has read anything yet.
        if resume.recorded.is_some() && !stream.joined.is_empty() {
            // Hazards 10, 33: what was written before they joined is not in the stream. Journaled before the
            // identity that knows them, so that a crash in between forgets neither.
            let mut units = Vec::new();
            for table in &facts.catalog.tables {
                let joined = |oid: &u32| stream.joined.contains(oid) || stream.joined.contains(&table.oid);
                units.extend(table.row_oids().filter(joined).map(|oid| Unit { table: table.id, oid }));
            }
            self.order(Order::Command(Command::ReadAgain { units })).await?;
            failpoint::hit("connect.joined");
        }
        let confirm = ingest_loop::Input::Confirm(Arc::clone(&stream.confirm));
        let connected = ingest_loop::Input::Events(vec![Event::Connected(stream.identity.clone())]);
        for input in [confirm, connected] {
            self.ingest.send(input).await.map_err(|_| Error::Panicked("ingest"))?;
        }
        failpoint::hit("connect.identity");
        Ok(stream)
    }

    fn start_deliver(&mut self) -> Result<(), Error> {
        let Some(epoch) = self.epoch else { return Ok(()) };
        let (inputs, receiver) = threads::channel();
        let deliver = Deliver {
            deliverer: Deliverer::new(self.options.deliver, epoch),
            engine: Arc::clone(&self.engine),
            board: Arc::clone(&self.board),
            inputs: receiver,
            answers: inputs.clone(),
            apply: self.apply.clone(),
            sink: Arc::clone(&self.sink),
            runtime: tokio::runtime::Handle::current(),
            observer: Arc::clone(&self.observer),
            clock: Arc::clone(&self.machine.clock),
            random: Arc::clone(&self.machine.random),
            full_request: self.options.deliver.bulk_documents.min(500),
            trouble: self.sink_trouble.0.clone(),
            looked: self.looked.1.clone(),
            state: deliver_loop::State::since(*self.looked.1.borrow()),
        };
        let ending = hosting::start(&*self.machine.host, deliver, self.ended_sender.clone())?;
        self.deliver_ending = Some(ending);
        // Changes of the store wake it.
        tokio::spawn(forward(self.changed.clone(), inputs.clone(), || deliver_loop::Input::Changed));
        self.deliver = Some(inputs);
        Ok(())
    }
}
