//! One index of a real cluster for one test, and a plain way to do to it what an operator would do.

use std::time::Duration;

use bytes::Bytes;
use elasticsearch::http::Method;
use elasticsearch::http::headers::HeaderMap;
use elasticsearch::http::transport::Transport;
use projectord::model::{Action, Document, Epoch, Generation, Outcome, Version};
use projectord::sink::elasticsearch::{Credentials, Elasticsearch, Options};
use projectord::sink::{IndexSpec, Sink};
use serde_json::{Value, json};

/// Names the cluster to test against; set by the project's test script.
const URL: &str = "PROJECTORD_TEST_ELASTICSEARCH";
const LIMIT: Duration = Duration::from_secs(30);

pub fn options(url: &str) -> Options {
    Options {
        urls: vec![url.to_owned()],
        credentials: Credentials::None,
        ca: None,
        request_timeout: LIMIT,
        compress: false,
    }
}

pub struct World {
    pub url: String,
    pub sink: Elasticsearch,
    operator: Transport,
    alias: String,
}

impl World {
    /// Nothing, said clearly, when no cluster is named. `test` becomes part of every name.
    pub async fn new(test: &str) -> Option<World> {
        let Ok(url) = std::env::var(URL) else {
            println!("SKIPPED {test}: {URL} does not name a cluster");
            return None;
        };
        let sink = Elasticsearch::new(&options(&url)).unwrap();
        Some(World::at(test, &url, sink).await)
    }

    /// `url` is the operator's, and may hold a password.
    pub async fn at(test: &str, url: &str, sink: Elasticsearch) -> World {
        let operator = Transport::single_node(url).unwrap();
        let world = World { url: url.to_owned(), sink, operator, alias: format!("sinktest-{test}") };
        world.clean().await;
        world
    }

    async fn clean(&self) {
        let (_, found) = self
            .get(&format!("/{}*?expand_wildcards=all&filter_path=*.settings.index.uuid", self.alias))
            .await;
        for name in found.as_object().into_iter().flatten().map(|(name, _)| name) {
            self.operate(Method::Delete, &format!("/{name}"), Value::Null).await;
        }
    }

    pub fn spec(&self, generation: u16) -> IndexSpec {
        IndexSpec {
            projection: "orders".to_owned(),
            generation: Generation(generation),
            index: format!("{}-7f3a-{generation}", self.alias),
            alias: self.alias.clone(),
            mappings: json!({ "dynamic": "strict", "properties": {
                "name": { "type": "keyword" },
                "count": { "type": "long" },
                "at": { "type": "date" },
                "customer": { "properties": { "id": { "type": "long" } } },
            } }),
            settings: json!({ "number_of_shards": 1, "number_of_replicas": 0 }),
            journal_id: "journal-1".to_owned(),
            definition: "definition-1".to_owned(),
        }
    }

    /// With its index prepared.
    pub async fn prepared(test: &str) -> Option<(World, IndexSpec)> {
        let world = World::new(test).await?;
        let spec = world.spec(1);
        assert!(world.sink.prepare(&spec).await.unwrap().created);
        Some((world, spec))
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.operate(Method::Get, path, Value::Null).await
    }

    /// Status and answer of what an operator does.
    pub async fn operate(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let body = (!body.is_null()).then(|| Bytes::from(body.to_string()));
        let answer =
            self.operator.send(method, path, HeaderMap::new(), None::<&()>, body, Some(LIMIT)).await.unwrap();
        let status = answer.status_code().as_u16();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub async fn done(&self, method: Method, path: &str, body: Value) {
        let (status, answer) = self.operate(method, path, body).await;
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
    }

    /// The document as it is now, without waiting for a refresh.
    pub async fn source(&self, spec: &IndexSpec, id: &str) -> Option<Value> {
        let (status, answer) = self.get(&format!("/{}/_doc/{id}", spec.index)).await;
        (status == 200).then(|| answer["_source"].clone())
    }

    pub async fn exists(&self, name: &str) -> bool {
        self.get(&format!("/{name}?filter_path=*.aliases")).await.0 == 200
    }

    pub async fn send(&self, documents: &[Document]) -> Vec<Outcome> {
        self.sink.send(documents).await.unwrap()
    }

    pub async fn end(self) {
        self.clean().await;
    }
}

pub fn version(entry: u64) -> Version {
    Version::new(Epoch(3), projectord::model::EntryNo(entry))
}

pub fn index(spec: &IndexSpec, id: &str, entry: u64, body: Value) -> Document {
    Document {
        index: spec.index.as_str().into(),
        id: id.to_owned(),
        version: version(entry),
        action: Action::Index(Bytes::from(body.to_string())),
    }
}

pub fn delete(spec: &IndexSpec, id: &str, entry: u64) -> Document {
    Document { action: Action::Delete, ..index(spec, id, entry, json!({})) }
}

/// The outcome in one word, for tables of expectations; `reason` must not hold row values.
pub fn word(outcome: &Outcome) -> String {
    assert!(!format!("{outcome:?}").contains("secret"), "{outcome:?}");
    match outcome {
        Outcome::Applied => "applied".to_owned(),
        Outcome::Conflict { current: Some(current) } => format!("conflict {}", current.entry()),
        Outcome::Conflict { current: None } => "conflict".to_owned(),
        Outcome::Retry { .. } => "retry".to_owned(),
        Outcome::Rejected { code, .. } => format!("rejected {code}"),
        Outcome::IndexGone { .. } => "gone".to_owned(),
    }
}
