//! What the facts mean. Asks nobody: a function of its arguments.

use super::super::settings::{PINNED, is_as_pinned};
use super::super::sql::{identifier, literal};
use super::super::{Error, slot};
use super::facts::{Facts, VERSION_MIN};
use super::{CHECK, Expected, Passed, REBUILD, Report, Warning, published, standby_names, tables};
use crate::model::Lsn;
use crate::planted::{self, Bug};
use crate::source::{Identity, other_system};

/// First minor releases in which `ALTER PUBLICATION … ADD TABLE` no longer loses later rows of transactions
/// that were running at that moment (hazard 10; release notes of 2025-05-08). 18 never had it.
const LOSSY_BEFORE: [u32; 4] = [140_018, 150_013, 160_009, 170_005];

pub(super) fn refused(code: &'static str, reason: impl Into<String>, hint: impl Into<String>) -> Error {
    Error::Refused { code, operation: CHECK, reason: reason.into(), hint: hint.into() }
}

/// Holds the facts against what is expected; the gravest first.
pub fn judge(facts: &Facts, expected: &Expected) -> Report {
    judge_with(facts, expected, slot)
}

/// The same before our slot is made: whatever stands under its name is somebody's orphan.
pub fn judge_without_slot(facts: &Facts, expected: &Expected) -> Report {
    judge_with(facts, expected, |_, _, _| {})
}

fn judge_with(facts: &Facts, expected: &Expected, slot: fn(&Facts, &Expected, &mut Report)) -> Report {
    let mut report = Report::default();
    if facts.version < VERSION_MIN {
        let reason = format!("the server is PostgreSQL {}", spoken_version(facts.version));
        report.problems.push(refused("source-version", reason, "PostgreSQL 14 or newer is needed"));
        return report;
    }
    if facts.in_recovery {
        // Nothing else that a standby says is about the server that we need.
        report.problems.push(refused(
            "source-standby",
            "the server is a standby (it is in recovery)",
            "set source.host to the primary",
        ));
        return report;
    }
    server(facts, expected, &mut report);
    identity(facts, expected, &mut report);
    published::judge(facts, expected, &mut report);
    slot(facts, expected, &mut report);
    tables::judge(facts, expected, &mut report);
    // Whoever streams from the slot may be gone in a moment; a refusal stays.
    report.problems.sort_by_key(|problem| matches!(problem, Error::Retry { .. }));
    report
}

fn server(facts: &Facts, expected: &Expected, report: &mut Report) {
    if facts.wal_level != "logical" {
        report.problems.push(refused(
            "source-wal-level",
            format!("wal_level is '{}'", facts.wal_level),
            "ALTER SYSTEM SET wal_level = 'logical'; then restart the server",
        ));
    }
    if !facts.may_replicate {
        report.problems.push(refused(
            "source-no-replication-right",
            format!("role '{}' may not replicate", facts.role),
            format!("ALTER ROLE {} REPLICATION;", identifier(&facts.role)),
        ));
    }
    if let Some(because) =
        standby_names::matching(&facts.synchronous_standby_names, &expected.application_name)
    {
        report.problems.push(sync_standby(because, &expected.application_name));
    }
    let odd: Vec<_> = facts.settings.iter().filter(|(name, value)| !is_as_pinned(name, value)).collect();
    if let Some((name, value)) = odd.first() {
        let wanted = PINNED.iter().find(|(pinned, _)| pinned == name).map_or("", |(_, wanted)| wanted);
        report.problems.push(refused(
            "source-settings",
            format!(
                "this session has {name} = '{value}', which gives values other texts; expected '{wanted}'"
            ),
            "connect to the server itself: something between us and it drops or overrides startup options",
        ));
    }
    if LOSSY_BEFORE.iter().any(|fixed| fixed / 10_000 == facts.version / 10_000 && facts.version < *fixed) {
        report.warnings.push(Warning {
            code: "source-lossy-minor",
            text: format!(
                "PostgreSQL {} can lose rows of transactions that run while a table is added to a publication",
                spoken_version(facts.version)
            ),
            hint: "update to the newest minor release before adding tables".to_owned(),
        });
    }
    if facts.max_slot_wal_keep_size == "-1" {
        report.warnings.push(Warning {
            code: "source-unlimited-wal",
            text: "max_slot_wal_keep_size is -1: while we are down, kept WAL can fill the server's disk"
                .to_owned(),
            hint: "ALTER SYSTEM SET max_slot_wal_keep_size = '50GB'; SELECT pg_reload_conf();".to_owned(),
        });
    }
    if let Some(timeout) = facts.idle_replication_slot_timeout.as_deref().filter(|timeout| *timeout != "0") {
        report.warnings.push(Warning {
            code: "source-idle-slot-timeout",
            text: format!(
                "idle_replication_slot_timeout is {timeout}: a longer pause of ours costs a rebuild"
            ),
            hint: "ALTER SYSTEM SET idle_replication_slot_timeout = 0; SELECT pg_reload_conf();".to_owned(),
        });
    }
    if let Some(slots) = facts.synchronized_standby_slots.as_deref().filter(|slots| !slots.is_empty()) {
        report.warnings.push(Warning {
            code: "source-synchronized-standby-slots",
            text: format!(
                "synchronized_standby_slots is '{slots}': changes come only after those standbys have them"
            ),
            hint: "if the stream stands still, look at these slots first".to_owned(),
        });
    }
}

fn identity(facts: &Facts, expected: &Expected, report: &mut Report) {
    let Some(ours) = expected.system() else { return };
    if ours.system_identifier != facts.system_identifier {
        // Positions and oids of another cluster have nothing in common with ours.
        return report.problems.push(other_system(&facts.system_identifier, &ours.system_identifier));
    }
    if ours.timeline != facts.timeline {
        timeline(facts, ours.timeline, expected.journal_end, report);
    }
    if let Some(recorded) = &expected.recorded
        && recorded.database_oid != facts.database_oid
    {
        report.problems.push(refused(
            "source-other-database",
            format!(
                "database '{}' has oid {}, the journal was written from '{}' with oid {}",
                facts.database, facts.database_oid, recorded.database, recorded.database_oid
            ),
            format!("set source.database to the database of this journal, or begin again: {REBUILD}"),
        ));
    }
    if let Some(journal_end) = expected.journal_end
        && journal_end > facts.server_flush
    {
        report.problems.push(refused(
            "source-behind",
            format!(
                "the server's WAL ends at {}, before the journal's end {journal_end}: it was set back",
                facts.server_flush
            ),
            format!("documents may show commits that no longer exist: {REBUILD}"),
        ));
    }
}

/// Another timeline is the same history up to where the recorded one ended. A journal that ends there or
/// before goes on; one that ends later holds commits that the new primary never had (hazard 17).
fn timeline(facts: &Facts, recorded: u32, journal_end: Option<Lsn>, report: &mut Report) {
    let journal_end = journal_end.unwrap_or(Lsn::ZERO);
    let moved = format!("the server is on timeline {}, the journal on {recorded}", facts.timeline);
    match facts.recorded_timeline_end {
        Some(end) if journal_end <= end => report.warnings.push(Warning {
            code: "source-timeline",
            text: format!("{moved}, which ended at {end}, not before the journal's end {journal_end}"),
            hint: "a failover without loss: nothing to do".to_owned(),
        }),
        Some(end) => report.problems.push(refused(
            "source-timeline",
            format!("{moved}, which ended at {end}, before the journal's end {journal_end}"),
            format!("documents may show commits that no longer exist: {REBUILD}"),
        )),
        None => report.problems.push(refused(
            "source-timeline",
            format!("{moved}, and where that one ended is not known"),
            format!("documents may show commits that no longer exist: {REBUILD}"),
        )),
    }
}

fn slot(facts: &Facts, expected: &Expected, report: &mut Report) {
    let name = expected.slot.as_str();
    let Some(slot) = &facts.slot else {
        if expected.journal_end.is_some() {
            report.problems.push(slot_missing(name));
        } else if !expected.manage {
            report.problems.push(refused(
                "slot-missing",
                format!("slot '{name}' does not exist, and source.manage is off"),
                format!(
                    "SELECT pg_create_logical_replication_slot({}, '{}');",
                    literal(name).trim(),
                    slot::PLUGIN
                ),
            ));
        }
        return;
    };
    if slot.plugin.as_deref() != Some(slot::PLUGIN) {
        let is = slot
            .plugin
            .as_deref()
            .map_or("a physical slot".to_owned(), |plugin| format!("of plugin '{plugin}'"));
        let hint = "set source.slot to a name that is not in use";
        report.problems.push(refused("slot-wrong-plugin", format!("slot '{name}' is {is}"), hint));
        return;
    }
    if slot.database.as_deref() != Some(facts.database.as_str()) {
        let reason = format!(
            "slot '{name}' belongs to database '{}', not to '{}'",
            slot.database.as_deref().unwrap_or(""),
            facts.database
        );
        report.problems.push(refused(
            "slot-wrong-database",
            reason,
            "set source.slot to a name that is not in use",
        ));
        return;
    }
    if let Some(reason) = slot.lost_because() {
        report.problems.push(refused(
            "slot-lost",
            format!("slot '{name}' is lost: {reason}"),
            format!("SELECT pg_drop_replication_slot({}); then {REBUILD}", literal(name).trim()),
        ));
        return;
    }
    if slot.two_phase {
        report.problems.push(refused(
            "slot-two-phase",
            format!("slot '{name}' decodes prepared transactions before they are committed"),
            format!("SELECT pg_drop_replication_slot({}); then {REBUILD}", literal(name).trim()),
        ));
    }
    if let (Some(confirmed), Some(journal_end)) = (slot.confirmed_flush, expected.journal_end)
        && confirmed > journal_end
        && !planted::is(Bug::ResumeBehindSlot)
    {
        report.problems.push(slot_advanced(name, confirmed, journal_end));
    }
    if let Some(pid) = slot.active_pid.filter(|pid| *pid != facts.backend_pid) {
        let client = slot.active_client.as_deref().map(|client| format!(" ({client})")).unwrap_or_default();
        report.problems.push(Error::Retry {
            operation: CHECK,
            reason: format!("slot '{name}' is in use by pid {pid}{client}"),
        });
    }
}

pub(super) fn slot_missing(name: &str) -> Error {
    refused(
        "slot-missing",
        format!("slot '{name}' does not exist, but the journal has a position: changes since then are lost"),
        REBUILD,
    )
}

pub fn slot_advanced(name: &str, confirmed: Lsn, journal_end: Lsn) -> Error {
    refused(
        "slot-advanced",
        format!(
            "slot '{name}' stands at {confirmed}, behind the journal's end {journal_end}: somebody read from it or made it again, or this journal is an older copy"
        ),
        REBUILD,
    )
}

pub fn sync_standby(because: &str, application_name: &str) -> Error {
    refused(
        "source-sync-standby",
        format!(
            "synchronous_standby_names ('{because}') makes our connection '{application_name}' a synchronous standby: commits of the application would wait for us"
        ),
        "list the physical standbys by name in synchronous_standby_names, or give us another source.application_name",
    )
}

/// What to journal once nothing is refused.
pub fn passed(facts: &Facts, expected: &Expected, warnings: Vec<Warning>) -> Result<Passed, Error> {
    let Some(publication) = &facts.publication else {
        // `judge` refuses a missing publication.
        return Err(Error::Protocol { operation: CHECK, reason: "the publication went away".to_owned() });
    };
    let membership = publication.membership();
    // Under another oid of the membership the table was away meanwhile (hazard 33).
    let known = |member: &(u32, u32)| {
        expected.recorded.as_ref().is_some_and(|recorded| recorded.membership.contains(member))
    };
    let joined = membership.iter().filter(|member| !known(member)).map(|(table, _)| *table).collect();
    Ok(Passed {
        joined,
        identity: Identity {
            system_identifier: facts.system_identifier.clone(),
            timeline: facts.timeline,
            database: facts.database.clone(),
            database_oid: facts.database_oid,
            slot: expected.slot.clone(),
            publication: expected.publication.clone(),
            publication_oid: publication.oid,
            membership,
            server_version: facts.version,
        },
        warnings,
        slot: facts.slot.clone(),
        server_flush: facts.server_flush,
        backend_pid: facts.backend_pid,
    })
}

/// `150018` as `15.18`.
fn spoken_version(version: u32) -> String {
    format!("{}.{}", version / 10_000, version % 10_000)
}
