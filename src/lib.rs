//! projectord keeps Elasticsearch documents exactly in step with a PostgreSQL write database.

pub mod batch;
pub mod cli;
pub mod config;
pub mod journal;
pub mod model;
pub mod pgoutput;
pub mod pipeline;
pub mod progress;
pub mod projection;
pub mod retry;
pub mod sink;
pub mod source;
pub mod store;
pub mod task;
