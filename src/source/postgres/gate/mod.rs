//! The start-up gate: whether this server, slot and publication are the ones that the journal continues,
//! and whether the tables can be followed at all. It ends in a refusal with one line of cause and one
//! command, never in silent continuation (G5).
//!
//! It runs at every connect, by SQL on the replication connection itself, because any other connection may
//! reach another server (rule 7).
//!
//! Flow: `facts` asks everything -> `judge`, `published` and `tables` compare it with what is expected, without asking
//! anything -> [`check`] takes the first refusal, [`check_all`] all of them.
//!
//! A slot that was dropped and made again has no mark of its own. It begins at its consistent point C, and
//! everything that commits behind C comes. If C lies behind the journal's end, something is missing, and
//! that is `slot-advanced`. If it does not, nothing is missing. So no more needs to be told than the
//! position tells.

pub mod facts;
pub mod judge;
mod published;
pub mod standby_names;
pub mod tables;
#[cfg(test)]
mod tests;

use super::answer::{only, pin_search_path};
use super::{Error, Options, Sql, slot};
use crate::model::Lsn;
use crate::planted::{self, Bug};
use crate::source::{Identity, System};

/// What starts all over: another slot, a new backfill of everything.
pub const REBUILD: &str = "projectord rebuild";

pub(super) const CHECK: &str = "check the source";

/// What the gate holds the server against.
#[derive(Clone, Debug)]
pub struct Expected {
    pub slot: String,
    pub publication: String,
    pub application_name: String,
    /// The role that reads rows for the backfill; the asking role when none is given.
    pub read_role: Option<String>,
    /// Whether `run` creates publication and slot itself when there is nothing recorded yet.
    pub manage: bool,
    pub tables: Vec<NeededTable>,
    /// The Connected entry that was journaled last.
    pub recorded: Option<Identity>,
    /// The server on which our slot was begun, while nothing is recorded yet.
    pub begun_on: Option<System>,
    /// The end of the journal; none before a slot was ever made for it.
    pub journal_end: Option<Lsn>,
}

/// A table that a projection uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeededTable {
    pub schema: String,
    pub name: String,
    /// The columns that are used; none when nobody knows yet, and doubts become warnings.
    pub columns: Option<Vec<String>>,
}

impl Expected {
    /// The history that the journal's positions belong to, as far as it is known.
    pub fn system(&self) -> Option<System> {
        let recorded = self.recorded.as_ref().map(|recorded| System {
            system_identifier: recorded.system_identifier.clone(),
            timeline: recorded.timeline,
        });
        recorded.or_else(|| self.begun_on.clone())
    }

    pub fn new(
        options: &Options,
        tables: Vec<NeededTable>,
        recorded: Option<Identity>,
        journal_end: Option<Lsn>,
    ) -> Expected {
        Expected {
            slot: options.slot.clone(),
            publication: options.publication.clone(),
            application_name: options.application_name.clone(),
            read_role: options.read_user.clone(),
            manage: options.manage,
            tables,
            recorded,
            begun_on: None,
            journal_end,
        }
    }
}

/// Something that does not stop us and that somebody should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// A short stable word, listed in docs/errors.md and used as a metric's label.
    pub code: &'static str,
    pub text: String,
    pub hint: String,
}

/// The gate was passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// To be journaled as the Connected entry.
    pub identity: Identity,
    pub warnings: Vec<Warning>,
    /// Oids of published tables that the recorded identity did not know, or knew by another membership:
    /// whatever the store holds of them is older than that, so they need a backfill (hazards 10, 33).
    pub joined: Vec<u32>,
    /// None: there is no slot yet, and there was none before.
    pub slot: Option<slot::State>,
    /// What is on the server's disk.
    pub server_flush: Lsn,
    /// The asking session's own process.
    pub backend_pid: i32,
}

/// Everything that is wrong at once.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// [`Error::Refused`] each, and an [`Error::Retry`] while the slot is in use.
    pub problems: Vec<Error>,
    pub warnings: Vec<Warning>,
}

/// Before the slot is made, which would hold WAL for a daemon that is refused: everything but the slot.
///
/// # Errors
/// As [`check`].
pub async fn check_without_slot(sql: &mut dyn Sql, expected: &Expected) -> Result<(), Error> {
    let facts = facts::gather(sql, expected).await?;
    judge::judge_without_slot(&facts, expected).problems.into_iter().next().map_or(Ok(()), Err)
}

/// The gate at every connect.
///
/// # Errors
/// The first refusal; [`Error::Retry`] while somebody else streams from the slot; or what a statement
/// answered.
pub async fn check(sql: &mut dyn Sql, expected: &Expected) -> Result<Passed, Error> {
    let facts = facts::gather(sql, expected).await?;
    let verdict = judge::judge(&facts, expected);
    match verdict.problems.into_iter().next() {
        Some(problem) => Err(problem),
        None => judge::passed(&facts, expected, verdict.warnings),
    }
}

/// All that is wrong, for the `check` command. What `run` will create itself is a warning here.
///
/// # Errors
/// What a statement answered.
pub async fn check_all(sql: &mut dyn Sql, expected: &Expected) -> Result<Report, Error> {
    let facts = facts::gather(sql, expected).await?;
    let mut report = judge::judge(&facts, expected);
    if expected.manage && expected.recorded.is_none() {
        report
            .problems
            .retain(|problem| !matches!(problem, Error::Refused { code: "publication-missing", .. }));
        if facts.publication.is_none() {
            report.warnings.push(Warning {
                code: "publication-missing",
                text: format!("publication '{}' does not exist yet", expected.publication),
                hint: "`projectord run` creates it".to_owned(),
            });
        }
    }
    Ok(report)
}

/// Reads the slot's position once more when it is active for our own backend: between the gate and
/// START_REPLICATION another consumer may have moved it (rule 7). To be asked over an ordinary connection
/// before the first confirmation. Returns the confirmed position.
///
/// # Errors
/// `slot-missing` or `slot-advanced`; [`Error::Retry`] when the slot is not active for that backend.
pub async fn confirmed_again(
    sql: &mut dyn Sql,
    slot_name: &str,
    backend_pid: i32,
    journal_end: Lsn,
) -> Result<Lsn, Error> {
    const AGAIN: &str = "read the slot's position again";
    let Some(slot) = slot::state(sql, slot_name).await? else {
        return Err(judge::slot_missing(slot_name));
    };
    if slot.active_pid != Some(backend_pid) {
        let reason = match slot.active_pid {
            Some(pid) => format!("slot '{slot_name}' is active for pid {pid}, not for our {backend_pid}"),
            None => format!("slot '{slot_name}' is not active for our pid {backend_pid}"),
        };
        return Err(Error::Retry { operation: AGAIN, reason });
    }
    let confirmed = slot.confirmed_flush.unwrap_or(Lsn::ZERO);
    if confirmed > journal_end && !planted::is(Bug::ResumeBehindSlot) {
        return Err(judge::slot_advanced(slot_name, confirmed, journal_end));
    }
    Ok(confirmed)
}

/// Whether our replication connection has become, or would become, a synchronous standby, which makes the
/// application's commits wait for us (rule 1). To be asked after the first status message and on the timer,
/// since a reload can change it at any time.
///
/// # Errors
/// `source-sync-standby`.
pub async fn pause_check(sql: &mut dyn Sql, application_name: &str) -> Result<(), Error> {
    const AGAIN: &str = "look for synchronous standbys";
    pin_search_path(sql, AGAIN).await?;
    // What the server made of it counts most, but it is shown only to roles that may see that backend.
    let statement = format!(
        "SELECT pg_catalog.current_setting('synchronous_standby_names'),
                (SELECT pg_catalog.min(r.sync_state) FROM pg_catalog.pg_stat_replication r
                 WHERE r.application_name = {} AND r.sync_state IN ('sync', 'quorum', 'potential'))",
        super::sql::literal(application_name)
    );
    let rows = sql.rows(AGAIN, &statement).await?;
    let row = only(AGAIN, &rows)?;
    match standby_names::matching(row.text(0)?, application_name).or(row.optional(1)) {
        Some(because) => Err(judge::sync_standby(because, application_name)),
        None => Ok(()),
    }
}
