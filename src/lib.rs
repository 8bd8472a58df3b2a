//! projectord keeps Elasticsearch documents exactly in step with a PostgreSQL write database.

pub mod cli;
pub mod config;
pub mod control;
pub mod error;
pub mod http;
pub mod journal;
pub mod logging;
pub mod metrics;
pub mod model;
pub mod pgoutput;
pub mod pipeline;
pub mod progress;
pub mod projection;
pub mod shutdown;
pub mod sink;
pub mod source;
pub mod store;
pub mod task;
