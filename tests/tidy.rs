//! The rules of the house, checked by reading the sources: who may import whom, what quiet rooms must not
//! touch, how long a file may be. Every check is fed a planted violation as well, so that it is known to fail.

#[path = "tidy/docker.rs"]
mod docker;
#[path = "tidy/planted.rs"]
mod planted;
#[path = "tidy/proof.rs"]
mod proof;

use std::fs;
use std::path::{Path, PathBuf};

/// A file is one to three pages.
const LINES_MAX: usize = 400;
/// Longer files that somebody answered for: path and reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// Rooms that are functions of their arguments.
const QUIET: &[&str] = &["model", "pgoutput", "projection", "progress", "retry"];

/// What a quiet room must not name: other threads, sockets, clocks, the environment, files, chance.
const LOUD: &[&str] = &[
    "tokio",
    "async fn",
    "std::net",
    "std::env",
    "env!(",
    "std::fs",
    "std::io",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "Instant::now",
    "SystemTime",
    "jiff::Timestamp::now",
    "jiff::Zoned::now",
    "Timestamp::now",
    "fastrand",
    " rand::",
    "(rand::",
    "getrandom",
    "rustix",
    "socket2",
    "tracing::",
    "println!",
    "eprintln!",
];

/// Which rooms a room may name by `crate::`, besides itself.
fn may_import(room: &str) -> Allowed {
    use Allowed::{Everything, Only};
    match room {
        "main" | "lib" | "cli" | "error" => Everything,
        "config" => {
            // `control`: the socket's name, which the configuration joins with the data folder.
            Only(&[
                "model",
                "projection",
                "retry",
                "source",
                "journal",
                "store",
                "sink",
                "pipeline",
                "control",
            ])
        }
        // The walls stand side by side: HTTP serves the metrics, by its part of the configuration.
        "http" => Only(&["pipeline", "model", "config", "metrics", "shutdown"]),
        "control" => Only(&["pipeline", "model", "shutdown"]),
        "logging" => Only(&["config", "error", "model"]),
        "metrics" | "shutdown" => Only(&["pipeline", "model"]),
        "pipeline" | "task" => Only(&[
            "source",
            "journal",
            "store",
            "sink",
            "pipeline",
            "task",
            "model",
            "pgoutput",
            "projection",
            "progress",
            "retry",
        ]),
        "source" => Only(&["model", "retry", "pgoutput"]),
        "journal" => Only(&["model", "retry"]),
        "store" => Only(&["model", "retry", "projection"]),
        "sink" => Only(&["model", "retry"]),
        "model" | "planted" | "failpoint" => Only(&[]),
        quiet if QUIET.contains(&quiet) => Only(&["model"]),
        _ => Allowed::Unknown,
    }
}

enum Allowed {
    Everything,
    Only(&'static [&'static str]),
    /// A room that the table does not know: it must be given a place there first.
    Unknown,
}

/// The only file of `pipeline` and `task` that has clocks, timers, chance and threads; all others are handed them,
/// so that the daemon can be run step by step.
const MACHINE_FILE: &str = "src/pipeline/run/machine.rs";
const HANDED_IN: &[&str] = &[
    "tokio::time",
    "Instant::now",
    "SystemTime",
    "fastrand",
    "std::thread",
    "spawn_blocking",
    "std::env::var",
    "std::fs",
];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "helpers", "helper", "types", "misc", "base"];

const UNFINISHED: &[&str] = &["todo!", "unimplemented!", "dbg!"];

/// Paths of the machine that the project was written on. Put together here, so as not to find themselves.
const MACHINE: &[&str] =
    &[concat!("/wo", "rk/"), concat!("/tmp/", "wt"), concat!("/ro", "ot/"), concat!("../sha", "red")];

/// A source file: its path below the package, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// `src/store/lmdb/mod.rs` is in the room `store`.
    fn room(&self) -> &str {
        let below = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let first = below.split('/').next().unwrap_or(below);
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// A file of tests only.
    fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or(&self.path);
        self.path.contains("/tests/")
            || name == "tests.rs"
            || name == "suite.rs"
            || name.ends_with("_tests.rs")
            || name.ends_with("_test.rs")
    }

    /// The code that ships, without comments, texts and the tests at the end.
    fn code(&self) -> String {
        if self.is_test() {
            return String::new();
        }
        let code = without_comments_and_texts(&self.text);
        match code.find("#[cfg(test)]\nmod tests {") {
            Some(at) => code[..at].to_owned(),
            None => code,
        }
    }
}

/// Blanks comments, and what is between quotes; keeps line breaks.
fn without_comments_and_texts(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |at| at + 2)
        } else if let Some(raw) = raw_text(rest) {
            raw
        } else if next == '"' {
            plain_text(rest)
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\\"'") {
            rest[1..].find('\'').map_or(1, |at| at + 2)
        } else {
            out.push(next);
            rest = &rest[next.len_utf8()..];
            continue;
        };
        out.extend(rest[..skipped].chars().filter(|char| *char == '\n'));
        out.push(' ');
        rest = &rest[skipped..];
    }
    out
}

fn plain_text(text: &str) -> usize {
    let mut escaped = false;
    for (at, char) in text.char_indices().skip(1) {
        match char {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

fn raw_text(text: &str) -> Option<usize> {
    let hashes = text.strip_prefix('r')?.bytes().take_while(|byte| *byte == b'#').count();
    let body = text[1 + hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(body.find(&end).map_or(text.len(), |at| 2 + hashes + at + end.len()))
}

/// Rooms named by `crate::room` and `crate::{room, ...}`.
fn imported(code: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        text.chars().take_while(|char| char.is_alphanumeric() || *char == '_').collect()
    };
    let mut rooms = Vec::new();
    for (at, found) in code.match_indices("crate::") {
        if code[..at].ends_with('$') || code[..at].ends_with("pub(in ") {
            continue;
        }
        let behind = &code[at + found.len()..];
        let Some(group) = behind.strip_prefix('{') else {
            rooms.push(word(behind));
            continue;
        };
        let mut depth = 0;
        let mut begins = true;
        for (at, char) in group.char_indices() {
            match char {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => begins = true,
                _ if begins && char.is_alphabetic() => {
                    rooms.push(word(&group[at..]));
                    begins = false;
                }
                _ => {}
            }
        }
    }
    rooms
}

fn imports(source: &Source) -> Vec<String> {
    let room = source.room();
    if source.is_test() {
        return Vec::new();
    }
    match may_import(room) {
        Allowed::Everything => Vec::new(),
        Allowed::Unknown => vec![format!("{}: the room '{room}' has no place in the table", source.path)],
        Allowed::Only(rooms) => imported(&source.code())
            .into_iter()
            .filter(|named| named != room && !rooms.contains(&named.as_str()))
            // Nothing in a program that is built without them, and where a process dies is everywhere.
            .filter(|named| named != "planted" && (named != "failpoint" || QUIET.contains(&room)))
            .map(|named| format!("{}: {room} must not import {named}", source.path))
            .collect(),
    }
}

fn backends(source: &Source) -> Vec<String> {
    // Only `cli` and `main` name the concrete ones.
    const CONCRETE: &[&str] = &["source::postgres", "sink::elasticsearch", "sink::ndjson", "store::lmdb"];
    if !["pipeline", "task"].contains(&source.room()) {
        return Vec::new();
    }
    let code = source.code();
    let named = CONCRETE.iter().filter(|name| code.contains(*name));
    named.map(|name| format!("{}: names the backend {name}", source.path)).collect()
}

fn quiet(source: &Source) -> Vec<String> {
    if !QUIET.contains(&source.room()) {
        return Vec::new();
    }
    let code = source.code();
    let loud = LOUD.iter().filter(|word| code.contains(*word));
    loud.map(|word| format!("{}: a quiet room names {word}", source.path)).collect()
}

fn handed_in(source: &Source) -> Vec<String> {
    if !["pipeline", "task"].contains(&source.room()) || source.path == MACHINE_FILE {
        return Vec::new();
    }
    let code = source.code();
    let mut found: Vec<String> = HANDED_IN
        .iter()
        .filter(|word| code.contains(*word))
        .map(|word| format!("{}: {word} is for {MACHINE_FILE} alone", source.path))
        .collect();
    // Without it the order in which branches are looked at is drawn from chance that nobody handed in.
    let branches = code.matches("select! {").count();
    if branches != code.matches("biased;").count() {
        found.push(format!("{}: a select! without `biased;`", source.path));
    }
    found
}

fn length(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    let allowed = LONG_FILES.iter().any(|(path, _)| *path == source.path);
    if lines <= LINES_MAX || allowed {
        return Vec::new();
    }
    vec![format!("{}: {lines} lines; split it by what it says", source.path)]
}

fn names(source: &Source) -> Vec<String> {
    let parts = source.path.trim_end_matches(".rs").split('/');
    let empty = parts.filter(|part| EMPTY_NAMES.contains(part));
    empty.map(|part| format!("{}: '{part}' is not the name of a thing", source.path)).collect()
}

fn unfinished(source: &Source) -> Vec<String> {
    let code = without_comments_and_texts(&source.text);
    let left = UNFINISHED.iter().filter(|word| code.contains(*word));
    left.map(|word| format!("{}: {word} was left behind", source.path)).collect()
}

fn head(source: &Source) -> Vec<String> {
    if source.text.starts_with("//!") {
        return Vec::new();
    }
    vec![format!("{}: does not begin by saying what it is (//!)", source.path)]
}

fn machine(source: &Source) -> Vec<String> {
    let found = MACHINE.iter().filter(|path| source.text.contains(*path));
    found.map(|path| format!("{}: names {path}, a path of one machine", source.path)).collect()
}

const CHECKS: &[fn(&Source) -> Vec<String>] =
    &[imports, backends, quiet, handed_in, length, names, unfinished, head, machine];

/// Rust sources below a folder of the package.
fn sources(folder: &str) -> Vec<Source> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut open: Vec<PathBuf> = vec![package.join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let below = path.strip_prefix(package).unwrap().to_str().unwrap().replace('\\', "/");
                found.push(Source { path: below, text: fs::read_to_string(&path).unwrap() });
            }
        }
    }
    found
}

#[test]
fn the_sources_keep_the_rules_of_the_house() {
    let sources = sources("src");
    assert!(sources.len() > 20, "only {} files were found", sources.len());
    let mut broken: Vec<String> =
        sources.iter().flat_map(|source| CHECKS.iter().flat_map(move |check| check(source))).collect();
    for folder in ["tests", "benches"] {
        for source in self::sources(folder) {
            broken.extend([length, unfinished, head, machine].iter().flat_map(|check| check(&source)));
        }
    }
    broken.sort();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}
