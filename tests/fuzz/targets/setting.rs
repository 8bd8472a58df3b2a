//! Small texts of the server and of people: positions, standby names, durations, sizes, mistyped words.

use std::time::Duration;

use projectord::config::nearest::nearest;
use projectord::config::quantity;
use projectord::model::Lsn;
use projectord::source::postgres::gate::standby_names;

pub const WORDS: &[&[u8]] = &[
    b"/",
    b"FFFFFFFF",
    b"0/0",
    b"FIRST 2 (",
    b"ANY 1(",
    b"*",
    b"\"",
    b"\"\"",
    b",",
    b" ",
    b")",
    b"projectord",
    b"ProjectorD",
    b"ms",
    b"s",
    b"min",
    b"h",
    b"d",
    b"KiB",
    b"TiB",
    b"GB",
    b"18446744073709551615",
    b"99999999999999999999",
    b"+1",
    b"-",
    "ß".as_bytes(),
];

pub fn seeds() -> Vec<Vec<u8>> {
    [
        "16/B374D848",
        "FIRST 2 (a, projectord, \"x y\")",
        "ANY 1(*)",
        "\"odd (projectord\", c",
        "500ms",
        "24 h",
        "64MiB",
        "18446744073709551615B",
        "pasword",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(lsn) = text.parse::<Lsn>() {
        assert_eq!(lsn.to_string().parse(), Ok(lsn));
        assert!(text.len() <= 17);
    }
    let found = standby_names::matching(text, "projectord");
    if let Some(name) = found {
        assert!(name == "*" || name.eq_ignore_ascii_case("projectord"));
    }
    // A list of plain names is the least that must be understood (rule 1).
    let is_plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '*' | ',' | ' ');
    if text.chars().all(is_plain) {
        let named = text.split([',', ' ']).any(|name| name == "*" || name.eq_ignore_ascii_case("projectord"));
        assert_eq!(found.is_some(), named, "{text}");
    }
    if let Ok(duration) = quantity::duration(text) {
        assert_eq!(quantity::duration(&quantity::duration_text(duration)), Ok(duration));
        assert!(duration <= Duration::from_millis(u64::MAX));
    }
    if let Ok(size) = quantity::size(text) {
        assert!(!quantity::size_text(size).is_empty());
        assert_eq!(quantity::size(&format!("{size}")), Ok(size));
    }
    let words = ["host", "port", "password"];
    let near = nearest(text, words);
    assert!(near.is_none_or(|near| near.len().abs_diff(text.chars().count()) <= 3));
    if words.contains(&text) {
        assert_eq!(near, Some(text));
    }
}
