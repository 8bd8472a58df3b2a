//! Dates and timestamps in PostgreSQL's ISO form (`2024-03-04 05:06:07.123+00`, `0044-03-15 BC`).

use std::cmp::Ordering;

/// Writes the form of `to_jsonb`: a `T` between date and time, a full offset. Null for the infinities, for
/// years before Christ and for years of more than four digits: no Elasticsearch date holds them in this form.
pub fn write(text: &[u8], out: &mut Vec<u8>) {
    let plain = text.len() >= 10 && text[4] == b'-' && text[..4].iter().all(u8::is_ascii_digit);
    // The bytes that occur in a date; so that nothing else can get into the JSON text.
    let clean = text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b':' | b' ' | b'.' | b'+'));
    if !plain || !clean {
        out.extend_from_slice(b"null");
        return;
    }
    out.push(b'"');
    out.extend_from_slice(&text[..10]);
    let rest = &text[10..];
    if let Some(time) = rest.strip_prefix(b" ") {
        out.push(b'T');
        out.extend_from_slice(time);
        // `+00` alone: PostgreSQL writes the minutes of an offset only when there are some.
        if let Some(offset) = time.iter().position(|byte| matches!(byte, b'+' | b'-'))
            && time.len() - offset == 3
        {
            out.extend_from_slice(b":00");
        }
    }
    out.push(b'"');
}

/// Compares two texts of one type, timestamps with time zone both in UTC (the pinned session setting).
pub fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let (a, b) = (split(a), split(b));
    (a.0, a.1).cmp(&(b.0, b.1)).then_with(|| a.2.cmp(b.2))
}

/// Side of infinity, year counted through zero, and the rest, which orders by its bytes: a fraction's
/// trailing zeros are never written, and the offset is cut off.
fn split(text: &[u8]) -> (i8, i64, &[u8]) {
    match text {
        b"infinity" => return (1, 0, b""),
        b"-infinity" => return (-1, 0, b""),
        _ => {}
    }
    let (text, before_christ) = match text.strip_suffix(b" BC") {
        Some(text) => (text, true),
        None => (text, false),
    };
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut year: i64 = 0;
    for digit in &text[..digits] {
        year = year.saturating_mul(10).saturating_add(i64::from(digit - b'0'));
    }
    let rest = &text[digits..];
    let offset = rest.iter().position(|byte| *byte == b'+').unwrap_or(rest.len());
    (0, if before_christ { 1 - year } else { year }, &rest[..offset])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_timestamps_take_the_form_of_to_jsonb() {
        let cases = [
            ("2024-03-04", r#""2024-03-04""#),
            ("2024-03-04 05:06:07.123", r#""2024-03-04T05:06:07.123""#),
            ("2024-03-04 05:06:07+00", r#""2024-03-04T05:06:07+00:00""#),
            ("2024-03-04 05:06:07.1+05:30", r#""2024-03-04T05:06:07.1+05:30""#),
            ("infinity", "null"),
            ("-infinity", "null"),
            ("0044-03-15 BC", "null"),
            ("0044-03-15 01:02:03+00 BC", "null"),
            ("12024-03-04", "null"),
            ("2024-03-04\"", "null"),
            ("", "null"),
        ];
        for (text, expected) in cases {
            let mut out = Vec::new();
            write(text.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{text}");
        }
    }
}
