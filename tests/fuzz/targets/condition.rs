//! Conditions on rows: any text is a condition or a mistake with its place, and SQL's logic holds.

use std::sync::OnceLock;

use projectord::model::Cell;
use projectord::projection::definition::section::Problems;
use projectord::projection::definition::{self, Text};
use projectord::projection::predicate::{self, Predicate};

use super::shop;

pub const WORDS: &[&[u8]] = &[
    b" and ",
    b" or ",
    b" not ",
    b"not ",
    b" in (",
    b"(",
    b")",
    b" is null",
    b" is not null",
    b" = ",
    b" <> ",
    b" <= ",
    b" >= ",
    b" < ",
    b"'",
    b"''",
    b"\"",
    b"total",
    b"status",
    b"paid",
    b"note",
    b"placed_at",
    b"id",
    b"null",
    b"true",
    b"false",
    b"-1.5",
    b"+0",
    b".5",
    b"'2024-01-01'",
    b"'NaN'",
    "Ä".as_bytes(),
    "ß".as_bytes(),
    b"((((((((",
    b"NOT NOT NOT ",
    b",",
    b"\"id\"",
    b"between",
    b"1.",
    b"--1",
];

pub fn seeds() -> Vec<Vec<u8>> {
    [
        "status != 'draft' and total >= 0",
        "not (paid or total < -1.5) and note is not null",
        "id in (1, 2, null) or status in ('a', 'it''s')",
        "\"note\" = 'x' AND NOT paid = true",
        "placed_at >= '2024-01-01 00:00:00+00'",
        "null or paid",
        "5 < total and id <> customer_id",
        "((((((((((paid))))))))))",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn compiled(text: &str) -> Option<Predicate> {
    static TEMPLATE: OnceLock<Text> = OnceLock::new();
    let template = TEMPLATE.get_or_init(|| {
        let text = "projection: p\nroot: orders\nindex: p\nwhere: paid\nfields: [id]\n";
        definition::parse("p", text).unwrap().filter.unwrap()
    });
    let mut condition = template.clone();
    condition.value = text.to_owned();
    let mut problems = Problems::new("p");
    let table = &shop::small().tables[1];
    let predicate = predicate::compile(&condition, table, &mut problems);
    assert_eq!(predicate.is_none(), !problems.list.is_empty(), "a mistake is said, and nothing else");
    for problem in &problems.list {
        assert!(!problem.code.is_empty() && problem.message.len() < 600 + 4 * text.len());
        let column = problem.column - condition.place.column;
        assert!(column <= text.chars().count(), "column {column} is behind the text");
    }
    predicate
}

const ROWS: [[Cell<'static>; 8]; 4] = [
    [Cell::Null; 8],
    [
        Cell::Text(b"7"),
        Cell::Text(b"7"),
        Cell::Text(b"draft"),
        Cell::Text(b"0.00"),
        Cell::Text(b"2024-01-01 00:00:00+00"),
        Cell::Text(b"x"),
        Cell::Text(b""),
        Cell::Text(b"t"),
    ],
    [
        Cell::Text(b"-1"),
        Cell::Null,
        Cell::Text(b"a"),
        Cell::Text(b"NaN"),
        Cell::Text(b"infinity"),
        Cell::Text(b"\xFF"),
        Cell::Null,
        Cell::Text(b"f"),
    ],
    [Cell::Unchanged; 8],
];

pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some(plain) = compiled(text) else { return };
    let mut columns = Default::default();
    plain.columns(&mut columns);
    assert!(columns.iter().all(|column| *column < 8));
    // One more level may be one too many; one more word too.
    let variants = [
        compiled(&format!("not ({text})")),
        compiled(&format!("({text}) and ({text})")),
        compiled(&format!("({text}) or ({text})")),
        compiled(&format!("({text}) or true")),
        compiled(&format!("({text}) and null")),
    ];
    let [Some(not), Some(and), Some(or), Some(always), Some(never)] = variants else { return };
    for row in &ROWS {
        let truth = plain.is_true(row);
        assert!(!(truth && not.is_true(row)), "true and false at once");
        assert_eq!((and.is_true(row), or.is_true(row)), (truth, truth));
        assert!(always.is_true(row) && !never.is_true(row));
        let mut blank = *row;
        for (at, cell) in blank.iter_mut().enumerate() {
            if !columns.contains(&at) {
                *cell = Cell::Null;
            }
        }
        assert_eq!(plain.is_true(&blank), truth, "it looks at a column that it does not name");
    }
}
