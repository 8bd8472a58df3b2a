//! The three loops against a naive PostgreSQL, driven by one seeded scheduler without threads or clocks.
//!
//! `PROJECTORD_FOLD_SEEDS` says how many seeds are tried, `PROJECTORD_FOLD_SEED` tries just one.

mod begun;
mod check;
mod database;
mod early;
mod ends;
mod meets;
mod moved;
mod oracle;
mod reading;
mod silent;
mod wire;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Seeds tried when nobody says otherwise.
const SEEDS: u64 = 100;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn documents_follow_the_rows_through_whatever_happens() {
    let seeds = match number("PROJECTORD_FOLD_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("PROJECTORD_FOLD_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| world::World::run(seed))) {
            eprintln!("seed {seed} failed; PROJECTORD_FOLD_SEED={seed} plays it again");
            std::panic::resume_unwind(panic);
        }
    }
}
