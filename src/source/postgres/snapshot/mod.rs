//! Reading existing rows beside a running stream.
//!
//! The order that makes it right (rules 11 to 14, hazard 9): a marker is emitted and comes back in the
//! stream (L) -> everything that was running then is waited out -> chunk after chunk is read, each followed
//! by a marker of its own, at which ingest appends it. None of it compares positions in the WAL with what a
//! SELECT sees, because a commit is in the WAL before it is visible.
//!
//! This is the asking only; the order is kept by the backfill.

pub mod chunk;
pub mod copy_text;
mod failure;
mod marker;
mod wait_out;

pub use chunk::{ChunkRequest, ReadChunk, read_chunk};
pub use failure::{failure, is_too_slow};
pub use marker::{Marker, PREFIX, emit_marker};
pub use wait_out::{WaitOut, Waiting};

use super::answer::{only, pin_search_path};
use super::{Error, Sql};

/// About how many rows these relations have, for showing progress: the planner's figures. None when one
/// of them was never analyzed.
pub async fn estimate_rows(sql: &mut dyn Sql, oids: &[u32]) -> Result<Option<u64>, Error> {
    const ESTIMATE: &str = "estimate the rows";
    if oids.is_empty() {
        return Ok(Some(0));
    }
    pin_search_path(sql, ESTIMATE).await?;
    let list = oids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    // -1 is "never analyzed".
    let statement = format!(
        "SELECT CASE WHEN pg_catalog.min(c.reltuples) >= 0
                     THEN pg_catalog.sum(c.reltuples::float8)::bigint END
         FROM pg_catalog.pg_class c WHERE c.oid IN ({list})"
    );
    let rows = sql.rows(ESTIMATE, &statement).await?;
    only(ESTIMATE, &rows)?.parsed_optional(0)
}
