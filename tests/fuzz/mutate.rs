//! Changes inputs that are nearly right into inputs that are nearly right: random bytes never get behind the
//! first length or the first checksum.

/// Inputs are not made longer than this.
pub const INPUT_BYTES_MAX: usize = 4096;

/// Numbers at which something ends.
const EDGES: [u64; 16] = [
    0,
    1,
    2,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    0x4000_0000,
    1 << 26,
    i64::MAX as u64,
    u64::MAX,
];

/// Changes `input` a few times. `other` is another input to take pieces from, `words` what the format is
/// made of. What is random comes from `random` alone, so a seed repeats a run.
pub fn mutate(input: &mut Vec<u8>, other: &[u8], words: &[&[u8]], random: &mut fastrand::Rng) {
    // Mostly few changes, sometimes many.
    let changes = 1 << random.u32(..5);
    for _ in 0..random.u32(1..=changes) {
        change(input, other, words, random);
    }
    input.truncate(INPUT_BYTES_MAX);
}

fn change(input: &mut Vec<u8>, other: &[u8], words: &[&[u8]], random: &mut fastrand::Rng) {
    let at = random.usize(..=input.len());
    match random.u8(..14) {
        0 if at < input.len() => input[at] ^= 1 << random.u32(..8),
        1 if at < input.len() => input[at] = random.u8(..),
        2 if at < input.len() => input[at] = input[at].wrapping_add(random.u8(..3)).wrapping_sub(1),
        3 => number(input, at, random),
        4 => {
            let piece = piece(input, random).to_vec();
            insert(input, at, &piece);
        }
        5 => {
            let end = (at + length(random)).min(input.len());
            input.drain(at..end);
        }
        6 => {
            let piece = piece(other, random).to_vec();
            insert(input, at, &piece);
        }
        7 => {
            let piece = piece(other, random).to_vec();
            overwrite(input, at, &piece);
        }
        8 if random.u8(..8) == 0 => input.truncate(at),
        9 | 10 if !words.is_empty() => insert(input, at, words[random.usize(..words.len())]),
        11 if !words.is_empty() => overwrite(input, at, words[random.usize(..words.len())]),
        12 => {
            let bytes: Vec<u8> = (0..random.usize(1..9)).map(|_| random.u8(..)).collect();
            insert(input, at, &bytes);
        }
        _ => {
            // One byte over and over: depth, lengths, padding.
            let byte = input.get(at).copied().unwrap_or(b' ');
            insert(input, at, &vec![byte; length(random)]);
        }
    }
}

/// Short pieces are likelier than long ones.
fn length(random: &mut fastrand::Rng) -> usize {
    let most = 1 << random.u32(1..9);
    random.usize(1..=most)
}

fn piece<'a>(bytes: &'a [u8], random: &mut fastrand::Rng) -> &'a [u8] {
    let from = random.usize(..=bytes.len());
    &bytes[from..(from + length(random)).min(bytes.len())]
}

fn insert(input: &mut Vec<u8>, at: usize, piece: &[u8]) {
    if input.len() + piece.len() <= INPUT_BYTES_MAX {
        input.splice(at..at, piece.iter().copied());
    }
}

fn overwrite(input: &mut [u8], at: usize, piece: &[u8]) {
    let end = (at + piece.len()).min(input.len());
    input[at..end].copy_from_slice(&piece[..end - at]);
}

/// Puts an edge, or a number near the one that stands there, in one of the usual widths.
fn number(input: &mut Vec<u8>, at: usize, random: &mut fastrand::Rng) {
    let width = [1, 2, 4, 8][random.usize(..4)];
    let near = random.u64(..3).wrapping_sub(1);
    let value = match random.u8(..3) {
        0 => input.len() as u64,
        1 => random.u64(..) >> random.u32(..64),
        _ => EDGES[random.usize(..EDGES.len())],
    };
    let value = value.wrapping_add(near);
    let bytes = match random.bool() {
        true => value.to_be_bytes()[8 - width..].to_vec(),
        false => value.to_le_bytes()[..width].to_vec(),
    };
    match random.u8(..4) {
        0 => insert(input, at, &bytes),
        1 => insert(input, at, value.to_string().as_bytes()),
        _ => overwrite(input, at, &bytes),
    }
}
