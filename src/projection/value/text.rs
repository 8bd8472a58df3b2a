//! Text to a JSON string, and JSON to one line.

const REPLACEMENT: &[u8] = "\u{FFFD}".as_bytes();
const HEX: &[u8; 16] = b"0123456789abcdef";

/// Writes a JSON string. Bytes that are not UTF-8 (a SQL_ASCII database) become U+FFFD.
pub fn write(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    append(text, out);
    out.push(b'"');
}

/// The inside of the string.
pub fn append(text: &[u8], out: &mut Vec<u8>) {
    // Most texts need nothing at all.
    if text.iter().all(|byte| matches!(byte, 0x20..=0x7F) && *byte != b'"' && *byte != b'\\') {
        out.extend_from_slice(text);
        return;
    }
    for chunk in text.utf8_chunks() {
        escape(chunk.valid().as_bytes(), out);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice(REPLACEMENT);
        }
    }
}

fn escape(text: &[u8], out: &mut Vec<u8>) {
    let mut start = 0;
    for (position, byte) in text.iter().enumerate() {
        let short = match byte {
            b'"' | b'\\' => *byte,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0C => b'f',
            0x00..=0x1F => 0,
            _ => continue,
        };
        out.extend_from_slice(&text[start..position]);
        start = position + 1;
        if short == 0 {
            let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&digits);
        } else {
            out.extend_from_slice(&[b'\\', short]);
        }
    }
    out.extend_from_slice(&text[start..]);
}

/// Writes a `json` value without the white space outside of its strings: `json` keeps what was written,
/// and a document must be one line. Numbers stay as they are, digit by digit.
pub fn write_json(json: &[u8], out: &mut Vec<u8>) {
    if json.is_empty() {
        out.extend_from_slice(b"null");
        return;
    }
    let valid;
    let json = match std::str::from_utf8(json) {
        Ok(_) => json,
        Err(_) => {
            valid = String::from_utf8_lossy(json).into_owned();
            valid.as_bytes()
        }
    };
    let mut in_string = false;
    let mut escaped = false;
    let mut start = 0;
    for (position, byte) in json.iter().enumerate() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
        } else if *byte == b'"' {
            in_string = true;
        } else if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
            out.extend_from_slice(&json[start..position]);
            start = position + 1;
        }
    }
    out.extend_from_slice(&json[start..]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn json_loses_its_white_space_outside_of_strings_only() {
        let mut out = Vec::new();
        write_json(b" { \"a b\" :\n [1.50, \" \\\" \" ,\t1e400 ] }\r\n", &mut out);
        assert_eq!(out, br#"{"a b":[1.50," \" ",1e400]}"#);
    }

    proptest! {
        #[test]
        fn any_bytes_become_the_string_that_their_lossy_form_is(bytes: Vec<u8>) {
            let mut out = Vec::new();
            write(&bytes, &mut out);
            let read: String = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(read, String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn compact_json_means_the_same(text: String, number: i64) {
            let value = serde_json::json!({ text.clone(): [number, text, null] });
            let mut out = Vec::new();
            write_json(serde_json::to_string_pretty(&value).unwrap().as_bytes(), &mut out);
            prop_assert_eq!(out, serde_json::to_vec(&value).unwrap());
        }

        #[test]
        fn any_bytes_pass_as_json_without_a_panic(bytes: Vec<u8>) {
            write_json(&bytes, &mut Vec::new());
        }
    }
}
