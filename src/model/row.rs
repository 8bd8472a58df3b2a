//! A row as the store keeps it: compact, in PostgreSQL's text form, without any JSON.
//!
//! `last entry | layout | leaf | cells`. The three numbers are varints; a cell is a varint code followed by
//! its bytes: 0 is NULL, 1 is a value not known (an unchanged TOAST value of a row that was never seen
//! whole: hazard 23), n + 2 is a text of n bytes.

use super::cell::Cell;
use super::number::EntryNo;

const NULL: u64 = 0;
const UNCHANGED: u64 = 1;
const TEXT: u64 = 2;

/// The bytes are no row: the store is damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stored bytes are not a row")]
pub struct InvalidRow;

/// Writes rows; keeps its buffer from one to the next.
#[derive(Debug, Default)]
pub struct RowWriter {
    bytes: Vec<u8>,
}

impl RowWriter {
    /// Begins a row. `last` is the entry that last changed it (rule 14), `layout` the number of the column
    /// list that its cells follow, `leaf` the oid of the leaf that it came under (never its position: leaves come
    /// and go), zero for
    /// a plain table.
    pub fn begin(&mut self, last: EntryNo, layout: u16, leaf: u32) {
        self.bytes.clear();
        put_varint(&mut self.bytes, last.0);
        put_varint(&mut self.bytes, u64::from(layout));
        put_varint(&mut self.bytes, u64::from(leaf));
    }

    /// Appends the next cell.
    pub fn cell(&mut self, cell: Cell<'_>) {
        match cell {
            Cell::Null => self.bytes.push(NULL as u8),
            Cell::Unchanged => self.bytes.push(UNCHANGED as u8),
            Cell::Text(text) => {
                put_varint(&mut self.bytes, text.len() as u64 + TEXT);
                self.bytes.extend_from_slice(text);
            }
        }
    }

    /// The row written so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A stored row, read in place.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The entry that last changed it.
    pub last: EntryNo,
    pub layout: u16,
    /// See [`RowWriter::begin`].
    pub leaf: u32,
    cells: &'a [u8],
    /// For a row of an older layout: catalog column -> position among the stored cells.
    positions: Option<&'a [Option<u16>]>,
}

impl<'a> Row<'a> {
    /// Reads the head of a stored row.
    ///
    /// # Errors
    /// When the bytes end before the head does.
    pub fn parse(bytes: &'a [u8]) -> Result<Row<'a>, InvalidRow> {
        let mut rest = bytes;
        let last = EntryNo(take_varint(&mut rest).ok_or(InvalidRow)?);
        let small = |number: Option<u64>| number.and_then(|n| u16::try_from(n).ok()).ok_or(InvalidRow);
        let layout = small(take_varint(&mut rest))?;
        let leaf = take_varint(&mut rest).and_then(|oid| u32::try_from(oid).ok()).ok_or(InvalidRow)?;
        Ok(Row { last, layout, leaf, cells: rest, positions: None })
    }

    /// The same row, its columns looked up through an older layout's positions.
    pub fn with_positions(self, positions: &'a [Option<u16>]) -> Row<'a> {
        Row { positions: Some(positions), ..self }
    }

    /// The cell of a column, counted as in the catalog's column list. A column that the row was stored
    /// without is NULL; so is everything behind a damaged cell, which [`Row::parse`] cannot see.
    pub fn cell(&self, column: usize) -> Cell<'a> {
        let position = match self.positions {
            None => column,
            Some(positions) => match positions.get(column).copied().flatten() {
                Some(position) => usize::from(position),
                None => return Cell::Null,
            },
        };
        self.stored_cells().nth(position).unwrap_or(Cell::Null)
    }

    /// Appends the cells of the catalog's first `columns` columns: what [`Row::cell`] gives for each, in
    /// one walk over the row.
    pub fn read_into(&self, columns: usize, cells: &mut Vec<Cell<'a>>) {
        let end = cells.len() + columns;
        if self.positions.is_none() {
            cells.extend(self.stored_cells().take(columns));
            cells.resize(end, Cell::Null);
        } else {
            cells.extend((0..columns).map(|column| self.cell(column)));
        }
    }

    /// The cells as they are stored, in the order of the row's own layout.
    pub fn stored_cells(&self) -> Cells<'a> {
        Cells { rest: self.cells }
    }

    /// Whether any stored cell is a value not known.
    pub fn is_incomplete(&self) -> bool {
        self.stored_cells().any(|cell| cell == Cell::Unchanged)
    }
}

/// Walks the cells of a row.
#[derive(Clone, Debug)]
pub struct Cells<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Cells<'a> {
    type Item = Cell<'a>;

    fn next(&mut self) -> Option<Cell<'a>> {
        match take_varint(&mut self.rest)? {
            NULL => Some(Cell::Null),
            UNCHANGED => Some(Cell::Unchanged),
            code => {
                let length = usize::try_from(code - TEXT).ok()?;
                let (text, rest) = self.rest.split_at_checked(length)?;
                self.rest = rest;
                Some(Cell::Text(text))
            }
        }
    }
}

/// LEB128: seven bits a byte, the lowest first.
pub fn put_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Takes a LEB128 number off the front; nothing when the bytes end or it passes 64 bits.
pub fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7F);
        // The tenth byte has room for one bit only.
        if shift == 63 && bits > 1 {
            return None;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_comes_back_as_it_was_written() {
        let long = vec![b'x'; 70_000];
        let cells = [Cell::Text(b"42"), Cell::Null, Cell::Unchanged, Cell::Text(b""), Cell::Text(&long)];
        let mut writer = RowWriter::default();
        writer.begin(EntryNo(1 << 40), 300, 2);
        cells.iter().for_each(|cell| writer.cell(*cell));
        let row = Row::parse(writer.bytes()).unwrap();
        assert_eq!((row.last, row.layout, row.leaf), (EntryNo(1 << 40), 300, 2));
        assert_eq!(row.stored_cells().collect::<Vec<_>>(), cells);
        assert_eq!(row.cell(4), Cell::Text(&long));
        assert_eq!(row.cell(9), Cell::Null);
        assert!(row.is_incomplete());
        let mut read = vec![];
        row.read_into(6, &mut read);
        assert_eq!(read, [&cells[..], &[Cell::Null]].concat());
    }

    #[test]
    fn older_layout_is_read_through_its_positions() {
        let mut writer = RowWriter::default();
        writer.begin(EntryNo(1), 0, 0);
        writer.cell(Cell::Text(b"a"));
        writer.cell(Cell::Text(b"b"));
        let positions = [Some(1), None, Some(0)];
        let row = Row::parse(writer.bytes()).unwrap().with_positions(&positions);
        assert_eq!(row.cell(0), Cell::Text(b"b"));
        assert_eq!(row.cell(1), Cell::Null);
        assert_eq!(row.cell(2), Cell::Text(b"a"));
    }

    #[test]
    fn numbers_beyond_64_bits_are_refused() {
        let mut longest = [0xFF; 10];
        longest[9] = 1;
        assert_eq!(take_varint(&mut &longest[..]), Some(u64::MAX));
        longest[9] = 2;
        assert_eq!(take_varint(&mut &longest[..]), None);
    }

    #[test]
    fn damaged_bytes_never_panic() {
        let mut writer = RowWriter::default();
        writer.begin(EntryNo(7), 1, 0);
        writer.cell(Cell::Text(b"abcdef"));
        for end in 0..writer.bytes().len() {
            if let Ok(row) = Row::parse(&writer.bytes()[..end]) {
                assert_eq!(row.cell(0), Cell::Null);
            }
        }
        assert!(Row::parse(&[0xFF; 20]).is_err());
    }
}
