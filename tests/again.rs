//! Documents are made again on request, beside the running daemon.

mod support;

use std::collections::HashMap;

use support::daemon::{self, CATCH_UP, Daemon};
use support::elasticsearch::Elasticsearch;
use support::postgres::Postgres;
use support::shop;
use support::workload::{self, Workload};

#[test]
fn replay_and_backfill_beside_the_stream_raise_versions_and_keep_documents_equal() {
    let postgres = Postgres::start_quick();
    shop::create(&postgres, 200, 600);
    let elasticsearch = Elasticsearch::shared();
    let daemon = Daemon::start(&postgres, &elasticsearch, &daemon::Options::shop());
    daemon.in_step(&postgres, &elasticsearch);
    let alias = format!("{}products", elasticsearch.prefix());

    // What replay means to mend: somebody's hand in the index, at the version that we gave.
    let id = elasticsearch.scan(&alias)[0].id.clone();
    let before = versions(&elasticsearch, &alias);
    let path = format!("/{}/_doc/{id}?version={}&version_type=external_gte", index(&daemon), before[&id]);
    elasticsearch.put(&path, r#"{"name": "spoilt"}"#).ok();
    run(&daemon, &["replay", "--id", &id, "--projection", "products", "--wait"]);
    daemon.in_step(&postgres, &elasticsearch);
    let after = versions(&elasticsearch, &alias);
    for (document, version) in &after {
        let grew = version > &before[document];
        assert_eq!(grew, *document == id, "{document}: {} became {version}", before[document]);
    }

    let options = workload::Options { seed: 70, transactions: None, rate: Some(10.0), ..Default::default() };
    let writers = Workload::start(&postgres.url(shop::DATABASE), &options);
    run(&daemon, &["replay", "--all", "--wait"]);
    writers.stop();
    daemon.in_step(&postgres, &elasticsearch);
    for (document, version) in versions(&elasticsearch, &alias) {
        assert!(after.get(&document).is_none_or(|before| version > *before), "{document} did not grow");
    }

    let options = workload::Options { seed: 71, ..options };
    let writers = Workload::start(&postgres.url(shop::DATABASE), &options);
    let old = index(&daemon);
    run(&daemon, &["backfill", "--projection", "products", "--yes"]);
    daemon.wait_status("the alias leads to a new index", CATCH_UP, |status| {
        let all = status["projections"].as_array().expect("projections");
        all.iter().any(|one| one["name"] == "products" && one["state"] == "live" && one["index"] != *old)
    });
    writers.stop();
    daemon.in_step(&postgres, &elasticsearch);
    let behind = elasticsearch.get(&format!("/_alias/{alias}")).ok().json();
    let behind: Vec<&String> = behind.as_object().expect("indices").keys().collect();
    assert_eq!(behind, [&index(&daemon)], "the alias leads elsewhere");
    let unknown = daemon.run(&["backfill", "--projection", "nobody", "--yes"]);
    assert_eq!(unknown.status.code(), Some(3));
}

fn versions(elasticsearch: &Elasticsearch, alias: &str) -> HashMap<String, u64> {
    elasticsearch.scan(alias).into_iter().map(|document| (document.id, document.version)).collect()
}

fn index(daemon: &Daemon) -> String {
    let status = daemon.status().expect("it answers");
    let all = status["projections"].as_array().expect("projections");
    let one = all.iter().rev().find(|one| one["name"] == "products").expect("the projection");
    one["index"].as_str().expect("an index").to_owned()
}

fn run(daemon: &Daemon, arguments: &[&str]) {
    let output = daemon.run(arguments);
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    println!("{arguments:?}: {}", said.trim());
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}\n{}", daemon.log_end());
}
