//! Tests of COPY text.

use proptest::prelude::*;

use super::*;

type OwnedRow = Vec<Option<Vec<u8>>>;

fn read(bytes: &[u8], columns: usize) -> Result<Vec<OwnedRow>, Error> {
    let mut rows = Rows::new(bytes, columns);
    let mut all = Vec::new();
    while let Some(row) = rows.next_row()? {
        all.push(row.cells().map(|cell| cell.text().map(<[u8]>::to_vec)).collect());
    }
    Ok(all)
}

/// Writes rows the way `COPY TO` does.
fn write(rows: &[OwnedRow]) -> Vec<u8> {
    let mut out = Vec::new();
    for row in rows {
        for (position, cell) in row.iter().enumerate() {
            if position > 0 {
                out.push(b'\t');
            }
            let Some(text) = cell else {
                out.extend(b"\\N");
                continue;
            };
            for byte in text {
                match byte {
                    0x08 => out.extend(b"\\b"),
                    0x0C => out.extend(b"\\f"),
                    b'\n' => out.extend(b"\\n"),
                    b'\r' => out.extend(b"\\r"),
                    b'\t' => out.extend(b"\\t"),
                    0x0B => out.extend(b"\\v"),
                    b'\\' => out.extend(b"\\\\"),
                    byte => out.push(*byte),
                }
            }
        }
        out.push(b'\n');
    }
    out
}

#[test]
fn null_is_told_from_empty_and_from_its_own_spelling() {
    let rows = read(b"\\N\t\t\\\\N\n", 3).unwrap();
    assert_eq!(rows, [[None, Some(b"".to_vec()), Some(b"\\N".to_vec())]]);
}

#[test]
fn table_without_columns_has_empty_lines() {
    assert_eq!(read(b"\n\n", 0).unwrap(), [OwnedRow::new(), OwnedRow::new()]);
    assert!(read(b"x\n", 0).is_err());
}

#[test]
fn malformed_input_is_refused_with_its_line_and_without_its_value() {
    use Problem::*;
    for (bytes, line, problem) in [
        (&b"a\tb\nsecret"[..], 2, NoEnd),
        (b"a\tb\nsecret\n", 2, Columns { found: 1, expected: 2 }),
        (b"a\tb\na\tb\tsecret\n", 2, Columns { found: 3, expected: 2 }),
        (b"a\tsecret\\x41\n", 1, Escape { column: 2 }),
        (b"secret\\N\tb\n", 1, Escape { column: 1 }),
        (b"\\.\n", 1, Escape { column: 1 }),
        (b"a\tsecret\\\n", 1, Escape { column: 2 }),
        (b"\n", 1, Columns { found: 1, expected: 2 }),
    ] {
        let error = read(bytes, 2).unwrap_err();
        assert_eq!(error, Error { line, problem }, "{}", bytes.escape_ascii());
        assert!(!error.to_string().contains("secret"));
    }
}

#[test]
fn nothing_comes_after_an_error() {
    let mut rows = Rows::new(b"a\tb\nc\n", 1);
    assert!(rows.next_row().is_err());
    assert!(rows.next_row().unwrap().is_none());
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(b'\\'), Just(b'\t'), Just(b'\n'), Just(b'N'), 1u8..=255];
    proptest::collection::vec(byte, 0..12)
}

proptest! {
    #[test]
    fn what_the_server_writes_is_read_back(
        (columns, rows) in (1usize..6).prop_flat_map(|columns| {
            let row = proptest::collection::vec(proptest::option::of(text()), columns);
            (Just(columns), proptest::collection::vec(row, 0..6))
        })
    ) {
        prop_assert_eq!(read(&write(&rows), columns).unwrap(), rows);
    }

    #[test]
    fn any_bytes_are_read_or_refused_without_a_panic(
        bytes in proptest::collection::vec(prop_oneof![Just(b'\\'), Just(b'\t'), Just(b'\n'), Just(b'N'), any::<u8>()], 0..80),
        columns in 0usize..5,
    ) {
        let _ = read(&bytes, columns);
    }
}

/// Not a test of behaviour: `cargo test --release throughput -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn throughput_of_reading_copied_rows() {
    let row =
        b"1234567\t42\tshipped\t\\N\t199.90\t2026-11-21 04:05:06.789012+00\ta note of\\nthe usual length\n";
    let (count, mut length) = (1_000_000, 0);
    let bytes = row.repeat(count);
    let begin = std::time::Instant::now();
    let mut rows = Rows::new(&bytes, 7);
    while let Some(row) = rows.next_row().unwrap() {
        for cell in row.cells() {
            length += std::hint::black_box(cell).text().map_or(0, <[u8]>::len);
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!("{:.1} M rows/s, {length} bytes of text", count as f64 / seconds / 1e6);
}
