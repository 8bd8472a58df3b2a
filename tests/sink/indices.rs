//! Creating, recognising, claiming, publishing and pruning on a real cluster.

use elasticsearch::http::Method;
use projectord::model::{Epoch, Generation};
use projectord::sink::elasticsearch::NOT_DURABLE;
use projectord::sink::{Error, IndexSpec, Sink};
use serde_json::{Value, json};

use crate::world::{World, index};

fn code(result: Result<impl std::fmt::Debug, Error>) -> &'static str {
    match result {
        Err(Error::Refused { code, .. }) => code,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn an_index_is_created_as_described_and_recognised_again() {
    let Some((world, spec)) = World::prepared("create").await else { return };
    let again = world.sink.prepare(&spec).await.unwrap();
    assert!(!again.created && again.durable && again.epoch == Epoch(0) && !again.uuid.is_empty());
    assert_eq!(world.sink.look(&spec).await.unwrap(), Some(again));
    let (_, found) = world.get(&format!("/{}", spec.index)).await;
    let found = &found[&spec.index];
    assert_eq!(found["settings"]["index"]["gc_deletes"], "1h");
    assert_eq!(found["settings"]["index"]["number_of_replicas"], "0");
    assert_eq!(found["mappings"]["dynamic"], "strict");
    assert_eq!(found["mappings"]["_meta"]["projectord"]["journal_id"], "journal-1");
    assert_eq!(world.sink.check(std::slice::from_ref(&spec)).await.len(), 0);
    world.end().await;
}

#[tokio::test]
async fn whatever_differs_from_ours_is_foreign() {
    let Some((world, spec)) = World::prepared("foreign").await else { return };
    for other in [
        IndexSpec { journal_id: "journal-2".to_owned(), ..spec.clone() },
        IndexSpec { projection: "products".to_owned(), ..spec.clone() },
        IndexSpec { generation: Generation(7), ..spec.clone() },
        IndexSpec { definition: "definition-2".to_owned(), ..spec.clone() },
    ] {
        assert_eq!(code(world.sink.prepare(&other).await), "index-foreign");
        assert_eq!(code(world.sink.claim(&other, Epoch(9)).await), "index-foreign");
        assert_eq!(world.sink.check(&[other]).await.len(), 1);
    }
    let spec = world.spec(2);
    world.done(Method::Put, &format!("/{}", spec.index), json!({})).await;
    assert_eq!(code(world.sink.prepare(&spec).await), "index-foreign");
    assert_eq!(code(world.sink.publish(&spec).await), "index-foreign");
    let spec = world.spec(3);
    let add = json!({ "add": { "index": world.spec(2).index, "alias": spec.index } });
    world.done(Method::Post, "/_aliases", json!({ "actions": [add] })).await;
    assert_eq!(code(world.sink.prepare(&spec).await), "index-foreign");
    world.end().await;
}

#[tokio::test]
async fn the_alias_moves_only_between_our_indices_and_moving_twice_does_nothing() {
    let Some((world, first)) = World::prepared("publish").await else { return };
    let second = world.spec(2);
    world.sink.prepare(&second).await.unwrap();
    let leads_to = async || {
        let (_, found) = world.get(&format!("/_alias/{}", first.alias)).await;
        let mut names: Vec<String> = found.as_object().unwrap().keys().cloned().collect();
        names.sort();
        let alias = &found[&names[0]]["aliases"][&first.alias];
        assert_eq!(alias["is_write_index"], true);
        names.join(" ")
    };
    world.sink.publish(&first).await.unwrap();
    world.sink.publish(&first).await.unwrap();
    assert_eq!(leads_to().await, first.index);
    world.sink.publish(&second).await.unwrap();
    world.sink.publish(&second).await.unwrap();
    assert_eq!(leads_to().await, second.index);
    world.sink.publish(&first).await.unwrap();
    assert_eq!(leads_to().await, first.index, "and back");
    assert!(world.exists(&second.index).await);
    world.end().await;
}

#[tokio::test]
async fn an_alias_or_index_of_somebody_else_is_left_alone() {
    let Some((world, spec)) = World::prepared("foreign-alias").await else { return };
    let other = format!("{}-somebody", spec.alias);
    let aliases = json!({ "aliases": { &spec.alias: {} } });
    world.done(Method::Put, &format!("/{other}"), aliases).await;
    assert_eq!(code(world.sink.publish(&spec).await), "alias-foreign");
    assert_eq!(code(world.sink.prepare(&spec).await), "alias-foreign");
    assert_eq!(world.sink.check(std::slice::from_ref(&spec)).await.len(), 1);
    let (_, found) = world.get(&format!("/_alias/{}", spec.alias)).await;
    assert!(found.get(&other).is_some(), "{found}");
    world.done(Method::Delete, &format!("/{other}"), Value::Null).await;

    world.done(Method::Put, &format!("/{}", spec.alias), json!({})).await;
    assert_eq!(code(world.sink.publish(&spec).await), "alias-foreign");
    assert_eq!(code(world.sink.prepare(&world.spec(2)).await), "alias-foreign");
    world.end().await;
}

#[tokio::test]
async fn an_epoch_is_claimed_read_back_and_never_taken_from_a_later_start() {
    let Some((world, spec)) = World::prepared("claim").await else { return };
    let theirs = json!({ "_meta": { "theirs": 1, "projectord": {} } });
    let (_, found) = world.get(&format!("/{}/_mapping", spec.index)).await;
    let mut meta = found[&spec.index]["mappings"]["_meta"].clone();
    meta["theirs"] = theirs["_meta"]["theirs"].clone();
    world.done(Method::Put, &format!("/{}/_mapping", spec.index), json!({ "_meta": meta })).await;
    for epoch in [4, 4, 5] {
        world.sink.claim(&spec, Epoch(epoch)).await.unwrap();
        assert_eq!(world.sink.look(&spec).await.unwrap().unwrap().epoch, Epoch(epoch));
    }
    assert_eq!(code(world.sink.claim(&spec, Epoch(4)).await), "sink-epoch");
    assert_eq!(world.sink.prepare(&spec).await.unwrap().epoch, Epoch(5));
    let (_, found) = world.get(&format!("/{}/_mapping", spec.index)).await;
    assert_eq!(found[&spec.index]["mappings"]["_meta"]["theirs"], 1);
    assert!(found[&spec.index]["mappings"]["properties"]["name"].is_object());
    world.end().await;
}

#[tokio::test]
async fn a_lost_write_alias_is_reported_by_looking_and_mended_by_preparing() {
    let Some((world, spec)) = World::prepared("write-alias").await else { return };
    world.done(Method::Delete, &format!("/{0}/_alias/{0}-WRITE", spec.index), Value::Null).await;
    assert_eq!(code(world.sink.look(&spec).await), "alias-foreign");
    assert!(!world.sink.prepare(&spec).await.unwrap().created);
    assert!(world.sink.look(&spec).await.unwrap().is_some());
    world.end().await;
}

#[tokio::test]
async fn only_old_indices_of_ours_that_nobody_reads_are_pruned() {
    let Some(world) = World::new("prune").await else { return };
    for generation in 1..=5 {
        world.sink.prepare(&world.spec(generation)).await.unwrap();
    }
    let other = IndexSpec {
        journal_id: "journal-2".to_owned(),
        index: format!("{}-beef-1", world.spec(1).alias),
        ..world.spec(1)
    };
    world.sink.prepare(&other).await.unwrap();
    world.sink.publish(&world.spec(2)).await.unwrap();
    let current = world.spec(5);
    assert_eq!(world.sink.prune(&current, 1).await.unwrap(), [world.spec(1).index, world.spec(3).index]);
    assert!(world.exists(&world.spec(2).index).await, "the alias leads to it");
    assert!(world.exists(&world.spec(4).index).await, "kept");
    assert!(world.exists(&other.index).await, "another journal's");
    world.sink.publish(&current).await.unwrap();
    assert_eq!(world.sink.prune(&current, 0).await.unwrap(), [world.spec(2).index, world.spec(4).index]);
    assert_eq!(world.sink.prune(&current, 0).await.unwrap(), Vec::<String>::new());
    world.end().await;
}

#[tokio::test]
async fn refreshing_makes_acknowledged_documents_searchable() {
    let Some((world, spec)) = World::prepared("refresh").await else { return };
    world.sink.publish(&spec).await.unwrap();
    world.send(&[index(&spec, "1", 1, json!({ "name": "found" }))]).await;
    world.sink.refresh(&spec).await.unwrap();
    let (_, answer) =
        world.get(&format!("/{}/_search?q=name:found&filter_path=hits.hits._id", spec.alias)).await;
    assert_eq!(answer["hits"]["hits"][0]["_id"], "1");
    world.end().await;
}

#[tokio::test]
async fn a_type_that_the_cluster_does_not_know_falls_back_or_is_refused_by_name() {
    let Some(world) = World::new("types").await else { return };
    let spec = IndexSpec {
        mappings: json!({ "dynamic": "strict", "properties": {
            "total": { "type": "scaled_float", "scaling_factor": 100 },
            "raw": { "type": "flattened" },
            "items": { "type": "nested", "properties": { "price": { "type": "scaled_float", "scaling_factor": 100 } } },
        } }),
        ..world.spec(1)
    };
    assert!(world.sink.prepare(&spec).await.unwrap().created);
    let document = json!({ "total": 12.34, "raw": { "a": { "b": 1 } }, "items": [{ "price": 0.1 }] });
    world.send(&[index(&spec, "1", 1, document.clone())]).await;
    assert_eq!(world.source(&spec, "1").await, Some(document));
    let unknown =
        IndexSpec { mappings: json!({ "properties": { "a": { "type": "no_such" } } }), ..world.spec(2) };
    let error = world.sink.prepare(&unknown).await.unwrap_err();
    assert!(error.to_string().contains("no_such"), "{error}");
    assert_eq!(code(Err::<(), _>(error)), "index-mapping");
    world.end().await;
}

#[tokio::test]
async fn check_names_every_problem_at_once_and_changes_nothing() {
    let Some(world) = World::new("check").await else { return };
    let careless = IndexSpec { settings: json!({ "translog.durability": "async" }), ..world.spec(1) };
    let harmful =
        IndexSpec { settings: json!({ "default_pipeline": "mine", "gc_deletes": "1s" }), ..world.spec(2) };
    let foreign = world.spec(3);
    world.done(Method::Put, &format!("/{}", foreign.index), json!({})).await;
    let named = IndexSpec { index: "Not/a name".to_owned(), ..world.spec(4) };
    let problems = world.sink.check(&[careless.clone(), harmful, foreign, named]).await;
    let codes: Vec<&str> = problems.into_iter().map(|problem| code(Err::<(), _>(problem))).collect();
    assert_eq!(codes, [NOT_DURABLE, "index-settings", "index-foreign", "index-name"]);
    assert!(!world.exists(&careless.index).await);
    assert!(!world.sink.prepare(&careless).await.unwrap().durable);
    world.end().await;
}

#[tokio::test]
async fn the_cluster_says_what_it_is() {
    let Some(world) = World::new("cluster").await else { return };
    println!("{:?}", world.sink.cluster().await.unwrap());
}
