//! A seeded crowd of shop transactions: what applications do to a write database, and a little worse.
//!
//! Each connection draws its transactions from a generator of its own, so that seed and connection number fix
//! what it tries; how the connections interleave is PostgreSQL's affair. Most of them fight over a few hot
//! rows. Refusals of the database (foreign keys, unique keys, deadlocks) are part of the life shown here:
//! they are counted and rolled back. The statements themselves are in `deeds.rs`.

mod deeds;
mod dice;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::session::{Error, Session};
use deeds::DEEDS;
use dice::Dice;

/// How long a connection tries to come back while the server is down.
const RECONNECT_LIMIT: Duration = Duration::from_secs(120);

#[derive(Clone, Debug)]
pub struct Options {
    pub seed: u64,
    pub connections: usize,
    /// All connections together end after that many attempted transactions; endless when none is given.
    pub transactions: Option<u64>,
    /// Transactions per second and connection; as fast as they go when none is given.
    pub rate: Option<f64>,
    /// Whether TRUNCATE of leaf tables may happen: it makes the shop poorer every time.
    pub truncate: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { seed: 1, connections: 4, transactions: Some(1_000), rate: None, truncate: true }
    }
}

/// What happened. Counts are of transactions unless they say otherwise.
#[derive(Clone, Debug, Default)]
pub struct Statistics {
    pub committed: u64,
    /// Because the workload wanted to.
    pub rolled_back: u64,
    /// Statements undone by ROLLBACK TO SAVEPOINT in transactions that went on.
    pub undone: u64,
    /// Refused by the database, by SQLSTATE.
    pub refused: BTreeMap<String, u64>,
    /// The connection broke; whether the transaction was committed is not known.
    pub unknown: u64,
    /// Statements that reached their commit, by name.
    pub deeds: BTreeMap<&'static str, u64>,
}

impl Statistics {
    pub fn attempted(&self) -> u64 {
        self.committed + self.rolled_back + self.unknown + self.refused.values().sum::<u64>()
    }

    fn add(&mut self, other: Statistics) {
        self.committed += other.committed;
        self.rolled_back += other.rolled_back;
        self.undone += other.undone;
        self.unknown += other.unknown;
        for (code, count) in other.refused {
            *self.refused.entry(code).or_default() += count;
        }
        for (deed, count) in other.deeds {
            *self.deeds.entry(deed).or_default() += count;
        }
    }
}

impl fmt::Display for Statistics {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{} transactions: {} committed, {} rolled back, {} unknown; {} statements undone; refused {:?}",
            self.attempted(),
            self.committed,
            self.rolled_back,
            self.unknown,
            self.undone,
            self.refused
        )?;
        self.deeds.iter().try_for_each(|(deed, count)| writeln!(out, "  {count:>6} {deed}"))
    }
}

/// A workload under way.
pub struct Workload {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Statistics>>,
    seed: u64,
}

impl Workload {
    /// `url` as [`super::postgres::Postgres::url`] gives it.
    pub fn start(url: &str, options: &Options) -> Workload {
        let stop = Arc::new(AtomicBool::new(false));
        let left = Arc::new(AtomicI64::new(options.transactions.map_or(i64::MAX, |count| count as i64)));
        let threads = (0..options.connections)
            .map(|number| {
                let mut worker = Worker {
                    url: url.to_owned(),
                    dice: Dice::new(options.seed.wrapping_mul(1_000).wrapping_add(number as u64)),
                    truncate: options.truncate,
                    statistics: Statistics::default(),
                };
                let (stop, left, rate) = (Arc::clone(&stop), Arc::clone(&left), options.rate);
                std::thread::spawn(move || {
                    worker.work(rate, &mut || {
                        !stop.load(Ordering::Relaxed) && left.fetch_sub(1, Ordering::Relaxed) > 0
                    });
                    worker.statistics
                })
            })
            .collect();
        Workload { stop, threads, seed: options.seed }
    }

    /// Ends after the transactions under way.
    pub fn stop(self) -> Statistics {
        self.stop.store(true, Ordering::Relaxed);
        self.wait()
    }

    /// Until every connection has done its share.
    pub fn wait(self) -> Statistics {
        let mut all = Statistics::default();
        for thread in self.threads {
            all.add(thread.join().unwrap_or_else(|_| panic!("workload with seed {} panicked", self.seed)));
        }
        all
    }

    pub fn is_running(&self) -> bool {
        self.threads.iter().any(|thread| !thread.is_finished())
    }
}

/// Runs the whole workload.
pub fn run(url: &str, options: &Options) -> Statistics {
    Workload::start(url, options).wait()
}

struct Worker {
    url: String,
    dice: Dice,
    truncate: bool,
    statistics: Statistics,
}

impl Worker {
    fn work(&mut self, rate: Option<f64>, go_on: &mut dyn FnMut() -> bool) {
        let mut session = self.connect();
        let mut next = Instant::now();
        while go_on() {
            match self.transaction(&session) {
                Ok(()) => {}
                Err(error) => match error.code() {
                    // The server ends connections with class 57 when it stops or one of its processes died.
                    Some(code) if !code.code().starts_with("57P") => {
                        *self.statistics.refused.entry(code.code().to_owned()).or_default() += 1;
                        if session.query("ROLLBACK").is_err() {
                            session = self.connect();
                        }
                    }
                    _ => {
                        self.statistics.unknown += 1;
                        session = self.connect();
                    }
                },
            }
            if let Some(rate) = rate {
                next =
                    (next + Duration::from_secs_f64(1.0 / rate)).max(Instant::now() - Duration::from_secs(1));
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        }
    }

    fn transaction(&mut self, session: &Session) -> Result<(), Error> {
        let mut done = Vec::new();
        let isolation = if self.dice.chance(5) { " ISOLATION LEVEL REPEATABLE READ" } else { "" };
        session.query(&format!("BEGIN{isolation}"))?;
        for _ in 0..self.dice.between(1, 6) {
            let (name, deed) = self.choose();
            if self.dice.chance(12) {
                session.query("SAVEPOINT here")?;
                let result = session.query(&deed(&mut self.dice));
                if result.is_err() || self.dice.chance(60) {
                    session.query("ROLLBACK TO SAVEPOINT here")?;
                    self.statistics.undone += 1;
                } else {
                    session.query("RELEASE SAVEPOINT here")?;
                    done.push(name);
                }
            } else {
                session.query(&deed(&mut self.dice))?;
                done.push(name);
            }
        }
        if self.dice.chance(8) {
            session.query("ROLLBACK")?;
            self.statistics.rolled_back += 1;
            return Ok(());
        }
        session.query("COMMIT")?;
        self.statistics.committed += 1;
        for name in done {
            *self.statistics.deeds.entry(name).or_default() += 1;
        }
        Ok(())
    }

    fn choose(&mut self) -> (&'static str, deeds::Deed) {
        let total: u64 = DEEDS.iter().map(|(weight, ..)| weight).sum();
        loop {
            let mut at = self.dice.below(total);
            for (weight, name, deed) in DEEDS {
                if at < *weight {
                    if self.truncate || !name.starts_with("truncate") {
                        return (name, *deed);
                    }
                    break;
                }
                at -= weight;
            }
        }
    }

    fn connect(&self) -> Session {
        super::wait_for("the workload's connection", RECONNECT_LIMIT, || {
            let session = Session::connect(&self.url).map_err(|error| error.to_string())?;
            // Deadlocks are wanted, but not to be waited for.
            session
                .query(
                    "SET deadlock_timeout = '30ms'; SET lock_timeout = '3s'; SET statement_timeout = '20s'",
                )
                .map_err(|error| error.to_string())?;
            Ok(session)
        })
    }
}
