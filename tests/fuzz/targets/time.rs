//! Dates and timestamps, beside jiff.

use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::{Timestamp, ToSpan};
use projectord::projection::value::time;

use super::take::Take;

pub const WORDS: &[&[u8]] =
    &[b"2024-02-29", b" BC", b"+00", b"+05:30", b"-03", b"infinity", b"-infinity", b".123456", b" 24:00:00"];

pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = [0i64, 1, -1, 1_000_000, 777_600_000_000_000, -63_000_000_000_000_000]
        .iter()
        .flat_map(|time| {
            [0u8, 1, 2].map(|form| [&[form][..], &time.to_le_bytes(), &time.to_be_bytes()].concat())
        })
        .collect();
    seeds.push(b"\x032024-03-04 05:06:07.123+00\0 0044-03-15 BC".to_vec());
    seeds.push(b"\x03infinity\x002024-03-04".to_vec());
    seeds
}

/// The first byte chooses between two instants, written as PostgreSQL writes them, and any two texts.
pub fn run(bytes: &[u8]) {
    let mut take = Take(bytes);
    match take.byte() % 4 {
        3 => {
            let (a, b) = (take.text(), take.0);
            any(a);
            assert_eq!(time::compare(a, b), time::compare(b, a).reverse());
        }
        form => {
            let (a, b) = (instant(take.u64()), instant(take.u64()));
            let (written_a, written_b) = (written(a, form), written(b, form));
            let (a, b) = if form == 0 { (a.date().into(), b.date().into()) } else { (a, b) };
            let order = time::compare(written_a.as_bytes(), written_b.as_bytes());
            assert_eq!(order, a.cmp(&b), "{written_a} {written_b}");
            for (time, text) in [(a, &written_a), (b, &written_b)] {
                judge(time, text, form);
            }
        }
    }
}

/// Any year that jiff has, before Christ too.
fn instant(number: u64) -> DateTime {
    let begin = DateTime::MIN;
    // Near one another, every other time.
    let micros = match number % 2 {
        0 => number % (19_998 * 365 * 86_400_000_000),
        _ => 9_999 * 365 * 86_400_000_000 + number % 3_000_000_000_000,
    };
    begin.checked_add((micros as i64).microseconds()).unwrap()
}

/// As PostgreSQL writes it (docs, "Date/Time Output", style ISO): 0 a date, 1 a timestamp, 2 one with zone.
fn written(time: DateTime, form: u8) -> String {
    let year = i32::from(time.year());
    let (year, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    let mut text = format!("{year:04}-{:02}-{:02}", time.month(), time.day());
    if form > 0 {
        text.push_str(&format!(" {:02}:{:02}:{:02}", time.hour(), time.minute(), time.second()));
        let fraction = format!(".{:06}", time.subsec_nanosecond() / 1000);
        text.push_str(fraction.trim_end_matches('0').trim_end_matches('.'));
    }
    if form > 1 {
        text.push_str("+00");
    }
    text + era
}

fn judge(time: DateTime, text: &str, form: u8) {
    let json = any(text.as_bytes());
    if time.year() < 1 {
        assert_eq!(json, "null", "{text}");
        return;
    }
    let inside = json.trim_matches('"');
    match form {
        0 => assert_eq!(inside.parse::<jiff::civil::Date>().unwrap(), time.date(), "{text}"),
        1 => assert_eq!(inside.parse::<DateTime>().unwrap(), time, "{text}"),
        _ => {
            assert!(inside.ends_with("+00:00"), "{text}");
            let expected = Offset::UTC.to_timestamp(time).unwrap();
            assert_eq!(inside.parse::<Timestamp>().unwrap(), expected, "{text}");
        }
    }
}

/// What is written for any text: null, or a string of nothing but what a date is made of.
fn any(text: &[u8]) -> String {
    let mut out = Vec::new();
    time::write(text, &mut out);
    let json = String::from_utf8(out).unwrap();
    let plain = |byte: u8| byte.is_ascii_digit() || b"-:T .+".contains(&byte);
    let quoted = json.strip_prefix('"').and_then(|json| json.strip_suffix('"'));
    assert!(json == "null" || quoted.is_some_and(|inside| inside.bytes().all(plain)), "{json}");
    json
}
