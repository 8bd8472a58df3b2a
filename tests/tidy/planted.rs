//! Planted violations: every check of the house rules is known to fail.

use super::*;

/// Feeds one made-up file to one check: which complaint it makes, if any.
fn check(check: fn(&Source) -> Vec<String>, path: &str, text: &str, complaint: Option<&str>) {
    let found = check(&Source { path: path.to_owned(), text: text.to_owned() }).join("\n");
    match complaint {
        Some(words) => assert!(found.contains(words), "{path}: {text}\n-> {found:?}, expected {words:?}"),
        None => assert_eq!(found, "", "{path}: {text}"),
    }
}

#[test]
fn a_forbidden_import_is_found_in_every_spelling() {
    for text in [
        "use crate::sink::Sink;",
        "use crate::{model::Lsn, sink};",
        "use crate::{\n    model::{Lsn, Key},\n    sink::{Sink},\n};",
        "fn f(_: &dyn crate::sink::Sink) {}",
        "pub(crate) use crate::sink;",
    ] {
        check(imports, "src/store/x.rs", text, Some("store must not import sink"));
        check(imports, "src/model/x.rs", text, Some("model must not import sink"));
        check(imports, "src/http.rs", text, Some("http must not import sink"));
        check(imports, "src/control.rs", text, Some("control must not import sink"));
        check(imports, "src/cli/run.rs", text, None);
        check(imports, "src/pipeline/deliver.rs", text, None);
        check(imports, "src/store/tests.rs", text, None);
    }
    check(imports, "src/journal/x.rs", "use crate::projection::Plan;", Some("must not import projection"));
    check(imports, "src/progress.rs", "use crate::retry::Class;", Some("must not import retry"));
    check(imports, "src/cache/mod.rs", "", Some("no place in the table"));
}

#[test]
fn what_is_only_spoken_of_is_not_an_import() {
    for text in [
        "/// See [`crate::sink::Sink`].\nfn f() {}",
        "const A: &str = \"crate::sink \\\" crate::sink\";",
        "const A: &str = r#\"crate::sink\"#;",
        "/* crate::sink */",
        "fn f() {}\n#[cfg(test)]\nmod tests {\n    use crate::sink::Sink;\n}\n",
        "const A: char = '\"'; // crate::sink",
        "use crate::store::engine::Error;\nuse crate::model::Lsn;",
    ] {
        check(imports, "src/store/x.rs", text, None);
    }
    check(imports, "src/store/x.rs", "const A: char = '\"';\nuse crate::sink;", Some("import sink"));
}

#[test]
fn the_loops_do_not_name_backends() {
    check(backends, "src/pipeline/apply.rs", "use crate::store::lmdb::Lmdb;", Some("store::lmdb"));
    check(backends, "src/task/verify.rs", "use crate::sink::elasticsearch::Client;", Some("sink::elastic"));
    check(backends, "src/cli/run.rs", "use crate::store::lmdb::Lmdb;", None);
    check(backends, "src/pipeline/apply.rs", "use crate::store::engine::Engine;", None);
}

#[test]
fn noise_in_a_quiet_room_is_found() {
    for text in [
        "use tokio::sync::mpsc;",
        "use std::time::{Duration, Instant};\nfn f() { Instant::now(); }",
        "fn f() -> std::time::SystemTime {}",
        "fn f() { std::env::var(\"X\").ok(); }",
        "use std::fs::File;",
        "fn f() -> u64 { fastrand::u64(..) }",
        "async fn f() {}",
        "use std::net::TcpStream;",
    ] {
        check(quiet, "src/projection/x.rs", text, Some("a quiet room names"));
        check(quiet, "src/retry.rs", text, Some("a quiet room names"));
        check(quiet, "src/store/x.rs", text, None);
    }
    check(quiet, "src/progress.rs", "use std::time::Duration; // never std::time::Instant", None);
}

#[test]
fn clocks_timers_chance_and_threads_of_its_own_are_found_in_the_daemon() {
    for text in [
        "use tokio::time::sleep;",
        "fn f() { std::time::Instant::now(); }",
        "fn f() -> u64 { fastrand::u64(..) }",
        "fn f() { tokio::task::spawn_blocking(|| ()); }",
        "fn f() { std::thread::sleep(D); }",
    ] {
        check(handed_in, "src/pipeline/run/conduct.rs", text, Some("machine.rs alone"));
        check(handed_in, "src/task/backfill.rs", text, Some("machine.rs alone"));
        check(handed_in, MACHINE_FILE, text, None);
        check(handed_in, "src/cli/run.rs", text, None);
    }
    let select = "fn f() { tokio::select! { () = a => {} () = b => {} } }";
    check(handed_in, "src/pipeline/run/conduct.rs", select, Some("without `biased;`"));
    let biased = "fn f() { tokio::select! { biased; () = a => {} () = b => {} } }";
    check(handed_in, "src/pipeline/run/conduct.rs", biased, None);
}

#[test]
fn failpoints_stand_anywhere_but_in_quiet_rooms() {
    check(imports, "src/store/x.rs", "use crate::failpoint;", None);
    check(imports, "src/model/x.rs", "use crate::failpoint;", Some("must not import failpoint"));
    check(imports, "src/failpoint.rs", "use crate::store::engine;", Some("must not import store"));
}

#[test]
fn long_badly_named_unfinished_and_headless_files_are_found() {
    let lines = |count: usize| "x\n".repeat(count);
    check(length, "src/store/x.rs", &lines(LINES_MAX + 1), Some("401 lines"));
    check(length, "src/store/x.rs", &lines(LINES_MAX), None);
    check(names, "src/store/utils.rs", "", Some("'utils'"));
    check(names, "src/common/mod.rs", "", Some("'common'"));
    check(names, "src/store/tree.rs", "", None);
    check(unfinished, "src/x.rs", "fn f() { todo!() }", Some("todo!"));
    check(unfinished, "src/x.rs", "#[cfg(test)]\nmod tests {\n fn f() { dbg!(1); } }", Some("dbg!"));
    check(unfinished, "src/x.rs", "// todo! is not a macro here", None);
    check(head, "src/x.rs", "use std::fmt;", Some("//!"));
    check(head, "src/x.rs", "//! What it is.", None);
    check(machine, "src/x.rs", concat!("// see /wo", "rk/notes"), Some("one machine"));
    check(machine, "src/x.rs", "// see docs/architecture.md", None);
}
