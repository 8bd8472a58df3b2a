//! How much of what the cluster can take gets through `send`. A measurement, run by hand:
//! `cargo test --release --test sink throughput -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use elasticsearch::http::Method;
use elasticsearch::http::headers::{CONTENT_TYPE, HeaderMap, HeaderValue};
use elasticsearch::http::transport::Transport;
use futures_util::future::join_all;
use projectord::model::{Document, Outcome};
use projectord::sink::{IndexSpec, Sink};
use serde_json::json;

use crate::world::{World, index};

/// Documents of one request, each near 690 bytes.
const BATCH: u64 = 2_000;
/// Requests of one measurement.
const REQUESTS: u64 = 24;
const LIMIT: Duration = Duration::from_secs(60);

fn batch(spec: &IndexSpec, round: u64, request: u64) -> Vec<Document> {
    let body = |at: u64| {
        let items: Vec<_> = (0..4).map(|line| json!({ "sku": format!("S-{line}-{at}"), "name": "A thing of some length, blue", "price": 12.5, "quantity": line })).collect();
        json!({ "number": format!("N-{at}"), "status": "paid", "placed_at": "2026-11-21T10:00:00Z", "total": 99.5,
            "customer": { "id": at % 1000, "name": "Somebody Else", "email": "somebody@example.org" }, "items": items,
            "note": "x".repeat(120) })
    };
    (0..BATCH).map(|at| index(spec, &format!("{request}-{at}"), round, body(at))).collect()
}

fn raw(documents: &[Document]) -> Bytes {
    let mut body = String::new();
    for document in documents {
        let projectord::model::Action::Index(source) = &document.action else { unreachable!() };
        let (index, id, version) = (format!("{}-WRITE", document.index), &document.id, document.version.0);
        let action = json!({ "index": { "_index": index, "_id": id, "version": version, "version_type": "external" } });
        body.push_str(&format!("{action}\n{}\n", String::from_utf8_lossy(source)));
    }
    Bytes::from(body)
}

/// Documents a second when so many lanes work through the requests.
async fn measure<T>(requests: Vec<T>, lanes: usize, work: impl AsyncFn(T)) -> f64 {
    let mut queues: Vec<Vec<T>> = (0..lanes).map(|_| Vec::new()).collect();
    for (at, request) in requests.into_iter().enumerate() {
        queues[at % lanes].push(request);
    }
    let start = Instant::now();
    join_all(queues.into_iter().map(async |queue| {
        for request in queue {
            work(request).await;
        }
    }))
    .await;
    (REQUESTS * BATCH) as f64 / start.elapsed().as_secs_f64()
}

#[tokio::test]
#[ignore = "a measurement"]
async fn throughput_of_send_and_of_the_same_bytes_raw() {
    let Some(world) = World::new("throughput").await else { return };
    let mut spec = world.spec(1);
    spec.mappings = json!({ "dynamic": true });
    spec.settings = json!({ "number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": "-1" });
    world.sink.prepare(&spec).await.unwrap();
    let transport = Transport::single_node(&world.url).unwrap();
    let mut round = 0;
    let mut next = || {
        round += 1;
        (0..REQUESTS).map(|request| batch(&spec, round, request)).collect::<Vec<_>>()
    };
    println!("{} bytes a document", raw(&batch(&spec, 1, 0)).len() / BATCH as usize);
    let send = async |documents: Vec<Document>| {
        let outcomes = world.sink.send(&documents).await.unwrap();
        assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Applied));
    };
    let post = async |body: Bytes| {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        let path = "/_bulk?filter_path=errors";
        let answer =
            transport.send(Method::Post, path, headers, None::<&()>, Some(body), Some(LIMIT)).await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "{\"errors\":false}");
    };
    measure(next(), 2, send).await;
    measure(next(), 2, send).await;
    for lanes in [1, 2, 4, 1, 2, 4] {
        let sent = measure(next(), lanes, send).await;
        let bodies = next().iter().map(|documents| raw(documents)).collect();
        let posted = measure(bodies, lanes, post).await;
        println!("{lanes} in flight: send {sent:.0}/s, raw {posted:.0}/s, ratio {:.2}", sent / posted);
    }
    world.end().await;
}
