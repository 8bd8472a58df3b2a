//! What a start cannot use: a server, a cluster or a data folder that is not what it must be. Each is told by its
//! code, with something to do, and in the end nothing was lost.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use projectord::store::guard;
use support::daemon::{self, CATCH_UP, Daemon};
use support::elasticsearch::Elasticsearch;
use support::postgres::Postgres;
use support::{http, process, shop};

/// Exit code of a refusal.
const SAFETY: i32 = 3;

/// A refusal with this code, and something to do behind the reason.
fn refused(daemon: &mut Daemon, code: &str) {
    daemon.wait_refusal(SAFETY, code);
    let said = daemon.said();
    let end = said.rsplit(code).next().unwrap_or_default();
    assert!(end.contains("\n    ") || end.contains(". "), "{code} comes without a remedy: {said}");
    assert!(!said.contains("panicked"), "{said}");
    println!("{code}: refused");
}

/// It goes on, says why it cannot, and counts its attempts.
fn tries_again(daemon: &Daemon, room: &str, trouble: &str) {
    let status = daemon.wait_status("it tries again", CATCH_UP, |status| {
        status["trouble"].as_str().is_some_and(|said| said.starts_with(trouble))
    });
    let counter = format!("projectord_retries_total{{room=\"{room}\"}} ");
    support::wait_for("attempts are counted", CATCH_UP, || {
        let metrics = http::get(&format!("{}/metrics", daemon.http_url()))?.body;
        let count = metrics.lines().find_map(|line| line.strip_prefix(&counter)?.parse().ok());
        let count: f64 = count.ok_or("no such counter")?;
        if count >= 2.0 { Ok(()) } else { Err(format!("{count} attempts")) }
    });
    let ready = http::get(&format!("{}/readyz", daemon.http_url())).expect("an answer");
    assert_eq!((ready.status, ready.body.starts_with(trouble)), (503, true), "{}", ready.body);
    println!("tried again: {}", status["trouble"]);
}

#[test]
fn a_write_database_that_cannot_be_used_is_told_by_its_code() {
    let postgres = Postgres::start_quick();
    shop::create(&postgres, 20, 20);
    let elasticsearch = Elasticsearch::shared();
    let session = postgres.session(shop::DATABASE);
    for statement in [
        "CREATE ROLE reads LOGIN",
        "CREATE ROLE streams LOGIN REPLICATION",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reads, streams",
        "CREATE ROLE sees_nothing LOGIN",
        // Everything but the right to replicate.
        "CREATE ROLE owns LOGIN",
        "GRANT CREATE ON DATABASE shop TO owns",
    ] {
        session.must(statement);
    }
    for row in session.must("SELECT format('%I', tablename) FROM pg_tables WHERE schemaname = 'public'") {
        session.must(&format!("ALTER TABLE {} OWNER TO owns", row[0].as_deref().expect("a name")));
    }
    session.must("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reads, streams");
    for (user, database, extra, code) in [
        ("nobody_at_all", "shop", "", "source-auth"),
        ("postgres", "no_such_database", "", "source-database"),
        ("reads", "shop", "", "source-no-right"),
        ("streams", "shop", "", "source-no-right"),
        ("owns", "shop", "", "source-auth"),
        ("postgres", "shop", "  read_user: sees_nothing\n", "table-no-right"),
    ] {
        let options = daemon::Options {
            user: user.to_owned(),
            database: database.to_owned(),
            source_extra: extra.to_owned(),
            ..daemon::Options::shop()
        };
        let mut daemon = Daemon::prepare(&postgres, &elasticsearch, &options);
        let slots = || session.value("SELECT count(*) FROM pg_replication_slots");
        daemon.spawn();
        refused(&mut daemon, code);
        assert_eq!(slots(), "0", "a slot was left behind, and holds WAL");
    }
}

#[test]
fn a_database_that_is_away_and_a_slot_in_use_are_tried_again() {
    let postgres = Postgres::start_quick();
    shop::create(&postgres, 20, 20);
    let elasticsearch = Elasticsearch::shared();
    let options = daemon::Options { source_port: Some(support::free_port()), ..daemon::Options::shop() };
    let away = Daemon::start(&postgres, &elasticsearch, &options);
    tries_again(&away, "source", "source-unavailable");
    drop(away);

    let mut first = Daemon::start(&postgres, &elasticsearch, &daemon::Options::shop());
    first.in_step(&postgres, &elasticsearch);
    // Another data folder and other indices, but the same slot. The first stands still: had the slot moved on between
    // two attempts, the second would be refused, which is as right (`slot-advanced`).
    first.freeze();
    let elsewhere = Elasticsearch::shared();
    let second = Daemon::start(&postgres, &elsewhere, &daemon::Options::shop());
    tries_again(&second, "source", "source-unavailable");
    drop(second);
    first.thaw();
    postgres.session(shop::DATABASE).must("UPDATE products SET name = name || ' still followed'");
    first.in_step(&postgres, &elasticsearch);
    assert_eq!(first.terminate().0.code(), Some(0));
}

/// A slot is made only once every transaction that was running has ended, however long that takes (hazard 7).
#[test]
fn whoever_connects_for_long_says_what_it_waits_for() {
    let postgres = Postgres::start_quick();
    shop::create(&postgres, 20, 20);
    let elasticsearch = Elasticsearch::shared();
    let open = postgres.session(shop::DATABASE);
    open.must("BEGIN; UPDATE products SET name = name || '!'");
    let daemon = Daemon::start(&postgres, &elasticsearch, &daemon::Options::shop());
    daemon.wait_status("it says what it waits for", CATCH_UP, |status| {
        let said = status["trouble"].as_str().unwrap_or_default();
        said.starts_with("connecting: has waited ") && said.ends_with(" s to create the slot")
    });
    let log = daemon.log();
    assert!(log.contains("still connecting") && log.contains("waits for running transactions"), "{log}");
    open.must("COMMIT");
    daemon.in_step(&postgres, &elasticsearch);
    assert_eq!(daemon.status().map(|status| status["trouble"].clone()), Some(serde_json::Value::Null));
}

/// A cluster that says the same to everything, until the test ends.
fn cluster_that_says(status: u16, body: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut caller in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let _ = caller.read(&mut request); // what is asked does not matter
            let length = body.len();
            let _ = write!(
                caller,
                "HTTP/1.1 {status} Word\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
        }
    });
    port
}

#[test]
fn a_cluster_that_cannot_be_used_is_told_by_its_code() {
    let postgres = Postgres::start_quick();
    shop::create(&postgres, 20, 20);
    let elasticsearch = Elasticsearch::shared();
    let on = |port: u16, slot: &str| daemon::Options {
        sink_port: Some(port),
        slot: slot.to_owned(),
        ..daemon::Options::shop()
    };
    let forbidden =
        r#"{"error":{"type":"security_exception","reason":"action is unauthorized"},"status":403}"#;
    let old = r#"{"version":{"number":"6.8.23"},"tagline":"You Know, for Search"}"#;
    for (status, body, code) in
        [(401, "{}", "sink-auth"), (403, forbidden, "sink-forbidden"), (200, old, "sink-version")]
    {
        let mut daemon = Daemon::prepare(
            &postgres,
            &elasticsearch,
            &on(cluster_that_says(status, body), &format!("s{status}")),
        );
        daemon.spawn();
        refused(&mut daemon, code);
    }
    for port in [support::free_port(), cluster_that_says(503, "{}"), cluster_that_says(200, "<html>")] {
        let daemon = Daemon::start(&postgres, &elasticsearch, &on(port, "projectord"));
        tries_again(&daemon, "sink", "sink-unavailable");
    }
}

/// The only segment, or the first.
fn segment(data: &Path) -> PathBuf {
    let files = fs::read_dir(data.join("journal")).expect("the journal").flatten().map(|entry| entry.path());
    files.filter(|path| path.extension().is_some_and(|kind| kind == "journal")).min().expect("a segment")
}

fn change(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(file).expect("a file");
    change(&mut bytes);
    fs::write(file, bytes).expect("room");
}

fn change_guard(data: &Path, change: impl FnOnce(&mut guard::Facts)) {
    let store = data.join("store");
    let mut facts = guard::read(&store).expect("a guard").expect("a guard");
    change(&mut facts);
    guard::write(&store, &facts).expect("a guard");
}

/// Another journal's id in a segment's head, which stays whole otherwise.
fn of_another_journal(data: &Path) {
    const ID: std::ops::Range<usize> = 12..44;
    const HEAD: usize = 56;
    change(&segment(data), |bytes| {
        bytes[ID].fill(b'7');
        let length: [u8; 4] = bytes[HEAD - 4..HEAD].try_into().expect("four bytes");
        let end = HEAD + u32::from_le_bytes(length) as usize;
        let checksum = crc32c::crc32c(&bytes[..end]);
        bytes[end..end + 4].copy_from_slice(&checksum.to_le_bytes());
    });
}

/// What was done to the data folder, and by which code it is refused.
type Harm = (fn(&Path), &'static str);

#[test]
fn a_data_folder_that_is_not_what_it_was_is_told_by_its_code_and_never_guessed_at() {
    let harms: [Harm; 9] = [
        (|data| change(&segment(data), |bytes| bytes[8] = 99), "journal-newer"),
        (
            |data| {
                change(&segment(data), |bytes| {
                    let middle = bytes.len() / 2;
                    bytes[middle] ^= 0x40;
                });
            },
            "journal-damaged",
        ),
        (of_another_journal, "journal-other"),
        (|data| fs::remove_file(segment(data)).expect("a segment"), "store-ahead"),
        (|data| fs::write(data.join("identity.json"), "{").expect("room"), "data-unreadable"),
        (
            |data| {
                let file = data.join("identity.json");
                let text = fs::read_to_string(&file).expect("the identity");
                fs::write(
                    &file,
                    text.replace("\"format\":1", "\"format\":99").replace("\"format\": 1", "\"format\": 99"),
                )
                .expect("room");
            },
            "journal-newer",
        ),
        (|data| change_guard(data, |facts| facts.journal_id = "7".repeat(32)), "store-other"),
        (|data| change_guard(data, |facts| facts.format = 99), "store-newer"),
        (|data| fs::remove_file(data.join("identity.json")).expect("the identity"), "store-other"),
    ];
    let postgres = Postgres::start_quick();
    shop::create(&postgres, 100, 300);
    let elasticsearch = Elasticsearch::shared();
    let mut daemon = Daemon::start(&postgres, &elasticsearch, &daemon::Options::shop());
    daemon.in_step(&postgres, &elasticsearch);
    assert_eq!(daemon.terminate().0.code(), Some(0), "{}", daemon.log_end());
    postgres.session(shop::DATABASE).must("UPDATE products SET name = name || ' unseen'");
    let whole = daemon.data_folder();
    for (number, (harm, code)) in harms.into_iter().enumerate() {
        let copy = whole.with_file_name(format!("data{number}"));
        process::run(Command::new("cp").arg("-a").args([&whole, &copy]));
        harm(&copy);
        daemon.change(|options| options.data = Some(copy.clone()));
        daemon.spawn();
        refused(&mut daemon, code);
    }
    daemon.change(|options| options.data = Some(whole.clone()));
    daemon.start_again();
    daemon.in_step(&postgres, &elasticsearch);
}
