//! What is done to the daemon and its servers: one file per family, one function per fault.
//!
//! A run begins with everything in step on the [`Stage`] and ends so again, or with why it does not. Whoever
//! adds a fault adds a line to [`ALL`].

mod copies;
mod damage;
mod disks;
mod failpoints;
mod kills;
mod links;
mod machine;
mod servers;
mod slots;
mod visibility;

pub use failpoints::wanted as failpoint_runs;

use crate::stage::Stage;

/// How a run went, unless it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Held,
    /// Refused with this code, as it must be; then begun again as documented, and in step.
    Refused(&'static str),
    /// Nothing was tried, for this reason.
    Skipped(String),
}

/// The error says what failed.
pub type Ran = Result<Outcome, String>;

/// One run's chances.
pub struct Run {
    /// Everything that is drawn comes from it.
    pub dice: fastrand::Rng,
    pub seed: u64,
    /// Which of the fault's forms was taken; the run writes it down.
    pub variant: String,
}

impl Run {
    pub fn new(seed: u64) -> Run {
        Run { dice: fastrand::Rng::with_seed(seed), seed, variant: String::new() }
    }

    /// Counts the runs of a fault, so that its forms take turns: the lower half of the seed.
    pub fn number(&self) -> usize {
        (self.seed & 0xffff) as usize
    }

    /// One of these forms, in turns.
    pub fn turn<T: Copy>(&self, forms: &[T]) -> T {
        forms[self.number() % forms.len()]
    }

    /// Waits for a random time: the fault comes when it comes.
    pub fn pause_ms(&mut self, range: std::ops::Range<u64>) {
        std::thread::sleep(std::time::Duration::from_millis(self.dice.u64(range)));
    }
}

/// See the module.
pub struct Fault {
    pub name: &'static str,
    /// What is done, for people.
    pub what: &'static str,
    /// Runs of a whole campaign.
    pub wanted: usize,
    /// Runs of the subset for CI.
    pub subset: usize,
    pub run: fn(&mut Stage, &mut Run) -> Ran,
}

const fn fault(
    name: &'static str,
    wanted: usize,
    subset: usize,
    run: fn(&mut Stage, &mut Run) -> Ran,
    what: &'static str,
) -> Fault {
    Fault { name, what, wanted, subset, run }
}

/// Quick ones first: they share a stage for long.
pub const ALL: &[Fault] = &[
    fault("kill", 500, 14, kills::kill, "kill -9 at random under load, and once more from time to time"),
    fault("failpoint", 200, 12, failpoints::failpoint, "the daemon aborts at a named point of its code"),
    fault(
        "double-kill",
        50,
        3,
        kills::double_kill,
        "kill -9 again 0 to 500 ms after the start, once to thrice",
    ),
    fault("postgres-crash", 50, 3, servers::postgres_crash, "PostgreSQL stops at once and recovers"),
    fault("walsender", 50, 3, servers::walsender, "pg_terminate_backend for our walsender, once to thrice"),
    fault("pause", 10, 1, kills::pause, "SIGSTOP for longer than wal_sender_timeout"),
    fault("link", 100, 7, links::link, "cuts, resets, half-open, 1 byte/s, latency, held and lost answers"),
    fault(
        "slot-dropped",
        10,
        1,
        slots::dropped,
        "the slot is dropped, in a pause or under the running daemon",
    ),
    fault("slot-recreated", 10, 1, slots::recreated, "the slot is dropped and made again by another"),
    fault("slot-advanced", 10, 1, slots::advanced, "the slot is moved on by another"),
    fault("slot-invalidated", 10, 1, slots::invalidated, "the server drops WAL that the slot needs"),
    fault(
        "journal-torn",
        30,
        1,
        damage::journal_torn,
        "the journal's last file loses its end, or ends in garbage",
    ),
    fault(
        "journal-damaged",
        10,
        1,
        damage::journal_damaged,
        "a byte in the middle of the journal is another",
    ),
    fault(
        "store-damaged",
        20,
        1,
        damage::store_damaged,
        "the store's file is cut, overwritten, deleted, or of another boot",
    ),
    fault("older-store", 10, 1, damage::older_store, "an older copy of the store is put in its place"),
    fault(
        "older-folder",
        10,
        1,
        damage::older_folder,
        "an older copy of the whole data folder is put in its place",
    ),
    fault(
        "visibility",
        30,
        2,
        visibility::delayed,
        "commits are in the WAL for long before SELECT sees them, during a backfill",
    ),
    fault(
        "add-table",
        30,
        2,
        visibility::add_table,
        "a table joins the publication within open transactions",
    ),
    fault(
        "two-daemons",
        10,
        1,
        copies::two_daemons,
        "a clone of a frozen daemon takes over, then the first wakes",
    ),
    fault("fsync-fails", 30, 2, disks::fsync_fails, "the N-th fsync or fdatasync of each thread fails (EIO)"),
    fault("write-fails", 30, 2, disks::write_fails, "the N-th write of each thread to files fails (ENOSPC)"),
    fault("disk-full", 10, 1, disks::disk_full, "a small disk fills up under load, then it grows"),
    fault("clock", 10, 1, machine::clock, "the wall clock is 10 minutes off, or jumps by 20"),
    fault("memory", 10, 0, machine::memory, "128 MiB of memory, and a transaction of 200,000 rows"),
    fault("elasticsearch-kill", 30, 1, servers::elasticsearch_kill, "kill -9 for Elasticsearch"),
    fault(
        "elasticsearch-async",
        10,
        0,
        servers::elasticsearch_async,
        "kill -9 with an asynchronous translog, then `backfill --all`",
    ),
    fault("restored", 5, 0, copies::restored, "PostgreSQL comes back from an older base backup"),
    fault("promoted", 5, 0, copies::promoted, "a standby that is behind us becomes the primary"),
];
