//! Seeded random schedules against a model: a list of what was appended, and how much of it was promised.

use std::sync::Arc;

use super::*;

const SCHEDULES: u64 = 250;
const STEPS: usize = 70;

struct World {
    seed: u64,
    random: fastrand::Rng,
    files: MemoryFiles,
    journal: Option<Journal>,
    /// Entry n stands at n - 1.
    appended: Vec<(Kind, Vec<u8>)>,
    synced: usize,
    /// Nothing behind this one may be gone by retention.
    store_durable: u64,
    now: u64,
    crashes: u64,
}

#[test]
fn every_reopen_finds_a_prefix_of_what_was_appended_with_everything_that_was_synced() {
    let seeds = match std::env::var("JOURNAL_SEED") {
        Ok(seed) => seed.parse().unwrap()..seed.parse::<u64>().unwrap() + 1,
        Err(_) => 0..SCHEDULES,
    };
    let mut crashes = 0;
    for seed in seeds {
        let mut world = World {
            seed,
            random: fastrand::Rng::with_seed(seed),
            files: MemoryFiles::new(),
            journal: None,
            appended: Vec::new(),
            synced: 0,
            store_durable: 0,
            now: 0,
            crashes: 0,
        };
        world.reopen();
        for _ in 0..STEPS {
            world.step();
        }
        world.crash();
        world.reopen();
        crashes += world.crashes;
    }
    assert!(crashes >= 1, "the schedules crash at all");
}

impl World {
    fn step(&mut self) {
        match self.random.u8(..100) {
            0..55 => self.append(),
            55..75 => self.sync(),
            75..82 => self.truncate(),
            82..87 => self.retain(),
            87..90 => {
                self.crash();
                self.reopen();
            }
            // Killed: the page cache stays.
            90..93 => self.reopen(),
            93..98 => self.files.cut_power_after(self.random.u64(..6)),
            _ => self.files.fail_next_sync(),
        }
    }

    fn journal(&mut self) -> &mut Journal {
        self.journal.as_mut().unwrap()
    }

    fn append(&mut self) {
        use Kind::{Chunk, Command, Facts, Position, Transaction, TransactionPart};
        let open = self.appended.last().is_some_and(|(kind, _)| *kind == TransactionPart);
        // Rule 5: nothing else between a part and its commit.
        let kinds: &[Kind] = if open {
            &[TransactionPart, TransactionPart, Transaction]
        } else {
            &[TransactionPart, Transaction, Position, Chunk, Command, Facts]
        };
        let kind = kinds[self.random.usize(..kinds.len())];
        let lsn = Lsn(self.random.u64(1..1 << 40));
        let mut payload = match kind {
            Position => format!("{{\"lsn\":\"{lsn}\"}}").into_bytes(),
            Transaction => commit(lsn).encode().to_vec(),
            _ => Vec::new(),
        };
        if kind != Position {
            let most = if self.random.u8(..10) == 0 { 1500 } else { 120 };
            let length = self.random.usize(..most);
            payload.extend(std::iter::repeat_with(|| self.random.u8(..)).take(length));
        }
        let cut = if kind == Transaction { Commit::SIZE_BYTES } else { self.random.usize(..=payload.len()) };
        let parts = [&payload[..cut], &payload[cut..]];
        let appended = self.journal.as_mut().unwrap().append(kind, &parts);
        // An entry that was refused may be on the disk all the same.
        self.appended.push((kind, payload));
        match appended {
            Ok(number) => {
                assert_eq!(number.0 as usize, self.appended.len(), "seed {}", self.seed);
                self.set_head();
            }
            Err(_) => self.fail(),
        }
    }

    fn set_head(&mut self) {
        let facts =
            self.last(self.appended.len(), |kind, payload| (kind == Kind::Facts).then_some(payload.to_vec()));
        let head = facts.map(|facts| (Kind::Facts, facts.into())).into_iter().collect();
        self.journal().set_head(head);
    }

    fn last<T>(&self, up_to: usize, find: impl Fn(Kind, &[u8]) -> Option<T>) -> Option<T> {
        self.appended[..up_to].iter().rev().find_map(|(kind, payload)| find(*kind, payload))
    }

    fn sync(&mut self) {
        match self.journal().sync() {
            Ok(durable) => {
                assert_eq!(durable.0 as usize, self.appended.len(), "seed {}", self.seed);
                self.synced = self.appended.len();
            }
            Err(_) => self.fail(),
        }
    }

    fn truncate(&mut self) {
        let lowest = self.journal().first().previous().0.max(self.store_durable) as usize;
        let length = self.appended.len();
        let last = if self.random.bool() {
            self.complete(length).max(lowest)
        } else {
            self.random.usize(lowest.min(length)..=length)
        };
        self.synced = self.synced.min(last);
        match self.journal().truncate_after(EntryNo(last as u64)) {
            Ok(()) => {
                if last < length {
                    self.synced = last;
                }
                self.appended.truncate(last);
                self.set_head();
            }
            Err(_) => self.fail(),
        }
    }

    fn retain(&mut self) {
        self.now += self.random.u64(..80);
        let complete = self.complete(self.synced) as u64;
        self.store_durable = self.store_durable.max(self.random.u64(..=complete));
        let (store_durable, now) = (EntryNo(self.store_durable), self.now);
        if self.journal().retain(store_durable, now).is_err() {
            self.fail();
        }
    }

    /// Up to the last entry that belongs to no open transaction.
    fn complete(&self, length: usize) -> usize {
        let whole = |(kind, _): &(Kind, Vec<u8>)| *kind != Kind::TransactionPart;
        self.appended[..length].iter().rposition(whole).map_or(0, |at| at + 1)
    }

    /// An operation failed: the process ends, and perhaps the machine.
    fn fail(&mut self) {
        if let Some(journal) = &mut self.journal {
            journal.append(Kind::Command, &[]).expect_err("a journal that failed takes nothing more");
            journal.sync().expect_err("a journal that failed syncs nothing more");
        }
        if self.random.bool() {
            self.crash();
        }
        self.reopen();
    }

    fn crash(&mut self) {
        self.journal = None;
        self.crashes += 1;
        self.files.crash(self.random.u64(..));
    }

    fn reopen(&mut self) {
        self.journal = None;
        let mut attempts = 0;
        let (journal, recovered) = loop {
            // The power goes during recovery as well, at any operation.
            if attempts < 3 && self.random.u8(..3) == 0 {
                self.files.cut_power_after(self.random.u64(..8));
            }
            match Journal::open(Arc::new(self.files.clone()), small(), ID, self.now) {
                Ok(opened) => break opened,
                Err(error @ Error::Failed { .. }) => {
                    attempts += 1;
                    assert!(attempts < 20, "seed {}: {error}", self.seed);
                    self.crash();
                }
                Err(error) => panic!("seed {}: {error}", self.seed),
            }
        };
        let seed = self.seed;
        let (first, last) = (journal.first(), recovered.last);
        let length = last.0 as usize;
        assert!(length <= self.appended.len(), "seed {seed}: {last} was never appended");
        assert!(length >= self.complete(self.synced), "seed {seed}: synced {}, found {last}", self.synced);
        assert!(first.0 <= self.store_durable + 1, "seed {seed}: {first} is the first");
        assert!(
            length == self.complete(length) || first.0 == last.0 + 1,
            "seed {seed}: an open transaction is cut"
        );
        assert_eq!((journal.end(), journal.durable()), (last, last), "seed {seed}");
        self.appended.truncate(length);
        self.synced = length;
        for from in first.0..=last.0 {
            let max_bytes = if from % 3 == 0 { 1 } else { 1 << 20 };
            let records = read(&self.files, EntryNo(from), last, max_bytes).unwrap();
            assert_eq!(records.len() as u64, last.0 + 1 - from, "seed {seed}");
            for (at, record) in records.iter().enumerate() {
                let (kind, payload) = &self.appended[from as usize - 1 + at];
                assert_eq!(record.number.0, from + at as u64, "seed {seed}");
                assert_eq!((record.kind, &record.payload[..]), (*kind, &payload[..]), "seed {seed}");
            }
        }
        let position =
            self.last(length, |kind, payload| crate::journal::recover::position_of(kind, &[payload]));
        assert_eq!(recovered.end_lsn, position, "seed {seed}: the position survives retention");
        let facts = self.last(length, |kind, payload| (kind == Kind::Facts).then(|| payload.to_vec()));
        assert_eq!(recovered.facts.as_deref(), facts.as_deref(), "seed {seed}: so do the facts");
        self.journal = Some(journal);
    }
}
