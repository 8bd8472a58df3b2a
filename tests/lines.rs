//! Documents as lines, for people who look and for pipes: no cluster is needed.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;
use support::daemon::{self, CATCH_UP};
use support::postgres::Postgres;
use support::process::Process;
use support::shop;

/// What whoever reads the lines has: of each document the line of the highest version.
fn documents(lines: &str) -> BTreeMap<String, Value> {
    let mut documents: BTreeMap<String, Value> = BTreeMap::new();
    // The last line may still be on its way.
    for line in lines.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let key = format!("{}/{}", line["_index"], line["_id"]);
        let newer =
            documents.get(&key).is_none_or(|known| known["_version"].as_u64() < line["_version"].as_u64());
        assert!(newer, "versions only grow: {line}");
        documents.insert(key, line);
    }
    documents.retain(|_, line| line["deleted"] != true);
    documents
}

fn wait(postgres: &Postgres, process: &mut Process, lines: &Path, log: &Path, names_end_with: &str) {
    let expected = postgres.session(shop::DATABASE).value("SELECT count(*) FROM products");
    support::wait_for("every product is a line", CATCH_UP, || {
        let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        if let Some(status) = process.ended() {
            panic!("it ended, {status}: {}", read(log));
        }
        let found = documents(&read(lines));
        let named = |line: &Value| {
            line["_source"]["name"].as_str().is_some_and(|name| name.ends_with(names_end_with))
        };
        let as_they_must_be = found.values().filter(|line| named(line)).count();
        if found.len() == as_they_must_be && expected == found.len().to_string() {
            Ok(())
        } else {
            Err(format!("{as_they_must_be} of {} are as they must be, {expected} are expected", found.len()))
        }
    });
}

#[test]
fn lines_on_standard_output_or_in_a_file_follow_the_rows() {
    let postgres = Postgres::start_quick();
    shop::create(&postgres, 60, 10);
    let session = postgres.session(shop::DATABASE);
    let projection = "projection: products\nroot: products\nindex: products\nfields: [id, name]\n";
    for (number, path) in ["-", "documents.ndjson"].into_iter().enumerate() {
        let folder = support::private_folder("lines");
        std::fs::write(folder.path().join("products.yaml"), projection).expect("a projection");
        let config = format!(
            "source: {{host: 127.0.0.1, port: {port}, database: shop, user: postgres, manage: true, slot: s{number}}}\n\
             sink: {{kind: ndjson, path: \"{path}\"}}\nhttp: {{listen: off}}\ndata: data\nprojections: [products.yaml]\n",
            port = postgres.port(),
        );
        let file = folder.path().join("projectord.yaml");
        std::fs::write(&file, config).expect("a configuration");
        let (log, output) = (folder.path().join("log"), folder.path().join("documents.ndjson"));
        let mut command = Command::new("sh");
        let to = if path == "-" { ">documents.ndjson" } else { "" };
        command.args(["-c", &format!("exec \"$0\" run --config projectord.yaml {to}")]);
        command.arg(daemon::binary()).current_dir(folder.path());
        let mut process = Process::spawn(&mut command, &log);
        wait(&postgres, &mut process, &output, &log, "");
        session.must(&format!("UPDATE products SET name = name || ' {number}'"));
        session.must(&format!("DELETE FROM products WHERE id % 20 = {number}"));
        wait(&postgres, &mut process, &output, &log, &format!(" {number}"));
        assert_eq!(process.stop(Signal::TERM).0.code(), Some(0));
    }
}
