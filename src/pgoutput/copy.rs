//! Rows of `COPY .. TO STDOUT` in text format (PostgreSQL docs, "COPY", "Text Format"): the rows of a
//! backfill chunk, under the same cells as those of the stream.
//!
//! Strict: what `COPY TO` does not write is refused, because a chunk that is read wrongly is wrong for ever.

use crate::model::Cell;

/// Bytes that are no rows. Names the line, counted from 1, never a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the copied rows {problem}")]
pub struct Error {
    pub line: u64,
    pub problem: Problem,
}

/// See [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("has no end: the data were cut")]
    NoEnd,
    #[error("has {found} columns instead of {expected}")]
    Columns { found: usize, expected: usize },
    #[error("has an escape in column {column} that the server does not write")]
    Escape { column: usize },
}

/// Reads rows one after another; keeps its buffers from one to the next.
pub struct Rows<'a> {
    rest: &'a [u8],
    columns: usize,
    line: u64,
    cells: Vec<Place>,
    unescaped: Vec<u8>,
}

/// Where the text of a cell lies.
#[derive(Clone, Copy)]
enum Place {
    Null,
    /// In the line, as it came.
    Line(usize, usize),
    /// In the scratch buffer, because it held escapes.
    Unescaped(usize, usize),
}

impl<'a> Rows<'a> {
    /// `bytes` are whole lines of `columns` cells each.
    pub fn new(bytes: &'a [u8], columns: usize) -> Rows<'a> {
        Rows { rest: bytes, columns, line: 0, cells: Vec::new(), unescaped: Vec::new() }
    }

    /// The next row; nothing at the end.
    ///
    /// # Errors
    /// A line without an end, with another number of cells, or with an escape that the server never writes.
    /// After an error nothing more comes.
    pub fn next_row(&mut self) -> Result<Option<CopiedRow<'_>>, Error> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        self.line += 1;
        let bytes = std::mem::take(&mut self.rest);
        match self.split(bytes) {
            Ok(length) => {
                self.rest = &bytes[length + 1..];
                let line = &bytes[..length];
                Ok(Some(CopiedRow { line, unescaped: &self.unescaped, cells: &self.cells }))
            }
            Err(problem) => Err(Error { line: self.line, problem }),
        }
    }

    /// Finds the cells of the first line and returns that line's length.
    fn split(&mut self, bytes: &[u8]) -> Result<usize, Problem> {
        self.cells.clear();
        self.unescaped.clear();
        let (mut begin, mut escaped) = (0, false);
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                b'\\' => escaped = true,
                b'\t' | b'\n' => {
                    let place =
                        if escaped { self.unescape(&bytes[begin..at])? } else { Place::Line(begin, at) };
                    // A table without columns has lines without anything.
                    if !(self.columns == 0 && *byte == b'\n' && at == 0) {
                        self.cells.push(place);
                    }
                    if self.cells.len() > self.columns || (*byte == b'\n' && self.cells.len() < self.columns)
                    {
                        return Err(Problem::Columns { found: self.cells.len(), expected: self.columns });
                    }
                    if *byte == b'\n' {
                        return Ok(at);
                    }
                    (begin, escaped) = (at + 1, false);
                }
                _ => {}
            }
        }
        Err(Problem::NoEnd)
    }

    fn unescape(&mut self, cell: &[u8]) -> Result<Place, Problem> {
        if cell == b"\\N" {
            return Ok(Place::Null);
        }
        let refused = Problem::Escape { column: self.cells.len() + 1 };
        let start = self.unescaped.len();
        let mut bytes = cell.iter();
        while let Some(byte) = bytes.next() {
            self.unescaped.push(match byte {
                b'\\' => match bytes.next() {
                    Some(b'b') => 0x08,
                    Some(b'f') => 0x0C,
                    Some(b'n') => b'\n',
                    Some(b'r') => b'\r',
                    Some(b't') => b'\t',
                    Some(b'v') => 0x0B,
                    Some(b'\\') => b'\\',
                    _ => return Err(refused),
                },
                byte => *byte,
            });
        }
        Ok(Place::Unescaped(start, self.unescaped.len()))
    }
}

/// One row, until the next is read.
#[derive(Clone, Copy)]
pub struct CopiedRow<'r> {
    line: &'r [u8],
    unescaped: &'r [u8],
    cells: &'r [Place],
}

impl<'r> CopiedRow<'r> {
    /// The cells in the order of the columns. [`Cell::Unchanged`] is never among them.
    pub fn cells(&self) -> impl ExactSizeIterator<Item = Cell<'r>> + 'r {
        let row = *self;
        self.cells.iter().map(move |place| match *place {
            Place::Null => Cell::Null,
            Place::Line(begin, end) => Cell::Text(&row.line[begin..end]),
            Place::Unescaped(begin, end) => Cell::Text(&row.unescaped[begin..end]),
        })
    }
}

#[cfg(test)]
#[path = "copy_tests.rs"]
mod tests;
