//! How many rows the next chunk reads (rule 42).

use std::time::Duration;

/// The smallest and largest chunk, in rows.
pub(super) const CHUNK_ROWS: (u32, u32) = (100, 50_000);

/// The next chunk's rows, so that its SELECT takes about as long as it should.
pub(super) fn adapted(rows: u32, took: Duration, target: Duration) -> u32 {
    let ratio = target.as_secs_f64() / took.as_secs_f64().max(0.001);
    let next = f64::from(rows) * ratio.clamp(0.5, 2.0);
    (next as u32).clamp(CHUNK_ROWS.0, CHUNK_ROWS.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_grow_and_shrink_towards_the_target_within_bounds() {
        let target = Duration::from_millis(100);
        for (rows, took_ms, expected) in [
            (1_000, 100, 1_000),
            (1_000, 10, 2_000),
            (1_000, 1_000, 500),
            (100, 9_999, 100),
            (50_000, 1, 50_000),
        ] {
            assert_eq!(adapted(rows, Duration::from_millis(took_ms), target), expected);
        }
    }
}
