//! Named waits between the loops, and lag that no wall clock can bend.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::Lsn;

/// An idle position is journaled at most this often, unless the server asks (rule 3).
pub const IDLE_POSITION_EVERY: Duration = Duration::from_secs(5);
/// With data pending and nothing journaled for so long, the connection is given up: one that only keeps
/// alive would keep the server from shutting down (rule 2).
pub const JOURNAL_STALL_MAX: Duration = Duration::from_secs(10);
/// Samples kept; neighbours are merged when there are more, which costs resolution in old lag only.
const SAMPLES_MAX: usize = 4_096;

/// When which position was received, by our own monotonic clock: lag in seconds without any wall clock
/// (hazard 43).
#[derive(Clone, Debug, Default)]
pub struct Arrivals {
    samples: VecDeque<(Lsn, Duration)>,
}

impl Arrivals {
    /// A position was received (or the server said that it is there) now.
    pub fn received(&mut self, position: Lsn, now: Duration) {
        if self.samples.back().is_some_and(|(last, _)| *last >= position) {
            return;
        }
        if self.samples.len() == SAMPLES_MAX {
            let mut keep = false;
            // Of each pair the later position stays with the earlier time: never less lag than the truth.
            let mut merged = VecDeque::with_capacity(SAMPLES_MAX);
            for (position, time) in self.samples.drain(..) {
                if keep {
                    if let Some((last, _)) = merged.back_mut() {
                        *last = position;
                    }
                } else {
                    merged.push_back((position, time));
                }
                keep = !keep;
            }
            self.samples = merged;
        }
        self.samples.push_back((position, now));
    }

    /// How long ago the oldest position beyond `done` was received; zero when there is none.
    pub fn lag(&mut self, done: Lsn, now: Duration) -> Duration {
        while self.samples.front().is_some_and(|(position, _)| *position <= done) {
            self.samples.pop_front();
        }
        self.samples.front().map_or(Duration::ZERO, |(_, time)| now.saturating_sub(*time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_the_age_of_the_oldest_position_that_is_not_done() {
        let mut arrivals = Arrivals::default();
        let at = Duration::from_secs;
        arrivals.received(Lsn(10), at(1));
        arrivals.received(Lsn(20), at(5));
        arrivals.received(Lsn(20), at(7));
        assert_eq!(arrivals.lag(Lsn(0), at(9)), at(8));
        assert_eq!(arrivals.lag(Lsn(10), at(9)), at(4));
        assert_eq!(arrivals.lag(Lsn(20), at(9)), at(0));
    }

    #[test]
    fn merged_samples_never_show_less_lag_than_the_truth() {
        let mut arrivals = Arrivals::default();
        let count = SAMPLES_MAX as u64 * 3;
        for n in 1..=count {
            arrivals.received(Lsn(n), Duration::from_secs(n));
        }
        for done in (0..count).step_by(97) {
            let mut copy = arrivals.clone();
            let truth = Duration::from_secs(count - (done + 1));
            assert!(copy.lag(Lsn(done), Duration::from_secs(count)) >= truth, "{done}");
        }
    }
}
