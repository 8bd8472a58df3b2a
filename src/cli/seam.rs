//! Where the commands join the rooms that do the work. Every function here says what it must call; until it
//! does, it ends with an honest failure and does nothing.

use std::pin::Pin;
use std::sync::Arc;

use serde::Serialize;

use crate::config::Config;
use crate::control::{self, Answer, Request};
use crate::error::{Exit, Failure};
use crate::http::Watch;
use crate::metrics::Metrics;
use crate::shutdown::Stop;

/// A daemon that has begun.
pub struct Daemon {
    /// Answers the control socket.
    pub handler: Arc<dyn control::Handler>,
    /// Knows status and health.
    pub watch: Arc<dyn Watch>,
    /// Ends when the loops have ended, well or not.
    pub ended: Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>,
}

/// SEAM pipeline::run. Takes the lock of the data folder, opens journal and store, compiles the projections,
/// and starts the loops; returns as soon as commands and scrapers can be answered (state `starting`), not
/// only once it streams. After `stop` the loops finish what they hold and `ended` resolves.
pub async fn start(_config: &Config, _observer: Arc<Metrics>, _stop: Stop) -> Result<Daemon, Failure> {
    Err(absent("the pipeline"))
}

/// SEAM task::alone. Takes the lock of the data folder and does without a daemon what `request` asks; called
/// only for replay and quarantine, and only when no daemon answers.
pub async fn alone(config: &Config, _request: &Request) -> Result<Answer, Failure> {
    Err(super::no_daemon(config))
}

/// SEAM source::postgres::setup_sql::script. The tables come from the projection files.
pub fn setup_sql(_config: &Config) -> Result<String, Failure> {
    Err(absent("the script"))
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `projections`, `source`, `sink`.
    pub room: &'static str,
    /// Listed in docs/errors.md; empty when all is well.
    pub code: String,
    pub message: String,
    pub hint: String,
    pub verdict: Verdict,
}

/// In the order of what a script should look at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(dead_code, reason = "made by the checks that are joined here")]
pub enum Verdict {
    Ok,
    Warning,
    Unreachable,
    Refused,
    /// A projection file is wrong.
    Wrong,
}

/// SEAM projection::compile without a catalog: what can be said about the files alone.
pub fn check_projections(_config: &Config) -> Result<Vec<Finding>, Failure> {
    Err(absent("the check of projections"))
}

/// SEAM source::postgres::gate::check_all, projection::compile with the catalog, Sink::check. Everything that
/// is wrong, all at once; changes nothing. An error only when nothing could be looked at.
pub async fn check_servers(_config: &Config) -> Result<Vec<Finding>, Failure> {
    Err(absent("the check of the servers"))
}

/// What `journal show` is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection<'a> {
    pub from: Option<u64>,
    pub to: Option<u64>,
    pub kind: Option<&'a str>,
    pub values: bool,
    pub json: bool,
}

/// SEAM journal: prints one line per segment: file, first and last entry, bytes, age. Reads only; a daemon
/// may run beside it.
pub fn journal_list(_config: &Config, _json: bool) -> Result<(), Failure> {
    Err(absent("reading the journal"))
}

/// SEAM journal: prints entries, one line each; column values only with `values`.
pub fn journal_show(_config: &Config, _selection: Selection<'_>) -> Result<(), Failure> {
    Err(absent("reading the journal"))
}

fn absent(what: &str) -> Failure {
    Failure::new(Exit::Failed, format!("{what} is not part of this build"))
}
