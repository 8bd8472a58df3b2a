//! The promise itself, from outside: whatever is written and whoever is killed, the documents become what
//! PostgreSQL says that they must be.

mod support;

use support::daemon::{self, CATCH_UP, Daemon};
use support::elasticsearch::Elasticsearch;
use support::postgres::{Options, Postgres};
use support::workload::{self, Workload};
use support::{northwind, oracle, shop};

#[test]
fn the_first_backfill_makes_every_document() {
    let postgres = Postgres::start_quick();
    shop::create(&postgres, 1_000, 5_000);
    let elasticsearch = Elasticsearch::shared();
    let daemon = Daemon::start(&postgres, &elasticsearch, &daemon::Options::shop());
    daemon.in_step(&postgres, &elasticsearch);
}

#[test]
fn documents_follow_a_workload_that_began_before_the_backfill() {
    let postgres = Postgres::start_quick();
    shop::create(&postgres, 1_000, 5_000);
    let elasticsearch = Elasticsearch::shared();
    let endless = workload::Options { seed: 11, transactions: None, ..workload::Options::default() };
    let writers = Workload::start(&postgres.url(shop::DATABASE), &endless);
    let daemon = Daemon::start(&postgres, &elasticsearch, &daemon::Options::shop());
    daemon.wait_status("all projections are live", CATCH_UP, |status| {
        let all = status["projections"].as_array();
        all.is_some_and(|all| !all.is_empty() && all.iter().all(|one| one["state"] == "live"))
    });
    println!("{}", writers.stop());
    daemon.in_step(&postgres, &elasticsearch);
    let more = workload::Options { seed: 12, transactions: Some(3_000), ..workload::Options::default() };
    println!("{}", workload::run(&postgres.url(shop::DATABASE), &more));
    daemon.in_step(&postgres, &elasticsearch);
}

#[test]
fn documents_are_right_although_everybody_is_killed_in_turn() {
    // With fsync: what the server has confirmed must survive it.
    let mut postgres = Postgres::start(&Options::default());
    shop::create(&postgres, 300, 1_500);
    let mut elasticsearch = Elasticsearch::start(support::elasticsearch::VERSION);
    let mut daemon = Daemon::start(&postgres, &elasticsearch, &daemon::Options::shop());
    let options = workload::Options { transactions: None, rate: Some(40.0), ..workload::Options::default() };
    for round in 0..9 {
        let writers = Workload::start(
            &postgres.url(shop::DATABASE),
            &workload::Options { seed: 100 + round, ..options.clone() },
        );
        let applied =
            |status: &serde_json::Value| status["watermarks"]["applied_entry"].as_u64().unwrap_or(0);
        let before = daemon.status().as_ref().map_or(0, applied);
        daemon.wait_status("some are applied", CATCH_UP, |status| applied(status) > before + 50);
        match round % 3 {
            0 => {
                daemon.kill();
                daemon.start_again();
            }
            1 => {
                postgres.kill();
                postgres.start_again();
            }
            _ => {
                elasticsearch.kill();
                elasticsearch.start_again();
            }
        }
        println!("round {round}: {}", writers.stop());
        daemon.in_step(&postgres, &elasticsearch);
    }
}

#[test]
fn the_northwind_traders_are_in_step() {
    let postgres = Postgres::start_quick();
    if let Err(reason) = northwind::create(&postgres) {
        println!("skipped: {reason}");
        return;
    }
    let elasticsearch = Elasticsearch::shared();
    let options = daemon::Options {
        database: northwind::DATABASE.to_owned(),
        projections: northwind::projection_files(),
        ..daemon::Options::shop()
    };
    let daemon = Daemon::start(&postgres, &elasticsearch, &options);
    let session = postgres.session(northwind::DATABASE);
    let compare = || {
        daemon.wait_projected(&postgres, CATCH_UP);
        oracle::compare_all(&session, &elasticsearch, &northwind::PROJECTIONS)
            .unwrap_or_else(|report| panic!("{report}"))
    };
    assert_eq!(compare(), 830 + 67);
    session.must(
        "UPDATE employees SET reports_to = 1 WHERE reports_to = 5; UPDATE employees SET photo = '\\x00ff80'",
    );
    session.must("UPDATE order_details SET product_id = 77 WHERE order_id = 10248 AND product_id = 11");
    session
        .must("UPDATE order_details SET discount = 0.15, unit_price = 3.4028235e38 WHERE order_id = 10249");
    session.must("UPDATE products SET discontinued = 1 - discontinued WHERE product_id < 20");
    compare();
}

#[test]
fn documents_are_equal_after_twenty_thousand_random_transactions() {
    random_transactions(Options { fsync: false, ..Options::default() }, 20_000);
}

#[test]
fn documents_are_equal_after_random_transactions_on_the_newest_postgresql() {
    let programs = support::postgres::cached_program_folder("18");
    if !programs.join("initdb").exists() {
        println!("skipped: {} is missing: run scripts/test --all", programs.display());
        return;
    }
    random_transactions(Options { fsync: false, programs: Some(programs), ..Options::default() }, 2_000);
}

/// The backfill begins in the midst of them.
fn random_transactions(server: Options, transactions: u64) {
    let postgres = Postgres::start(&server);
    shop::create(&postgres, 1_000, 5_000);
    let elasticsearch = Elasticsearch::shared();
    let options = workload::Options {
        seed: 20,
        connections: 6,
        transactions: Some(transactions),
        truncate: false,
        ..workload::Options::default()
    };
    let writers = Workload::start(&postgres.url(shop::DATABASE), &options);
    let daemon = Daemon::start(&postgres, &elasticsearch, &daemon::Options::shop());
    println!("{}", writers.wait());
    daemon.in_step(&postgres, &elasticsearch);
    // TRUNCATE makes the shop poorer every time: few of them.
    let last = workload::Options { seed: 21, transactions: Some(500), truncate: true, ..options };
    println!("{}", workload::run(&postgres.url(shop::DATABASE), &last));
    daemon.in_step(&postgres, &elasticsearch);
}

#[test]
fn a_dropped_slot_is_a_refusal_and_rebuild_brings_everything_back_in_step() {
    let postgres = Postgres::start_quick();
    shop::create(&postgres, 100, 400);
    let elasticsearch = Elasticsearch::shared();
    let mut daemon = Daemon::start(&postgres, &elasticsearch, &daemon::Options::shop());
    daemon.in_step(&postgres, &elasticsearch);
    let (ended, _) = daemon.terminate();
    assert!(ended.success());

    // What happens without a slot is lost to the stream.
    let session = postgres.session(shop::DATABASE);
    session.must("SELECT pg_drop_replication_slot('projectord')");
    session.must("DELETE FROM product_reviews WHERE id % 2 = 0");
    session.must("UPDATE products SET name = name || ' (new)' WHERE id % 3 = 0");
    daemon.spawn();
    let refused = daemon.wait_end(CATCH_UP);
    assert_eq!(refused.code(), Some(3), "{}", daemon.log());
    assert!(daemon.log().contains("slot-missing"), "{}", daemon.log());

    let rebuilt = daemon.run(&["rebuild", "--yes"]);
    assert!(rebuilt.status.success(), "{}", String::from_utf8_lossy(&rebuilt.stderr));
    daemon.start_again();
    daemon.in_step(&postgres, &elasticsearch);
}
