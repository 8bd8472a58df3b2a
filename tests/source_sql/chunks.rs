//! Reading rows: every row once, markers, and the wait-out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use projectord::model::{EntryNo, Table};
use projectord::source::ChunkRange;
use projectord::source::postgres::snapshot::{
    ChunkRequest, WaitOut, Waiting, copy_text, emit_marker, is_too_slow, read_chunk,
};
use projectord::source::postgres::{Error, catalog, slot};

use super::cluster::{Cluster, Plain, names};

async fn facts(sql: &mut Plain, table: &str) -> Table {
    let read = catalog::read(sql, &names(&[table]), &catalog::KnownIds::new(), "projectord").await.unwrap();
    read.catalog.tables.into_iter().next().unwrap()
}

fn request<'a>(table: &'a Table, oid: u32, range: &'a ChunkRange, rows: u32) -> ChunkRequest<'a> {
    ChunkRequest { begin: EntryNo(1), table, oid, sequence: 0, range, rows, timeout: Duration::from_secs(5) }
}

/// The rows' cells as text; NULL is None.
fn cells(rows: &Bytes) -> Vec<Vec<Option<String>>> {
    let text = |cell: &[u8]| copy_text::value(cell).map(|value| String::from_utf8(value).unwrap());
    let lines = rows.split_inclusive(|byte| *byte == b'\n');
    lines.map(|line| copy_text::cells(&line[..line.len() - 1]).map(text).collect()).collect()
}

/// Walks a relation in chunks of `rows` and returns the cells of all of them.
async fn walk(sql: &Plain, table: &Table, oid: u32, rows: u32) -> Vec<Vec<Option<String>>> {
    let mut all = Vec::new();
    let mut range = ChunkRange::After(None);
    loop {
        let chunk = read_chunk(&sql.client, &request(table, oid, &range, rows)).await.unwrap();
        assert!(chunk.head.rows <= rows);
        all.extend(cells(&chunk.rows));
        if chunk.head.last {
            return all;
        }
        range = ChunkRange::After(chunk.head.last_key);
    }
}

#[tokio::test]
async fn keyset_walk_returns_every_row_once_whatever_the_keys_are() {
    let cluster = Cluster::start(&[]);
    let mut sql = cluster.database("shop").await;
    // A collation that does not sort as bytes do, a domain with a check, and an enum, all in the key.
    sql.run(
        r#"CREATE DOMAIN part AS text COLLATE "en-x-icu" CHECK (VALUE <> 'never');
           CREATE TYPE size AS ENUM ('small', 'LARGE', 'it''s');
           CREATE TABLE odd ("no" int, "Te""xt" part, size size, gone int, payload text, double numeric GENERATED ALWAYS AS ("no" * 2) STORED,
                             PRIMARY KEY ("Te""xt", "no", size));
           ALTER TABLE odd DROP COLUMN gone;
           INSERT INTO odd ("no", "Te""xt", size, payload)
           SELECT n, t, s::size, CASE n % 3 WHEN 0 THEN NULL WHEN 1 THEN t ELSE E'\\N' END
           FROM generate_series(-2, 2) n,
                unnest(ARRAY['', ' ', 'a', 'B', 'b', 'A', '''', '''''', '"', E'\\', E'\\\\', E'\\N', E'\\.', E'a\tb', E'a\nb',
                             E'a\rb', E'\b\f\v', 'ä', 'Ä', 'z', '日本', '🦀', E'e\u0301', 'é', '(1,2)', '$1', '%s', ',', 'null', 'NULL']) t,
                unnest(ARRAY['small', 'LARGE', 'it''s']) s;"#,
    )
    .await;
    let table = facts(&mut sql, "public.odd").await;
    sql.run("SET search_path = pg_temp").await;
    let mut expected: Vec<_> = sql
        .client
        .simple_query(r#"SELECT "no", "Te""xt", size, payload FROM public.odd"#)
        .await
        .unwrap()
        .iter()
        .filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => {
                Some((0..4).map(|column| row.get(column).map(str::to_owned)).collect::<Vec<_>>())
            }
            _ => None,
        })
        .collect();
    expected.sort();
    assert_eq!(expected.len(), 450);
    for rows in [1, 7, 149, 450, 1000] {
        let mut found = walk(&sql, &table, table.oid, rows).await;
        found.sort();
        assert_eq!(found, expected, "in chunks of {rows}");
    }

    let chunk =
        read_chunk(&sql.client, &request(&table, table.oid, &ChunkRange::After(None), 3)).await.unwrap();
    let columns: Vec<_> =
        chunk.head.columns.iter().map(|(attnum, name, _)| (*attnum, name.as_str())).collect();
    assert_eq!(columns, [(1, "no"), (2, "Te\"xt"), (3, "size"), (5, "payload")]);
    assert!(!chunk.head.last && !chunk.head.keys_only);

    // Chosen keys: those that exist, once, and the rest silently not.
    let key = |text: &str, no: &str, size: &str| vec![text.to_owned(), no.to_owned(), size.to_owned()];
    let keys = vec![key("\\N", "2", "it's"), key("a\nb", "-2", "LARGE"), key("absent", "1", "small")];
    let range = ChunkRange::Keys(keys);
    let chunk = read_chunk(&sql.client, &request(&table, table.oid, &range, 1)).await.unwrap();
    let found: Vec<_> = cells(&chunk.rows).into_iter().map(|row| row[1].clone().unwrap()).collect();
    assert_eq!(
        (found, chunk.head.last, chunk.head.keys_only),
        (vec!["\\N".to_owned(), "a\nb".to_owned()], true, true)
    );
    let none =
        read_chunk(&sql.client, &request(&table, table.oid, &ChunkRange::Keys(Vec::new()), 1)).await.unwrap();
    assert_eq!((none.head.rows, none.head.last, none.head.last_key), (0, true, None));
}

#[tokio::test]
async fn a_chunk_reads_one_leaf_by_its_index_and_notices_what_has_changed() {
    let cluster = Cluster::start(&[]);
    let mut sql = cluster.database("shop").await;
    sql.run(
        "CREATE TABLE orders (id int, region int, note text, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
         CREATE TABLE east (note text, gone int, region int NOT NULL, id int NOT NULL); ALTER TABLE east DROP gone;
         ALTER TABLE orders ATTACH PARTITION east FOR VALUES IN (1);
         CREATE TABLE west PARTITION OF orders FOR VALUES IN (2);
         INSERT INTO orders SELECT n, 1 + n % 2, 'n' FROM generate_series(1, 100000) n;
         CREATE ROLE reader LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader;
         ALTER ROLE reader SET default_transaction_read_only = on; ALTER ROLE reader SET datestyle = 'SQL, DMY';",
    )
    .await;
    let table = facts(&mut sql, "public.orders").await;
    let [east, west] = [table.leaves[0].oid, table.leaves[1].oid];
    assert_eq!(walk(&sql, &table, east, 20_000).await.len(), 50_000);
    assert_eq!(walk(&sql, &table, west, 30_000).await.len(), 50_000);

    // A leaf that was attached has its own column numbers; the rows still come in the root's order.
    let range = ChunkRange::After(Some(vec!["1".to_owned(), "49999".to_owned()]));
    let reader = cluster.connect("shop", "reader").await;
    let _ = read_chunk(&reader.client, &request(&table, west, &range, 10)).await.unwrap();
    let chunk = read_chunk(&reader.client, &request(&table, east, &range, 2)).await.unwrap();
    assert_eq!(chunk.head.columns.iter().map(|(attnum, ..)| *attnum).collect::<Vec<_>>(), [4, 3, 1]);
    // The region of an even number is 1.
    assert_eq!(&chunk.rows[..], b"50000\t1\tn\n50002\t1\tn\n");

    // Every chunk came by the key's index although the table was never analyzed.
    sql.until("SELECT (idx_scan >= 2)::text FROM pg_stat_all_tables WHERE relname = 'west'", "true").await;
    assert_eq!(sql.text("SELECT seq_tup_read FROM pg_stat_all_tables WHERE relname = 'west'").await, "0");

    // Somebody holds the table for DDL: too slow, and the session is free for the next try.
    let mut ddl = cluster.connect("shop", "postgres").await;
    ddl.run("BEGIN; LOCK TABLE public.west IN ACCESS EXCLUSIVE MODE").await;
    let error = read_chunk(&sql.client, &request(&table, west, &range, 10)).await.err().unwrap();
    assert!(is_too_slow(&error), "{error}");
    ddl.run("ROLLBACK").await;
    let mut hurried = request(&table, west, &range, 50_000);
    hurried.timeout = Duration::from_millis(1);
    let error = read_chunk(&sql.client, &hurried).await.err().unwrap();
    assert!(is_too_slow(&error), "{error}");
    assert_eq!(sql.text("SELECT pg_current_xact_id_if_assigned() IS NULL").await, "t");

    let mut check_changed = async |ddl: &str| {
        sql.run(ddl).await;
        let error = read_chunk(&sql.client, &request(&table, west, &range, 10)).await.err().unwrap();
        assert!(matches!(error, Error::Refused { code: "table-changed", .. }), "{ddl}: {error}");
    };
    check_changed("ALTER TABLE orders RENAME note TO remark").await;
    check_changed("ALTER TABLE orders RENAME remark TO note; ALTER TABLE west RENAME TO was; ALTER TABLE east RENAME TO west").await;
    check_changed("DROP TABLE orders").await;
}

#[tokio::test]
async fn a_chunk_that_would_be_too_large_ends_early_and_goes_on_behind_its_last_row() {
    let cluster = Cluster::start(&[]);
    let mut sql = cluster.database("shop").await;
    sql.run(
        "CREATE TABLE big (id int PRIMARY KEY, v text);
         INSERT INTO big SELECT n, repeat('x', 6000000) FROM generate_series(1, 12) n;",
    )
    .await;
    let table = facts(&mut sql, "public.big").await;
    let found = walk(&sql, &table, table.oid, 100).await;
    let ids: Vec<_> = found.iter().map(|row| row[0].clone().unwrap().parse::<i32>().unwrap()).collect();
    assert_eq!(ids, (1..=12).collect::<Vec<_>>());
    let first =
        read_chunk(&sql.client, &request(&table, table.oid, &ChunkRange::After(None), 100)).await.unwrap();
    assert_eq!(
        (first.head.rows, first.head.last, first.head.last_key),
        (5, false, Some(vec!["5".to_owned()]))
    );
}

#[tokio::test]
async fn markers_come_back_in_the_stream_and_row_security_is_an_error() {
    let cluster = Cluster::start(&[]);
    let mut sql = cluster.database("shop").await;
    sql.run(
        "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2); CREATE PUBLICATION p FOR TABLE t;
         CREATE ROLE reader LOGIN; GRANT SELECT ON t TO reader; ALTER ROLE reader SET default_transaction_read_only = on;",
    )
    .await;
    let table = facts(&mut sql, "public.t").await;
    slot::create(&mut sql, "s").await.unwrap();
    let reader = cluster.connect("shop", "reader").await;
    let chunk =
        read_chunk(&reader.client, &request(&table, table.oid, &ChunkRange::After(None), 5)).await.unwrap();
    let (held, marker) = chunk.hold("it's \\ chunk 1".to_owned());
    marker.emit().await.unwrap();
    emit_marker(&reader.client, "L").await.unwrap();
    assert_eq!(&held.rows[..], b"1\n2\n");
    let messages = "SELECT pg_catalog.string_agg(pg_catalog.encode(data, 'escape'), '|') FROM pg_catalog.pg_logical_slot_get_binary_changes(
        's', NULL, NULL, 'proto_version', '1', 'publication_names', 'p', 'messages', 'true')";
    let seen = sql.text(messages).await;
    let first = seen.find("it's \\\\ chunk 1").unwrap_or_else(|| panic!("{seen}"));
    assert!(seen[first..].contains("projectord\\000") && seen.matches("projectord").count() == 2, "{seen}");

    sql.run("ALTER TABLE public.t ENABLE ROW LEVEL SECURITY; CREATE POLICY one ON public.t USING (id = 1)")
        .await;
    let error = read_chunk(&reader.client, &request(&table, table.oid, &ChunkRange::After(None), 5))
        .await
        .err()
        .unwrap();
    assert!(matches!(&error, Error::Server { sqlstate, .. } if sqlstate == "42501"), "{error}");
    assert_eq!(reader.client.simple_query("SELECT 1").await.unwrap().len(), 3);
}

/// Returns once commits wait for a standby. A session that shows the new setting proves nothing: a commit waits
/// only after the checkpointer has read it, too, and until then ends at once. So one session commits until it hangs.
async fn commits_wait(cluster: &Cluster, sql: &mut Plain) {
    let mut probe = cluster.connect("shop", "postgres").await;
    let pid: i32 = probe.text("SELECT pg_backend_pid()").await.parse().unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let committing = {
        let over = Arc::clone(&over);
        tokio::spawn(async move {
            while !over.load(Ordering::Relaxed) {
                probe.run("SELECT pg_logical_emit_message(true, 'probe', '')").await;
            }
        })
    };
    sql.until(&format!("SELECT wait_event FROM pg_stat_activity WHERE pid = {pid}"), "SyncRep").await;
    over.store(true, Ordering::Relaxed);
    // The commit stands; only its waiting ends.
    sql.run(&format!("SELECT pg_cancel_backend({pid})")).await;
    committing.await.unwrap();
}

/// Hazard 9: a commit that waits for a standby has been streamed and cannot be seen yet. A chunk that was
/// read now would be stale for ever.
#[tokio::test]
async fn wait_out_waits_for_a_commit_that_is_streamed_but_not_visible_and_names_it() {
    let cluster = Cluster::start(&[]);
    let mut sql = cluster.database("shop").await;
    sql.run("CREATE TABLE t (id int PRIMARY KEY, x int); INSERT INTO t VALUES (1, 0)").await;
    let table = facts(&mut sql, "public.t").await;
    let quiet = WaitOut::begin(&mut sql).await.unwrap();
    assert_eq!(quiet.poll(&mut sql).await.unwrap(), Waiting::Over);

    sql.run("ALTER SYSTEM SET synchronous_standby_names = 'nobody'").await;
    sql.run("SELECT pg_reload_conf(); SET synchronous_commit = local").await;
    sql.until("SHOW synchronous_standby_names", "nobody").await;
    commits_wait(&cluster, &mut sql).await;
    let mut writer = cluster.connect("shop", "postgres").await;
    let pid: i32 = writer.text("SELECT pg_backend_pid()").await.parse().unwrap();
    let writing = tokio::spawn(async move { writer.run("UPDATE public.t SET x = 1").await });
    sql.until(&format!("SELECT wait_event FROM pg_stat_activity WHERE pid = {pid}"), "SyncRep").await;
    let mut other = cluster.connect("postgres", "postgres").await;
    other.run("SET synchronous_commit = local; BEGIN; SELECT pg_current_xact_id()").await;
    let mut prepared = cluster.connect("shop", "postgres").await;
    prepared
        .run("SET synchronous_commit = local; BEGIN; INSERT INTO t VALUES (2, 0); PREPARE TRANSACTION 'held'")
        .await;

    // The marker itself must not wait for the standby.
    emit_marker(&sql.client, "L").await.unwrap();
    let wait = WaitOut::begin(&mut sql).await.unwrap();
    let chunk =
        read_chunk(&sql.client, &request(&table, table.oid, &ChunkRange::After(None), 5)).await.unwrap();
    assert_eq!(&chunk.rows[..], b"1\t0\n", "the premise: the commit is not visible");
    let Waiting::For(blockers) = wait.poll(&mut sql).await.unwrap() else { panic!("it did not wait") };
    let committing = blockers.iter().find(|blocker| blocker.pid == Some(pid)).unwrap();
    assert_eq!(committing.state.as_deref(), Some("active (SyncRep)"));
    assert!(blockers.iter().any(|blocker| blocker.database == "postgres"));
    assert!(blockers.iter().any(|blocker| blocker.prepared.as_deref() == Some("held")));
    assert_eq!(blockers.len(), 3, "{blockers:?}");

    // Whoever begins later is not waited for.
    let mut late = cluster.connect("shop", "postgres").await;
    late.run("SET synchronous_commit = local; BEGIN; SELECT pg_current_xact_id()").await;
    other.run("COMMIT").await;
    prepared.run("COMMIT PREPARED 'held'").await;
    let Waiting::For(blockers) = wait.poll(&mut sql).await.unwrap() else { panic!("it did not wait") };
    assert_eq!(blockers.iter().map(|blocker| blocker.pid).collect::<Vec<_>>(), [Some(pid)]);

    sql.run("ALTER SYSTEM RESET synchronous_standby_names").await;
    sql.run("SELECT pg_reload_conf()").await;
    writing.await.unwrap();
    assert_eq!(wait.poll(&mut sql).await.unwrap(), Waiting::Over);
    let chunk =
        read_chunk(&sql.client, &request(&table, table.oid, &ChunkRange::After(None), 5)).await.unwrap();
    assert_eq!(&chunk.rows[..], b"1\t1\n2\t0\n");
}
