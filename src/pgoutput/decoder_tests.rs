//! Tests of the decoder, with an encoder of their own.

use proptest::prelude::*;

use super::*;
use crate::model::{Cell, Lsn};

/// A message with values of its own, for the encoder below.
#[derive(Clone, Debug)]
enum Owned {
    Begin(u64, i64, u32),
    Commit(u8, u64, u64, i64),
    Origin(u64, Vec<u8>),
    Relation(Relation),
    Type(u32, String, String),
    Insert(u32, Vec<OwnedCell>),
    Update(u32, Option<(bool, Vec<OwnedCell>)>, Vec<OwnedCell>),
    Delete(u32, bool, Vec<OwnedCell>),
    Truncate(Vec<u32>, bool, bool),
    Logical(bool, u64, Vec<u8>, Vec<u8>),
}

#[derive(Clone, Debug)]
enum OwnedCell {
    Null,
    Unchanged,
    Text(Vec<u8>),
}

impl OwnedCell {
    fn cell(&self) -> Cell<'_> {
        match self {
            OwnedCell::Null => Cell::Null,
            OwnedCell::Unchanged => Cell::Unchanged,
            OwnedCell::Text(text) => Cell::Text(text),
        }
    }
}

fn put_tuple(out: &mut Vec<u8>, mark: u8, cells: &[OwnedCell]) {
    out.push(mark);
    out.extend((cells.len() as u16).to_be_bytes());
    for cell in cells {
        match cell {
            OwnedCell::Null => out.push(b'n'),
            OwnedCell::Unchanged => out.push(b'u'),
            OwnedCell::Text(text) => {
                out.push(b't');
                out.extend((text.len() as u32).to_be_bytes());
                out.extend(text);
            }
        }
    }
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend(text);
    out.push(0);
}

fn encode(message: &Owned) -> Vec<u8> {
    let mut out = Vec::new();
    match message {
        Owned::Begin(lsn, time, xid) => {
            out.push(b'B');
            out.extend(lsn.to_be_bytes());
            out.extend(time.to_be_bytes());
            out.extend(xid.to_be_bytes());
        }
        Owned::Commit(flags, commit, end, time) => {
            out.extend([b'C', *flags]);
            out.extend(commit.to_be_bytes());
            out.extend(end.to_be_bytes());
            out.extend(time.to_be_bytes());
        }
        Owned::Origin(lsn, name) => {
            out.push(b'O');
            out.extend(lsn.to_be_bytes());
            put_text(&mut out, name);
        }
        Owned::Relation(relation) => {
            out.push(b'R');
            out.extend(relation.oid.to_be_bytes());
            put_text(&mut out, relation.schema.as_bytes());
            put_text(&mut out, relation.name.as_bytes());
            out.push(match relation.identity {
                ReplicaIdentity::Default => b'd',
                ReplicaIdentity::Nothing => b'n',
                ReplicaIdentity::Full => b'f',
                ReplicaIdentity::Index => b'i',
            });
            out.extend((relation.columns.len() as u16).to_be_bytes());
            for column in &relation.columns {
                out.push(u8::from(column.key));
                put_text(&mut out, column.name.as_bytes());
                out.extend(column.type_oid.to_be_bytes());
                out.extend(column.type_modifier.to_be_bytes());
            }
        }
        Owned::Type(oid, schema, name) => {
            out.push(b'Y');
            out.extend(oid.to_be_bytes());
            put_text(&mut out, schema.as_bytes());
            put_text(&mut out, name.as_bytes());
        }
        Owned::Insert(oid, new) => {
            out.push(b'I');
            out.extend(oid.to_be_bytes());
            put_tuple(&mut out, b'N', new);
        }
        Owned::Update(oid, old, new) => {
            out.push(b'U');
            out.extend(oid.to_be_bytes());
            if let Some((full, old)) = old {
                put_tuple(&mut out, if *full { b'O' } else { b'K' }, old);
            }
            put_tuple(&mut out, b'N', new);
        }
        Owned::Delete(oid, full, old) => {
            out.push(b'D');
            out.extend(oid.to_be_bytes());
            put_tuple(&mut out, if *full { b'O' } else { b'K' }, old);
        }
        Owned::Truncate(oids, cascade, restart) => {
            out.push(b'T');
            out.extend((oids.len() as u32).to_be_bytes());
            out.push(u8::from(*cascade) | u8::from(*restart) << 1);
            oids.iter().for_each(|oid| out.extend(oid.to_be_bytes()));
        }
        Owned::Logical(transactional, lsn, prefix, content) => {
            out.extend([b'M', u8::from(*transactional)]);
            out.extend(lsn.to_be_bytes());
            put_text(&mut out, prefix);
            out.extend((content.len() as u32).to_be_bytes());
            out.extend(content);
        }
    }
    out
}

fn same_cells(tuple: &Tuple<'_>, cells: &[OwnedCell]) -> bool {
    tuple.len() == cells.len()
        && tuple.cells().len() == cells.len()
        && tuple.cells().eq(cells.iter().map(OwnedCell::cell))
}

fn same(message: &Message<'_>, owned: &Owned) -> bool {
    let kind = |full: bool| if full { OldKind::Full } else { OldKind::Key };
    match (message, owned) {
        (Message::Begin { final_lsn, time_us, xid }, Owned::Begin(lsn, time, id)) => {
            (final_lsn.0, time_us, xid) == (*lsn, time, id)
        }
        (Message::Commit { flags, commit, end, time_us }, Owned::Commit(f, c, e, t)) => {
            (flags, commit, end, time_us) == (f, &Lsn(*c), &Lsn(*e), t)
        }
        (Message::Origin { commit, name }, Owned::Origin(lsn, n)) => commit.0 == *lsn && name == n,
        (Message::Relation(relation), Owned::Relation(expected)) => relation == expected,
        (Message::Type { oid, schema, name }, Owned::Type(o, s, n)) => {
            (oid, *schema, *name) == (o, s.as_str(), n.as_str())
        }
        (Message::Insert { oid, new }, Owned::Insert(o, cells)) => oid == o && same_cells(new, cells),
        (Message::Update { oid, old, new }, Owned::Update(o, before, cells)) => {
            let old_same = match (old, before) {
                (None, None) => true,
                (Some((k, tuple)), Some((full, cells))) => *k == kind(*full) && same_cells(tuple, cells),
                _ => false,
            };
            oid == o && old_same && same_cells(new, cells)
        }
        (Message::Delete { oid, kind: k, old }, Owned::Delete(o, full, cells)) => {
            oid == o && *k == kind(*full) && same_cells(old, cells)
        }
        (Message::Truncate { oids, cascade, restart }, Owned::Truncate(o, c, r)) => {
            oids.iter().eq(o.iter().copied()) && (cascade, restart) == (c, r)
        }
        (Message::Logical { transactional, lsn, prefix, content }, Owned::Logical(t, l, p, c)) => {
            (transactional, lsn.0, *prefix, *content) == (t, *l, p.as_slice(), c.as_slice())
        }
        _ => false,
    }
}

fn cells() -> impl Strategy<Value = Vec<OwnedCell>> {
    let cell = prop_oneof![
        Just(OwnedCell::Null),
        Just(OwnedCell::Unchanged),
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(OwnedCell::Text),
    ];
    proptest::collection::vec(cell, 0..8)
}

fn label() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(1u8..=255, 0..10)
}

fn relation() -> impl Strategy<Value = Relation> {
    let identity = prop_oneof![
        Just(ReplicaIdentity::Default),
        Just(ReplicaIdentity::Nothing),
        Just(ReplicaIdentity::Full),
        Just(ReplicaIdentity::Index),
    ];
    let column = ("[a-zä ]{1,8}", any::<u32>(), any::<i32>(), any::<bool>()).prop_map(
        |(name, type_oid, type_modifier, key)| RelationColumn { name, type_oid, type_modifier, key },
    );
    (any::<u32>(), "[a-z]{1,8}", "[a-zé]{0,8}", identity, proptest::collection::vec(column, 0..6))
        .prop_map(|(oid, schema, name, identity, columns)| Relation { oid, schema, name, identity, columns })
}

fn message() -> impl Strategy<Value = Owned> {
    prop_oneof![
        (any::<u64>(), any::<i64>(), any::<u32>()).prop_map(|(a, b, c)| Owned::Begin(a, b, c)),
        (any::<u8>(), any::<u64>(), any::<u64>(), any::<i64>())
            .prop_map(|(a, b, c, d)| Owned::Commit(a, b, c, d)),
        (any::<u64>(), label()).prop_map(|(a, b)| Owned::Origin(a, b)),
        relation().prop_map(Owned::Relation),
        (any::<u32>(), "[a-z]{1,5}", "[a-zß]{0,5}").prop_map(|(a, b, c)| Owned::Type(a, b, c)),
        (any::<u32>(), cells()).prop_map(|(a, b)| Owned::Insert(a, b)),
        (any::<u32>(), proptest::option::of((any::<bool>(), cells())), cells())
            .prop_map(|(a, b, c)| Owned::Update(a, b, c)),
        (any::<u32>(), any::<bool>(), cells()).prop_map(|(a, b, c)| Owned::Delete(a, b, c)),
        (proptest::collection::vec(any::<u32>(), 0..5), any::<bool>(), any::<bool>())
            .prop_map(|(a, b, c)| Owned::Truncate(a, b, c)),
        (any::<bool>(), any::<u64>(), label(), proptest::collection::vec(any::<u8>(), 0..20))
            .prop_map(|(a, b, c, d)| Owned::Logical(a, b, c, d)),
    ]
}

proptest! {
    #[test]
    fn message_comes_back_as_it_was_encoded(owned in message()) {
        let bytes = encode(&owned);
        let decoded = decode(&bytes).unwrap();
        prop_assert!(same(&decoded, &owned), "{decoded:?}");
    }

    #[test]
    fn message_cut_at_any_length_or_followed_by_anything_is_an_error(owned in message()) {
        let mut bytes = encode(&owned);
        for end in 0..bytes.len() {
            prop_assert!(decode(&bytes[..end]).is_err(), "{end}");
        }
        bytes.push(b'n');
        let trailing = matches!(decode(&bytes), Err(Error::Trailing { extra: 1, .. }));
        prop_assert!(trailing);
    }

    #[test]
    fn any_bytes_are_decoded_or_refused_without_a_panic(
        kind in prop_oneof![proptest::sample::select(&b"BCORYIUDTM"[..]), any::<u8>()],
        bytes in proptest::collection::vec(prop_oneof![Just(0u8), proptest::sample::select(&b"NKOtnub"[..]), any::<u8>()], 0..60),
    ) {
        let mut all = vec![kind];
        all.extend(bytes);
        if let Ok(Message::Insert { new, .. }) = decode(&all) {
            prop_assert_eq!(new.cells().count(), new.len());
        }
        let _ = row_oid(&all);
    }

    #[test]
    fn damaged_message_is_decoded_or_refused_without_a_panic(
        owned in message(),
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = encode(&owned);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = decode(&bytes);
    }
}

#[test]
fn binary_value_is_refused_and_said_to_be_one() {
    let error = decode(b"I\0\0\0\x01N\0\x01b\0\0\0\x01x").unwrap_err();
    assert!(error.to_string().contains("binary"), "{error}");
}

#[test]
fn claimed_length_of_four_gigabytes_is_an_error_and_no_allocation() {
    assert!(decode(b"I\0\0\0\x01N\0\x01t\xff\xff\xff\xffx").is_err());
    assert!(decode(b"T\xff\xff\xff\xff\0\0\0\0\x01").is_err());
    assert!(decode(b"M\0\0\0\0\0\0\0\0\x01p\0\xff\xff\xff\xff").is_err());
    assert!(decode(b"R\0\0\0\x01s\0t\0d\xff\xff").is_err());
}

#[test]
fn messages_of_later_protocols_and_empty_ones_are_refused() {
    for byte in *b"ScEAbPKrp" {
        assert_eq!(decode(&[byte, 0, 0, 0, 1]), Err(Error::UnknownKind(byte)));
    }
    assert_eq!(decode(b""), Err(Error::Empty));
    assert_eq!(kind(b""), None);
}

#[test]
fn oid_of_a_row_is_seen_without_decoding_it() {
    for (message, expected) in [
        (&b"I\0\0\x01\x02N"[..], Some(258)),
        (b"D\0\0\0\x01", Some(1)),
        (b"U\0\0\0", None),
        (b"B\0\0\0\x01", None),
    ] {
        assert_eq!(row_oid(message), expected, "{}", message.escape_ascii());
    }
}

#[test]
fn schema_without_a_name_is_pg_catalog() {
    let Ok(Message::Relation(relation)) = decode(b"R\0\0\0\x01\0t\0d\0\0") else { panic!() };
    assert_eq!(relation.schema, "pg_catalog");
}

/// Not a test of behaviour: `cargo test --release throughput -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn throughput_of_decoding_and_walking_rows() {
    let cell = |text: &str| OwnedCell::Text(text.as_bytes().to_vec());
    let row = vec![
        cell("1234567"),
        cell("42"),
        cell("shipped"),
        OwnedCell::Null,
        cell("199.90"),
        cell("2026-11-21 04:05:06.789012+00"),
        cell("a note of the usual length"),
    ];
    let messages = [
        encode(&Owned::Insert(16400, row.clone())),
        encode(&Owned::Update(16400, None, row.clone())),
        encode(&Owned::Delete(16400, false, row)),
    ];
    let (rounds, mut bytes) = (3_000_000, 0);
    let begin = std::time::Instant::now();
    for round in 0..rounds {
        let tuple = match decode(std::hint::black_box(&messages[round % 3])).unwrap() {
            Message::Insert { new, .. } | Message::Update { new, .. } => new,
            Message::Delete { old, .. } => old,
            _ => unreachable!(),
        };
        for cell in tuple.cells() {
            bytes += std::hint::black_box(cell).text().map_or(0, <[u8]>::len);
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!("{:.1} M rows/s, {bytes} bytes of text", f64::from(rounds as u32) / seconds / 1e6);
}
