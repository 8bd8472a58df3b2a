//! Rows journaled: the stream, ingest and the journal on disk as the daemon joins them, confirmed positions
//! sent, until a given position is durable.

use std::sync::Arc;
use std::time::{Duration, Instant};

use projectord::journal::files::RealFiles;
use projectord::journal::{self, Journal};
use projectord::model::Lsn;
use projectord::pipeline::ingest::{Ingest, Options};
use projectord::pipeline::observer::Nobody;
use projectord::pipeline::run::hosting::{self, Machine};
use projectord::pipeline::run::ingest_loop::{Group, IngestLoop, Input, Progress};
use projectord::source::postgres::{Connection, stream};
use projectord::source::{Event, Identity};
use tokio::sync::{mpsc, watch};

use super::{Arguments, Outcome, figure};

/// Groups of events between the connection and ingest, as in the daemon.
const INPUTS: usize = 64;

pub fn run(arguments: &Arguments) -> Outcome<()> {
    let options = arguments.postgres()?;
    let end = lsn(arguments.text("end")?)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let began = Instant::now();
    let files = Arc::new(RealFiles::open(arguments.text("folder")?.into())?);
    let (journal, _) = Journal::open(files, journal::Options::default(), "bench", 0)?;
    let ingest = Ingest::new(journal, Options::default(), Lsn::ZERO, None);
    let (inputs, received) = mpsc::channel(INPUTS);
    let (sender, progress) = watch::channel(Progress::default());
    // As the configuration's defaults.
    let group = Group { company: (Duration::from_millis(1), 1 << 20), ..Group::default() };
    let machine = Machine::system();
    let ingest = IngestLoop::new(ingest, received, sender, Arc::new(Nobody), machine.clock, group);
    let (ended, _) = mpsc::channel(1);
    let ending = hosting::start(&*machine.host, ingest, ended)?;
    runtime.block_on(async {
        let connection = Connection::connect(&options).await?;
        let started = stream::Options::from(&options);
        let mut stream =
            stream::start(connection, &options.slot, &options.publication, Lsn::ZERO, started).await?;
        inputs.send(Input::Events(vec![Event::Connected(identity(&options.slot))])).await?;
        let confirmer = stream.confirmer();
        inputs.send(Input::Confirm(Arc::new(move |position| confirmer.confirm(position)))).await?;
        let mut durable = progress.clone();
        let reached = durable.wait_for(|progress| progress.journaled >= end);
        tokio::pin!(reached);
        loop {
            tokio::select! {
                reached = &mut reached => { reached?; break }
                group = stream.events.recv() => match group {
                    Some(group) => inputs.send(Input::Events(group)).await?,
                    None => return Err("the stream ended".into()),
                },
            }
        }
        figure("journal_s", &[began.elapsed().as_secs_f64()]);
        stream.close().await;
        inputs.send(Input::Stop).await?;
        Outcome::Ok(())
    })?;
    figure("journal_bytes", &[progress.borrow().bytes as f64]);
    figure("journal_cpu_s", &[cpu_s()?]);
    runtime.block_on(ending)??;
    Ok(())
}

fn identity(slot: &str) -> Identity {
    Identity {
        system_identifier: "1".to_owned(),
        timeline: 1,
        database: "bench".to_owned(),
        database_oid: 1,
        slot: slot.to_owned(),
        publication: "bench".to_owned(),
        publication_oid: 1,
        membership: Vec::new(),
        server_version: 150_000,
    }
}

fn lsn(text: &str) -> Outcome<Lsn> {
    let (high, low) = text.split_once('/').ok_or("not a position")?;
    Ok(Lsn(u64::from_str_radix(high, 16)? << 32 | u64::from_str_radix(low, 16)?))
}

/// Processor time of this process, user and system (proc(5), stat, fields 14 and 15; 100 ticks a second).
fn cpu_s() -> Outcome<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    Ok((ticks(11) + ticks(12)) / 100.0)
}
