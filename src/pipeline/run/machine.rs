//! The real machine: the system's clocks and timers, its randomness, and a thread for each loop.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Error;
use super::clock::{Clock, Pause};
use super::hosting::{Host, Machine, Turn, Work};

impl Machine {
    /// The machine that this process runs on. What waits and what blocks needs a tokio runtime with timers.
    pub fn system() -> Machine {
        Machine {
            clock: Arc::new(SystemClock { started: Instant::now() }),
            random: Arc::new(|| fastrand::u64(..)),
            host: Arc::new(Threads),
        }
    }
}

struct SystemClock {
    started: Instant,
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn unix_us(&self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
    }

    fn boot_time(&self) -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(time.tv_sec.max(0) as u64, time.tv_nsec.max(0) as u32)
    }

    fn pause(&self, how_long: Duration) -> Pause {
        Box::pin(tokio::time::sleep(how_long))
    }
}

/// A thread for each loop, named after it.
struct Threads;

impl Host for Threads {
    fn start(&self, mut work: Box<dyn Work>) -> Result<(), Error> {
        let name = work.name();
        let turning = move || {
            loop {
                match work.turn() {
                    Turn::Again => {}
                    Turn::Input(within) => work.wait(within),
                    Turn::Pause(how_long) => std::thread::sleep(how_long),
                    Turn::Ended => return,
                }
            }
        };
        // The thread is not joined: the loop tells how it ended, and nothing of it is left then.
        let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(turning);
        spawned.map(drop).map_err(|error| Error::Refused {
            code: "thread",
            reason: format!("cannot start the {name} thread: {error}"),
            hint: "Raise the limit of threads for this process.".to_owned(),
        })
    }

    fn beside(&self, job: Box<dyn FnOnce() + Send>) {
        tokio::task::spawn_blocking(job);
    }
}
