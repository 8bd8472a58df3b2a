//! Just enough of COPY's text format to take key cells out of a row that is passed on as it came
//! (PostgreSQL docs, "COPY", File Formats).

/// The cells of one row, without its newline.
pub fn cells(row: &[u8]) -> impl Iterator<Item = &[u8]> {
    // A tab inside a value is escaped, so every plain one ends a cell.
    row.split(|byte| *byte == b'\t')
}

/// The value of a cell; nothing for NULL.
pub fn value(cell: &[u8]) -> Option<Vec<u8>> {
    if cell == b"\\N" {
        return None;
    }
    let mut value = Vec::with_capacity(cell.len());
    let mut bytes = cell.iter();
    while let Some(byte) = bytes.next() {
        if *byte != b'\\' {
            value.push(*byte);
            continue;
        }
        value.push(match bytes.next() {
            Some(b'b') => 0x08,
            Some(b'f') => 0x0C,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'v') => 0x0B,
            // The server writes no other escapes than these and a doubled backslash.
            Some(other) => *other,
            None => b'\\',
        });
    }
    Some(value)
}

/// The last complete row of a chunk, without its newline.
pub fn last_row(rows: &[u8]) -> Option<&[u8]> {
    rows.strip_suffix(b"\n")?.rsplit(|byte| *byte == b'\n').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_were_before_copy_escaped_them() {
        for (cell, expected) in [
            (&b"plain"[..], Some(&b"plain"[..])),
            (b"", Some(b"")),
            (b"\\N", None),
            (b"\\\\N", Some(b"\\N")),
            (b"a\\tb\\nc\\rd\\\\e", Some(b"a\tb\nc\rd\\e")),
            (b"\\b\\f\\v", Some(b"\x08\x0C\x0B")),
            (b"cut\\", Some(b"cut\\")),
        ] {
            assert_eq!(value(cell).as_deref(), expected, "{}", String::from_utf8_lossy(cell));
        }
    }

    #[test]
    fn rows_and_cells_are_split_at_plain_separators_only() {
        assert_eq!(last_row(b"1\ta\n2\tb\\nc\n"), Some(&b"2\tb\\nc"[..]));
        assert_eq!(last_row(b"1\n"), Some(&b"1"[..]));
        assert_eq!(last_row(b""), None);
        assert_eq!(cells(b"2\tb\\tc\t").collect::<Vec<_>>(), [&b"2"[..], b"b\\tc", b""]);
    }
}
