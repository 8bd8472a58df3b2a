//! Facts about tables.

use projectord::model::{ColumnKind, ReplicaIdentity, TableId};
use projectord::source::postgres::catalog::{self, KnownIds, Resolved};

use super::cluster::{Cluster, names};

/// Somebody else's operators and functions, in front of PostgreSQL's own.
const HOSTILE: &str = "
    CREATE SCHEMA evil;
    CREATE FUNCTION evil.equal(oid, oid) RETURNS bool LANGUAGE sql AS 'SELECT false';
    CREATE FUNCTION evil.text_equal(text, text) RETURNS bool LANGUAGE sql AS 'SELECT false';
    CREATE FUNCTION evil.name_equal(name, name) RETURNS bool LANGUAGE sql AS 'SELECT false';
    CREATE OPERATOR evil.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = evil.equal);
    CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.text_equal);
    CREATE OPERATOR evil.= (LEFTARG = name, RIGHTARG = name, FUNCTION = evil.name_equal);
    CREATE TABLE evil.pg_class (oid oid);";

const TABLES: &str = r#"
    CREATE EXTENSION citext; CREATE EXTENSION hstore; CREATE EXTENSION ltree;
    CREATE TYPE status AS ENUM ('new', 'old');
    CREATE TYPE pair AS (a int, b int);
    CREATE DOMAIN cents AS bigint CHECK (VALUE >= 0);
    CREATE DOMAIN more_cents AS cents;
    CREATE DOMAIN cent_list AS more_cents[];
    CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    CREATE TABLE kinds (
        bool bool, i2 int2, i4 int4, i8 int8, oid oid, f4 float4, f8 float8, num numeric(12,2),
        t text, vc varchar(5), n name, ch "char", x xml, ip inet, bp char(3), ci citext,
        d date, ts timestamp(3), tstz timestamptz, ti time, tz timetz, iv interval, u uuid, j json, jb jsonb,
        by bytea, en status, dom more_cents, doms cent_list, a int[], aa text[][], ae status[], ad cents[],
        b box, bs box[], v int2vector, h hstore, lt ltree, r int4range, p pair, m money,
        nc text COLLATE nocase, gone int, "Odd ""name" text,
        g int GENERATED ALWAYS AS (i4 + 1) STORED);
    ALTER TABLE kinds DROP COLUMN gone;
    CREATE SCHEMA sales;
    CREATE TABLE customers (id int PRIMARY KEY, email text NOT NULL UNIQUE, nick text,
        CONSTRAINT later UNIQUE (nick) DEFERRABLE);
    CREATE UNIQUE INDEX partial ON customers (nick) WHERE nick <> '';
    CREATE UNIQUE INDEX expression ON customers (lower(email));
    CREATE UNIQUE INDEX including ON customers (email, id) INCLUDE (nick);
    CREATE TABLE sales.orders (region int, id int, customer int REFERENCES customers, ref text NOT NULL,
        PRIMARY KEY (region, id)) PARTITION BY LIST (region);
    CREATE TABLE sales.one PARTITION OF sales.orders FOR VALUES IN (1);
    CREATE TABLE sales.rest PARTITION OF sales.orders DEFAULT PARTITION BY RANGE (id);
    CREATE TABLE sales.low PARTITION OF sales.rest FOR VALUES FROM (0) TO (10);
    CREATE TABLE lines ("order id" int, region int, no int, sku text NOT NULL, PRIMARY KEY (no, "order id"),
        FOREIGN KEY (region, "order id") REFERENCES sales.orders (region, id));
    CREATE UNIQUE INDEX by_sku ON lines (sku, no);
    ALTER TABLE lines REPLICA IDENTITY USING INDEX by_sku;
    CREATE TABLE full_with_key (id int PRIMARY KEY, v text); ALTER TABLE full_with_key REPLICA IDENTITY FULL;
    CREATE TABLE deferred (id int PRIMARY KEY DEFERRABLE);
    CREATE TABLE nothing (id int PRIMARY KEY); ALTER TABLE nothing REPLICA IDENTITY NOTHING;
    CREATE TABLE sales.customers (id int);
    CREATE VIEW seen AS SELECT 1;"#;

#[tokio::test]
async fn facts_are_read_as_declared_whatever_the_search_path_is() {
    let cluster = Cluster::start(&[]);
    let mut sql = cluster.database("shop").await;
    sql.run(TABLES).await;
    sql.run(HOSTILE).await;
    sql.run("SET search_path = evil, pg_catalog, public").await;
    let wanted = names(&[
        "public.kinds",
        "public.customers",
        "sales.orders",
        "public.lines",
        "public.full_with_key",
        "public.deferred",
        "public.nothing",
        "public.seen",
        "sales.absent",
    ]);
    let known: KnownIds = [(wanted[2].clone(), TableId(7)), (wanted[8].clone(), TableId(9))].into();
    let read = catalog::read(&mut sql, &wanted, &known, "projectord").await.unwrap();
    assert_eq!(read.missing, names(&["public.seen", "sales.absent"]));
    let ids: Vec<_> = read.catalog.tables.iter().map(|table| table.id.0).collect();
    assert_eq!(ids, [10, 11, 7, 12, 13, 14, 15], "known numbers stay, none is given twice");

    let table = |schema: &str, name: &str| read.catalog.table(schema, name).unwrap();
    let column = |name: &str| table("public", "kinds").column(name).unwrap().1;
    use ColumnKind::*;
    let array = |kind| Array(Box::new(kind));
    for (name, kind, type_name) in [
        ("bool", Bool, "boolean"),
        ("i2", Int, "smallint"),
        ("i8", Int, "bigint"),
        ("oid", Int, "oid"),
        ("f4", Float4, "real"),
        ("f8", Float8, "double precision"),
        ("num", Numeric, "numeric(12,2)"),
        ("vc", Text, "character varying(5)"),
        ("ch", Text, "\"char\""),
        ("x", Text, "xml"),
        ("ip", Text, "inet"),
        ("bp", Bpchar, "character(3)"),
        ("ci", Citext, "citext"),
        ("nc", Citext, "text"),
        ("ts", Timestamp, "timestamp(3) without time zone"),
        ("tstz", Timestamptz, "timestamp with time zone"),
        ("d", Date, "date"),
        ("ti", Time, "time without time zone"),
        ("tz", Timetz, "time with time zone"),
        ("iv", Interval, "interval"),
        ("u", Uuid, "uuid"),
        ("j", Json, "json"),
        ("jb", Jsonb, "jsonb"),
        ("by", Bytea, "bytea"),
        ("en", Enum, "status"),
        ("dom", Int, "more_cents"),
        ("doms", array(Int), "cent_list"),
        ("a", array(Int), "integer[]"),
        ("aa", array(Text), "text[]"),
        ("ae", array(Enum), "status[]"),
        ("ad", array(Int), "cents[]"),
        ("b", Other, "box"),
        ("bs", Other, "box[]"),
        ("v", Other, "int2vector"),
        ("h", Other, "hstore"),
        ("lt", Other, "ltree"),
        ("r", Other, "int4range"),
        ("p", Other, "pair"),
        ("m", Other, "money"),
        ("Odd \"name", Text, "text"),
    ] {
        assert_eq!((&column(name).kind, column(name).type_name.as_str()), (&kind, type_name), "{name}");
    }
    assert!(column("g").generated && !column("i4").generated);
    assert_eq!(column("g").attnum, 45, "the dropped column keeps its number");
    assert!(table("public", "kinds").column("gone").is_none());
    assert!(table("public", "customers").column("email").unwrap().1.not_null);

    let customers = table("public", "customers");
    assert_eq!(customers.unique_keys, [vec!["id"], vec!["email"], vec!["email", "id"]]);
    let lines = table("public", "lines");
    assert_eq!(lines.identity, ReplicaIdentity::Index);
    assert_eq!((&lines.key, &lines.primary_key), (&words(&["sku", "no"]), &words(&["no", "order id"])));
    let [foreign] = lines.foreign_keys.as_slice() else { panic!("{:?}", lines.foreign_keys) };
    assert_eq!((foreign.foreign_schema.as_str(), foreign.foreign_table.as_str()), ("sales", "orders"));
    assert_eq!(
        (&foreign.columns, &foreign.references),
        (&words(&["region", "order id"]), &words(&["region", "id"]))
    );

    let orders = table("sales", "orders");
    let leaves: Vec<_> = orders.leaves.iter().map(|leaf| leaf.name.as_str()).collect();
    assert_eq!(leaves, ["one", "low"]);
    assert_eq!(orders.key, words(&["region", "id"]));
    assert_eq!(orders.foreign_keys.len(), 1);

    for (name, identity, key) in [
        ("full_with_key", ReplicaIdentity::Full, words(&["id"])),
        ("deferred", ReplicaIdentity::Default, Vec::new()),
        ("nothing", ReplicaIdentity::Nothing, Vec::new()),
        ("kinds", ReplicaIdentity::Default, Vec::new()),
    ] {
        let table = table("public", name);
        assert_eq!((table.identity, &table.key), (identity, &key), "{name}");
    }

    sql.run("SET search_path = evil, pg_catalog").await;
    let listed = catalog::list_tables(&mut sql).await.unwrap();
    let Resolved::One(customers) = catalog::resolve(&listed, "customers") else { panic!("{listed:?}") };
    assert_eq!((customers.schema.as_str(), &customers.columns), ("public", &words(&["id", "email", "nick"])));
    let Resolved::One(low) = catalog::resolve(&listed, "low") else { panic!("{listed:?}") };
    assert_eq!(low.schema, "sales");
    assert_eq!(catalog::resolve(&listed, "seen"), Resolved::Missing);
    assert!(listed.iter().all(|table| !table.schema.starts_with("pg_")));
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}
