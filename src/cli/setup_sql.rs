//! `setup-sql`: the script that a DBA runs once.

use super::seam;
use crate::config::Config;
use crate::error::{Exit, Failure};

/// Print the SQL script that prepares the write database; nothing is run
///
/// Roles, rights and the publication for exactly the tables that the projections use. Read it, then let a DBA
/// run it. The daemon itself needs no owner's rights.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  projectord setup-sql > setup.sql\n  projectord setup-sql | psql -v ON_ERROR_STOP=1 shop"
)]
pub struct Args {}

pub fn run(config: &Config, _args: &Args) -> Result<Exit, Failure> {
    super::warn(config);
    print!("{}", seam::setup_sql(config)?);
    Ok(Exit::Done)
}
