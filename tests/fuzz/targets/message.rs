//! Messages of pgoutput.

use projectord::model::{Cell, Lsn, Relation, RelationColumn, ReplicaIdentity};
use projectord::pgoutput::{Message, decode, decoder, kind, row_oid};

use super::wire;

pub const WORDS: &[&[u8]] = &[
    b"I",
    b"U",
    b"D",
    b"R",
    b"B",
    b"C",
    b"T",
    b"M",
    b"O",
    b"Y",
    b"N",
    b"K",
    b"t",
    b"n",
    b"u",
    b"b",
    b"t\0\0\0\x01a",
    b"t\xFF\xFF\xFF\xFF",
    b"t\x3F\xFF\xFF\xFF",
    b"N\xFF\xFF",
    b"\0\0",
    b"public\0",
];

pub fn seeds() -> Vec<Vec<u8>> {
    let column =
        |name: &str, key| RelationColumn { key, name: name.to_owned(), type_oid: 23, type_modifier: -1 };
    let relation = Relation {
        oid: 16_384,
        schema: "public".to_owned(),
        name: "orders".to_owned(),
        identity: ReplicaIdentity::Default,
        columns: vec![column("id", true), column("näme", false), column("note", false)],
    };
    let row = [Cell::Text(b"42"), Cell::Null, Cell::Text("größer".as_bytes())];
    let unchanged = [Cell::Text(b"42"), Cell::Unchanged, Cell::Text(b"")];
    let mut truncate = vec![b'T', 0, 0, 0, 2, 3];
    truncate.extend([0, 0, 0x40, 0, 0, 0, 0x40, 1]);
    vec![
        wire::encode(&Message::Begin { final_lsn: Lsn(1 << 33), time_us: -1, xid: 700 }),
        wire::encode(&Message::Commit { flags: 0, commit: Lsn(5), end: Lsn(6), time_us: 7 }),
        wire::encode(&Message::Origin { commit: Lsn(5), name: b"else\xFF" }),
        wire::encode(&Message::Relation(relation)),
        wire::encode(&Message::Type { oid: 9, schema: "public", name: "status" }),
        wire::row(b'I', 16_384, &[(b'N', &row)]),
        wire::row(b'U', 16_384, &[(b'N', &unchanged)]),
        wire::row(b'U', 16_384, &[(b'K', &row), (b'N', &unchanged)]),
        wire::row(b'D', 16_384, &[(b'O', &row)]),
        truncate,
        wire::encode(&Message::Logical { transactional: true, lsn: Lsn(1), prefix: b"p", content: b"body" }),
    ]
}

/// A row's bytes are those of its message, one by one; any other message means the same when written again.
pub fn run(bytes: &[u8]) {
    let Ok(message) = decode(bytes) else { return };
    assert_eq!(kind(bytes), bytes.first().copied());
    let again = wire::encode(&message);
    assert!(decode(&again).is_ok_and(|again| again == message), "{message:?}");
    assert_eq!(format!("{message:?}"), message.name(), "values have no place in a log");
    match &message {
        Message::Insert { oid, new } => {
            assert_eq!((row_oid(bytes), again.as_slice()), (Some(*oid), bytes));
            assert_eq!(new.cells().count(), new.len());
        }
        Message::Update { oid, new, .. } => {
            assert_eq!((row_oid(bytes), again.as_slice()), (Some(*oid), bytes));
            assert_eq!(new.cells().count(), new.len());
        }
        Message::Delete { oid, old, .. } => {
            assert_eq!((row_oid(bytes), again.as_slice()), (Some(*oid), bytes));
            assert_eq!(old.cells().count(), old.len());
        }
        Message::Relation(relation) => assert!(relation.columns.len() <= decoder::COLUMNS_MAX),
        _ => assert_eq!(row_oid(bytes), None),
    }
}
