//! `run`: the daemon. Binds what must be bound, starts the loops, watches them, and ends them in order.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::task::JoinHandle;

use super::daemon as started;
use crate::config::Config;
use crate::control;
use crate::error::{Exit, Failure};
#[cfg(feature = "failpoints")]
use crate::failpoint;
use crate::http;
use crate::metrics::Metrics;
use crate::shutdown::{self, Stop};

/// How long readiness and the end are told to a systemd that does not listen.
const NOTIFY_WAIT_MAX: Duration = Duration::from_secs(1);

/// Run the daemon until SIGTERM or SIGINT
///
/// The first signal finishes what is in flight, the second ends at once; neither loses anything. Tells systemd
/// when it is ready and keeps its watchdog fed while the loops run.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("Examples:\n  projectord run\n  projectord run --config /etc/projectord/projectord.yaml --log-level debug\n\n{}\n  130, 143  ended at once by a second SIGINT or SIGTERM", super::EXIT_CODES))]
pub struct Args {
    /// Do not believe the store, whatever it says of itself: begin from its last checkpoint
    #[arg(long)]
    distrust_store: bool,
}

pub fn run(config: &Config, args: &Args) -> Result<Exit, Failure> {
    for warning in &config.warnings {
        tracing::warn!(code = warning.code, "{warning}");
    }
    #[cfg(feature = "failpoints")]
    tracing::warn!(
        plan = failpoint::planned().map_err(|error| Failure::new(Exit::Usage, error))?,
        "THIS PROGRAM WAS BUILT WITH FAILPOINTS, to be killed by tests: it is not for production"
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, format!("start the runtime: {error}")))?;
    let ended = runtime.block_on(daemon(config, args));
    // Threads that hang in a system call are not waited for: what counts is on disk.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

async fn daemon(config: &Config, args: &Args) -> Result<Exit, Failure> {
    let (stopper, mut stop) = shutdown::channel();
    shutdown::on_signals(stopper.clone())
        .map_err(|error| Failure::new(Exit::Failed, format!("listen for signals: {error}")))?;
    let metrics =
        Metrics::new().map_err(|error| Failure::new(Exit::Failed, format!("make metrics: {error}")))?;
    let metrics = Arc::new(metrics);
    let listener = match config.http.listen {
        Some(address) => Some(http::bind(address).await.map_err(|error| {
            Failure::new(Exit::Failed, format!("listen on {address}: {error}")).hint("change http.listen")
        })?),
        None => None,
    };
    let daemon = started::start(config, metrics.clone(), &stop, stopper.clone(), args.distrust_store)?;
    // Bound after the lock of the data folder is held: whatever socket is there now is stale.
    let socket = config.control_socket();
    let control = control::Listener::bind(&socket).map_err(|error| {
        Failure::new(Exit::Failed, format!("listen on {}: {error}", socket.display()))
            .hint("the path of the data folder may be at most 90 bytes long")
    })?;
    // Status stays answerable while the loops finish: the walls close last.
    let (walls_stopper, walls_stop) = shutdown::channel();
    let control = tokio::spawn(control.serve(daemon.handler, walls_stop.clone()));
    if let Some(listener) = listener {
        let (options, watch) = (config.http.clone(), daemon.watch.clone());
        let stop = walls_stop.clone();
        tokio::spawn(async move { http::serve(listener, &options, watch, metrics, stop).await });
    }
    if super::progress_bar::wanted(config) {
        tokio::spawn(super::progress_bar::show(daemon.watch.clone(), stop.clone()));
    }
    notify(NotifyState::Ready).await;
    tokio::spawn(feed_watchdog(daemon.watch, walls_stop));

    let mut ended = daemon.ended;
    let outcome = tokio::select! {
        outcome = &mut ended => Some(outcome),
        () = stop.asked() => None,
    };
    notify(NotifyState::Stopping).await;
    let outcome = match outcome {
        Some(outcome) => outcome,
        None => tokio::time::timeout(config.limits.shutdown, ended).await.unwrap_or_else(|_| {
            Err(Failure::new(Exit::Failed, "the loops did not end in time (limits.shutdown)")
                .hint("nothing is lost: the journal is applied again at the next start"))
        }),
    };
    stopper.stop();
    walls_stopper.stop();
    // Its end removes the socket's file.
    let _ = tokio::time::timeout(Duration::from_secs(1), control).await;
    outcome.map(|()| Exit::Done)
}

/// Tells systemd, if it is there. Its socket blocks while nobody reads it: then a thread of its own hangs and not the
/// runtime's, on which timers and HTTP depend.
fn tell(state: NotifyState<'static>) -> JoinHandle<()> {
    tokio::task::spawn_blocking(move || {
        if let Err(error) = sd_notify::notify(&[state]) {
            tracing::debug!(%error, "notify systemd");
        }
    })
}

/// The same, without waiting for long.
async fn notify(state: NotifyState<'static>) {
    if tokio::time::timeout(NOTIFY_WAIT_MAX, tell(state)).await.is_err() {
        tracing::debug!("systemd does not read what it is told");
    }
}

/// Feeds the watchdog at half its time for as long as the loops run. One word at a time: threads that hang do not
/// heap up.
async fn feed_watchdog(watch: Arc<dyn http::Watch>, mut stop: Stop) {
    let Some(period) = sd_notify::watchdog_enabled() else { return };
    loop {
        tokio::select! {
            () = stop.asked() => return,
            () = tokio::time::sleep(period / 2) => {}
        }
        if let Err(reason) = watch.alive() {
            tracing::error!(%reason, "the watchdog is not fed");
            continue;
        }
        tokio::select! {
            () = stop.asked() => return,
            _ = tell(NotifyState::Watchdog) => {}
        }
    }
}
