//! What identifies a row in the stream (hazards 23, 25, rule 40).

use crate::world::{Projection, USAGE, World};

const TABLES: &str = "
    CREATE TABLE whole (id int PRIMARY KEY, big text, word text);
    ALTER TABLE whole ALTER big SET STORAGE EXTERNAL, REPLICA IDENTITY FULL;
    INSERT INTO whole SELECT i, repeat(i || ' ', 2000), 'word ' || i FROM generate_series(1, 40) i;
    CREATE TABLE coded (id int PRIMARY KEY, code text NOT NULL, big text, word text);
    CREATE UNIQUE INDEX by_code ON coded (code);
    ALTER TABLE coded ALTER big SET STORAGE EXTERNAL, REPLICA IDENTITY USING INDEX by_code;
    INSERT INTO coded SELECT i, 'c' || i, repeat(i || ' ', 2000), 'word ' || i FROM generate_series(1, 40) i;
    CREATE TABLE parts (id int PRIMARY KEY, coded int, word text);
    INSERT INTO parts SELECT i, i % 40 + 1, 'part ' || i FROM generate_series(1, 120) i;";

const WHOLE: Projection = Projection {
    name: "whole",
    root: "whole",
    fields: "[id, big, word]",
    oracle: "SELECT id::text, jsonb_build_object('id', id, 'big', big, 'word', word) FROM whole",
};

const CODED: Projection = Projection {
    name: "coded",
    root: "coded",
    fields: "[id, big, word, { parts: { many: parts, via: coded, references: id, values: word, order_by: [word] } }]",
    oracle: "SELECT code, jsonb_build_object('id', c.id, 'big', big, 'word', c.word,
                 'parts', COALESCE((SELECT jsonb_agg(p.word ORDER BY p.word COLLATE \"C\", p.id) FROM parts p
                                    WHERE p.coded = c.id), '[]'))
             FROM coded c",
};

const PARTS: Projection = Projection {
    name: "parts",
    root: "parts",
    fields: "[word, { of: { one: coded, via: coded, references: id, fields: [id, word] } }]",
    oracle: "SELECT p.id::text, jsonb_build_object('word', p.word,
                 'of', CASE WHEN c.id IS NOT NULL THEN jsonb_build_object('id', c.id, 'word', c.word) END)
             FROM parts p LEFT JOIN coded c ON c.id = p.coded",
};

/// Every kind of change, out-of-line values untouched.
const CHANGES: &str = "
    UPDATE {0} SET word = word || '.' WHERE id % 3 = 0; DELETE FROM {0} WHERE id % 10 = 9;
    UPDATE {0} SET id = -id WHERE id % 7 = 0; UPDATE {0} SET big = big || '+' WHERE id % 5 = 0;
    UPDATE {0} SET big = NULL WHERE id % 8 = 1";

#[test]
fn rows_are_told_apart_by_whatever_identity_there_is() {
    let mut world = World::start(TABLES, &[WHOLE, CODED, PARTS]);
    let changes = |table: &str| CHANGES.replace("{0}", table);

    world.run(&changes("whole"));
    world.in_step("REPLICA IDENTITY FULL beside a primary key");
    world.run(&changes("coded"));
    world.run("UPDATE coded SET code = 'new ' || code WHERE id % 4 = 0; INSERT INTO coded VALUES (500, 'late', 'b', 'w');
               DELETE FROM coded WHERE id % 10 = 8; UPDATE coded SET id = id + 1000, code = code || '!' WHERE id % 6 = 1;
               BEGIN; DELETE FROM coded WHERE id = 500; INSERT INTO coded VALUES (501, 'late', 'b', 'other row'); COMMIT");
    world.in_step("REPLICA IDENTITY USING INDEX: keys and identity part ways");

    // With rows in the same transaction: their old tuples have other columns before the table is read again.
    world.run(&format!("ALTER TABLE whole REPLICA IDENTITY DEFAULT; {}", changes("whole")));
    world.mended("FULL becomes DEFAULT");
    world.run("CREATE UNIQUE INDEX whole_both ON whole (id, word)");
    world.run("UPDATE whole SET word = '' WHERE word IS NULL; ALTER TABLE whole ALTER word SET NOT NULL");
    world.run("ALTER TABLE whole REPLICA IDENTITY USING INDEX whole_both; UPDATE whole SET word = word || ';' WHERE id % 2 = 0;
               DELETE FROM whole WHERE id = 4");
    // The documents' ids are made from the identity, and the oracle knows them by the primary key.
    world.run(
        "ALTER TABLE whole REPLICA IDENTITY FULL; UPDATE whole SET word = word || ':' WHERE id % 2 = 1;
               DELETE FROM whole WHERE id = 5",
    );
    world.mended("an index, and FULL again");
    world.run("ALTER TABLE parts ADD COLUMN number int GENERATED ALWAYS AS IDENTITY;
               ALTER TABLE parts ADD UNIQUE (number); ALTER TABLE parts REPLICA IDENTITY USING INDEX parts_number_key;
               UPDATE parts SET word = word || '/'; DELETE FROM parts WHERE id % 5 = 0;
               ALTER TABLE parts REPLICA IDENTITY DEFAULT; UPDATE parts SET word = word || '\\\\' WHERE id % 2 = 0;
               DELETE FROM parts WHERE id % 5 = 1");
    world.mended("USING INDEX and back to DEFAULT, rows in between");
    world.run("ALTER TABLE parts REPLICA IDENTITY NOTHING");
    world.refused("REPLICA IDENTITY NOTHING", USAGE, "no-key", "ALTER TABLE parts REPLICA IDENTITY DEFAULT");
    world.run("DROP INDEX by_code");
    world.refused(
        "the identity's index is dropped",
        USAGE,
        "no-key",
        "CREATE UNIQUE INDEX by_code ON coded (code); ALTER TABLE coded REPLICA IDENTITY USING INDEX by_code",
    );
    world.run(
        "UPDATE coded SET word = 'by the new index' WHERE id % 2 = 0; DELETE FROM coded WHERE id % 9 = 0",
    );
    world.in_step("by another index of the same columns");
    world.run("BEGIN; ALTER TABLE parts RENAME id TO number_of_part; UPDATE parts SET word = 'renamed key' WHERE number_of_part < 30;
               DELETE FROM parts WHERE number_of_part = 32; ALTER TABLE parts RENAME number_of_part TO id; COMMIT");
    world.mended("a key column renamed and renamed back");
}
