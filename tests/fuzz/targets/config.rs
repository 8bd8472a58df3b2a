//! The configuration file.

use std::path::Path;

use projectord::config::{Config, parse};

pub const WORDS: &[&[u8]] = &[
    b"source:",
    b"sink:",
    b"\n",
    b"  ",
    b": ",
    b"- ",
    b"[",
    b"]",
    b"{",
    b"}",
    b"${SECRET}",
    b"${UNSET}",
    b"${UNSET:-x}",
    b"$${",
    b"${",
    b"&a",
    b"*a",
    b"<<: *a",
    b"? ",
    b"!!str ",
    b"!!binary ",
    b"|\n",
    b">-\n",
    b"\"",
    b"'",
    b"#",
    b"---\n",
    b"...\n",
    b"%YAML 1.2\n",
    b"\t",
    b"5s",
    b"64MiB",
    b"99999999999999999999d",
    b"0x1F",
    b"~",
    b"off",
    b"\xEF\xBB\xBF",
    b"password: ",
    b"urls: [",
    b"http:\n  listen: ",
    b"[[[[[[[[[[[[[[[[",
    b"{a: {a: {a: {a: ",
    b"limits: {",
    b"- - - - - - - - ",
    b"kind: ndjson",
];

/// Where the shipped example lies, with its projections.
fn example() -> String {
    format!("{}/config/projectord.yaml", crate::PACKAGE)
}

pub fn seeds() -> Vec<Vec<u8>> {
    let shipped = std::fs::read_to_string(example()).unwrap();
    // Without comments it leaves more room for mistakes.
    let plain: Vec<&str> = shipped
        .lines()
        .map(|line| line.split(" #").next().unwrap())
        .filter(|line| !line.starts_with('#'))
        .collect();
    let anchors = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nsource: *c\n";
    vec![
        plain.join("\n").into_bytes(),
        shipped.replace("# port", "port").replace("# slot", "slot").into_bytes(),
        anchors.as_bytes().to_vec(),
        b"source: {host: h, password: ${SECRET}, port: 70000}\nlimits: {retain_age: 24h}\n".to_vec(),
        [b'['; 200].to_vec(),
    ]
}

const SECRET: &str = "s3cr3t-0f-the-environment";

/// A file is taken, or every mistake in it has a code and a place inside it; and no secret is ever shown.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let environment = |name: &str| (name == "SECRET").then(|| SECRET.to_owned());
    match parse(Path::new(&example()), text, &environment) {
        Ok(config) => taken(&config, text),
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            // A break at the end of the file begins a line of its own.
            let lines = text.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count() + 1;
            for problem in problems {
                assert!(!problem.code.is_empty());
                assert!(problem.line <= lines, "{}: the file has {lines} lines", problem.line);
                assert!(!problem.to_string().contains(SECRET), "a message shows what a variable held");
            }
        }
    }
}

fn taken(config: &Config, text: &str) {
    let shown = format!("{config:?}{}", config.effective());
    // A variable may stand anywhere; where it is a secret, it is not shown.
    if !text.replace("password: ${SECRET}", "").contains("${SECRET") {
        assert!(!shown.contains(SECRET), "a password is shown");
    }
}
