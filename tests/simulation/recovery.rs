//! How a process's end is judged, what operators do about it, and how everything comes to rest.

use std::sync::Arc;
use std::time::Duration;

use projectord::journal::identity::Identified;
use projectord::journal::{Journal, Recovered};
use projectord::model::{EntryNo, Lsn};
use projectord::pipeline::run::{Ask, Told, rebuild};
use projectord::source::Source;
use projectord::store::engine::{Engine, Read, Space};
use projectord::store::meta;

use super::desk::Fate;
use super::points;
use super::postgres::gate::SLOT;
use super::process::journal_options;
use super::world::{Broken, End, World};

/// Steps that coming to rest may take.
const REST_STEPS_MAX: u64 = 12_000;
/// And the time, by the virtual clock.
const REST_WITHIN: Duration = Duration::from_secs(3_600);

impl World {
    /// These refusals are right from now on.
    pub fn allow(&mut self, codes: &[&'static str]) {
        self.allowed.extend(codes);
    }

    /// The sink lost what it had acknowledged: only new indices make it whole.
    pub fn lost_writes(&mut self) {
        let names: Vec<String> = self.sink.cluster().indices.keys().cloned().collect();
        names.iter().for_each(|name| self.truth.forget(name));
        self.truth.floor = EntryNo(u64::MAX);
        self.needs_replay = true;
    }

    /// What became of the process, and of what operators asked it.
    pub fn look_at_the_process(&mut self) -> Result<(), Broken> {
        let Some(process) = &mut self.process else { return Ok(()) };
        for told in process.told() {
            match told {
                Told::Done { .. } if self.replaying => {
                    let entry = self.truth.chronicle.read_to().next();
                    self.truth.floor = entry;
                    (self.replaying, self.needs_replay) = (false, false);
                    self.watch.note("operator: new indices after lost writes");
                }
                Told::Failed { code, .. } => {
                    self.replaying = false;
                    self.watch.count(format!("operator: told {code}"));
                }
                _ => {}
            }
        }
        self.replaying &= process.is_asked();
        let Some(ended) = process.ended() else { return Ok(()) };
        self.process = None;
        self.replaying = false;
        self.disk.killed();
        let stopping = std::mem::take(&mut self.stopping);
        let Err(error) = ended else {
            self.watch.note("the process stopped when asked");
            return Ok(());
        };
        let text = error.to_string();
        let code = text.split(':').next().unwrap_or_default().to_owned();
        self.watch.trace(format_args!("the process ended: {text}"));
        if self.powerless {
            self.powerless = false;
            self.watch.note("the process died with the power");
            self.disk.power_cut(&mut self.random);
            return Ok(());
        }
        if code == "stop-timeout" && stopping {
            self.watch.note("stopping took too long");
            return Ok(());
        }
        if error.is_refusal() {
            if !self.allowed.contains(code.as_str()) {
                return Err(format!("refused without reason: {text}"));
            }
            self.watch.count(format!("refused: {code}"));
            return self.mend_refusal(&code, &text);
        }
        if self.failing && code == "journal-failed" {
            self.watch.count(format!("the process ended by a failure: {code}"));
            return Ok(());
        }
        if code == "store" && std::mem::take(&mut self.trouble.engine_fails) {
            self.watch.note("the process ended by a failure of the store's engine");
            return Ok(());
        }
        Err(format!("ended without reason: {text}"))
    }

    fn mend_refusal(&mut self, code: &str, text: &str) -> Result<(), Broken> {
        let due = self.must_refuse.take();
        match code {
            "source-other-system" => {
                // The operator reads which one it has to be: the journal may be from any of them.
                let ours = text.split("the journal was written from ").nth(1);
                let ours = ours.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
                self.server().system_identifier = ours.expect("the refusal names both servers");
            }
            "source-sync-standby" => self.server().standby_names.clear(),
            // A daemon that may make them does, at its next start; what was missed is refused then.
            "publication-missing" | "publication-lacks-table" => {
                self.must_refuse = due;
                return Ok(());
            }
            "alias-foreign" if self.give_the_alias_back() => return Ok(()),
            "sink-index-gone" | "sink-other-writer" | "sink-epoch" => return Ok(()), // starting again is enough
            "slot-missing"
            | "slot-lost"
            | "slot-advanced"
            | "publication-changed"
            | "source-timeline"
            | "source-behind"
                if !self.rotten && self.random.u8(..4) > 0 =>
            {
                self.rebuild()?;
            }
            _ => {
                self.end = Some(End::Refused(code.to_owned()));
                return Ok(());
            }
        }
        self.allowed.remove(code);
        Ok(())
    }

    /// `projectord rebuild`.
    fn rebuild(&mut self) -> Result<(), Broken> {
        self.watch.note("operator: rebuild");
        let before = self.journaled_rebuild();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let (folder, files) = (self.folder.clone(), Arc::new(self.disk.files.clone()));
        let source: Arc<dyn Source> = self.source.clone();
        let running = runtime.spawn(async move {
            let waits = |_| {};
            let (journal, recovered) = Journal::open(files, journal_options(), folder.journal_id(), 0)?;
            rebuild(journal, recovered, &source, SLOT, &waits).await
        });
        self.server().down = false;
        for _ in 0..400 {
            points::within(|| runtime.block_on(tokio::task::yield_now()));
            if running.is_finished() || points::is_dead() {
                break;
            }
            self.end_transactions();
            self.server().notice_abandoned();
            self.desk.serve(&mut self.random, Fate::Goes);
        }
        if points::is_dead() {
            drop(runtime);
            self.take_the_dead_away();
            // It may have died behind its last word.
            let left = self.journaled_rebuild();
            if let Some((_, position)) = left.filter(|_| left != before) {
                let number = self.server().moment_at(position).number;
                self.truth.chronicle.rebuilt(number);
            }
            return self.rebuild();
        }
        if !running.is_finished() {
            return Err("a rebuild does not end".to_owned());
        }
        match runtime.block_on(running) {
            Ok(Ok(position)) => {
                let number = self.server().moment_at(position).number;
                self.truth.chronicle.rebuilt(number);
                for code in ["slot-missing", "slot-lost", "slot-advanced", "publication-changed"] {
                    self.allowed.remove(code);
                }
                Ok(())
            }
            Ok(Err(error)) if self.failing => {
                self.watch.trace(format_args!("the rebuild failed: {error}"));
                self.end = Some(End::Refused("journal-failed".to_owned()));
                Ok(())
            }
            Ok(Err(error)) => Err(format!("a rebuild failed: {error}")),
            Err(error) => Err(format!("a rebuild panicked: {error}")),
        }
    }

    /// The journal's last Rebuild entry and its position, unless facts have followed it.
    fn journaled_rebuild(&self) -> Option<(EntryNo, Lsn)> {
        let recovered = self.journal_as_it_stands()?;
        Some((recovered.rebuilt?, recovered.end_lsn?))
    }

    /// What a start would find, the page cache included; nothing where it would refuse.
    pub fn journal_as_it_stands(&self) -> Option<Recovered> {
        let files = Arc::new(self.disk.files.copy());
        Journal::open(files, journal_options(), self.folder.id(), 0).ok().map(|(_, recovered)| recovered)
    }

    /// What operators and time mend when nothing new goes wrong.
    pub fn mend(&mut self) {
        if self.process.is_none() {
            return self.start();
        }
        if self.random.u8(..4) > 0 {
            return;
        }
        if self.needs_replay && !self.replaying && !self.powerless {
            self.replaying = true;
            // A replay would not do: it sends rows that are there, and deletes were lost too.
            self.ask(Ask::Backfill(None));
        } else {
            self.ask(Ask::QuarantineRetry(None));
        }
    }

    fn ask(&mut self, ask: Ask) {
        if let Some(process) = &mut self.process {
            process.ask(ask);
        }
    }

    /// I5: a power cut at this moment would leave everything that was confirmed.
    pub fn check_confirmed(&mut self) -> Result<(), Broken> {
        let Some(confirmed) = self.watch.take_confirmed() else { return Ok(()) };
        let files = Arc::new(self.disk.files.durable());
        let opened = Journal::open(files, journal_options(), self.folder.id(), 0);
        let end = match opened {
            Ok((_, recovered)) => recovered.end_lsn.unwrap_or(Lsn::ZERO),
            Err(_) if self.rotten => return Ok(()),
            Err(error) => return Err(format!("what is on disk cannot be recovered: {error} (I5)")),
        };
        if end < confirmed {
            return Err(format!("{confirmed} was confirmed, on disk is {end} (I5)"));
        }
        self.watch.note("check: what was confirmed is on disk");
        Ok(())
    }

    /// Nothing new happens and nothing fails: everything has to come to rest.
    pub fn rest(&mut self) -> Result<(), Broken> {
        if self.powerless {
            self.cut_power(); // it goes now
        }
        self.quiet = true;
        self.disk.files.set_capacity(None);
        self.server().down = false;
        self.sink.cluster().sync();
        self.sink.cluster().asynchronous = false;
        let began = self.clock.elapsed();
        let mut why = String::new();
        for number in 0..REST_STEPS_MAX {
            self.step()?;
            if self.end.is_some() {
                return Ok(());
            }
            if number % 16 == 15 {
                match self.at_rest() {
                    Ok(()) => {
                        self.quiet = false;
                        return self.check_rest();
                    }
                    Err(reason) => why = reason,
                }
                if self.clock.elapsed() > began + REST_WITHIN {
                    break;
                }
            }
        }
        Err(format!("no rest: {why}"))
    }

    fn at_rest(&mut self) -> Result<(), String> {
        let Some(process) = &self.process else { return Err("no process runs".to_owned()) };
        let view = process.store.view().map_err(|error| error.to_string())?;
        if self.needs_replay {
            return Err("lost writes were not replayed".to_owned());
        }
        if let Some(code) = self.must_refuse {
            return Err(format!("{code} was not refused"));
        }
        if self.twin.is_some() {
            return Err("the first of two daemons has not stopped".to_owned());
        }
        if !self.sink.is_idle() {
            return Err("the sink is busy".to_owned());
        }
        let reached = meta::reached(&view).map_err(|error| error.to_string())?;
        let dirty = reached.dirty.iter().any(|(_, c)| c.changes + c.scanned + c.scans + c.quarantined > 0);
        if reached.inside || dirty || reached.incomplete > 0 {
            let incomplete = meta::incomplete(&view, EntryNo::ZERO, 10).map_err(|error| error.to_string())?;
            let units = meta::units(&view).map_err(|error| error.to_string())?;
            return Err(format!("the store is not clean: {reached:?} {incomplete:?} {units:?}"));
        }
        let units = meta::units(&view).map_err(|error| error.to_string())?;
        if let Some(unit) = units.iter().find(|unit| !unit.complete) {
            return Err(format!("a table is not complete: {unit:?}"));
        }
        let shapes = self.shapes();
        let (source, sink) = (Arc::clone(&self.source), Arc::clone(&self.sink));
        let server = source.server();
        if !server.open.is_empty() {
            return Err("transactions are open".to_owned());
        }
        self.truth.converged(&shapes, &sink.cluster(), &server)
    }

    /// Nothing is left over.
    fn check_rest(&mut self) -> Result<(), Broken> {
        self.watch.note("at rest, and the sink is the oracle's");
        let Some(process) = &self.process else { return Ok(()) };
        let view = process.store.view().map_err(|error| error.to_string())?;
        let left = view.count(Space::Dirty).map_err(|error| error.to_string())?;
        if left > 0 {
            return Err(format!("{left} marks, scans or barriers are left at rest"));
        }
        let quarantined = meta::quarantine(&view, 1).map_err(|error| error.to_string())?;
        if !quarantined.is_empty() {
            return Err("a document is left in quarantine".to_owned());
        }
        let mut tombstones = false;
        view.scan(Space::Meta, b"t/", None, &mut |_, _| {
            tombstones = true;
            std::ops::ControlFlow::Break(())
        })
        .map_err(|error| error.to_string())?;
        if tombstones {
            return Err("a tombstone is left at rest".to_owned());
        }
        Ok(())
    }

    /// A whole run; what the application did in it is counted at its end.
    pub fn run(&mut self, limit: u64) -> Result<End, Broken> {
        let end = self.wild_and_at_rest(limit);
        self.server().note_deeds(&self.watch);
        end
    }

    /// Wild, at rest, wild again.
    fn wild_and_at_rest(&mut self, limit: u64) -> Result<End, Broken> {
        self.start();
        let mut wild = 0;
        for steps in self.plan.rounds {
            for _ in 0..steps {
                if wild >= limit {
                    break;
                }
                wild += 1;
                self.step()?;
                if let Some(end) = &self.end {
                    return Ok(end.clone());
                }
            }
            self.rest()?;
            if let Some(end) = &self.end {
                return Ok(end.clone());
            }
        }
        Ok(End::Converged)
    }
}
