//! Time, handed in: whoever drives the loops says what time it is and when a pause is over.
//!
//! Nothing else in `pipeline` and `task` asks a clock or sets a timer; a test of the house rules sees to it.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};

/// A pause that ends by itself. Dropped, it is forgotten.
pub type Pause = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Random numbers, evenly drawn, handed in: a run can be repeated with the same ones.
pub type Random = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The daemon's clocks: monotonic time since the start for every wait and every lag, and the wall clock for
/// what only people read.
pub trait Clock: Send + Sync + 'static {
    /// Since the start; never goes back.
    fn now(&self) -> Duration;

    /// Microseconds since 1970 by the wall clock.
    fn unix_us(&self) -> i64;

    /// A clock that goes on while the machine sleeps (rule 37): a gap between it and [`Clock::now`] is a pause
    /// that the process did not notice.
    fn boot_time(&self) -> Duration;

    /// Is over once [`Clock::now`] has grown by so much.
    fn pause(&self, how_long: Duration) -> Pause;

    /// Seconds since 1970 by the wall clock.
    fn unix_s(&self) -> i64 {
        self.unix_us().div_euclid(1_000_000)
    }

    /// How long ago a commit was, by its server's clock and ours; zero when the server's is ahead.
    fn since_commit(&self, commit_time_us: i64) -> Duration {
        /// Microseconds from 1970 to 2000, where PostgreSQL's time begins.
        const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;
        let ago = self.unix_us().saturating_sub(commit_time_us.saturating_add(POSTGRES_EPOCH_US));
        Duration::from_micros(u64::try_from(ago).unwrap_or(0))
    }
}

/// What the work came to; nothing when it did not end within the limit. It is dropped then.
pub async fn within<T>(clock: &dyn Clock, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    let over = clock.pause(limit);
    // The work is looked at first: what is done in the last moment counts.
    match select(pin!(work), over).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(_) => None,
    }
}

/// Ticks at once, and from then on when so much time has passed since the last tick: ticks that were missed
/// are not made up for.
pub struct Ticks {
    clock: Arc<dyn Clock>,
    every: Duration,
    next: Duration,
    /// Kept from one call to the next: a wait that is given up half-way goes on where it was.
    pause: Option<Pause>,
}

impl Ticks {
    pub fn new(clock: Arc<dyn Clock>, every: Duration) -> Ticks {
        Ticks { next: clock.now(), clock, every, pause: None }
    }

    /// Returns at the next tick. May be dropped and called again.
    pub async fn tick(&mut self) {
        loop {
            let now = self.clock.now();
            if now >= self.next {
                self.pause = None;
                self.next = now + self.every;
                return;
            }
            let left = self.next - now;
            self.pause.get_or_insert_with(|| self.clock.pause(left)).await;
            self.pause = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures_util::FutureExt;

    use super::*;

    /// A clock that goes on by itself whenever somebody waits.
    #[derive(Default)]
    struct Jumps(Arc<AtomicU64>);

    impl Clock for Jumps {
        fn now(&self) -> Duration {
            Duration::from_millis(self.0.load(Ordering::Relaxed))
        }

        fn unix_us(&self) -> i64 {
            -1
        }

        fn boot_time(&self) -> Duration {
            self.now()
        }

        fn pause(&self, how_long: Duration) -> Pause {
            let now = Arc::clone(&self.0);
            Box::pin(async move {
                now.fetch_add(how_long.as_millis() as u64, Ordering::Relaxed);
            })
        }
    }

    #[test]
    fn work_that_ends_counts_and_work_that_does_not_is_given_up() {
        let clock = Jumps::default();
        assert_eq!(within(&clock, Duration::ZERO, async { 7 }).now_or_never(), Some(Some(7)));
        let never = std::future::pending::<()>();
        assert_eq!(within(&clock, Duration::from_secs(1), never).now_or_never(), Some(None));
    }

    #[test]
    fn ticks_come_at_once_then_after_the_pause_and_missed_ones_do_not_heap_up() {
        let clock = Arc::new(Jumps::default());
        let mut ticks = Ticks::new(clock.clone(), Duration::from_millis(10));
        let mut at = || {
            ticks.tick().now_or_never().unwrap();
            clock.now().as_millis()
        };
        assert_eq!([at(), at(), at()], [0, 10, 20]);
        clock.0.store(75, Ordering::Relaxed);
        assert_eq!([at(), at()], [75, 85]);
    }

    #[test]
    fn before_1970_is_the_second_before() {
        assert_eq!(Jumps::default().unix_s(), -1);
        assert_eq!(Jumps::default().since_commit(0), Duration::ZERO);
    }
}
