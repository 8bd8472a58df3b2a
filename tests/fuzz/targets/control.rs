//! What commands and the daemon say to each other over the socket.

use projectord::control::{Answer, QuarantineAction, Request, Target, Which};

pub const WORDS: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b":",
    b",",
    b"\"do\":",
    b"\"status\"",
    b"\"replay\"",
    b"\"target\":",
    b"\"all\"",
    b"\"documents\"",
    b"\"ids\":[",
    b"null",
    b"\"which\":",
    b"{\"named\":[",
    b"\"stop\"",
    b"\\ud800",
    b"[[[[[[[[[[[[[[[[",
    b"1e999",
];

/// Requests as they stand on the wire, and what they mean.
fn requests() -> [(&'static str, Request); 6] {
    let documents =
        Target::Documents { ids: vec!["1".to_owned(), "ä\\".to_owned()], projection: Some("p".to_owned()) };
    let named = Which::Named(vec!["orders/17".to_owned()]);
    [
        (r#"{"do":"status"}"#, Request::Status),
        (r#"{"do":"replay","target":"all"}"#, Request::Replay { target: Target::All }),
        (
            r#"{"do":"replay","target":{"documents":{"ids":["1","ä\\"],"projection":"p"}}}"#,
            Request::Replay { target: documents },
        ),
        (
            r#"{"do":"quarantine","action":"retry","which":{"named":["orders/17"]}}"#,
            Request::Quarantine { action: QuarantineAction::Retry, which: named },
        ),
        (r#"{"do":"backfill","projections":"all"}"#, Request::Backfill { projections: Which::All }),
        (r#"{"do":"stop"}"#, Request::Stop),
    ]
}

pub fn seeds() -> Vec<Vec<u8>> {
    let answers = [
        Answer::Status(Box::default()),
        Answer::Quarantine { documents: vec![], total: 3 },
        Answer::Refused { code: "c".to_owned(), message: "m".to_owned(), hint: "h".to_owned() },
    ];
    let mut seeds = Vec::new();
    for (text, request) in requests() {
        assert_eq!(serde_json::from_str::<Request>(text).unwrap(), request);
        seeds.push(text.as_bytes().to_vec());
    }
    seeds.extend(answers.iter().map(|answer| serde_json::to_vec(answer).unwrap()));
    seeds.push([b'['; 1000].to_vec());
    seeds
}

/// What was understood, said again, is the same, and takes one line.
pub fn run(bytes: &[u8]) {
    if let Ok(request) = serde_json::from_slice::<Request>(bytes) {
        let again = serde_json::to_vec(&request).unwrap();
        assert!(!again.contains(&b'\n'));
        assert_eq!(serde_json::from_slice::<Request>(&again).unwrap(), request);
    }
    if let Ok(answer) = serde_json::from_slice::<Answer>(bytes) {
        let again = serde_json::to_vec(&answer).unwrap();
        assert!(!again.contains(&b'\n'));
        assert_eq!(serde_json::from_slice::<Answer>(&again).unwrap(), answer);
    }
}
