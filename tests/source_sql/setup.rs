//! The script for the owner of the database, and what publication and slot are made of.

use projectord::source::postgres::gate::{self, Expected, NeededTable};
use projectord::source::postgres::snapshot::estimate_rows;
use projectord::source::postgres::{Error, Options, publication, setup_sql, slot};

use super::cluster::{Cluster, names};

#[tokio::test]
async fn printed_script_runs_twice_where_it_can_and_the_gate_then_passes_for_plain_roles() {
    let cluster = Cluster::start(&[("max_slot_wal_keep_size", "1GB")]);
    let mut owner = cluster.database("shop").await;
    owner
        .run(
            r#"CREATE SCHEMA "Odd ""schema";
               CREATE TABLE "Odd ""schema"."it's" (id int PRIMARY KEY);
               CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY RANGE (id);
               CREATE TABLE leaf PARTITION OF parted FOR VALUES FROM (0) TO (9);"#,
        )
        .await;
    let tables =
        vec![("Odd \"schema".to_owned(), "it's".to_owned()), ("public".to_owned(), "parted".to_owned())];
    let mut options = cluster.options("shop");
    options.user = "stream".to_owned();
    options.read_user = Some("reader's".to_owned());
    options.manage = false;
    let script = setup_sql::script(&options, &tables);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &script).unwrap();
    cluster.psql("shop", file.path()).unwrap_or_else(|error| panic!("{error}\n{script}"));

    let needed = |(schema, name): &(String, String)| NeededTable {
        schema: schema.clone(),
        name: name.clone(),
        columns: None,
    };
    let expected = Expected::new(&options, tables.iter().map(needed).collect(), None, None);
    let mut stream = cluster.connect("shop", "stream").await;
    let passed = gate::check(&mut stream, &expected).await.unwrap();
    assert_eq!(passed.warnings, []);
    assert_eq!(passed.joined.len(), 2);
    assert!(passed.slot.unwrap().confirmed_flush.is_some());
    let mut reader = cluster.connect("shop", "reader's").await;
    assert_eq!(reader.text("SELECT count(*) FROM leaf").await, "0");

    let version: u32 = owner.text("SHOW server_version_num").await.parse().unwrap();
    let made = slot::state(&mut owner, "projectord").await.unwrap().unwrap();
    assert_eq!(made.failover, version >= 170_000);

    // Roles that are there already are no error; a publication that is there is one.
    let again = cluster.psql("shop", file.path()).unwrap_err();
    assert!(again.contains("publication \"projectord\" already exists"), "{again}");
}

/// What would break the application ends the script before the publication, and names every such table.
#[tokio::test]
async fn printed_script_publishes_nothing_when_a_table_has_no_usable_key() {
    let cluster = Cluster::start(&[]);
    let mut owner = cluster.database("shop").await;
    owner
        .run(
            "CREATE TABLE good (id int PRIMARY KEY); CREATE TABLE nokey (id int);
             CREATE TABLE late (id int PRIMARY KEY DEFERRABLE);
             CREATE TABLE whole (id int); ALTER TABLE whole REPLICA IDENTITY FULL;
             CREATE TABLE parted (id int) PARTITION BY RANGE (id);
             CREATE TABLE leaf PARTITION OF parted FOR VALUES FROM (0) TO (9); ALTER TABLE leaf ADD PRIMARY KEY (id);",
        )
        .await;
    let script = |tables: &[&str]| {
        let options = Options { manage: false, ..cluster.options("shop") };
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), setup_sql::script(&options, &names(tables))).unwrap();
        cluster.psql_on_and_on("shop", file.path())
    };
    let all = ["public.good", "public.nokey", "public.late", "public.whole", "public.parted"];
    let refused = script(&all);
    let named = refused.split("no usable key in ").nth(1).and_then(|rest| rest.lines().next());
    let mut named: Vec<&str> = named.unwrap_or_default().split(", ").collect();
    named.sort_unstable();
    assert_eq!(named, ["late", "nokey", "parted"], "{refused}");
    assert_eq!(publication::state(&mut owner, "projectord").await.unwrap(), None);
    assert_eq!(slot::state(&mut owner, "projectord").await.unwrap(), None);
    assert!(refused.contains("no slot is made before the publication"), "{refused}");
    assert_eq!(script(&["public.good", "public.whole"]), "");
    assert!(slot::state(&mut owner, "projectord").await.unwrap().is_some());
}

#[tokio::test]
async fn publication_and_slot_are_made_as_described_and_harmful_tables_are_refused_first() {
    let cluster = Cluster::start(&[]);
    let mut sql = cluster.database("shop").await;
    sql.run(
        "CREATE TABLE orders (id int PRIMARY KEY); CREATE TABLE lines (id int PRIMARY KEY);
         CREATE TABLE nokey (id int); INSERT INTO orders SELECT generate_series(1, 500);",
    )
    .await;
    let refused = publication::create(&mut sql, "p", &names(&["public.orders", "public.nokey"])).await;
    assert!(matches!(refused, Err(Error::Refused { code: "table-no-key", .. })), "{refused:?}");
    assert_eq!(publication::state(&mut sql, "p").await.unwrap(), None);
    publication::create(&mut sql, "p", &names(&["public.orders"])).await.unwrap();
    let refused = publication::add_tables(&mut sql, "p", &names(&["public.nokey"])).await;
    assert!(matches!(refused, Err(Error::Refused { code: "table-no-key", .. })), "{refused:?}");
    publication::add_tables(&mut sql, "p", &names(&["public.lines"])).await.unwrap();
    let state = publication::state(&mut sql, "p").await.unwrap().unwrap();
    assert!(state.insert && state.update && state.delete && state.truncate);
    assert!(!state.via_root && !state.all_tables && state.schemas.is_empty() && !state.generated_columns);
    assert_eq!(
        state.members.iter().map(|member| member.name.as_str()).collect::<Vec<_>>(),
        ["orders", "lines"]
    );

    // A transaction of another database holds up the slot, and is named.
    let mut other = cluster.connect("postgres", "postgres").await;
    other.run("BEGIN; SELECT pg_current_xact_id()").await;
    let mut creator = cluster.connect("shop", "postgres").await;
    let pid: i32 = creator.text("SELECT pg_backend_pid()").await.parse().unwrap();
    let creating = tokio::spawn(async move { slot::create(&mut creator, "s").await });
    sql.until(&format!("SELECT wait_event FROM pg_stat_activity WHERE pid = {pid}"), "transactionid").await;
    let blockers = slot::waits_for(&mut sql, pid).await.unwrap();
    let [blocker] = blockers.as_slice() else { panic!("{blockers:?}") };
    assert_eq!(
        (blocker.database.as_str(), blocker.state.as_deref()),
        ("postgres", Some("idle in transaction (ClientRead)"))
    );
    other.run("COMMIT").await;
    let point = creating.await.unwrap().unwrap();
    let state = slot::state(&mut sql, "s").await.unwrap().unwrap();
    assert_eq!((state.confirmed_flush, state.wal_status.as_deref()), (Some(point), Some("reserved")));
    assert_eq!((state.plugin.as_deref(), state.database.as_deref()), (Some("pgoutput"), Some("shop")));
    assert!(state.restart.unwrap() <= point && point <= state.server_flush);
    assert_eq!(state.retained_bytes(), state.server_flush.bytes_since(state.restart.unwrap()));
    let version: u32 = sql.text("SHOW server_version_num").await.parse().unwrap();
    assert_eq!(state.failover, version >= 170_000);
    sql.run("INSERT INTO public.lines SELECT generate_series(1, 1000)").await;
    let flush = slot::server_flush(&mut sql).await.unwrap();
    let later = slot::state(&mut sql, "s").await.unwrap().unwrap();
    assert!(flush > state.server_flush && later.retained_bytes() > state.retained_bytes());
    assert!(slot::drop(&mut sql, "s").await.unwrap());
    assert!(!slot::drop(&mut sql, "s").await.unwrap());

    let oid: u32 = sql.text("SELECT 'public.orders'::regclass::oid").await.parse().unwrap();
    assert_eq!(estimate_rows(&mut sql, &[oid]).await.unwrap(), None);
    sql.run("ANALYZE public.orders").await;
    assert_eq!(estimate_rows(&mut sql, &[oid]).await.unwrap(), Some(500));
}
