//! The daemon's disk is full or fails. System calls are made to fail by strace.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::kills::alive;
use super::{Outcome, Ran, Run};
use crate::stage::Stage;
use crate::support::disk::SmallDisk;

/// Calls of each thread before the one that fails: 1 to this.
const CALLS_MAX: usize = 30;
/// How long the load goes on under strace before the fault counts as not met.
const MEET_LIMIT: Duration = Duration::from_secs(8);
/// What a disk that is to be full has left, and how long it may take to fill.
const ROOM_MIB: u64 = 24;
const FILL_LIMIT: Duration = Duration::from_secs(60);
/// A daemon whose journal could not be synced ends this soon.
const END_LIMIT: Duration = Duration::from_secs(10);

pub fn fsync_fails(stage: &mut Stage, run: &mut Run) -> Ran {
    calls_fail(stage, run, "fsync,fdatasync", "EIO", false)
}

pub fn write_fails(stage: &mut Stage, run: &mut Run) -> Ran {
    // The calls that files are written with, and sockets are not.
    // The store is written much more often than the journal: in every other run the journal's calls alone count.
    let journal_only = run.number() % 2 == 1;
    calls_fail(stage, run, "pwrite64,pwritev,pwritev2,ftruncate,fallocate", "ENOSPC", journal_only)
}

fn calls_fail(stage: &mut Stage, run: &mut Run, calls: &str, error: &str, journal_only: bool) -> Ran {
    if Command::new("strace").arg("-V").output().is_err() {
        return Ok(Outcome::Skipped("there is no strace".to_owned()));
    }
    alive(stage)?;
    stage.daemon.kill();
    let call = 1 + run.number() % CALLS_MAX;
    let trace = stage.daemon.data_folder().with_extension("strace");
    let _ = std::fs::remove_file(&trace);
    let mut wrapper = vec![
        "strace".to_owned(),
        "-f".to_owned(),
        "-qq".to_owned(),
        "-y".to_owned(),
        "--seccomp-bpf".to_owned(),
        "-o".to_owned(),
        trace.display().to_string(),
        "-e".to_owned(),
        format!("trace={calls}"),
        "-e".to_owned(),
        format!("inject={calls}:error={error}:when={call}"),
    ];
    if journal_only {
        // A start goes on writing the last segment.
        for segment in segments(&stage.daemon.data_folder()) {
            wrapper.extend(["-P".to_owned(), segment.display().to_string()]);
        }
    }
    stage.daemon.change(|options| options.wrapper = wrapper);
    stage.load(run.seed);
    stage.daemon.spawn();
    let begin = Instant::now();
    while stage.daemon.is_running() && injected(&trace).is_empty() && begin.elapsed() < MEET_LIMIT {
        std::thread::sleep(Duration::from_millis(50));
    }
    run.pause_ms(300..1_500);
    let failed = injected(&trace);
    let journal = failed.iter().find(|line| line.contains("/journal"));
    if journal.is_some() {
        // What could not be synced is not believed: the process ends, and confirms nothing more.
        stage.ended(END_LIMIT).map_err(|why| format!("after {journal:?}: {why}"))?;
    }
    let ended = !stage.daemon.is_running();
    if stage.daemon.is_started() {
        stage.daemon.kill();
    }
    let where_from = failed.iter().map(|line| place(line)).collect::<Vec<_>>().join(", ");
    run.variant =
        format!("call {call} of each thread; it ended: {}; {where_from}", ended || journal.is_some());
    stage.daemon.change(|options| options.wrapper.clear());
    stage.daemon.spawn();
    let converged = stage.converge();
    let _ = std::fs::remove_file(trace);
    converged?;
    if failed.is_empty() {
        return Ok(Outcome::Skipped(format!("no thread made {call} such calls")));
    }
    Ok(Outcome::Held)
}

fn segments(data: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data.join("journal")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// Lines of calls that were made to fail.
fn injected(trace: &PathBuf) -> Vec<String> {
    let text = std::fs::read(trace).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines().filter(|line| line.contains("INJECTED")).map(str::to_owned).collect()
}

/// `fdatasync in journal`: the call, and the last folder of its file.
fn place(line: &str) -> String {
    let call = line.split_whitespace().nth(1).and_then(|call| call.split('(').next()).unwrap_or_default();
    let path = line.split('<').nth(1).and_then(|rest| rest.split('>').next()).unwrap_or_default();
    let mut parts = path.rsplit('/').filter(|part| !part.contains('.'));
    format!("{call} in {}", parts.next().unwrap_or("?"))
}

pub fn disk_full(stage: &mut Stage, run: &mut Run) -> Ran {
    let Some(disk) = SmallDisk::mount() else {
        return Ok(Outcome::Skipped("only root can mount a small disk".to_owned()));
    };
    let data = disk.folder().join("data");
    disk.resize("1g"); // until everything is in step: the shop grows from run to run
    // Limits of its own, so that it is the disk that is full and not a quota.
    stage.fresh(|options| {
        options.data = Some(data);
        options.extra = String::new();
    })?;
    stage.daemon.start_again();
    stage.converge()?;
    disk.leave(ROOM_MIB);
    stage.load(run.seed);
    let full = fill(stage);
    run.pause_ms(0..1_000);
    let ended = !stage.daemon.is_running();
    run.variant = if ended { "it ended" } else { "it waited" }.to_owned();
    disk.resize("1g");
    full?;
    if ended {
        stage.ended(Duration::from_secs(1))?;
        stage.daemon.spawn();
    }
    let converged = stage.converge();
    let measured = stage.converged;
    if converged.is_ok() {
        stage.renew()?;
        stage.converged = measured;
        drop(disk);
    } else {
        // What tells about the failure lies there.
        std::mem::forget(disk);
    }
    converged.map(|()| Outcome::Held)
}

/// Writes until the daemon ends or says that it has no room: rows that come and go in one transaction, three
/// megabytes of the journal each time, of which nobody sees any. They wait for nobody's locks but one product's.
fn fill(stage: &mut Stage) -> Result<(), String> {
    let session = stage.session();
    let begin = Instant::now();
    while begin.elapsed() < FILL_LIMIT {
        let said = stage.daemon.said();
        let full = said.contains("journal-full")
            || said.contains("os error 28")
            || stage.daemon.status().is_some_and(|status| status["trouble"].to_string().contains("full"));
        if full || !stage.daemon.is_running() {
            return Ok(());
        }
        let written = session.query(
            "BEGIN;
             INSERT INTO product_reviews (product_id, rating, title, body)
                 SELECT (SELECT min(id) FROM products), 3, 'filling', (SELECT string_agg(md5(i::text || j), '')
                                                                       FROM generate_series(1, 100) AS j)
                 FROM generate_series(1, 1000) AS i;
             DELETE FROM product_reviews WHERE title = 'filling';
             COMMIT",
        );
        // The product went meanwhile, or it was a deadlock: once more.
        if written.is_err() {
            session.must("ROLLBACK");
        }
    }
    Err(format!("the disk does not fill up\n{}", stage.daemon.log_end()))
}
