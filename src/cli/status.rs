//! `status`: what the daemon does, for people and scripts.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use comfy_table::Table;
use comfy_table::presets::UTF8_NO_BORDERS;

use crate::config::Config;
use crate::config::quantity::size_text;
use crate::control::{Answer, Request};
use crate::error::{Exit, Failure};
use crate::pipeline::Status;

const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// Show what the daemon does: lag, projections, backfill, quarantine
#[derive(Debug, clap::Args)]
#[command(after_help = format!("Examples:\n  projectord status\n  projectord status --watch\n  projectord status --json | jq .watermarks.lag_seconds\n\n{}", super::EXIT_CODES))]
pub struct Args {
    /// Print everything as JSON; fields are added, never renamed
    #[arg(long)]
    json: bool,
    /// Show it again every two seconds until Ctrl-C
    #[arg(long)]
    watch: bool,
}

pub fn run(config: &Config, args: &Args) -> Result<Exit, Failure> {
    super::wait(async {
        loop {
            let answer = super::ask_daemon(config, &Request::Status).await?;
            let Some(Answer::Status(status)) = answer else {
                return Err(answer.map_or_else(|| super::no_daemon(config), |_| super::unexpected()));
            };
            let text = if args.json { super::json(&*status)? + "\n" } else { render(&status) };
            let mut out = std::io::stdout();
            // On a terminal each look takes the place of the last one.
            let clear = if args.watch && !args.json && out.is_terminal() { "\x1b[2J\x1b[H" } else { "" };
            write!(out, "{clear}{text}")
                .and_then(|()| out.flush())
                .map_err(|error| Failure::new(Exit::Failed, format!("write the status: {error}")))?;
            if !args.watch {
                return Ok(verdict(&status));
            }
            tokio::time::sleep(WATCH_INTERVAL).await;
        }
    })
}

/// Trouble or a refused document needs a person.
fn verdict(status: &Status) -> Exit {
    let quarantined = status.projections.iter().any(|projection| projection.quarantined > 0);
    if status.trouble.is_some() || quarantined { Exit::Attention } else { Exit::Done }
}

fn render(status: &Status) -> String {
    let marks = &status.watermarks;
    let mut text = format!(
        "projectord {} (pid {}), {}, epoch {}\n",
        status.version, status.pid, status.state, status.epoch
    );
    if let Some(trouble) = &status.trouble {
        text.push_str(&format!("TROUBLE: {trouble}\n"));
    }
    let source = &status.source;
    text.push_str(&format!(
        "source: {}, slot {}, confirmed {}, keeps {} ({})\n",
        if source.connected { "connected" } else { "not connected" },
        source.slot,
        source.confirmed,
        source.retained_bytes.map_or_else(|| "?".to_owned(), size_text),
        source.wal_status.as_deref().unwrap_or("unknown"),
    ));
    text.push_str(&format!(
        "lag: {:.1} s; last contact {:.1} s ago\n\n",
        marks.lag_seconds, marks.last_contact_seconds
    ));
    let mut table = table(&["watermark", "position", "entry", "behind server"]);
    let none = String::new;
    for (name, position, entry, lag) in [
        ("received", marks.received, none(), marks.lag_bytes.received),
        ("journaled", marks.journaled, marks.journaled_entry.to_string(), marks.lag_bytes.journaled),
        ("applied", marks.applied, marks.applied_entry.to_string(), marks.lag_bytes.applied),
        ("projected", marks.projected, marks.projected_entry.to_string(), marks.lag_bytes.projected),
    ] {
        table.add_row([name.to_owned(), position.to_string(), entry, size_text(lag)]);
    }
    text.push_str(&format!("{}\n\n", table.trim_fmt()));
    let mut table = self::table(&["projection", "state", "index", "points", "scans", "quarantined"]);
    for p in &status.projections {
        let (points, scans, quarantined) =
            (p.points.to_string(), p.scans.to_string(), p.quarantined.to_string());
        table.add_row([p.name.clone(), p.state.clone(), p.index.clone(), points, scans, quarantined]);
    }
    text.push_str(&format!("{}\n", table.trim_fmt()));
    let open: Vec<_> = status.backfill.iter().filter(|backfill| backfill.state != "complete").collect();
    if !open.is_empty() {
        let mut table = self::table(&["backfill", "state", "rows", "of about", "waits for"]);
        for b in open {
            let waits_for = b.waits_for.clone().unwrap_or_default();
            table.add_row([
                b.table.clone(),
                b.state.clone(),
                b.rows.to_string(),
                b.estimate.to_string(),
                waits_for,
            ]);
        }
        text.push_str(&format!("\n{}\n", table.trim_fmt()));
    }
    text.push_str(&format!(
        "\njournal: {} in {} segments, entries {} to {}\nstore: {}, {} rows, checkpoint at entry {}\n",
        size_text(status.journal.bytes),
        status.journal.segments,
        status.journal.first_entry,
        status.journal.last_entry,
        size_text(status.store.bytes),
        status.store.rows,
        status.store.checkpoint_entry,
    ));
    text
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_NO_BORDERS);
    table.set_header(header.to_vec());
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::status::{BackfillStatus, ProjectionStatus};

    #[test]
    fn the_table_names_trouble_projections_and_open_backfills() {
        let mut status = Status { state: "backfilling".into(), ..Status::default() };
        assert_eq!(verdict(&status), Exit::Done);
        status.projections.push(ProjectionStatus {
            name: "orders".into(),
            quarantined: 2,
            ..Default::default()
        });
        assert_eq!(verdict(&status), Exit::Attention);
        status.projections[0].quarantined = 0;
        status.trouble = Some("slot-lost: gone".into());
        assert_eq!(verdict(&status), Exit::Attention);
        let backfill = |table: &str, state: &str| BackfillStatus {
            table: table.into(),
            state: state.into(),
            ..Default::default()
        };
        status.backfill = vec![backfill("public.items", "reading"), backfill("public.done", "complete")];
        let text = render(&status);
        for part in ["TROUBLE: slot-lost", "orders", "public.items", "projected", "backfilling"] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains("public.done"), "{text}");
    }
}
