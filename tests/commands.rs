//! The commands beside the daemon and without one, through the real binary and against real servers.

mod support;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use projectord::journal::DataFolder;
use serde_json::Value;
use support::daemon::{self, Daemon};
use support::elasticsearch::Elasticsearch;
use support::postgres::{Options, Postgres};
use support::shop;

const CATCH_UP: Duration = Duration::from_secs(180);

/// A configuration with one projection, for `check` against servers that are not what they should be.
fn folder(port: u16, user: &str, projection: &str) -> tempfile::TempDir {
    let folder = support::private_folder("commands");
    fs::write(folder.path().join("orders.yaml"), projection).unwrap();
    let sink = support::free_port();
    let config = format!(
        "source: {{host: 127.0.0.1, port: {port}, database: shop, user: {user}, password: planted-secret, manage: true}}\n\
         sink: {{urls: [\"http://127.0.0.1:{sink}\"]}}\nhttp: {{listen: off}}\ndata: data\nprojections: [orders.yaml]\n",
    );
    fs::write(folder.path().join("projectord.yaml"), config).unwrap();
    folder
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(daemon::binary());
    command.args(arguments).current_dir(folder).env_remove("PROJECTORD_CONFIG").env_remove("RUST_LOG");
    command.output().unwrap()
}

#[track_caller]
fn ends(output: &Output, code: i32) -> String {
    let shown = shown(output);
    assert_eq!(output.status.code(), Some(code), "{shown}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn shown(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(!text.contains("planted-secret"), "{text}");
    text.into_owned()
}

/// `check --json`: (room, code, verdict) of every finding that is not `ok`, and all messages.
#[track_caller]
fn findings(folder: &Path, code: i32) -> (Vec<(String, String, String)>, String) {
    let text = ends(&run(folder, &["check", "--json"]), code);
    let report: Value = serde_json::from_str(&text).unwrap();
    let word = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let found = report["findings"].as_array().unwrap().iter();
    let found = found.map(|finding| (word(finding, "room"), word(finding, "code"), word(finding, "verdict")));
    (found.filter(|(_, _, verdict)| verdict != "ok").collect(), text)
}

#[track_caller]
fn has(found: &[(String, String, String)], room: &str, code: &str, verdict: &str) {
    let finding = (room.to_owned(), code.to_owned(), verdict.to_owned());
    assert!(found.contains(&finding), "{finding:?} is not among {found:#?}");
}

#[test]
fn check_tells_everything_that_is_wrong_at_once() {
    let settings = vec!["wal_level = replica".to_owned()];
    let postgres = Postgres::start(&Options { fsync: false, settings, ..Options::default() });
    postgres.create_database("shop");
    let session = postgres.session("shop");
    session.must(
        "CREATE TABLE orders (id int PRIMARY KEY, note text); CREATE TABLE nokey (id int, order_id int)",
    );
    let projection = "projection: orders\nroot: orders\nindex: orders\nfields:\n  id:\n  titel: note\n  nots:\n    \
                      many: nokey\n    via: order_id\n    fields: [id]\n  nothing: missing_column\n";
    let folder = folder(postgres.port(), "postgres", projection);
    let (found, text) = findings(folder.path(), 2);
    has(&found, "projections", "unknown-column", "wrong");
    assert!(text.contains("orders.yaml:11:12: "), "{text}");
    has(&found, "projections", "no-key", "wrong");
    has(&found, "source", "source-wal-level", "refused");
    has(&found, "source", "table-no-key", "refused");
    has(&found, "source", "publication-missing", "warning");
    has(&found, "sink", "", "unreachable");
    // Nothing was made: neither a data folder nor anything in the database.
    assert!(!folder.path().join("data").exists());
    assert_eq!(session.value("SELECT count(*) FROM pg_publication"), "0");
    // Without servers only what the file says of itself is known.
    let text = ends(&run(folder.path(), &["check", "--offline"]), 0);
    assert!(text.contains("1 file over 2 tables"), "{text}");
    fs::write(folder.path().join("orders.yaml"), "projection: orders\nroot: orders\nfelds: []\n").unwrap();
    let text = ends(&run(folder.path(), &["check", "--offline"]), 2);
    assert!(text.contains("orders.yaml:3:1: ") && text.contains("[unknown-key]"), "{text}");
    assert!(text.contains("[missing-key]"), "{text}");
}

#[test]
fn check_tells_a_wrong_password_once_and_never_shows_it() {
    let postgres = Postgres::start_quick();
    postgres.create_database("shop");
    let session = postgres.session("shop");
    session.must(
        "CREATE TABLE orders (id int PRIMARY KEY); CREATE ROLE app LOGIN REPLICATION PASSWORD 'another'",
    );
    let hba = postgres.data_folder().join("pg_hba.conf");
    let before = fs::read_to_string(&hba).unwrap();
    fs::write(&hba, format!("host all app 127.0.0.1/32 scram-sha-256\n{before}")).unwrap();
    session.must("SELECT pg_reload_conf()");
    let refused = postgres.url("shop").replace("user=postgres", "user=app");
    support::wait_for("the server wants a password", CATCH_UP, || {
        match support::session::Session::connect(&refused) {
            Ok(_) => Err("not yet".to_owned()),
            Err(_) => Ok(()),
        }
    });
    let projection = "projection: orders\nroot: orders\nindex: orders\nfields: [id]\n";
    let folder = folder(postgres.port(), "app", projection);
    let (found, text) = findings(folder.path(), 3);
    has(&found, "source", "source-auth", "refused");
    has(&found, "sink", "", "unreachable");
    assert_eq!(found.len(), 2, "{text}");
}

#[test]
fn check_tells_of_both_servers_that_do_not_answer() {
    let projection = "projection: orders\nroot: orders\nindex: orders\nfields: [id]\n";
    let folder = folder(support::free_port(), "app", projection);
    let (found, text) = findings(folder.path(), 5);
    has(&found, "source", "", "unreachable");
    has(&found, "sink", "", "unreachable");
    assert_eq!(found.len(), 2, "{text}");
}

#[test]
fn the_printed_script_prepares_a_server_for_a_daemon_that_may_make_nothing() {
    let postgres = Postgres::start_quick();
    shop::create(&postgres, 30, 60);
    let elasticsearch = Elasticsearch::shared();
    let mut daemon = Daemon::prepare(&postgres, &elasticsearch, &daemon::Options::shop());
    let config = fs::read_to_string(daemon.config_file()).unwrap();
    let config = config
        .replace("user: postgres", "user: shop_stream\n  read_user: shop_read")
        .replace("manage: true", "manage: false");
    fs::write(daemon.config_file(), config).unwrap();
    let script = ends(&daemon.run(&["setup-sql"]), 0);
    assert!(script.contains("order_lines") && !script.contains("audit"), "{script}");
    let file = daemon.data_folder().with_file_name("setup.sql");
    fs::write(&file, script).unwrap();
    postgres.psql(shop::DATABASE, &["-f", file.to_str().unwrap()]);
    ends(&daemon.run(&["check"]), 0);
    daemon.start_again();
    daemon.wait_projected(&postgres, CATCH_UP);
    let session = postgres.session(shop::DATABASE);
    shop::compare(&session, &elasticsearch).unwrap_or_else(|report| panic!("{report}"));
    // Beside the daemon, which uses the slot.
    let beside = ends(&daemon.run(&["check"]), 0);
    assert!(beside.contains("ok       source") && beside.contains("ok       data"), "{beside}");
    // What the script did not grant is a refusal that names the table.
    session.must("REVOKE SELECT ON brands FROM shop_read");
    let refused = ends(&daemon.run(&["check"]), 3);
    assert!(refused.contains("brands") && refused.contains("[table-no-right]"), "{refused}");
}

/// Index -> highest version.
fn versions(elasticsearch: &Elasticsearch, alias: &str) -> Vec<(String, u64)> {
    let alias = format!("{}{alias}", elasticsearch.prefix());
    let mut all: Vec<_> = elasticsearch.scan(&alias).into_iter().map(|one| (one.id, one.version)).collect();
    all.sort();
    assert!(!all.is_empty());
    all
}

#[test]
fn the_journal_is_shown_and_replay_waits_for_the_next_run() {
    let postgres = Postgres::start_quick();
    shop::create(&postgres, 30, 60);
    let elasticsearch = Elasticsearch::shared();
    let mut daemon = Daemon::start(&postgres, &elasticsearch, &daemon::Options::shop());
    daemon.wait_projected(&postgres, CATCH_UP);
    let session = postgres.session(shop::DATABASE);
    session.must("UPDATE customers SET email = 'planted-secret@example.org' WHERE id = 1");
    daemon.wait_projected(&postgres, CATCH_UP);

    // Beside the daemon.
    let list = ends(&daemon.run(&["journal", "list"]), 0);
    assert!(list.contains("00000000000000000001.journal"), "{list}");
    let hidden = ends(&daemon.run(&["journal", "show"]), 0);
    assert!(hidden.contains("update public.customers new(id, "), "{hidden}");
    assert!(hidden.contains("chunk") && hidden.contains("facts") && hidden.contains(" xid "), "{hidden}");
    let values = daemon.run(&["journal", "show", "--kind", "transaction", "--values"]);
    let values = String::from_utf8(values.stdout).unwrap();
    assert!(values.contains("email=\"planted-secret@example.org\""), "{values}");
    let lines = ends(&daemon.run(&["journal", "show", "--json"]), 0);
    let entries: Vec<u64> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["entry"].as_u64().unwrap())
        .collect();
    assert_eq!(entries, (1..=entries.len() as u64).collect::<Vec<_>>());
    let some = ends(&daemon.run(&["journal", "show", "--json", "--from", "2", "--to", "3"]), 0);
    assert_eq!(some.lines().count(), 2, "{some}");

    // Without it, and behind a torn tail.
    daemon.terminate();
    let segment = daemon.data_folder().join("journal/00000000000000000001.journal");
    OpenOptions::new().append(true).open(&segment).unwrap().write_all(&[7; 30]).unwrap();
    let torn = daemon.run(&["journal", "show", "--kind", "command"]);
    assert_eq!(ends(&torn, 0), "");
    assert!(shown(&torn).contains("no whole entry"), "{}", shown(&torn));
    ends(&daemon.run(&["journal", "list", "--json"]), 0);

    // Commands that the next run carries out.
    let (orders, products) = (versions(&elasticsearch, "orders"), versions(&elasticsearch, "products"));
    assert!(shown(&daemon.run(&["quarantine", "list"])).contains("no document is in quarantine"));
    for (arguments, part) in [
        (&["replay", "--projection", "nothing"][..], "replay-unknown: there is no projection nothing"),
        (&["replay", "--id", "x-y"][..], "replay-unknown: x-y is no document id"),
        (&["quarantine", "drop", "orders/1"][..], "quarantine-unknown: orders/1"),
    ] {
        let refused = daemon.run(arguments);
        ends(&refused, 3);
        assert!(shown(&refused).contains(part), "{}", shown(&refused));
    }
    // Nobody would send what is to be waited for: nothing is ordered.
    let unanswered = daemon.run(&["replay", "--all", "--wait"]);
    ends(&unanswered, 5);
    let ordered = daemon.run(&["journal", "show", "--kind", "command"]);
    assert_eq!(ends(&ordered, 0), "");
    let held = DataFolder::open(&daemon.data_folder(), 0, 0).unwrap();
    let locked = daemon.run(&["replay", "--all"]);
    ends(&locked, 3);
    assert!(shown(&locked).contains("data-locked"), "{}", shown(&locked));
    drop(held);
    let id = products[0].0.as_str();
    ends(&daemon.run(&["replay", "--id", id, "--projection", "products"]), 0);
    let accepted = ends(&daemon.run(&["replay", "--projection", "orders"]), 0);
    let entry: u64 = accepted
        .rsplit_once("entry ")
        .and_then(|(_, number)| number.trim_end().trim_end_matches(')').parse().ok())
        .unwrap_or_else(|| panic!("{accepted}"));
    let commands = ends(&daemon.run(&["journal", "show", "--kind", "command"]), 0);
    assert_eq!(commands.lines().count(), 2, "{commands}");

    daemon.start_again();
    daemon.wait_status("the replay is projected", CATCH_UP, |status| {
        status["watermarks"]["projected_entry"].as_u64().is_some_and(|projected| projected >= entry)
    });
    daemon.wait_projected(&postgres, CATCH_UP);
    let (orders_after, products_after) =
        (versions(&elasticsearch, "orders"), versions(&elasticsearch, "products"));
    for ((id, before), (_, after)) in orders.iter().zip(&orders_after) {
        assert!(after > before, "order {id} still has version {before}");
    }
    assert!(products_after[0].1 > products[0].1);
    assert_eq!(products_after[1..], products[1..], "nobody asked for the other products");
    shop::compare(&session, &elasticsearch).unwrap_or_else(|report| panic!("{report}"));
}

#[test]
fn quarantine_is_listed_retried_and_dropped_without_a_daemon() {
    let postgres = Postgres::start_quick();
    postgres.create_database("notes");
    let session = postgres.session("notes");
    session
        .must("CREATE TABLE notes (id text PRIMARY KEY); INSERT INTO notes SELECT generate_series(1, 200)");
    // Elasticsearch takes ids of 512 bytes.
    session.must("INSERT INTO notes VALUES (repeat('x', 600))");
    let elasticsearch = Elasticsearch::shared();
    let folder = support::private_folder("projection");
    let file = folder.path().join("notes.yaml");
    fs::write(&file, "projection: notes\nroot: notes\nindex: notes\nfields: [id]\n").unwrap();
    let options =
        daemon::Options { database: "notes".to_owned(), projections: vec![file], ..daemon::Options::shop() };
    let mut daemon = Daemon::start(&postgres, &elasticsearch, &options);
    daemon.wait_projected(&postgres, CATCH_UP);
    ends(&daemon.run(&["quarantine", "list"]), 4);
    daemon.terminate();

    let list = ends(&daemon.run(&["quarantine", "list", "--json"]), 4);
    assert!(list.contains("id_too_long") && list.contains("\"notes/xxx"), "{list}");
    let retried = ends(&daemon.run(&["quarantine", "retry", "--all"]), 0);
    assert!(retried.contains("1 documents are tried again"), "{retried}");
    daemon.start_again();
    daemon.wait_projected(&postgres, CATCH_UP);
    daemon.terminate();
    ends(&daemon.run(&["quarantine", "list"]), 4);
    let handle = format!("notes/{}", "x".repeat(600));
    ends(&daemon.run(&["quarantine", "drop", &handle]), 0);
    ends(&daemon.run(&["quarantine", "list"]), 0);
    // The store is as good as before.
    session.must("INSERT INTO notes VALUES ('another')");
    daemon.start_again();
    daemon.wait_projected(&postgres, CATCH_UP);
    assert_eq!(versions(&elasticsearch, "notes").len(), 201);
}
