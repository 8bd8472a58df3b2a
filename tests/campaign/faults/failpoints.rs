//! The daemon aborts at a named point of its own code, at the first time it comes by or at a later one.
//!
//! A point is met by provocation: what its name speaks of is done first, then everything else.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use super::kills::alive;
use super::{Outcome, Ran, Run, damage};
use crate::stage::Stage;
use crate::support::wire::Weather;

#[cfg(feature = "failpoints")]
use projectord::failpoint::NAMES;
/// The daemon of this build has none.
#[cfg(not(feature = "failpoints"))]
const NAMES: &[&str] = &[];

/// How the daemon is told where to abort.
const VARIABLE: &str = "PROJECTORD_FAILPOINT";
const SIGABRT: i32 = 6;
/// How long a provocation is given to lead to the point.
const STEP_LIMIT: Duration = Duration::from_secs(4);
/// Updates of all products, a bit more than a megabyte of journal each: enough for two checkpoints.
const VOLUME_ROUNDS: u32 = 30;

/// Of what the server sends, before its connection is cut: several parts of a transaction, and less than the whole
/// of a large one.
const CUT_BEHIND_BYTES: u32 = 768 << 10;

/// Above the rows of one of apply's batches (`apply::Limits::batch_rows`).
const REMOVED_ROWS: u32 = 25_000;

/// What is done so that the daemon comes by a point. It runs, or has ended at the point already.
type Step = fn(&mut Stage);

/// For points whose names begin so.
const OF: [(&str, Step); 26] = [
    ("alias.", backfill),
    ("apply.chunk", backfill),
    ("apply.removing", remove),
    ("apply.swept", backfill),
    ("apply.unfolding", replay),
    ("backfill.", backfill),
    ("checkpoint.", volume),
    ("connect.anew", index_gone),
    ("connect.facts", first_start),
    ("connect.gate", reconnect),
    ("connect.identity", reconnect),
    ("connect.intent", first_start),
    ("connect.joined", table_joins),
    ("connect.position", first_start),
    ("connect.publication", reconnect),
    ("connect.slot", first_start),
    ("deliver.partial", blocked_index),
    ("identity.", backfill),
    ("journal.forgotten", volume),
    ("journal.truncat", cut_within_transactions),
    ("note.", volume),
    ("sink.claimed", reconnect),
    ("sink.prepared", reconnect),
    ("stop.", stop),
    ("store.clos", stop),
    ("store.restor", restore),
];

/// Points whose names begin so are come by once in a process: it would wait for a second time in vain.
const ONCE: [&str; 12] = [
    "connect.anew",
    "connect.facts",
    "connect.intent",
    "connect.joined",
    "connect.position",
    "connect.slot",
    "epoch.",
    "rebuild.",
    "recover.",
    "stop.",
    "store.clos",
    "store.restor",
];

/// Runs of a whole campaign: five for each point.
pub fn wanted() -> usize {
    5 * NAMES.len()
}

pub fn failpoint(stage: &mut Stage, run: &mut Run) -> Ran {
    if NAMES.is_empty() {
        return Ok(Outcome::Skipped("the daemon was built without the feature `failpoints`".to_owned()));
    }
    let name = run.turn(NAMES);
    let round = run.number() / NAMES.len();
    // The first time in the first round, later ones after it.
    let drawn = if round == 0 { 1 } else { [1, 1, 2, 3, 10][run.dice.usize(..5)] };
    let hit = if ONCE.iter().any(|beginning| name.starts_with(beginning)) { 1 } else { drawn };
    run.variant = format!("{name}@{hit}");
    alive(stage)?;
    stage.load(run.seed);
    run.pause_ms(0..500);
    stage.daemon.kill();
    let environment = vec![(VARIABLE.to_owned(), format!("{name}=abort@{hit}"))];
    stage.daemon.change(|options| options.environment = environment);
    let met = if name.starts_with("rebuild.") { rebuild(stage)? } else { provoke(stage, name, hit)? };
    if stage.daemon.is_started() {
        stage.daemon.kill();
    }
    stage.daemon.change(|options| options.environment.clear());
    if name.starts_with("rebuild.") {
        stage.begin_again()?;
    } else {
        stage.daemon.spawn();
        run.pause_ms(0..500);
        stage.converge()?;
    }
    if name == "connect.joined" {
        let converged = stage.converged;
        stage.renew()?;
        stage.session().must("DROP TABLE IF EXISTS joining");
        stage.converged = converged;
    }
    if !met {
        return Ok(Outcome::Skipped("the point was not met".to_owned()));
    }
    Ok(Outcome::Held)
}

/// True once it has aborted. What leads to the point is done as often as the point has to be come by.
fn provoke(stage: &mut Stage, name: &str, hit: usize) -> Result<bool, String> {
    start(stage);
    let own = OF.iter().find(|(beginning, _)| name.starts_with(beginning)).map(|(_, step)| *step);
    let all: [Step; 7] = [|_| (), replay, backfill, remove, volume, cut_within_transactions, first_start];
    for step in own.into_iter().flat_map(|step| std::iter::repeat_n(step, hit)).chain(all) {
        if stage.daemon.is_running() {
            step(stage);
        }
        let begin = Instant::now();
        while stage.daemon.is_running() && begin.elapsed() < STEP_LIMIT {
            std::thread::sleep(Duration::from_millis(20));
        }
        if !stage.daemon.is_running() {
            let status = stage.ended(STEP_LIMIT)?;
            match status.signal() {
                Some(SIGABRT) => return Ok(true),
                // It was asked to stop, and came by no such point.
                None if status.success() => start(stage),
                _ => {
                    let end = stage.daemon.log_end();
                    return Err(format!("it ended with {status}, not at the point\n{end}"));
                }
            }
        }
    }
    Ok(false)
}

/// Until it can be asked for anything, also to stop: a signal before that ends it as any program. Some points
/// are met by then.
fn start(stage: &mut Stage) {
    stage.daemon.spawn();
    let begin = Instant::now();
    while stage.daemon.is_running() && stage.daemon.status().is_none() && begin.elapsed() < STEP_LIMIT {
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn replay(stage: &mut Stage) {
    stage.daemon.run(&["replay", "--all"]);
}

fn backfill(stage: &mut Stage) {
    stage.daemon.run(&["backfill", "--all", "--yes"]);
}

/// More rows go at once than apply removes in one batch. They come in the same transaction, so that nobody
/// sees a product with that many. The lock that TRUNCATE needs comes first: one that grows in the middle of the
/// transaction is a deadlock with the crowd, nearly every time.
fn remove(stage: &mut Stage) {
    let sql = format!(
        "BEGIN; LOCK TABLE product_reviews; CREATE TEMP TABLE kept ON COMMIT DROP AS SELECT * FROM product_reviews;
         INSERT INTO product_reviews (product_id, rating)
             SELECT (SELECT min(id) FROM products), 3 FROM generate_series(1, {REMOVED_ROWS});
         TRUNCATE product_reviews; INSERT INTO product_reviews SELECT * FROM kept; COMMIT"
    );
    // The crowd now and then makes it a deadlock all the same.
    stage.session().insist(&sql);
}

/// Further segments, checkpoints, and segments that nothing needs any more.
fn volume(stage: &mut Stage) {
    for round in 0..VOLUME_ROUNDS {
        if !stage.daemon.is_running() {
            return;
        }
        large_transaction(stage, round);
    }
}

fn large_transaction(stage: &Stage, round: u32) {
    let _ = stage.session().query(&format!(
        "UPDATE products SET description = (SELECT string_agg(md5(id::text || i || {round}), '')
                                            FROM generate_series(1, 100) AS i)"
    ));
}

/// The connection ends in the middle of a transaction whose first parts are in the journal: behind some of its
/// bytes. What the crowd's transactions take of them is another share each time.
fn cut_within_transactions(stage: &mut Stage) {
    for round in 0..8 {
        if !stage.daemon.is_running() {
            break;
        }
        stage.source.lose_answer_after(CUT_BEHIND_BYTES);
        large_transaction(stage, 1_000 + round);
        std::thread::sleep(Duration::from_millis(400));
    }
    stage.source.set(Weather::Clear);
}

/// Some documents of a request are refused, others are not.
fn blocked_index(stage: &mut Stage) {
    let settings = format!("/{}products*/_settings", stage.elasticsearch.prefix());
    stage.elasticsearch.put(&settings, r#"{"index.blocks.write": true}"#);
    let begin = Instant::now();
    while stage.daemon.is_running() && begin.elapsed() < STEP_LIMIT {
        std::thread::sleep(Duration::from_millis(20));
    }
    stage.elasticsearch.put(&settings, r#"{"index.blocks.write": null}"#);
}

/// The server ends our connection.
fn reconnect(stage: &mut Stage) {
    let session = stage.session();
    let begin = Instant::now();
    while stage.daemon.is_running() && begin.elapsed() < STEP_LIMIT {
        let sql = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots
                   WHERE slot_name = 'projectord' AND active";
        if !session.must(sql).is_empty() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn stop(stage: &mut Stage) {
    stage.daemon.ask_to_stop();
}

/// Another start, after this was done to what it finds.
fn start_after(stage: &mut Stage, deed: impl FnOnce(&mut Stage)) {
    stage.daemon.kill();
    deed(stage);
    stage.daemon.spawn();
}

fn index_gone(stage: &mut Stage) {
    start_after(stage, |stage| {
        let prefix = format!("{}products", stage.elasticsearch.prefix());
        for index in stage.elasticsearch.indices().iter().filter(|index| index.starts_with(&prefix)) {
            stage.elasticsearch.delete(&format!("/{index}"));
        }
    });
}

/// Another projection needs a table that is not in the publication yet.
fn table_joins(stage: &mut Stage) {
    start_after(stage, |stage| {
        let sql = "DROP TABLE IF EXISTS joining; CREATE TABLE joining (id bigint PRIMARY KEY);
                   INSERT INTO joining SELECT generate_series(1, 20)";
        stage.session().must(sql);
        let prefix = stage.elasticsearch.prefix();
        let projection =
            format!("projection: joining\nroot: joining\nindex: {prefix}joining\nfields:\n  id:\n");
        let file = stage.daemon.projections_folder().join("joining.yaml");
        std::fs::write(file, projection).expect("a projection");
    });
}

/// A checkpoint takes the place of a store that is not to be believed.
fn restore(stage: &mut Stage) {
    volume(stage);
    start_after(stage, |stage| {
        damage::other_boot(&stage.daemon.data_folder().join("store")).expect("the guard is there");
    });
}

fn first_start(stage: &mut Stage) {
    let environment = stage.daemon.environment();
    stage.fresh(|options| options.environment = environment).expect("all was cleared away");
    stage.daemon.spawn();
}

/// The command itself aborts. The slot is free, and nothing else was done to it.
fn rebuild(stage: &mut Stage) -> Result<bool, String> {
    stage.free_slot()?;
    let output = stage.daemon.run(&["rebuild", "--yes"]);
    match output.status.signal() {
        Some(SIGABRT) => Ok(true),
        None if output.status.success() => Ok(false),
        _ => Err(format!("rebuild: {}: {}", output.status, String::from_utf8_lossy(&output.stderr))),
    }
}
