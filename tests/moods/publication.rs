//! Tables that leave the publication and come back (hazard 33), and who may make that good.

use crate::world::{Projection, SAFETY, World};

const TABLES: &str = "
    CREATE TABLE authors (id int PRIMARY KEY, name text);
    CREATE TABLE books (id int PRIMARY KEY, author int REFERENCES authors, title text);
    INSERT INTO authors SELECT i, 'author ' || i FROM generate_series(1, 10) i;
    INSERT INTO books SELECT i, i % 10 + 1, 'book ' || i FROM generate_series(1, 100) i;";

const AUTHORS: Projection = Projection {
    name: "authors",
    root: "authors",
    fields: "[id, name, { books: { many: books, values: title } }]",
    oracle: "SELECT a.id::text, jsonb_build_object('id', a.id, 'name', name,
                 'books', COALESCE(jsonb_agg(title ORDER BY b.id) FILTER (WHERE b.id IS NOT NULL), '[]'))
             FROM authors a LEFT JOIN books b ON b.author = a.id GROUP BY a.id",
};

#[test]
fn a_table_that_was_away_from_the_publication_is_read_again() {
    let mut world = World::start(TABLES, &[AUTHORS]);
    let away = "ALTER PUBLICATION projectord DROP TABLE books";
    let unseen = "UPDATE books SET author = author % 10 + 1, title = title || '.' WHERE id % 3 = 0;
                  DELETE FROM books WHERE id % 17 = 0; INSERT INTO books SELECT max(id) + 1, 1, 'unseen' FROM books";
    let back = "ALTER PUBLICATION projectord ADD TABLE books";

    world.silent("away and back within one look", &format!("{away}; {unseen}; {back}"), &["books"]);
    world.run("UPDATE books SET title = title || '!' WHERE id % 2 = 0");
    world.in_step("rows after that");
    world.silent("taken out, and put back by the daemon", &format!("{away}; {unseen}"), &["books"]);
    world.asleep("while nobody looks", &[away, unseen, back], &["books"]);
    world.silent(
        "less was published for a moment",
        "ALTER PUBLICATION projectord SET (publish = 'insert'); UPDATE books SET title = 'unpublished' WHERE id < 20;
         ALTER PUBLICATION projectord SET (publish = 'insert, update, delete, truncate')",
        &["authors", "books", "ticks"],
    );
    world.run("ALTER PUBLICATION projectord SET (publish = 'insert, update, delete'); TRUNCATE books");
    world.refused(
        "not all actions",
        SAFETY,
        "publication-shape",
        "ALTER PUBLICATION projectord SET (publish = 'insert, update, delete, truncate')",
    );
    world.run("DROP PUBLICATION projectord");
    world.daemon.wait_refusal(SAFETY, "publication-changed");
}
