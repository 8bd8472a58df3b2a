//! How long to wait before trying again.
//!
//! Pure: the caller waits, and hands in the randomness. What is worth another try takes its delay from a
//! [`Backoff`], which forgets everything at the first success.

use std::time::Duration;

/// No delay is longer than this, whatever the options say: an operator who mended the cause should not
/// have to wait much longer than that.
pub const DELAY_MAX: Duration = Duration::from_secs(300);

/// No first delay is shorter than this, so that no options make a loop that turns without a pause.
pub const DELAY_MIN: Duration = Duration::from_millis(1);

/// How delays grow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// The first delay, before jitter.
    pub first: Duration,
    /// Delays grow up to this, and to [`DELAY_MAX`] at most.
    pub max: Duration,
    /// Each delay is this many times the one before. Below 1 counts as 1.
    pub factor: f64,
    /// The part of a delay that is left to chance, 0 to 1: with 0.5 a delay of 8 s becomes 4 to 8 s, so that
    /// many who failed together do not come back together.
    pub jitter: f64,
}

impl Default for Options {
    fn default() -> Self {
        Options { first: Duration::from_millis(100), max: Duration::from_secs(30), factor: 2.0, jitter: 0.5 }
    }
}

/// The next delay, and how often it was tried.
#[derive(Clone, Debug)]
pub struct Backoff {
    options: Options,
    next: Duration,
    attempts: u32,
}

impl Backoff {
    pub fn new(options: Options) -> Backoff {
        let max = options.max.clamp(DELAY_MIN, DELAY_MAX);
        let options = Options {
            first: options.first.clamp(DELAY_MIN, max),
            max,
            // `max` and `clamp` also get rid of what is not a number.
            factor: options.factor.max(1.0),
            jitter: if options.jitter.is_nan() { 0.0 } else { options.jitter.clamp(0.0, 1.0) },
        };
        Backoff { options, next: options.first, attempts: 0 }
    }

    /// It failed: how long to wait before the next attempt. `random` is any number, evenly drawn.
    pub fn failed(&mut self, random: u64) -> Duration {
        let delay = self.next;
        self.attempts = self.attempts.saturating_add(1);
        // More than a Duration can hold is more than the largest delay.
        let grown = Duration::try_from_secs_f64(delay.as_secs_f64() * self.options.factor);
        self.next = grown.map_or(self.options.max, |grown| grown.min(self.options.max));
        let chance = random as f64 / u64::MAX as f64;
        delay.mul_f64(1.0 - self.options.jitter * chance).max(DELAY_MIN)
    }

    /// It worked: the next failure begins from the first delay.
    pub fn succeeded(&mut self) {
        self.next = self.options.first;
        self.attempts = 0;
    }

    /// Failures since the last success.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(options: Options, random: u64, count: usize) -> Vec<u128> {
        let mut backoff = Backoff::new(options);
        (0..count).map(|_| backoff.failed(random).as_millis()).collect()
    }

    #[test]
    fn delays_grow_by_the_factor_up_to_the_largest() {
        let options = Options { jitter: 0.0, max: Duration::from_secs(1), ..Options::default() };
        assert_eq!(delays(options, 77, 6), [100, 200, 400, 800, 1_000, 1_000]);
    }

    #[test]
    fn jitter_takes_away_its_part_at_most_and_never_adds() {
        let options = Options { jitter: 0.5, ..Options::default() };
        assert_eq!(delays(options, 0, 3), [100, 200, 400]);
        assert_eq!(delays(options, u64::MAX, 3), [50, 100, 200]);
        assert_eq!(delays(options, u64::MAX / 2, 3), [75, 150, 300]);
    }

    #[test]
    fn a_success_begins_anew() {
        let mut backoff = Backoff::new(Options { jitter: 0.0, ..Options::default() });
        for _ in 0..5 {
            backoff.failed(0);
        }
        assert_eq!(backoff.attempts(), 5);
        backoff.succeeded();
        assert_eq!((backoff.attempts(), backoff.failed(0).as_millis()), (0, 100));
    }

    #[test]
    fn senseless_options_neither_panic_nor_pass_the_named_bounds() {
        for factor in [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e300] {
            for jitter in [f64::NAN, f64::INFINITY, -1.0, 2.0] {
                for (first, max) in [(Duration::MAX, Duration::MAX), (Duration::ZERO, Duration::MAX)] {
                    let mut backoff = Backoff::new(Options { first, max, factor, jitter });
                    for random in [0, 1, u64::MAX] {
                        assert!((0..50).all(|_| (DELAY_MIN..=DELAY_MAX).contains(&backoff.failed(random))));
                    }
                }
            }
        }
    }
}
