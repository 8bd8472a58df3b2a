//! Where a store may stand beside a journal: neither ahead of its end, not by a part of an entry, nor behind its
//! beginning. One that is empty begins where everything is read again.

use std::sync::Arc;

use crate::journal::memory::MemoryFiles;
use crate::journal::{self, Journal, Kind};
use crate::model::EntryNo;
use crate::pipeline::run::{Error, check_store};
use crate::store::meta::Reached;

#[test]
fn a_store_meets_its_journal_between_its_beginning_and_its_end() {
    let options =
        journal::Options { segment_bytes: 200, retain_age_s: 0, retain_bytes: 0, ..Default::default() };
    let id = "j".repeat(32);
    let (mut journal, _) = Journal::open(Arc::new(MemoryFiles::new()), options, &id, 0).unwrap();
    for _ in 0..20 {
        journal.append(Kind::Command, &[&[0; 60]]).unwrap();
        journal.sync().unwrap();
    }
    journal.retain(EntryNo(10), 1 << 40).unwrap();
    let (first, end) = (journal.first(), journal.end());
    assert!(first > EntryNo(2) && first < end, "{first} {end}");

    let empty = EntryNo::ZERO;
    let cases = [
        (first.previous(), 0, None, None),
        (end, 0, None, None),
        (end.previous(), 7, None, None),
        (end, 7, None, Some("store-ahead")),
        (end.next(), 0, None, Some("store-ahead")),
        (end.next(), 0, Some(end), Some("store-ahead")),
        (first.previous().previous(), 0, None, Some("store-behind")),
        // It still has rows of before the gap.
        (first.previous().previous(), 0, Some(end), Some("store-behind")),
        (empty, 0, None, Some("store-behind")),
        (empty, 0, Some(end), None),
        (empty, 0, Some(first), None),
    ];
    for (entry, message, rebuilt, expected) in cases {
        let reached = Reached { journal_id: id.clone(), entry, message, ..Reached::default() };
        let code = match check_store(&reached, rebuilt, &journal, &id) {
            Ok(()) => None,
            Err(Error::Refused { code, .. }) => Some(code),
            Err(other) => panic!("{other}"),
        };
        assert_eq!(
            code, expected,
            "{entry} and {message} messages, rebuilt {rebuilt:?}, of {first} to {end}"
        );
    }
    let other = Reached { journal_id: "k".repeat(32), entry: end, ..Reached::default() };
    let refused = check_store(&other, None, &journal, &id);
    assert!(matches!(refused, Err(Error::Refused { code: "store-other", .. })), "{refused:?}");
}
