//! Every planted bug is caught, and after how many seeds.

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

/// What catches these is named in docs/proof.md: the simulation cannot show them.
const ELSEWHERE: &[Bug] = &[];

#[derive(Debug)]
struct Hunt {
    /// Seeds until it was caught, of each range; nothing when it was not.
    seeds: Vec<Option<u64>>,
    words: String,
}

fn hunt(bug: Bug, ranges: u64, most: u64) -> Hunt {
    let mut found = Hunt { seeds: Vec::new(), words: String::new() };
    for range in 0..ranges {
        let caught = (0..most).find(|at| {
            planted::plant(Some(bug));
            let ran = run::seed(FROM + range * APART + at, u64::MAX, false);
            planted::plant(None);
            if let Err(words) = &ran.end
                && found.words.is_empty()
            {
                found.words = words.chars().take(110).collect::<String>().replace('\n', " ");
            }
            ran.end.is_err()
        });
        found.seeds.push(caught.map(|at| at + 1));
    }
    found
}

/// Prints a line for docs/proof.md of each.
#[test]
fn every_planted_bug_is_caught() {
    let ranges = number("PROJECTORD_PLANTED_RANGES").unwrap_or(RANGES);
    let most = number("PROJECTORD_PLANTED_SEEDS").unwrap_or(SEEDS_MAX);
    let (next, missed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..super::threads() {
            scope.spawn(|| {
                while let Some(bug) = Bug::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = hunt(*bug, ranges, most);
                    let mut counts: Vec<u64> =
                        found.seeds.iter().map(|seeds| seeds.unwrap_or(u64::MAX)).collect();
                    counts.sort_unstable();
                    let median = counts[counts.len() / 2];
                    let seeds = if median == u64::MAX { "not caught".to_owned() } else { median.to_string() };
                    println!("| `{bug:?}` | {seeds} | {} |", found.words);
                    if median == u64::MAX && !ELSEWHERE.contains(bug) {
                        missed.lock().expect("nobody panics holding it").push(*bug);
                    }
                }
            });
        }
    });
    let missed = missed.into_inner().expect("as above");
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
