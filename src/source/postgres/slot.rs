//! The replication slot: PostgreSQL's memory of what we have confirmed.
//!
//! A slot keeps the write-ahead log of the whole cluster from its `restart_lsn` on (hazard 6). It has no
//! identity of its own: one that was dropped and made again under the same name can be told only by its
//! position (see the gate).

use super::answer::{Answer, answers, only, pin_search_path};
use super::refusal::refused;
use super::sql::literal;
use super::transactions::{self, Blocker};
use super::{Error, Sql};
use crate::model::Lsn;

/// The plugin whose messages we read.
pub const PLUGIN: &str = "pgoutput";

const READ: &str = "read the slot";

/// A slot as `pg_replication_slots` shows it, and where the server stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// None: a physical slot.
    pub plugin: Option<String>,
    pub database: Option<String>,
    /// The backend that streams from it.
    pub active_pid: Option<i32>,
    /// Who that backend says it is, as far as our role may see: application, user, address.
    pub active_client: Option<String>,
    /// `reserved`, `extended`, `unreserved` or `lost`.
    pub wal_status: Option<String>,
    pub restart: Option<Lsn>,
    pub confirmed_flush: Option<Lsn>,
    /// Bytes that may still be written before the slot is in danger; None without a limit.
    pub safe_wal_bytes: Option<i64>,
    pub two_phase: bool,
    /// 17+: the slot is copied to standbys.
    pub failover: bool,
    /// 17+, such as `wal_removed` or `idle_timeout`; 16 tells only of conflicts on a standby.
    pub invalidation_reason: Option<String>,
    /// How old the oldest transaction is whose catalog rows the slot keeps, in transactions.
    pub catalog_xmin_age: Option<u64>,
    /// What is on the server's disk, or was replayed on a standby.
    pub server_flush: Lsn,
}

impl State {
    /// Bytes of the write-ahead log kept for this slot.
    pub fn retained_bytes(&self) -> u64 {
        self.restart.map_or(0, |restart| self.server_flush.bytes_since(restart))
    }

    /// Why nothing can be read from it any more.
    pub fn lost_because(&self) -> Option<&str> {
        match (&self.invalidation_reason, self.wal_status.as_deref()) {
            (Some(reason), _) => Some(reason),
            (None, Some("lost")) => Some("the server has removed WAL that it needs"),
            _ => None,
        }
    }
}

/// Reads a slot; nothing when there is none of this name. Any role may ask.
pub async fn state(sql: &mut dyn Sql, name: &str) -> Result<Option<State>, Error> {
    pin_search_path(sql, READ).await?;
    // Columns that newer versions have are asked for through JSON: there they are absent, not an error.
    let statement = format!(
        "SELECT s.plugin, s.database, s.active_pid,
                (SELECT pg_catalog.concat_ws(', ', NULLIF(a.application_name, ''), a.usename,
                                             pg_catalog.host(a.client_addr))
                 FROM pg_catalog.pg_stat_activity a WHERE a.pid = s.active_pid),
                s.wal_status, s.restart_lsn, s.confirmed_flush_lsn, s.safe_wal_size, s.two_phase,
                s.json ->> 'failover', COALESCE(s.json ->> 'invalidation_reason',
                    CASE WHEN (s.json ->> 'conflicting')::boolean THEN 'conflict' END),
                pg_catalog.age(s.catalog_xmin), {SERVER_FLUSH}
         FROM (SELECT r.*, pg_catalog.to_jsonb(r) AS json FROM pg_catalog.pg_replication_slots r) s
         WHERE s.slot_name = {}",
        literal(name)
    );
    let rows = sql.rows(READ, &statement).await?;
    answers(READ, &rows).next().map(|row| slot_state(&row)).transpose()
}

/// The position on the server's disk; a standby has none of its own.
pub(super) const SERVER_FLUSH: &str = "CASE WHEN pg_catalog.pg_is_in_recovery()
    THEN COALESCE(pg_catalog.pg_last_wal_replay_lsn(), '0/0') ELSE pg_catalog.pg_current_wal_flush_lsn() END";

fn slot_state(row: &Answer<'_>) -> Result<State, Error> {
    let owned = |column| row.optional(column).map(str::to_owned);
    Ok(State {
        plugin: owned(0),
        database: owned(1),
        active_pid: row.parsed_optional(2)?,
        active_client: owned(3).filter(|client| !client.is_empty()),
        wal_status: owned(4),
        restart: row.parsed_optional(5)?,
        confirmed_flush: row.parsed_optional(6)?,
        safe_wal_bytes: row.parsed_optional(7)?,
        two_phase: row.flag(8)?,
        failover: row.flag(9)?,
        invalidation_reason: owned(10),
        catalog_xmin_age: row.parsed_optional(11)?,
        server_flush: row.parsed(12)?,
    })
}

/// The position on the server's disk: what lag in bytes is measured from (hazard 43).
pub async fn server_flush(sql: &mut dyn Sql) -> Result<Lsn, Error> {
    const READ: &str = "read the server's position";
    let rows = sql.rows(READ, &format!("SELECT {SERVER_FLUSH}")).await?;
    only(READ, &rows)?.parsed(0)
}

/// Creates the slot and returns its consistent point: everything that commits behind it will come. Runs on
/// an ordinary connection or on the replication connection, outside of a transaction.
///
/// It waits for every running transaction that has an id, prepared ones included, for as long as they take
/// (hazard 7); [`waits_for`] names them. From 17 on the slot is made for failover: a standby gets a copy,
/// and with `synchronized_standby_slots` set we are never ahead of it (hazard 17).
///
/// # Errors
/// When it is given up while it waits (`pg_cancel_backend`), nothing is left behind. When the connection is
/// lost, the slot may exist: the Intent entry of the journal tells that it is ours (rule 3).
pub async fn create(connection: &mut dyn Sql, name: &str) -> Result<Lsn, Error> {
    const CREATE: &str = "create the slot";
    pin_search_path(connection, CREATE).await?;
    connection.rows(CREATE, "SET statement_timeout = 0").await?;
    let version = connection.rows(CREATE, "SELECT pg_catalog.current_setting('server_version_num')").await?;
    let version: u32 = only(CREATE, &version)?.parsed(0)?;
    // The gate comes later; without this the server's refusal would look like one that another try may mend.
    let level = connection.rows(CREATE, "SELECT pg_catalog.current_setting('wal_level')").await?;
    if only(CREATE, &level)?.text(0)? != "logical" {
        let hint = "ALTER SYSTEM SET wal_level = 'logical'; then restart the server";
        return Err(refused("source-wal-level", CREATE, "wal_level is not 'logical'", hint));
    }
    let failover = if version >= 170_000 { ", false, false, true" } else { "" };
    let statement = format!(
        "SELECT lsn FROM pg_catalog.pg_create_logical_replication_slot({}, '{PLUGIN}'{failover})",
        literal(name)
    );
    let rows = connection.rows(CREATE, &statement).await?;
    only(CREATE, &rows)?.parsed(0)
}

/// Whom a [`create`] in the backend `creator` is waiting for, asked over a second connection.
pub async fn waits_for(second: &mut dyn Sql, creator: i32) -> Result<Vec<Blocker>, Error> {
    const LIST: &str = "list the transactions that the slot waits for";
    pin_search_path(second, LIST).await?;
    let mut blockers = transactions::running(second, LIST, None).await?;
    blockers.retain(|blocker| blocker.pid != Some(creator));
    Ok(blockers)
}

/// Drops the slot; false when there was none. Everything behind its position is then lost to us.
///
/// # Errors
/// A retry while somebody streams from it.
pub async fn drop(sql: &mut dyn Sql, name: &str) -> Result<bool, Error> {
    const DROP: &str = "drop the slot";
    pin_search_path(sql, DROP).await?;
    let statement = format!(
        "SELECT pg_catalog.pg_drop_replication_slot(s.slot_name)
         FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = {}",
        literal(name)
    );
    match sql.rows(DROP, &statement).await {
        Ok(rows) => Ok(!rows.is_empty()),
        // object_in_use
        Err(Error::Server { sqlstate, message, .. }) if sqlstate == "55006" => {
            Err(Error::Retry { operation: DROP, reason: message })
        }
        Err(error) => Err(error),
    }
}
