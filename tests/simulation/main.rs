//! The seeded simulation: the real daemon against a PostgreSQL, an Elasticsearch and a disk that are nastier
//! than the real ones, on one thread, with a clock that is moved by hand, driven by one seeded scheduler.
//!
//! Reading order: [`world`] (who goes next), [`nemesis`], [`peril`] and [`worse`] (what goes wrong), [`truth`] (what must hold), [`oracle`]
//! (what a document must be), [`recovery`] (operators, and coming to rest); then the fakes: [`postgres`], [`cluster`],
//! [`disk`], [`machine`]; [`points`] (deaths in the middle of a turn) and [`trouble`] are drawn apart; [`process`] holds one life of the daemon. `scripts/simulate` runs ranges and plays single
//! seeds again.

mod chronicle;
mod cluster;
mod coverage;
mod desk;
mod disk;
mod folder;
mod machine;
mod nemesis;
mod newer;
mod oracle;
mod peril;
#[cfg(feature = "planted")]
mod planted;
mod points;
mod postgres;
mod process;
mod recovery;
mod regressions;
mod run;
mod schema;
mod shape;
mod trouble;
mod truth;
mod twin;
mod watch;
mod work;
mod world;
mod worse;
mod yaml;

/// Seeds that are run when nobody says otherwise.
const SEEDS: u64 = 300;
/// Seeds after which every state worth reaching must have been reached.
const SEEDS_COVERING: u64 = 1_000;
/// The same of any range.
const SEEDS_SURE: u64 = 10_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn seeds_that_once_failed_pass() {
    for (seed, found) in regressions::SEEDS.iter().chain(regressions::SEEDS_SINCE) {
        let ran = run::seed(*seed, u64::MAX, false);
        assert!(ran.end.is_ok(), "seed {seed}, which found that {found}: {:?}", ran.end);
    }
}

#[test]
fn one_seed_is_one_run() {
    for seed in [1, 2, 3] {
        let (first, second) = (run::seed(seed, u64::MAX, false), run::seed(seed, u64::MAX, false));
        assert_eq!((first.hash, first.steps), (second.hash, second.steps), "seed {seed}");
    }
}

#[test]
fn the_documents_are_the_oracles_whatever_happens() {
    let seeds = number("PROJECTORD_SIMULATION_SEEDS").unwrap_or(SEEDS);
    let sum = run::range(0, seeds, threads());
    sum.print();
    assert!(sum.failed.is_empty(), "scripts/simulate --seed {} plays it again", sum.failed[0].0);
    if seeds >= SEEDS_COVERING {
        let missed = coverage::missed(seeds, |what| sum.reached.contains_key(what));
        assert!(missed.is_empty(), "never reached in {seeds} seeds: {missed:#?}");
    }
}

fn threads() -> u64 {
    number("PROJECTORD_SIMULATION_THREADS").unwrap_or(2)
}

/// One seed, step for step, with its trace.
#[test]
#[ignore = "run by scripts/simulate"]
fn replay() {
    let seed = number("PROJECTORD_SIMULATION_SEED").unwrap_or(0);
    let limit = number("PROJECTORD_SIMULATION_STEPS").unwrap_or(u64::MAX);
    let ran = run::seed(seed, limit, true);
    for (what, count) in &ran.counts {
        println!("{count:>9}  {what}");
    }
    println!("seed {seed}: {:?}, {} steps, trace {:016x}", ran.end, ran.steps, ran.hash);
    assert!(ran.end.is_ok());
}

/// The fewest wild steps with which a seed still fails.
#[test]
#[ignore = "run by scripts/simulate"]
fn shrink() {
    let seed = number("PROJECTORD_SIMULATION_SEED").unwrap_or(0);
    let fails = |limit| run::seed(seed, limit, false).end.err();
    let Some(mut why) = fails(u64::MAX) else {
        println!("seed {seed} does not fail");
        return;
    };
    // What is behind the failure does not matter; in front of it every cut is another run, so halving finds one
    // that fails and whose half does not.
    let (mut works, mut breaks) = (0, 4_096);
    while breaks - works > 1 {
        let limit = works + (breaks - works) / 2;
        match fails(limit) {
            Some(found) => (breaks, why) = (limit, found),
            None => works = limit,
        }
    }
    println!("seed {seed} fails with --steps {breaks}: {why}");
}

/// A range of seeds.
#[test]
#[ignore = "run by scripts/simulate"]
fn range() {
    let from = number("PROJECTORD_SIMULATION_FROM").unwrap_or(0);
    let seeds = number("PROJECTORD_SIMULATION_SEEDS").unwrap_or(SEEDS);
    let sum = run::range(from, seeds, threads());
    sum.print();
    assert!(sum.failed.is_empty());
    if seeds >= SEEDS_SURE {
        let missed = coverage::missed(seeds, |what| sum.reached.contains_key(what));
        assert!(missed.is_empty(), "never reached in {seeds} seeds: {missed:#?}");
    }
}
