//! `journal list`: the segment files.

use std::io::Write;

use comfy_table::Table;
use comfy_table::presets::UTF8_NO_BORDERS;
use serde_json::json;

use super::{Out, failed};
use crate::config::Config;
use crate::config::quantity::size_text;
use crate::error::Failure;
use crate::journal::peek::{self, Look, Next, Segment};
use crate::model::EntryNo;

/// Prints one line per segment.
pub fn run(config: &Config, as_json: bool) -> Result<(), Failure> {
    let segments = peek::segments(&super::folder(config)).map_err(failed)?;
    let mut table = Table::new();
    table.load_style(UTF8_NO_BORDERS);
    table.set_header(["file", "first", "last", "bytes", "written"]);
    let mut out = Out::new();
    for (position, segment) in segments.iter().enumerate() {
        let (last, torn) = match segments.get(position + 1) {
            Some(following) => (following.first.previous(), None),
            None => last_of(segment)?,
        };
        // A segment that was just begun holds nothing.
        let last = (last >= segment.first).then_some(last);
        if let Some(torn) = torn {
            eprintln!("{}", super::torn_line(&torn));
        }
        if as_json {
            out.line(&json!({
                "file": segment.name(), "first": segment.first, "last": last,
                "bytes": segment.bytes, "age_seconds": segment.age_s(),
            }))?;
        } else {
            table.add_row([
                segment.name(),
                segment.first.to_string(),
                last.map_or_else(|| "-".to_owned(), |last| last.to_string()),
                size_text(segment.bytes),
                age_text(segment.age_s()),
            ]);
        }
    }
    if !as_json {
        out.text(|to| writeln!(to, "{}", table.trim_fmt()))?;
    }
    Ok(())
}

/// The last whole entry of the last segment.
fn last_of(segment: &Segment) -> Result<(EntryNo, Option<peek::Torn>), Failure> {
    let mut last = segment.first.previous();
    let Some(mut look) = Look::open(segment).map_err(failed)? else { return Ok((last, None)) };
    loop {
        match look.entry().map_err(failed)? {
            Next::Entry(record) => last = record.number,
            Next::End => return Ok((last, None)),
            Next::Torn(torn) => return Ok((last, Some(torn))),
        }
    }
}

fn age_text(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7_200 => format!("{} min ago", seconds / 60),
        7_200..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_in_the_largest_unit_that_still_says_something() {
        for (seconds, text) in [
            (0, "0 s ago"),
            (119, "119 s ago"),
            (120, "2 min ago"),
            (7_200, "2 h ago"),
            (172_800, "2 days ago"),
        ] {
            assert_eq!(age_text(seconds), text);
        }
    }
}
