//! How the process is asked to end: the first SIGTERM or SIGINT asks every loop to finish what it holds, the
//! second ends the process at once. Both are safe: what is not journaled was never confirmed.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Exit code of a process that ended because of a signal: 128 and its number, as shells have it.
const SIGNALED: i32 = 128;

/// Asks for the end.
#[derive(Clone, Debug)]
pub struct Stopper(watch::Sender<bool>);

/// Hears of it. Cheap to clone; every loop holds one.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

/// A stopper and what it stops.
pub fn channel() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// For rooms that wait on a watch of their own.
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.0.clone()
    }

    pub fn is_asked(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once the end is asked for; also when nobody is left who could ask.
    pub async fn asked(&mut self) {
        // An error means that the stopper is gone, and with it whoever wanted this to run.
        let _ = self.0.wait_for(|asked| *asked).await;
    }
}

/// Turns signals into a stop for as long as the process lives.
pub fn on_signals(stopper: Stopper) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        let mut asked = false;
        loop {
            let (name, kind) = tokio::select! {
                _ = terminate.recv() => ("SIGTERM", SignalKind::terminate()),
                _ = interrupt.recv() => ("SIGINT", SignalKind::interrupt()),
            };
            if asked {
                tracing::warn!(signal = name, "ending at once");
                std::process::exit(SIGNALED + kind.as_raw_value());
            }
            asked = true;
            tracing::info!(signal = name, "stopping; another signal ends at once");
            stopper.stop();
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stop_is_heard_by_everyone_and_stays() {
        let (stopper, mut stop) = channel();
        let mut other = stop.clone();
        assert!(!stop.is_asked());
        stopper.stop();
        stop.asked().await;
        other.asked().await;
        assert!(other.is_asked() && stop.is_asked());
    }

    #[tokio::test]
    async fn losing_the_stopper_is_a_stop() {
        let (stopper, mut stop) = channel();
        drop(stopper);
        stop.asked().await;
    }
}
