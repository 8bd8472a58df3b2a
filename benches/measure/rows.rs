//! Rows of the shop as the replication stream carries them, made up in memory.

use projectord::journal::Kind;
use projectord::journal::entry::{Commit, Record, put_message};
use projectord::model::{ColumnKind, EntryNo, Lsn, Table};

/// One row's columns: nothing is NULL.
pub type Values = Vec<Option<String>>;

/// Relation message (PostgreSQL docs, "Logical Replication Message Formats").
pub fn relation(table: &Table) -> Vec<u8> {
    let mut out = vec![b'R'];
    out.extend_from_slice(&table.oid.to_be_bytes());
    for name in [&table.schema, &table.name] {
        out.extend_from_slice(name.as_bytes());
        out.push(0);
    }
    out.push(b'd');
    out.extend_from_slice(&(table.columns.len() as u16).to_be_bytes());
    for column in &table.columns {
        out.push(u8::from(table.key.contains(&column.name)));
        out.extend_from_slice(column.name.as_bytes());
        out.push(0);
        out.extend_from_slice(&column.type_oid.to_be_bytes());
        out.extend_from_slice(&column.type_modifier.to_be_bytes());
    }
    out
}

pub fn insert(table: &Table, values: &Values) -> Vec<u8> {
    let mut out = head(b'I', table);
    out.push(b'N');
    tuple(&mut out, values.iter().map(Option::as_deref));
    out
}

/// `before` is the old row when the key changes.
pub fn update(table: &Table, before: Option<&Values>, values: &Values) -> Vec<u8> {
    let mut out = head(b'U', table);
    if let Some(before) = before {
        out.push(b'K');
        let of_key = |(column, value): (&projectord::model::Column, &'_ Option<String>)| {
            value.as_deref().filter(|_| table.key.contains(&column.name)).map(str::to_owned)
        };
        let key: Vec<_> = table.columns.iter().zip(before).map(of_key).collect();
        tuple(&mut out, key.iter().map(Option::as_deref));
    }
    out.push(b'N');
    tuple(&mut out, values.iter().map(Option::as_deref));
    out
}

fn head(kind: u8, table: &Table) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.push(kind);
    out.extend_from_slice(&table.oid.to_be_bytes());
    out
}

fn tuple<'a>(out: &mut Vec<u8>, values: impl ExactSizeIterator<Item = Option<&'a str>>) {
    out.extend_from_slice(&(values.len() as u16).to_be_bytes());
    for value in values {
        match value {
            None => out.push(b'n'),
            Some(text) => {
                out.push(b't');
                out.extend_from_slice(&(text.len() as u32).to_be_bytes());
                out.extend_from_slice(text.as_bytes());
            }
        }
    }
}

/// A row: what is given, and something plausible of the column's kind for the rest.
pub fn row(table: &Table, seed: u64, given: &[(&str, String)]) -> Values {
    let column = |column: &projectord::model::Column| {
        if let Some((_, value)) = given.iter().find(|(name, _)| *name == column.name) {
            return Some(value.clone()).filter(|value| !value.is_empty());
        }
        Some(match &column.kind {
            ColumnKind::Bool => "f".to_owned(),
            ColumnKind::Int => (seed % 97).to_string(),
            ColumnKind::Numeric => format!("{}.{:02}", seed % 500, seed % 100),
            ColumnKind::Float4 | ColumnKind::Float8 => "1.5".to_owned(),
            ColumnKind::Date => "2001-02-03".to_owned(),
            ColumnKind::Timestamp => "2026-05-01 10:11:12.131415".to_owned(),
            ColumnKind::Timestamptz => "2026-05-01 10:11:12.131415+00".to_owned(),
            ColumnKind::Uuid => format!("{:08x}-0000-4000-8000-{:012x}", seed as u32, seed),
            ColumnKind::Json | ColumnKind::Jsonb => r#"{"channel": "web", "campaign": null}"#.to_owned(),
            ColumnKind::Array(_) => "{jacket,wool}".to_owned(),
            ColumnKind::Bpchar => "DE".to_owned(),
            _ => format!("{} {} of the shop", column.name, seed),
        })
    };
    table.columns.iter().map(column).collect()
}

/// A committed transaction as an entry of the journal.
pub fn transaction(number: EntryNo, messages: &[Vec<u8>]) -> Record {
    let commit = Commit {
        commit: Lsn(number.0 * 100),
        end: Lsn(number.0 * 100 + 50),
        time_us: number.0 as i64,
        xid: number.0 as u32,
        rows: messages.len() as u32,
        first: number,
    };
    let mut payload = commit.encode().to_vec();
    for message in messages {
        put_message(&mut payload, message);
    }
    Record { number, kind: Kind::Transaction, payload: payload.into() }
}
