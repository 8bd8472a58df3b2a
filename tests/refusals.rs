//! What must be refused, is: with its code and exit code 3, and never in silence.

mod support;

use std::time::Duration;

use support::daemon::{self, CATCH_UP, Daemon};
use support::elasticsearch::Elasticsearch;
use support::postgres::{self, Postgres};
use support::shop;

const SAFETY: i32 = 3;

fn small_shop() -> (Postgres, Elasticsearch, Daemon) {
    let postgres = Postgres::start_quick();
    shop::create(&postgres, 100, 300);
    let elasticsearch = Elasticsearch::shared();
    let daemon = Daemon::start(&postgres, &elasticsearch, &daemon::Options::shop());
    daemon.in_step(&postgres, &elasticsearch);
    (postgres, elasticsearch, daemon)
}

#[test]
fn a_second_daemon_on_the_same_folder_is_refused_and_the_first_stops_in_seconds() {
    let (postgres, elasticsearch, mut daemon) = small_shop();
    let same_folder = daemon::Options { data: Some(daemon.data_folder()), ..daemon::Options::shop() };
    let mut second = Daemon::prepare(&postgres, &elasticsearch, &same_folder);
    second.spawn();
    second.wait_refusal(SAFETY, "data-locked");
    postgres.session(shop::DATABASE).must("UPDATE products SET name = name || ' still followed'");
    daemon.in_step(&postgres, &elasticsearch);
    let (status, took) = daemon.terminate();
    assert_eq!(status.code(), Some(0), "{}", daemon.log_end());
    assert!(took < Duration::from_secs(10), "SIGTERM took {took:?}");
    println!("SIGTERM took {took:?}");
}

#[test]
fn a_slot_that_was_dropped_recreated_or_advanced_by_another_is_refused() {
    for (deed, code) in [
        ("SELECT pg_drop_replication_slot('projectord')", "slot-missing"),
        (
            "SELECT pg_drop_replication_slot('projectord');
             SELECT pg_create_logical_replication_slot('projectord', 'pgoutput')",
            "slot-advanced",
        ),
        ("SELECT pg_replication_slot_advance('projectord', pg_current_wal_lsn())", "slot-advanced"),
    ] {
        let (postgres, _elasticsearch, mut daemon) = small_shop();
        daemon.kill();
        let session = postgres.session(shop::DATABASE);
        session.must("UPDATE products SET name = name || ' unseen'");
        support::wait_for("the slot is free", CATCH_UP, || {
            let active =
                session.value("SELECT active FROM pg_replication_slots WHERE slot_name = 'projectord'");
            if active == "f" { Ok(()) } else { Err(active) }
        });
        for statement in deed.split(';') {
            session.must(statement); // one transaction each: a slot is made by one that wrote nothing
        }
        daemon.spawn();
        daemon.wait_refusal(SAFETY, code);
        println!("{code}: refused");
    }
}

#[test]
fn a_slot_that_is_dropped_while_the_daemon_runs_is_refused() {
    let (postgres, _elasticsearch, mut daemon) = small_shop();
    let session = postgres.session(shop::DATABASE);
    support::wait_for("the slot is dropped", CATCH_UP, || {
        session
            .query(
                "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots
                 WHERE slot_name = 'projectord' AND active",
            )
            .map_err(|error| error.to_string())?;
        session
            .query("SELECT pg_drop_replication_slot('projectord')")
            .map(|_| ())
            .map_err(|error| error.to_string())
    });
    daemon.wait_refusal(SAFETY, "slot-missing");
}

#[test]
fn a_wrong_password_and_a_low_wal_level_are_told_clearly() {
    let replica = postgres::Options {
        fsync: false,
        settings: vec!["wal_level = replica".to_owned()],
        ..Default::default()
    };
    let postgres = Postgres::start(&replica);
    shop::create(&postgres, 10, 10);
    let elasticsearch = Elasticsearch::shared();
    let mut daemon = Daemon::prepare(&postgres, &elasticsearch, &daemon::Options::shop());
    daemon.spawn();
    daemon.wait_refusal(SAFETY, "source-wal-level");

    let session = postgres.session(shop::DATABASE);
    session.must("CREATE ROLE reader LOGIN REPLICATION SUPERUSER PASSWORD 'right'");
    let hba = postgres.data_folder().join("pg_hba.conf");
    let before = std::fs::read_to_string(&hba).expect("initdb made it");
    std::fs::write(&hba, format!("host all reader 127.0.0.1/32 scram-sha-256\n{before}"))
        .expect("pg_hba.conf");
    session.must("SELECT pg_reload_conf()");
    let options = daemon::Options {
        user: "reader".to_owned(),
        source_extra: "  password: wrong\n".to_owned(),
        ..daemon::Options::shop()
    };
    let mut daemon = Daemon::prepare(&postgres, &elasticsearch, &options);
    daemon.spawn();
    daemon.wait_refusal(SAFETY, "source-auth");
    assert!(!daemon.log().contains("wrong\n") && !daemon.log().contains("'wrong'"), "{}", daemon.log());
}

#[test]
fn a_deleted_index_is_refused_and_a_restart_builds_it_anew() {
    let (postgres, elasticsearch, mut daemon) = small_shop();
    let index = index_of(&daemon, "products");
    elasticsearch.delete(&format!("/{index}")).ok();
    postgres.session(shop::DATABASE).must("UPDATE products SET name = name || ' again'");
    daemon.wait_refusal(SAFETY, "sink-index-gone");
    daemon.start_again();
    daemon.in_step(&postgres, &elasticsearch);
}

#[test]
fn an_index_that_another_one_writes_to_with_higher_versions_is_refused() {
    let (postgres, elasticsearch, mut daemon) = small_shop();
    let index = index_of(&daemon, "products");
    let id = elasticsearch.scan(&index)[0].id.clone();
    let path = format!("/{index}/_doc/{id}?version=9000000000000000000&version_type=external");
    elasticsearch.put(&path, r#"{"name": "foreign"}"#).ok();
    let update = format!("UPDATE products SET name = name || ' ours' WHERE id = {id}");
    postgres.session(shop::DATABASE).must(&update);
    daemon.wait_refusal(SAFETY, "sink-other-writer");
}

fn index_of(daemon: &Daemon, projection: &str) -> String {
    let status = daemon.status().expect("it answers");
    let all = status["projections"].as_array().expect("projections");
    let one = all.iter().find(|one| one["name"] == projection).expect("the projection");
    one["index"].as_str().expect("an index").to_owned()
}
