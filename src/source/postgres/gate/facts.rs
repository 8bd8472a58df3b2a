//! Everything that the gate asks the server. It judges nothing.

use super::super::answer::{only, pin_search_path};
use super::super::settings::PINNED;
use super::super::sql::literal;
use super::super::{Error, Sql, publication, slot};
use super::tables::{self, Relation};
use super::{CHECK, Expected};
use crate::model::Lsn;
use crate::source::System;

/// Below this version (14.0) nothing but the version is asked: the other statements may not work there.
pub const VERSION_MIN: u32 = 140_000;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// `server_version_num`, such as 150018.
    pub version: u32,
    pub in_recovery: bool,
    pub wal_level: String,
    pub synchronous_standby_names: String,
    pub max_slot_wal_keep_size: String,
    /// 18+; minutes, 0 is never.
    pub idle_replication_slot_timeout: Option<String>,
    /// 17+.
    pub synchronized_standby_slots: Option<String>,
    pub system_identifier: String,
    pub timeline: u32,
    /// The end of the recorded timeline, where another one follows it.
    pub recorded_timeline_end: Option<Lsn>,
    pub database: String,
    pub database_oid: u32,
    pub backend_pid: i32,
    pub role: String,
    pub may_replicate: bool,
    /// None: the role that reads rows does not exist.
    pub read_role_oid: Option<u32>,
    pub server_flush: Lsn,
    /// Name and value of the pinned settings in this session.
    pub settings: Vec<(&'static str, String)>,
    pub publication: Option<publication::State>,
    pub slot: Option<slot::State>,
    pub relations: Vec<Relation>,
}

/// Asks everything.
pub async fn gather(sql: &mut dyn Sql, expected: &Expected) -> Result<Facts, Error> {
    pin_search_path(sql, CHECK).await?;
    let version = sql.rows(CHECK, "SELECT pg_catalog.current_setting('server_version_num')").await?;
    let mut facts = Facts { version: only(CHECK, &version)?.parsed(0)?, ..Facts::default() };
    if facts.version < VERSION_MIN {
        return Ok(facts);
    }
    server(sql, expected, &mut facts).await?;
    settings(sql, &mut facts).await?;
    facts.system_identifier = system_identifier(sql).await?;
    if let Some(recorded) = expected.system()
        && recorded.timeline < facts.timeline
    {
        facts.recorded_timeline_end = timeline_end(sql, facts.timeline, recorded.timeline).await;
    }
    facts.publication = publication::state(sql, &expected.publication).await?;
    facts.slot = slot::state(sql, &expected.slot).await?;
    let names = expected.tables.iter().map(|table| (table.schema.as_str(), table.name.as_str()));
    facts.relations = tables::gather(sql, names, facts.read_role_oid).await?;
    Ok(facts)
}

async fn server(sql: &mut dyn Sql, expected: &Expected, facts: &mut Facts) -> Result<(), Error> {
    let read_role = match &expected.read_role {
        Some(role) => literal(role),
        None => "current_user".to_owned(),
    };
    // The name of a WAL file begins with its timeline. Managed services that give no REPLICATION attribute
    // have a role of this name to be a member of.
    let statement = format!(
        "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('wal_level'),
                pg_catalog.current_setting('synchronous_standby_names'),
                pg_catalog.current_setting('max_slot_wal_keep_size'),
                pg_catalog.current_setting('idle_replication_slot_timeout', true),
                pg_catalog.current_setting('synchronized_standby_slots', true),
                d.datname, d.oid, pg_catalog.pg_backend_pid(), current_user,
                m.rolsuper OR m.rolreplication OR EXISTS (
                    SELECT FROM pg_catalog.pg_roles r
                    WHERE r.rolname = 'rds_replication' AND pg_catalog.pg_has_role(m.oid, r.oid, 'MEMBER')),
                (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = {read_role}),
                {flush},
                CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.substr(
                    pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8) END
         FROM pg_catalog.pg_database d, pg_catalog.pg_roles m
         WHERE d.datname = pg_catalog.current_database() AND m.rolname = current_user",
        flush = slot::SERVER_FLUSH
    );
    let rows = sql.rows(CHECK, &statement).await?;
    let row = only(CHECK, &rows)?;
    facts.in_recovery = row.flag(0)?;
    facts.wal_level = row.text(1)?.to_owned();
    facts.synchronous_standby_names = row.text(2)?.to_owned();
    facts.max_slot_wal_keep_size = row.text(3)?.to_owned();
    facts.idle_replication_slot_timeout = row.optional(4).map(str::to_owned);
    facts.synchronized_standby_slots = row.optional(5).map(str::to_owned);
    facts.database = row.text(6)?.to_owned();
    facts.database_oid = row.parsed(7)?;
    facts.backend_pid = row.parsed(8)?;
    facts.role = row.text(9)?.to_owned();
    facts.may_replicate = row.flag(10)?;
    facts.read_role_oid = row.parsed_optional(11)?;
    facts.server_flush = row.parsed(12)?;
    facts.timeline = match row.optional(13) {
        None => 0,
        Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16).map_err(|_| Error::Protocol {
            operation: CHECK,
            reason: "the name of a WAL file does not begin with a timeline".to_owned(),
        })?,
    };
    Ok(())
}

async fn settings(sql: &mut dyn Sql, facts: &mut Facts) -> Result<(), Error> {
    let list: Vec<_> =
        PINNED.iter().map(|(name, _)| format!("pg_catalog.current_setting('{name}')")).collect();
    let rows = sql.rows(CHECK, &format!("SELECT {}", list.join(", "))).await?;
    let row = only(CHECK, &rows)?;
    for (column, (name, _)) in PINNED.iter().enumerate() {
        facts.settings.push((name, row.text(column)?.to_owned()));
    }
    Ok(())
}

/// Everybody may call `pg_control_system` unless a service has taken that away; the replication command
/// needs a replication connection and no more.
/// Which server this is; only over a replication connection.
pub async fn system(sql: &mut dyn Sql) -> Result<System, Error> {
    let rows = sql.rows(CHECK, "IDENTIFY_SYSTEM").await?;
    let row = only(CHECK, &rows)?;
    Ok(System { system_identifier: row.text(0)?.to_owned(), timeline: row.parsed(1)? })
}

async fn system_identifier(sql: &mut dyn Sql) -> Result<String, Error> {
    let asked = sql.rows(CHECK, "SELECT c.system_identifier FROM pg_catalog.pg_control_system() c").await;
    let rows = match asked {
        // insufficient_privilege
        Err(Error::Server { sqlstate, .. }) if sqlstate == "42501" => {
            sql.rows(CHECK, "IDENTIFY_SYSTEM").await?
        }
        other => other?,
    };
    Ok(only(CHECK, &rows)?.text(0)?.to_owned())
}

/// Where `recorded` ended, by the history of `current`. Nothing when the history cannot be had, which is
/// so on every connection but the replication connection.
async fn timeline_end(sql: &mut dyn Sql, current: u32, recorded: u32) -> Option<Lsn> {
    let rows = sql.rows(CHECK, &format!("TIMELINE_HISTORY {current}")).await.ok()?;
    let content = rows.first()?.get(1)?.as_deref()?;
    end_in_history(content, recorded)
}

/// A line of a history file: `timeline <tab> end <tab> reason`.
pub(super) fn end_in_history(content: &str, timeline: u32) -> Option<Lsn> {
    content.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let number: u32 = words.next()?.parse().ok()?;
        let end = words.next()?.parse().ok()?;
        (number == timeline).then_some(end)
    })
}
