//! Tests of the stream against a server of their own making.

use tokio::io::{AsyncReadExt, DuplexStream, duplex};

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

/// A status task that nothing but the test wakes, and the server's end of its connection.
fn speaker(shared: &Arc<Shared>) -> (DuplexStream, JoinHandle<Option<Speaker>>) {
    let (server, client) = duplex(1 << 16);
    let (_, write_half) = split(Box::new(client) as Box<dyn Duplex>);
    let options = Options { status_interval: Duration::from_secs(3600), on_status: None };
    let (failed, _) = oneshot::channel();
    (server, tokio::spawn(status::run(write_half, shared.clone(), options, failed)))
}

/// The flushed position of the next status.
async fn heard(server: &mut DuplexStream) -> Lsn {
    let mut bytes = [0; 39];
    timeout(Duration::from_secs(20), server.read_exact(&mut bytes)).await.expect("no status").unwrap();
    assert_eq!((bytes[0], bytes[5]), (b'd', b'r'));
    assert_eq!(bytes[6..14], bytes[14..22]);
    Lsn(u64::from_be_bytes(bytes[14..22].try_into().unwrap()))
}

#[tokio::test]
async fn request_of_the_server_is_answered_with_the_position_of_that_moment() {
    let shared = shared(100);
    let (mut server, _task) = speaker(&shared);
    assert_eq!(heard(&mut server).await, Lsn::ZERO);
    shared.asked.notify_one();
    assert_eq!(heard(&mut server).await, Lsn::ZERO);
    shared.confirmed.store(7, Ordering::Release);
    shared.asked.notify_one();
    assert_eq!(heard(&mut server).await, Lsn(7));
}

#[tokio::test]
async fn many_confirmations_go_out_as_one_status_and_the_goodbye_repeats_it() {
    let shared = shared(100);
    let (mut server, task) = speaker(&shared);
    assert_eq!(heard(&mut server).await, Lsn::ZERO);
    let confirmer = Confirmer { shared: shared.clone() };
    (1..=100).for_each(|position| confirmer.confirm(Lsn(position)));
    assert_eq!(heard(&mut server).await, Lsn(100));
    shared.enter(Phase::Closing);
    assert_eq!(heard(&mut server).await, Lsn(100));
    let mut done = [0; 5];
    server.read_exact(&mut done).await.unwrap();
    assert_eq!(done, [b'c', 0, 0, 0, 4]);
    assert!(task.await.unwrap().is_some());
}

#[tokio::test]
async fn server_that_asks_on_and_on_is_not_answered_on_and_on() {
    let shared = shared(100);
    let (mut server, _task) = speaker(&shared);
    let begin = std::time::Instant::now();
    for _ in 0..20 {
        assert_eq!(heard(&mut server).await, Lsn::ZERO);
        shared.asked.notify_one();
    }
    // The first comes unasked; nineteen gaps of 10 ms lie between the others.
    assert!(begin.elapsed() >= Duration::from_millis(180), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn status_that_cannot_be_sent_ends_the_stream() {
    let shared = shared(100);
    let (server, client) = duplex(64);
    drop(server);
    let (read_half, write_half) = split(Box::new(client) as Box<dyn Duplex>);
    let (failed, failure) = oneshot::channel();
    let options = Options { status_interval: Duration::from_secs(3600), on_status: None };
    assert!(status::run(write_half, shared.clone(), options, failed).await.is_none());
    let (queue, mut events) = queue::new(shared.clone());
    let inbox = crate::source::postgres::inbox::Inbox::new();
    reader::run(read_half, inbox, shared, queue, failure).await;
    let events: Vec<_> = std::iter::from_fn(|| events.try_recv()).flatten().collect();
    assert!(matches!(events[..], [crate::source::Event::Lost { .. }]), "{events:?}");
}
