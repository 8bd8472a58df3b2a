//! DDL of which the stream says nothing, or only with the next row (hazards 30, 32).

use crate::world::{Projection, SAFETY, USAGE, World};

const TABLES: &str = "
    CREATE TYPE mood AS ENUM ('calm', 'wild');
    CREATE TYPE size AS (wide int, high int);
    CREATE DOMAIN cents AS bigint CHECK (VALUE >= 0);
    CREATE TABLE makers (id int PRIMARY KEY, name text);
    CREATE TABLE things (
        id int PRIMARY KEY, maker int REFERENCES makers, word text, amount numeric(10, 3), mood mood,
        moods mood[], size size, price cents, spare text DEFAULT 'x');
    CREATE TABLE plain (id int PRIMARY KEY, number int);
    INSERT INTO makers SELECT i, 'maker ' || i FROM generate_series(1, 5) i;
    INSERT INTO things SELECT i, i % 5 + 1, 'word ' || i, i + 0.125, 'calm', '{wild, calm}', (i, 2)::size, i * 10
    FROM generate_series(1, 200) i;
    INSERT INTO plain SELECT i, i FROM generate_series(1, 50) i;";

const THINGS: Projection = Projection {
    name: "things",
    root: "things",
    fields: "[id, word, amount, mood, moods, size, price, { maker: { one: makers, fields: [id, name] } }]",
    oracle: "SELECT t.id::text, jsonb_build_object('id', t.id, 'word', word, 'amount', amount, 'mood', mood,
                 'moods', moods, 'size', size::text, 'price', price,
                 'maker', CASE WHEN m.id IS NOT NULL THEN jsonb_build_object('id', m.id, 'name', m.name) END)
             FROM things t LEFT JOIN makers m ON m.id = t.maker",
};

const MAKERS: Projection = Projection {
    name: "makers",
    root: "makers",
    fields: "[id, name, { things: { many: things, fields: [word, mood] } }, { worth: { sum: things.amount } }]",
    oracle: "SELECT m.id::text, jsonb_build_object('id', m.id, 'name', m.name,
                 'things', COALESCE(jsonb_agg(jsonb_build_object('word', word, 'mood', mood) ORDER BY t.id)
                                    FILTER (WHERE t.id IS NOT NULL), '[]'),
                 'worth', sum(t.amount))
             FROM makers m LEFT JOIN things t ON t.maker = m.id GROUP BY m.id",
};

const PLAIN: Projection = Projection {
    name: "plain",
    root: "plain",
    fields: "[id, number]",
    oracle: "SELECT id::text, jsonb_build_object('id', id, 'number', number) FROM plain",
};

#[test]
fn silent_ddl_is_found_and_only_its_table_is_read_again() {
    let mut world = World::start(TABLES, &[THINGS, MAKERS, PLAIN]);

    // What tells nothing new about any row.
    world.unmoved(
        "VACUUM FULL, CLUSTER, TRUNCATE, storage, NOT NULL, a label more, a new index",
        &[
            "VACUUM FULL things",
            "CLUSTER plain USING plain_pkey",
            "TRUNCATE plain; INSERT INTO plain VALUES (1, 1), (2, 4)",
            "VACUUM FULL plain",
            "ALTER TABLE things ALTER word SET STATISTICS 10, ALTER spare SET STORAGE EXTERNAL",
            "ALTER TABLE things ALTER word SET NOT NULL",
            "ALTER TYPE mood ADD VALUE 'sad' BEFORE 'wild'",
            "CREATE INDEX ON things (word); ALTER TABLE makers ADD CHECK (id > 0)",
        ],
    );
    world.silent("ALTER TYPE RENAME VALUE", "ALTER TYPE mood RENAME VALUE 'calm' TO 'quiet'", &["things"]);
    world.silent("a composite type gets an attribute", "ALTER TYPE size ADD ATTRIBUTE deep int", &["things"]);
    world.silent(
        "ALTER COLUMN TYPE of one type USING",
        "ALTER TABLE things ALTER word TYPE text USING upper(word)",
        &["things"],
    );
    // No column of text, so no TOAST table either.
    world.silent(
        "the same without TOAST",
        "ALTER TABLE plain ALTER number TYPE int USING number * 2",
        &["plain"],
    );
    world.silent("another scale", "ALTER TABLE things ALTER amount TYPE numeric(10, 1)", &["things"]);
    world.silent(
        "another type, in a transaction with rows before and after",
        "BEGIN; UPDATE plain SET number = 7 WHERE id = 1;
         ALTER TABLE plain ALTER number TYPE bigint USING number + 1000000000000;
         UPDATE plain SET number = number + 1 WHERE id = 2; INSERT INTO plain VALUES (3, 3);
         ALTER TABLE plain ADD COLUMN more int DEFAULT 5; UPDATE plain SET number = 8 WHERE id = 2;
         ALTER TABLE plain DROP COLUMN more; INSERT INTO plain VALUES (4, 4); COMMIT",
        &["plain"],
    );
    world.silent(
        "tables swapped",
        "BEGIN; CREATE TABLE next (LIKE plain INCLUDING ALL); INSERT INTO next VALUES (1, 10), (9, 90);
         ALTER TABLE plain RENAME TO old; ALTER TABLE next RENAME TO plain; COMMIT",
        &["plain"],
    );
    world.run(
        "INSERT INTO old VALUES (100, 1); DELETE FROM plain WHERE id = 9; INSERT INTO plain VALUES (8, 80)",
    );
    world.in_step("rows after the swap");
    world.silent(
        "dropped and made again under its name",
        "BEGIN; DROP TABLE plain; CREATE TABLE plain (number bigint, id int PRIMARY KEY);
         INSERT INTO plain VALUES (5, 1), (6, 2); COMMIT",
        &["plain"],
    );
    world
        .run("UPDATE plain SET id = id + 10; ALTER TABLE plain DROP COLUMN number, ADD COLUMN number bigint");
    world.mended("a column dropped and added again under its name");
    world.silent(
        "the schema is another one",
        "CREATE SCHEMA far; ALTER TABLE plain SET SCHEMA far; SET search_path = public, far;
         ALTER TABLE plain ALTER number SET DEFAULT 3; INSERT INTO plain (id) VALUES (70)",
        &["plain"],
    );
    world.asleep(
        "all of it while nobody looks",
        &[
            "ALTER TYPE mood RENAME VALUE 'wild' TO 'mad'",
            "BEGIN; ALTER TABLE makers ALTER name TYPE text USING lower(name) || '!'; COMMIT",
            "TRUNCATE plain; INSERT INTO plain VALUES (1, 1)",
        ],
        &["things", "makers"],
    );

    world.run("ALTER TABLE things RENAME word TO words");
    world.refused(
        "a used column renamed",
        USAGE,
        "unknown-column",
        "ALTER TABLE things RENAME words TO word",
    );
    world.run("ALTER TABLE makers RENAME TO producers");
    world.refused("a used table renamed", USAGE, "unknown-table", "ALTER TABLE producers RENAME TO makers");
    world.run("CREATE TABLE heirs () INHERITS (things)");
    world.refused("inheritance", SAFETY, "table-inheritance", "DROP TABLE heirs");
    world.run("ALTER TABLE things ADD COLUMN id2 int GENERATED ALWAYS AS (id * 2) STORED");
    world.run("UPDATE things SET word = word || ',' WHERE id < 9");
    world.in_step("a generated column that nobody uses");
    world.run("BEGIN; ALTER TABLE things DROP COLUMN word; ALTER TABLE things ADD COLUMN word text GENERATED ALWAYS AS ('w' || id) STORED; COMMIT");
    world.refused(
        "a used column generated",
        USAGE,
        "generated-column",
        "ALTER TABLE things ALTER word DROP EXPRESSION",
    );
    world.run("UPDATE things SET word = 'now an ordinary one ' || id WHERE id % 3 = 0; INSERT INTO things (id, word) VALUES (900, 'new')");
    world.in_step("an ordinary column again");
}

#[test]
fn columns_added_with_a_default_are_there_when_a_projection_asks_for_them() {
    const BEFORE: Projection = Projection {
        name: "things",
        root: "things",
        fields: "[id]",
        oracle: "SELECT id::text, to_jsonb(t) FROM things t",
    };
    const AFTER: Projection = Projection { fields: "[id, added, made, late]", ..BEFORE };
    let mut world = World::start("CREATE TABLE things (id int PRIMARY KEY)", &[BEFORE]);
    world.run("INSERT INTO things SELECT generate_series(1, 100)");
    world.in_step("rows");
    world.run("ALTER TABLE things ADD COLUMN added text DEFAULT 'there'");
    world.run("ALTER TABLE things ADD COLUMN made uuid DEFAULT gen_random_uuid()");
    world.run(
        "ALTER TABLE things ADD COLUMN late int NOT NULL DEFAULT 5; INSERT INTO things (id) VALUES (101)",
    );
    world.run("UPDATE things SET added = 'changed' WHERE id = 3");
    world.project(&AFTER);
    world.mended("ADD COLUMN with a constant and with a volatile default");
}
