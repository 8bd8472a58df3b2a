//! What is in the WAL and what a SELECT sees are not the same (hazards 9 and 10): backfills must not be fooled.

use super::kills::alive;
use super::{Outcome, Ran, Run};
use crate::stage::Stage;
use crate::support::oracle;
use crate::support::session::Session;

/// Transactions that are open while the table joins.
const OPEN: usize = 3;

/// A standby that never answers holds commits back: they are streamed to us long before others see them.
pub fn delayed(stage: &mut Stage, run: &mut Run) -> Ran {
    stage.load(run.seed);
    run.pause_ms(200..1_000);
    alive(stage)?;
    let session = stage.session();
    let times = run.dice.u32(1..=3);
    run.variant = format!("{times} times");
    for time in 0..times {
        session.must("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
        session.must("SELECT pg_reload_conf()");
        run.pause_ms(0..500);
        let output = (time == 0).then(|| stage.daemon.run(&["backfill", "--all", "--yes"]));
        run.pause_ms(0..5_000 / u64::from(times));
        session.must("ALTER SYSTEM RESET synchronous_standby_names");
        session.must("SELECT pg_reload_conf()");
        if let Some(output) = output.filter(|output| !output.status.success()) {
            return Err(format!("backfill: {}", String::from_utf8_lossy(&output.stderr)));
        }
        run.pause_ms(0..700);
    }
    stage.converge().map(|()| Outcome::Held)
}

/// A table joins the publication while transactions that have written to it are open: what they wrote before
/// is in no stream.
pub fn add_table(stage: &mut Stage, run: &mut Run) -> Ran {
    let setup = stage.session();
    setup.must(
        "DROP TABLE IF EXISTS late; CREATE TABLE late (id bigint PRIMARY KEY, note text NOT NULL);
         INSERT INTO late SELECT i, 'early ' || i FROM generate_series(1, 60) AS i",
    );
    let projection = format!(
        "projection: late\nroot: late\nindex: {}late\nfields:\n  id:\n  note:\n",
        stage.elasticsearch.prefix()
    );
    let file = stage.daemon.projections_folder().join("late.yaml");
    std::fs::write(&file, projection).map_err(|error| error.to_string())?;
    stage.load(run.seed);
    let open: Vec<Session> = (0..OPEN).map(|_| stage.session()).collect();
    for (number, session) in open.iter().enumerate() {
        session.must(&format!("BEGIN; {}", deeds(number, 0)));
    }
    run.pause_ms(0..300);
    alive(stage)?;
    stage.daemon.kill();
    stage.daemon.spawn();
    let mut order: Vec<usize> = (0..OPEN).collect();
    run.dice.shuffle(&mut order);
    run.variant = format!("ended in the order {order:?}");
    for number in order {
        run.pause_ms(0..1_500);
        open[number].must(&deeds(number, 1));
        run.pause_ms(0..300);
        let end = if run.dice.u32(..5) == 0 { "ROLLBACK" } else { "COMMIT" };
        open[number].must(end);
        setup.must(&format!("INSERT INTO late VALUES (1000 + {number}, 'between')"));
    }
    stage.converge()?;
    let sql = "SELECT id::text, json_build_object('id', id, 'note', note)::text FROM late";
    let index = format!("{}late", stage.elasticsearch.prefix());
    let found = oracle::found(&stage.elasticsearch.scan(&index));
    let compared = oracle::compare(&oracle::expected(&setup, sql), &found);
    compared.map_err(|report| format!("late: {report}\n{}", stage.daemon.log_end()))?;
    let converged = stage.converged;
    stage.renew()?;
    stage.converged = converged;
    setup.must("DROP TABLE late");
    Ok(Outcome::Held)
}

/// Inserts, updates, deletes and key changes of rows that only this transaction touches.
fn deeds(number: usize, half: usize) -> String {
    let first = 10 * (2 * number + half) + 1; // of ten early rows
    let new = 100 * (number + 1) + 10 * half;
    format!(
        "INSERT INTO late SELECT i, 'new ' || i FROM generate_series({new}, {new} + 4) AS i;
         UPDATE late SET note = 'changed ' || id WHERE id BETWEEN {first} AND {first} + 3;
         DELETE FROM late WHERE id BETWEEN {first} + 4 AND {first} + 5;
         UPDATE late SET id = id + 2000 WHERE id = {first} + 6"
    )
}
