//! From what lies there to loops that run: the journal is recovered, the store is looked at, and what is found
//! must fit together.

use std::sync::mpsc as threads;
use std::sync::{Arc, RwLock};

use tokio::sync::{mpsc, watch};

use super::apply_loop::{self, Apply, Board, Published};
use super::ingest_loop::{IngestLoop, Progress};
use super::steps::Steps;
use super::{Error, Outside, Parts, Running, hosting, report};
use crate::journal::{Journal, Reader};
use crate::model::{EntryNo, Lsn};
use crate::pipeline::apply::Applier;
use crate::pipeline::ingest::Ingest;
use crate::store::engine::Engine;
use crate::store::meta::Reached;

/// Groups of events on their way to ingest.
const INPUTS: usize = 64;
/// Loops that may end before anybody looks.
const LOOPS: usize = 3;

/// Runs until told to stop, or until something ends it. The host is handed ingest and apply at once, deliver
/// when the first connection has passed the gate.
pub async fn run<E: Engine>(parts: Parts<E>, outside: Outside) -> Result<(), Error> {
    let mut running = assemble(parts, outside)?;
    let conducted = running.conduct().await;
    running.stop(conducted).await
}

fn assemble<E: Engine>(parts: Parts<E>, outside: Outside) -> Result<Running<E>, Error> {
    let machine = parts.machine;
    let clock = &machine.clock;
    let journal_id = parts.folder.journal_id().to_owned();
    let (journal, recovered) = Journal::open(
        Arc::clone(&parts.files),
        parts.options.journal.clone(),
        &journal_id,
        clock.unix_s() as u64,
    )?;
    let applier = Applier::load(Arc::clone(&parts.engine), &journal_id).map_err(Error::from);
    if let Err(error) = &applier
        && error.is_store()
    {
        parts.checkpoints.distrust(&error.to_string());
    }
    let mut applier = applier?.with_limits(parts.options.apply);
    if let Some(rebuilt) = recovered.rebuilt {
        applier.begin_at(rebuilt.previous());
    }
    check_store(applier.reached(), recovered.rebuilt, &journal, &journal_id)?;
    let found_end = journal.end();
    let first_wanted = applier.reached().entry.next();
    let ingest = Ingest::new(
        journal,
        parts.options.ingest,
        recovered.end_lsn.unwrap_or(Lsn::ZERO),
        recovered.facts.clone(),
    );
    let begin = Progress {
        durable: found_end,
        journaled: ingest.end_lsn(),
        received: ingest.end_lsn(),
        end: found_end,
        ..Progress::default()
    };
    let (progress_sender, progress) = watch::channel(begin);
    let (ingest_inputs, ingest_receiver) = mpsc::channel(INPUTS);
    let (apply_inputs, apply_receiver) = threads::channel();
    let (changed_sender, changed) = watch::channel(0);
    let (ended_sender, ended) = mpsc::channel(LOOPS);
    let board: Board = Arc::new(RwLock::new(Arc::new(Published::default())));

    let apply = Apply {
        applier,
        engine: Arc::clone(&parts.engine),
        reader: Reader::open(Arc::clone(&parts.files), first_wanted),
        read_bytes: parts.options.read_bytes,
        inputs: apply_receiver,
        durable: progress.clone(),
        board: Arc::clone(&board),
        changed: changed_sender,
        observer: Arc::clone(&parts.observer),
        clock: Arc::clone(clock),
        found_end,
        state: apply_loop::State::default(),
    };
    let apply_ending = hosting::start(&*machine.host, apply, ended_sender.clone())?;
    let observer = Arc::clone(&parts.observer);
    let ingest = IngestLoop::new(
        ingest,
        ingest_receiver,
        progress_sender,
        observer,
        Arc::clone(clock),
        parts.options.group,
    );
    let ingest_ending = hosting::start(&*machine.host, ingest, ended_sender.clone())?;
    Ok(Running {
        engine: parts.engine,
        source: parts.source,
        sink: parts.sink,
        observer: parts.observer,
        checkpoints: parts.checkpoints,
        projections: parts.projections,
        options: parts.options,
        journal_id,
        folder: parts.folder,
        epoch: None,
        steps: Steps::new(&machine.clock),
        machine,
        board,
        changed,
        progress,
        ingest: ingest_inputs,
        apply: apply_inputs,
        deliver: None,
        ingest_ending,
        apply_ending,
        deliver_ending: None,
        ended,
        ended_sender,
        backfill_status: Arc::default(),
        recovered,
        outside,
        report: report::Report::default(),
        sink_trouble: watch::channel(None),
        looked: watch::channel(std::time::Duration::ZERO),
    })
}

/// Journal and store must be of one kind and meet (G5). A store that is empty begins where everything is read again
/// (`rebuilt`).
pub fn check_store(
    reached: &Reached,
    rebuilt: Option<EntryNo>,
    journal: &Journal,
    journal_id: &str,
) -> Result<(), Error> {
    let refused =
        |code, reason: String, hint: &str| Err(Error::Refused { code, reason, hint: hint.to_owned() });
    let entry = match rebuilt {
        Some(rebuilt) if reached.entry == EntryNo::ZERO => rebuilt.previous(),
        _ => reached.entry,
    };
    let begun = if reached.message > 0 { entry.next() } else { entry };
    if !reached.journal_id.is_empty() && reached.journal_id != journal_id {
        return refused(
            "store-other",
            format!("the store belongs to journal {}, the journal is {journal_id}", reached.journal_id),
            "Restore the data folder as a whole, or remove its `store` folder: it is built again.",
        );
    }
    if begun > journal.end() {
        return refused(
            "store-ahead",
            format!("the store has applied entry {begun}, the journal ends at {}", journal.end()),
            "The journal lost entries. Run `projectord rebuild`: the store is built anew, everything is read again.",
        );
    }
    if entry.next() < journal.first() {
        return refused(
            "store-behind",
            format!("the store has applied entry {entry}, the journal begins with {}", journal.first()),
            "Run `projectord rebuild`: the store is built anew, everything is read again.",
        );
    }
    Ok(())
}
