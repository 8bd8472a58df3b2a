//! The machine that a simulated process runs on: a clock that stands still until it is moved, one stream of
//! random numbers, and loops that are turned when the scheduler says so.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use projectord::pipeline::run::Error;
use projectord::pipeline::run::clock::{Clock, Pause};
use projectord::pipeline::run::hosting::{Host, Machine, Work};
use tokio::sync::oneshot;

/// Seconds since 1970 when a run begins: 2026.
const BEGAN_UNIX_S: i64 = 1_767_225_600;

#[derive(Default)]
struct Time {
    now: Duration,
    /// What the clock that does not stop while the machine sleeps is ahead by.
    slept: Duration,
    /// What the wall clock is off by.
    skew_s: i64,
    pauses: Vec<(Duration, oneshot::Sender<()>)>,
}

/// See the module. Clones are the same clock.
#[derive(Clone, Default)]
pub struct Virtual {
    time: Arc<Mutex<Time>>,
}

impl Virtual {
    fn time(&self) -> MutexGuard<'_, Time> {
        self.time.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn advance(&self, by: Duration) {
        let mut time = self.time();
        time.now += by;
        time.wake();
    }

    /// The machine sleeps: the process does not see it, but for one clock.
    pub fn sleep(&self, by: Duration) {
        self.time().slept += by;
    }

    /// Somebody sets the wall clock.
    pub fn skew(&self, by_s: i64) {
        self.time().skew_s += by_s;
    }

    /// How long it is until the next pause is over.
    pub fn until_next(&self) -> Option<Duration> {
        let mut time = self.time();
        time.pauses.retain(|(_, over)| !over.is_closed());
        let now = time.now;
        time.pauses.iter().map(|(until, _)| until.saturating_sub(now)).min()
    }

    /// Everything that has gone by, asleep or not.
    pub fn elapsed(&self) -> Duration {
        let time = self.time();
        time.now + time.slept
    }
}

impl Time {
    fn wake(&mut self) {
        let now = self.now;
        let (over, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pauses).into_iter().partition(|(until, _)| *until <= now);
        self.pauses = waiting;
        for (_, pause) in over {
            let _ = pause.send(()); // nobody may be waiting any more
        }
    }
}

impl Clock for Virtual {
    fn now(&self) -> Duration {
        self.time().now
    }

    fn unix_us(&self) -> i64 {
        let time = self.time();
        let since = (time.now + time.slept).as_micros() as i64;
        (BEGAN_UNIX_S + time.skew_s) * 1_000_000 + since
    }

    fn boot_time(&self) -> Duration {
        self.elapsed()
    }

    fn pause(&self, how_long: Duration) -> Pause {
        let (over, pause) = oneshot::channel();
        let mut time = self.time();
        let until = time.now + how_long;
        time.pauses.push((until, over));
        time.wake();
        Box::pin(async move {
            let _ = pause.await;
        })
    }
}

type Works = Arc<Mutex<Vec<Box<dyn Work>>>>;
type Job = Box<dyn FnOnce() + Send>;

/// Where a process hands its loops and what blocks.
#[derive(Clone, Default)]
pub struct Hands {
    pub works: Works,
    pub jobs: Arc<Mutex<Vec<Job>>>,
}

impl Host for Hands {
    fn start(&self, work: Box<dyn Work>) -> Result<(), Error> {
        self.works.lock().unwrap_or_else(PoisonError::into_inner).push(work);
        Ok(())
    }

    fn beside(&self, job: Job) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).push(job);
    }
}

/// A machine of this clock.
pub fn machine(clock: &Virtual, hands: &Hands, seed: u64) -> Machine {
    let random = Mutex::new(fastrand::Rng::with_seed(seed));
    Machine {
        clock: Arc::new(clock.clone()),
        random: Arc::new(move || random.lock().unwrap_or_else(PoisonError::into_inner).u64(..)),
        host: Arc::new(hands.clone()),
    }
}
