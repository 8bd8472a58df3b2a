//! The store is not what it was: it is never served in silence, and the documents become equal again.

mod support;

use std::path::Path;
use std::process::Command;

use projectord::store::guard;
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
    start_until_it_stays(&mut daemon);
    daemon.in_step(&postgres, &elasticsearch);
    assert!(daemon.log().contains(said), "{said:?} is not said\n{}", daemon.log_end());
    change(&session, 4);
    daemon.in_step(&postgres, &elasticsearch);
}

/// As a supervisor does: damage may be found only when it is read, and ends the process then.
fn start_until_it_stays(daemon: &mut Daemon) {
    for _ in 0..3 {
        daemon.spawn();
        let stays = support::wait_for("it stays or ends", CATCH_UP, || {
            if !daemon.is_running() {
                return Ok(false);
            }
            let status = daemon.status().ok_or("no answer")?;
            let all = status["projections"].as_array().cloned().unwrap_or_default();
            let live = !all.is_empty() && all.iter().all(|one| one["state"] == "live" && one["scans"] == 0);
            let applied = status["watermarks"]["lag_bytes"]["projected"] == 0;
            if live && applied && status["source"]["connected"] == true {
                Ok(true)
            } else {
                Err(status.to_string())
            }
        });
        if stays {
            return;
        }
        println!("{:?}\n{}", daemon.wait_end(CATCH_UP), daemon.log_end());
    }
    panic!("it never stays:\n{}", daemon.log_end());
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
        let facts = guard::read(store).expect("a guard").expect("a guard");
        assert!(facts.open);
        let boot_id = Some("00000000-0000-0000-0000-000000000000".to_owned());
        guard::write(store, &guard::Facts { boot_id, ..facts }).expect("a guard");
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

/// A journal that lost what it had synced. Whatever is appended to it would stand in for entries that the store
/// has applied: `rebuild` builds the store anew instead, nothing else goes on.
#[test]
fn store_ahead_of_its_journal_is_built_anew_by_rebuild_and_by_nothing_else() {
    let postgres = Postgres::start_quick();
    shop::create(&postgres, 100, 300);
    let elasticsearch = Elasticsearch::shared();
    let mut daemon = Daemon::start(&postgres, &elasticsearch, &daemon::Options::shop());
    daemon.in_step(&postgres, &elasticsearch);
    let session = postgres.session(shop::DATABASE);
    assert_eq!(daemon.terminate().0.code(), Some(0), "{}", daemon.log_end());
    let journal = daemon.data_folder().join("journal");
    let copy = daemon.data_folder().join("journal.copy");
    process::run(Command::new("cp").arg("-a").args([&journal, &copy]));
    daemon.start_again();
    change(&session, 1);
    daemon.in_step(&postgres, &elasticsearch);
    assert_eq!(daemon.terminate().0.code(), Some(0), "{}", daemon.log_end());
    std::fs::remove_dir_all(&journal).expect("the journal goes");
    std::fs::rename(&copy, &journal).expect("the copy takes its place");
    // Behind the positions that were lost: nothing of it comes by itself.
    change(&session, 2);

    // What an order appends does not make the store fit.
    for _ in 0..3 {
        let replay = daemon.run(&["replay", "--all"]);
        let said = String::from_utf8_lossy(&replay.stderr).into_owned();
        assert_eq!(replay.status.code(), Some(3), "{said}");
        assert!(said.contains("store-ahead"), "{said}");
    }
    daemon.spawn();
    assert_eq!(daemon.wait_end(CATCH_UP).code(), Some(3), "{}", daemon.log_end());
    assert!(daemon.said().contains("store-ahead"), "{}", daemon.log_end());

    let rebuilt = daemon.run(&["rebuild", "--yes"]);
    let said = String::from_utf8_lossy(&rebuilt.stderr).into_owned();
    assert!(rebuilt.status.success(), "{said}");
    assert!(said.contains("the store is built anew"), "{said}");
    daemon.start_again();
    daemon.in_step(&postgres, &elasticsearch);
}
