//! How the stream lives and ends: statuses, back-pressure, goodbyes.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use projectord::model::Lsn;
use projectord::pgoutput::{Message, decode};
use projectord::source::Event;
use projectord::source::postgres::{Connection, Error, Sql, stream};

use crate::cluster::Cluster;
use crate::streaming::{PATIENCE, begin, begin_as, emit, next, until_marker};

type Record = Arc<Mutex<Vec<(Instant, Lsn)>>>;

/// Keeps every position that a status carried, and when.
fn recorder() -> (stream::StatusHook, Record) {
    let record = Record::default();
    let kept = record.clone();
    (Arc::new(move |position| kept.lock().unwrap().push((Instant::now(), position))), record)
}

#[tokio::test]
async fn server_hears_of_us_while_nobody_reads_and_no_event_is_lost() {
    const ROWS: usize = 300;
    let cluster = Cluster::start("wal_sender_timeout=2s").await;
    let sql = cluster.sql().await;
    let run = async |statements: &str| sql.client().batch_execute(statements).await.unwrap();
    run("CREATE TABLE big (id int PRIMARY KEY, note text); CREATE PUBLICATION publication FOR TABLE big")
        .await;
    let (hook, record) = recorder();
    let options = cluster.local();
    let mut stream = begin_as(
        &options,
        stream::Options { status_interval: Duration::from_secs(10), on_status: Some(hook) },
    )
    .await;
    // Several times what queue, buffers and sockets hold together.
    run(&format!("INSERT INTO big SELECT i, repeat('0123456789', 100000) FROM generate_series(1, {ROWS}) i"))
        .await;
    emit(&cluster, "end").await;
    let begin = Instant::now();
    let deadline = begin + PATIENCE;
    loop {
        let last = record.lock().unwrap().last().map(|(when, _)| *when);
        if last.is_some_and(|last| last > begin + Duration::from_secs(5)) {
            break;
        }
        assert!(Instant::now() < deadline, "no status any more");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let payloads = until_marker(&mut stream, "end").await;
    let rows =
        payloads.iter().filter(|payload| matches!(decode(payload), Ok(Message::Insert { .. }))).count();
    assert_eq!(rows, ROWS);
    assert!(record.lock().unwrap().iter().all(|(_, position)| *position == Lsn::ZERO), "confirmed unasked");
}

#[tokio::test]
async fn server_stops_at_once_when_all_is_confirmed() {
    let cluster = Cluster::start("").await;
    let sql = cluster.sql().await;
    sql.client()
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION publication FOR TABLE t")
        .await
        .unwrap();
    let (hook, record) = recorder();
    let options = cluster.local();
    let mut stream = begin_as(
        &options,
        stream::Options { status_interval: Duration::from_secs(10), on_status: Some(hook) },
    )
    .await;
    sql.client().batch_execute("INSERT INTO t SELECT generate_series(1, 1000)").await.unwrap();
    drop(sql);
    let stop = tokio::task::spawn_blocking(move || {
        cluster.stop_fast(10);
        cluster
    });
    let mut rows = 0;
    let reason = 'stream: loop {
        for event in next(&mut stream).await.expect("the end must be said") {
            match event {
                Event::Message { payload, .. } => match decode(&payload).unwrap() {
                    Message::Insert { .. } => rows += 1,
                    Message::Commit { end, .. } => stream.confirm(end),
                    _ => (),
                },
                Event::Keepalive { wal_end, .. } => stream.confirm(wal_end),
                Event::Lost { reason } => break 'stream reason,
                Event::Connected(_) => panic!("not ours to say"),
            }
        }
    };
    assert!(next(&mut stream).await.is_none(), "the end was said twice");
    assert_eq!(rows, 1000);
    assert!(!reason.is_empty());
    stop.await.unwrap();
    let positions: Vec<_> = record.lock().unwrap().iter().map(|(_, position)| *position).collect();
    assert!(positions.is_sorted(), "{positions:?}");
    assert!(positions.last() > Some(&Lsn::ZERO));
}

#[tokio::test]
async fn closing_leaves_the_slot_free_and_at_the_confirmed_position() {
    let cluster = Cluster::start("").await;
    let mut sql = cluster.sql().await;
    sql.client()
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION publication FOR TABLE t")
        .await
        .unwrap();
    let mut stream = begin(&cluster).await;
    let query = "SELECT active, confirmed_flush_lsn FROM pg_replication_slots";
    sql.client().batch_execute("INSERT INTO t VALUES (1)").await.unwrap();
    emit(&cluster, "end").await;
    let payloads = until_marker(&mut stream, "end").await;
    let Ok(Message::Commit { end, .. }) = decode(payloads.last().unwrap()) else { panic!() };
    stream.confirm(end);

    // Someone else cannot have it meanwhile; that is worth another try.
    let second = Connection::connect(&cluster.local()).await.unwrap();
    let options = stream::Options::from(&cluster.local());
    let error = stream::start(second, "slot", "publication", end, options.clone()).await.err().unwrap();
    assert!(matches!(error, Error::Retry { .. }), "{error}");

    stream.close().await;
    let slot = sql.rows("read the slot", query).await.unwrap();
    assert_eq!(slot, [[Some("f".to_owned()), Some(end.to_string())]]);

    let third = Connection::connect(&cluster.local()).await.unwrap();
    let error = stream::start(third, "missing", "publication", end, options.clone()).await.err().unwrap();
    assert!(matches!(&error, Error::Server { sqlstate, .. } if sqlstate == "42704"), "{error}");

    // Dropped without a goodbye, the slot becomes free as well.
    let fourth = Connection::connect(&cluster.local()).await.unwrap();
    drop(stream::start(fourth, "slot", "publication", end, options).await.unwrap());
    let deadline = Instant::now() + PATIENCE;
    while sql.rows("read the slot", query).await.unwrap()[0][0].as_deref() != Some("f") {
        assert!(Instant::now() < deadline, "the slot stays active");
    }
}

#[tokio::test]
async fn confirmed_position_reaches_the_server_within_a_moment() {
    let cluster = Cluster::start("").await;
    let mut sql = cluster.sql().await;
    sql.client()
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION publication FOR TABLE t")
        .await
        .unwrap();
    let mut stream = begin(&cluster).await;
    sql.client().batch_execute("INSERT INTO t VALUES (1)").await.unwrap();
    emit(&cluster, "end").await;
    let payloads = until_marker(&mut stream, "end").await;
    let Ok(Message::Commit { end, .. }) = decode(payloads.last().unwrap()) else { panic!() };
    stream.confirm(end);
    let begin = Instant::now();
    let query = "SELECT confirmed_flush_lsn FROM pg_replication_slots";
    while sql.rows("read the slot", query).await.unwrap()[0][0] != Some(end.to_string()) {
        // Far below the status interval of 10 s.
        assert!(begin.elapsed() < Duration::from_secs(3), "the server does not know");
    }
}

#[tokio::test]
async fn lost_connection_is_said_once_and_why() {
    let cluster = Cluster::start("").await;
    let mut sql = cluster.sql().await;
    sql.client().batch_execute("CREATE PUBLICATION publication").await.unwrap();
    let mut stream = begin(&cluster).await;
    sql.rows("kill", "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots").await.unwrap();
    let mut reasons = Vec::new();
    while let Some(events) = next(&mut stream).await {
        for event in events {
            if let Event::Lost { reason } = event {
                reasons.push(reason);
            }
        }
    }
    assert_eq!(reasons.len(), 1);
    assert!(reasons[0].contains("57P01"), "{reasons:?}");
    stream.close().await;
}
