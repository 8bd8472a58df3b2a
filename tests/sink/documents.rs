//! Documents and their outcomes on a real cluster.

use elasticsearch::http::Method;
use projectord::model::{Document, Outcome};
use projectord::sink::Sink;
use projectord::sink::elasticsearch::{Elasticsearch, Options};
use serde_json::{Value, json};

use crate::world::{World, delete, index, options, word};

async fn words(world: &World, documents: &[Document]) -> Vec<String> {
    world.send(documents).await.iter().map(word).collect()
}

#[tokio::test]
async fn versions_only_grow_and_conflicts_name_the_version_in_place() {
    let Some((world, spec)) = World::prepared("versions").await else { return };
    let sent = [
        index(&spec, "1", 9, json!({ "name": "nine" })),
        index(&spec, "1", 9, json!({ "name": "again" })),
        index(&spec, "1", 7, json!({ "name": "seven" })),
        delete(&spec, "1", 9),
        delete(&spec, "1", 8),
        index(&spec, "1", 10, json!({ "name": "ten" })),
        delete(&spec, "1", 12),
        index(&spec, "1", 11, json!({ "name": "eleven" })),
        delete(&spec, "1", 12),
        delete(&spec, "never", 5),
        index(&spec, "never", 4, json!({ "name": "late" })),
    ];
    let expected = [
        "applied",
        "conflict 9",
        "conflict 9",
        "conflict 9",
        "conflict 9",
        "applied",
        "applied",
        "conflict 12",
        "conflict 12",
        "applied",
        "conflict 5",
    ];
    assert_eq!(words(&world, &sent).await, expected);
    assert_eq!(world.source(&spec, "1").await, None);
    assert_eq!(words(&world, &[index(&spec, "1", 13, json!({ "name": "back" }))]).await, ["applied"]);
    assert_eq!(world.source(&spec, "1").await, Some(json!({ "name": "back" })));
    world.end().await;
}

#[tokio::test]
async fn a_hostile_id_is_stored_found_and_its_conflict_is_read_right() {
    let Some((world, spec)) = World::prepared("hostile-id").await else { return };
    for id in [
        "current version [77] is higher",
        "a\"b\\c\n]: d",
        "ü/é?&#",
        "-",
        "_x",
        &"x".repeat(512),
        &"é".repeat(256),
    ] {
        let sent = [index(&spec, id, 5, json!({ "count": 1 })), index(&spec, id, 5, json!({ "count": 2 }))];
        assert_eq!(words(&world, &sent).await, ["applied", "conflict 5"], "{id}");
    }
    world.end().await;
}

#[tokio::test]
async fn each_document_of_a_mixed_request_is_judged_on_its_own() {
    let Some((world, spec)) = World::prepared("mixed").await else { return };
    let good = |id: &str| index(&spec, id, 1, json!({ "name": "good" }));
    let bad = |body: Value| index(&spec, "bad", 1, body);
    let sent = [
        good("1"),
        bad(json!({ "surprise": "secret" })),
        good("2"),
        bad(json!({ "count": "secret words" })),
        bad(json!({ "at": "secret day" })),
        bad(json!({ "customer": "secret" })),
        bad(json!({ "customer": { "secret": 1 } })),
        bad(json!({ "name": { "secret": "object" } })),
        bad(json!({ "count": 1e30, "name": "secret" })),
        bad(json!({ "name": "secret".repeat(6000) })),
        index(&spec, &"x".repeat(513), 1, json!({ "name": "secret" })),
        delete(&spec, "", 1),
        good("3"),
        delete(&spec, "4", 1),
    ];
    let outcomes = world.send(&sent).await;
    for (at, outcome) in outcomes.iter().enumerate() {
        println!("{at}: {outcome:?}");
        let said = word(outcome);
        match at {
            0 | 2 | 12 | 13 => assert_eq!(said, "applied"),
            10 => assert_eq!(said, "rejected id_too_long"),
            11 => assert_eq!(said, "rejected id_empty"),
            _ => assert!(said.starts_with("rejected ") && !said.contains("unknown"), "{at}: {outcome:?}"),
        }
    }
    let reason = |at: usize| match &outcomes[at] {
        Outcome::Rejected { reason, .. } => reason.as_str(),
        other => panic!("{other:?}"),
    };
    assert!(reason(1).contains("'surprise'"), "{}", reason(1));
    assert!(reason(3).contains("'count' of type long"), "{}", reason(3));
    assert!(reason(9).contains("'name'"), "{}", reason(9));
    for id in ["1", "2", "3"] {
        assert_eq!(world.source(&spec, id).await, Some(json!({ "name": "good" })));
    }
    assert_eq!(world.source(&spec, "bad").await, None);
    world.end().await;
}

#[tokio::test]
async fn a_deleted_index_is_reported_gone_and_never_made_again_by_writing() {
    let Some((world, spec)) = World::prepared("gone").await else { return };
    world.done(Method::Delete, &format!("/{}", spec.index), Value::Null).await;
    let sent = [index(&spec, "1", 1, json!({ "name": "x" })), delete(&spec, "2", 1)];
    assert_eq!(words(&world, &sent).await, ["gone", "gone"]);
    assert_eq!(words(&world, &[delete(&spec, "2", 1)]).await, ["gone"]);
    let (_, left) = world.get(&format!("/{}*?expand_wildcards=all&filter_path=*.aliases", spec.alias)).await;
    assert_eq!(left, json!({}));
    assert_eq!(world.sink.look(&spec).await.unwrap(), None);
    world.end().await;
}

#[tokio::test]
async fn an_index_that_somebody_put_in_place_of_ours_is_not_written() {
    let Some((world, spec)) = World::prepared("replaced").await else { return };
    let before = world.sink.look(&spec).await.unwrap().unwrap();
    let path = format!("/{}", spec.index);
    world.done(Method::Delete, &path, Value::Null).await;
    world.done(Method::Put, &path, json!({})).await;
    assert_eq!(words(&world, &[index(&spec, "1", 1, json!({ "name": "x" }))]).await, ["gone"]);
    let after = world.sink.look(&spec).await.unwrap().unwrap();
    assert_ne!(before.uuid, after.uuid);
    assert_eq!(world.source(&spec, "1").await, None);
    world.end().await;
}

#[tokio::test]
async fn a_write_alias_that_leads_elsewhere_is_noticed_by_the_write() {
    let Some((world, spec)) = World::prepared("elsewhere").await else { return };
    let (alias, other) = (format!("{}-WRITE", spec.index), world.spec(2));
    world.sink.prepare(&other).await.unwrap();
    let actions = json!({ "actions": [
        { "remove": { "index": spec.index, "alias": alias } },
        { "add": { "index": other.index, "alias": alias } },
    ] });
    world.done(Method::Post, "/_aliases", actions).await;
    assert_eq!(words(&world, &[index(&spec, "1", 1, json!({ "name": "x" }))]).await, ["gone"]);
    assert!(world.sink.look(&spec).await.is_err(), "looking must not say that all is well");
    world.end().await;
}

#[tokio::test]
async fn blocked_and_closed_indices_are_retried_not_rejected() {
    let Some((world, spec)) = World::prepared("blocked").await else { return };
    let sent = [index(&spec, "1", 1, json!({ "name": "x" }))];
    let settings = format!("/{}/_settings", spec.index);
    for block in ["read_only_allow_delete", "write"] {
        world.done(Method::Put, &settings, json!({ format!("index.blocks.{block}"): true })).await;
        assert_eq!(words(&world, &sent).await, ["retry"], "{block}");
        world.done(Method::Put, &settings, json!({ format!("index.blocks.{block}"): null })).await;
    }
    world.done(Method::Post, &format!("/{}/_close", spec.index), Value::Null).await;
    assert_eq!(words(&world, &sent).await, ["retry"], "closed");
    world.done(Method::Post, &format!("/{}/_open?wait_for_active_shards=1", spec.index), Value::Null).await;
    assert_eq!(words(&world, &sent).await, ["applied"]);
    world.end().await;
}

#[tokio::test]
async fn packed_and_cut_requests_arrive_whole_and_in_order() {
    let Some((world, spec)) = World::prepared("packed").await else { return };
    let packing = Elasticsearch::new(&Options { compress: true, ..options(&world.url) }).unwrap();
    let cutting = Elasticsearch::new(&options(&world.url)).unwrap().with_request_bytes_max(2_000);
    for (round, sink) in [packing, cutting].iter().enumerate() {
        let documents: Vec<Document> = (0..500)
            .map(|at| {
                let body = json!({ "name": format!("Größe {at}"), "count": at });
                index(&spec, &format!("{}", at % 100), round as u64 * 1000 + at + 1, body)
            })
            .collect();
        let outcomes = sink.send(&documents).await.unwrap();
        assert_eq!(outcomes.len(), documents.len());
        assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Applied));
        let last = json!({ "name": "Größe 442", "count": 442 });
        assert_eq!(world.source(&spec, "42").await, Some(last));
    }
    world.end().await;
}

#[tokio::test]
async fn nothing_sent_is_nothing_asked() {
    let Some(world) = World::new("nothing").await else { return };
    assert_eq!(world.send(&[]).await, []);
}
