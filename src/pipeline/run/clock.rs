//! The daemon's clocks, in one place: monotonic time since the start for every wait and every lag, and the
//! wall clock for what only people read.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Handed to the loops.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    pub fn start() -> Clock {
        Clock { started: Instant::now() }
    }

    /// Since the start; never goes back.
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Seconds since 1970 by the wall clock.
    pub fn unix_s(&self) -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs() as i64)
    }

    /// How long ago a commit was, by its server's clock and ours; zero when the server's is ahead.
    pub fn since_commit(&self, commit_time_us: i64) -> Duration {
        /// Microseconds from 1970 to 2000, where PostgreSQL's time begins.
        const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_us = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
        let ago = now_us.saturating_sub(commit_time_us.saturating_add(POSTGRES_EPOCH_US));
        Duration::from_micros(u64::try_from(ago).unwrap_or(0))
    }

    /// A clock that goes on while the machine sleeps (rule 37): a gap between it and [`Clock::now`] is a pause
    /// that the process did not notice.
    pub fn boot_time(&self) -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(time.tv_sec.max(0) as u64, time.tv_nsec.max(0) as u32)
    }
}
