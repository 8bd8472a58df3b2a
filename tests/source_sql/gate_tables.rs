//! The gate again: what is wrong with tables and with the publication.

use projectord::source::postgres::gate::{self, Expected};
use projectord::source::postgres::{Error, publication};

use super::cluster::{Plain, names};
use super::gate::{code, needed, outcome, shop};

/// What is changed in the database, changed in the expectation, seen, and put right again.
type Case<'a> = (&'a str, Adapt, &'a str, &'a str);

type Adapt = fn(&mut Expected);

fn as_it_was(_: &mut Expected) {}

/// A first start, which has nothing recorded.
fn first(expected: &mut Expected) {
    expected.recorded = None;
}

async fn check(sql: &mut Plain, expected: &Expected, (change, adapt, code, undo): Case<'_>) {
    for statement in change.split(';').filter(|statement| !statement.trim().is_empty()) {
        sql.run(statement).await;
    }
    let mut adapted = expected.clone();
    adapt(&mut adapted);
    assert_eq!(outcome(sql, &adapted).await, code, "after {change}");
    for statement in undo.split(';').filter(|statement| !statement.trim().is_empty()) {
        sql.run(statement).await;
    }
    assert_eq!(outcome(sql, expected).await, "passed", "after {change} was undone by {undo}");
}

#[tokio::test]
async fn tables_that_cannot_be_followed_are_refused() {
    let (_cluster, mut sql, expected) = shop(&[]).await;
    let cases: &[Case<'_>] = &[
        (
            "ALTER TABLE public.orders REPLICA IDENTITY NOTHING",
            as_it_was,
            "table-no-key",
            "ALTER TABLE public.orders REPLICA IDENTITY DEFAULT",
        ),
        ("ALTER TABLE public.orders REPLICA IDENTITY FULL", as_it_was, "passed", ""),
        (
            "ALTER TABLE public.orders DROP CONSTRAINT orders_pkey",
            as_it_was,
            "table-no-key",
            "ALTER TABLE public.orders ADD PRIMARY KEY (id)",
        ),
        (
            "ALTER TABLE public.orders REPLICA IDENTITY DEFAULT; ALTER TABLE public.orders DROP CONSTRAINT orders_pkey, ADD PRIMARY KEY (id) DEFERRABLE",
            as_it_was,
            "table-no-key",
            "ALTER TABLE public.orders DROP CONSTRAINT orders_pkey, ADD PRIMARY KEY (id)",
        ),
        (
            "ALTER TABLE public.orders ALTER total SET NOT NULL; CREATE UNIQUE INDEX i ON public.orders (total); ALTER TABLE public.orders REPLICA IDENTITY USING INDEX i; DROP INDEX public.i",
            as_it_was,
            "table-no-key",
            "ALTER TABLE public.orders REPLICA IDENTITY DEFAULT",
        ),
        (
            "ALTER TABLE public.leaf REPLICA IDENTITY NOTHING",
            as_it_was,
            "table-no-key",
            "ALTER TABLE public.leaf REPLICA IDENTITY DEFAULT",
        ),
        (
            "CREATE TABLE public.child () INHERITS (public.orders)",
            as_it_was,
            "table-inheritance",
            "DROP TABLE public.child",
        ),
        (
            "ALTER TABLE public.orders ENABLE ROW LEVEL SECURITY",
            as_it_was,
            "table-row-security",
            "ALTER TABLE public.orders DISABLE ROW LEVEL SECURITY",
        ),
        (
            "ALTER TABLE public.orders ENABLE ROW LEVEL SECURITY",
            |e| e.read_role = None,
            "passed",
            "ALTER TABLE public.orders DISABLE ROW LEVEL SECURITY",
        ),
        (
            "REVOKE SELECT ON public.leaf FROM reader",
            as_it_was,
            "table-no-right",
            "GRANT SELECT ON public.leaf TO reader",
        ),
        (
            "REVOKE USAGE ON SCHEMA public FROM public",
            as_it_was,
            "table-no-right",
            "GRANT USAGE ON SCHEMA public TO public",
        ),
        ("", |e| e.read_role = Some("absent".to_owned()), "table-no-right", ""),
        ("", |e| e.tables[0].columns = Some(vec!["tax".to_owned()]), "column-generated", ""),
        ("", |e| e.tables.extend(needed(&["public.absent"])), "table-missing", ""),
        ("", |e| e.tables.extend(needed(&["public.spare"])), "publication-lacks-table", ""),
    ];
    for case in cases {
        check(&mut sql, &expected, *case).await;
    }

    // PostgreSQL itself refuses to publish these; a table can become one of them, or get them, before.
    sql.run("CREATE UNLOGGED TABLE public.volatile (id int PRIMARY KEY)").await;
    let refused = publication::add_tables(&mut sql, "projectord", &names(&["public.volatile"])).await;
    assert!(matches!(refused, Err(Error::Refused { code: "table-unlogged", .. })), "{refused:?}");
    sql.run("CREATE TABLE public.far (id int PRIMARY KEY) PARTITION BY LIST (id)").await;
    sql.run("ALTER TABLE public.far DROP CONSTRAINT far_pkey").await;
    sql.run("CREATE FOREIGN TABLE public.away PARTITION OF public.far DEFAULT SERVER nowhere").await;
    let mut with_far = expected.clone();
    with_far.tables = needed(&["public.far", "public.volatile"]);
    let report = gate::check_all(&mut sql, &with_far).await.unwrap();
    let codes: Vec<_> = report.problems.iter().map(code).collect();
    assert_eq!(
        codes,
        [
            "publication-lacks-table",
            "table-no-key",
            "table-foreign-partition",
            "publication-lacks-table",
            "table-unlogged",
            "table-no-right"
        ]
    );

    // With nobody to say which columns are used, a generated one is a doubt.
    let mut unsure = expected.clone();
    unsure.tables[0].columns = None;
    let passed = gate::check(&mut sql, &unsure).await.unwrap();
    let warned: Vec<_> = passed.warnings.iter().map(|warning| warning.code).collect();
    assert_eq!(warned, ["source-unlimited-wal", "column-generated"]);
}

#[tokio::test]
async fn a_publication_that_is_another_or_of_another_shape_is_refused() {
    let (_cluster, mut sql, expected) = shop(&[]).await;
    let version: u32 = sql.text("SHOW server_version_num").await.parse().unwrap();
    let create = "CREATE PUBLICATION projectord FOR TABLE public.orders, public.parted";
    let back = "DROP PUBLICATION IF EXISTS projectord; ALTER PUBLICATION kept RENAME TO projectord";
    let away = "ALTER PUBLICATION projectord RENAME TO kept";
    let mut cases: Vec<(String, Adapt, &str)> = vec![
        (String::new(), as_it_was, "publication-missing"),
        (String::new(), first, "publication-missing"),
        (create.to_owned(), as_it_was, "publication-changed"),
        (create.to_owned(), first, "passed"),
        ("CREATE PUBLICATION projectord FOR ALL TABLES".to_owned(), first, "publication-shape"),
        (format!("{create} WITH (publish = 'insert, update, delete')"), first, "publication-shape"),
        (format!("{create} WITH (publish_via_partition_root = true)"), first, "publication-shape"),
        (
            "CREATE PUBLICATION projectord FOR TABLE public.orders".to_owned(),
            first,
            "publication-lacks-table",
        ),
    ];
    if version >= 150_000 {
        cases.push((
            "CREATE PUBLICATION projectord FOR TABLE public.orders (id), public.parted".to_owned(),
            first,
            "publication-shape",
        ));
        cases.push((
            "CREATE PUBLICATION projectord FOR TABLE public.orders WHERE (id > 0), public.parted".to_owned(),
            first,
            "publication-shape",
        ));
        cases.push((
            "CREATE PUBLICATION projectord FOR TABLES IN SCHEMA public".to_owned(),
            first,
            "publication-shape",
        ));
    }
    if version >= 180_000 {
        cases.push((
            format!("{create} WITH (publish_generated_columns = stored)"),
            first,
            "publication-shape",
        ));
    }
    for (change, adapt, code) in &cases {
        let change = format!("{away}; {change}");
        check(&mut sql, &expected, (&change, *adapt, code, back)).await;
    }
    check(
        &mut sql,
        &expected,
        (
            "ALTER PUBLICATION projectord ADD TABLE public.spare",
            as_it_was,
            "passed",
            "ALTER PUBLICATION projectord DROP TABLE public.spare",
        ),
    )
    .await;
    sql.run("ALTER PUBLICATION projectord ADD TABLE public.spare").await;
    let passed = gate::check(&mut sql, &expected).await.unwrap();
    let spare: u32 = sql.text("SELECT 'public.spare'::regclass::oid").await.parse().unwrap();
    assert_eq!(passed.joined, [spare]);
    sql.run("ALTER PUBLICATION projectord DROP TABLE public.orders").await;
    assert_eq!(outcome(&mut sql, &expected).await, "publication-lacks-table");
    sql.run("ALTER PUBLICATION projectord ADD TABLE public.orders").await;
    let passed = gate::check(&mut sql, &expected).await.unwrap();
    let orders: u32 = sql.text("SELECT 'public.orders'::regclass::oid").await.parse().unwrap();
    let mut joined = [spare, orders];
    joined.sort_unstable();
    assert_eq!(passed.joined, joined, "away for a moment is joined again");

    // Before the first start the check command knows that `run` will create it.
    sql.run("DROP PUBLICATION projectord").await;
    let mut unborn = expected.clone();
    (unborn.recorded, unborn.journal_end) = (None, None);
    let report = gate::check_all(&mut sql, &unborn).await.unwrap();
    assert!(
        report.problems.is_empty()
            && report.warnings.iter().any(|warning| warning.code == "publication-missing")
    );
    unborn.manage = false;
    let report = gate::check_all(&mut sql, &unborn).await.unwrap();
    assert_eq!(report.problems.iter().map(code).collect::<Vec<_>>(), ["publication-missing"]);
}
