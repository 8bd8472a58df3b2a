//! The bulk request as bytes, and the judgement of every item in its answer.
//!
//! Pure. Each item is judged on its own (hazard 48): status 200 of the whole says nothing about any of them.
//! An answer that does not fit the request item by item is worth nothing: the outcome of all is unknown.
//!
//! Actions go to the write alias of the index, never to the index by name: a bulk request that names a missing
//! index makes the cluster create one with a guessed mapping (hazard 51). `require_alias` forbids that for
//! index actions only; a delete with an external version still creates an index by the alias's name. Hence
//! the alias ends in capitals, which the cluster allows in an alias and refuses in an index. It vanishes with
//! its index, and then nothing of its name can ever come into being by a write.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;

use super::reason;
use crate::model::{Action, Document, Outcome, Version};
use crate::planted::{self, Bug};
use crate::sink::Error;

/// The cluster refuses the whole request for one longer id (`_id` field, Elasticsearch reference).
pub const ID_BYTES_MAX: usize = 512;

/// Of the answer, only what is judged: it keeps an answer without errors near 80 bytes an item.
pub(super) const FILTER_PATH: &str = "errors,items.*._index,items.*._id,items.*._version,items.*.status,\
                                      items.*.error.type,items.*.error.reason,items.*.error.caused_by.type";

const OPERATION: &str = "send documents";

/// The alias that leads to exactly this index, and through which alone it is written. The capitals matter: see
/// the module.
pub(super) fn write_alias(index: &str) -> String {
    format!("{index}-WRITE")
}

/// What can be known to be wrong with a document before it is sent. One such document would cost all the
/// others of its request.
pub(super) fn refuse(document: &Document) -> Option<Outcome> {
    let (code, reason) = match &document.action {
        _ if document.id.is_empty() => ("id_empty", "the document id is empty".to_owned()),
        _ if document.id.len() > ID_BYTES_MAX => {
            let bytes = document.id.len();
            ("id_too_long", format!("the document id has {bytes} bytes, the limit is {ID_BYTES_MAX}"))
        }
        // A line break would make the rest of the body the next action.
        Action::Index(body) if !body.starts_with(b"{") || body.contains(&b'\n') => {
            ("body_not_one_line", "the document is not one JSON object on one line".to_owned())
        }
        _ => return None,
    };
    Some(Outcome::Rejected { code: code.to_owned(), reason })
}

/// Appends the actions to `out`. Bodies are compact JSON on one line already (see [`refuse`]).
pub fn encode<'a>(documents: impl IntoIterator<Item = &'a Document>, out: &mut Vec<u8>) {
    let mut version = itoa::Buffer::new();
    for document in documents {
        let (verb, body): (&[u8], Option<&Bytes>) = match &document.action {
            Action::Index(body) => (b"index", Some(body)),
            Action::Delete => (b"delete", None),
        };
        for part in [b"{\"".as_slice(), verb, b"\":{\"_index\":"] {
            out.extend_from_slice(part);
        }
        string(&write_alias(&document.index), out);
        out.extend_from_slice(b",\"_id\":");
        string(&document.id, out);
        if planted::is(Bug::DeleteWithoutVersion) && body.is_none() {
            out.extend_from_slice(b"}}\n");
            continue;
        }
        out.extend_from_slice(b",\"version\":");
        out.extend_from_slice(version.format(document.version.0).as_bytes());
        out.extend_from_slice(b",\"version_type\":\"external\"}}\n");
        if let Some(body) = body {
            out.extend_from_slice(body);
            out.push(b'\n');
        }
    }
}

fn string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("writing a string to memory cannot fail");
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    items: Vec<Item<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Item<'a> {
    #[serde(borrow)]
    Index(Judgement<'a>),
    #[serde(borrow)]
    Delete(Judgement<'a>),
}

#[derive(Deserialize)]
struct Judgement<'a> {
    #[serde(borrow, rename = "_index")]
    index: Cow<'a, str>,
    #[serde(borrow, rename = "_id")]
    id: Cow<'a, str>,
    #[serde(rename = "_version")]
    version: Option<i64>,
    status: u16,
    error: Option<ItemError>,
}

#[derive(Deserialize)]
struct ItemError {
    #[serde(rename = "type")]
    kind: Option<String>,
    reason: Option<String>,
    caused_by: Option<Cause>,
}

#[derive(Deserialize)]
struct Cause {
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// One outcome per document sent, in their order.
///
/// Fails with [`Error::Retry`] when the answer is no answer to this request, and with [`Error::Refused`] when
/// rights are missing, which no document can help.
pub fn decode(answer: &[u8], sent: &[&Document]) -> Result<Vec<Outcome>, Error> {
    // The parser's own words quote what it read, which may be document content.
    let answer: Answer<'_> = serde_json::from_slice(answer)
        .map_err(|error| unknown(format!("the answer cannot be read at byte {}", error.column())))?;
    if answer.items.len() != sent.len() {
        return Err(unknown(format!("{} items were sent, {} answered", sent.len(), answer.items.len())));
    }
    answer
        .items
        .iter()
        .zip(sent)
        .enumerate()
        .map(|(at, (item, document))| judge(at, item, document))
        .collect()
}

fn unknown(reason: String) -> Error {
    Error::Retry { operation: OPERATION, reason }
}

fn judge(at: usize, item: &Item<'_>, document: &Document) -> Result<Outcome, Error> {
    let (judgement, fits) = match item {
        Item::Index(judgement) => (judgement, matches!(document.action, Action::Index(_))),
        Item::Delete(judgement) => (judgement, document.action == Action::Delete),
    };
    if !fits || judgement.id != document.id {
        return Err(unknown(format!("item {at} of the answer belongs to another document")));
    }
    match &judgement.error {
        Some(error) => judge_error(judgement.status, error),
        None => Ok(judge_success(judgement, document)),
    }
}

fn judge_success(judgement: &Judgement<'_>, document: &Document) -> Outcome {
    let absent = judgement.status == 404 && document.action == Action::Delete;
    if !(absent || (200..300).contains(&judgement.status)) {
        return Outcome::Retry { reason: format!("status {} without a reason", judgement.status) };
    }
    // Somebody led the write alias elsewhere: what was written went into another index.
    if judgement.index != *document.index {
        let reason = format!("the write alias of '{}' leads to another index", document.index);
        return Outcome::IndexGone { reason };
    }
    match judgement.version {
        Some(version) if u64::try_from(version) == Ok(document.version.0) => Outcome::Applied,
        _ => Outcome::Retry { reason: "the answer holds another version than was sent".to_owned() },
    }
}

fn judge_error(status: u16, error: &ItemError) -> Result<Outcome, Error> {
    let (kind, text) = (error.kind.as_deref().unwrap_or(""), error.reason.as_deref().unwrap_or(""));
    let code = reason::code(kind);
    let retry = || Outcome::Retry { reason: format!("status {status}, {code}") };
    Ok(match (status, kind) {
        (409, "version_conflict_engine_exception") => Outcome::Conflict { current: current_version(text) },
        // The second: a delete alone found no alias, and the cluster could not create an index of that name.
        (404, "index_not_found_exception") | (400, "invalid_index_name_exception") => {
            Outcome::IndexGone { reason: reason::administrative(text) }
        }
        (400, "illegal_argument_exception") if text.starts_with("no write index is defined") => {
            Outcome::IndexGone { reason: "the write alias leads to several indices".to_owned() }
        }
        (401 | 403, "security_exception") => {
            return Err(Error::Refused {
                code: "sink-forbidden",
                operation: OPERATION,
                reason: reason::administrative(text),
                hint: "Give the daemon's role the rights to index and delete in its indices".to_owned(),
            });
        }
        // A closed index is an operator's doing and says nothing about the document.
        (_, "cluster_block_exception" | "index_closed_exception") => retry(),
        // Statuses that speak of the document itself; any other word of the cluster means: not now.
        (400 | 413 | 422, _) => {
            let cause = error.caused_by.as_ref().and_then(|cause| cause.kind.as_deref());
            let reason = reason::of_document(kind, text, cause);
            Outcome::Rejected { code, reason }
        }
        _ => retry(),
    })
}

/// From `[id]: version conflict, current version [9] is higher or equal to the one provided [7]`, which all
/// supported versions say. The id comes first and may hold the same words: hence from the end (rule 36).
fn current_version(reason: &str) -> Option<Version> {
    let (_, rest) = reason.rsplit_once("current version [")?;
    let (number, _) = rest.split_once(']')?;
    number.parse().ok().map(Version)
}

#[cfg(test)]
#[path = "bulk_tests.rs"]
mod tests;
