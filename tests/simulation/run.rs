//! Runs seeds, prints what they came to.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::watch::Watch;
use super::world::{End, World};
use super::{coverage, points, regressions};

/// What a seed came to.
pub struct Ran {
    pub seed: u64,
    pub end: Result<End, String>,
    pub steps: u64,
    pub hash: u64,
    pub counts: BTreeMap<String, u64>,
}

/// Runs one seed. `limit` cuts its wild steps short; `loud` prints its trace.
pub fn seed(seed: u64, limit: u64, loud: bool) -> Ran {
    let watch = Watch::new(loud);
    let mut steps = 0;
    let ran = catch_unwind(AssertUnwindSafe(|| {
        points::begin(seed, regressions::is_of_the_first_world(seed));
        let mut world = World::new(seed, watch.clone());
        let end = world.run(limit);
        (end, world.steps)
    }));
    let end = match ran {
        Ok((end, taken)) => {
            steps = taken;
            end
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(format!("panicked: {}", text.unwrap_or_default()))
        }
    };
    let mut counts = watch.counts();
    counts.extend(points::sums());
    Ran { seed, end, steps, hash: watch.hash(), counts }
}

/// What many seeds came to.
#[derive(Default)]
pub struct Sum {
    pub seeds: u64,
    pub steps: u64,
    pub refused: u64,
    pub failed: Vec<(u64, String)>,
    pub counts: BTreeMap<String, u64>,
    /// Seeds in which a state was reached at all.
    pub reached: BTreeMap<String, u64>,
}

impl Sum {
    pub fn add(&mut self, ran: Ran) {
        self.seeds += 1;
        self.steps += ran.steps;
        match ran.end {
            Ok(End::Converged) => {}
            Ok(End::Refused(_)) => self.refused += 1,
            Err(why) => self.failed.push((ran.seed, why)),
        }
        for (what, count) in ran.counts {
            *self.reached.entry(what.clone()).or_default() += 1;
            *self.counts.entry(what).or_default() += count;
        }
    }

    pub fn join(&mut self, other: Sum) {
        self.seeds += other.seeds;
        self.steps += other.steps;
        self.refused += other.refused;
        self.failed.extend(other.failed);
        for (what, count) in other.counts {
            *self.counts.entry(what).or_default() += count;
        }
        for (what, count) in other.reached {
            *self.reached.entry(what).or_default() += count;
        }
    }

    pub fn print(&self) {
        for (what, count) in &self.counts {
            println!("{count:>9} in {:>6} seeds  {what}", self.reached[what]);
        }
        for (seed, why) in &self.failed {
            println!("seed {seed} failed: {why}");
        }
        let faults = self.counts.iter().filter(|(what, _)| coverage::is_fault(what)).map(|(_, count)| count);
        println!(
            "{} seeds, {} steps, {} faults, {} ended refused, {} failed",
            self.seeds,
            self.steps,
            faults.sum::<u64>(),
            self.refused,
            self.failed.len()
        );
    }
}

/// Runs a range of seeds on so many threads.
pub fn range(from: u64, seeds: u64, threads: u64) -> Sum {
    let part = |number: u64| {
        let mut sum = Sum::default();
        let mut at = from + number;
        while at < from + seeds {
            let ran = seed(at, u64::MAX, false);
            if let Err(why) = &ran.end {
                eprintln!("seed {at} failed: {why}");
            }
            sum.add(ran);
            at += threads;
        }
        sum
    };
    let mut sum = Sum::default();
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|number| scope.spawn(move || part(number))).collect();
        for thread in running {
            sum.join(thread.join().expect("a run's panic is caught"));
        }
    });
    sum.failed.sort();
    sum
}
