//! Rows as the store keeps them.

use projectord::model::row::{put_varint, take_varint};
use projectord::model::{Cell, EntryNo, Row, RowWriter};

use super::take::Take;

pub const WORDS: &[&[u8]] = &[
    b"\x80\x80",
    b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01",
    b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F",
    b"\0",
    b"\x01",
    b"\x02",
    b"\x05abc",
];

pub fn seeds() -> Vec<Vec<u8>> {
    let mut writer = RowWriter::default();
    writer.begin(EntryNo(1 << 40), 300, 2);
    for cell in [Cell::Text(b"42"), Cell::Null, Cell::Unchanged, Cell::Text(b""), Cell::Text(&[7; 200])] {
        writer.cell(cell);
    }
    vec![writer.bytes().to_vec(), b"\x81\x02\x03\x01\x05hello\x02\x02hi".to_vec(), vec![0xFF; 12]]
}

/// Any bytes are read without harm, and what was written comes back.
pub fn run(bytes: &[u8]) {
    let mut rest = bytes;
    if let Some(number) = take_varint(&mut rest) {
        let mut again = Vec::new();
        put_varint(&mut again, number);
        let taken = &bytes[..bytes.len() - rest.len()];
        // A number may be written longer than need be, with zeros at its end, and in no other way.
        assert!(taken.len() >= again.len());
        let bits = |bytes: &[u8]| -> Vec<u8> { bytes.iter().map(|byte| byte & 0x7F).collect() };
        let mut padded = bits(&again);
        padded.resize(taken.len(), 0);
        assert_eq!(bits(taken), padded, "another number was read than was written");
    }
    if let Ok(row) = Row::parse(bytes) {
        let cells: Vec<Cell<'_>> = row.stored_cells().collect();
        let positions = [Some(2), None, Some(0), Some(u16::MAX)];
        let moved = row.with_positions(&positions);
        let mut read = Vec::new();
        moved.read_into(6, &mut read);
        let cell = |at: usize| cells.get(at).copied().unwrap_or(Cell::Null);
        assert_eq!(read, [cell(2), Cell::Null, cell(0), cell(65_535), Cell::Null, Cell::Null]);
        read.clear();
        row.read_into(cells.len() + 2, &mut read);
        assert_eq!(&read[..cells.len()], &cells[..]);
        let mut writer = RowWriter::default();
        writer.begin(row.last, row.layout, row.leaf);
        cells.iter().for_each(|cell| writer.cell(*cell));
        let again = Row::parse(writer.bytes()).unwrap();
        assert_eq!((again.last, again.layout, again.leaf), (row.last, row.layout, row.leaf));
        assert_eq!(again.stored_cells().collect::<Vec<_>>(), cells);
        assert_eq!(again.is_incomplete(), row.is_incomplete());
    }
    planned(Take(bytes));
}

/// The input as a plan of what to write.
fn planned(mut take: Take<'_>) {
    let head = (EntryNo(take.u64()), take.u32() as u16, take.u32());
    let mut writer = RowWriter::default();
    writer.begin(head.0, head.1, head.2);
    let mut cells = Vec::new();
    while !take.is_empty() && cells.len() < 40 {
        let cell = match take.byte() % 4 {
            0 => Cell::Null,
            1 => Cell::Unchanged,
            _ => Cell::Text(take.piece()),
        };
        writer.cell(cell);
        cells.push(cell);
    }
    let row = Row::parse(writer.bytes()).unwrap();
    assert_eq!((row.last, row.layout, row.leaf), head);
    assert_eq!(row.stored_cells().collect::<Vec<_>>(), cells);
}
