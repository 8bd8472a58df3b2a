//! The store is not what it was: it is never served in silence, and the documents become equal again.

mod support;

use std::path::Path;
use std::process::Command;

use support::daemon::{self, CATCH_UP, Daemon};
use support::elasticsearch::Elasticsearch;
use support::postgres::Postgres;
use support::session::Session;
use support::{process, shop};

/// Stops the daemon by `kill -9`, does `harm` to the store's folder while rows change, and starts it again.
fn check(harm: impl Fn(&Path), said: &str) {
    let postgres = Postgres::start_quick();
    shop::create(&postgres, 200, 600);
    let elasticsearch = Elasticsearch::shared();
    let mut daemon = Daemon::start(&postgres, &elasticsearch, &daemon::Options::shop());
    daemon.in_step(&postgres, &elasticsearch);
    let session = postgres.session(shop::DATABASE);
    change(&session, 1);
    daemon.in_step(&postgres, &elasticsearch);
    change(&session, 2);
    daemon.kill();
    harm(&daemon.data_folder().join("store"));
    change(&session, 3);
    daemon.start_again();
    daemon.in_step(&postgres, &elasticsearch);
    assert!(daemon.log().contains(said), "{said:?} is not said\n{}", daemon.log_end());
    change(&session, 4);
    daemon.in_step(&postgres, &elasticsearch);
}

/// Moves, deletes and makes rows, so that a lost mark leaves a phantom or a stale document.
fn change(session: &Session, round: u32) {
    session.must(&format!("UPDATE products SET name = name || ' {round}' WHERE id % 3 = 0"));
    session.must(&format!("DELETE FROM products WHERE id % 40 = {round}"));
    session.must(&format!("DELETE FROM orders WHERE id % 50 = {round}"));
    session.must(&format!("UPDATE product_reviews SET product_id = (SELECT min(id) + {round} FROM products) WHERE id % 9 = {round}"));
}

#[test]
fn store_left_open_in_another_boot_is_not_believed() {
    let harm = |store: &Path| {
        let guard = store.join("guard.json");
        let text = std::fs::read_to_string(&guard).expect("a guard");
        let mut json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(json["open"], true, "{text}");
        json["boot_id"] = "00000000-0000-0000-0000-000000000000".into();
        std::fs::write(&guard, json.to_string()).expect("a guard");
    };
    check(harm, "started again since");
}

#[test]
fn store_whose_data_file_was_cut_is_not_believed() {
    let harm = |store: &Path| {
        let file = std::fs::OpenOptions::new().write(true).open(store.join("data.mdb")).expect("data.mdb");
        let length = file.metadata().expect("its length").len();
        file.set_len(length / 2).expect("a cut");
    };
    check(harm, "store");
}

#[test]
fn store_whose_data_file_has_no_heads_any_more_is_not_served() {
    let harm = |store: &Path| {
        use std::os::unix::fs::FileExt;
        let file = std::fs::OpenOptions::new().write(true).open(store.join("data.mdb")).expect("data.mdb");
        file.write_all_at(&[0xa5; 8192], 0).expect("damage");
    };
    check(harm, "store");
}

#[test]
fn store_that_was_deleted_is_built_again() {
    check(|store| std::fs::remove_dir_all(store).expect("the store goes"), "the store begins empty");
}

#[test]
fn older_copy_of_the_store_catches_up() {
    let postgres = Postgres::start_quick();
    shop::create(&postgres, 200, 600);
    let elasticsearch = Elasticsearch::shared();
    let mut daemon = Daemon::start(&postgres, &elasticsearch, &daemon::Options::shop());
    daemon.in_step(&postgres, &elasticsearch);
    let session = postgres.session(shop::DATABASE);
    assert_eq!(daemon.terminate().0.code(), Some(0), "{}", daemon.log_end());
    let store = daemon.data_folder().join("store");
    let copy = daemon.data_folder().join("store.copy");
    process::run(Command::new("cp").arg("-a").args([&store, &copy]));
    change(&session, 1);
    daemon.start_again();
    daemon.in_step(&postgres, &elasticsearch);
    change(&session, 2);
    daemon.wait_status("some are applied", CATCH_UP, |status| {
        status["watermarks"]["lag_bytes"]["applied"] == 0
    });
    daemon.kill();
    std::fs::remove_dir_all(&store).expect("the store goes");
    std::fs::rename(&copy, &store).expect("the copy takes its place");
    change(&session, 3);
    daemon.start_again();
    daemon.in_step(&postgres, &elasticsearch);
}
