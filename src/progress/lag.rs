//! How long ago was what is projected now received? Answered by our own monotonic clock alone, so that a
//! server whose clock is wrong cannot make the answer negative or flattering (hazard 43).

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::Lsn;

/// Samples that are kept: 24 bytes each. When there are more, neighbours are merged, two into one.
pub const SAMPLES_MAX: usize = 1024;

/// What is received within this time of a sample joins it. Doubled by each merging, so that the error
/// stays below a four-hundredth of the lag, however long the sink is away.
pub const SPACING_MIN: Duration = Duration::from_millis(10);

/// What was received and is not projected yet, as moments.
#[derive(Debug)]
pub struct Lag {
    samples: VecDeque<Sample>,
    spacing: Duration,
}

/// Everything behind the sample before it, up to `upto`, came at `since` or a little later. Merging keeps the
/// earlier moment and the later position: the answer may be a little too large, never too small.
#[derive(Clone, Copy, Debug)]
struct Sample {
    upto: Lsn,
    since: Duration,
}

impl Default for Lag {
    fn default() -> Self {
        Lag { samples: VecDeque::new(), spacing: SPACING_MIN }
    }
}

impl Lag {
    /// A commit that ends here was received.
    pub fn received(&mut self, end: Lsn, now: Duration) {
        if let Some(last) = self.samples.back_mut() {
            if end <= last.upto {
                return;
            }
            if now.saturating_sub(last.since) < self.spacing {
                last.upto = end;
                return;
            }
        }
        self.samples.push_back(Sample { upto: end, since: now });
        if self.samples.len() > SAMPLES_MAX {
            self.merge();
        }
    }

    /// Everything up to here is projected.
    pub fn projected(&mut self, upto: Lsn) {
        while self.samples.front().is_some_and(|sample| sample.upto <= upto) {
            self.samples.pop_front();
        }
        if self.samples.len() < SAMPLES_MAX / 4 {
            self.spacing = (self.spacing / 2).max(SPACING_MIN);
        }
    }

    /// How long the oldest unprojected commit has been here; nothing when there is none.
    pub fn age(&self, now: Duration) -> Option<Duration> {
        self.samples.front().map(|oldest| now.saturating_sub(oldest.since))
    }

    fn merge(&mut self) {
        let halved = self.samples.len().div_ceil(2);
        for at in 0..halved {
            let first = self.samples[at * 2];
            let last = self.samples.get(at * 2 + 1).copied().unwrap_or(first);
            self.samples[at] = Sample { upto: last.upto, since: first.since };
        }
        self.samples.truncate(halved);
        self.spacing = self.spacing.saturating_mul(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_oldest_commit_that_is_not_projected_gives_the_age() {
        let mut lag = Lag::default();
        assert_eq!(lag.age(ms(5)), None);
        for (end, at) in [(10, 100), (20, 200), (30, 300)] {
            lag.received(Lsn(end), ms(at));
        }
        let mut check = |projected: u64, expected: Option<u64>| {
            lag.projected(Lsn(projected));
            assert_eq!(lag.age(ms(1_000)), expected.map(ms), "projected {projected}");
        };
        check(0, Some(900));
        check(10, Some(800));
        check(19, Some(800));
        check(25, Some(700));
        check(30, None);
    }

    #[test]
    fn what_comes_together_counts_from_the_first_of_it() {
        let mut lag = Lag::default();
        lag.received(Lsn(10), ms(0));
        lag.received(Lsn(20), ms(9));
        lag.received(Lsn(30), ms(10));
        lag.projected(Lsn(10));
        assert_eq!(lag.age(ms(50)), Some(ms(50)));
        lag.projected(Lsn(20));
        assert_eq!(lag.age(ms(50)), Some(ms(40)));
    }

    #[test]
    fn what_is_sent_again_keeps_the_moment_at_which_it_first_came() {
        let mut lag = Lag::default();
        lag.received(Lsn(10), ms(0));
        lag.received(Lsn(10), ms(500));
        lag.received(Lsn(5), ms(600));
        assert_eq!(lag.age(ms(1_000)), Some(ms(1_000)));
    }

    #[test]
    fn a_day_behind_is_answered_from_a_bounded_ring_never_too_small_and_hardly_too_large() {
        let mut lag = Lag::default();
        // A commit every 20 ms for a day; the position is the moment in milliseconds.
        let day_ms = 86_400_000u64;
        for at in (20..=day_ms).step_by(20) {
            lag.received(Lsn(at), ms(at));
            assert!(lag.samples.len() <= SAMPLES_MAX);
        }
        for projected in (20..day_ms).step_by(977_000) {
            lag.projected(Lsn(projected));
            let (told, truth) = (lag.age(ms(day_ms)).unwrap(), ms(day_ms - projected - 20));
            assert!(told + ms(20) >= truth, "projected {projected}: {told:?} < {truth:?}");
            assert!(told <= truth + ms(day_ms / 400), "projected {projected}: {told:?} > {truth:?}");
        }
        lag.projected(Lsn(day_ms));
        assert_eq!(lag.age(ms(day_ms)), None);
    }

    #[test]
    fn after_a_long_lag_the_fine_spacing_comes_back() {
        let mut lag = Lag::default();
        for at in 0..200_000u64 {
            lag.received(Lsn(at + 1), ms(at * 20));
        }
        assert!(lag.spacing > ms(1_000));
        for at in 200_000..200_030u64 {
            lag.projected(Lsn(at));
            lag.received(Lsn(at + 1), ms(at * 20));
        }
        assert_eq!(lag.spacing, SPACING_MIN);
    }
}
