//! Compares an index with what PostgreSQL itself says that every document must be.
//!
//! The SQL under tests/sql knows nothing of the projection code, so that the two are wrong in the same way
//! only by an unlikely accident. All ids are compared in both directions.

use std::collections::BTreeMap;
use std::fmt;

use super::elasticsearch::{Elasticsearch, Stored};
use super::json::{self, Json};
use super::session::Session;

/// Differences that a report shows in full; the rest is counted.
const SHOWN: usize = 20;

/// Documents by id.
pub type Documents = BTreeMap<String, Json>;

/// What must be: the query returns (id, document). One statement, hence one committed state.
pub fn expected(session: &Session, sql: &str) -> Documents {
    session.must("SET timezone = 'UTC'; SET extra_float_digits = 1; SET datestyle = 'ISO'");
    let rows = session.must(sql);
    let count = rows.len();
    let documents: Documents = rows
        .into_iter()
        .map(|mut row| {
            let document = row.remove(1).expect("a document is never NULL");
            let id = row.remove(0).expect("an id is never NULL");
            let document = json::parse(&document).unwrap_or_else(|error| panic!("document {id}: {error}"));
            (id, document)
        })
        .collect();
    assert_eq!(documents.len(), count, "the oracle names an id twice");
    documents
}

/// What is: every document of an index.
pub fn found(stored: &[Stored]) -> Documents {
    let documents: Documents = stored
        .iter()
        .map(|document| {
            let json =
                json::parse(&document.source).unwrap_or_else(|error| panic!("{}: {error}", document.id));
            (document.id.clone(), json)
        })
        .collect();
    assert_eq!(documents.len(), stored.len(), "the index was read with an id twice");
    documents
}

/// The number of equal documents, or what differs.
pub fn compare(expected: &Documents, found: &Documents) -> Result<usize, Report> {
    let mut report = Report { expected: expected.len(), found: found.len(), ..Report::default() };
    for (id, must_be) in expected {
        match found.get(id) {
            None => report.missing.push(id.clone()),
            Some(is) if is == must_be => {}
            Some(is) => {
                let mut places = Vec::new();
                differences("", must_be, is, &mut places);
                report.different.push((id.clone(), places));
            }
        }
    }
    report.phantom.extend(found.keys().filter(|id| !expected.contains_key(*id)).cloned());
    let clean = report.missing.is_empty() && report.phantom.is_empty() && report.different.is_empty();
    if clean { Ok(expected.len()) } else { Err(report) }
}

/// Compares every document of several projections: (index without the test's prefix, oracle). The number of
/// documents, or what differs in the first projection that is not in step.
///
/// The caller knows that all that was committed is projected, and that nobody writes.
pub fn compare_all(
    session: &Session,
    elasticsearch: &Elasticsearch,
    projections: &[(&str, &str)],
) -> Result<usize, Report> {
    let mut equal = 0;
    for (index, sql) in projections {
        let index = format!("{}{index}", elasticsearch.prefix());
        equal += compare(&expected(session, sql), &found(&elasticsearch.scan(&index)))
            .map_err(|report| Report { index, ..report })?;
    }
    Ok(equal)
}

/// What differs, for people.
#[derive(Debug, Default)]
pub struct Report {
    /// Empty where two sets were compared that are of no index.
    pub index: String,
    pub expected: usize,
    pub found: usize,
    /// In the write database and not in the index.
    pub missing: Vec<String>,
    /// In the index and not in the write database.
    pub phantom: Vec<String>,
    /// In both, with the places where they differ.
    pub different: Vec<(String, Vec<String>)>,
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{} {} documents must be, {} are: {} missing, {} phantom, {} different",
            self.index,
            self.expected,
            self.found,
            self.missing.len(),
            self.phantom.len(),
            self.different.len()
        )?;
        for (what, ids) in [("missing", &self.missing), ("phantom", &self.phantom)] {
            if !ids.is_empty() {
                let more = if ids.len() > SHOWN { ", ..." } else { "" };
                writeln!(out, "{what}: {}{more}", ids[..ids.len().min(SHOWN)].join(", "))?;
            }
        }
        for (id, places) in self.different.iter().take(SHOWN) {
            writeln!(out, "document {id}:")?;
            for place in places.iter().take(SHOWN) {
                writeln!(out, "  {place}")?;
            }
        }
        Ok(())
    }
}

fn differences(place: &str, must_be: &Json, is: &Json, places: &mut Vec<String>) {
    match (must_be, is) {
        (Json::Object(must_be), Json::Object(is)) => {
            for (key, value) in must_be {
                let inner = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
                match is.get(key) {
                    Some(other) => differences(&inner, value, other, places),
                    None => places.push(format!("{inner}: absent, must be {}", brief(value))),
                }
            }
            for (key, value) in is.iter().filter(|(key, _)| !must_be.contains_key(*key)) {
                places.push(format!("{place}.{key}: is {}, must be absent", brief(value)));
            }
        }
        (Json::Array(must_be), Json::Array(is)) if must_be.len() == is.len() => {
            for (position, (value, other)) in must_be.iter().zip(is).enumerate() {
                differences(&format!("{place}[{position}]"), value, other, places);
            }
        }
        _ if must_be == is => {}
        _ => places.push(format!("{place}: is {}, must be {}", brief(is), brief(must_be))),
    }
}

/// Short enough for a line.
fn brief(value: &Json) -> String {
    let text = match value {
        Json::Array(items) => format!("{} items {items:?}", items.len()),
        Json::Number(number) => number.strip_suffix("E0").unwrap_or(number).to_owned(),
        other => format!("{other:?}"),
    };
    match text.char_indices().nth(160) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
