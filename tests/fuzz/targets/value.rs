//! Texts of every type to JSON.

use projectord::model::ColumnKind;
use projectord::projection::value;
use serde_json::Value;
use serde_json::value::RawValue;

pub const WORDS: &[&[u8]] = &[
    b"{",
    b"}",
    b",",
    b"\"",
    b"\\",
    b"NULL",
    b"[1:2]=",
    b"[-1:0][1:1]=",
    b"\\x",
    b"NaN",
    b"-Infinity",
    b"e+20",
    b"1.50",
    b"t",
    b"f",
    b"\\\"",
    b"\\\\",
    b"null",
    b"{{",
    b"}}",
    b"\xFF",
    "ä".as_bytes(),
    b"\n",
    b"1 day",
    b"-00:00:01",
    b"2024-03-04 05:06:07.123+00",
    b" BC",
    b"infinity",
    b"dead",
    b"0",
    b"-",
];

fn kinds() -> Vec<ColumnKind> {
    use ColumnKind::*;
    let mut kinds = vec![
        Bool,
        Int,
        Float4,
        Float8,
        Numeric,
        Text,
        Bpchar,
        Citext,
        Date,
        Timestamp,
        Timestamptz,
        Time,
        Timetz,
        Interval,
        Uuid,
        Bytea,
        Enum,
        Other,
    ];
    let elements = kinds.clone();
    kinds.extend(elements.into_iter().map(|kind| Array(Box::new(kind))));
    kinds
}

const TEXTS: &[&str] = &[
    "t",
    "-42",
    "1e+20",
    "12345678901234567890.1234567890",
    "a\"b\\c\n\u{1}ä",
    "2024-03-04 05:06:07.123+00",
    "0044-03-15 BC",
    "infinity",
    "1 year 2 mons -3 days +04:05:06.789",
    "04:05:06+05:30",
    "6f1e2d3c-0000-4000-8000-0123456789ab",
    "\\xdeadbeef01",
    "{a,\"b c\",\"d\\\"e\",\"f\\\\g\",\"NULL\",NULL,\"\"}",
    "{{1,2},{3,4}}",
    "[5:6]={1,2}",
    "[1:1][-2:-1]={{1,2}}",
    "{\"\\\\xdead\",NULL}",
    "{{{{{{1}}}}}}",
    "{{{{{{{1}}}}}}}",
];

pub fn seeds() -> Vec<Vec<u8>> {
    let kinds = kinds().len() as u8;
    let pairs = (0..kinds).flat_map(|kind| TEXTS.iter().map(move |text| (kind, text)));
    pairs.map(|(kind, text)| [&[kind], text.as_bytes()].concat()).collect()
}

/// The first byte chooses the type, the rest is the text. Whatever it is, one JSON value on one line comes
/// out; and what the text says is what the value says.
pub fn run(bytes: &[u8]) {
    let Some((choice, text)) = bytes.split_first() else { return };
    let kinds = kinds();
    let kind = &kinds[usize::from(*choice) % kinds.len()];
    let mut out = b"before".to_vec();
    value::write(kind, text, &mut out);
    let json = out.strip_prefix(b"before").expect("what stood there is left alone");
    assert!(!json.contains(&b'\n'), "a document is one line");
    let json = std::str::from_utf8(json).expect("JSON is UTF-8");
    serde_json::from_str::<&RawValue>(json).unwrap_or_else(|error| panic!("{kind:?}: {error}: {json}"));
    assert_eq!(json, expected(kind, text).as_str(), "{kind:?}");

    // Reading `json` values is PostgreSQL's part; ours is to keep what they mean.
    if let Ok(value) = serde_json::from_slice::<Value>(text) {
        let mut out = Vec::new();
        value::write(&ColumnKind::Jsonb, text, &mut out);
        assert_eq!(serde_json::from_slice::<Value>(&out).ok(), Some(value));
    } else {
        value::write(&ColumnKind::Json, text, &mut Vec::new());
    }
}

/// The same by a reader that is written for nothing but to be plain.
fn expected(kind: &ColumnKind, text: &[u8]) -> String {
    let string = || serde_json::to_string(&String::from_utf8_lossy(text)).unwrap();
    match kind {
        ColumnKind::Bool => match text {
            b"t" | b"true" => "true".to_owned(),
            b"f" | b"false" => "false".to_owned(),
            _ => "null".to_owned(),
        },
        ColumnKind::Int | ColumnKind::Numeric | ColumnKind::Float4 | ColumnKind::Float8 => {
            let text = std::str::from_utf8(text).unwrap_or("");
            let is_number = text.trim() == text
                && text.starts_with(|first: char| first == '-' || first.is_ascii_digit())
                && serde_json::from_str::<&RawValue>(text).is_ok();
            if is_number { text.to_owned() } else { "null".to_owned() }
        }
        ColumnKind::Date | ColumnKind::Timestamp | ColumnKind::Timestamptz => {
            let mut out = Vec::new();
            value::time::write(text, &mut out); // has a target of its own
            String::from_utf8(out).unwrap()
        }
        ColumnKind::Bytea => bytea(text).unwrap_or_else(|| "null".to_owned()),
        ColumnKind::Array(kind) => {
            let body = match text.first() {
                Some(b'[') => {
                    text.iter().position(|byte| *byte == b'=').map_or(&[][..], |at| &text[at + 1..])
                }
                _ => text,
            };
            match array(kind, body, 1) {
                Some((json, [])) => json,
                _ => string(),
            }
        }
        _ => string(),
    }
}

/// Byte by byte: every three bytes are four characters of six bits.
fn bytea(text: &[u8]) -> Option<String> {
    let hex = std::str::from_utf8(text.strip_prefix(b"\\x")?).ok()?;
    if hex.len() % 2 != 0 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let bits: String = hex.chars().map(|digit| format!("{:04b}", digit.to_digit(16).unwrap())).collect();
    let alphabet: Vec<char> = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['+', '/']).collect();
    let mut base64: String = bits
        .as_bytes()
        .chunks(6)
        .map(|six| {
            let six = format!("{:0<6}", std::str::from_utf8(six).unwrap());
            alphabet[usize::from_str_radix(&six, 2).unwrap()]
        })
        .collect();
    while !base64.len().is_multiple_of(4) {
        base64.push('=');
    }
    Some(format!("\"{base64}\""))
}

/// One array off the front, as JSON, and what is behind it.
fn array<'t>(kind: &ColumnKind, text: &'t [u8], depth: usize) -> Option<(String, &'t [u8])> {
    let mut rest = text.strip_prefix(b"{")?;
    if depth > 6 {
        return None;
    }
    if let Some(behind) = rest.strip_prefix(b"}") {
        return Some(("[]".to_owned(), behind));
    }
    let mut items = Vec::new();
    loop {
        let item = match rest.first()? {
            b'{' => {
                let (item, behind) = array(kind, rest, depth + 1)?;
                rest = behind;
                item
            }
            b'"' => {
                let mut text = Vec::new();
                let mut at = 1;
                while *rest.get(at)? != b'"' {
                    at += usize::from(rest[at] == b'\\');
                    text.push(*rest.get(at)?);
                    at += 1;
                }
                rest = &rest[at + 1..];
                expected(kind, &text)
            }
            _ => {
                let end = rest.iter().position(|byte| b",}".contains(byte))?;
                let word = &rest[..end];
                rest = &rest[end..];
                if word.is_empty() || word.iter().any(|byte| b"\"\\{".contains(byte)) {
                    return None;
                }
                if word.eq_ignore_ascii_case(b"null") { "null".to_owned() } else { expected(kind, word) }
            }
        };
        items.push(item);
        let (separator, behind) = rest.split_first()?;
        rest = behind;
        match separator {
            b',' => {}
            b'}' => return Some((format!("[{}]", items.join(",")), rest)),
            _ => return None,
        }
    }
}
