//! The first backfill as a bar, for whoever has started `run` on a terminal. It says nothing that `status`
//! does not say; logs go on above it.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::config::Config;
use crate::config::log::Format;
use crate::http::Watch;
use crate::pipeline::Status;
use crate::shutdown::Stop;

const LOOK_EVERY: Duration = Duration::from_millis(250);
const TEMPLATE: &str = "{msg}  {bar:30} {human_pos} of about {human_len} rows  {per_sec}  {eta} left";

/// Whether a bar can be shown: somebody looks, and nobody parses.
pub fn wanted(config: &Config) -> bool {
    config.log.format != Format::Json && std::io::stderr().is_terminal()
}

/// Shows the backfill until every table is complete or the daemon stops.
pub async fn show(watch: Arc<dyn Watch>, mut stop: Stop) {
    let Ok(style) = ProgressStyle::with_template(TEMPLATE) else { return };
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style);
    let mut begun = false;
    loop {
        tokio::select! {
            () = stop.asked() => break,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let status = watch.status();
        match Sum::of(&status) {
            Some(sum) => {
                begun = true;
                bar.set_length(sum.expected);
                bar.set_position(sum.rows);
                bar.set_message(sum.what);
            }
            None if begun || status.state == "streaming" => break,
            None => {}
        }
    }
    bar.finish_and_clear();
}

/// All tables together.
#[derive(Debug, PartialEq, Eq)]
struct Sum {
    rows: u64,
    /// By the server's statistics, which may be too low: never below `rows`.
    expected: u64,
    what: String,
}

impl Sum {
    /// Nothing when nothing is being read.
    fn of(status: &Status) -> Option<Sum> {
        let open = status.backfill.iter().find(|table| table.state != "complete")?;
        let reading = status.backfill.iter().find(|table| table.state == "reading").unwrap_or(open);
        let what = match &reading.waits_for {
            Some(whom) => format!("{} waits for {whom}", reading.table),
            None => reading.table.clone(),
        };
        let rows = status.backfill.iter().map(|table| table.rows).sum();
        let expected = |table: &crate::pipeline::status::BackfillStatus| {
            if table.state == "complete" { table.rows } else { table.estimate.max(table.rows) }
        };
        Some(Sum { rows, expected: status.backfill.iter().map(expected).sum(), what })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::status::BackfillStatus;

    #[test]
    fn tables_are_summed_and_an_estimate_never_lies_below_what_was_read() {
        let table = |name: &str, state: &str, rows, estimate| BackfillStatus {
            table: name.into(),
            state: state.into(),
            rows,
            estimate,
            waits_for: None,
        };
        let mut status = Status::default();
        assert_eq!(Sum::of(&status), None);
        status.backfill = vec![
            table("public.done", "complete", 10, 500),
            table("public.waits", "waiting", 0, 100),
            table("public.items", "reading", 70, 50),
        ];
        let expected = Sum { rows: 80, expected: 10 + 100 + 70, what: "public.items".into() };
        assert_eq!(Sum::of(&status), Some(expected));
        status.backfill[2].waits_for = Some("pid 7".into());
        assert_eq!(Sum::of(&status).unwrap().what, "public.items waits for pid 7");
        status.backfill.truncate(1);
        assert_eq!(Sum::of(&status), None);
    }
}
