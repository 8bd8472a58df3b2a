//! What depends on how the cluster was started: its size limit, its security. Skipped, clearly, elsewhere.

use projectord::model::{Document, Outcome};
use projectord::sink::elasticsearch::{Credentials, Elasticsearch, Options};
use projectord::sink::{Error, Sink};
use secrecy::SecretString;
use serde_json::json;

use crate::world::{World, index, options, word};

/// Above this, the test would have to send too much.
const TESTABLE_LIMIT_BYTES: u64 = 8 << 20;

#[tokio::test]
async fn a_request_above_the_clusters_own_limit_is_halved_and_a_document_above_it_rejected() {
    let Some((world, spec)) = World::prepared("limit").await else { return };
    let (_, nodes) =
        world.get("/_nodes/_local/http?filter_path=nodes.*.http.max_content_length_in_bytes").await;
    let limit = nodes["nodes"].as_object().and_then(|nodes| nodes.values().next()).unwrap();
    let limit = limit["http"]["max_content_length_in_bytes"].as_u64().unwrap();
    if limit > TESTABLE_LIMIT_BYTES {
        println!("SKIPPED: http.max_content_length is {limit}, this needs at most {TESTABLE_LIMIT_BYTES}");
        return world.end().await;
    }
    for compress in [false, true] {
        let sink = Elasticsearch::new(&Options { compress, ..options(&world.url) }).unwrap();
        let sink = sink.with_request_bytes_max(usize::MAX);
        // Many values of legal length: no term is immense, and packing gains little.
        let body = |bytes: u64| {
            let values: Vec<String> = (0..bytes / 1_000).map(|_| random(997)).collect();
            json!({ "name": values })
        };
        let entry = 1 + u64::from(compress);
        let mut documents: Vec<Document> =
            (0..6).map(|at| index(&spec, &at.to_string(), entry, body(limit / 3))).collect();
        documents[3] = index(&spec, "3", entry, body(limit + limit / 2));
        let outcomes = sink.send(&documents).await.unwrap();
        let words: Vec<String> = outcomes.iter().map(word).collect();
        assert_eq!(
            words,
            ["applied", "applied", "applied", "rejected too_large", "applied", "applied"],
            "{compress}"
        );
    }
    world.end().await;
}

fn random(chars: usize) -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(chars).collect()
}

/// The password of all users of the cluster under test, when its security is on: `elastic`, and
/// `sinktest-none`, `sinktest-others`, `sinktest-reads` and `sinktest-writes` with roles of the same names. The
/// last two may `manage` and `read` all of `sinktest-secured*`, the last one may also `index` and `delete`
/// there; the second may do all, but to `other*`. All have `monitor` on the cluster.
const PASSWORD: &str = "PROJECTORD_TEST_ELASTICSEARCH_PASSWORD";

fn basic(user: &str, password: &str) -> Credentials {
    Credentials::Basic { user: user.to_owned(), password: SecretString::from(password.to_owned()) }
}

#[tokio::test]
async fn wrong_credentials_and_missing_rights_are_named() {
    let (Ok(url), Ok(password)) = (std::env::var("PROJECTORD_TEST_ELASTICSEARCH"), std::env::var(PASSWORD))
    else {
        return println!("SKIPPED: {PASSWORD} does not name the password of a secured cluster");
    };
    let with = |credentials| Elasticsearch::new(&Options { credentials, ..options(&url) }).unwrap();
    let code = |error: &Error| match error {
        Error::Refused { code, .. } => *code,
        other => panic!("{other}"),
    };
    for wrong in [Credentials::None, basic("elastic", "wrong")] {
        let problems = with(wrong).check(&[]).await;
        assert_eq!(problems.iter().map(code).collect::<Vec<_>>(), ["sink-auth"]);
    }
    let administered = url.replace("://", &format!("://elastic:{password}@"));
    let world = World::at("secured", &administered, with(basic("elastic", &password))).await;
    let spec = world.spec(1);
    assert_eq!(world.sink.check(std::slice::from_ref(&spec)).await.len(), 0);
    world.sink.prepare(&spec).await.unwrap();
    let sent = [index(&spec, "1", 1, json!({ "name": "x" }))];

    for (name, enough) in [("none", false), ("others", false), ("reads", false), ("writes", true)] {
        let sink = with(basic(&format!("sinktest-{name}"), &password));
        let problems = sink.check(std::slice::from_ref(&spec)).await;
        println!("{name}: {problems:?}");
        assert_eq!(problems.is_empty(), enough, "{name}: {problems:?}");
        assert!(problems.iter().all(|problem| code(problem) == "sink-forbidden"), "{name}: {problems:?}");
        match sink.send(&sent).await {
            Ok(outcomes) => assert!(enough && outcomes == [Outcome::Applied], "{name}: {outcomes:?}"),
            Err(error) => assert!(!enough && code(&error) == "sink-forbidden", "{name}: {error}"),
        }
    }
    world.end().await;
}
