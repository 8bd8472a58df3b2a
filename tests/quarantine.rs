//! Documents that the sink refuses, and what an operator does about them.

mod support;

use std::process::Output;

use support::daemon::{self, CATCH_UP, Daemon};
use support::elasticsearch::Elasticsearch;
use support::postgres::Postgres;
use support::shop;

const PROJECTION: &str = "projection: makers\nroot: brands\nindex: makers\nfields:\n  id:\n  name:\n  \
                          website: { column: website, type: integer }\n";

#[test]
fn a_refused_document_waits_in_quarantine_while_the_others_go_on() {
    let postgres = Postgres::start_quick();
    shop::create(&postgres, 50, 50);
    let session = postgres.session(shop::DATABASE);
    session.must("INSERT INTO brands (name, slug) SELECT 'maker ' || i, 'maker-' || i FROM generate_series(1, 30) AS i");
    session.must("UPDATE brands SET website = id::text");
    session.must(
        "UPDATE brands SET website = 'no number' WHERE id IN (SELECT id FROM brands ORDER BY id LIMIT 3)",
    );
    let brands: u64 = session.value("SELECT count(*) FROM brands").parse().expect("a number");
    assert!(brands > 6, "{brands} brands");
    let elasticsearch = Elasticsearch::shared();
    let folder = support::private_folder("projection");
    let file = folder.path().join("makers.yaml");
    std::fs::write(&file, PROJECTION).expect("a projection");
    let options = daemon::Options { projections: vec![file], ..daemon::Options::shop() };
    let daemon = Daemon::start(&postgres, &elasticsearch, &options);
    let quarantined = |wanted: u64| {
        daemon.wait_status("so many are in quarantine", CATCH_UP, |status| {
            status["projections"][0]["quarantined"] == wanted
        })
    };
    quarantined(3);
    daemon.wait_projected(&postgres, CATCH_UP);
    let index = format!("{}makers", elasticsearch.prefix());
    assert_eq!(elasticsearch.scan(&index).len() as u64, brands - 3);

    let status = daemon.run(&["status"]);
    assert_eq!(status.status.code(), Some(4), "{}", said(&status));
    let list = daemon.run(&["quarantine", "list"]);
    assert_eq!(list.status.code(), Some(4), "{}", said(&list));
    let ids: Vec<String> = session
        .must("SELECT id FROM brands ORDER BY id LIMIT 3")
        .into_iter()
        .map(|mut row| row.remove(0).expect("a key"))
        .collect();
    for id in &ids {
        assert!(said(&list).contains(&format!("makers/{id}")), "{}", said(&list));
    }
    assert!(!said(&list).contains("no number"), "a row's value is shown: {}", said(&list));

    // Others go on; one mends itself, as its row changes.
    session.must("UPDATE brands SET name = name || '!'");
    session.must(&format!("UPDATE brands SET website = '7' WHERE id = {}", ids[0]));
    daemon.wait_projected(&postgres, CATCH_UP);
    quarantined(2);
    // A retry that cannot help, and one after the cause is mended.
    let retry = daemon.run(&["quarantine", "retry", &format!("makers/{}", ids[1])]);
    assert_eq!(retry.status.code(), Some(0), "{}", said(&retry));
    // Only what is tried again before this is projected has surely been refused again.
    session.must(&format!("UPDATE brands SET country = 'SE' WHERE id = {}", ids[0]));
    daemon.wait_projected(&postgres, CATCH_UP);
    quarantined(2);
    let dropped = daemon.run(&["quarantine", "drop", &format!("makers/{}", ids[1])]);
    assert_eq!(dropped.status.code(), Some(0), "{}", said(&dropped));
    quarantined(1);
    let unknown = daemon.run(&["quarantine", "drop", "makers/nobody"]);
    assert_eq!(unknown.status.code(), Some(3), "{}", said(&unknown));
    session.must("UPDATE brands SET website = '8' WHERE website = 'no number'");
    daemon.wait_projected(&postgres, CATCH_UP);
    quarantined(0);
    assert_eq!(daemon.run(&["status"]).status.code(), Some(0));
    assert_eq!(daemon.run(&["quarantine", "list"]).status.code(), Some(0));
    let documents = elasticsearch.scan(&index);
    assert_eq!(documents.len() as u64, brands);
    assert!(documents.iter().all(|document| document.source.contains('!')), "one stayed as it was");
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}
