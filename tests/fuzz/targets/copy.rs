//! Rows of COPY in text format, read by the decoder and by a plain reader written down here.

use projectord::model::Cell;
use projectord::pgoutput::copy::Rows;

pub const WORDS: &[&[u8]] =
    &[b"\t", b"\n", b"\\N", b"\\t", b"\\n", b"\\\\", b"\\b", b"\\f", b"\\r", b"\\v", b"\\.", b"\\N\t", b"\\"];

pub fn seeds() -> Vec<Vec<u8>> {
    vec![
        b"\x031\ta\\tb\t\\N\n2\t\\\\N\t\xFF\xFE\n".to_vec(),
        b"\x01\\b\\f\\n\\r\\t\\v\\\\\n\n".to_vec(),
        b"\x00\n\n\n".to_vec(),
        "\x02größer\t\n\t\n".as_bytes().to_vec(),
    ]
}

/// The first byte says how many columns, the rest is the data.
pub fn run(bytes: &[u8]) {
    let Some((columns, data)) = bytes.split_first() else { return };
    let columns = usize::from(*columns % 8);
    let mut rows = Rows::new(data, columns);
    let mut expected = plain(data, columns);
    let mut count = 0;
    loop {
        let row = match rows.next_row() {
            Ok(Some(row)) => row,
            Ok(None) => {
                assert_eq!(expected.next(), None, "a row is missing");
                return;
            }
            Err(error) => {
                assert_eq!(expected.next(), Some(None), "{error}: the plain reader takes it");
                assert_eq!(error.line, count + 1);
                assert!(matches!(rows.next_row(), Ok(None)), "nothing comes after an error");
                return;
            }
        };
        count += 1;
        let cells: Vec<Option<Vec<u8>>> = row
            .cells()
            .map(|cell| match cell {
                Cell::Null => None,
                Cell::Text(text) => Some(text.to_vec()),
                Cell::Unchanged => panic!("COPY has no unchanged values"),
            })
            .collect();
        assert_eq!(expected.next(), Some(Some(cells)));
    }
}

type PlainRow = Vec<Option<Vec<u8>>>;

/// Lines, then cells, then escapes; nothing for a line that is refused.
fn plain(data: &[u8], columns: usize) -> impl Iterator<Item = Option<PlainRow>> + '_ {
    let whole = data.is_empty() || data.ends_with(b"\n");
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let last = lines.len() - 1;
    lines.into_iter().enumerate().filter(move |(at, line)| !(*at == last && whole && line.is_empty())).map(
        move |(at, line)| {
            if at == last && !whole {
                return None;
            }
            let cells: Vec<&[u8]> = match columns {
                0 if line.is_empty() => vec![],
                _ => line.split(|byte| *byte == b'\t').collect(),
            };
            if cells.len() != columns {
                return None;
            }
            cells.into_iter().map(unescape).collect()
        },
    )
}

fn unescape(cell: &[u8]) -> Option<Option<Vec<u8>>> {
    if cell == b"\\N" {
        return Some(None);
    }
    let mut text = Vec::new();
    let mut at = 0;
    while at < cell.len() {
        if cell[at] != b'\\' {
            text.push(cell[at]);
            at += 1;
            continue;
        }
        let plain = b"\x08\x0C\n\r\t\x0B\\";
        let position = b"bfnrtv\\".iter().position(|escape| Some(escape) == cell.get(at + 1))?;
        text.push(plain[position]);
        at += 2;
    }
    Some(Some(text))
}
