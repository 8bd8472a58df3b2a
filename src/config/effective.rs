//! The configuration in force as JSON, for `check --json`. Written by hand, so that a new field is shown
//! because somebody decided so, and a secret never is.

use std::path::Path;

use secrecy::SecretString;
use serde_json::{Value, json};

use super::quantity::duration_text;
use super::{Config, Sink, log, source, store};
use crate::sink::elasticsearch::Credentials;

pub(super) fn json(config: &Config) -> Value {
    let Config { file, source, sink, delivery, data, projections, http, limits, store, log, warnings: _ } =
        config;
    json!({
        "file": file,
        "data": data,
        "projections": projections,
        "source": {
            "host": source.host,
            "port": source.port,
            "database": source.database,
            "user": source.user,
            "password": secret(source.password.as_ref()),
            "read_user": source.read_user,
            "read_password": secret(source.read_password.as_ref()),
            "sslmode": source::ssl_mode_word(source.ssl_mode),
            "ssl_ca": source.ssl_ca,
            "application_name": source.application_name,
            "slot": source.slot,
            "publication": source.publication,
            "manage": source.manage,
            "connect_timeout": duration_text(source.connect_timeout),
            "status_interval": duration_text(source.status_interval),
            "catalog_interval": duration_text(source.catalog_interval),
            "chunk_rows": source.chunk_rows,
            "chunk_target": duration_text(source.chunk_target),
        },
        "sink": sink_json(sink),
        "delivery": {
            "requests_in_flight": delivery.requests_in_flight,
            "bulk_bytes": delivery.bulk_bytes,
            "bulk_documents": delivery.bulk_documents,
            "refusal_limit": delivery.refusal_limit,
        },
        "http": {
            "listen": http.listen.map_or_else(|| "off".to_owned(), |address| address.to_string()),
            "token": secret(http.token.as_ref()),
            "hosts": http.hosts,
        },
        "limits": {
            "segment_bytes": limits.segment_bytes,
            "retain_bytes": limits.retain_bytes,
            "retain_age": duration_text(limits.retain_age),
            "quota_bytes": limits.quota_bytes,
            "group_delay": duration_text(limits.group_delay),
            "group_bytes": limits.group_bytes,
            "transaction_part_bytes": limits.transaction_part_bytes,
            "shutdown": duration_text(limits.shutdown),
        },
        "store": {
            "durability": store::durability_word(store.durability),
            "map_bytes": store.map_bytes,
            "checkpoint_bytes": store.checkpoint_bytes,
        },
        "log": { "format": log::format_word(log.format), "level": log.level },
    })
}

fn sink_json(sink: &Sink) -> Value {
    match sink {
        Sink::Ndjson { path } => {
            json!({ "kind": "ndjson", "path": path.as_deref().unwrap_or(Path::new("-")) })
        }
        Sink::Elasticsearch(options) => json!({
            "kind": "elasticsearch",
            "urls": options.urls,
            "credentials": match &options.credentials {
                Credentials::None => json!(null),
                Credentials::Basic { user, .. } => json!({ "user": user, "password": "(set)" }),
                Credentials::ApiKey(_) => json!({ "api_key": "(set)" }),
                Credentials::Bearer(_) => json!({ "bearer_token": "(set)" }),
            },
            "ca": options.ca,
            "request_timeout": duration_text(options.request_timeout),
            "compress": options.compress,
        }),
    }
}

fn secret(secret: Option<&SecretString>) -> Value {
    secret.map_or(Value::Null, |_| json!("(set)"))
}
