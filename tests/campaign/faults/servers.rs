//! PostgreSQL and Elasticsearch crash, or hang up on us.

use std::time::{Duration, Instant};

use super::kills::alive;
use super::{Outcome, Ran, Run};
use crate::stage::Stage;
use crate::support;

/// Our walsender must be there again this long after it was ended; the ledger says how long it took.
const RECONNECT_LIMIT: Duration = Duration::from_secs(10);

pub fn postgres_crash(stage: &mut Stage, run: &mut Run) -> Ran {
    stage.load(run.seed);
    run.pause_ms(300..1_500);
    alive(stage)?;
    let kill = run.number().is_multiple_of(4);
    run.variant = if kill { "kill -9" } else { "immediate" }.to_owned();
    if kill {
        stage.postgres.kill();
    } else {
        stage.postgres.crash();
    }
    run.pause_ms(0..500);
    stage.start_postgres();
    run.pause_ms(200..1_000);
    stage.converge().map(|()| Outcome::Held)
}

pub fn walsender(stage: &mut Stage, run: &mut Run) -> Ran {
    stage.load(run.seed);
    run.pause_ms(200..1_000);
    alive(stage)?;
    let session = stage.session();
    let times = run.dice.u32(1..=3);
    let mut longest = Duration::ZERO;
    for _ in 0..times {
        let ended = support::wait_for("our walsender", RECONNECT_LIMIT, || {
            let rows = session.must(
                "SELECT active_pid, pg_terminate_backend(active_pid) FROM pg_replication_slots
                 WHERE slot_name = 'projectord' AND active",
            );
            rows.first().and_then(|row| row[0].clone()).ok_or_else(|| "the slot is not active".to_owned())
        });
        let began = Instant::now();
        support::wait_for("another walsender of ours", RECONNECT_LIMIT, || {
            let rows = session.must(
                "SELECT active_pid FROM pg_replication_slots WHERE slot_name = 'projectord' AND active",
            );
            let pid = rows.first().and_then(|row| row[0].clone());
            pid.filter(|pid| *pid != ended).ok_or_else(|| "it has not come back".to_owned())
        });
        longest = longest.max(began.elapsed());
        run.variant = format!("{times} times, back within {} ms", longest.as_millis());
        run.pause_ms(0..300);
    }
    stage.converge().map(|()| Outcome::Held)
}

pub fn elasticsearch_kill(stage: &mut Stage, run: &mut Run) -> Ran {
    stage.load(run.seed);
    run.pause_ms(300..1_500);
    alive(stage)?;
    stage.elasticsearch.kill();
    run.pause_ms(0..1_000);
    stage.elasticsearch.start_again();
    stage.converge().map(|()| Outcome::Held)
}

/// With `translog.durability: async` a crash of the node may take acknowledged writes back (the daemon warns
/// of it). `replay` would not do, because what was deleted and came back is no document to replay: new indices
/// are built beside the old ones.
pub fn elasticsearch_async(stage: &mut Stage, run: &mut Run) -> Ran {
    let settings = |durability: &str| {
        format!(r#"{{"index.translog.durability":"{durability}","index.translog.sync_interval":"60s"}}"#)
    };
    let all = format!("/{}*/_settings", stage.elasticsearch.prefix());
    stage.elasticsearch.put(&all, &settings("async")).ok();
    stage.load(run.seed);
    run.pause_ms(1_000..3_000);
    alive(stage)?;
    stage.elasticsearch.kill();
    stage.elasticsearch.start_again();
    stage.elasticsearch.put(&all, &settings("request")).ok();
    let lost = match stage.converge() {
        Ok(()) => "nothing was lost",
        Err(why) if why.contains("documents must be") => "documents were lost, and mended",
        Err(why) => return Err(why),
    };
    run.variant = lost.to_owned();
    let output = stage.daemon.run(&["backfill", "--all", "--yes"]);
    if !output.status.success() {
        return Err(format!("backfill: {}", String::from_utf8_lossy(&output.stderr)));
    }
    stage.converge().map(|()| Outcome::Held)
}
