//! Where connecting stands: each step has its own limits, and whoever looks meanwhile learns which one it is.

use std::convert::Infallible;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use tokio::sync::watch;

use super::clock::Clock;
use crate::pipeline::Status;

/// How long connecting may take before it is said what it waits for, and how often from then on.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// The step that connecting is at, for people.
pub(super) struct Steps {
    at: watch::Sender<(&'static str, Duration)>,
    clock: Arc<dyn Clock>,
}

impl Steps {
    pub fn new(clock: &Arc<dyn Clock>) -> Steps {
        Steps { at: watch::Sender::new(("begin", clock.now())), clock: Arc::clone(clock) }
    }

    /// The step before is over.
    pub fn at(&self, step: &'static str) {
        let now = self.clock.now();
        let (before, since) = self.at.send_replace((step, now));
        let took_ms = now.saturating_sub(since).as_millis();
        tracing::debug!(step = before, took_ms, "a step of connecting is over");
    }

    /// Says what is waited for, in the log and in the status, until it is dropped.
    pub fn say(&self, status: &Arc<RwLock<Status>>) -> impl Future<Output = Infallible> + Send + use<> {
        let (at, clock, status) = (self.at.subscribe(), Arc::clone(&self.clock), Arc::clone(status));
        let began = clock.now();
        async move {
            loop {
                clock.pause(SAY_EVERY).await;
                let (step, since) = *at.borrow();
                let now = clock.now();
                let (seconds, in_all) =
                    (now.saturating_sub(since).as_secs(), now.saturating_sub(began).as_secs());
                tracing::info!(waits_for = step, seconds, in_all, "still connecting");
                // What is known to be wrong says more.
                if let Ok(mut status) = status.write()
                    && status.trouble.as_ref().is_none_or(|known| known.starts_with("connecting:"))
                {
                    status.trouble = Some(format!("connecting: has waited {seconds} s to {step}"));
                }
            }
        }
    }
}
