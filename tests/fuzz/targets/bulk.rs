//! Requests to the cluster, and its answers.

use std::sync::OnceLock;

use bytes::Bytes;
use projectord::model::{Action, Document, Outcome, Version};
use projectord::sink::elasticsearch::bulk;
use serde_json::Value;

pub const WORDS: &[&[u8]] = &[
    b"{", b"}", b"[", b"]", b"\"", b",", b":", b"{\"index\":", b"{\"delete\":", b"\"_index\":\"orders-1\"",
    b"\"_id\":\"1\"", b"\"_version\":7", b"\"status\":200", b"\"status\":409", b"\"status\":400",
    b"\"error\":{\"type\":\"version_conflict_engine_exception\",\"reason\":\"[1]: version conflict, current version [9] is higher\"}",
    b"\"error\":{\"type\":\"document_parsing_exception\",\"reason\":\"failed to parse field [n] of type [long]\"}",
    b"current version [", b"18446744073709551616", b"-1", b"\\u0000", b"\\ud800", b"[[[[[[[[[[[[[[[[", b"null",
    b"\"_id\":null", b"1e9", b"\"items\":[",
];

fn sent() -> &'static [Document; 3] {
    static SENT: OnceLock<[Document; 3]> = OnceLock::new();
    let document = |id: &str, version, action| Document {
        index: "orders-1".into(),
        id: id.to_owned(),
        version: Version(version),
        action,
    };
    SENT.get_or_init(|| {
        [
            document("1", 7, Action::Index(Bytes::from_static(b"{\"a\":1}"))),
            document("2", 8, Action::Delete),
            document("ü\"\n", 9, Action::Index(Bytes::from_static(b"{}"))),
        ]
    })
}

pub fn seeds() -> Vec<Vec<u8>> {
    let answer = |first: &str, second: &str, third: &str| {
        format!("{{\"errors\":true,\"items\":[{first},{second},{third}]}}").into_bytes()
    };
    let index = r#"{"index":{"_index":"orders-1","_id":"1","_version":7,"status":201}}"#;
    let delete = r#"{"delete":{"_index":"orders-1","_id":"2","_version":8,"status":404}}"#;
    let other = r#"{"index":{"_index":"orders-1","_id":"ü\"\n","_version":9,"status":200}}"#;
    let conflict = r#"{"index":{"_index":"orders-1","_id":"1","status":409,"error":{"type":"version_conflict_engine_exception","reason":"[1]: version conflict, current version [9] is higher or equal to the one provided [7]"}}}"#;
    let parsing = r#"{"index":{"_index":"orders-1","_id":"ü\"\n","status":400,"error":{"type":"document_parsing_exception","reason":"[1:6] failed to parse field [n] of type [long] in document with id '3'. Preview of field's value: 'secret'","caused_by":{"type":"illegal_argument_exception"}}}}"#;
    let gone = r#"{"delete":{"_index":"orders-1","_id":"2","status":404,"error":{"type":"index_not_found_exception","reason":"no such index [orders-1]"}}}"#;
    vec![
        answer(index, delete, other),
        answer(conflict, delete, parsing),
        answer(index, gone, other),
        b"{\"error\":\"no handler\",\"status\":400}".to_vec(),
        [b"{\"errors\":false,\"items\":", &[b'['; 300][..]].concat(),
    ]
}

/// What an outcome says must follow from the answer as another reader reads it; and it never says more than
/// is allowed.
pub fn run(bytes: &[u8]) {
    let [first, second, third] = sent();
    let asked = [first, second, third];
    if let Ok(outcomes) = bulk::decode(bytes, &asked) {
        assert_eq!(outcomes.len(), asked.len());
        // Strings that nobody looks at may be no text at all; the other reader wants all of them to be.
        let Ok(answer) = serde_json::from_slice::<Value>(bytes) else { return };
        for (at, (outcome, document)) in outcomes.iter().zip(asked).enumerate() {
            judge(&answer["items"][at], outcome, document);
        }
    }
    request(bytes);
}

fn judge(item: &Value, outcome: &Outcome, document: &Document) {
    let verb = if document.action == Action::Delete { "delete" } else { "index" };
    let item = &item[verb];
    assert_eq!(item["_id"], document.id, "an outcome of another document");
    match outcome {
        Outcome::Applied => {
            assert_eq!(item["_index"], *document.index);
            assert_eq!(item["_version"], document.version.0);
            assert!(item["error"].is_null());
            let status = item["status"].as_u64().unwrap();
            assert!((200..300).contains(&status) || (status == 404 && verb == "delete"), "{status}");
        }
        Outcome::Conflict { current } => {
            assert_eq!(item["status"], 409);
            if let Some(current) = current {
                let reason = item["error"]["reason"].as_str().unwrap();
                // A number in brackets may be written with zeros before it, or a plus.
                let mut bracketed = reason.split('[').filter_map(|rest| rest.split(']').next()?.parse().ok());
                assert!(bracketed.any(|version: u64| version == current.0), "{reason}");
            }
        }
        Outcome::Rejected { code, reason } => {
            assert!(code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_graphic()), "{code}");
            short(reason);
        }
        Outcome::Retry { reason } | Outcome::IndexGone { reason } => short(reason),
    }
}

fn short(reason: &str) {
    assert!(reason.chars().count() <= 512 && !reason.contains(char::is_control), "{reason:?}");
}

/// Any id and any body on one line make a request whose lines are what was meant.
fn request(bytes: &[u8]) {
    let id = String::from_utf8_lossy(bytes).into_owned();
    let body = Bytes::from(serde_json::to_vec(&serde_json::json!({ "t": id })).unwrap());
    let document = |action| Document { index: "i".into(), id: id.clone(), version: Version(3), action };
    let documents = [document(Action::Index(body.clone())), document(Action::Delete)];
    let mut out = Vec::new();
    bulk::encode(&documents, &mut out);
    let lines: Vec<&[u8]> = out.split(|byte| *byte == b'\n').collect();
    assert_eq!((lines.len(), lines[1], lines[3]), (4, &body[..], &b""[..]));
    for (line, verb) in [(lines[0], "index"), (lines[2], "delete")] {
        let action: Value = serde_json::from_slice(line).unwrap();
        assert_eq!(
            (&action[verb]["_id"], &action[verb]["version"]),
            (&Value::from(id.as_str()), &Value::from(3))
        );
    }
}
