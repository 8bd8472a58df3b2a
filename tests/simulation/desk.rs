//! Where calls wait: every call of a fake comes here before it does something and again before it answers,
//! and goes on when the scheduler says so, or fails.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fastrand::Rng;
use tokio::sync::oneshot;

use super::points;

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Goes,
    Fails,
}

struct Waiting {
    what: &'static str,
    answer: oneshot::Sender<Fate>,
}

/// See the module. Clones are the same desk.
#[derive(Clone, Default)]
pub struct Desk {
    waiting: Arc<Mutex<Vec<Waiting>>>,
}

impl Desk {
    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the scheduler.
    pub async fn pass(&self, what: &'static str) -> Fate {
        if points::is_dead() {
            return std::future::pending().await;
        }
        let (answer, fate) = oneshot::channel();
        self.waiting().push(Waiting { what, answer });
        fate.await.unwrap_or(Fate::Fails)
    }

    /// Lets one call go on; nothing when nobody waits.
    pub fn serve(&self, random: &mut Rng, fate: Fate) -> Option<&'static str> {
        let mut waiting = self.waiting();
        waiting.retain(|call| !call.answer.is_closed());
        if waiting.is_empty() {
            return None;
        }
        let at = random.usize(..waiting.len());
        let call = waiting.swap_remove(at);
        let _ = call.answer.send(fate); // looked at just above
        Some(call.what)
    }

    pub fn is_empty(&self) -> bool {
        let mut waiting = self.waiting();
        waiting.retain(|call| !call.answer.is_closed());
        waiting.is_empty()
    }
}
