//! What a sink is given, and what it answers.

use std::sync::Arc;

use bytes::Bytes;

use super::number::Version;

/// What to do with one document id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Put this JSON object in place.
    Index(Bytes),
    /// The document does not exist (any more).
    Delete,
}

/// One document on its way to the sink. A pure function of one committed state of the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The concrete index, not the alias.
    pub index: Arc<str>,
    /// Injective in the root row's key (rule 27).
    pub id: String,
    pub version: Version,
    pub action: Action,
}

impl Document {
    /// Bytes that this document takes in memory and, nearly, on the wire.
    pub fn size_bytes(&self) -> usize {
        let body = match &self.action {
            Action::Index(body) => body.len(),
            Action::Delete => 0,
        };
        body + self.id.len() + self.index.len() + 64
    }
}

/// The sink's judgement of one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// In place, durably as far as the sink promises.
    Applied,
    /// The sink holds an equal or higher version. Whether that is our own earlier write is for the
    /// caller to judge (rule 36); `current` is the version that the sink named, if it did.
    Conflict { current: Option<Version> },
    /// Not now: overloaded, unavailable, or nobody knows. The document stays dirty.
    Retry { reason: String },
    /// Never in this form: goes into quarantine. `code` is a short stable word such as
    /// `document_parsing_exception`; `reason` holds no row values.
    Rejected { code: String, reason: String },
    /// The index is gone or is not the one that was prepared: the caller must look before it goes on.
    IndexGone { reason: String },
}
