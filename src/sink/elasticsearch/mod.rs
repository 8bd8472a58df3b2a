//! Elasticsearch 7.17 to 9 and OpenSearch 2, by the stable subset of their REST API.
//!
//! Reading order: [`bulk`] (actions into bytes, items into outcomes), `send` (cutting and halving), `index`
//! (whose an index is), `alias` (what clients read), `check` (all that can be wrong), `client` (the door),
//! `node` (whose turn it is), `reason` (what may be said of a refusal).
//!
//! ```text
//!  documents -> send -> bulk::encode -> client -> one node of the cluster
//!  outcomes  <- send <- bulk::decode <- answer <-
//! ```
//!
//! Nothing here tries again or sleeps: that is the caller's part. What is never used, because not every build
//! has it: scripts, reindex, update by query, ingest, data streams, cluster settings.

mod alias;
pub mod bulk;
mod check;
mod client;
mod cluster;
mod index;
mod mapping;
mod node;
pub mod options;
mod reason;
mod send;
mod settings;

pub use check::NOT_DURABLE;
pub use client::ANSWER_BYTES_MAX;
pub use cluster::{Cluster, Flavour};
pub use options::{Credentials, Options};
pub use send::REQUEST_BYTES_MAX;

use std::fmt;

use client::Client;

use super::{Answer, Error, IndexSpec, PreparedIndex, Sink};
use crate::model::{Document, Epoch, Outcome};

/// One cluster, by one or several of its nodes.
pub struct Elasticsearch {
    client: Client,
    request_bytes_max: usize,
}

impl fmt::Debug for Elasticsearch {
    /// Without the transports, which hold the credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Elasticsearch")
            .field("request_bytes_max", &self.request_bytes_max)
            .finish_non_exhaustive()
    }
}

impl Elasticsearch {
    /// Reads certificates; connects with the first call. Refuses addresses, keys and certificates that cannot
    /// be used.
    pub fn new(options: &Options) -> Result<Elasticsearch, Error> {
        Ok(Elasticsearch { client: Client::new(options)?, request_bytes_max: REQUEST_BYTES_MAX })
    }

    /// Cuts requests at another size than [`REQUEST_BYTES_MAX`].
    #[must_use]
    pub fn with_request_bytes_max(self, request_bytes_max: usize) -> Elasticsearch {
        Elasticsearch { request_bytes_max, ..self }
    }

    /// Asks which product and version answers; refuses with `sink-version` what is not supported.
    pub async fn cluster(&self) -> Result<Cluster, Error> {
        cluster::detect(&self.client).await
    }
}

impl Sink for Elasticsearch {
    fn check<'a>(&'a self, indices: &'a [IndexSpec]) -> Answer<'a, Vec<Error>> {
        Box::pin(check::check(&self.client, indices))
    }

    fn prepare<'a>(&'a self, spec: &'a IndexSpec) -> Answer<'a, Result<PreparedIndex, Error>> {
        Box::pin(async {
            cluster::detect(&self.client).await?;
            alias::targets(&self.client, "prepare the index", spec).await?;
            index::prepare(&self.client, spec).await
        })
    }

    fn claim<'a>(&'a self, spec: &'a IndexSpec, epoch: Epoch) -> Answer<'a, Result<(), Error>> {
        Box::pin(index::claim(&self.client, spec, epoch))
    }

    fn look<'a>(&'a self, spec: &'a IndexSpec) -> Answer<'a, Result<Option<PreparedIndex>, Error>> {
        Box::pin(index::look(&self.client, spec))
    }

    fn send<'a>(&'a self, documents: &'a [Document]) -> Answer<'a, Result<Vec<Outcome>, Error>> {
        Box::pin(send::send(&self.client, documents, self.request_bytes_max))
    }

    fn refresh<'a>(&'a self, spec: &'a IndexSpec) -> Answer<'a, Result<(), Error>> {
        Box::pin(index::refresh(&self.client, spec))
    }

    fn publish<'a>(&'a self, spec: &'a IndexSpec) -> Answer<'a, Result<(), Error>> {
        Box::pin(alias::publish(&self.client, spec))
    }

    fn prune<'a>(&'a self, spec: &'a IndexSpec, keep: u16) -> Answer<'a, Result<Vec<String>, Error>> {
        Box::pin(alias::prune(&self.client, spec, keep))
    }
}
