//! The gate: every refusal that one server can be brought to, provoked for real.

use projectord::model::Lsn;
use projectord::source::Identity;
use projectord::source::postgres::gate::{self, Expected, NeededTable};
use projectord::source::postgres::{Error, publication, slot};

use super::cluster::{Cluster, Plain, names};

const SETUP: &str = "
    CREATE TABLE orders (id int PRIMARY KEY, total int, tax int GENERATED ALWAYS AS (total / 10) STORED);
    CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY RANGE (id);
    CREATE TABLE leaf PARTITION OF parted FOR VALUES FROM (0) TO (10);
    CREATE TABLE spare (id int PRIMARY KEY);
    CREATE ROLE reader LOGIN; GRANT SELECT ON orders, leaf TO reader;
    CREATE ROLE plain LOGIN;
    CREATE SERVER nowhere FOREIGN DATA WRAPPER dummy;";

const SHOP: &[&str] = &["public.orders", "public.parted"];

/// A cluster with a database that passes, and what it is expected to be.
pub async fn shop(settings: &[(&str, &str)]) -> (Cluster, Plain, Expected) {
    let cluster = Cluster::start(settings);
    let mut sql = cluster.database("shop").await;
    sql.run("CREATE FOREIGN DATA WRAPPER dummy").await;
    sql.run(SETUP).await;
    publication::create(&mut sql, "projectord", &names(SHOP)).await.unwrap();
    let point = slot::create(&mut sql, "projectord").await.unwrap();
    let mut options = cluster.options("shop");
    options.read_user = Some("reader".to_owned());
    let mut expected = Expected::new(&options, needed(SHOP), None, Some(point));
    let passed = gate::check(&mut sql, &expected).await.unwrap();
    expected.recorded = Some(passed.identity);
    sql.run("SET search_path = public").await;
    (cluster, sql, expected)
}

pub fn needed(tables: &[&str]) -> Vec<NeededTable> {
    let one = |(schema, name)| NeededTable { schema, name, columns: Some(vec!["id".to_owned()]) };
    names(tables).into_iter().map(one).collect()
}

/// `refused` by this code, or "retry", or "passed".
pub async fn outcome(sql: &mut Plain, expected: &Expected) -> String {
    match gate::check(sql, expected).await {
        Ok(_) => "passed".to_owned(),
        Err(Error::Refused { code, reason, hint, .. }) => {
            assert!(!reason.contains('\n') && !hint.contains('\n') && !hint.is_empty(), "{reason} {hint}");
            code.to_owned()
        }
        Err(Error::Retry { .. }) => "retry".to_owned(),
        Err(other) => panic!("{other}"),
    }
}

pub fn code(problem: &Error) -> &'static str {
    match problem {
        Error::Refused { code, .. } => code,
        Error::Retry { .. } => "retry",
        _ => "other",
    }
}

#[tokio::test]
async fn a_slot_that_is_not_the_one_that_the_journal_continues_is_refused() {
    let (cluster, mut sql, expected) = shop(&[("max_slot_wal_keep_size", "2MB")]).await;
    let end = expected.journal_end.unwrap();
    let with_slot = |name: &str| Expected { slot: name.to_owned(), ..expected.clone() };

    let mut unborn = with_slot("absent");
    assert_eq!(outcome(&mut sql, &unborn).await, "slot-missing");
    unborn.journal_end = None;
    assert_eq!(outcome(&mut sql, &unborn).await, "passed");
    unborn.manage = false;
    assert_eq!(outcome(&mut sql, &unborn).await, "slot-missing");

    sql.run("SELECT pg_create_physical_replication_slot('physical')").await;
    assert_eq!(outcome(&mut sql, &with_slot("physical")).await, "slot-wrong-plugin");
    sql.run("SELECT pg_create_logical_replication_slot('decoding', 'test_decoding')").await;
    assert_eq!(outcome(&mut sql, &with_slot("decoding")).await, "slot-wrong-plugin");
    let mut other = cluster.connect("postgres", "postgres").await;
    slot::create(&mut other, "elsewhere").await.unwrap();
    assert_eq!(outcome(&mut sql, &with_slot("elsewhere")).await, "slot-wrong-database");
    sql.run("SELECT pg_create_logical_replication_slot('prepared', 'pgoutput', false, true)").await;
    let mut prepared = with_slot("prepared");
    prepared.journal_end = None;
    assert_eq!(outcome(&mut sql, &prepared).await, "slot-two-phase");

    // In use by somebody else: worth another try, and named.
    let stream = cluster.stream("shop", "projectord", "projectord");
    let pid =
        "SELECT COALESCE(active_pid::text, '') FROM pg_replication_slots WHERE slot_name = 'projectord'";
    sql.until("SELECT active::text FROM pg_replication_slots WHERE slot_name = 'projectord'", "true").await;
    let streaming: i32 = sql.text(pid).await.parse().unwrap();
    let error = gate::check(&mut sql, &expected).await.unwrap_err();
    let Error::Retry { reason, .. } = error else { panic!("{error}") };
    assert!(reason.contains(&streaming.to_string()) && reason.contains("pg_recvlogical"), "{reason}");
    let confirmed = gate::confirmed_again(&mut sql, "projectord", streaming, Lsn(u64::MAX)).await.unwrap();
    assert!(confirmed >= end);
    let error = gate::confirmed_again(&mut sql, "projectord", streaming, Lsn(1)).await.unwrap_err();
    assert_eq!(code(&error), "slot-advanced");
    let error = gate::confirmed_again(&mut sql, "projectord", 1, Lsn(u64::MAX)).await.unwrap_err();
    assert_eq!(code(&error), "retry");
    drop(stream);
    sql.until(pid, "").await;
    let error = gate::confirmed_again(&mut sql, "projectord", streaming, Lsn(u64::MAX)).await.unwrap_err();
    assert_eq!(code(&error), "retry");

    // Another consumer took one transaction; then, made again under the same name.
    sql.run("INSERT INTO public.orders VALUES (1, 1)").await;
    sql.run("SELECT pg_replication_slot_advance('projectord', pg_current_wal_flush_lsn())").await;
    assert_eq!(outcome(&mut sql, &expected).await, "slot-advanced");
    sql.run("SELECT pg_drop_replication_slot('projectord')").await;
    assert_eq!(outcome(&mut sql, &expected).await, "slot-missing");
    let error = gate::confirmed_again(&mut sql, "projectord", 1, end).await.unwrap_err();
    assert_eq!(code(&error), "slot-missing");
    let again = slot::create(&mut sql, "projectord").await.unwrap();
    assert_eq!(outcome(&mut sql, &expected).await, "slot-advanced");
    // Made again where the journal ends: nothing is missing, so nothing is refused.
    let caught_up = Expected { journal_end: Some(again), ..expected.clone() };
    assert_eq!(outcome(&mut sql, &caught_up).await, "passed");

    for _ in 0..8 {
        sql.run("SELECT pg_logical_emit_message(false, 'noise', repeat('x', 900000))").await;
        sql.run("SELECT pg_switch_wal()").await;
    }
    sql.run("CHECKPOINT").await;
    assert_eq!(outcome(&mut sql, &caught_up).await, "slot-lost");
}

#[tokio::test]
async fn a_server_that_is_not_fit_or_not_the_same_is_refused() {
    let (cluster, mut sql, expected) = shop(&[]).await;
    let record = |change: fn(&mut Identity)| {
        let mut changed = expected.clone();
        change(changed.recorded.as_mut().unwrap());
        changed
    };
    let other_system = record(|identity| identity.system_identifier = "42".to_owned());
    assert_eq!(outcome(&mut sql, &other_system).await, "source-other-system");
    let mut elsewhere = cluster.connect("postgres", "postgres").await;
    assert_eq!(outcome(&mut elsewhere, &expected).await, "source-other-database");
    let ahead = Expected { journal_end: Some(Lsn(u64::MAX)), ..expected.clone() };
    assert_eq!(outcome(&mut sql, &ahead).await, "source-behind");
    let mut plain = cluster.connect("shop", "plain").await;
    assert_eq!(outcome(&mut plain, &expected).await, "source-no-replication-right");
    let mut replicator = cluster.connect("shop", "plain").await;
    sql.run("ALTER ROLE plain REPLICATION").await;
    assert_eq!(outcome(&mut replicator, &expected).await, "passed");
    for (setting, value) in
        [("datestyle", "SQL, DMY"), ("timezone", "Asia/Kolkata"), ("bytea_output", "escape")]
    {
        let mut odd = cluster.connect("shop", "postgres").await;
        odd.run(&format!("SET {setting} = '{value}'")).await;
        assert_eq!(outcome(&mut odd, &expected).await, "source-settings", "{setting}");
    }

    // From here on a commit would wait for a standby that is not there.
    sql.run("SET synchronous_commit = local").await;
    for (names, code) in
        [("*", "source-sync-standby"), ("FIRST 1 (a, Projectord)", "source-sync-standby"), ("a", "passed")]
    {
        sql.run(&format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'")).await;
        sql.run("SELECT pg_reload_conf()").await;
        sql.until("SHOW synchronous_standby_names", names).await;
        assert_eq!(outcome(&mut sql, &expected).await, code, "{names}");
        let paused = gate::pause_check(&mut sql, "projectord").await;
        assert_eq!(paused.as_ref().map_or_else(|error| self::code(error), |()| "passed"), code, "{names}");
    }
    sql.run("ALTER SYSTEM RESET synchronous_standby_names").await;
    drop((sql, plain, replicator, elsewhere));

    // A standby, and the primary that it becomes: the timeline is another one, and where the old one ended an
    // ordinary connection cannot learn.
    cluster.stop_server();
    cluster.become_standby();
    cluster.start_server();
    let mut sql = cluster.connect("shop", "postgres").await;
    assert_eq!(outcome(&mut sql, &expected).await, "source-standby");
    cluster.promote();
    let mut sql = cluster.connect("shop", "postgres").await;
    assert_eq!(outcome(&mut sql, &expected).await, "source-timeline");
    let report = gate::check_all(&mut sql, &expected).await.unwrap();
    assert_eq!(report.problems.iter().map(code).collect::<Vec<_>>(), ["source-timeline"]);
}

#[tokio::test]
async fn wal_level_below_logical_is_refused_and_check_all_names_everything_at_once() {
    let cluster = Cluster::start(&[("wal_level", "replica")]);
    let mut sql = cluster.database("shop").await;
    sql.run("CREATE TABLE nokey (id int)").await;
    let mut options = cluster.options("shop");
    options.manage = false;
    let expected = Expected::new(&options, needed(&["public.nokey", "public.absent"]), None, None);
    assert_eq!(outcome(&mut sql, &expected).await, "source-wal-level");
    let report = gate::check_all(&mut sql, &expected).await.unwrap();
    let codes: Vec<_> = report.problems.iter().map(code).collect();
    assert_eq!(
        codes,
        ["source-wal-level", "publication-missing", "slot-missing", "table-no-key", "table-missing"]
    );
}
