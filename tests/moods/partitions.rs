//! Partitions: rows in leaves, between leaves, and leaves that come and go without a word (hazards 28, 31).

use crate::world::{Projection, SAFETY, World};

const TABLES: &str = "
    CREATE TABLE regions (code text PRIMARY KEY, name text);
    INSERT INTO regions VALUES ('eu', 'Europe'), ('us', 'States'), ('as', 'Asia'), ('af', 'Africa'), ('oc', 'Oceania');
    CREATE TABLE events (region text REFERENCES regions, id int, word text, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
    CREATE TABLE events_eu PARTITION OF events FOR VALUES IN ('eu');
    CREATE TABLE events_us PARTITION OF events FOR VALUES IN ('us');
    CREATE TABLE events_rest PARTITION OF events DEFAULT PARTITION BY RANGE (id);
    CREATE TABLE events_low PARTITION OF events_rest FOR VALUES FROM (0) TO (1000);
    INSERT INTO events SELECT (ARRAY['eu', 'us', 'as'])[i % 3 + 1], i, 'word ' || i FROM generate_series(1, 300) i;
    CREATE TABLE notes (id int PRIMARY KEY, region text, event int, note text);
    INSERT INTO notes SELECT i, (ARRAY['eu', 'us', 'as'])[i % 3 + 1], i, 'note ' || i FROM generate_series(1, 60) i;
    -- What will be attached has its columns in another order, and a hole among them.
    CREATE TABLE events_af (gone int, word text, id int NOT NULL, region text NOT NULL, PRIMARY KEY (region, id));
    ALTER TABLE events_af DROP COLUMN gone;
    INSERT INTO events_af SELECT 'af ' || i, i, 'af' FROM generate_series(1, 20) i;";

const EVENTS: Projection = Projection {
    name: "events",
    root: "events",
    fields: "[id, word, { region: { one: regions, fields: [code, name] } }, { notes: { many: notes, via: [region, event], references: [region, id], values: note } }]",
    oracle: "SELECT e.region || '-' || e.id, jsonb_build_object('id', e.id, 'word', e.word,
                 'region', jsonb_build_object('code', r.code, 'name', r.name),
                 'notes', COALESCE((SELECT jsonb_agg(note ORDER BY n.id) FROM notes n
                                    WHERE n.region = e.region AND n.event = e.id), '[]'))
             FROM events e JOIN regions r ON r.code = e.region",
};

const REGIONS: Projection = Projection {
    name: "regions",
    root: "regions",
    fields: "[code, { words: { many: events, values: word, order_by: [id] } }, { count: { count: events } }]",
    oracle: "SELECT code, jsonb_build_object('code', code, 'count', count(e.id),
                 'words', COALESCE(jsonb_agg(word ORDER BY e.id) FILTER (WHERE e.id IS NOT NULL), '[]'))
             FROM regions r LEFT JOIN events e ON e.region = r.code GROUP BY code",
};

#[test]
fn rows_move_and_leaves_come_and_go() {
    let world = World::start(TABLES, &[EVENTS, REGIONS]);

    world.run("UPDATE events SET word = word || '.' WHERE id % 7 = 0; DELETE FROM events WHERE id % 11 = 0");
    world.run("INSERT INTO events VALUES ('eu', 1001, 'new'), ('us', 1002, 'new'), ('as', 999, 'new')");
    world.in_step("rows in leaves");
    world.run("UPDATE events SET region = 'us' WHERE region = 'eu' AND id % 2 = 0 AND id < 200");
    world.run("BEGIN; UPDATE events SET region = 'eu', word = 'there' WHERE region = 'us' AND id % 5 = 0;
               UPDATE events SET region = 'us', word = 'and back' WHERE region = 'eu' AND id % 15 = 0; COMMIT");
    world.in_step("rows move between leaves");
    world.run(
        "BEGIN; UPDATE events SET region = 'oc' WHERE region = 'us' AND id < 50; TRUNCATE events_us; COMMIT",
    );
    world.in_step("TRUNCATE of a leaf, in one transaction with rows that left it");
    world.run("TRUNCATE events_low");
    world.in_step("TRUNCATE of a leaf below a leaf");
    world.run("INSERT INTO events SELECT 'us', i, 'again ' || i FROM generate_series(1, 50) i");
    world.in_step("rows after a TRUNCATE");

    world.silent(
        "a new leaf with rows at once",
        "CREATE TABLE events_oc PARTITION OF events FOR VALUES IN ('oc');
         INSERT INTO events SELECT 'oc', i, 'oc ' || i FROM generate_series(1, 20) i",
        &["events_oc"],
    );
    world.run("UPDATE events SET region = 'oc' WHERE region = 'us' AND id > 40");
    world.in_step("rows move into the new leaf");
    world.silent(
        "ATTACH of a filled table with other column numbers",
        "ALTER TABLE events ATTACH PARTITION events_af FOR VALUES IN ('af')",
        &["events_af"],
    );
    world.run(
        "UPDATE events SET word = word || '!' WHERE region = 'af'; DELETE FROM events_af WHERE id = 3;
               INSERT INTO events VALUES ('af', 77, 'into the attached one')",
    );
    world.in_step("rows of the attached leaf");
    world.silent("DETACH", "ALTER TABLE events DETACH PARTITION events_af", &[]);
    world.run(
        "UPDATE events_af SET word = 'changed outside' WHERE id < 9; DELETE FROM events_af WHERE id = 10",
    );
    world.in_step("rows of the detached table are nobody's");
    world.silent(
        "ATTACH again",
        "ALTER TABLE events ATTACH PARTITION events_af FOR VALUES IN ('af')",
        &["events_af"],
    );
    world.silent(
        "DETACH, changes, ATTACH within one look",
        "BEGIN; ALTER TABLE events DETACH PARTITION events_af;
         UPDATE events_af SET word = 'unseen' WHERE id > 15; DELETE FROM events_af WHERE id = 16;
         ALTER TABLE events ATTACH PARTITION events_af FOR VALUES IN ('af'); COMMIT",
        &["events_af"],
    );
}

#[test]
fn whole_trees_are_cut_swapped_rewritten_and_hidden_from_the_wal() {
    let mut world = World::start(TABLES, &[EVENTS, REGIONS]);

    world.silent("a leaf dropped with its rows", "DROP TABLE events_us", &[]);
    world.silent("a tree of leaves detached", "ALTER TABLE events DETACH PARTITION events_rest", &[]);
    let concurrently = "ALTER TABLE events DETACH PARTITION events_eu CONCURRENTLY";
    // Without any leaf the root is read as a plain table is: there is nothing in it.
    world.silent("DETACH CONCURRENTLY", concurrently, &["events"]);
    let attach = "ALTER TABLE events ATTACH PARTITION events_eu FOR VALUES IN ('eu')";
    world.silent("and attached again", attach, &["events_eu"]);
    world.silent(
        "the tree attached again with other leaves",
        "UPDATE events_low SET word = 'changed outside' WHERE id < 30;
         CREATE TABLE events_high PARTITION OF events_rest FOR VALUES FROM (1000) TO (2000);
         INSERT INTO events_rest VALUES ('as', 1500, 'high');
         ALTER TABLE events ATTACH PARTITION events_rest DEFAULT",
        &["events_low", "events_high"],
    );
    world.silent(
        "the root's column rewritten in every leaf",
        "ALTER TABLE events ALTER word TYPE text USING upper(word)",
        &["events_eu", "events_low", "events_high"],
    );
    world.silent(
        "a leaf unlogged, changed and logged within one look",
        "BEGIN; ALTER TABLE events_eu SET UNLOGGED; UPDATE events_eu SET word = 'unlogged' WHERE id < 60;
         ALTER TABLE events_eu SET LOGGED; COMMIT",
        &["events_eu"],
    );
    world.run("ALTER TABLE events_eu SET UNLOGGED; UPDATE events_eu SET word = 'unseen' WHERE id < 30");
    world.refused("an unlogged leaf", SAFETY, "table-unlogged", "ALTER TABLE events_eu SET LOGGED");
    world.run("UPDATE events SET word = 'seen again' WHERE id = 1500; UPDATE events_eu SET word = 'so' WHERE id = 33");
    world.in_step("logged again");
    world.asleep(
        "leaves dropped, attached, unlogged and logged while nobody looks",
        &[
            "DROP TABLE events_high",
            "ALTER TABLE events ATTACH PARTITION events_af FOR VALUES IN ('af')",
            "ALTER TABLE events_low SET UNLOGGED; DELETE FROM events_low WHERE id % 2 = 0;
             ALTER TABLE events_low SET LOGGED",
            "INSERT INTO events VALUES ('eu', 700, 'streamed')",
        ],
        &["events_af", "events_low"],
    );
    world.asleep(
        "a plain table becomes a partitioned one",
        &["BEGIN; ALTER TABLE notes RENAME TO notes_1;
           CREATE TABLE notes (id int PRIMARY KEY, region text, event int, note text) PARTITION BY RANGE (id);
           ALTER TABLE notes_1 ALTER id SET NOT NULL;
           ALTER TABLE notes ATTACH PARTITION notes_1 FOR VALUES FROM (0) TO (1000);
           CREATE TABLE notes_2 PARTITION OF notes FOR VALUES FROM (1000) TO (2000);
           INSERT INTO notes VALUES (1001, 'eu', 700, 'in the other leaf'); COMMIT"],
        &["notes_1", "notes_2"],
    );
    world.run("UPDATE notes SET id = id + 1000 WHERE id = 3; DELETE FROM notes WHERE id = 6");
    world.in_step("rows of the new tree");
    let gone = "ALTER TABLE events_eu DROP CONSTRAINT events_eu_pkey";
    assert!(world.session.query(gone).is_err(), "the server itself keeps a leaf's key");
}
