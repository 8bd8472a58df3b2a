//! Elasticsearch 7.17 to 9 and OpenSearch 2, by the stable subset of their REST API.

pub mod options;

pub use options::{Credentials, Options};
