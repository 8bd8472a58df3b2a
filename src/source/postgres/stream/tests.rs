use super::*;

fn shared(received: u64) -> Arc<Shared> {
    let (phase, _) = watch::channel(Phase::Streaming);
    Arc::new(Shared {
        confirmed: AtomicU64::new(0),
        received: AtomicU64::new(received),
        moved: Notify::new(),
        asked: Notify::new(),
        phase,
    })
}

#[test]
fn names_are_quoted_for_the_replication_grammar() {
    assert_eq!(
        command("a\"b", "it's", Lsn(0x1_0000_0002)),
        "START_REPLICATION SLOT \"a\"\"b\" LOGICAL 1/2 (proto_version '1', publication_names '\"it''s\"', \
         messages 'true')"
    );
}

#[test]
fn confirmed_position_never_goes_back() {
    let confirmer = Confirmer { shared: shared(100) };
    confirmer.confirm(Lsn(50));
    confirmer.confirm(Lsn(40));
    assert_eq!(confirmer.confirmed(), Lsn(50));
}

#[test]
#[should_panic(expected = "was received")]
fn position_that_was_not_received_cannot_be_confirmed() {
    Confirmer { shared: shared(100) }.confirm(Lsn(101));
}

#[test]
fn ended_connection_never_counts_as_closing_again() {
    let shared = shared(0);
    shared.enter(Phase::Ended);
    shared.enter(Phase::Closing);
    assert_eq!(*shared.phase.borrow(), Phase::Ended);
}

#[tokio::test]
async fn position_counts_as_received_once_its_event_was_taken_out() {
    use crate::source::Event;
    let shared = shared(0);
    let (queue, mut events) = queue::new(shared.clone());
    let mut group = queue::Group::default();
    group.push(Event::Keepalive { wal_end: Lsn(9), reply_requested: false });
    group.push(Event::Message { wal_end: Lsn(7), payload: bytes::Bytes::new() });
    assert!(queue.send(group).await);
    assert_eq!(shared.received(), Lsn(0));
    assert_eq!(events.recv().await.unwrap().len(), 2);
    assert_eq!(shared.received(), Lsn(9));
}

#[tokio::test]
async fn queue_is_bounded_by_bytes_and_lets_one_larger_group_through_alone() {
    use crate::source::Event;
    let (queue, mut events) = queue::new(shared(0));
    let group = |bytes: usize| {
        let mut group = queue::Group::default();
        group.push(Event::Message { wal_end: Lsn(1), payload: vec![0; bytes].into() });
        group
    };
    assert!(queue.send(group(QUEUE_BYTES_MAX + 1)).await);
    let mut second = Box::pin(queue.send(group(1)));
    assert!(timeout(Duration::ZERO, &mut second).await.is_err());
    assert!(events.try_recv().is_some());
    assert!(second.await);
    drop(events);
    assert!(!queue.send(group(1)).await);
}
