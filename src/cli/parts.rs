//! The concrete parts that a configuration names: the one place where traits get their backends.

use std::path::Path;
use std::sync::Arc;

use crate::config::{Config, Sink as SinkConfig};
use crate::error::{Exit, Failure};
use crate::journal;
use crate::pipeline::run::ProjectionFile;
use crate::pipeline::{deliver, ingest};
use crate::sink::{Sink, elasticsearch, ndjson};
use crate::source::postgres::{self, Postgres, stream::StatusHook};
use crate::task::backfill;

/// A projection file larger than this is not a projection file.
const PROJECTION_BYTES_MAX: u64 = 1 << 20;
/// A part of a transaction has to fit into a journal entry with room to spare.
const PART_BYTES_MAX: u64 = 32 << 20;

/// Reads the projection files.
pub fn projections(config: &Config) -> Result<Vec<ProjectionFile>, Failure> {
    config.projections.iter().map(|path| projection(path)).collect()
}

/// Reads one of them.
pub fn projection(path: &Path) -> Result<ProjectionFile, Failure> {
    Ok(ProjectionFile { path: path.display().to_string(), text: read(path)? })
}

fn read(path: &Path) -> Result<String, Failure> {
    let failed = |reason: String| {
        Failure::new(Exit::Usage, format!("{}: the projection cannot be read: {reason}", path.display()))
    };
    let size = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
    if size > PROJECTION_BYTES_MAX {
        return Err(failed(format!("it has {size} bytes, more than {PROJECTION_BYTES_MAX}")));
    }
    std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))
}

pub fn source(config: &Config, on_status: Option<StatusHook>) -> Arc<Postgres> {
    let options: postgres::Options = config.source.clone();
    Arc::new(Postgres::new(options, on_status))
}

pub fn sink(config: &Config) -> Result<Arc<dyn Sink>, Failure> {
    Ok(match &config.sink {
        SinkConfig::Elasticsearch(options) => {
            let limit = config.delivery.bulk_bytes as usize; // at most 64 MiB
            Arc::new(elasticsearch::Elasticsearch::new(options)?.with_request_bytes_max(limit))
        }
        SinkConfig::Ndjson { path: Some(path) } => Arc::new(ndjson::Ndjson::file(path)?),
        SinkConfig::Ndjson { path: None } => Arc::new(ndjson::Ndjson::stdout()),
    })
}

pub fn journal(config: &Config) -> journal::Options {
    let limits = &config.limits;
    journal::Options {
        segment_bytes: limits.segment_bytes,
        retain_bytes: limits.retain_bytes,
        retain_age_s: limits.retain_age.as_secs(),
        quota_bytes: limits.quota_bytes,
        reserve_bytes: reserve_bytes(&config.data),
        ..journal::Options::default()
    }
}

/// Free space that the journal leaves alone (rule 9): on a small disk less, or it would be full from the start.
fn reserve_bytes(folder: &std::path::Path) -> u64 {
    const SHARE_OF_DISK: u64 = 8;
    let most = journal::Options::default().reserve_bytes;
    let disk = rustix::fs::statvfs(folder).map(|disk| disk.f_blocks.saturating_mul(disk.f_frsize));
    disk.map_or(most, |bytes| most.min(bytes / SHARE_OF_DISK)) // a folder that cannot be asked fails elsewhere
}

pub fn ingest(config: &Config) -> ingest::Options {
    ingest::Options { part_bytes: config.limits.transaction_part_bytes.min(PART_BYTES_MAX) as usize }
}

pub fn deliver(config: &Config) -> deliver::Options {
    let delivery = &config.delivery;
    deliver::Options {
        requests_in_flight: delivery.requests_in_flight as usize,
        bulk_documents: delivery.bulk_documents as usize,
        bulk_bytes: delivery.bulk_bytes as usize,
        refusal_limit: f64::from(delivery.refusal_limit) / 100.0,
        ..deliver::Options::default()
    }
}

pub fn backfill(config: &Config) -> backfill::Options {
    backfill::Options { chunk_rows: config.source.chunk_rows, chunk_target: config.source.chunk_target }
}
