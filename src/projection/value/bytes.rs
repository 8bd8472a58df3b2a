//! bytea in hex form (`\xdead`) to base64, the form of Elasticsearch's `binary`.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Writes a base64 string; null for what is not in hex form.
pub fn write(text: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    if append(text, out).is_none() {
        out.truncate(start);
        out.extend_from_slice(b"null");
    }
}

fn append(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let hex = text.strip_prefix(b"\\x")?;
    if hex.len() % 2 != 0 {
        return None;
    }
    out.push(b'"');
    for group in hex.chunks(6) {
        let mut bits: u32 = 0;
        for digit in group {
            bits = bits << 4 | char::from(*digit).to_digit(16)?;
        }
        bits <<= 4 * (6 - group.len());
        // One byte more makes one character more, after the first.
        let characters = group.len() / 2 + 1;
        for position in 0..4 {
            let index = (bits >> (18 - 6 * position)) & 63;
            out.push(if position < characters { ALPHABET[index as usize] } else { b'=' });
        }
    }
    out.push(b'"');
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_becomes_padded_base64() {
        let cases = [
            ("\\x", "\"\""),
            ("\\x66", "\"Zg==\""),
            ("\\x666f", "\"Zm8=\""),
            ("\\x666f6f", "\"Zm9v\""),
            ("\\x666f6f62", "\"Zm9vYg==\""),
            ("\\xfffefd", "\"//79\""),
            ("\\x6", "null"),
            ("\\xzz", "null"),
            ("336\\255", "null"),
        ];
        for (text, expected) in cases {
            let mut out = Vec::new();
            write(text.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{text}");
        }
    }
}
