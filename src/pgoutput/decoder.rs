//! Reads pgoutput messages. Lengths are checked once, when a message is read; walking the cells of a tuple
//! afterwards neither fails nor allocates.

use super::message::{Message, OldKind};
use crate::model::{Cell, Lsn, Relation, RelationColumn, ReplicaIdentity};

/// A message is not what the protocol says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} message: {reason}")]
pub struct Error {
    pub message: &'static str,
    pub reason: &'static str,
}

/// The cells of a row, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple<'a> {
    columns: u16,
    cells: &'a [u8],
}

impl<'a> Tuple<'a> {
    /// How many cells there are.
    pub fn len(&self) -> usize {
        usize::from(self.columns)
    }

    pub fn is_empty(&self) -> bool {
        self.columns == 0
    }

    /// In the order of the relation's columns.
    pub fn cells(&self) -> impl Iterator<Item = Cell<'a>> + use<'a> {
        let mut rest = self.cells;
        std::iter::from_fn(move || {
            let (kind, after) = rest.split_first()?;
            match kind {
                b'n' => {
                    rest = after;
                    Some(Cell::Null)
                }
                b'u' => {
                    rest = after;
                    Some(Cell::Unchanged)
                }
                _ => {
                    let (length, after) = after.split_first_chunk::<4>()?;
                    let (text, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
                    rest = after;
                    Some(Cell::Text(text))
                }
            }
        })
    }
}

/// Takes bytes off the front of a message.
struct Bytes<'a> {
    message: &'static str,
    rest: &'a [u8],
}

impl<'a> Bytes<'a> {
    fn error<T>(&self, reason: &'static str) -> Result<T, Error> {
        Err(Error { message: self.message, reason })
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let Some((head, rest)) = self.rest.split_first_chunk::<N>() else {
            return self.error("it ends too early");
        };
        self.rest = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, Error> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, Error> {
        self.take().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Error> {
        self.take().map(u32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, Error> {
        self.take().map(i64::from_be_bytes)
    }

    fn lsn(&mut self) -> Result<Lsn, Error> {
        self.take().map(u64::from_be_bytes).map(Lsn)
    }

    fn text(&mut self) -> Result<&'a str, Error> {
        let Some(end) = self.rest.iter().position(|byte| *byte == 0) else {
            return self.error("a text has no end");
        };
        let (text, rest) = self.rest.split_at(end);
        self.rest = &rest[1..];
        std::str::from_utf8(text).or_else(|_| self.error("a name is not UTF-8"))
    }

    fn tuple(&mut self) -> Result<Tuple<'a>, Error> {
        let columns = self.u16()?;
        let cells = self.rest;
        for _ in 0..columns {
            match self.u8()? {
                b'n' | b'u' => {}
                b't' => {
                    let length = self.u32()? as usize;
                    let Some((_, rest)) = self.rest.split_at_checked(length) else {
                        return self.error("a cell ends too early");
                    };
                    self.rest = rest;
                }
                b'b' => return self.error("a cell is binary; text was asked for"),
                _ => return self.error("a cell is of an unknown kind"),
            }
        }
        Ok(Tuple { columns, cells: &cells[..cells.len() - self.rest.len()] })
    }

    fn end(&self) -> Result<(), Error> {
        if self.rest.is_empty() { Ok(()) } else { self.error("bytes are left over") }
    }
}

/// Reads one message.
///
/// # Errors
/// Anything that protocol version 1 in text format does not allow.
pub fn decode(message: &[u8]) -> Result<Message<'_>, Error> {
    let Some((kind, rest)) = message.split_first() else {
        return Err(Error { message: "empty", reason: "there is nothing in it" });
    };
    let mut bytes = Bytes { message: name(*kind), rest };
    let decoded = match kind {
        b'B' => Message::Begin { final_lsn: bytes.lsn()?, time_us: bytes.i64()?, xid: bytes.u32()? },
        b'C' => {
            bytes.u8()?; // flags: none are defined
            Message::Commit { commit: bytes.lsn()?, end: bytes.lsn()?, time_us: bytes.i64()? }
        }
        b'O' => {
            let lsn = bytes.lsn()?;
            bytes.text()?;
            Message::Origin { lsn }
        }
        b'R' => Message::Relation(relation(&mut bytes)?),
        b'Y' => Message::Type { oid: bytes.u32()?, schema: bytes.text()?, name: bytes.text()? },
        b'I' => {
            let oid = bytes.u32()?;
            match bytes.u8()? {
                b'N' => Message::Insert { oid, new: bytes.tuple()? },
                _ => return bytes.error("there is no new row"),
            }
        }
        b'U' => update(&mut bytes)?,
        b'D' => {
            let oid = bytes.u32()?;
            let kind = match bytes.u8()? {
                b'K' => OldKind::Key,
                b'O' => OldKind::Full,
                _ => return bytes.error("there is no old row"),
            };
            Message::Delete { oid, kind, old: bytes.tuple()? }
        }
        b'T' => {
            let count = bytes.u32()?;
            let flags = bytes.u8()?;
            if bytes.rest.len() != count as usize * 4 {
                return bytes.error("it names another number of relations");
            }
            let mut oids = Vec::with_capacity(count as usize); // bounded by the message's own length, above
            for _ in 0..count {
                oids.push(bytes.u32()?);
            }
            Message::Truncate { oids, cascade: flags & 1 != 0, restart_identity: flags & 2 != 0 }
        }
        b'M' => {
            let transactional = bytes.u8()? & 1 != 0;
            let lsn = bytes.lsn()?;
            let prefix = bytes.text()?;
            let length = bytes.u32()? as usize;
            if bytes.rest.len() != length {
                return bytes.error("its content has another length");
            }
            Message::Logical { transactional, lsn, prefix, content: std::mem::take(&mut bytes.rest) }
        }
        _ => return bytes.error("it is not of protocol version 1"),
    };
    bytes.end()?;
    Ok(decoded)
}

fn update<'a>(bytes: &mut Bytes<'a>) -> Result<Message<'a>, Error> {
    let oid = bytes.u32()?;
    let mut old = None;
    let mut kind = bytes.u8()?;
    if let b'K' | b'O' = kind {
        let old_kind = if kind == b'K' { OldKind::Key } else { OldKind::Full };
        old = Some((old_kind, bytes.tuple()?));
        kind = bytes.u8()?;
    }
    if kind != b'N' {
        return bytes.error("there is no new row");
    }
    Ok(Message::Update { oid, old, new: bytes.tuple()? })
}

fn relation(bytes: &mut Bytes<'_>) -> Result<Relation, Error> {
    let oid = bytes.u32()?;
    let schema = match bytes.text()? {
        "" => "pg_catalog".to_owned(), // sent as nothing, to save bytes
        schema => schema.to_owned(),
    };
    let name = bytes.text()?.to_owned();
    let identity = match bytes.u8()? {
        b'd' => ReplicaIdentity::Default,
        b'n' => ReplicaIdentity::Nothing,
        b'f' => ReplicaIdentity::Full,
        b'i' => ReplicaIdentity::Index,
        _ => return bytes.error("its replica identity is unknown"),
    };
    let count = bytes.u16()?;
    let mut columns = Vec::new();
    for _ in 0..count {
        columns.push(RelationColumn {
            key: bytes.u8()? & 1 != 0,
            name: bytes.text()?.to_owned(),
            type_oid: bytes.u32()?,
            type_modifier: bytes.u32()? as i32,
        });
    }
    Ok(Relation { oid, schema, name, identity, columns })
}

/// For errors and for the `journal` command.
pub fn name(kind: u8) -> &'static str {
    match kind {
        b'B' => "BEGIN",
        b'C' => "COMMIT",
        b'O' => "ORIGIN",
        b'R' => "RELATION",
        b'Y' => "TYPE",
        b'I' => "INSERT",
        b'U' => "UPDATE",
        b'D' => "DELETE",
        b'T' => "TRUNCATE",
        b'M' => "MESSAGE",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tuple(cells: &[Cell<'_>]) -> Vec<u8> {
        let mut bytes = (cells.len() as u16).to_be_bytes().to_vec();
        for cell in cells {
            match cell {
                Cell::Null => bytes.push(b'n'),
                Cell::Unchanged => bytes.push(b'u'),
                Cell::Text(text) => {
                    bytes.push(b't');
                    bytes.extend_from_slice(&(text.len() as u32).to_be_bytes());
                    bytes.extend_from_slice(text);
                }
            }
        }
        bytes
    }

    fn samples() -> Vec<Vec<u8>> {
        let row = tuple(&[Cell::Text(b"1"), Cell::Null, Cell::Unchanged]);
        let key = tuple(&[Cell::Text(b"0"), Cell::Null, Cell::Null]);
        let oid = 9u32.to_be_bytes();
        let lsn = 5u64.to_be_bytes();
        vec![
            [&b"B"[..], &lsn, &lsn, &oid].concat(),
            [&b"C\0"[..], &lsn, &lsn, &lsn].concat(),
            [&b"O"[..], &lsn, b"origin\0"].concat(),
            [&b"R"[..], &oid, b"public\0orders\0d\0\x01\x01id\0", &oid, &oid].concat(),
            [&b"Y"[..], &oid, b"public\0mood\0"].concat(),
            [&b"I"[..], &oid, b"N", &row].concat(),
            [&b"U"[..], &oid, b"K", &key, b"N", &row].concat(),
            [&b"U"[..], &oid, b"N", &row].concat(),
            [&b"D"[..], &oid, b"O", &row].concat(),
            [&b"T"[..], &1u32.to_be_bytes(), b"\x01", &oid].concat(),
            [&b"M\0"[..], &lsn, b"projectord\0", &3u32.to_be_bytes(), b"abc"].concat(),
        ]
    }

    #[test]
    fn every_kind_is_read_and_refused_when_cut_short_or_too_long() {
        for sample in samples() {
            assert!(decode(&sample).is_ok(), "{sample:?}");
            for end in 0..sample.len() {
                assert!(decode(&sample[..end]).is_err(), "{:?}", &sample[..end]);
            }
            assert!(decode(&[&sample[..], b"x"].concat()).is_err(), "{sample:?}");
        }
    }

    #[test]
    fn update_with_a_changed_key_has_both_rows() {
        let sample = &samples()[6];
        let Message::Update { oid: 9, old: Some((OldKind::Key, old)), new } = decode(sample).unwrap() else {
            panic!("not an update");
        };
        assert_eq!(old.cells().next(), Some(Cell::Text(b"0")));
        assert_eq!(new.cells().collect::<Vec<_>>(), [Cell::Text(b"1"), Cell::Null, Cell::Unchanged]);
    }

    #[test]
    fn binary_cells_are_refused() {
        let message = [&b"I"[..], &9u32.to_be_bytes(), b"N\0\x01b", &1u32.to_be_bytes(), b"x"].concat();
        assert!(decode(&message).is_err());
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn damaged_samples_never_panic(which in 0usize..11, at in 0usize..40, byte: u8) {
            let mut sample = samples()[which].clone();
            let at = at % sample.len();
            sample[at] = byte;
            if let Ok(Message::Insert { new, .. }) = decode(&sample) {
                prop_assert_eq!(new.cells().count(), new.len());
            }
        }
    }
}
