//! The tests' own tools: a comparison that finds nothing must have been able to find something.

mod support;

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use projectord::journal::files::RealFiles;
use projectord::journal::{self, Journal, Kind};
use projectord::model::{EntryNo, Lsn};
use support::elasticsearch::Elasticsearch;
use support::journal::JournalEnd;
use support::json;
use support::oracle::{self, Documents};
use support::postgres::{Options, Postgres};
use support::wire::{Proxy, Weather};
use support::{northwind, shop, workload};

#[test]
fn numbers_are_equal_as_decimals_and_objects_without_order() {
    let check = |one: &str, other: &str, equal: bool| {
        let (left, right) = (json::parse(one).expect(one), json::parse(other).expect(other));
        assert_eq!(left == right, equal, "{one} and {other}");
    };
    check("1.10", "1.1", true);
    check("1.10", "1.11", false);
    check("1e3", "1000.00", true);
    check("0.001", "1E-3", true);
    check("-0.0", "0", true);
    check("-5", "5", false);
    check("9007199254740993", "9007199254740992", false);
    check("0.30000000000000004", "0.3", false);
    check("1", "\"1\"", false);
    check(r#"{"a":1,"b":[1,2]}"#, r#"{ "b" : [1, 2], "a" : 1.0 }"#, true);
    check("[1,2]", "[2,1]", false);
    check(r#"{"a":null}"#, "{}", false);
    check(r#""\u00e9\n\\""#, "\"é\\n\\\\\"", true);
}

#[test]
fn what_is_not_json_is_refused() {
    for text in ["", "{", "[1,", "\"open", "01x", "{\"a\":1,\"a\":2}", "1 2", "nul", "-", "\"a\nb\""] {
        assert!(json::parse(text).is_err(), "{text:?} was accepted");
    }
}

fn documents(list: &[(&str, &str)]) -> Documents {
    list.iter().map(|(id, text)| ((*id).to_owned(), json::parse(text).expect(text))).collect()
}

#[test]
fn the_oracle_reports_every_planted_difference_and_its_place() {
    let must_be = documents(&[
        ("1", r#"{"a":1.10,"lines":[{"n":1},{"n":2}]}"#),
        ("2", r#"{"a":1}"#),
        ("3", r#"{"a":1}"#),
    ]);
    assert_eq!(oracle::compare(&must_be, &must_be).expect("equal"), 3);
    let is = documents(&[
        ("1", r#"{"lines":[{"n":1},{"n":3}],"a":1.1,"extra":true}"#),
        ("3", r#"{"a":1.0}"#),
        ("4", r#"{}"#),
    ]);
    let report = oracle::compare(&must_be, &is).expect_err("different");
    assert_eq!(report.missing, ["2"]);
    assert_eq!(report.phantom, ["4"]);
    assert_eq!(report.different.len(), 1);
    assert_eq!(report.different[0].0, "1");
    assert_eq!(
        report.different[0].1,
        ["lines[1].n: is 3, must be 2", ".extra: is Bool(true), must be absent"]
    );
    assert!(report.to_string().contains("1 missing, 1 phantom, 1 different"), "{report}");
}

#[test]
fn postgres_survives_a_stop_a_crash_and_a_kill() {
    let mut postgres = Postgres::start(&Options::default());
    let session = postgres.session("postgres");
    session.must("CREATE TABLE t (n int PRIMARY KEY)");
    for (n, end) in [Postgres::crash, Postgres::kill, |postgres: &mut Postgres| {
        assert!(postgres.stop_fast().as_secs() < 30);
    }]
    .iter()
    .enumerate()
    {
        postgres.session("postgres").must(&format!("INSERT INTO t VALUES ({n})"));
        end(&mut postgres);
        assert!(support::session::Session::connect(&postgres.url("postgres")).is_err());
        postgres.start_again();
        assert_eq!(postgres.session("postgres").value("SELECT count(*) FROM t"), (n + 1).to_string());
    }
    assert!(session.query("SELECT 1").is_err());
}

#[test]
fn postgres_of_another_version_starts_from_the_cache() {
    let programs = support::postgres::cached_program_folder("18");
    if !programs.exists() {
        println!("skipped: {} is not there; scripts/test --all fetches it", programs.display());
        return;
    }
    let postgres = Postgres::start(&Options { programs: Some(programs), ..Options::default() });
    assert!(postgres.session("postgres").value("SHOW server_version").starts_with("18"));
}

#[test]
fn the_workload_uses_every_deed_and_the_oracle_still_stands() {
    let postgres = Postgres::start_quick();
    shop::create(&postgres, 300, 1_500);
    let options = workload::Options { seed: 7, transactions: Some(2_000), ..workload::Options::default() };
    let statistics = workload::run(&postgres.url(shop::DATABASE), &options);
    println!("{statistics}");
    assert_eq!(statistics.attempted(), 2_000);
    assert_eq!(statistics.unknown, 0);
    assert!(statistics.committed > 1_000 && statistics.rolled_back > 50 && statistics.undone > 50);
    let bad: Vec<_> =
        statistics.refused.keys().filter(|code| !EXPECTED_REFUSALS.contains(&code.as_str())).collect();
    assert!(bad.is_empty(), "the workload's SQL is wrong: {bad:?}");
    assert!(statistics.deeds.len() > 45, "{} kinds of deeds", statistics.deeds.len());
    let session = postgres.session(shop::DATABASE);
    for (index, sql) in shop::PROJECTIONS {
        let documents = oracle::expected(&session, sql);
        println!("{index}: {} documents", documents.len());
        assert!(documents.len() > 200);
    }
}

/// Foreign key, unique key, check (a category below itself), lock timeout, deadlock, serialization failure, aborted by an earlier one.
const EXPECTED_REFUSALS: [&str; 7] = ["23503", "23505", "23514", "55P03", "40P01", "40001", "25P02"];

#[test]
fn the_workload_goes_on_after_the_server_was_killed() {
    let mut postgres = Postgres::start_quick();
    shop::create(&postgres, 60, 200);
    let options = workload::Options { transactions: None, connections: 3, ..workload::Options::default() };
    let workload = workload::Workload::start(&postgres.url(shop::DATABASE), &options);
    let transactions = |postgres: &Postgres| -> u64 {
        let count = "SELECT xact_commit FROM pg_stat_database WHERE datname = 'shop'";
        postgres.session("postgres").value(count).parse().expect("a count")
    };
    let wait_for_life = |postgres: &Postgres| {
        let before = transactions(postgres);
        support::wait_for("transactions", std::time::Duration::from_secs(30), || {
            let now = transactions(postgres);
            if now > before + 30 { Ok(()) } else { Err(format!("{before}, then {now}")) }
        });
    };
    wait_for_life(&postgres);
    postgres.kill();
    postgres.start_again();
    wait_for_life(&postgres);
    assert!(workload.is_running());
    let statistics = workload.stop();
    assert!((1..=3).contains(&statistics.unknown), "{statistics}");
}

#[test]
fn northwind_loads_and_its_oracle_knows_all_documents() {
    let postgres = Postgres::start_quick();
    if let Err(reason) = northwind::create(&postgres) {
        println!("skipped: {reason}");
        return;
    }
    let session = postgres.session(northwind::DATABASE);
    let counts = northwind::PROJECTIONS.map(|(_, sql)| oracle::expected(&session, sql).len());
    assert_eq!(counts, [830, 67]);
}

#[test]
fn the_same_seed_gives_the_same_transactions() {
    let run = || {
        let postgres = Postgres::start_quick();
        shop::create(&postgres, 60, 200);
        let options = workload::Options {
            seed: 3,
            connections: 1,
            transactions: Some(150),
            ..workload::Options::default()
        };
        workload::run(&postgres.url(shop::DATABASE), &options).deeds
    };
    assert_eq!(run(), run());
}

#[test]
fn elasticsearch_of_other_versions_starts_from_the_cache() {
    if std::env::var_os("PROJECTORD_TEST_ALL").is_none() {
        println!("skipped: only with PROJECTORD_TEST_ALL, which scripts/test --all sets");
        return;
    }
    for version in ["7.17.29", "9.2.4"] {
        let mut elasticsearch = Elasticsearch::start(version);
        let index = format!("{}things", elasticsearch.prefix());
        elasticsearch.put(&format!("/{index}/_doc/1?refresh=true"), r#"{"a":1}"#).ok();
        assert_eq!(elasticsearch.scan(&index).len(), 1, "{version}");
        elasticsearch.stop();
    }
}

#[test]
fn elasticsearch_is_read_whole_and_survives_a_kill() {
    let mut elasticsearch = Elasticsearch::start(support::elasticsearch::VERSION);
    let index = format!("{}things", elasticsearch.prefix());
    let mut bulk = String::new();
    for id in 0..2_345 {
        bulk += &format!(
            "{{\"index\":{{\"_id\":\"{id}\",\"version\":{},\"version_type\":\"external\"}}}}\n",
            id + 5
        );
        bulk += &format!("{{\"price\":{id}.50}}\n");
    }
    let answer = elasticsearch.post(&format!("/{index}/_bulk"), &bulk).ok();
    assert_eq!(answer.json()["errors"], false);
    elasticsearch.kill();
    elasticsearch.start_again();
    let stored = support::wait_for("the index comes back", std::time::Duration::from_secs(30), || {
        let stored = elasticsearch.scan(&index);
        if stored.len() == 2_345 { Ok(stored) } else { Err(format!("{} documents", stored.len())) }
    });
    let one = stored.iter().find(|document| document.id == "77").expect("it is there");
    assert_eq!((one.version, one.source.as_str()), (82, "{\"price\":77.50}"));
    assert_eq!(elasticsearch.document(&index, "77").expect("realtime").version, 82);
    assert!(elasticsearch.document(&index, "none").is_none());
    assert_eq!(elasticsearch.indices(), [index]);
}

#[test]
fn proxies_hear_a_version_that_falls_and_a_position_that_no_journal_holds() {
    use std::io::{Read, Write};
    let server = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = server.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for connection in server.incoming().flatten() {
            std::thread::spawn(move || std::io::copy(&mut &connection, &mut std::io::sink()));
        }
    });
    let say = |port: u16, bytes: &[u8]| {
        let mut wire = std::net::TcpStream::connect(("127.0.0.1", port)).expect("the proxy listens");
        wire.write_all(bytes).expect("it hears");
        wire.shutdown(std::net::Shutdown::Write).expect("an end");
        let _ = wire.read(&mut [0]); // until the proxy has passed everything on and hung up
    };
    let (proxy, heard) = support::proxy::versions(port);
    for version in [5, 6, 6, 4] {
        let action = format!(r#"{{"index":{{"_index":"i","_id":"1","version":{version}}}}}"#);
        let body = format!("{action}\n{{}}\n");
        let head = format!("POST /_bulk HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
        say(proxy.port(), format!("{head}{body}").as_bytes());
    }
    let heard = heard.lock().expect("no panic");
    assert_eq!((heard.count, heard.repeated, heard.wrong.len()), (4, 1, 1), "{heard:?}");

    let folder = support::private_folder("journal");
    let (proxy, heard) = support::proxy::confirmations(port, folder.path().to_owned());
    let mut bytes = vec![0, 0, 0, 8, 0, 3, 0, 0];
    for flushed in [0u64, 7] {
        bytes.extend_from_slice(&[b'd', 0, 0, 0, 38, b'r']);
        bytes.extend_from_slice(&[flushed.to_be_bytes(); 3].concat());
        bytes.extend_from_slice(&[0; 9]);
    }
    say(proxy.port(), &bytes);
    let heard = heard.lock().expect("no panic");
    assert_eq!((heard.count, heard.wrong.len()), (2, 1), "{heard:?}");
}

/// What the files hold is what was written, also where the journal cut something off and wrote on, and where a
/// rebuild began positions anew.
#[test]
fn the_end_of_a_journal_is_read_from_its_files_alone() {
    let folder = support::private_folder("journal");
    let files = Arc::new(RealFiles::open(folder.path().to_owned()).expect("a folder"));
    let (mut journal, _) =
        Journal::open(files, journal::Options::default(), &"j".repeat(32), 0).expect("a journal");
    let mut end = JournalEnd::new(folder.path().to_owned());
    let position = |lsn: u64| format!(r#"{{"lsn":"{}"}}"#, Lsn(lsn)).into_bytes();
    let mut write = |kind: Kind, payload: &[u8]| {
        journal.append(kind, &[payload]).expect("room");
        journal.sync().expect("a disk");
        end.position()
    };
    assert_eq!(write(Kind::Position, &position(50)), 50);
    assert_eq!(write(Kind::Position, &position(40)), 50);
    assert_eq!(write(Kind::Rebuild, &position(30)), 30);
    for _ in 0..2 {
        assert_eq!(write(Kind::TransactionPart, &[0; 100]), 30);
    }
    journal.truncate_after(EntryNo(3)).expect("a disk");
    // Shorter entries than those that are gone: nothing begins where the last one did.
    for lsn in [60, 70] {
        journal.append(Kind::Position, &[&position(lsn)]).expect("room");
        journal.sync().expect("a disk");
        assert_eq!(end.position(), lsn);
    }
}

/// A server that answers every byte with the same byte; the wire's own address.
fn echo_behind_a_wire() -> Proxy {
    let socket = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let wire = Proxy::start(socket.local_addr().unwrap().port(), || Box::new(|_| ()));
    std::thread::spawn(move || {
        for connection in socket.incoming() {
            let mut connection = connection.unwrap();
            std::thread::spawn(move || {
                let mut buffer = [0; 1024];
                while let Ok(count @ 1..) = connection.read(&mut buffer) {
                    if connection.write_all(&buffer[..count]).is_err() {
                        break;
                    }
                }
            });
        }
    });
    wire
}

fn connect(wire: &Proxy) -> TcpStream {
    let connection = TcpStream::connect(("127.0.0.1", wire.port())).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    connection
}

/// Says `text`; what comes back within the time, and how it ended when it did.
fn exchange(connection: &mut TcpStream, text: &[u8], within: Duration) -> (Vec<u8>, Option<io::Result<()>>) {
    connection.write_all(text).unwrap();
    connection.set_read_timeout(Some(within)).unwrap();
    let mut heard = Vec::new();
    let mut buffer = [0; 1024];
    while heard.len() < text.len() {
        match connection.read(&mut buffer) {
            Ok(0) => return (heard, Some(Ok(()))),
            Ok(count) => heard.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return (heard, None),
            Err(error) => return (heard, Some(Err(error))),
        }
    }
    (heard, None)
}

#[test]
fn wire_has_the_weather_that_it_is_given() {
    let wire = echo_behind_a_wire();
    let soon = Duration::from_millis(300);
    let mut connection = connect(&wire);
    assert_eq!(exchange(&mut connection, b"clear", soon).0, b"clear");

    wire.set(Weather::Silent);
    assert_eq!(exchange(&mut connection, b"silent", soon).0, b"");
    wire.set(Weather::Clear);
    assert_eq!(exchange(&mut connection, b"again", soon).0[..5], *b"silen", "what was held comes first");

    connection = connect(&wire);
    wire.set(Weather::Late(Duration::from_millis(200)));
    let begin = Instant::now();
    assert_eq!(exchange(&mut connection, b"late", Duration::from_secs(5)).0, b"late");
    assert!(begin.elapsed() >= Duration::from_millis(400), "there and back: {:?}", begin.elapsed());

    wire.set(Weather::Trickle);
    let (heard, _) = exchange(&mut connection, b"xy", Duration::from_millis(700));
    assert_eq!(heard, b"x", "one byte per second");
    wire.set(Weather::Clear);
    assert_eq!(connection.read(&mut [0; 8]).unwrap(), 1, "the rest at once");

    connection = connect(&wire);
    wire.lose_answer_after(3);
    let (heard, ended) = exchange(&mut connection, b"answer", soon);
    assert_eq!(heard, b"ans");
    assert!(matches!(ended, Some(Ok(()))), "{ended:?}");

    connection = connect(&wire);
    assert_eq!(exchange(&mut connection, b"hello", soon).0, b"hello");
    assert!(wire.reset() > 0);
    std::thread::sleep(Duration::from_millis(50)); // until both threads have let go
    let ended = connection.read(&mut [0; 8]);
    assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::ConnectionReset);

    connection = connect(&wire);
    assert_eq!(exchange(&mut connection, b"hello", soon).0, b"hello");
    wire.set(Weather::Closed);
    assert!(wire.cut() > 0);
    assert_eq!(connection.read(&mut [0; 8]).unwrap(), 0, "a goodbye, not a reset");
    assert!(matches!(connect(&wire).read(&mut [0; 8]), Ok(0) | Err(_)), "nobody is let in");
}
