//! Deeds as the bytes of pgoutput, protocol version 1 (PostgreSQL docs, "Logical Replication Message Formats").

use bytes::Bytes;

use super::database::{Deed, Domain, TABLES, Texts, oid_of, oids};
use crate::model::Lsn;

pub fn begin(end: Lsn) -> Bytes {
    [&b"B"[..], &(end.0 - 1).to_be_bytes(), &0i64.to_be_bytes(), &7u32.to_be_bytes()].concat().into()
}

pub fn commit(end: Lsn) -> Bytes {
    [&b"C\0"[..], &(end.0 - 1).to_be_bytes(), &end.0.to_be_bytes(), &(end.0 as i64).to_be_bytes()]
        .concat()
        .into()
}

pub fn marker(nonce: &str, at: Lsn) -> Bytes {
    let length = (nonce.len() as u32).to_be_bytes();
    [&b"M\0"[..], &at.0.to_be_bytes(), b"projectord\0", &length, nonce.as_bytes()].concat().into()
}

pub fn relation(oid: u32) -> Bytes {
    let table = &TABLES[table_of(oid)];
    let mut bytes = [&b"R"[..], &oid.to_be_bytes(), b"public\0", table.name.as_bytes(), b"\0d"].concat();
    bytes.extend((table.columns.len() as u16).to_be_bytes());
    for (column, (name, _)) in table.columns.iter().enumerate() {
        bytes.push(u8::from(table.key.contains(&column)));
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(0);
        bytes.extend(0u32.to_be_bytes());
        bytes.extend((-1i32).to_be_bytes());
    }
    bytes.into()
}

pub fn table_of(oid: u32) -> usize {
    (0..TABLES.len()).find(|table| oids(*table).contains(&oid)).expect("an oid of a table")
}

/// The relations that a deed names.
pub fn named(deed: &Deed) -> Vec<u32> {
    match deed {
        Deed::Insert(table, row) | Deed::Update(table, row, _) | Deed::Delete(table, row) => {
            vec![oid_of(*table, &super::database::key_of(*table, row))]
        }
        Deed::Truncate(oids) => oids.clone(),
    }
}

pub fn deed(deed: &Deed) -> Bytes {
    let oid = named(deed).first().copied().unwrap_or_default().to_be_bytes();
    match deed {
        Deed::Insert(_, new) => [&b"I"[..], &oid, b"N", &tuple(new, |_| Some(()))].concat(),
        Deed::Delete(table, old) => [&b"D"[..], &oid, b"K", &key(*table, old)].concat(),
        Deed::Update(table, old, new) => {
            let toasted = |column: usize| is_toasted(*table, column, new) && old[column] == new[column];
            let keys = TABLES[*table].key;
            let carried = |column: usize| (!toasted(column)).then_some(());
            // The old key comes when it changed, and when it is out of line.
            let old_too =
                keys.iter().any(|column| old[*column] != new[*column] || is_toasted(*table, *column, new));
            let old = if old_too { [&b"K"[..], &key(*table, old)].concat() } else { Vec::new() };
            [&b"U"[..], &oid, &old, b"N", &tuple(new, carried)].concat()
        }
        Deed::Truncate(oids) => {
            let mut bytes = [&b"T"[..], &(oids.len() as u32).to_be_bytes(), &[0]].concat();
            oids.iter().for_each(|oid| bytes.extend(oid.to_be_bytes()));
            bytes
        }
    }
    .into()
}

fn is_toasted(table: usize, column: usize, row: &Texts) -> bool {
    let Some(text) = &row[column] else { return false };
    TABLES[table].columns[column].1 == Domain::Toast || text.len() > 100
}

fn key(table: usize, row: &Texts) -> Vec<u8> {
    let only: Texts = row
        .iter()
        .enumerate()
        .map(|(at, cell)| cell.clone().filter(|_| TABLES[table].key.contains(&at)))
        .collect();
    tuple(&only, |_| Some(()))
}

fn tuple(row: &Texts, carried: impl Fn(usize) -> Option<()>) -> Vec<u8> {
    let mut bytes = (row.len() as u16).to_be_bytes().to_vec();
    for (column, cell) in row.iter().enumerate() {
        match (cell, carried(column)) {
            (None, _) => bytes.push(b'n'),
            (_, None) => bytes.push(b'u'),
            (Some(text), _) => {
                bytes.push(b't');
                bytes.extend((text.len() as u32).to_be_bytes());
                bytes.extend_from_slice(text.as_bytes());
            }
        }
    }
    bytes
}
