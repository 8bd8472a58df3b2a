//! Loops are turned from outside: a turn does what can be done now and says what it waits for. Who turns them
//! is handed in, as are the clock and chance: threads in a daemon (`machine`), one scheduler in a simulation,
//! which can then stop between any two turns.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::Error;
use super::clock::{Clock, Random};

/// What a turn came to. A turn never blocks and never sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Something was done; there may be more.
    Again,
    /// There is nothing to do until an input comes or, where it is given, so much time has passed. Turning
    /// earlier does no harm.
    Input(Option<Duration>),
    /// There is nothing to do for so long, whatever comes in. Turning earlier does no harm.
    Pause(Duration),
    /// It is over, well or not.
    Ended,
}

/// One of the three loops.
pub trait Loop: Send + 'static {
    /// Why it ended.
    type Failed: Into<Error>;
    const NAME: &'static str;

    /// Does what can be done now.
    fn turn(&mut self) -> Result<Turn, Self::Failed>;

    /// Blocks the thread until an input comes, or for so long at most. Only for threads.
    fn wait(&mut self, within: Option<Duration>);
}

/// A loop in the hands of a [`Host`]. Dropped before its end, it counts as one that panicked.
pub trait Work: Send {
    fn name(&self) -> &'static str;
    /// See [`Loop::turn`]. Ended, it stays so.
    fn turn(&mut self) -> Turn;
    /// See [`Loop::wait`].
    fn wait(&mut self, within: Option<Duration>);
}

/// What turns the loops, and does what blocks.
pub trait Host: Send + Sync + 'static {
    /// Turns this loop from now on until it has ended.
    fn start(&self, work: Box<dyn Work>) -> Result<(), Error>;
    /// Does this beside everything else. It may take minutes.
    fn beside(&self, job: Box<dyn FnOnce() + Send>);
}

/// What the daemon has from the machine that it runs on.
#[derive(Clone)]
pub struct Machine {
    pub clock: Arc<dyn Clock>,
    pub random: Random,
    pub host: Arc<dyn Host>,
}

/// How a loop ended; an error when it panicked.
pub type Ending = oneshot::Receiver<Result<(), Error>>;

/// Hands a loop to the host; `ended` hears its name when it has ended, however it ended.
pub fn start<L: Loop>(host: &dyn Host, work: L, ended: mpsc::Sender<&'static str>) -> Result<Ending, Error> {
    let (result, ending) = oneshot::channel();
    host.start(Box::new(Hosted { work: Some(work), result: Some(result), ended }))?;
    Ok(ending)
}

struct Hosted<L: Loop> {
    /// Dropped before its end is told: who hears of it may count on that nothing of it is left.
    work: Option<L>,
    result: Option<oneshot::Sender<Result<(), Error>>>,
    ended: mpsc::Sender<&'static str>,
}

impl<L: Loop> Hosted<L> {
    fn end(&mut self, result: Result<(), Error>) {
        self.work = None;
        if let Some(told) = self.result.take() {
            let _ = told.send(result); // nobody listens when everything is given up
        }
    }
}

impl<L: Loop> Work for Hosted<L> {
    fn name(&self) -> &'static str {
        L::NAME
    }

    fn turn(&mut self) -> Turn {
        let Some(work) = &mut self.work else { return Turn::Ended };
        match work.turn() {
            Ok(Turn::Ended) => self.end(Ok(())),
            Ok(turn) => return turn,
            Err(error) => self.end(Err(error.into())),
        }
        let _ = self.ended.try_send(L::NAME); // room for every loop; nobody listens at the very end
        Turn::Ended
    }

    fn wait(&mut self, within: Option<Duration>) {
        if let Some(work) = &mut self.work {
            work.wait(within);
        }
    }
}

impl<L: Loop> Drop for Hosted<L> {
    fn drop(&mut self) {
        if self.result.is_some() {
            self.work = None;
            self.result = None;
            let _ = self.ended.try_send(L::NAME); // as above
        }
    }
}
