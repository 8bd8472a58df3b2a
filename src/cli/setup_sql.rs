//! `setup-sql`: the script that a DBA runs once.

use super::{daemon, parts};
use crate::config::Config;
use crate::error::{Exit, Failure};
use crate::pipeline::run;
use crate::projection::compile::tables_named;
use crate::source::postgres::setup_sql::script;

/// Where a table is when its name says nothing else. No server is asked, so a table that lies elsewhere must
/// be written `schema.table` in the projection.
const SCHEMA: &str = "public";

/// Print the SQL script that prepares the write database; nothing is run
///
/// Roles, rights, the publication for exactly the tables that the projections use, and the slot. Read it, then let
/// a DBA run it. It publishes nothing when a table has no usable key. Tables without a schema are taken
/// to be in public. The daemon itself needs no owner's rights.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  projectord setup-sql > setup.sql\n  projectord setup-sql | psql -v ON_ERROR_STOP=1 shop"
)]
pub struct Args {}

pub fn run(config: &Config, _args: &Args) -> Result<Exit, Failure> {
    super::warn(config);
    let parsed = run::parse(&parts::projections(config)?).map_err(daemon::failure)?;
    let mut tables: Vec<(String, String)> = tables_named(&parsed)
        .into_iter()
        .map(|table| (table.schema.unwrap_or_else(|| SCHEMA.to_owned()), table.name))
        .collect();
    tables.sort();
    tables.dedup();
    print!("{}", script(&config.source, &tables));
    Ok(Exit::Done)
}
