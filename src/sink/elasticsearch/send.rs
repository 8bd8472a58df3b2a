//! Documents into requests and answers into outcomes: cuts by size, and halves what the cluster finds too
//! large or cannot read, until the one document that is to blame stands alone.

use bytes::Bytes;
use elasticsearch::http::Method;

use super::bulk::{self, FILTER_PATH};
use super::client::{Client, Content};
use super::reason;
use crate::model::{Document, Outcome};
use crate::sink::Error;

/// A request is cut before it has more bytes than this; one document alone may be larger. The cluster's own
/// limit (`http.max_content_length`) is 100 MB, on small hosted ones 10 MB; 5 to 15 MB are advised (hazard 50).
pub const REQUEST_BYTES_MAX: usize = 5 << 20;

const OPERATION: &str = "send documents";

/// One outcome per document, in their order. When the outcome of one request is unknown, so is that of all
/// documents of the call: a repetition with the same versions finds out.
pub(super) async fn send(
    client: &Client,
    documents: &[Document],
    request_bytes_max: usize,
) -> Result<Vec<Outcome>, Error> {
    let mut outcomes: Vec<Option<Outcome>> = documents.iter().map(bulk::refuse).collect();
    let sendable: Vec<usize> = (0..documents.len()).filter(|at| outcomes[*at].is_none()).collect();
    // A stack, so that halves go before what comes after them: order within one id is kept.
    let parts = cut(&sendable, documents, request_bytes_max);
    let mut waiting: Vec<(&[usize], bool)> = parts.into_iter().rev().map(|part| (part, false)).collect();
    while let Some((part, again)) = waiting.pop() {
        match request(client, documents, part).await? {
            Verdict::Judged(judged) => {
                for (at, outcome) in part.iter().zip(judged) {
                    // Newer clusters execute a request while they read it, so the refused whole may have left
                    // some of its documents behind. No other writer has this epoch (rule 36).
                    let own = Outcome::Conflict { current: Some(documents[*at].version) };
                    outcomes[*at] = Some(if again && outcome == own { Outcome::Applied } else { outcome });
                }
            }
            Verdict::Refused { code, reason } => match part {
                [alone] => outcomes[*alone] = Some(Outcome::Rejected { code, reason }),
                _ => {
                    let (first, second) = part.split_at(part.len() / 2);
                    waiting.extend([(second, true), (first, true)]);
                }
            },
        }
    }
    // Every document was either refused before or stood in exactly one judged part.
    Ok(outcomes.into_iter().flatten().collect())
}

enum Verdict {
    Judged(Vec<Outcome>),
    /// The request as a whole, because of at least one of its documents.
    Refused {
        code: String,
        reason: String,
    },
}

async fn request(client: &Client, documents: &[Document], part: &[usize]) -> Result<Verdict, Error> {
    let sent: Vec<&Document> = part.iter().map(|at| &documents[*at]).collect();
    let mut body = Vec::with_capacity(sent.iter().map(|document| document.size_bytes() + 64).sum());
    bulk::encode(sent.iter().copied(), &mut body);
    // The cluster gives up waiting for a shard before we give up waiting for the cluster.
    let seconds = client.timeout().as_secs().max(1);
    let path = format!("/_bulk?require_alias=true&timeout={seconds}s&filter_path={FILTER_PATH}");
    match client.call(OPERATION, Method::Post, &path, Content::Ndjson, Some(Bytes::from(body))).await {
        Ok(answer) if answer.succeeded() => bulk::decode(&answer.body, &sent).map(Verdict::Judged),
        Ok(answer) => {
            let trouble = answer.trouble();
            // Only the cluster's own word counts; a proxy's 400 or 404 says nothing about documents.
            if answer.status == 400 && !trouble.kind.is_empty() {
                let reason = reason::of_document(&trouble.kind, &trouble.reason, None);
                return Ok(Verdict::Refused { code: reason::code(&trouble.kind), reason });
            }
            let reason = format!("status {}, {}", answer.status, reason::code(&trouble.kind));
            Err(Error::Retry { operation: OPERATION, reason })
        }
        Err(Error::TooLarge { size_bytes, .. }) => Ok(Verdict::Refused {
            code: "too_large".to_owned(),
            reason: format!("the cluster refuses a request of {size_bytes} bytes (http.max_content_length)"),
        }),
        Err(error) => Err(error),
    }
}

/// Parts in order, each at most so large, or one document alone.
fn cut<'a>(sendable: &'a [usize], documents: &[Document], bytes_max: usize) -> Vec<&'a [usize]> {
    let mut parts = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (position, at) in sendable.iter().enumerate() {
        let size = documents[*at].size_bytes();
        if position > start && bytes + size > bytes_max {
            parts.push(&sendable[start..position]);
            (start, bytes) = (position, 0);
        }
        bytes += size;
    }
    if start < sendable.len() {
        parts.push(&sendable[start..]);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Action, Version};

    #[test]
    fn requests_are_cut_by_bytes_and_a_large_document_goes_alone() {
        let document = |bytes: usize| Document {
            index: "i".into(),
            id: String::new(),
            version: Version(1),
            action: Action::Index(Bytes::from(vec![b' '; bytes - 65])),
        };
        let check = |sizes: &[usize], limit: usize, expected: &[usize]| {
            let documents: Vec<Document> = sizes.iter().map(|bytes| document(*bytes)).collect();
            let all: Vec<usize> = (0..documents.len()).collect();
            let parts = cut(&all, &documents, limit);
            assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), expected, "{sizes:?}");
            assert_eq!(parts.concat(), all);
        };
        check(&[], 1000, &[]);
        check(&[100, 100, 100], 300, &[3]);
        check(&[100, 100, 101], 300, &[2, 1]);
        check(&[5000], 300, &[1]);
        check(&[100, 5000, 100, 100], 300, &[1, 1, 2]);
        check(&[300, 300], 300, &[1, 1]);
    }
}
