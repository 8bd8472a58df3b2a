//! There are two of somebody: two daemons, or a server that is another, older one of itself.

use std::process::Command;

use super::kills::alive;
use super::{Outcome, Ran, Run};
use crate::stage::{CONVERGENCE_LIMIT, Stage, refuses};
use crate::support::process;

/// What a daemon may find where its server was set back.
const SET_BACK: &[&str] = &["slot-missing", "source-behind", "source-timeline"];
/// What the first of two daemons may end with.
const OVERTAKEN: [&str; 3] = ["sink-other-writer", "sink-epoch", "slot-advanced"];

/// A machine that was frozen, given up, replaced by a clone of its disk, and wakes up after all.
pub fn two_daemons(stage: &mut Stage, run: &mut Run) -> Ran {
    stage.load(run.seed);
    run.pause_ms(500..1_500);
    alive(stage)?;
    stage.daemon.freeze();
    stage.free_slot()?;
    let first = stage.daemon.data_folder();
    let clone = first.with_extension("clone");
    process::run(Command::new("cp").arg("-a").args([&first, &clone]));
    let mut zombie = stage.take_over(&clone);
    stage.daemon.start_again();
    run.pause_ms(200..1_500);
    zombie.0.thaw();
    run.pause_ms(500..3_000);
    let converged = stage.converge();
    let ended = !zombie.0.is_running();
    let end = zombie.0.said();
    let code = OVERTAKEN.iter().find(|code| refuses(&end, code));
    if !ended {
        zombie.0.kill();
    }
    run.variant = match (ended, code) {
        (true, Some(code)) => format!("the first ended: {code}"),
        (true, None) => return Err(format!("the first ended without a reason that it may have\n{end}")),
        (false, _) => "the first waited for the slot".to_owned(),
    };
    drop(zombie);
    let _ = std::fs::remove_dir_all(first);
    converged.map(|()| Outcome::Held)
}

/// The server comes back from a base backup of some time ago.
pub fn restored(stage: &mut Stage, run: &mut Run) -> Ran {
    stage.load(run.seed);
    run.pause_ms(200..1_000);
    let mut backup = stage.postgres.base_backup(false);
    run.pause_ms(500..2_000);
    stage.quiet();
    stage.wait_projected(CONVERGENCE_LIMIT)?;
    alive(stage)?;
    stage.postgres.kill();
    backup.start_again();
    drop(stage.replace_postgres(backup));
    set_back(stage)
}

/// A standby that did not get the last commits becomes the primary: we have seen what no longer is.
pub fn promoted(stage: &mut Stage, run: &mut Run) -> Ran {
    let mut standby = stage.postgres.base_backup(true);
    standby.start_again();
    stage.load(run.seed);
    run.pause_ms(500..1_500);
    standby.stop_fast();
    run.pause_ms(500..1_500);
    stage.quiet();
    stage.wait_projected(CONVERGENCE_LIMIT)?;
    alive(stage)?;
    stage.postgres.kill();
    standby.start_again();
    standby.promote();
    drop(stage.replace_postgres(standby));
    set_back(stage)
}

fn set_back(stage: &mut Stage) -> Ran {
    let code = stage.refused(SET_BACK)?;
    stage.begin_again()?;
    Ok(Outcome::Refused(code))
}
