//! The documents that the daemon has delivered, loaded once more by a plain loader: the bodies are made
//! before the clock starts, as many requests in flight, as many documents in each, versions as the daemon's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::http::Http;
use super::{Arguments, Outcome, figure};

/// What the daemon asks to be told.
const FILTER_PATH: &str = "errors,items.*._index,items.*._id,items.*._version,items.*.status,\
                           items.*.error.type,items.*.error.reason,items.*.error.caused_by.type";

#[derive(Deserialize)]
struct Page {
    #[serde(rename = "_scroll_id")]
    scroll: String,
    hits: Hits,
}

#[derive(Deserialize)]
struct Hits {
    hits: Vec<Hit>,
}

#[derive(Deserialize)]
struct Hit {
    #[serde(rename = "_id")]
    id: String,
    #[serde(rename = "_source")]
    source: Box<RawValue>,
}

pub fn run(arguments: &Arguments) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(load(arguments))
}

async fn load(arguments: &Arguments) -> Outcome<()> {
    let url = arguments.text("url")?.to_owned();
    let documents = read(&url, arguments.text("from")?).await?;
    let version = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros();
    let into = arguments.text("into")?;
    let bytes: usize = documents.iter().map(|hit| hit.source.get().len()).sum();
    let bodies: Vec<Vec<u8>> = documents
        .chunks(arguments.number("documents")? as usize)
        .map(|chunk| {
            let item = |hit: &Hit| {
                format!(
                    "{{\"index\":{{\"_index\":\"{into}\",\"_id\":\"{}\",\"version\":{version},\
                     \"version_type\":\"external\"}}}}\n{}\n",
                    hit.id,
                    hit.source.get()
                )
            };
            chunk.iter().map(item).collect::<String>().into_bytes()
        })
        .collect();
    let (bodies, next) = (Arc::new(bodies), Arc::new(AtomicUsize::new(0)));
    let began = Instant::now();
    let mut lanes = Vec::new();
    for _ in 0..arguments.number("in-flight")? {
        let (bodies, next, url) = (Arc::clone(&bodies), Arc::clone(&next), url.clone());
        lanes.push(tokio::spawn(async move {
            let mut http = Http::connect(&url).await.map_err(|error| error.to_string())?;
            let path = format!("/_bulk?require_alias=true&timeout=60s&filter_path={FILTER_PATH}");
            while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                let (status, answer) =
                    http.call("POST", &path, body).await.map_err(|error| error.to_string())?;
                if status != 200 || !answer.windows(14).any(|text| text == b"\"errors\":false") {
                    return Err(format!("bulk: {status} {}", String::from_utf8_lossy(&answer[..200])));
                }
            }
            Ok::<(), String>(())
        }));
    }
    for lane in lanes {
        lane.await??;
    }
    let took = began.elapsed().as_secs_f64();
    figure("bulk_documents_per_s", &[documents.len() as f64 / took]);
    figure("bulk_document_bytes", &[bytes as f64 / documents.len() as f64]);
    Ok(())
}

async fn read(url: &str, alias: &str) -> Outcome<Vec<Hit>> {
    let mut http = Http::connect(url).await?;
    let path = format!("/{alias}/_search?scroll=1m&size=5000&sort=_doc");
    let (mut status, mut answer) = http.call("POST", &path, b"").await?;
    let mut documents = Vec::new();
    loop {
        if status != 200 {
            return Err(format!("search: {status} {}", String::from_utf8_lossy(&answer)).into());
        }
        let page: Page = serde_json::from_slice(&answer)?;
        if page.hits.hits.is_empty() {
            return Ok(documents);
        }
        documents.extend(page.hits.hits);
        let more = serde_json::json!({"scroll": "1m", "scroll_id": page.scroll}).to_string();
        (status, answer) = http.call("POST", "/_search/scroll", more.as_bytes()).await?;
    }
}
