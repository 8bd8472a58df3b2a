//! Tests of the sink in memory.

use super::*;
use crate::model::Generation;

fn spec(generation: u16) -> IndexSpec {
    IndexSpec {
        projection: "orders".to_owned(),
        generation: Generation(generation),
        index: format!("orders-7f3a-{generation}"),
        alias: "orders".to_owned(),
        mappings: serde_json::json!({}),
        settings: serde_json::json!({}),
        journal_id: "journal".to_owned(),
        definition: "definition".to_owned(),
    }
}

fn index(id: &str, version: u64) -> Document {
    let action = Action::Index(Bytes::from(format!("{{\"v\":{version}}}")));
    Document { index: "orders-7f3a-1".into(), id: id.to_owned(), version: Version(version), action }
}

fn delete(id: &str, version: u64) -> Document {
    Document { action: Action::Delete, ..index(id, version) }
}

async fn prepared() -> Memory {
    let memory = Memory::new();
    assert!(memory.prepare(&spec(1)).await.unwrap().created);
    memory
}

fn conflict(version: u64) -> Outcome {
    Outcome::Conflict { current: Some(Version(version)) }
}

#[tokio::test]
async fn versions_only_grow_and_deletes_are_remembered_until_forgotten() {
    let memory = prepared().await;
    let sent = [index("1", 5), index("1", 5), index("1", 4), delete("1", 5), delete("1", 6), index("1", 6)];
    let expected = [Outcome::Applied, conflict(5), conflict(5), conflict(5), Outcome::Applied, conflict(6)];
    assert_eq!(memory.send(&sent).await.unwrap(), expected);
    assert!(memory.documents("orders-7f3a-1").is_empty());
    memory.forget_deletes();
    assert_eq!(memory.send(&[index("1", 3)]).await.unwrap(), [Outcome::Applied]);
    let versions: Vec<u64> = memory.accepted().iter().map(|write| write.version.0).collect();
    assert_eq!(versions, [5, 6, 3]);
}

#[tokio::test]
async fn planned_faults_meet_one_send_each() {
    let memory = prepared().await;
    let second: Predicate = Arc::new(|document: &Document| document.id == "2");
    memory.plan([
        Fault::Unavailable,
        Fault::AnswerLost,
        Fault::Busy(second.clone()),
        Fault::Conflict(second, Some(Version(99))),
        Fault::Fails(Error::TooLarge { operation: "send documents", size_bytes: 1 }),
        Fault::None,
    ]);
    let send = async |version| memory.send(&[index("1", version), index("2", version)]).await;
    assert!(matches!(send(1).await, Err(Error::Retry { .. })));
    assert!(memory.accepted().is_empty());
    assert!(matches!(send(2).await, Err(Error::Retry { .. })));
    assert_eq!(memory.accepted().len(), 2);
    let outcomes = send(3).await.unwrap();
    assert!(matches!(outcomes.as_slice(), [Outcome::Applied, Outcome::Retry { .. }]));
    assert_eq!(send(4).await.unwrap(), [Outcome::Applied, conflict(99)]);
    assert!(matches!(send(5).await, Err(Error::TooLarge { .. })));
    assert_eq!(send(6).await.unwrap(), [Outcome::Applied, Outcome::Applied]);
    assert_eq!(memory.sends(), 6);
}

#[tokio::test]
async fn a_late_write_loses_against_a_newer_one() {
    let memory = prepared().await;
    memory.plan([Fault::AnswerLostAppliedLate]);
    assert!(memory.send(&[index("1", 1), index("2", 1)]).await.is_err());
    assert_eq!(memory.send(&[index("1", 2)]).await.unwrap(), [Outcome::Applied]);
    memory.apply_late();
    let documents = memory.documents("orders-7f3a-1");
    assert_eq!((documents["1"].0, documents["2"].0), (Version(2), Version(1)));
}

#[tokio::test]
async fn held_answers_come_with_the_release_although_the_writes_are_done() {
    let memory = prepared().await;
    memory.hold();
    let other = memory.clone();
    let sending = tokio::spawn(async move { other.send(&[index("1", 1)]).await });
    memory.wait_for_held(1).await;
    assert_eq!(memory.accepted().len(), 1);
    assert!(!sending.is_finished());
    memory.release();
    assert_eq!(sending.await.unwrap().unwrap(), [Outcome::Applied]);
}

#[tokio::test]
async fn an_index_is_recognised_claimed_published_replaced_and_pruned() {
    let memory = prepared().await;
    let first = memory.prepare(&spec(1)).await.unwrap();
    assert!(!first.created);
    let other = IndexSpec { journal_id: "other".to_owned(), ..spec(1) };
    assert!(matches!(memory.prepare(&other).await, Err(Error::Refused { code: "index-foreign", .. })));
    assert_eq!(memory.check(&[spec(1), other]).await.len(), 1);
    memory.claim(&spec(1), Epoch(4)).await.unwrap();
    assert!(memory.claim(&spec(1), Epoch(3)).await.is_err());
    assert_eq!(memory.look(&spec(1)).await.unwrap().unwrap().epoch, Epoch(4));
    memory.replace_index("orders-7f3a-1");
    assert_ne!(memory.look(&spec(1)).await.unwrap().unwrap().uuid, first.uuid);
    memory.publish(&spec(1)).await.unwrap();
    memory.prepare(&spec(2)).await.unwrap();
    memory.prepare(&spec(3)).await.unwrap();
    assert_eq!(memory.prune(&spec(3), 1).await.unwrap(), Vec::<String>::new(), "the alias leads to it");
    memory.publish(&spec(3)).await.unwrap();
    assert_eq!(memory.prune(&spec(3), 1).await.unwrap(), ["orders-7f3a-1"]);
    assert!(matches!(memory.send(&[index("1", 1)]).await.unwrap().as_slice(), [Outcome::IndexGone { .. }]));
}
