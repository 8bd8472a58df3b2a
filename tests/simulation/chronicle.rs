//! Which state of the database each entry of the journal made: what apply has read, and what operators and failovers
//! did before apply read it.

use std::collections::{BTreeMap, VecDeque};

use projectord::journal::entry::{Commit, Kind, Position, Record};
use projectord::model::EntryNo;
use projectord::source::Identity;

use super::postgres::Server;
use super::watch::Watch;

/// Clones are older copies.
#[derive(Clone)]
pub struct Chronicle {
    /// By the commit's number.
    entries: BTreeMap<u64, i64>,
    read_to: EntryNo,
    /// Rebuilds that were journaled and not read yet.
    rebuilds: VecDeque<Rebuild>,
    rebuilt_at: EntryNo,
    /// Positions mean other commits than they did: a failover took some back.
    forked: bool,
    /// Failovers that took commits back, ever.
    forks: u64,
}

/// Positions began anew.
#[derive(Clone, Copy)]
struct Rebuild {
    /// The state there. When the entry is read the position may mean another one.
    number: i64,
    /// A failover has taken commits back since.
    forked: bool,
}

impl Default for Chronicle {
    fn default() -> Chronicle {
        Chronicle {
            entries: BTreeMap::from([(0, 0)]),
            read_to: EntryNo::ZERO,
            rebuilds: VecDeque::new(),
            rebuilt_at: EntryNo::ZERO,
            forked: false,
            forks: 0,
        }
    }
}

impl Chronicle {
    /// This older one is in force again.
    pub fn restored_after(mut self, newer: &Chronicle) -> Chronicle {
        if self.forks != newer.forks {
            self.forks = newer.forks.saturating_sub(1);
            self.fork();
        }
        self
    }

    /// A failover took commits back.
    pub fn fork(&mut self) {
        self.forks += 1;
        self.forked = true;
        self.rebuilds.iter_mut().for_each(|rebuild| rebuild.forked = true);
    }

    /// Whether positions may mean other commits than they did when they were journaled.
    pub fn is_forked(&self) -> bool {
        self.forked
    }

    /// A rebuild was journaled, at this state.
    pub fn rebuilt(&mut self, number: i64) {
        self.rebuilds.push_back(Rebuild { number, forked: false });
    }

    /// What the journal says from a rebuild on was never delivered by the generations before; they are still in
    /// force until it is read.
    pub fn awaits_rebuild(&self) -> bool {
        !self.rebuilds.is_empty()
    }

    /// The last rebuild's entry.
    pub fn rebuilt_at(&self) -> EntryNo {
        self.rebuilt_at
    }

    /// The entry to read next.
    pub fn next(&self) -> EntryNo {
        self.read_to.next()
    }

    pub fn read_to(&self) -> EntryNo {
        self.read_to
    }

    /// The number of the state at an entry.
    pub fn number_at(&self, entry: EntryNo) -> i64 {
        self.entries.range(..=entry.0).next_back().map_or(0, |(_, number)| *number)
    }

    /// Entries that have become durable.
    pub fn read(&mut self, records: &[Record], server: &Server, watch: &Watch) {
        for record in records {
            self.read_to = record.number;
            // What was taken back before anything was read concerns nobody.
            self.forked &= self.entries.len() > 1;
            let number = match record.kind {
                Kind::Transaction => {
                    let (commit, _) = Commit::decode(&record.payload).expect("an entry of ours");
                    commit.time_us
                }
                Kind::Position => {
                    let position: Position = serde_json::from_slice(&record.payload).expect("ours");
                    // A failover may have taken back meanwhile what stood there.
                    let before = self.number_at(record.number);
                    let now = server.moment_at(position.lsn).number;
                    if self.forked { before } else { now.max(before) }
                }
                Kind::Rebuild => {
                    let rebuild = self.rebuilds.pop_front().expect("an operator's");
                    self.rebuilt_at = record.number;
                    self.forked = rebuild.forked;
                    rebuild.number
                }
                Kind::Connected => {
                    watch.trace(format_args!("entry {} (connected)", record.number));
                    // The gate lets nothing pass that was taken back: on this timeline positions mean one thing again.
                    let identity: Identity = serde_json::from_slice(&record.payload).expect("ours");
                    self.forked &= identity.timeline != server.timeline;
                    continue;
                }
                kind => {
                    watch.trace(format_args!("entry {} ({})", record.number, kind.name()));
                    continue;
                }
            };
            watch.trace(format_args!("entry {} ({}): commit {number}", record.number, record.kind.name()));
            if record.kind == Kind::Transaction {
                server.deeds(number).iter().for_each(|change| watch.trace(change));
            }
            self.entries.insert(record.number.0, number);
        }
    }
}
