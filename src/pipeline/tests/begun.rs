//! On which server the slot was begun has to be known until the first connection says it, however long the journal
//! has become by then.

use std::sync::Arc;
use std::time::Duration;

use crate::journal::entry::{Command, Intent, Position};
use crate::journal::memory::MemoryFiles;
use crate::journal::{self, Journal, Recovered};
use crate::model::{Generation, Lsn};
use crate::pipeline::ingest::{Ingest, Options, Order};

const NOW: Duration = Duration::ZERO;

fn open(files: &MemoryFiles) -> (Ingest, Recovered) {
    let options = journal::Options { segment_bytes: 200, ..journal::Options::default() };
    let (journal, recovered) = Journal::open(Arc::new(files.clone()), options, &"j".repeat(32), 0).unwrap();
    let (end, facts) = (recovered.end_lsn.unwrap_or(Lsn::ZERO), recovered.facts.clone());
    (Ingest::new(journal, Options::default(), end, facts), recovered)
}

fn intent(system_identifier: &str) -> Intent {
    Intent { slot: "s".to_owned(), system_identifier: system_identifier.to_owned(), timeline: 3 }
}

/// Orders that fill segment after segment, of which only the last is kept.
fn fill(mut ingest: Ingest, first: Vec<Order>) {
    for order in first {
        ingest.order(1, order).unwrap();
    }
    for _ in 0..20 {
        ingest.order(2, Order::Command(Command::Whole { generation: Generation(1) })).unwrap();
        ingest.sync(NOW).unwrap();
    }
    let durable = ingest.journal().durable();
    ingest.journal_mut().retain(durable, 1 << 40).unwrap();
    assert_eq!(ingest.journal().segments(), 1);
}

fn begun_on(files: &MemoryFiles) -> Intent {
    serde_json::from_slice(&open(files).1.intent.expect("it was not forgotten")).unwrap()
}

#[test]
fn the_server_of_a_slot_is_known_when_the_intents_entry_is_forgotten() {
    let files = MemoryFiles::new();
    let position = |lsn| Position { lsn: Lsn(lsn) };
    fill(open(&files).0, vec![Order::Intent(intent("first")), Order::Position(position(70))]);
    assert_eq!(begun_on(&files), intent("first"));
    // Nobody tells a process that begins in between.
    fill(open(&files).0, Vec::new());
    assert_eq!(begun_on(&files), intent("first"));
    // A rebuild begins anew, maybe over there.
    fill(open(&files).0, vec![Order::Intent(intent("second")), Order::Rebuild(position(20))]);
    fill(open(&files).0, Vec::new());
    assert_eq!(begun_on(&files), intent("second"));
}
