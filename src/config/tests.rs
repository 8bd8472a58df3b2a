//! Bad files with the exact places of their mistakes, and what a good one becomes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::*;
use crate::sink::elasticsearch::Credentials;
use crate::source::postgres::SslMode;

/// The smallest file that is right, without its projections.
const SMALL: &str = "source: {host: localhost, database: shop, user: app}\n\
                     sink: {urls: [\"http://localhost:9200\"]}\n\
                     data: data\n\
                     projections: [orders.yaml]\n";

/// A folder with one projection file.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("orders.yaml"), "projection: orders\n").unwrap();
    folder
}

fn environment(name: &str) -> Option<String> {
    match name {
        "DB_HOST" => Some("localhost".to_owned()),
        "SECRET" => Some("planted-secret".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn load_text(folder: &Path, text: &str) -> Result<Config, Vec<Diagnostic>> {
    parse(&folder.join("projectord.yaml"), text, &environment)
}

/// What is expected: line, column, code, and a part of message or hint.
type Mistake = (usize, usize, &'static str, &'static str);

#[track_caller]
fn check(text: &str, expected: &[Mistake]) {
    let folder = folder();
    let found = match load_text(folder.path(), text) {
        Ok(_) => Vec::new(),
        Err(problems) => problems,
    };
    let places: Vec<_> = found.iter().map(|d| (d.line, d.column, d.code)).collect();
    let wanted: Vec<_> = expected.iter().map(|(line, column, code, _)| (*line, *column, *code)).collect();
    assert_eq!(places, wanted, "\n{text}\n{found:#?}");
    for (problem, (.., part)) in found.iter().zip(expected) {
        assert!(problem.to_string().contains(part), "{problem} lacks {part}");
    }
}

#[test]
fn mistakes_are_reported_at_their_places() {
    let rest = "\ndata: d\nprojections: [orders.yaml]\nsink: {urls: [\"http://localhost:9200\"]}\n";
    let source = |lines: &str| format!("source:\n  database: shop\n  user: app\n{lines}{rest}");
    let cases: Vec<(String, Vec<Mistake>)> = vec![
        (
            source("  hots: localhost"),
            vec![(1, 1, "missing-key", "'host' is missing"), (4, 3, "unknown-key", "did you mean 'host'?")],
        ),
        (source("  host: localhost\n  port: 70000"), vec![(5, 9, "bad-value", "from 1 to 65535")]),
        (source("  host: localhost\n  port: [1]"), vec![(5, 9, "wrong-kind", "a list")]),
        (source("  host: ${NOWHERE}"), vec![(4, 9, "unset-variable", "NOWHERE is not set")]),
        (source("  host: ${EMPTY}"), vec![(4, 9, "unset-variable", "EMPTY")]),
        (source("  host: ${A b}"), vec![(4, 9, "bad-variable", "not a name")]),
        (source("  host: ${A"), vec![(4, 9, "bad-variable", "without its '}'")]),
        (source("  host: localhost\n  sslmode: prefer"), vec![(5, 12, "bad-value", "verify-full")]),
        (source("  host: /run\n  sslmode: require"), vec![(5, 12, "conflicting-keys", "unix socket")]),
        (source("  host: localhost\n  slot: Orders"), vec![(5, 9, "bad-value", "lower case")]),
        (source("  host: localhost\n  manage: yes"), vec![(5, 11, "bad-value", "true or false")]),
        (source("  host: localhost\n  connect_timeout: 5"), vec![(5, 20, "bad-value", "500ms")]),
        (source("  host: localhost\n  status_interval: 1h"), vec![(5, 20, "bad-value", "to 20s")]),
        (
            source("  host: localhost\n  password: a\n  password_file: b"),
            vec![(6, 3, "conflicting-keys", "keep one")],
        ),
        (
            source("  host: localhost\n  password_file: nowhere"),
            vec![(5, 18, "unreadable-file", "cannot be opened")],
        ),
        (source("  host: localhost\n  read_password: x"), vec![(5, 18, "conflicting-keys", "read_user")]),
        (source("  host: localhost\n  ssl_ca: nowhere.pem"), vec![(5, 11, "unreadable-file", "ssl_ca")]),
        (
            format!("{SMALL}limits: {{quota_bytes: 16MiB, segment_bytes: 64MiB, retain_bytes: 0}}\n"),
            vec![(5, 1, "bad-value", "four segments")],
        ),
        (
            format!("{SMALL}store: {{checkpoint_bytes: 5GiB}}\n"), // the quota is 16 GiB
            vec![(5, 27, "bad-value", "a quarter of 'quota_bytes', 4GiB")],
        ),
        (
            format!("{SMALL}limits: {{quota_bytes: 1GiB}}\nstore: {{checkpoint_bytes: 1GiB}}\n"),
            vec![(6, 27, "bad-value", "256MiB")],
        ),
        (
            format!("{SMALL}store: {{durability: comit}}\n"),
            vec![(5, 21, "bad-value", "did you mean 'commit'?")],
        ),
        (format!("{SMALL}log: {{level: verbose}}\n"), vec![(5, 14, "bad-value", "expected error, warn")]),
        (format!("{SMALL}http: {{listen: 0.0.0.0:9187}}\n"), vec![(5, 16, "unsafe-setting", "token_file")]),
        (format!("{SMALL}http: {{listen: metrics}}\n"), vec![(5, 16, "bad-value", "127.0.0.1:9187")]),
        (format!("{SMALL}htpp: {{}}\n"), vec![(5, 1, "unknown-key", "did you mean 'http'?")]),
        (format!("{SMALL}log: text\n"), vec![(5, 6, "wrong-kind", "expected a section")]),
        (SMALL.replace("http://localhost", "http://search"), vec![(2, 15, "bad-value", "unencrypted")]),
        (
            SMALL.replace("http://localhost", "https://me:you@search"),
            vec![(2, 15, "bad-value", "user or password")],
        ),
        (SMALL.replace("http://localhost", "localhost"), vec![(2, 15, "bad-value", "neither https:// nor")]),
        (SMALL.replace("{urls:", "{user: me, urls:"), vec![(2, 14, "missing-key", "'user' without")]),
        (
            SMALL.replace("{urls:", "{api_key: a, bearer_token: b, urls:"),
            vec![(2, 34, "conflicting-keys", "more than one")],
        ),
        (SMALL.replace("{urls:", "{kind: kafka, urls:"), vec![(2, 14, "bad-value", "elasticsearch, ndjson")]),
        (
            SMALL.replace("{urls: [\"http://localhost:9200\"]}", "{kind: ndjson}"),
            vec![(2, 1, "missing-key", "path")],
        ),
        (
            SMALL.replace("[orders.yaml]", "[o/*.yaml, orders.yaml]"),
            vec![(4, 15, "unreadable-file", "o/*.yaml")],
        ),
        (SMALL.replace("[orders.yaml]", "['*.yml']"), vec![(4, 15, "no-projection", "*.yml")]),
        (SMALL.replace("data: data\n", "data:\n"), vec![(3, 5, "wrong-kind", "'data' is nothing")]),
        (
            "- a\n".to_owned(),
            vec![
                (1, 1, "missing-key", "'data'"),
                (1, 1, "missing-key", "'database'"),
                (1, 1, "missing-key", "'host'"),
                (1, 1, "missing-key", "'projections'"),
                (1, 1, "missing-key", "'urls'"),
                (1, 1, "missing-key", "'user'"),
                (1, 1, "wrong-kind", "a list"),
            ],
        ),
        ("source: {host: a\n".to_owned(), vec![(1, 9, "yaml-syntax", "unclosed")]),
    ];
    for (text, expected) in cases {
        check(&text, &expected);
    }
}

#[test]
fn a_small_file_gets_every_default() {
    let folder = folder();
    let config = load_text(folder.path(), SMALL).unwrap();
    assert_eq!(config.data, folder.path().join("data"));
    assert_eq!(config.projections, [folder.path().join("orders.yaml")]);
    assert_eq!(config.source.ssl_mode, SslMode::Disable);
    assert_eq!((config.source.port, config.source.manage), (5432, false));
    assert_eq!(config.source.slot, "projectord");
    assert_eq!(config.http.listen, Some(http::DEFAULT_LISTEN));
    assert_eq!(config.limits.shutdown, Duration::from_secs(30));
    // By default several checkpoints fit into any quota.
    assert_eq!(config.store.checkpoint_bytes, 1 << 30);
    let small =
        load_text(folder.path(), &format!("{SMALL}limits: {{quota_bytes: 1GiB, retain_bytes: 1GiB}}\n"));
    assert_eq!(small.unwrap().store.checkpoint_bytes, 256 << 20);
    assert!(config.warnings.is_empty());
}

#[test]
fn other_hosts_are_verified_unless_the_file_says_otherwise_which_is_warned_of() {
    let folder = folder();
    for (host, extra, mode, warned) in [
        ("db.example", "", SslMode::VerifyFull, None),
        ("10.0.0.7", "", SslMode::VerifyFull, None),
        ("localhost.example", "", SslMode::VerifyFull, None),
        ("db.example", ", sslmode: disable", SslMode::Disable, Some("plain-text")),
        ("db.example", ", sslmode: require", SslMode::Require, Some("unproven-server")),
        ("db.example", ", sslmode: verify-ca", SslMode::VerifyCa, None),
        ("'::1'", "", SslMode::Disable, None),
        ("127.0.0.2", "", SslMode::Disable, None),
        ("/run/postgresql", "", SslMode::Disable, None),
    ] {
        let text = SMALL.replace("host: localhost", &format!("host: {host}{extra}"));
        let config = load_text(folder.path(), &text).unwrap();
        assert_eq!(config.source.ssl_mode, mode, "{host}{extra}");
        assert_eq!(config.warnings.first().map(|d| d.code), warned, "{host}{extra}");
    }
}

#[test]
fn requests_are_packed_unless_all_nodes_are_on_this_machine() {
    let folder = folder();
    for (urls, extra, compress) in [
        ("\"http://localhost:9200\"", "", false),
        ("\"https://[::1]:9200/search\", \"http://127.0.0.1\"", "", false),
        ("\"http://localhost:9200\", \"https://search.example\"", "", true),
        ("\"https://localhost.example:9200\"", "", true),
        ("\"http://localhost:9200\"", ", compress: true", true),
        ("\"https://search.example\"", ", compress: false", false),
    ] {
        let text = SMALL.replace("\"http://localhost:9200\"]", &format!("{urls}]{extra}"));
        let config = load_text(folder.path(), &text).unwrap();
        let Sink::Elasticsearch(options) = &config.sink else { panic!("another sink") };
        assert_eq!(options.compress, compress, "{urls}{extra}");
    }
}

#[test]
fn variables_are_replaced_after_parsing() {
    let folder = folder();
    for (written, expected) in [
        ("${DB_HOST}", "localhost"),
        ("'a-${DB_HOST}-${OTHER:-x}'", "a-localhost-x"),
        ("${EMPTY:-fallback}", "fallback"),
        ("'$${DB_HOST}'", "${DB_HOST}"),
        ("'a$b$'", "a$b$"),
        ("${SECRET}", "planted-secret"),
    ] {
        let text = SMALL.replace("database: shop", &format!("database: {written}"));
        let text = if written.contains('{') && !written.starts_with('\'') {
            text.replace(written, &format!("'{written}'"))
        } else {
            text
        };
        assert_eq!(load_text(folder.path(), &text).unwrap().source.database, expected, "{written}");
    }
}

#[test]
fn a_secret_file_loses_its_line_end_and_warns_when_others_can_read_it() {
    let folder = folder();
    let file = folder.path().join("password");
    fs::write(&file, "p w\n").unwrap();
    let text = SMALL.replace("user: app", "user: app, password_file: password");
    for (mode, warned) in
        [(0o600, None), (0o400, None), (0o640, Some("loose-secret-file")), (0o604, Some("loose-secret-file"))]
    {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let config = load_text(folder.path(), &text).unwrap();
        assert_eq!(config.source.password.unwrap().expose_secret(), "p w");
        assert_eq!(config.warnings.first().map(|d| d.code), warned, "{mode:o}");
    }
    for content in [&b""[..], b"\n", b"\xff", &[b'x'; (64 << 10) + 1]] {
        fs::write(&file, content).unwrap();
        let problems = load_text(folder.path(), &text).unwrap_err();
        assert_eq!(problems[0].code, "unreadable-file");
    }
}

#[test]
fn secrets_are_in_no_debug_text_no_effective_configuration_and_no_error() {
    let folder = folder();
    fs::write(folder.path().join("secret"), "planted-secret").unwrap();
    let good = SMALL
        .replace(
            "user: app",
            "user: app, password: planted-secret, read_user: r, read_password: \"${SECRET}\"",
        )
        .replace("{urls:", "{api_key_file: secret, urls:")
        + "http: {token: planted-secret}\n";
    let config = load_text(folder.path(), &good).unwrap();
    assert!(
        matches!(&config.sink, Sink::Elasticsearch(o) if matches!(&o.credentials, Credentials::ApiKey(key) if key.expose_secret() == "planted-secret"))
    );
    let mut shown = format!("{config:?} {config:#?} {}", config.effective());
    let bad = [
        good.replace("database: shop", "database: shop, prt: planted-secret"),
        good.replace("http://localhost:9200", "http://u:planted-secret@localhost"),
        good.replace("http://localhost:9200", "planted-secret"),
        good.replace("password: planted-secret", "password: [planted-secret]"),
        good.replace("password: planted-secret", "password: planted-secret, port: \"${SECRET}\""),
        good.replace("password: planted-secret", "password: planted-secret, slot: \"${SECRET}\""),
        good.replace("password: planted-secret", "password: planted-secret${"),
        good.replace("password: planted-secret", "password: {planted-secret: 1}"),
        good.replace("password: planted-secret", "password: \"planted-secret"),
        good.replace("password: planted-secret", "password: *planted-secret"),
        good.replace("password: planted-secret", "password: planted-secret, password: planted-secret"),
        good.replace("password: planted-secret", "password: planted-secret, ssl_ca: \"${SECRET}\""),
    ];
    for text in bad {
        let problems = load_text(folder.path(), &text).expect_err(&text);
        shown.push_str(&format!("{problems:?} {}", crate::error::Failure::of_diagnostics(&problems)));
        assert!(!shown.contains("planted-secret"), "{text}\n{problems:#?}");
    }
}

#[test]
fn the_example_file_is_right() {
    let folder = folder();
    fs::create_dir(folder.path().join("projections")).unwrap();
    fs::write(folder.path().join("projections/orders.yml"), "projection: orders\n").unwrap();
    let text = include_str!("../../config/projectord.yaml");
    let config = load_text(folder.path(), text).map_err(|problems| format!("{problems:#?}")).unwrap();
    assert!(config.warnings.is_empty());
    assert_eq!(config.source.database, "shop");
    assert!(text.lines().count() <= 50, "the example fits one screen");
    // What is commented out is right as well, and is what is in force anyway.
    // Keys whose example needs a file, another host or a partner are left alone.
    let skipped = ["ssl_ca", "user", "ca", "read_user", "sslmode"];
    let whole: String = text
        .lines()
        .map(|line| {
            let key = line.trim_start().strip_prefix("# ").and_then(|rest| rest.split_once(": "));
            match key {
                Some((key, _))
                    if key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
                        && !skipped.contains(&key) =>
                {
                    format!("{}\n", line.replacen("# ", "", 1))
                }
                _ => format!("{line}\n"),
            }
        })
        .collect();
    assert!(whole.contains("\n  slot: projectord"), "{whole}");
    let all = load_text(folder.path(), &whole).map_err(|problems| format!("{problems:#?}\n{whole}")).unwrap();
    assert_eq!(all.effective(), config.effective(), "{whole}");
}

#[test]
fn every_setting_stands_in_the_documentation() {
    let folder = folder();
    fs::create_dir(folder.path().join("projections")).unwrap();
    fs::write(folder.path().join("projections/orders.yml"), "projection: orders\n").unwrap();
    let text = include_str!("../../config/projectord.yaml");
    let effective = load_text(folder.path(), text).unwrap().effective();
    let operations = include_str!("../../docs/operations.md");
    let table = operations.split("## Settings").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    // Not under this name in the file: how the sink is spoken to may be said in three ways.
    let others = ["credentials"];
    let mut settings = 0;
    for section in effective.as_object().unwrap().values().filter_map(|section| section.as_object()) {
        for name in section.keys().filter(|name| !others.contains(&name.as_str())) {
            assert!(table.contains(&format!("`{name}`")), "{name} is not in the table of docs/operations.md");
            settings += 1;
        }
    }
    assert!(settings > 40, "{settings}");
}

#[test]
fn a_file_that_cannot_be_read_names_itself_and_the_way_out() {
    let folder = folder();
    let path = folder.path().join("nowhere.yaml");
    let problems = load(&path, &environment).unwrap_err();
    assert!(problems[0].to_string().contains("nowhere.yaml"), "{}", problems[0]);
    assert!(problems[0].hint.contains("--config"));
    let large = folder.path().join("large.yaml");
    fs::write(&large, vec![b'#'; (CONFIG_BYTES_MAX + 1) as usize]).unwrap();
    assert!(load(&large, &environment).unwrap_err()[0].message.contains("larger than 1MiB"));
}
