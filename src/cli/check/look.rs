//! Everything that is looked at. Nothing here gives up before it has looked at the rest.
//!
//! ```text
//! files ── parsed ──> definitions ──> tables found in the write database ──> plans
//! data folder, unlocked ─────────────────────┐                                │
//! write database <── gate ── what the journal would go on from                v
//! sink           <── check ─────────────────────────────────── indices that `run` would use
//! ```

use std::sync::Arc;

use super::finding::{Finding, Verdict};
use crate::cli::parts;
use crate::config::Config;
use crate::control::Request;
use crate::error::Exit;
use crate::journal::entry::Facts;
use crate::journal::{identity, peek};
use crate::model::{Catalog, Diagnostic};
use crate::pipeline::run::{self, Looked, ProjectionFile};
use crate::projection::compile::tables_named;
use crate::projection::definition::{self, Definition};
use crate::sink::IndexSpec;
use crate::source::postgres::gate::{self, Expected, NeededTable};
use crate::source::postgres::{self, Connection};
use crate::source::{Identity, Source};

/// How often the slot is held against the journal's end, while that moves on.
const LOOKS_MAX: usize = 5;

/// The projection files that could be read and parsed, in their order.
#[derive(Default)]
pub struct Files {
    files: Vec<ProjectionFile>,
    parsed: Vec<Definition>,
}

/// Looks at the files alone.
pub fn files(config: &Config, findings: &mut Vec<Finding>) -> Files {
    let mut good = Files::default();
    let before = findings.len();
    for path in &config.projections {
        let file = match parts::projection(path) {
            Ok(file) => file,
            Err(failure) => {
                let finding = Finding::of_failure("projections", failure);
                findings.push(Finding { code: "unreadable-file".to_owned(), ..finding });
                continue;
            }
        };
        match definition::parse(&file.path, &file.text) {
            Ok(parsed) => {
                good.files.push(file);
                good.parsed.push(parsed);
            }
            Err(mistakes) => findings.extend(mistakes.iter().map(Finding::of_mistake)),
        }
    }
    if findings.len() == before {
        let tables = tables_named(&good.parsed).len();
        let (files, tables) = (count(good.files.len(), "file"), count(tables, "table"));
        findings.push(Finding::ok("projections", format!("{files} over {tables}")));
    }
    good
}

/// Looks at the data folder and asks both servers.
pub async fn servers(config: &Config, files: Files, findings: &mut Vec<Finding>) {
    let journal = journal(config, findings);
    let known = journal.facts.as_ref().map(|facts| facts.catalog.clone()).unwrap_or_default();
    let source: Arc<dyn Source> = parts::source(config, None);
    let mut catalog_error = None;
    let (catalog, indices) = match run::find(&source, &files.parsed, &known).await {
        Ok((catalog, _, missing)) => compile(files, catalog, missing, &journal, findings),
        Err(error) => {
            catalog_error = Some(Finding::of_source(error));
            (Catalog::default(), Vec::new())
        }
    };
    gate(config, &catalog, &journal, findings).await;
    if let Some(error) = catalog_error
        && !findings.iter().any(|known| says_all_of(known, &error))
    {
        findings.push(error);
    }
    sink(config, &indices, findings).await;
}

/// One server that does not answer, or one wrong password, is one finding, however many connections it spoils.
fn says_all_of(known: &Finding, other: &Finding) -> bool {
    let cause = other.message.split_once(": ").map_or(&*other.message, |(_, cause)| cause);
    (known.room, known.verdict, &known.code) == (other.room, other.verdict, &other.code)
        && known.message.ends_with(cause)
}

/// What `run` would go on from.
struct Journal {
    id: String,
    facts: Option<Facts>,
    recorded: Option<Identity>,
    end_lsn: Option<crate::model::Lsn>,
}

/// Read beside whoever may be writing: no lock is taken.
fn journal(config: &Config, findings: &mut Vec<Finding>) -> Journal {
    // As `run` would choose one: of 32 digits. The real id gives the indices other names.
    let mut journal = Journal { id: "0".repeat(32), facts: None, recorded: None, end_lsn: None };
    if !config.data.join(identity::FILE).exists() {
        return journal;
    }
    let looked = identity::look(&config.data)
        .and_then(|id| peek::state(&config.data.join("journal")).map(|state| (id, state)));
    match looked {
        Ok((id, state)) => {
            journal.id = id;
            journal.facts = state.facts.and_then(|payload| serde_json::from_slice(&payload).ok());
            journal.recorded = state.connected.and_then(|payload| serde_json::from_slice(&payload).ok());
            journal.end_lsn = state.end_lsn;
            let end = journal.end_lsn.map_or_else(|| "no position yet".to_owned(), |lsn| lsn.to_string());
            findings.push(Finding::ok("data", format!("journal {}, {end}", journal.id)));
        }
        Err(error) => {
            let failure = crate::cli::daemon::failure(error.into());
            findings.push(Finding::of_failure("data", failure));
        }
    }
    journal
}

/// Compiles what was found. The catalog is worth something even when that fails.
fn compile(
    files: Files,
    catalog: Catalog,
    missing: Vec<Diagnostic>,
    journal: &Journal,
    findings: &mut Vec<Finding>,
) -> (Catalog, Vec<IndexSpec>) {
    match run::compile_found(&files.parsed, &catalog, missing) {
        Ok(plans) => {
            let looked = Looked { parsed: files.parsed, catalog, traces: Vec::new(), plans };
            let facts = run::facts_of(&looked, &files.files, journal.facts.as_ref(), &[], 0, &journal.id);
            let indices = run::indices_of(&facts, &looked, &journal.id);
            (looked.catalog, indices)
        }
        Err(mistakes) => {
            findings.retain(|finding| finding.room != "projections" || finding.verdict != Verdict::Ok);
            findings.extend(mistakes.iter().map(Finding::of_mistake));
            (catalog, Vec::new())
        }
    }
}

/// As `run` does at every connect, but all refusals at once.
async fn gate(config: &Config, catalog: &Catalog, journal: &Journal, findings: &mut Vec<Finding>) {
    let options: &postgres::Options = &config.source;
    let needed = |table: &crate::model::Table| NeededTable {
        schema: table.schema.clone(),
        name: table.name.clone(),
        columns: None,
    };
    let tables = catalog.tables.iter().map(needed).collect();
    let mut expected = Expected::new(options, tables, journal.recorded.clone(), journal.end_lsn);
    let before = findings.len();
    let looked = async {
        let mut connection = Connection::connect(options).await?;
        for _ in 1..LOOKS_MAX {
            let report = gate::check_all(&mut connection, &expected).await?;
            // A daemon that writes meanwhile confirms what the journal did not have yet when it was read.
            let end = peek::state(&config.data.join("journal")).ok().and_then(|state| state.end_lsn);
            if !report.problems.iter().any(is_advanced) || end <= expected.journal_end {
                return Ok(report);
            }
            expected.journal_end = end;
        }
        gate::check_all(&mut connection, &expected).await
    };
    match looked.await {
        Ok(report) => {
            for problem in report.problems {
                // The slot is in use: as it should be when it is our own daemon that uses it.
                let busy = matches!(problem, postgres::Error::Retry { .. });
                if !(busy && daemon_runs(config).await) {
                    findings.push(Finding::of_source(problem));
                }
            }
            findings.extend(report.warnings.into_iter().map(Finding::of_warning));
        }
        Err(error) => findings.push(Finding::of_source(error)),
    }
    if findings[before..].iter().all(|finding| finding.verdict == Verdict::Warning) {
        let message = format!(
            "{}:{}, database {}, slot {}, publication {}",
            options.host, options.port, options.database, options.slot, options.publication
        );
        findings.push(Finding::ok("source", message));
    }
}

fn is_advanced(problem: &postgres::Error) -> bool {
    matches!(problem, postgres::Error::Refused { code: "slot-advanced", .. })
}

async fn daemon_runs(config: &Config) -> bool {
    matches!(crate::cli::ask_daemon(config, &Request::Status).await, Ok(Some(_)))
}

async fn sink(config: &Config, indices: &[IndexSpec], findings: &mut Vec<Finding>) {
    let sink = match parts::sink(config) {
        Ok(sink) => sink,
        Err(failure) => return findings.push(Finding::of_failure("sink", failure)),
    };
    let found: Vec<Finding> = sink.check(indices).await.into_iter().map(Finding::of_sink).collect();
    if super::finding::exit(&found) == Exit::Done {
        let names: Vec<&str> = indices.iter().map(|index| index.alias.as_str()).collect();
        let message = if names.is_empty() {
            "answers; no index was looked at".to_owned()
        } else {
            format!("answers; {} can be written", names.join(", "))
        };
        findings.push(Finding::ok("sink", message));
    }
    findings.extend(found);
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
