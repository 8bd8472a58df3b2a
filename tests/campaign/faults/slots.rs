//! Somebody else lays hands on our slot: every way must be refused with its code, and `rebuild` must mend it.

use std::time::Duration;

use super::kills::alive;
use super::{Outcome, Ran, Run};
use crate::stage::Stage;
use crate::support;
use crate::support::session::Session;

/// Limit of what a server takes to drop a slot that is in use, or to give one up.
const DEED_LIMIT: Duration = Duration::from_secs(30);

const DROP: &str = "SELECT pg_drop_replication_slot('projectord')";

pub fn dropped(stage: &mut Stage, run: &mut Run) -> Ran {
    begin(stage, run)?;
    let session = stage.session();
    if run.number().is_multiple_of(2) {
        run.variant = "in a pause".to_owned();
        stage.daemon.kill();
        unseen(stage, &session)?;
        session.must(DROP);
        stage.daemon.spawn();
    } else {
        run.variant = "while it runs".to_owned();
        support::wait_for("the slot is dropped", DEED_LIMIT, || {
            let _ = session.query(
                "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots
                 WHERE slot_name = 'projectord' AND active",
            );
            session.query(DROP).map_err(|error| error.to_string())
        });
    }
    refused(stage, &["slot-missing"])
}

pub fn recreated(stage: &mut Stage, run: &mut Run) -> Ran {
    begin(stage, run)?;
    let session = stage.session();
    stage.daemon.kill();
    unseen(stage, &session)?;
    session.must(DROP);
    session.must("SELECT pg_create_logical_replication_slot('projectord', 'pgoutput')");
    stage.daemon.spawn();
    refused(stage, &["slot-advanced"])
}

pub fn advanced(stage: &mut Stage, run: &mut Run) -> Ran {
    begin(stage, run)?;
    let session = stage.session();
    stage.daemon.kill();
    let end = session.value("SELECT pg_current_wal_insert_lsn()");
    unseen(stage, &session)?;
    let by = run.turn(&["consumed", "advanced"]);
    run.variant = by.to_owned();
    if by == "consumed" {
        // One transaction after the other, until one is gone that the daemon cannot have seen.
        support::wait_for("an unseen transaction is consumed", DEED_LIMIT, || {
            session.must(
                "SELECT count(*) FROM pg_logical_slot_get_binary_changes('projectord', NULL, 1,
                     'proto_version', '1', 'publication_names', 'projectord')",
            );
            let beyond = format!(
                "SELECT confirmed_flush_lsn > '{end}' FROM pg_replication_slots WHERE slot_name = 'projectord'"
            );
            if session.value(&beyond) == "t" { Ok(()) } else { Err("not yet".to_owned()) }
        });
    } else {
        session.must("SELECT pg_replication_slot_advance('projectord', pg_current_wal_lsn())");
    }
    stage.daemon.spawn();
    refused(stage, &["slot-advanced"])
}

pub fn invalidated(stage: &mut Stage, run: &mut Run) -> Ran {
    begin(stage, run)?;
    let session = stage.session();
    let frozen = !run.number().is_multiple_of(2);
    run.variant = if frozen { "while it is frozen" } else { "in a pause" }.to_owned();
    if frozen {
        stage.daemon.freeze();
    } else {
        stage.daemon.kill();
        unseen(stage, &session)?;
    }
    session.must("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'");
    session.must("SELECT pg_reload_conf()");
    let lost = lose(&session);
    session.must("ALTER SYSTEM RESET max_slot_wal_keep_size");
    session.must("SELECT pg_reload_conf()");
    if frozen {
        stage.daemon.thaw();
    }
    lost?;
    if !frozen {
        stage.daemon.spawn();
    }
    refused(stage, &["slot-lost"])
}

/// Writes and checkpoints until the server has given the slot up.
fn lose(session: &Session) -> Result<(), String> {
    for _ in 0..60 {
        session.insist("UPDATE products SET name = name || ''");
        session.must("SELECT pg_switch_wal()");
        session.must("CHECKPOINT");
        let sql = "SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'projectord'";
        if session.value(sql) == "lost" {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err("the server does not give the slot up".to_owned())
}

fn begin(stage: &mut Stage, run: &mut Run) -> Result<(), String> {
    stage.load(run.seed);
    run.pause_ms(200..1_000);
    alive(stage)
}

/// The slot is free, and something was written that only it knows of.
fn unseen(stage: &mut Stage, session: &Session) -> Result<(), String> {
    stage.free_slot()?;
    session.insist("UPDATE products SET name = left(name, 200) || ' unseen' WHERE id % 7 = 0");
    Ok(())
}

/// The refusal, and the documented remedy.
fn refused(stage: &mut Stage, codes: &[&'static str]) -> Ran {
    let code = stage.refused(codes)?;
    stage.begin_again()?;
    Ok(Outcome::Refused(code))
}
