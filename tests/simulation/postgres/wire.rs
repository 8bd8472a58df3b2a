//! Deeds as the bytes of pgoutput, protocol version 1 (PostgreSQL docs, "Logical Replication Message Formats").

use bytes::Bytes;
use fastrand::Rng;
use projectord::model::Lsn;

use super::Deed;
use crate::schema::{Row, Schema, Table};

pub fn begin(start: Lsn, xid: u32, number: i64) -> Bytes {
    [&b"B"[..], &start.0.to_be_bytes(), &number.to_be_bytes(), &xid.to_be_bytes()].concat().into()
}

pub fn commit(start: Lsn, end: Lsn, number: i64) -> Bytes {
    [&b"C\0"[..], &start.0.to_be_bytes(), &end.0.to_be_bytes(), &number.to_be_bytes()].concat().into()
}

pub fn marker(prefix: &str, content: &str, at: Lsn) -> Bytes {
    let length = (content.len() as u32).to_be_bytes();
    [&b"M\0"[..], &at.0.to_be_bytes(), prefix.as_bytes(), b"\0", &length, content.as_bytes()].concat().into()
}

/// A message that means nothing to us.
pub fn origin() -> Bytes {
    [&b"O"[..], &7u64.to_be_bytes(), b"elsewhere\0"].concat().into()
}

/// The order in which a connection names and sends the columns of a table: each has one of its own, as leaves and
/// tables whose columns were dropped and made again have. Whoever still believes the last connection's decodes
/// rows by another layout.
#[derive(Clone, Copy, Debug)]
pub struct Layout(pub u64);

impl Layout {
    fn columns(self, table: &Table) -> Vec<usize> {
        let mut order: Vec<usize> = (0..table.columns.len()).collect();
        Rng::with_seed(self.0).shuffle(&mut order);
        order
    }
}

pub fn relation(schema: &Schema, oid: u32, layout: Layout) -> Bytes {
    let table = &schema.tables[schema.table_of(oid)];
    let mut bytes = [&b"R"[..], &oid.to_be_bytes(), b"public\0", table.name.as_bytes(), b"\0d"].concat();
    bytes.extend((table.columns.len() as u16).to_be_bytes());
    for position in layout.columns(table) {
        let column = &table.columns[position];
        bytes.push(u8::from(table.key.contains(&position)));
        bytes.extend_from_slice(column.name.as_bytes());
        bytes.push(0);
        bytes.extend(column.domain.type_oid().to_be_bytes());
        bytes.extend((-1i32).to_be_bytes());
    }
    bytes.into()
}

/// The relations that a deed names.
pub fn named(schema: &Schema, deed: &Deed) -> Vec<u32> {
    match deed {
        Deed::Insert(table, row) | Deed::Update(table, row, _) | Deed::Delete(table, row) => {
            vec![schema.oid_of(*table, &schema.tables[*table].key_of(row))]
        }
        Deed::Truncate(oids) => oids.clone(),
    }
}

pub fn deed(schema: &Schema, deed: &Deed, layout: Layout) -> Bytes {
    let oid = named(schema, deed).first().copied().unwrap_or_default().to_be_bytes();
    let order = |table: usize| layout.columns(&schema.tables[table]);
    match deed {
        Deed::Insert(table, new) => [&b"I"[..], &oid, b"N", &tuple(new, &order(*table), |_| true)].concat(),
        Deed::Delete(table, old) => {
            [&b"D"[..], &oid, b"K", &key(&schema.tables[*table], old, &order(*table))].concat()
        }
        Deed::Update(table, old, new) => {
            let order = order(*table);
            let table = &schema.tables[*table];
            let carried = |column: usize| !(table.is_toasted(column, new) && old[column] == new[column]);
            // The old key comes when it changed, and when it is out of line.
            let old_too =
                table.key.iter().any(|column| old[*column] != new[*column] || table.is_toasted(*column, new));
            let old = if old_too { [&b"K"[..], &key(table, old, &order)].concat() } else { Vec::new() };
            [&b"U"[..], &oid, &old, b"N", &tuple(new, &order, carried)].concat()
        }
        Deed::Truncate(oids) => {
            let mut bytes = [&b"T"[..], &(oids.len() as u32).to_be_bytes(), &[0]].concat();
            oids.iter().for_each(|oid| bytes.extend(oid.to_be_bytes()));
            bytes
        }
    }
    .into()
}

fn key(table: &Table, row: &Row, order: &[usize]) -> Vec<u8> {
    let only = row.iter().enumerate().map(|(at, cell)| cell.clone().filter(|_| table.key.contains(&at)));
    tuple(&only.collect(), order, |_| true)
}

fn tuple(row: &Row, order: &[usize], carried: impl Fn(usize) -> bool) -> Vec<u8> {
    let mut bytes = (row.len() as u16).to_be_bytes().to_vec();
    for column in order {
        match &row[*column] {
            None => bytes.push(b'n'),
            Some(_) if !carried(*column) => bytes.push(b'u'),
            Some(text) => {
                bytes.push(b't');
                bytes.extend((text.len() as u32).to_be_bytes());
                bytes.extend_from_slice(text.as_bytes());
            }
        }
    }
    bytes
}

/// A row as a line of COPY's text format.
pub fn line(row: &Row) -> String {
    let cells = row.iter().map(|cell| match cell {
        None => "\\N".to_owned(),
        Some(text) => text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n"),
    });
    cells.collect::<Vec<_>>().join("\t") + "\n"
}
