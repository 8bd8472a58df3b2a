//! Every planted bug is caught, and after how many seeds.
//!
//! `PROJECTORD_PLANTED_RANGES` and `PROJECTORD_PLANTED_SEEDS` say how far it is looked for, `PROJECTORD_PLANTED_BUG`
//! which one.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use projectord::planted::{self, Bug};

use super::{number, run};

/// Ranges that a bug is looked for in; docs/proof.md tells the median.
const RANGES: u64 = 5;
/// Seeds of one range before a bug counts as not caught.
const SEEDS_MAX: u64 = 400;
/// Where the ranges begin, and how far apart they are.
const FROM: u64 = 500_000;
const APART: u64 = 1_000;

/// What catches these is named in docs/proof.md: the simulation cannot show them, or does so too seldom (seed 3229
/// found the defect that `MovedRowUnscanned` plants again, in an earlier world).
const ELSEWHERE: &[Bug] = &[Bug::DeleteWithoutVersion, Bug::MovedRowUnscanned, Bug::EarlyIsLate];

/// Bugs that do harm so seldom that their seeds are kept; a change of what the world draws makes it necessary to
/// look for them again, by `PROJECTORD_PLANTED_BUG` and `PROJECTORD_PLANTED_SEEDS`.
const SELDOM: &[(Bug, u64)] =
    &[(Bug::HeldChunkKept, 502_004), (Bug::SendBeforeLook, 501_084), (Bug::GapNotOwed, 500_546)];

/// What was found in one range.
struct Caught {
    /// Seeds until then, that one among them.
    seeds: u64,
    words: String,
}

fn end(seed: u64, bug: Option<Bug>) -> Result<(), String> {
    planted::plant(bug);
    let ran = run::seed(seed, u64::MAX, false);
    planted::plant(None);
    ran.end.map(drop)
}

/// A seed that fails without the bug too says nothing about the bug.
fn hunt(bug: Bug, from: u64, most: u64) -> Option<Caught> {
    let known = SELDOM.iter().filter(|(seldom, _)| *seldom == bug && from == FROM).map(|(_, seed)| *seed);
    known.chain(from..from + most).find_map(|seed| {
        let words = end(seed, Some(bug)).err()?;
        end(seed, None).ok()?;
        Some(Caught { seeds: seed.saturating_sub(from) + 1, words: words.replace('\n', " ") })
    })
}

/// The line for docs/proof.md, and whether it was caught in most of the ranges.
fn look_for(bug: Bug, ranges: u64, most: u64) -> bool {
    let mut found: Vec<Option<Caught>> =
        (0..ranges).map(|range| hunt(bug, FROM + range * APART, most)).collect();
    for (range, caught) in found.iter().enumerate() {
        match caught {
            Some(Caught { seeds, words }) => {
                let words: String = words.chars().take(240).collect();
                println!("  {bug:?}, range {range}: {seeds} seeds: {words}");
            }
            None => println!("  {bug:?}, range {range}: not in {most} seeds"),
        }
    }
    let seldom = found[0].is_some() && SELDOM.iter().any(|(seldom, _)| *seldom == bug);
    found.sort_by_key(|caught| caught.as_ref().map_or(u64::MAX, |caught| caught.seeds));
    let median = found.swap_remove(found.len() / 2);
    match &median {
        Some(Caught { seeds, words }) => {
            let words: String = words.chars().take(110).collect();
            println!("| `{bug:?}` | {words} | {seeds} |");
        }
        None => println!("| `{bug:?}` | not caught | |"),
    }
    median.is_some() || seldom
}

#[test]
#[ignore = "run by scripts/simulate"]
fn every_planted_bug_is_caught() {
    let ranges = number("PROJECTORD_PLANTED_RANGES").unwrap_or(RANGES);
    let most = number("PROJECTORD_PLANTED_SEEDS").unwrap_or(SEEDS_MAX);
    let only = std::env::var("PROJECTORD_PLANTED_BUG").ok();
    let wanted =
        |bug: &Bug| only.as_ref().map_or(!ELSEWHERE.contains(bug), |name| format!("{bug:?}") == *name);
    let bugs: Vec<Bug> = Bug::ALL.into_iter().filter(wanted).collect();
    assert!(!bugs.is_empty(), "there is no bug of that name");
    let (next, missed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..super::threads() {
            scope.spawn(|| {
                while let Some(bug) = bugs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if !look_for(*bug, ranges, most) {
                        missed.lock().expect("nobody panics holding it").push(*bug);
                    }
                }
            });
        }
    });
    let missed = missed.into_inner().expect("as above");
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
