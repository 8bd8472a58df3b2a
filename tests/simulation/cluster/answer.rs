//! The answer to a bulk request as the cluster writes it, what the way back makes of it, and what the daemon's own
//! decoder reads.

use projectord::model::{Action, Document, Outcome};
use projectord::sink::Error;
use projectord::sink::elasticsearch::bulk;
use serde_json::{Value, json};

use super::Fault;

/// What the sink makes of the outcomes once they have been written, sent and read.
pub fn come_back(documents: &[Document], outcomes: &[Outcome], fault: Fault) -> Result<Vec<Outcome>, Error> {
    let mut items: Vec<Value> =
        documents.iter().zip(outcomes).map(|(sent, known)| item(sent, known)).collect();
    if fault == Fault::ItemMissing {
        items.pop();
    }
    let errors =
        items.iter().any(|item| !item["index"]["error"].is_null() || !item["delete"]["error"].is_null());
    let mut answer = json!({ "errors": errors, "items": items }).to_string().into_bytes();
    match fault {
        Fault::AnswerLost => {
            return Err(Error::Retry {
                operation: "send documents",
                reason: "planned: the connection was reset".to_owned(),
            });
        }
        // A proxy's page.
        Fault::Malformed => answer = b"<html><body>502 Bad Gateway</body></html>".to_vec(),
        Fault::Truncated => answer.truncate(answer.len() / 2),
        _ => {}
    }
    bulk::decode(&answer, &documents.iter().collect::<Vec<_>>())
}

fn item(document: &Document, outcome: &Outcome) -> Value {
    let verb = if document.action == Action::Delete { "delete" } else { "index" };
    let (status, error) = match outcome {
        Outcome::Applied => {
            let (index, id, version) = (&*document.index, &document.id, document.version.0);
            return json!({ verb: { "_index": index, "_id": id, "_version": version, "status": 200 } });
        }
        Outcome::Conflict { current } => {
            let current = current.map_or(0, |version| version.0);
            let reason = format!(
                "[{}]: version conflict, current version [{current}] is higher or equal to the one provided [{}]",
                document.id, document.version.0
            );
            (409, json!({ "type": "version_conflict_engine_exception", "reason": reason }))
        }
        Outcome::Rejected { code, reason } => {
            let status = if code == "too_large" { 413 } else { 400 };
            (status, json!({ "type": code, "reason": reason }))
        }
        Outcome::Retry { .. } => {
            let (status, kind) = match document.version.0 % 3 {
                0 => (429, "es_rejected_execution_exception"),
                1 => (503, "unavailable_shards_exception"),
                _ => (403, "cluster_block_exception"),
            };
            (status, json!({ "type": kind, "reason": "planned" }))
        }
        Outcome::IndexGone { reason } => {
            (404, json!({ "type": "index_not_found_exception", "reason": reason }))
        }
    };
    json!({ verb: { "_index": &*document.index, "_id": document.id, "status": status, "error": error } })
}
