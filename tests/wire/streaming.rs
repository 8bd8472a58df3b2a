//! What the stream says.

use std::time::Duration;

use futures_util::TryStreamExt;
use projectord::model::{Cell, Lsn, ReplicaIdentity};
use projectord::pgoutput::copy::Rows;
use projectord::pgoutput::{Message, OldKind, Tuple, decode};
use projectord::source::Event;
use projectord::source::postgres::stream::{self, Stream};
use projectord::source::postgres::{Connection, Options, Sql};

use crate::cluster::Cluster;

/// No wait in these tests is longer than this.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub async fn begin_as(options: &Options, stream_options: stream::Options) -> Stream {
    let mut connection = Connection::connect(options).await.unwrap();
    let create = "CREATE_REPLICATION_SLOT \"slot\" LOGICAL pgoutput NOEXPORT_SNAPSHOT";
    let slot = connection.rows("create the slot", create).await.unwrap();
    let from: Lsn = slot[0][1].as_ref().unwrap().parse().unwrap();
    stream::start(connection, &options.slot, &options.publication, from, stream_options).await.unwrap()
}

pub async fn begin(cluster: &Cluster) -> Stream {
    let options = cluster.local();
    begin_as(&options, stream::Options::from(&options)).await
}

/// The next group; fails when none comes.
pub async fn next(stream: &mut Stream) -> Option<Vec<Event>> {
    tokio::time::timeout(PATIENCE, stream.events.recv()).await.expect("no event in time")
}

/// Payloads until the marker comes back, which is not among them.
pub async fn until_marker(stream: &mut Stream, marker: &str) -> Vec<bytes::Bytes> {
    let mut payloads = Vec::new();
    loop {
        for event in next(stream).await.expect("the stream ended") {
            match event {
                Event::Message { payload, .. } => {
                    if matches!(decode(&payload), Ok(Message::Logical { prefix: b"marker", content, .. }) if content == marker.as_bytes())
                    {
                        return payloads;
                    }
                    payloads.push(payload);
                }
                Event::Keepalive { .. } => (),
                other => panic!("{other:?}"),
            }
        }
    }
}

pub async fn emit(cluster: &Cluster, marker: &str) {
    let sql = format!("SELECT pg_logical_emit_message(false, 'marker', '{marker}'), pg_current_xact_id()");
    cluster.sql().await.rows("emit", &sql).await.unwrap();
}

fn texts(tuple: &Tuple<'_>) -> Vec<String> {
    let text = |cell| match cell {
        Cell::Null => "(null)".to_owned(),
        Cell::Unchanged => "(unchanged)".to_owned(),
        Cell::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
    };
    tuple.cells().map(text).collect()
}

#[tokio::test]
async fn every_kind_of_message_of_a_real_stream_is_decoded() {
    let cluster = Cluster::start("").await;
    let sql = cluster.sql().await;
    let run = async |statements: &str| sql.client().batch_execute(statements).await.unwrap();
    run("CREATE TYPE mood AS ENUM ('good', 'bad');
         CREATE TABLE plain (id int PRIMARY KEY, mood mood, note text);
         ALTER TABLE plain ALTER note SET STORAGE EXTERNAL;
         CREATE TABLE whole (a int, b text); ALTER TABLE whole REPLICA IDENTITY FULL;
         CREATE PUBLICATION publication FOR TABLE plain, whole;
         SELECT pg_replication_origin_create('elsewhere')")
    .await;
    let mut stream = begin(&cluster).await;
    run("INSERT INTO plain VALUES (1, 'good', repeat('x', 9000)), (2, NULL, '')").await;
    run("UPDATE plain SET mood = 'bad' WHERE id = 1").await;
    run("UPDATE plain SET id = 3 WHERE id = 2").await;
    run("DELETE FROM plain WHERE id = 3").await;
    run("INSERT INTO whole VALUES (1, 'a')").await;
    run("UPDATE whole SET b = 'b'").await;
    run("DELETE FROM whole").await;
    run("TRUNCATE plain, whole RESTART IDENTITY CASCADE").await;
    run("SELECT pg_logical_emit_message(true, 'ours', 'content')").await;
    run("SELECT pg_replication_origin_session_setup('elsewhere'); INSERT INTO whole VALUES (9, NULL)").await;
    emit(&cluster, "end").await;

    let payloads = until_marker(&mut stream, "end").await;
    let mut seen = Vec::new();
    let mut open: Option<Lsn> = None;
    for payload in &payloads {
        match decode(payload).unwrap() {
            Message::Begin { final_lsn, xid, time_us } => {
                assert!(open.replace(final_lsn).is_none() && xid > 0 && time_us > 0);
            }
            Message::Commit { commit, end, .. } => {
                assert_eq!(open.take(), Some(commit));
                assert!(end > commit);
            }
            Message::Origin { name, .. } => seen.push(format!("origin {}", name.escape_ascii())),
            Message::Relation(relation) => {
                let expected = match relation.name.as_str() {
                    "plain" => (
                        ReplicaIdentity::Default,
                        "public",
                        vec![("id", true), ("mood", false), ("note", false)],
                    ),
                    _ => (ReplicaIdentity::Full, "public", vec![("a", true), ("b", true)]),
                };
                let columns = relation.columns.iter().map(|column| (column.name.as_str(), column.key));
                assert_eq!((relation.identity, relation.schema.as_str(), columns.collect()), expected);
                seen.push(format!("relation {}", relation.name));
            }
            Message::Type { schema, name, .. } => seen.push(format!("type {schema}.{name}")),
            Message::Insert { new, .. } => {
                let mut texts = texts(&new);
                texts.iter_mut().for_each(|text| text.truncate(13));
                seen.push(format!("insert {texts:?}"));
            }
            Message::Update { old, new, .. } => {
                let old = old.map(|(kind, tuple)| (kind, texts(&tuple)));
                seen.push(format!("update {old:?} {:?}", texts(&new)));
            }
            Message::Delete { kind, old, .. } => {
                assert!(matches!(kind, OldKind::Key | OldKind::Full));
                seen.push(format!("delete {kind:?} {:?}", texts(&old)));
            }
            Message::Truncate { oids, cascade, restart } => {
                assert!(oids.iter().all(|oid| oid > 0));
                seen.push(format!("truncate {} {cascade} {restart}", oids.iter().len()));
            }
            Message::Logical { transactional, prefix, content, .. } => {
                seen.push(format!(
                    "message {transactional} {} {}",
                    prefix.escape_ascii(),
                    content.escape_ascii()
                ));
            }
        }
    }
    let mut announced: Vec<_> =
        seen.extract_if(.., |line| line.starts_with("relation") || line.starts_with("type")).collect();
    announced.sort();
    announced.dedup();
    assert_eq!(announced, ["relation plain", "relation whole", "type public.mood"]);
    let expected = [
        r#"insert ["1", "good", "xxxxxxxxxxxxx"]"#,
        r#"insert ["2", "(null)", ""]"#,
        r#"update None ["1", "bad", "(unchanged)"]"#,
        r#"update Some((Key, ["2", "(null)", "(null)"])) ["3", "(null)", ""]"#,
        r#"delete Key ["3", "(null)", "(null)"]"#,
        r#"insert ["1", "a"]"#,
        r#"update Some((Full, ["1", "a"])) ["1", "b"]"#,
        r#"delete Full ["1", "b"]"#,
        "truncate 2 true true",
        "message true ours content",
        "origin elsewhere",
        r#"insert ["9", "(null)"]"#,
    ];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn hostile_defaults_of_role_and_database_change_no_text() {
    let cluster = Cluster::start("").await;
    let sql = cluster.sql().await;
    for statement in [
        "CREATE TABLE values (id int PRIMARY KEY, t timestamptz, d date, i interval, f float8, r real, b bytea, m money, x xml, c regclass, n numeric, s text)",
        "CREATE PUBLICATION publication FOR TABLE values",
        "ALTER ROLE scrammed SET datestyle = 'German'",
        "ALTER ROLE scrammed SET intervalstyle = 'iso_8601'",
        "ALTER ROLE scrammed SET timezone = 'Asia/Kolkata'",
        "ALTER ROLE scrammed SET statement_timeout = '1ms'",
        "ALTER ROLE scrammed SET idle_session_timeout = '1s'",
        "ALTER ROLE scrammed SET client_encoding = 'LATIN1'",
        "ALTER DATABASE app SET extra_float_digits = -5",
        "ALTER DATABASE app SET bytea_output = 'escape'",
        "ALTER DATABASE app SET xmlbinary = 'hex'",
        "ALTER DATABASE app SET quote_all_identifiers = on",
        "ALTER DATABASE app SET standard_conforming_strings = off",
        "GRANT SELECT ON values TO scrammed",
    ] {
        let quoted = statement.replace(" values", " \"values\"");
        sql.client().batch_execute(&quoted).await.unwrap();
    }
    let options = cluster.tcp("scrammed", Some("right"));
    let mut stream = begin_as(&options, stream::Options::from(&options)).await;
    sql.client()
        .batch_execute(
            "INSERT INTO \"values\" VALUES (1, '2024-03-04 05:06:07.5+00', '2024-03-04', '1 day 02:03', 0.1::float8 + 0.2, 0.1,
             '\\xdead00', 12.5, '<a/>', 'pg_class', 1.10, E'tab\\tline\\nback\\\\ ä')",
        )
        .await
        .unwrap();
    emit(&cluster, "end").await;
    let payloads = until_marker(&mut stream, "end").await;
    let inserts: Vec<_> = payloads
        .iter()
        .filter_map(|payload| match decode(payload).unwrap() {
            Message::Insert { new, .. } => Some(texts(&new)),
            _ => None,
        })
        .collect();
    let expected = [
        "1",
        "2024-03-04 05:06:07.5+00",
        "2024-03-04",
        "1 day 02:03:00",
        "0.30000000000000004",
        "0.1",
        "\\xdead00",
        "$12.50",
        "<a/>",
        "pg_class",
        "1.10",
        "tab\tline\nback\\ ä",
    ];
    assert_eq!(inserts, [expected]);

    // The backfill's way reads the same texts.
    let reader = projectord::source::postgres::client::connect(&options).await.unwrap();
    let pieces = reader.client().copy_out("COPY \"values\" TO STDOUT").await.unwrap();
    let copied: Vec<bytes::Bytes> = pieces.try_collect().await.unwrap();
    let copied = copied.concat();
    let mut rows = Rows::new(&copied, expected.len());
    let row = rows.next_row().unwrap().unwrap();
    let texts = row.cells().map(|cell| String::from_utf8(cell.text().unwrap().to_vec()).unwrap());
    assert_eq!(texts.collect::<Vec<_>>(), expected);
    assert!(rows.next_row().unwrap().is_none());
}
