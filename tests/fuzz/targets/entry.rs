//! Payloads of journal entries: what they say, written again, says the same.

use projectord::journal::entry::{
    Backfill, Command, Commit, Definition, Facts, Intent, Position, Unit, messages, put_message,
};
use projectord::model::{EntryNo, Generation, Lsn, TableId};
use projectord::pipeline::apply::{from_hex, join_chunk, split_chunk, to_hex};
use projectord::source::{ChunkHead, Identity};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::shop;

pub const WORDS: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b":",
    b",",
    b"null",
    b"true",
    b"\"lsn\":\"0/0\"",
    b"\"FFFFFFFF/FFFFFFFF\"",
    b"18446744073709551616",
    b"-1",
    b"65536",
    b"\xFF\xFF\xFF\x7F",
    b"\x01\0\0\0a",
    b"[[[[[[[[",
    b"\\u0000",
    b"\"units\":[]",
    b"1e3",
    b"\"whole\"",
];

pub fn seeds() -> Vec<Vec<u8>> {
    let unit = Unit { table: TableId(3), oid: 16_384 };
    let commit = Commit { commit: Lsn(1), end: Lsn(2), time_us: -3, xid: 4, rows: 5, first: EntryNo(6) };
    let mut transaction = commit.encode().to_vec();
    put_message(&mut transaction, b"first");
    put_message(&mut transaction, b"");
    let chunk = ChunkHead {
        begin: EntryNo(9),
        table: TableId(1),
        oid: 16_385,
        sequence: 2,
        after: Some(vec!["7".to_owned()]),
        columns: vec![(1, "id".to_owned(), 23)],
        rows: 1,
        last_key: Some(vec!["8".to_owned()]),
        last: true,
        keys_only: false,
    };
    let definition = Definition {
        name: "orders".to_owned(),
        source: shop::ORDERS.to_owned(),
        generation: Generation(1),
        index: "orders-1".to_owned(),
    };
    let json = |value: &dyn erased::Json| value.json();
    let payloads = [
        transaction,
        join_chunk(&chunk, b"8\n"),
        json(&Position { lsn: Lsn(1 << 40) }),
        json(&Intent { slot: "s".to_owned(), system_identifier: "7".to_owned(), timeline: 1 }),
        json(&Backfill { begin: EntryNo(0), units: vec![unit.clone()], keys_only: false, transaction: None }),
        json(&Command::Whole { generation: Generation(2) }),
        json(&Command::ReadAgain { units: vec![unit] }),
        json(&Command::Documents { generation: Generation(1), keys: vec!["00ff".to_owned()] }),
        json(&Facts {
            catalog: shop::small().clone(),
            definitions: vec![definition],
            assembler: 1,
            traces: Vec::new(),
        }),
        b"0123456789abcdefABCDEF".to_vec(),
    ];
    payloads.to_vec()
}

mod erased {
    //! Any payload as JSON, whatever its type.
    pub trait Json {
        fn json(&self) -> Vec<u8>;
    }

    impl<T: serde::Serialize> Json for T {
        fn json(&self) -> Vec<u8> {
            serde_json::to_vec(self).unwrap()
        }
    }
}

pub fn run(bytes: &[u8]) {
    same::<Position>(bytes);
    same::<Intent>(bytes);
    same::<Backfill>(bytes);
    same::<Command>(bytes);
    same::<Facts>(bytes);
    same::<Identity>(bytes);
    if let Ok((commit, rest)) = Commit::decode(bytes) {
        assert_eq!([&commit.encode()[..], rest].concat(), bytes);
        walk(rest);
    }
    walk(bytes);
    if let Ok((head, rows)) = split_chunk(bytes) {
        let again = join_chunk(&head, rows);
        let (head_again, rows_again) = split_chunk(&again).unwrap();
        assert_eq!((head_again, rows_again), (head, rows));
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Some(key) = from_hex(text)
    {
        assert_eq!(to_hex(&key), text.to_ascii_lowercase());
    }
    assert_eq!(from_hex(&to_hex(bytes)).as_deref(), Some(bytes));
}

fn same<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    if let Ok(value) = serde_json::from_slice::<T>(bytes) {
        let again = serde_json::to_vec(&value).unwrap();
        assert_eq!(serde_json::from_slice::<T>(&again).unwrap(), value);
    }
}

/// The messages are the payload, up to the first that is cut short.
fn walk(payload: &[u8]) {
    let mut again = Vec::new();
    messages(payload).for_each(|message| put_message(&mut again, message));
    assert!(payload.starts_with(&again));
    let rest = &payload[again.len()..];
    if let Some((length, rest)) = rest.split_first_chunk::<4>() {
        assert!(rest.len() < u32::from_le_bytes(*length) as usize, "a whole message was passed over");
    }
}
