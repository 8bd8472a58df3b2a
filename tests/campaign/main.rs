//! The campaign: faults on real servers, over and over, and what became of every run.
//!
//! scripts/campaign starts it; without the word `campaign` as first argument (as `cargo test` calls it) only
//! its own bookkeeping is checked. See docs/campaign.md.

mod faults;
mod ledger;
mod load;
mod selftest;
mod stage;
#[path = "../support/mod.rs"]
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use faults::{Fault, Outcome, Run};
use ledger::{Ending, Entry, Ledger};
use stage::Stage;

/// What scripts/campaign asks for.
struct Orders {
    only: Vec<String>,
    times: Option<usize>,
    subset: bool,
    minutes: Option<f64>,
    /// What the ledger holds already is not run again.
    resume: Option<Resume>,
    /// One run with exactly this seed.
    seed: Option<u64>,
    ledger: PathBuf,
    version: String,
    /// Where logs and data of failed runs go.
    kept: PathBuf,
}

/// Whose runs count as run.
#[derive(Clone, Copy)]
enum Resume {
    ThisCode,
    AllCode,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() != Some("campaign") {
        selftest::bookkeeping();
        println!("the campaign's own bookkeeping is right; scripts/campaign runs the campaign itself");
        return ExitCode::SUCCESS;
    }
    let command = arguments.next().unwrap_or_default();
    let ended = orders(arguments).and_then(|orders| match command.as_str() {
        "run" => run(&orders),
        "report" => report(&orders),
        "list" => {
            for fault in faults::ALL {
                println!("{:<20} {:>4} {}", fault.name, wanted(fault), fault.what);
            }
            Ok(true)
        }
        "selftest" => {
            selftest::planted();
            Ok(true)
        }
        other => Err(format!("unknown command {other:?}")),
    });
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::from(2)
        }
    }
}

fn orders(mut arguments: impl Iterator<Item = String>) -> Result<Orders, String> {
    let mut orders = Orders {
        only: Vec::new(),
        times: None,
        subset: false,
        minutes: None,
        resume: None,
        seed: None,
        ledger: PathBuf::from("docs/ledger/campaign.jsonl"),
        version: "unknown".to_owned(),
        kept: PathBuf::from("target/campaign/failed"),
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        let number = |text: String| text.parse().map_err(|_| format!("{text:?} is not a number"));
        match argument.as_str() {
            "--only" => orders.only = value()?.split(',').map(str::to_owned).collect(),
            "--times" => orders.times = Some(number(value()?)? as usize),
            "--minutes" => orders.minutes = value()?.parse().ok(),
            "--seed" => orders.seed = Some(number(value()?)?),
            "--ledger" => orders.ledger = PathBuf::from(value()?),
            "--version" => orders.version = value()?,
            "--kept" => orders.kept = PathBuf::from(value()?),
            "--subset" => orders.subset = true,
            "--resume" => orders.resume = Some(Resume::ThisCode),
            "--resume-all" => orders.resume = Some(Resume::AllCode),
            other => return Err(format!("unknown argument {other}")),
        }
    }
    for name in &orders.only {
        if !faults::ALL.iter().any(|fault| fault.name == name) {
            return Err(format!("there is no fault {name}: `scripts/campaign --list` names them"));
        }
    }
    Ok(orders)
}

/// Runs of a whole campaign.
fn wanted(fault: &Fault) -> usize {
    if fault.name == "failpoint" { faults::failpoint_runs() } else { fault.wanted }
}

/// The table; false when a run of this code failed.
fn report(orders: &Orders) -> Result<bool, String> {
    let ledger = Ledger::open(&orders.ledger)?;
    let version = (orders.version != "unknown").then_some(orders.version.as_str());
    println!("{}", ledger.report(faults::ALL, version));
    let of = |entry: &&Entry| version.is_none_or(|version| version == entry.version);
    Ok(!ledger.entries.iter().filter(of).any(|entry| entry.ending == Ending::Failed))
}

/// One fault's share of this campaign.
struct Share {
    fault: &'static Fault,
    /// Runs that are still to be made.
    left: usize,
    /// Runs at a turn: the faults take turns, so that a campaign which ends early has some of all.
    turn: usize,
    /// Counts up over the fault's runs, in all campaigns of the ledger.
    number: usize,
}

/// False when a run failed.
fn run(orders: &Orders) -> Result<bool, String> {
    let mut ledger = Ledger::open(&orders.ledger)?;
    let begin = Instant::now();
    let over = || {
        STOP.load(Ordering::Relaxed)
            || orders.minutes.is_some_and(|minutes| begin.elapsed().as_secs_f64() > minutes * 60.0)
    };
    stop_on_signals();
    let mut shares = shares(orders, &ledger);
    let mut stage: Option<Stage> = None;
    let mut failed = 0;
    remember_panics();
    while shares.iter().any(|share| share.left > 0) && !over() {
        for share in &mut shares {
            for _ in 0..share.turn.min(share.left) {
                if over() {
                    break;
                }
                let entry = once(orders, &mut stage, share.fault, share.number)?;
                if STOP.load(Ordering::Relaxed) && entry.ending == Ending::Failed {
                    break; // whoever stops us may stop our servers, too
                }
                share.left -= 1;
                share.number += 1;
                failed += usize::from(entry.ending == Ending::Failed);
                ledger.add(entry)?;
            }
        }
    }
    println!("\n{}", ledger.report(faults::ALL, Some(&orders.version)));
    println!("{failed} of the runs of this call failed; {} s", begin.elapsed().as_secs());
    Ok(failed == 0)
}

fn shares(orders: &Orders, ledger: &Ledger) -> Vec<Share> {
    let chosen = faults::ALL
        .iter()
        .filter(|fault| orders.only.is_empty() || orders.only.iter().any(|o| o == fault.name));
    chosen
        .map(|fault| {
            let wanted = match (orders.seed, orders.times) {
                (Some(_), times) => times.unwrap_or(1),
                (None, Some(times)) => times,
                (None, None) if orders.subset => fault.subset,
                (None, None) => wanted(fault),
            };
            let held = match orders.resume {
                Some(Resume::ThisCode) => ledger.runs(fault.name, Some(&orders.version)),
                Some(Resume::AllCode) => ledger.runs(fault.name, None),
                None => 0,
            };
            let left = wanted.saturating_sub(held);
            let number = ledger.entries.iter().filter(|entry| entry.fault == fault.name).count();
            Share { fault, left, turn: wanted.div_ceil(20).max(1), number }
        })
        .collect()
}

/// One run, on the stage that is there, or on a new one.
fn once(
    orders: &Orders,
    place: &mut Option<Stage>,
    fault: &'static Fault,
    number: usize,
) -> Result<Entry, String> {
    let seed = orders.seed.unwrap_or_else(|| fastrand::u64(..1 << 32) << 16 | (number as u64 & 0xffff));
    let mut run = Run::new(seed);
    let stage = match place {
        Some(stage) => stage,
        None => place.insert(build()?),
    };
    let begin = Instant::now();
    let ran = catch_unwind(AssertUnwindSafe(|| (fault.run)(stage, &mut run)));
    let seconds = begin.elapsed().as_secs_f64();
    let ran = ran.unwrap_or_else(|_| Err(last_panic()));
    let (ending, detail) = match ran {
        Ok(Outcome::Held) => (Ending::Held, String::new()),
        Ok(Outcome::Refused(code)) => (Ending::Refused, code.to_owned()),
        Ok(Outcome::Skipped(why)) => (Ending::Skipped, why),
        Err(why) => (Ending::Failed, why),
    };
    let converged = stage.converged;
    println!(
        "{:<20} {ending:?} {detail:.60} {seconds:.1} s, converged in {} ms, {} documents, {:?} changes/s; {} --seed {seed}",
        fault.name,
        converged.milliseconds,
        converged.documents,
        converged.changes_per_s.unwrap_or(0),
        run.variant,
    );
    if ending == Ending::Failed {
        let folder = keep(&orders.kept, fault, seed, stage, &detail);
        println!("    FAILED: {detail}\n    logs and data: {}", folder.display());
        println!("    again: scripts/campaign --only {} --seed {seed}", fault.name);
        *place = None;
    }
    Ok(Entry {
        fault: fault.name.to_owned(),
        variant: run.variant,
        seed,
        version: orders.version.clone(),
        unix_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs()),
        ending,
        detail: detail.lines().next().unwrap_or_default().chars().take(DETAIL_CHARS_MAX).collect(),
        seconds,
        converged_ms: converged.milliseconds,
        documents: converged.documents,
        changes_per_s: converged.changes_per_s,
    })
}

/// Of why a run failed, in the ledger: the whole of it is kept with the run's logs.
const DETAIL_CHARS_MAX: usize = 200;

/// A stage that cannot be built is nobody's failure but this machine's: it is tried again.
fn build() -> Result<Stage, String> {
    for _ in 0..3 {
        match catch_unwind(Stage::build) {
            Ok(stage) => return Ok(stage),
            Err(_) => println!("no stage: {}", last_panic()),
        }
    }
    Err(format!("no stage in three attempts: {}", last_panic()))
}

fn keep(kept: &Path, fault: &Fault, seed: u64, stage: &mut Stage, why: &str) -> PathBuf {
    let folder = kept.join(format!("{}-{seed}", fault.name));
    let copied = catch_unwind(AssertUnwindSafe(|| stage.keep(&folder)));
    if copied.is_err() {
        println!("    not all of it could be kept: {}", last_panic());
    }
    let _ = std::fs::write(folder.join("why.txt"), why);
    folder
}

/// Told to end: the run under way is the last one.
static STOP: AtomicBool = AtomicBool::new(false);

/// SIGTERM and SIGINT set [`STOP`].
fn stop_on_signals() {
    use tokio::signal::unix::{SignalKind, signal};
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be listened for");
            let mut interrupt = signal(SignalKind::interrupt()).expect("SIGINT can be listened for");
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            STOP.store(true, Ordering::Relaxed);
            println!("told to end: the run under way is the last one");
        });
    });
}

/// What the last panic said. Support code panics where a test would end; here it ends a run.
static PANIC: Mutex<String> = Mutex::new(String::new());

fn remember_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let mut last = PANIC.lock().unwrap_or_else(PoisonError::into_inner);
        *last = panic.to_string();
    }));
}

fn last_panic() -> String {
    PANIC.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
