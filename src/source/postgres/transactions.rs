//! Transactions that are running now, as somebody who waits for them wants to see them named.

use super::Error;
use super::answer::answers;
use super::sql::Sql;

/// How many are named at most; whoever waits for more learns nothing from a longer list.
pub const BLOCKERS_MAX: usize = 50;

/// A running transaction that has written, or is about to: only those have a transaction id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocker {
    /// None: a prepared transaction, which belongs to no backend.
    pub pid: Option<i32>,
    /// Waits count for the whole cluster, not only for our database.
    pub database: String,
    pub user: String,
    /// Seconds since it began, by the server's clock. None: our role may not see it (`pg_read_all_stats`).
    pub age_s: Option<u64>,
    /// Name of a prepared transaction, to be ended with `COMMIT PREPARED` or `ROLLBACK PREPARED`.
    pub prepared: Option<String>,
    /// As in `pg_stat_activity`, such as `idle in transaction`; with the event it waits for, such as `SyncRep`.
    pub state: Option<String>,
}

impl std::fmt::Display for Blocker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.pid, &self.prepared) {
            (Some(pid), _) => write!(f, "pid {pid}")?,
            (None, Some(gid)) => write!(f, "prepared transaction '{gid}'")?,
            (None, None) => f.write_str("a transaction")?,
        }
        write!(f, " of {} in {}", self.user, self.database)?;
        if let Some(state) = &self.state {
            write!(f, ", {state}")?;
        }
        match self.age_s {
            Some(age_s) => write!(f, ", for {age_s} s"),
            None => Ok(()),
        }
    }
}

/// Transactions with an id up to and including `xid`; all of them without one. The asking session itself
/// is left out.
pub(super) async fn running(
    sql: &mut dyn Sql,
    operation: &'static str,
    xid: Option<u64>,
) -> Result<Vec<Blocker>, Error> {
    // Views show ids without their epoch, so they are compared by age, which knows about wraparound.
    let not_after = |column: &str| match xid {
        Some(xid) => {
            let short = xid & 0xFFFF_FFFF;
            format!("pg_catalog.age({column}) >= pg_catalog.age('{short}'::pg_catalog.xid)")
        }
        None => "true".to_owned(),
    };
    let statement = format!(
        "SELECT a.pid, COALESCE(a.datname::text, ''), COALESCE(a.usename::text, ''),
                pg_catalog.floor(EXTRACT(epoch FROM pg_catalog.clock_timestamp() - a.xact_start))::bigint AS age,
                NULL::text,
                CASE WHEN a.wait_event IS NULL THEN a.state
                     ELSE pg_catalog.concat(a.state, ' (', a.wait_event, ')') END
         FROM pg_catalog.pg_stat_activity a
         WHERE a.backend_xid IS NOT NULL AND a.pid <> pg_catalog.pg_backend_pid() AND {of_backend}
         UNION ALL
         SELECT NULL, p.database::text, p.owner::text,
                pg_catalog.floor(EXTRACT(epoch FROM pg_catalog.clock_timestamp() - p.prepared))::bigint,
                p.gid, 'prepared'
         FROM pg_catalog.pg_prepared_xacts p
         WHERE {of_prepared}
         ORDER BY age DESC NULLS LAST LIMIT {BLOCKERS_MAX}",
        of_backend = not_after("a.backend_xid"),
        of_prepared = not_after("p.transaction"),
    );
    let rows = sql.rows(operation, &statement).await?;
    answers(operation, &rows)
        .map(|row| {
            let age_s: Option<i64> = row.parsed_optional(3)?;
            Ok(Blocker {
                pid: row.parsed_optional(0)?,
                database: row.text(1)?.to_owned(),
                user: row.text(2)?.to_owned(),
                age_s: age_s.map(|age| u64::try_from(age).unwrap_or(0)),
                prepared: row.optional(4).map(str::to_owned),
                state: row.optional(5).map(str::to_owned),
            })
        })
        .collect()
}
