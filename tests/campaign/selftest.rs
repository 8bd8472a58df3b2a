//! The campaign must be able to fail: its bookkeeping is fed what it must tell apart, and its comparison is shown
//! planted differences on real servers.

use crate::faults::{self, Fault};
use crate::ledger::{Ending, Entry, Ledger, bound};
use crate::stage::Stage;

/// Needs no servers.
pub fn bookkeeping() {
    let names: std::collections::BTreeSet<_> = faults::ALL.iter().map(|fault| fault.name).collect();
    assert_eq!(names.len(), faults::ALL.len(), "two faults have one name");
    assert!(faults::ALL.iter().all(|fault| fault.wanted >= fault.subset));

    assert_eq!(bound(0, 0), None);
    assert_eq!(bound(300, 0), Some(0.01));
    assert_eq!(bound(300, 1), None, "nothing is claimed after a failure");

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("deep/ledger.jsonl");
    let mut ledger = Ledger::open(&path).expect("no ledger yet");
    for (number, ending) in
        [Ending::Held, Ending::Refused, Ending::Failed, Ending::Skipped, Ending::Held].into_iter().enumerate()
    {
        ledger.add(entry(ending, number as u64)).expect("a line");
    }
    assert_eq!(ledger.runs("kill", Some("v")), 4, "what was skipped counts as nothing");
    assert_eq!(ledger.runs("kill", Some("another")), 0, "other code's runs say nothing of this one");
    assert_eq!(ledger.runs("kill", None), 4);
    let read = Ledger::open(&path).expect("what was written").entries;
    assert_eq!(read, ledger.entries);
    let report = ledger.report(faults::ALL, Some("v"));
    assert!(report.contains("| kill | 4 | 2 | 1 | 1 | none |"), "{report}");
    assert!(report.contains("Failed: kill"), "{report}");

    // A line that a kill cut short is passed over; one that is wrong in the middle is not.
    let text = std::fs::read_to_string(&path).expect("the ledger");
    std::fs::write(&path, text.clone() + r#"{"fault": "ki"#).expect("a torn line");
    assert_eq!(Ledger::open(&path).expect("a torn end").entries.len(), 5);
    std::fs::write(&path, format!("nonsense\n{text}")).expect("a wrong line");
    assert!(Ledger::open(&path).is_err());
}

fn entry(ending: Ending, seed: u64) -> Entry {
    Entry {
        fault: "kill".to_owned(),
        variant: String::new(),
        seed,
        version: "v".to_owned(),
        unix_s: 1,
        ending,
        detail: String::new(),
        seconds: 1.0,
        converged_ms: 100 * seed,
        documents: 1,
        changes_per_s: None,
    }
}

/// On real servers: a wrong document, a missing and a foreign one, a row behind the daemon's back, a version
/// that went back. Each must be seen, and be gone once it is mended.
pub fn planted() {
    let mut stage = Stage::build();
    let index = format!("{}products", stage.elasticsearch.prefix());
    let victim = stage.elasticsearch.scan(&index).swap_remove(0);
    let path =
        |id: &str, version: u64| format!("/{index}/_doc/{id}?version={version}&version_type=external_gte");
    let seen = |stage: &mut Stage, what: &str, word: &str| {
        let why = stage.converge().expect_err(what);
        assert!(why.contains(word), "{what}: {why}");
        println!("seen: {what}");
    };

    stage.elasticsearch.put(&path(&victim.id, victim.version), r#"{"name": "planted"}"#).ok();
    seen(&mut stage, "a wrong document", "1 different");
    stage.elasticsearch.delete(&path(&victim.id, victim.version)).ok();
    seen(&mut stage, "a lost document", "1 missing");
    stage.elasticsearch.put(&path(&victim.id, victim.version), &victim.source).ok();
    stage.elasticsearch.put(&path("4711000", 1), r#"{"name": "planted"}"#).ok();
    seen(&mut stage, "a phantom", "1 phantom");
    stage.elasticsearch.delete(&path("4711000", 2)).ok();
    stage.converge().expect("mended");

    // A change that the stream does not carry: the row is out of step for ever.
    let session = stage.session();
    session.must("ALTER PUBLICATION projectord SET (publish = 'insert, delete, truncate')");
    session.must(&format!("UPDATE products SET name = 'planted in the row' WHERE id = {}", victim.id));
    session.must("ALTER PUBLICATION projectord SET (publish = 'insert, update, delete, truncate')");
    seen(&mut stage, "a lost row", "1 different");

    let fault: &Fault = &faults::ALL[0];
    println!("the comparison sees what it must; `{}` and the others may be believed", fault.name);
}
