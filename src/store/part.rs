//! Key parts: how a key of any length becomes part of a store key (rule 30).
//!
//! A part is one tag byte and then either the whole key (short ones, nearly all) or its first bytes and a
//! 128-bit hash. No part is the beginning of another one, so parts can be joined and scanned by prefix.
//! Where a part is hashed, the true key stands in the value and is compared on reading.

use xxhash_rust::xxh3::xxh3_128;

/// Keys up to this length stand in the store key as they are.
pub const PART_BYTES_MAX: usize = 150;
/// Bytes of a longer key that stay in front of its hash, so that neighbours stay neighbours.
const HEAD_BYTES: usize = 132;

const ABSENT: u8 = 0;
const WHOLE: u8 = 1;
const HASHED: u8 = 2;

/// Appends a key as a part.
pub fn put(part: &mut Vec<u8>, key: &[u8]) {
    if key.len() <= PART_BYTES_MAX {
        part.push(WHOLE);
        part.extend_from_slice(key);
    } else {
        part.push(HASHED);
        part.extend_from_slice(&key[..HEAD_BYTES]);
        part.extend_from_slice(&xxh3_128(key).to_be_bytes());
    }
}

/// Appends the part of a key that is not there: a row whose parent is NULL.
pub fn put_absent(part: &mut Vec<u8>) {
    part.push(ABSENT);
}

/// Whether a key needs its true form in the value.
pub fn is_hashed(key: &[u8]) -> bool {
    key.len() > PART_BYTES_MAX
}

/// The key in a part that stands at the end of a store key; nothing when it was hashed or absent.
pub fn whole(part: &[u8]) -> Option<&[u8]> {
    match part.split_first() {
        Some((&WHOLE, key)) => Some(key),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(key: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        put(&mut bytes, key);
        bytes
    }

    #[test]
    fn short_keys_come_back_and_long_ones_do_not_pretend_to() {
        assert_eq!(whole(&part(b"abc\0")), Some(&b"abc\0"[..]));
        let long = vec![b'k'; PART_BYTES_MAX + 1];
        assert_eq!(whole(&part(&long)), None);
        assert!(is_hashed(&long));
    }

    #[test]
    fn long_keys_that_differ_only_at_the_end_have_different_parts_within_the_limit() {
        let mut a = vec![b'k'; 2600];
        let b = a.clone();
        *a.last_mut().unwrap() = b'x';
        assert_ne!(part(&a), part(&b));
        // Table, two parts and a few tags must stay below the engine's limit.
        assert!(2 * part(&a).len() + 16 < crate::store::engine::KEY_BYTES_MAX);
    }
}
