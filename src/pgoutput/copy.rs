//! COPY text format (PostgreSQL docs, "COPY", "Text Format"): a line per row, tabs between cells, `\N` for
//! NULL, backslash escapes.

use crate::model::Cell;

/// A line that COPY would not have written. Names the line, never a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("COPY line {line}: {reason}")]
pub struct Error {
    pub line: u64,
    pub reason: &'static str,
}

/// Where a cell of the current row is.
#[derive(Clone, Copy, Debug)]
enum Span {
    Null,
    /// In the line itself: nothing was escaped.
    Line(usize, usize),
    /// In the scratch buffer.
    Scratch(usize, usize),
}

/// Walks the rows of a COPY.
#[derive(Debug)]
pub struct CopyRows<'a> {
    rest: &'a [u8],
    line: &'a [u8],
    number: u64,
    columns: usize,
    scratch: Vec<u8>,
    spans: Vec<Span>,
}

impl<'a> CopyRows<'a> {
    /// `columns` is how many cells every line must have.
    pub fn new(copy: &'a [u8], columns: usize) -> CopyRows<'a> {
        CopyRows { rest: copy, line: b"", number: 0, columns, scratch: Vec::new(), spans: Vec::new() }
    }

    /// The next row's cells; nothing at the end.
    pub fn next_row(&mut self) -> Result<Option<Vec<Cell<'_>>>, Error> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        let error = |reason| Error { line: self.number, reason };
        let end = self.rest.iter().position(|byte| *byte == b'\n').ok_or(error("it has no end"))?;
        self.line = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        self.scratch.clear();
        self.spans.clear();
        // A line of a table without columns is empty; ours always have a key.
        let mut begin = 0;
        for cell in self.line.split(|byte| *byte == b'\t') {
            let span = if cell == b"\\N" {
                Span::Null
            } else if !cell.contains(&b'\\') {
                Span::Line(begin, begin + cell.len())
            } else {
                let from = self.scratch.len();
                unescape(cell, &mut self.scratch).map_err(|reason| Error { line: self.number, reason })?;
                Span::Scratch(from, self.scratch.len())
            };
            self.spans.push(span);
            begin += cell.len() + 1;
        }
        if self.spans.len() != self.columns {
            return Err(error("it has another number of columns"));
        }
        let cell = |span: &Span| match *span {
            Span::Null => Cell::Null,
            Span::Line(from, to) => Cell::Text(&self.line[from..to]),
            Span::Scratch(from, to) => Cell::Text(&self.scratch[from..to]),
        };
        Ok(Some(self.spans.iter().map(cell).collect()))
    }
}

fn unescape(cell: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    let mut bytes = cell.iter();
    while let Some(byte) = bytes.next() {
        if *byte != b'\\' {
            out.push(*byte);
            continue;
        }
        out.push(match bytes.next().ok_or("it ends in a backslash")? {
            b'b' => 0x08,
            b'f' => 0x0C,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 0x0B,
            b'\\' => b'\\',
            // COPY TO writes no other escapes: octal and hexadecimal ones are for input alone.
            _ => return Err("it has an unknown escape"),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(copy: &str, columns: usize, expected: &[&[Option<&str>]]) {
        let mut rows = CopyRows::new(copy.as_bytes(), columns);
        for expected in expected {
            let row = rows.next_row().unwrap().unwrap();
            let texts: Vec<_> =
                row.iter().map(|cell| cell.text().map(|text| std::str::from_utf8(text).unwrap())).collect();
            assert_eq!(texts, *expected);
        }
        assert_eq!(rows.next_row(), Ok(None));
    }

    #[test]
    fn cells_are_unescaped_and_null_is_not_an_empty_text() {
        check(
            "1\t\\N\t\n2\ta\\tb\\\\c\t\\\\N\n",
            3,
            &[&[Some("1"), None, Some("")], &[Some("2"), Some("a\tb\\c"), Some("\\N")]],
        );
        check("", 1, &[]);
        check("\n", 1, &[&[Some("")]]);
    }

    #[test]
    fn malformed_lines_are_refused_with_their_number() {
        for (copy, columns) in
            [("a\tb\nc\n", 2), ("a\tb\nc\td", 2), ("a\tb\nc\td\\\n", 2), ("a\tb\n\\x41\tc\n", 2)]
        {
            let mut rows = CopyRows::new(copy.as_bytes(), columns);
            assert!(rows.next_row().is_ok());
            assert_eq!(rows.next_row().unwrap_err().line, 2, "{copy:?}");
        }
    }
}
