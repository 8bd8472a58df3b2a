//! Bytes to [`Message`]. The hot path of everything: no allocation but for a Relation's names.

use super::cursor::Cursor;
use super::error::Error;
use super::message::{Message, Oids, OldKind};
use super::tuple::Tuple;
use crate::model::{Relation, RelationColumn, ReplicaIdentity};

/// Columns that a table can have (PostgreSQL's MaxHeapAttributeNumber).
pub const COLUMNS_MAX: usize = 1600;

/// The first byte of a message, which says its kind: `B`egin, `C`ommit, `O`rigin, `R`elation, t`Y`pe,
/// `I`nsert, `U`pdate, `D`elete, `T`runcate, logical `M`essage.
#[inline]
pub fn kind(message: &[u8]) -> Option<u8> {
    message.first().copied()
}

/// The table of an insert, update or delete, without decoding its row; nothing for other kinds.
#[inline]
pub fn row_oid(message: &[u8]) -> Option<u32> {
    let ([b'I' | b'U' | b'D'], rest) = message.split_first_chunk::<1>()? else { return None };
    rest.first_chunk::<4>().map(|oid| u32::from_be_bytes(*oid))
}

/// Decodes one message (the payload of an XLogData frame). All of it is checked: what is returned can be
/// walked without failing.
///
/// # Errors
/// Kinds that protocol version 1 does not have, a message cut short or with bytes behind it, binary values
/// (we ask for text), names that are not UTF-8.
#[inline]
pub fn decode(bytes: &[u8]) -> Result<Message<'_>, Error> {
    let (kind, body) = bytes.split_first().ok_or(Error::Empty)?;
    let (message, cursor) = match kind {
        b'I' => insert(Cursor::new("insert", body))?,
        b'U' => update(Cursor::new("update", body))?,
        b'D' => delete(Cursor::new("delete", body))?,
        b'B' => begin(Cursor::new("begin", body))?,
        b'C' => commit(Cursor::new("commit", body))?,
        b'R' => relation(Cursor::new("relation", body))?,
        b'Y' => type_name(Cursor::new("type", body))?,
        b'T' => truncate(Cursor::new("truncate", body))?,
        b'M' => logical(Cursor::new("logical", body))?,
        b'O' => origin(Cursor::new("origin", body))?,
        other => return Err(Error::UnknownKind(*other)),
    };
    cursor.end()?;
    Ok(message)
}

type Decoded<'a> = Result<(Message<'a>, Cursor<'a>), Error>;

#[inline]
fn insert(mut cursor: Cursor<'_>) -> Decoded<'_> {
    let oid = cursor.u32()?;
    if cursor.u8()? != b'N' {
        return Err(cursor.malformed("no mark of a new row before what stands"));
    }
    let new = Tuple::take(&mut cursor)?;
    Ok((Message::Insert { oid, new }, cursor))
}

#[inline]
fn update(mut cursor: Cursor<'_>) -> Decoded<'_> {
    let oid = cursor.u32()?;
    let mut mark = cursor.u8()?;
    let mut old = None;
    if let Some(kind) = old_kind(mark) {
        old = Some((kind, Tuple::take(&mut cursor)?));
        mark = cursor.u8()?;
    }
    if mark != b'N' {
        return Err(cursor.malformed("no mark of a new row before what stands"));
    }
    let new = Tuple::take(&mut cursor)?;
    Ok((Message::Update { oid, old, new }, cursor))
}

#[inline]
fn delete(mut cursor: Cursor<'_>) -> Decoded<'_> {
    let oid = cursor.u32()?;
    let mark = cursor.u8()?;
    let kind = old_kind(mark).ok_or_else(|| cursor.malformed("no mark of an old row before what stands"))?;
    let old = Tuple::take(&mut cursor)?;
    Ok((Message::Delete { oid, kind, old }, cursor))
}

fn old_kind(mark: u8) -> Option<OldKind> {
    match mark {
        b'K' => Some(OldKind::Key),
        b'O' => Some(OldKind::Full),
        _ => None,
    }
}

fn begin(mut cursor: Cursor<'_>) -> Decoded<'_> {
    let message = Message::Begin { final_lsn: cursor.lsn()?, time_us: cursor.i64()?, xid: cursor.u32()? };
    Ok((message, cursor))
}

fn commit(mut cursor: Cursor<'_>) -> Decoded<'_> {
    let message = Message::Commit {
        flags: cursor.u8()?,
        commit: cursor.lsn()?,
        end: cursor.lsn()?,
        time_us: cursor.i64()?,
    };
    Ok((message, cursor))
}

fn origin(mut cursor: Cursor<'_>) -> Decoded<'_> {
    let message = Message::Origin { commit: cursor.lsn()?, name: cursor.terminated()? };
    Ok((message, cursor))
}

fn relation(mut cursor: Cursor<'_>) -> Decoded<'_> {
    let oid = cursor.u32()?;
    let schema = match cursor.name()? {
        // The stream's way to write the one schema that every server has.
        "" => "pg_catalog",
        schema => schema,
    };
    let name = cursor.name()?;
    let identity = match cursor.u8()? {
        b'd' => ReplicaIdentity::Default,
        b'n' => ReplicaIdentity::Nothing,
        b'f' => ReplicaIdentity::Full,
        b'i' => ReplicaIdentity::Index,
        _ => return Err(cursor.malformed("an unknown replica identity before what stands")),
    };
    let count = usize::from(cursor.u16()?);
    if count > COLUMNS_MAX {
        return Err(cursor.malformed("more columns than a table can have"));
    }
    let mut columns = Vec::with_capacity(count);
    for _ in 0..count {
        columns.push(RelationColumn {
            key: cursor.u8()? & 1 != 0,
            name: cursor.name()?.to_owned(),
            type_oid: cursor.u32()?,
            type_modifier: cursor.i32()?,
        });
    }
    let relation = Relation { oid, schema: schema.to_owned(), name: name.to_owned(), identity, columns };
    Ok((Message::Relation(relation), cursor))
}

fn type_name(mut cursor: Cursor<'_>) -> Decoded<'_> {
    let oid = cursor.u32()?;
    let schema = match cursor.name()? {
        "" => "pg_catalog",
        schema => schema,
    };
    let message = Message::Type { oid, schema, name: cursor.name()? };
    Ok((message, cursor))
}

fn truncate(mut cursor: Cursor<'_>) -> Decoded<'_> {
    let count = cursor.u32()? as usize;
    let options = cursor.u8()?;
    // More oids than bytes cannot be; asked in this order, no product can overflow.
    let (oids, _) = cursor.rest().as_chunks::<4>();
    let oids = oids.get(..count).ok_or_else(|| cursor.truncated())?;
    cursor.bytes(oids.len() * 4)?;
    let oids = Oids { oids };
    Ok((Message::Truncate { oids, cascade: options & 1 != 0, restart: options & 2 != 0 }, cursor))
}

fn logical(mut cursor: Cursor<'_>) -> Decoded<'_> {
    let transactional = cursor.u8()? & 1 != 0;
    let lsn = cursor.lsn()?;
    let prefix = cursor.terminated()?;
    let length = cursor.u32()? as usize;
    let content = cursor.bytes(length)?;
    Ok((Message::Logical { transactional, lsn, prefix, content }, cursor))
}

#[cfg(test)]
#[path = "decoder_tests.rs"]
mod tests;
