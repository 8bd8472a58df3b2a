//! The write database is not harmed: it keeps little for us, and stops when it is told to.

mod support;

use std::time::{Duration, Instant};

use support::daemon::{self, CATCH_UP, Daemon};
use support::disk::SmallDisk;
use support::elasticsearch::Elasticsearch;
use support::postgres::{Options, Postgres};
use support::proxy::{self, Proxy};
use support::session::Session;
use support::shop;
use support::workload::{self, Workload};

/// One segment and what is written while we look.
const RETAINED_MAX: u64 = 20 << 20;
const SEGMENT: u64 = 16 << 20;
/// How long a look at the slot and what leads up to it may take on a busy machine.
const LOOK_SECONDS_MAX: u64 = 5;
/// How long the sink says nothing.
const SILENCE: Duration = Duration::from_secs(60);
/// `pg_ctl stop -m fast` must not wait for us.
const STOP_MAX: Duration = Duration::from_secs(10);

/// WAL that the slot keeps, and what it has confirmed.
fn slot(session: &Session) -> (u64, u64) {
    session.must("CHECKPOINT"); // writes down the running transactions, up to which a slot may move
    let row = session.must(
        "SELECT pg_current_wal_lsn() - restart_lsn, confirmed_flush_lsn FROM pg_replication_slots
         WHERE slot_name = 'projectord'",
    );
    let text = |column: usize| row[0][column].clone().expect("a value");
    (text(0).parse().expect("bytes"), daemon::parse_lsn(&text(1)))
}

fn wait_retained(session: &Session, what: &str) {
    let retained = support::wait_for(what, Duration::from_secs(30), || {
        let (retained, _) = slot(session);
        if retained < RETAINED_MAX { Ok(retained) } else { Err(format!("{retained} bytes are retained")) }
    });
    println!("{what}: {retained} bytes are retained");
}

#[test]
fn little_is_retained_while_the_sink_is_silent_under_load() {
    let postgres = Postgres::start_quick();
    shop::create(&postgres, 300, 1_000);
    let elasticsearch = Elasticsearch::shared();
    let wire = Proxy::start(proxy::port_of(elasticsearch.url()), || Box::new(|_| ()));
    let options = daemon::Options { sink_port: Some(wire.port()), ..daemon::Options::shop() };
    let daemon = Daemon::start(&postgres, &elasticsearch, &options);
    daemon.in_step(&postgres, &elasticsearch);
    let session = postgres.session(shop::DATABASE);
    wire.fall_silent();
    let silent = Instant::now();
    let load = workload::Options { transactions: None, rate: Some(50.0), ..workload::Options::default() };
    let writers = Workload::start(&postgres.url(shop::DATABASE), &load);
    let written = postgres.session("postgres").value("SELECT pg_current_wal_lsn()");
    let mut worst = 0;
    while silent.elapsed() < SILENCE {
        std::thread::sleep(Duration::from_secs(1)); // the silence itself is what is waited for
        worst = worst.max(slot(&session).0);
    }
    println!("{}", writers.stop());
    let written: u64 =
        session.value(&format!("SELECT pg_current_wal_lsn() - '{written}'")).parse().expect("bytes");
    println!("{written} bytes written in the silence; retained at worst {worst}");
    // A slot moves a moment behind what was confirmed, and the application goes on writing meanwhile.
    let moment = written * LOOK_SECONDS_MAX / SILENCE.as_secs();
    assert!(worst < SEGMENT + moment, "{worst} bytes were retained while the sink was silent");
    wait_retained(&session, "after the load, in the silence");
    wire.speak_again();
    daemon.in_step(&postgres, &elasticsearch);
}

#[test]
fn idle_slot_advances_while_another_database_writes() {
    let postgres = Postgres::start_quick();
    shop::create(&postgres, 50, 50);
    postgres.create_database("other");
    let elasticsearch = Elasticsearch::shared();
    let daemon = Daemon::start(&postgres, &elasticsearch, &daemon::Options::shop());
    daemon.in_step(&postgres, &elasticsearch);
    let (shop, other) = (postgres.session(shop::DATABASE), postgres.session("other"));
    let (_, before) = slot(&shop);
    other.must("CREATE TABLE heap AS SELECT i, repeat(md5(i::text), 30) AS text FROM generate_series(1, 100000) AS i");
    let written = daemon::parse_lsn(&other.value("SELECT pg_current_wal_lsn()"));
    assert!(written - before > 100_000_000, "only {} bytes were written", written - before);
    let begin = Instant::now();
    support::wait_for("the slot has followed", Duration::from_secs(20), || {
        let (_, confirmed) = slot(&shop);
        if confirmed >= written { Ok(()) } else { Err(format!("{} bytes behind", written - confirmed)) }
    });
    println!("confirmed after {:?}", begin.elapsed());
    wait_retained(&shop, "after another database wrote");
    drop(daemon);
}

#[test]
fn server_stops_fast_while_the_daemon_is_idle_and_under_load() {
    let mut postgres = Postgres::start(&Options::default());
    shop::create(&postgres, 300, 1_000);
    let elasticsearch = Elasticsearch::shared();
    let daemon = Daemon::start(&postgres, &elasticsearch, &daemon::Options::shop());
    daemon.in_step(&postgres, &elasticsearch);
    for load in [false, true] {
        let options = workload::Options { transactions: None, ..workload::Options::default() };
        let writers = load.then(|| Workload::start(&postgres.url(shop::DATABASE), &options));
        std::thread::sleep(Duration::from_secs(2)); // idle, or loaded, for a while
        let took = postgres.stop_fast();
        println!("under load {load}: stopped in {took:?}");
        assert!(took < STOP_MAX, "under load {load}: the server took {took:?} to stop");
        postgres.start_again();
        if let Some(writers) = writers {
            writers.stop();
        }
        daemon.in_step(&postgres, &elasticsearch);
    }
}

/// Too little for the one transaction that the test writes.
const FULL: &str = "limits: { quota_bytes: 16MiB, segment_bytes: 1MiB, retain_bytes: 16MiB }\n";

#[test]
fn server_stops_fast_while_the_journal_is_full_and_room_mends_it() {
    let mut postgres = Postgres::start(&Options::default());
    shop::create(&postgres, 300, 1_000);
    let elasticsearch = Elasticsearch::shared();
    let options = daemon::Options { extra: FULL.to_owned(), ..daemon::Options::shop() };
    let mut daemon = Daemon::start(&postgres, &elasticsearch, &options);
    daemon.in_step(&postgres, &elasticsearch);
    write_much(&postgres, true);
    let trouble = |status: &serde_json::Value| status["trouble"].to_string().contains("journal-full");
    daemon.wait_status("the journal is full", CATCH_UP, trouble);
    let took = postgres.stop_fast();
    println!("journal full: stopped in {took:?}");
    assert!(took < STOP_MAX, "the server took {took:?} to stop");
    // Of two troubles the one that has to be mended is said: that the server is away comes and goes.
    let both = |status: &serde_json::Value| status["state"] == "disconnected" && trouble(status);
    daemon.wait_status("the journal is full and the server away", CATCH_UP, both);
    postgres.start_again();
    daemon.terminate();
    daemon.configure("");
    daemon.start_again();
    daemon.in_step(&postgres, &elasticsearch);
}

#[test]
fn server_stops_fast_while_the_disk_is_full_and_room_mends_it() {
    let mut postgres = Postgres::start(&Options::default());
    shop::create(&postgres, 300, 1_000);
    let elasticsearch = Elasticsearch::shared();
    let Some(disk) = SmallDisk::mount() else {
        println!("skipped: only root can mount a small disk");
        return;
    };
    let options = daemon::Options { data: Some(disk.folder().join("data")), ..daemon::Options::shop() };
    let mut daemon = Daemon::start(&postgres, &elasticsearch, &options);
    daemon.in_step(&postgres, &elasticsearch);
    write_much(&postgres, false);
    support::wait_for("the disk is full", CATCH_UP, || {
        let ended = !daemon.is_running();
        let full = daemon.log().contains("journal-full") || daemon.log().contains("os error 28");
        if ended || full { Ok(()) } else { Err(daemon.log_end()) }
    });
    println!("the daemon runs: {}", daemon.is_running());
    let took = postgres.stop_fast();
    println!("disk full: stopped in {took:?}");
    assert!(took < STOP_MAX, "the server took {took:?} to stop");
    postgres.start_again();
    disk.resize("512m");
    if !daemon.is_running() {
        println!("{:?}\n{}", daemon.wait_end(CATCH_UP), daemon.log_end());
        daemon.start_again();
    }
    daemon.in_step(&postgres, &elasticsearch);
    daemon.terminate();
}

/// Some 40 MB of WAL, in small transactions or in one.
fn write_much(postgres: &Postgres, at_once: bool) {
    let session = postgres.session(shop::DATABASE);
    if at_once {
        session.must("BEGIN");
    }
    for round in 0..40 {
        session.must(&format!(
            "UPDATE products SET description = (SELECT string_agg(md5(id::text || i || {round}), '') FROM generate_series(1, 100) AS i)"
        ));
    }
    if at_once {
        session.must("COMMIT");
    }
}
