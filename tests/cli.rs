//! The command line through the real binary: what it says, how it ends, what it never shows.

use std::fs;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::process::{Command, Output};
use std::sync::Arc;

use projectord::control::{
    Answer, Handler, Listener, QuarantineAction, Quarantined, Request, SOCKET_NAME, Target, Which,
};
use projectord::model::EntryNo;
use projectord::pipeline::Status;
use projectord::pipeline::status::ProjectionStatus;
use projectord::shutdown;

const COMMANDS: [&str; 10] = [
    "run",
    "check",
    "status",
    "setup-sql",
    "journal",
    "quarantine",
    "backfill",
    "rebuild",
    "replay",
    "completions",
];

/// A folder with a configuration and one projection.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("data")).unwrap();
    fs::write(folder.path().join("orders.yaml"), "projection: orders\n").unwrap();
    fs::write(
        folder.path().join("projectord.yaml"),
        "source: {host: localhost, database: shop, user: app, password: \"${PLANTED}\"}\n\
         sink: {urls: [\"http://localhost:9200\"], api_key: planted-secret}\n\
         http: {listen: off, token: planted-secret}\n\
         data: data\n\
         projections: [orders.yaml]\n",
    )
    .unwrap();
    folder
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_projectord"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("PROJECTORD_CONFIG")
        .env_remove("RUST_LOG")
        .env_remove("NOTIFY_SOCKET")
        .env("PLANTED", "planted-secret")
        .output()
        .unwrap()
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

#[track_caller]
fn check(folder: &Path, arguments: &[&str], code: i32, stdout_part: &str, stderr_part: &str) {
    let output = run(folder, arguments);
    let (stdout, stderr) = texts(&output);
    let shown = format!("{arguments:?}\n{stdout}\n{stderr}");
    assert_eq!(output.status.code(), Some(code), "{shown}");
    assert!(stdout.contains(stdout_part) && stderr.contains(stderr_part), "{shown}");
    assert!(!shown.contains("planted-secret"), "{shown}");
}

#[test]
fn every_help_text_stands_alone_with_an_example() {
    let folder = tempfile::tempdir().unwrap();
    check(folder.path(), &["--help"], 0, "projectord setup-sql > setup.sql", "");
    check(folder.path(), &["--help"], 0, "3  refused by a safety check", "");
    check(folder.path(), &["--version"], 0, concat!("projectord ", env!("CARGO_PKG_VERSION")), "");
    for command in COMMANDS {
        check(folder.path(), &[command, "--help"], 0, &format!("\n  projectord {command}"), "");
        check(folder.path(), &[command, "--help"], 0, "--config <PATH>", "");
    }
}

#[test]
fn a_wrong_command_line_ends_with_2_and_says_what_to_try() {
    let folder = folder();
    for (arguments, part) in [
        (&["stauts"][..], "'status'"),
        (&[][..], "Usage"),
        (&["replay"][..], "<--all|--projection <NAME>|--id <ID>"),
        (&["replay", "--all", "--id", "1"][..], "cannot be used with"),
        (&["backfill"][..], "--projection <NAME>"),
        (&["backfill", "--all"][..], "add --yes"),
        (&["quarantine", "retry"][..], "ID"),
        (&["quarantine", "drop", "--all", "x"][..], "cannot be used with"),
        (&["journal", "show", "--kind", "facs"][..], "'facts'"),
        (&["journal", "show", "--from", "9", "--to", "3"][..], "--from 9 lies behind --to 3"),
        (&["status", "--log-level", "loud"][..], "expected error, warn"),
        (&["completions", "tcl"][..], "possible values"),
    ] {
        check(folder.path(), arguments, 2, "", part);
    }
}

#[test]
fn a_wrong_configuration_ends_with_2_and_names_every_place() {
    let folder = folder();
    fs::write(folder.path().join("bad.yaml"), "source:\n  hots: planted-secret\nsnik: {}\n").unwrap();
    for command in ["run", "check", "status", "setup-sql"] {
        let arguments = [command, "--config", "bad.yaml"];
        check(
            folder.path(),
            &arguments,
            2,
            "",
            "bad.yaml:2:3: unknown key 'hots' [unknown-key]\n    did you mean 'host'?",
        );
        check(folder.path(), &arguments, 2, "", "bad.yaml:3:1: unknown key 'snik'");
    }
    check(
        folder.path(),
        &["status", "--config", "nowhere.yaml"],
        2,
        "",
        "nowhere.yaml: the configuration cannot be read",
    );
    let empty = tempfile::tempdir().unwrap();
    if !Path::new("/etc/projectord/projectord.yaml").exists() {
        check(empty.path(), &["status"], 2, "", "projectord.yaml: the configuration cannot be read");
    }
}

#[test]
fn without_a_daemon_commands_say_where_none_runs() {
    let folder = folder();
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["replay", "--all"],
        &["backfill", "--all", "--yes"],
        &["quarantine", "list"],
    ] {
        check(folder.path(), arguments, 5, "", "no daemon runs in ");
    }
}

#[test]
fn completions_are_printed_without_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    for (shell, part) in
        [("bash", "complete -F _projectord"), ("zsh", "#compdef projectord"), ("fish", "quarantine")]
    {
        check(folder.path(), &["completions", shell], 0, part, "");
    }
}

/// Answers like a daemon that streams and has one refused document.
struct Daemon;

impl Handler for Daemon {
    fn handle(&self, request: Request) -> Pin<Box<dyn Future<Output = Answer> + Send + '_>> {
        Box::pin(async move {
            let accepted = |message: String| Answer::Accepted { message, entry: Some(EntryNo(7)) };
            match request {
                Request::Status => {
                    let mut status = Status { state: "streaming".into(), ..Status::default() };
                    status.watermarks.projected_entry = EntryNo(7);
                    status.projections = vec![ProjectionStatus {
                        name: "orders".into(),
                        quarantined: 1,
                        ..Default::default()
                    }];
                    Answer::Status(Box::new(status))
                }
                Request::Quarantine { action: QuarantineAction::List, which: Which::All } => {
                    Answer::Quarantine {
                        documents: vec![Quarantined {
                            handle: "orders/17".into(),
                            projection: "orders".into(),
                            document: "17".into(),
                            reason: "mapper_parsing_exception".into(),
                            entry: EntryNo(5),
                        }],
                        total: 1,
                    }
                }
                Request::Backfill { projections: Which::Named(names) } if names == ["nothing"] => {
                    Answer::Refused {
                        code: "unknown-projection".into(),
                        message: "there is no projection 'nothing'".into(),
                        hint: "known: orders".into(),
                    }
                }
                Request::Replay { target: Target::Documents { ids, projection } } => {
                    accepted(format!("replay {ids:?} {projection:?}"))
                }
                other => accepted(format!("{other:?}")),
            }
        })
    }
}

#[test]
fn with_a_daemon_commands_ask_it_and_end_as_it_says() {
    let folder = folder();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (stopper, stop) = shutdown::channel();
    let path = folder.path().join("data").join(SOCKET_NAME);
    let listener = runtime.block_on(async { Listener::bind(&path) }).unwrap();
    let served = runtime.spawn(listener.serve(Arc::new(Daemon), stop));
    for (arguments, code, stdout, stderr) in [
        (&["status"][..], 4, "streaming", ""),
        (&["status", "--json"], 4, "\"state\": \"streaming\"", ""),
        (&["quarantine", "list"], 4, "orders/17", ""),
        (&["quarantine", "list", "--json"], 4, "\"total\": 1", ""),
        (&["quarantine", "retry", "orders/17"], 0, "Named([\"orders/17\"])", ""),
        (&["quarantine", "drop", "--all"], 0, "Drop, which: All", ""),
        (&["replay", "--all"], 0, "(journal entry 7)", ""),
        (&["replay", "--projection", "orders"], 0, "Projection(\"orders\")", ""),
        (
            &["replay", "--id", "1", "2", "--projection", "orders"],
            0,
            "replay [\"1\", \"2\"] Some(\"orders\")",
            "",
        ),
        (&["replay", "--all", "--wait"], 4, "(journal entry 7)", ""),
        (&["backfill", "--projection", "orders", "--yes"], 0, "Named([\"orders\"])", ""),
        (
            &["backfill", "--projection", "nothing", "--yes"],
            3,
            "",
            "unknown-projection: there is no projection",
        ),
    ] {
        check(folder.path(), arguments, code, stdout, stderr);
    }
    stopper.stop();
    runtime.block_on(served).unwrap();
    check(folder.path(), &["status"], 5, "", "no daemon runs in ");
}
