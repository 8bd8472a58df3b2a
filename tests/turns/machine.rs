//! A machine without time and threads: a clock that stands until it is told, and loops that wait to be turned.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use projectord::pipeline::run::Error;
use projectord::pipeline::run::clock::{Clock, Pause};
use projectord::pipeline::run::hosting::{Host, Machine, Work};

/// Microseconds since 1970 when a run begins: some day in 2026.
const BEGIN_US: i64 = 1_780_000_000_000_000;

#[derive(Default)]
struct Time {
    now: Duration,
    /// Who is to be woken when, and in which order they came.
    sleepers: BTreeMap<(Duration, u64), Waker>,
    numbers: u64,
}

pub struct Turner {
    time: Arc<Mutex<Time>>,
    random: Mutex<fastrand::Rng>,
    started: Mutex<Vec<Box<dyn Work>>>,
}

impl Turner {
    pub fn new(seed: u64) -> Arc<Turner> {
        Arc::new(Turner {
            time: Arc::default(),
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
            started: Mutex::default(),
        })
    }

    pub fn machine(self: &Arc<Turner>) -> Machine {
        let turner = Arc::clone(self);
        Machine {
            clock: self.clone(),
            random: Arc::new(move || turner.random.lock().unwrap().u64(..)),
            host: self.clone(),
        }
    }

    /// Loops that were handed over since the last call.
    pub fn started(&self) -> Vec<Box<dyn Work>> {
        std::mem::take(&mut *self.started.lock().unwrap())
    }

    pub fn pass(&self, how_long: Duration) {
        let mut time = self.time.lock().unwrap();
        time.now += how_long;
        let now = time.now;
        let later = time.sleepers.split_off(&(now, u64::MAX));
        let over = std::mem::replace(&mut time.sleepers, later);
        drop(time);
        over.into_values().for_each(Waker::wake);
    }
}

impl Clock for Turner {
    fn now(&self) -> Duration {
        self.time.lock().unwrap().now
    }

    fn unix_us(&self) -> i64 {
        BEGIN_US + self.now().as_micros() as i64
    }

    fn boot_time(&self) -> Duration {
        self.now()
    }

    fn pause(&self, how_long: Duration) -> Pause {
        let time = Arc::clone(&self.time);
        let until = self.now() + how_long;
        let number = {
            let mut time = time.lock().unwrap();
            time.numbers += 1;
            time.numbers
        };
        Box::pin(poll_fn(move |context| {
            let mut time = time.lock().unwrap();
            if time.now >= until {
                return Poll::Ready(());
            }
            time.sleepers.insert((until, number), context.waker().clone());
            Poll::Pending
        }))
    }
}

impl Host for Turner {
    fn start(&self, work: Box<dyn Work>) -> Result<(), Error> {
        self.started.lock().unwrap().push(work);
        Ok(())
    }

    fn beside(&self, job: Box<dyn FnOnce() + Send>) {
        job();
    }
}
