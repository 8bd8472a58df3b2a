//! What was run and how it ended: one line of JSON per run, appended and synced at once, so that a campaign may
//! end at any moment and go on later.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::faults::Fault;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// Every document was equal in time.
    Held,
    /// The daemon refused with the code that it must refuse with; after the documented remedy every document
    /// was equal.
    Refused,
    /// Anything else.
    Failed,
    /// It could not be run here, or the fault was not met: it counts as nothing.
    Skipped,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub fault: String,
    /// Which of the fault's forms: a failpoint's name, the number of a call.
    pub variant: String,
    /// Repeats the run: `--only FAULT --seed SEED`.
    pub seed: u64,
    /// Of the code, as scripts/campaign gives it.
    pub version: String,
    pub unix_s: u64,
    pub ending: Ending,
    /// The code of a refusal; why it failed or was skipped.
    pub detail: String,
    /// The whole run.
    pub seconds: f64,
    /// From the end of fault and load until all that was committed was projected.
    pub converged_ms: u64,
    pub documents: usize,
    /// Row changes per second under load, where the server could count them.
    pub changes_per_s: Option<u32>,
}

/// The file.
pub struct Ledger {
    path: PathBuf,
    pub entries: Vec<Entry>,
}

impl Ledger {
    /// Reads what is there. A last line that was cut short by a kill is passed over, any other bad one is an
    /// error.
    pub fn open(path: &Path) -> Result<Ledger, String> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(format!("read {}: {error}", path.display())),
        };
        let mut entries = Vec::new();
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            match serde_json::from_str(line) {
                Ok(entry) => entries.push(entry),
                Err(_) if number + 1 == lines.len() && !text.ends_with('\n') => {}
                Err(error) => return Err(format!("{}:{}: {error}", path.display(), number + 1)),
            }
        }
        Ok(Ledger { path: path.to_owned(), entries })
    }

    pub fn add(&mut self, entry: Entry) -> Result<(), String> {
        let about = |error: std::io::Error| format!("write {}: {error}", self.path.display());
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).map_err(about)?;
        }
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path).map_err(about)?;
        let line = serde_json::to_string(&entry).expect("an entry is plain data") + "\n";
        // One write: a kill leaves a whole line, or the beginning of one.
        file.write_all(line.as_bytes()).and_then(|()| file.sync_data()).map_err(about)?;
        self.entries.push(entry);
        Ok(())
    }

    /// Runs of this fault that say something: by this code, or by any.
    pub fn runs(&self, fault: &str, version: Option<&str>) -> usize {
        let of = |entry: &&Entry| entry.fault == fault && version.is_none_or(|one| one == entry.version);
        self.entries.iter().filter(of).filter(|entry| entry.ending != Ending::Skipped).count()
    }

    /// A table for people, in Markdown.
    pub fn report(&self, faults: &[Fault], version: Option<&str>) -> String {
        let mut rows: BTreeMap<usize, Row> = BTreeMap::new();
        let mut all = Row::default();
        let mut skipped: BTreeMap<String, usize> = BTreeMap::new();
        for entry in self.entries.iter().filter(|entry| version.is_none_or(|one| one == entry.version)) {
            let position = faults.iter().position(|fault| fault.name == entry.fault).unwrap_or(faults.len());
            if entry.ending == Ending::Skipped {
                *skipped
                    .entry(format!("{} {}: {}", entry.fault, entry.variant, entry.detail))
                    .or_default() += 1;
                continue;
            }
            rows.entry(position).or_default().add(entry);
            all.add(entry);
        }
        let mut out = String::from(
            "| Fault | Runs | Held | Refused as expected | Failed | 95 % bound | Converged, median and worst |\n\
             | --- | --- | --- | --- | --- | --- | --- |\n",
        );
        for (position, row) in &rows {
            let name = faults.get(*position).map_or("of an older campaign", |fault| fault.name);
            out += &row.line(name);
        }
        out += &all.line("all");
        for (what, count) in skipped {
            out += &format!("\nSkipped {count} times: {what}\n");
        }
        let wrong = self.entries.iter().filter(|entry| entry.ending == Ending::Failed);
        for entry in wrong.filter(|entry| version.is_none_or(|one| one == entry.version)) {
            let first = entry.detail.lines().next().unwrap_or_default();
            out += &format!("\nFailed: {} {} --seed {}: {first}\n", entry.fault, entry.variant, entry.seed);
        }
        out
    }
}

/// Upper bound, at 95 %, of the probability that a run fails, after so many runs without one. Nothing is
/// claimed after a failure.
pub fn bound(runs: usize, failed: usize) -> Option<f64> {
    (failed == 0 && runs > 0).then(|| (3.0 / runs as f64).min(1.0))
}

#[derive(Default)]
struct Row {
    held: usize,
    refused: usize,
    failed: usize,
    converged: Vec<u64>,
}

impl Row {
    fn add(&mut self, entry: &Entry) {
        match entry.ending {
            Ending::Held => self.held += 1,
            Ending::Refused => self.refused += 1,
            Ending::Failed => self.failed += 1,
            Ending::Skipped => return,
        }
        if entry.ending != Ending::Failed {
            self.converged.push(entry.converged_ms);
        }
    }

    fn line(&self, name: &str) -> String {
        let runs = self.held + self.refused + self.failed;
        let bound = match bound(runs, self.failed) {
            Some(bound) if bound < 1.0 => format!("{:.1} %", bound * 100.0),
            _ => "none".to_owned(),
        };
        let mut converged = self.converged.clone();
        converged.sort_unstable();
        let seconds = |milliseconds: u64| milliseconds as f64 / 1_000.0;
        let times = match (converged.get(converged.len() / 2), converged.last()) {
            (Some(median), Some(worst)) => {
                format!("{:.1} s, {:.1} s", seconds(*median), seconds(*worst))
            }
            _ => String::new(),
        };
        format!(
            "| {name} | {runs} | {} | {} | {} | {bound} | {times} |\n",
            self.held, self.refused, self.failed
        )
    }
}
