//! Commands that change something while no daemon runs: under the data folder's lock, by the journal, so that
//! the next `run` carries them out.
//!
//! A daemon that begins at the same moment is kept out by the lock; one that runs already and did not answer
//! keeps us out (`data-locked`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::{daemon, parts, trust};
use crate::config::Config;
use crate::control::{Answer, QuarantineAction, Request, Target, Which};
use crate::error::{Exit, Failure};
use crate::journal::entry::Command;
use crate::journal::files::RealFiles;
use crate::journal::{self, DataFolder, Journal, Kind, Recovered, identity};
use crate::model::{EntryNo, Generation, Key};
use crate::pipeline::apply::{self, Applier, Order, to_hex};
use crate::pipeline::run::{self, Checkpoint, Told};
use crate::store::engine::Engine;
use crate::store::lmdb::Lmdb;
use crate::store::meta::{self, Quarantined};

/// Quarantined documents looked at, at most; as many as a running daemon lists.
const QUARANTINE_MAX: usize = 10_000;

/// Does what `request` asks. Only replay and quarantine can be done without a daemon.
pub fn handle(config: &Config, request: &Request) -> Result<Answer, Failure> {
    // Without a journal there is nothing to do, and none is begun for this.
    if !config.data.join(identity::FILE).exists() {
        return Err(super::no_daemon(config));
    }
    let told = match request {
        Request::Replay { target } => replay(config, target)?,
        Request::Quarantine { action, which } => quarantine(config, *action, which)?,
        Request::Status | Request::Backfill { .. } | Request::Stop => return Err(super::no_daemon(config)),
    };
    match daemon::answer_of(told) {
        Answer::Refused { code, message, hint } => {
            Err(Failure::new(Exit::Refused, format!("{code}: {message}")).hint(hint))
        }
        answer => Ok(answer),
    }
}

/// The locked data folder with its journal.
struct Alone {
    folder: DataFolder,
    journal: Journal,
    recovered: Recovered,
}

impl Alone {
    fn open(config: &Config) -> Result<Alone, Failure> {
        let failed = |error: journal::Error| daemon::failure(error.into());
        let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
        // The identity is there, so no id is made of this.
        let folder = DataFolder::open(&config.data, 0, unix_s).map_err(failed)?;
        let files = RealFiles::open(config.data.join("journal"))
            .map_err(|error| Failure::new(Exit::Failed, format!("open the journal's folder: {error}")))?;
        let options = parts::journal(config);
        let (mut journal, recovered) =
            Journal::open(Arc::new(files), options, folder.journal_id(), unix_s).map_err(failed)?;
        // Rules 6 and 8, should a segment begin behind our entries. Relations need not be repeated: before
        // the next row there is a new connection.
        let head = |kind, payload: &Option<Bytes>| payload.clone().map(|payload| (kind, payload));
        let in_force = [head(Kind::Facts, &recovered.facts), head(Kind::Connected, &recovered.connected)];
        journal.set_head(in_force.into_iter().flatten().collect());
        Ok(Alone { folder, journal, recovered })
    }

    /// Appends commands, durably. Returns the last one's number.
    fn append(&mut self, commands: &[Command]) -> Result<Option<EntryNo>, Failure> {
        let failed = |error: journal::Error| daemon::failure(error.into());
        let mut last = None;
        for command in commands {
            let payload = serde_json::to_vec(command)
                .map_err(|error| Failure::new(Exit::Failed, format!("write a command: {error}")))?;
            last = Some(self.journal.append(Kind::Command, &[&payload]).map_err(failed)?);
        }
        self.journal.sync().map_err(failed)?;
        Ok(last)
    }
}

fn replay(config: &Config, target: &Target) -> Result<Told, Failure> {
    let mut alone = Alone::open(config)?;
    // Closed at once: it only has to meet the journal, as what is appended has to be news to it.
    Store::open(config, &alone)?.close()?;
    let Some(payload) = alone.recovered.facts.clone() else {
        let reason = "the first backfill has not begun".to_owned();
        return Ok(Told::Failed { code: "not-ready", reason });
    };
    let commands = match commands(&payload, target)? {
        Ok(commands) => commands,
        Err(reason) => return Ok(Told::Failed { code: "replay-unknown", reason }),
    };
    let entry = alone.append(&commands)?;
    let what = format!("{} commands journaled; the next `projectord run` carries them out", commands.len());
    Ok(Told::Done { what, entry })
}

/// What the target means (rule 10), by the journaled facts. The inner error names what is not known.
fn commands(facts: &Bytes, target: &Target) -> Result<Result<Vec<Command>, String>, Failure> {
    // The number is only for the error.
    let (facts, plans) = apply::facts::plans(EntryNo::ZERO, facts)
        .map_err(|error| daemon::failure(run::Error::from(error)))?;
    let whole = |generation| Command::Whole { generation };
    Ok(match target {
        Target::All => Ok(facts.definitions.iter().map(|known| whole(known.generation)).collect()),
        Target::Projection(name) => {
            let found = facts.definitions.iter().find(|known| known.name == *name);
            found
                .map(|known| vec![whole(known.generation)])
                .ok_or_else(|| format!("there is no projection {name}"))
        }
        Target::Documents { ids, projection } => {
            let mut known = vec![false; ids.len()];
            let mut commands = Vec::new();
            for (definition, plan) in facts.definitions.iter().zip(&plans.plans) {
                if projection.as_ref().is_some_and(|wanted| *wanted != definition.name) {
                    continue;
                }
                let mut keys = Vec::new();
                for (id, known) in ids.iter().zip(&mut known) {
                    if let Some(key) = plan.document_key(id) {
                        *known = true;
                        keys.push(to_hex(&key));
                    }
                }
                if !keys.is_empty() {
                    commands.push(Command::Documents { generation: definition.generation, keys });
                }
            }
            match ids.iter().zip(known).find(|(_, known)| !known) {
                Some((id, _)) => Err(format!("{id} is no document id of any projection asked for")),
                None => Ok(commands),
            }
        }
    })
}

/// A document in quarantine.
type Refused = (Generation, Key, Quarantined);

fn quarantine(config: &Config, action: QuarantineAction, which: &Which) -> Result<Told, Failure> {
    let mut alone = Alone::open(config)?;
    let store = Store::open(config, &alone)?;
    let result = store.quarantine(&mut alone, action, which);
    // Whatever came of it, the store is left as one that was closed in order.
    let closed = store.close();
    let told = result?;
    closed?;
    Ok(told)
}

struct Store {
    engine: Arc<Lmdb>,
    checkpoints: Arc<dyn Checkpoint>,
    journal_id: String,
}

impl Store {
    fn open(config: &Config, alone: &Alone) -> Result<Store, Failure> {
        let journal_id = alone.folder.journal_id();
        let (engine, checkpoints) = trust::open(config, journal_id, false)?;
        let store = Store { engine, checkpoints, journal_id: journal_id.to_owned() };
        let reached = store.look(|view| meta::reached(view))?;
        let checked = run::check_store(&reached, alone.recovered.rebuilt, &alone.journal, journal_id);
        if let Err(error) = checked {
            store.close()?;
            return Err(daemon::failure(error));
        }
        Ok(store)
    }

    fn close(self) -> Result<(), Failure> {
        self.checkpoints.closed_cleanly().map_err(failed)
    }

    fn look<T>(
        &self,
        look: impl FnOnce(&<Lmdb as Engine>::View<'_>) -> Result<T, crate::store::engine::Error>,
    ) -> Result<T, Failure> {
        let view = self.engine.view().map_err(failed)?;
        look(&view).map_err(failed)
    }

    fn quarantine(
        &self,
        alone: &mut Alone,
        action: QuarantineAction,
        which: &Which,
    ) -> Result<Told, Failure> {
        let all: Vec<Refused> = self.look(|view| meta::quarantine(view, QUARANTINE_MAX))?;
        let names: BTreeMap<Generation, String> = self
            .look(|view| meta::generations(view))?
            .into_iter()
            .map(|state| (state.generation, state.projection))
            .collect();
        let name = |generation: Generation| {
            names.get(&generation).cloned().unwrap_or_else(|| generation.to_string())
        };
        if action == QuarantineAction::List {
            let listed = all.into_iter().map(|(generation, _, why)| (name(generation), why));
            return Ok(Told::Quarantine(listed.collect()));
        }
        let handle = |refused: &Refused| format!("{}/{}", name(refused.0), refused.2.id);
        let chosen: Vec<&Refused> = match which {
            Which::All => all.iter().collect(),
            Which::Named(handles) => {
                if let Some(missing) =
                    handles.iter().find(|wanted| !all.iter().any(|one| handle(one) == **wanted))
                {
                    let reason = format!("{missing} is not in quarantine");
                    return Ok(Told::Failed { code: "quarantine-unknown", reason });
                }
                all.iter().filter(|one| handles.contains(&handle(one))).collect()
            }
        };
        let count = chosen.len();
        match action {
            QuarantineAction::Retry => {
                let mut keys: BTreeMap<Generation, Vec<String>> = BTreeMap::new();
                for (generation, key, _) in chosen {
                    keys.entry(*generation).or_default().push(to_hex(key));
                }
                let commands: Vec<Command> = keys
                    .into_iter()
                    .map(|(generation, keys)| Command::Documents { generation, keys })
                    .collect();
                let entry = alone.append(&commands)?;
                let what = format!("{count} documents are tried again by the next `projectord run`");
                Ok(Told::Done { what, entry })
            }
            QuarantineAction::Drop | QuarantineAction::List => {
                let chosen =
                    chosen.into_iter().map(|(generation, key, _)| (*generation, key.clone())).collect();
                Applier::load(Arc::clone(&self.engine), &self.journal_id)
                    .and_then(|mut applier| applier.step(&[], &[], &[Order::DropQuarantined(chosen)]))
                    .map_err(|error| daemon::failure(error.into()))?;
                Ok(Told::Done { what: format!("{count} documents dropped"), entry: None })
            }
        }
    }
}

fn failed(error: crate::store::engine::Error) -> Failure {
    Failure::new(Exit::Failed, error.to_string())
}
