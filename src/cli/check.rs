//! `check`: everything that can be wrong, all at once, changing nothing.

use serde_json::json;

use super::seam::{self, Finding, Verdict};
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
    let mut findings = seam::check_projections(config)?;
    if !args.offline {
        findings.extend(super::wait(seam::check_servers(config))?);
    }
    if args.json {
        let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
        let report = json!({ "config": config.effective(), "warnings": warnings, "findings": findings });
        println!("{}", super::json(&report)?);
    } else {
        super::warn(config);
        for finding in &findings {
            println!("{}", line(finding));
        }
    }
    Ok(exit(&findings))
}

fn line(finding: &Finding) -> String {
    let Finding { room, code, message, hint, verdict } = finding;
    let word = match verdict {
        Verdict::Ok => return format!("ok       {room}: {message}"),
        Verdict::Warning => "warning ",
        Verdict::Unreachable => "no answer",
        Verdict::Refused => "refused ",
        Verdict::Wrong => "wrong   ",
    };
    let mut text = format!("{word} {room}: {message}");
    if !code.is_empty() {
        text.push_str(&format!(" [{code}]"));
    }
    if !hint.is_empty() {
        text.push_str(&format!("\n         {hint}"));
    }
    text
}

fn exit(findings: &[Finding]) -> Exit {
    match findings.iter().map(|finding| finding.verdict).max() {
        None | Some(Verdict::Ok | Verdict::Warning) => Exit::Done,
        Some(Verdict::Unreachable) => Exit::Unreachable,
        Some(Verdict::Refused) => Exit::Refused,
        Some(Verdict::Wrong) => Exit::Usage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_finding_decides_the_exit_code() {
        let finding = |verdict| Finding {
            room: "source",
            code: "slot-lost".into(),
            message: "the slot is lost".into(),
            hint: "projectord backfill --all".into(),
            verdict,
        };
        for (verdicts, expected) in [
            (&[][..], Exit::Done),
            (&[Verdict::Ok, Verdict::Warning], Exit::Done),
            (&[Verdict::Unreachable, Verdict::Ok], Exit::Unreachable),
            (&[Verdict::Refused, Verdict::Unreachable], Exit::Refused),
            (&[Verdict::Wrong, Verdict::Refused], Exit::Usage),
        ] {
            let findings: Vec<_> = verdicts.iter().map(|verdict| finding(*verdict)).collect();
            assert_eq!(exit(&findings), expected, "{verdicts:?}");
        }
        assert!(line(&finding(Verdict::Refused)).contains("[slot-lost]\n         projectord backfill"));
    }
}
