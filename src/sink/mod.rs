//! Where documents go.
//!
//! A sink puts documents in place and judges each on its own. It neither retries nor decides what a
//! conflict means: that is `deliver`'s part, which alone knows what was sent before.

pub mod elasticsearch;
pub mod memory;
pub mod ndjson;

use std::future::Future;
use std::pin::Pin;

use serde::{Deserialize, Serialize};

use crate::model::{Document, Epoch, Generation, Outcome};

/// The future that a sink's call returns; boxed, so that a sink can be handed in as an object.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The index of one generation of a projection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexSpec {
    pub projection: String,
    pub generation: Generation,
    /// The concrete name, such as `orders-7f3a-3`: alias, the first digits of the journal's id, generation.
    pub index: String,
    /// The alias that clients read.
    pub alias: String,
    /// `mappings.properties` and `dynamic`, as JSON, generated from catalog and projection.
    pub mappings: serde_json::Value,
    /// Settings from the configuration, merged over our own.
    pub settings: serde_json::Value,
    /// Identity of the journal that feeds it; written to `_meta` (rule 34).
    pub journal_id: String,
    /// Fingerprint of the definition that it was made from; written to `_meta`.
    pub definition: String,
}

/// What the sink knows about a prepared index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreparedIndex {
    /// `index.uuid`: another one under the same name means that somebody replaced the index (hazard 51).
    pub uuid: String,
    /// The epoch that its `_meta` holds (rule 35); zero for one that was just created.
    pub epoch: Epoch,
    pub created: bool,
    /// Whether an acknowledged write survives a crash of the sink (rule 39).
    pub durable: bool,
}

/// Why a call as a whole failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Not reachable, overloaded, no answer in time, an answer that makes no sense: try again later. For
    /// `send` it means that nobody knows which documents were written (hazard 49).
    #[error("{operation}: {reason}")]
    Retry { operation: &'static str, reason: String },
    /// The request is too large for the sink (413): send fewer documents.
    #[error("{operation}: the sink refused {size_bytes} bytes as too large")]
    TooLarge { operation: &'static str, size_bytes: usize },
    /// Going on would be wrong or senseless until somebody acts: wrong password, no rights, wrong
    /// version, an index that is not ours.
    #[error("{code}: {operation}: {reason}. {hint}")]
    Refused { code: &'static str, operation: &'static str, reason: String, hint: String },
}

/// A place for documents. Calls may run side by side.
pub trait Sink: Send + Sync {
    /// Everything that can be wrong with the sink for these indices, all at once; changes nothing.
    fn check<'a>(&'a self, indices: &'a [IndexSpec]) -> Answer<'a, Vec<Error>>;

    /// Creates the index, or recognises it as ours by its `_meta`.
    fn prepare<'a>(&'a self, index: &'a IndexSpec) -> Answer<'a, Result<PreparedIndex, Error>>;

    /// Writes this start's epoch into the index's `_meta` (rule 35).
    fn claim<'a>(&'a self, index: &'a IndexSpec, epoch: Epoch) -> Answer<'a, Result<(), Error>>;

    /// Reads uuid and epoch again (rule 37, hazard 51); nothing when the index is gone.
    fn look<'a>(&'a self, index: &'a IndexSpec) -> Answer<'a, Result<Option<PreparedIndex>, Error>>;

    /// Sends documents with external versions. The answer has one outcome per document, in their order.
    fn send<'a>(&'a self, documents: &'a [Document]) -> Answer<'a, Result<Vec<Outcome>, Error>>;

    /// Makes what was acknowledged visible to searches.
    fn refresh<'a>(&'a self, index: &'a IndexSpec) -> Answer<'a, Result<(), Error>>;

    /// Lets the alias lead to this index and to no other, in one atomic call; a second call with the same
    /// index does nothing. Indices of ours that it led to before stay.
    fn publish<'a>(&'a self, index: &'a IndexSpec) -> Answer<'a, Result<(), Error>>;

    /// Deletes indices of this projection and journal that are older than `keep` generations before
    /// this one; never one that the alias leads to. Returns their names.
    fn prune<'a>(&'a self, index: &'a IndexSpec, keep: u16) -> Answer<'a, Result<Vec<String>, Error>>;
}
