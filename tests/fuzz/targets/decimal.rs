//! Exact decimals, beside long addition on paper.

use std::cmp::Ordering;

use projectord::projection::value::decimal::{self, Sum};

pub const WORDS: &[&[u8]] = &[
    b"-",
    b".",
    b",",
    b"0",
    b"9",
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"000000000000000000000000000000000000",
    b"999999999999999999999999999999999999999",
    b"170141183460469231731687303715884105727",
    b",-",
    b".000",
];

pub fn seeds() -> Vec<Vec<u8>> {
    [
        "1,2",
        "1.50,2.5,-4",
        "5.00,-5",
        "9223372036854775807,1,-0.000000000000000000001",
        "170141183460469231731687303715884105727,1",
        "-0.50,NaN,3",
        "Infinity,-Infinity,0",
        "-10,-9.99,-10.5",
        "0000.100,.1,-.0",
        "1000000000000000000000000000000000000000000000000000000000000,-1,0.5",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

/// Numbers parted by commas.
pub fn run(bytes: &[u8]) {
    let texts: Vec<&[u8]> = bytes.split(|byte| *byte == b',').take(24).collect();
    let papers: Vec<Option<Paper>> = texts.iter().map(|text| Paper::read(text)).collect();
    for (a, paper_a) in texts.iter().zip(&papers) {
        for (b, paper_b) in texts.iter().zip(&papers) {
            let order = decimal::compare(a, b);
            assert_eq!(order, decimal::compare(b, a).reverse());
            if let (Some(a), Some(b)) = (paper_a, paper_b) {
                assert_eq!(order, a.compare(b));
            }
        }
    }
    let mut sum = Sum::default();
    texts.iter().for_each(|text| sum.add(text));
    let sum = sum.finish();
    if papers.iter().all(Option::is_some) {
        let papers: Vec<Paper> = papers.into_iter().flatten().collect();
        assert_eq!(sum, Some(added(&papers)));
    } else {
        assert_eq!(sum, None, "what is no number has no finite sum");
    }
}

/// A number as columns on paper: signed digits, the last integer digit first, and the first decimal first.
struct Paper {
    integer: Vec<i32>,
    fraction: Vec<i32>,
}

impl Paper {
    fn read(text: &[u8]) -> Option<Paper> {
        let text = std::str::from_utf8(text).ok()?;
        let (sign, digits) = match text.strip_prefix('-') {
            Some(digits) => (-1, digits),
            None => (1, text),
        };
        let (integer, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if digits.is_empty() || !integer.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let digit = |byte: u8| sign * i32::from(byte - b'0');
        Some(Paper {
            integer: integer.bytes().rev().map(digit).collect(),
            fraction: fraction.bytes().map(digit).collect(),
        })
    }

    fn compare(&self, other: &Paper) -> Ordering {
        let minus = Paper {
            integer: other.integer.iter().map(|digit| -digit).collect(),
            fraction: other.fraction.iter().map(|digit| -digit).collect(),
        };
        let (negative, digits, _) = total(&[self, &minus]);
        match (negative, digits.iter().all(|digit| *digit == 0)) {
            (_, true) => Ordering::Equal,
            (true, _) => Ordering::Less,
            _ => Ordering::Greater,
        }
    }
}

/// Sign, digits from the first to the last, and how many of them are decimals.
fn total(papers: &[&Paper]) -> (bool, Vec<i32>, usize) {
    let scale = papers.iter().map(|paper| paper.fraction.len()).max().unwrap_or(0);
    let width = papers.iter().map(|paper| paper.integer.len()).max().unwrap_or(0) + 4;
    // The last digit first.
    let mut columns = vec![0; scale + width];
    for paper in papers {
        for (at, digit) in paper.fraction.iter().enumerate() {
            columns[scale - 1 - at] += digit;
        }
        for (at, digit) in paper.integer.iter().enumerate() {
            columns[scale + at] += digit;
        }
    }
    let carry = |columns: &mut Vec<i32>| {
        for at in 0..columns.len() - 1 {
            let up = columns[at].div_euclid(10);
            columns[at] -= 10 * up;
            columns[at + 1] += up;
        }
    };
    carry(&mut columns);
    let negative = columns.last().is_some_and(|first| *first < 0);
    if negative {
        columns.iter_mut().for_each(|digit| *digit = -*digit);
        carry(&mut columns);
    }
    columns.reverse();
    (negative, columns, scale)
}

fn added(papers: &[Paper]) -> String {
    let (negative, digits, scale) = total(&papers.iter().collect::<Vec<_>>());
    let text: String = digits.iter().map(|digit| char::from(b'0' + *digit as u8)).collect();
    let (integer, fraction) = text.split_at(text.len() - scale);
    let integer = integer.trim_start_matches('0');
    let integer = if integer.is_empty() { "0" } else { integer };
    let point = if scale > 0 { "." } else { "" };
    format!("{}{integer}{point}{fraction}", if negative { "-" } else { "" })
}
