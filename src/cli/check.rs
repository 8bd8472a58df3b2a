//! `check`: everything that can be wrong, all at once, changing nothing.
//!
//! [`finding`] is what is told, [`look`] is where it comes from.

mod finding;
mod look;

use serde_json::json;

use crate::config::Config;
use crate::error::{Exit, Failure};

/// Check configuration, projections, write database and sink; change nothing
#[derive(Debug, clap::Args)]
#[command(after_help = format!("Examples:\n  projectord check\n  projectord check --offline       # files only, as in CI\n  projectord check --json | jq .config\n\n{}", super::EXIT_CODES))]
pub struct Args {
    /// Look at the files only; ask no server
    #[arg(long)]
    offline: bool,
    /// Print findings and the configuration in force as JSON, without secrets
    #[arg(long)]
    json: bool,
}

pub fn run(config: &Config, args: &Args) -> Result<Exit, Failure> {
    let mut findings = Vec::new();
    let files = look::files(config, &mut findings);
    if !args.offline {
        super::wait(async {
            look::servers(config, files, &mut findings).await;
            Ok(())
        })?;
    }
    if args.json {
        let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
        let report = json!({ "config": config.effective(), "warnings": warnings, "findings": findings });
        println!("{}", super::json(&report)?);
    } else {
        super::warn(config);
        for finding in &findings {
            println!("{}", finding.line());
        }
    }
    Ok(finding::exit(&findings))
}
