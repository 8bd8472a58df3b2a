//! The cells of one row, walked where they lie.

use std::fmt;

use super::cursor::Cursor;
use super::error::Error;
use crate::model::Cell;

/// TupleData (PostgreSQL docs, "Logical Replication Message Formats"): as many cells as its Relation has
/// columns. Its lengths were checked once, when the message was decoded, so walking it cannot fail.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tuple<'a> {
    cells: u16,
    bytes: &'a [u8],
}

/// Values are nobody's business in a log.
impl fmt::Debug for Tuple<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tuple({} cells)", self.cells)
    }
}

impl<'a> Tuple<'a> {
    /// Number of cells.
    #[expect(clippy::len_without_is_empty, reason = "a table without columns is no special case to anyone")]
    pub fn len(&self) -> usize {
        usize::from(self.cells)
    }

    /// The cells in the order of the relation's columns. Allocates nothing.
    #[inline]
    pub fn cells(&self) -> Cells<'a> {
        Cells { left: self.cells, rest: self.bytes }
    }

    /// Takes a tuple off the front and checks every length in it.
    #[inline]
    pub(super) fn take(cursor: &mut Cursor<'a>) -> Result<Tuple<'a>, Error> {
        let cells = cursor.u16()?;
        let bytes = cursor.rest();
        let mut rest = bytes;
        for _ in 0..cells {
            rest = match next(rest) {
                Some((_, behind)) => behind,
                None => return Err(refuse(cursor, rest)),
            };
        }
        cursor.set_rest(rest);
        Ok(Tuple { cells, bytes: &bytes[..bytes.len() - rest.len()] })
    }
}

/// One cell and what is behind it; nothing when the bytes are no cell.
#[inline(always)]
fn next(bytes: &[u8]) -> Option<(Cell<'_>, &[u8])> {
    let (kind, rest) = bytes.split_first()?;
    match kind {
        b't' => {
            let (length, rest) = rest.split_first_chunk::<4>()?;
            let (text, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
            Some((Cell::Text(text), rest))
        }
        b'n' => Some((Cell::Null, rest)),
        b'u' => Some((Cell::Unchanged, rest)),
        _ => None,
    }
}

/// Why the bytes at `rest` are no cell.
#[cold]
fn refuse<'a>(cursor: &mut Cursor<'a>, rest: &'a [u8]) -> Error {
    cursor.set_rest(rest);
    match rest.first() {
        None | Some(b't') => cursor.truncated(),
        Some(b'b') => cursor.malformed("a binary value, although text was asked for,"),
        Some(_) => cursor.malformed("a value of unknown kind"),
    }
}

/// Walks the cells of a [`Tuple`].
#[derive(Clone)]
pub struct Cells<'a> {
    left: u16,
    rest: &'a [u8],
}

impl<'a> Iterator for Cells<'a> {
    type Item = Cell<'a>;

    #[inline]
    fn next(&mut self) -> Option<Cell<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (cell, rest) = next(self.rest)?;
        self.rest = rest;
        Some(cell)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::from(self.left), Some(usize::from(self.left)))
    }
}

impl ExactSizeIterator for Cells<'_> {}
