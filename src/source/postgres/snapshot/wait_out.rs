//! Waiting until everything that ran at a moment has ended and is visible (rule 12).

use crate::source::postgres::answer::{only, pin_search_path};
use crate::source::postgres::transactions::{self, Blocker};
use crate::source::postgres::{Error, Sql};

const WAIT: &str = "wait for running transactions";

/// The wait for all transactions that began before a moment.
///
/// It takes a transaction id N of its own and waits until the oldest one that still runs is above it. A
/// list of what runs would not do: a commit that waits for a standby is in the WAL, and streamed, and in no
/// list, while SELECTs do not see it yet (hazard 9). It still holds down the snapshot's xmin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitOut {
    /// N, with its epoch.
    pub xid: u64,
}

/// How far a wait is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Whatever ran when the wait began is visible to the next snapshot, or rolled back.
    Over,
    /// For these, as far as they can be seen; whoever ends in this moment is not named.
    For(Vec<Blocker>),
}

impl WaitOut {
    /// Begins the wait. On the primary only: a standby gives no transaction ids.
    pub async fn begin(sql: &mut dyn Sql) -> Result<WaitOut, Error> {
        // The id writes no WAL of its own, so its commit waits for no standby.
        let rows = sql.rows(WAIT, "SELECT pg_catalog.pg_current_xact_id()").await?;
        Ok(WaitOut { xid: only(WAIT, &rows)?.parsed(0)? })
    }

    /// Looks once. The asking session must not be inside a transaction: its snapshot would stand still.
    pub async fn poll(&self, sql: &mut dyn Sql) -> Result<Waiting, Error> {
        let statement = "SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())";
        let rows = sql.rows(WAIT, statement).await?;
        let oldest: u64 = only(WAIT, &rows)?.parsed(0)?;
        if oldest > self.xid {
            return Ok(Waiting::Over);
        }
        pin_search_path(sql, WAIT).await?;
        Ok(Waiting::For(transactions::running(sql, WAIT, Some(self.xid)).await?))
    }
}
