//! The daemon is killed or stopped.

use std::time::Duration;

use super::{Outcome, Ran, Run};
use crate::stage::{Stage, WAL_SENDER_TIMEOUT};

/// A pause longer than this makes the daemon look whether its indices are still its own (rule 37).
const LONG_PAUSE: Duration = Duration::from_secs(33);

pub fn kill(stage: &mut Stage, run: &mut Run) -> Ran {
    stage.load(run.seed);
    // Now and then the kill meets a backfill or a replay instead of the plain stream.
    let order = match run.number() % 10 {
        3 => Some(["backfill", "--all", "--yes"].as_slice()),
        7 => Some(["replay", "--all"].as_slice()),
        _ => None,
    };
    run.variant = order.map_or("stream", |order| order[0]).to_owned();
    run.pause_ms(200..1_500);
    if let Some(order) = order {
        let output = stage.daemon.run(order);
        if !output.status.success() {
            return Err(format!("{order:?}: {}", String::from_utf8_lossy(&output.stderr)));
        }
        run.pause_ms(0..700);
    }
    alive(stage)?;
    stage.daemon.kill();
    run.pause_ms(0..300);
    stage.daemon.spawn();
    run.pause_ms(100..700);
    stage.converge().map(|()| Outcome::Held)
}

pub fn double_kill(stage: &mut Stage, run: &mut Run) -> Ran {
    stage.load(run.seed);
    run.pause_ms(200..1_000);
    alive(stage)?;
    let again = run.dice.u32(1..=3);
    run.variant = format!("{again} more");
    for _ in 0..again {
        stage.daemon.kill();
        stage.daemon.spawn();
        run.pause_ms(0..500);
        alive(stage)?;
    }
    stage.daemon.kill();
    stage.daemon.spawn();
    run.pause_ms(100..500);
    stage.converge().map(|()| Outcome::Held)
}

pub fn pause(stage: &mut Stage, run: &mut Run) -> Ran {
    stage.load(run.seed);
    run.pause_ms(200..1_000);
    alive(stage)?;
    let pause = if run.number() % 5 == 4 {
        LONG_PAUSE
    } else {
        WAL_SENDER_TIMEOUT + Duration::from_millis(run.dice.u64(1_000..4_000))
    };
    run.variant = format!("{:.0} s", pause.as_secs_f64());
    stage.daemon.freeze();
    std::thread::sleep(pause);
    stage.daemon.thaw();
    run.pause_ms(100..1_000);
    stage.converge().map(|()| Outcome::Held)
}

/// A daemon that ended by itself was not killed by us.
pub fn alive(stage: &mut Stage) -> Result<(), String> {
    if stage.daemon.is_running() {
        return Ok(());
    }
    Err(format!("it had ended by itself\n{}", stage.daemon.log_end()))
}
