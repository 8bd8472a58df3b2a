//! The data folder is not what the daemon left behind.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use projectord::store::guard;
use projectord::store::trust::DEATHS_MAX;

use super::kills::alive;
use super::{Outcome, Ran, Run};
use crate::stage::{Stage, refuses};
use crate::support::process;

/// Lost entries were confirmed, so that the slot stands beyond what the journal still has.
const LOST: &[&str] = &["slot-advanced", "store-ahead"];

pub fn journal_torn(stage: &mut Stage, run: &mut Run) -> Ran {
    killed_under_load(stage, run)?;
    let form =
        run.turn(&["garbage behind it", "zeros behind it", "its last bytes gone", "its last page gone"]);
    run.variant = form.to_owned();
    let file = last_segment(stage)?;
    let end = written(&file)?;
    let open = open(&file)?;
    let failed = |error: std::io::Error| format!("{}: {error}", file.display());
    match form {
        "garbage behind it" => {
            let garbage: Vec<u8> = (0..run.dice.usize(1..5_000)).map(|_| run.dice.u8(..)).collect();
            open.write_all_at(&garbage, end).map_err(failed)?;
        }
        "zeros behind it" => {
            let length = open.metadata().map_err(failed)?.len();
            open.set_len(length + run.dice.u64(1..100_000)).map_err(failed)?;
        }
        "its last bytes gone" => cut(&open, end, run.dice.u64(1..40)).map_err(failed)?,
        _ => cut(&open, end, run.dice.u64(200..4_096)).map_err(failed)?,
    }
    stage.daemon.spawn();
    if form.ends_with("behind it") {
        return stage.converge().map(|()| Outcome::Held);
    }
    // What was cut off may have been confirmed or applied already, or not.
    let converged = stage.converge();
    if converged.is_ok() || stage.daemon.is_running() {
        return converged.map(|()| Outcome::Held);
    }
    let code = stage.refused(LOST)?;
    stage.begin_again()?;
    Ok(Outcome::Refused(code))
}

pub fn journal_damaged(stage: &mut Stage, run: &mut Run) -> Ran {
    killed_under_load(stage, run)?;
    let file = last_segment(stage)?;
    let end = written(&file)?;
    // Not within the last entries: those might pass for a torn tail, which is cut off.
    let place = run.dice.u64(end / 4..end / 2);
    run.variant = format!("byte {place} of {end}");
    let open = open(&file)?;
    let failed = |error: std::io::Error| format!("{}: {error}", file.display());
    let mut byte = [0];
    open.read_exact_at(&mut byte, place).map_err(failed)?;
    open.write_all_at(&[byte[0] ^ 0x10], place).map_err(failed)?;
    stage.daemon.spawn();
    let code = stage.refused(&["journal-damaged"])?;
    // As docs/operations.md says where the journal itself is damaged.
    for folder in ["journal", "store"] {
        std::fs::remove_dir_all(stage.daemon.data_folder().join(folder))
            .map_err(|error| error.to_string())?;
    }
    stage.daemon.start_again();
    stage.converge()?;
    Ok(Outcome::Refused(code))
}

pub fn store_damaged(stage: &mut Stage, run: &mut Run) -> Ran {
    killed_under_load(stage, run)?;
    let form = run.turn(&["cut", "without heads", "deleted", "another boot", "garbage in the middle"]);
    run.variant = form.to_owned();
    let store = stage.daemon.data_folder().join("store");
    let file = store.join("data.mdb");
    let failed = |error: std::io::Error| format!("{}: {error}", file.display());
    let length = file.metadata().map_err(failed)?.len();
    match form {
        "cut" => open(&file)?.set_len(length / 2).map_err(failed)?,
        "without heads" => open(&file)?.write_all_at(&[0xa5; 8_192], 0).map_err(failed)?,
        "deleted" => std::fs::remove_dir_all(&store).map_err(failed)?,
        "another boot" => other_boot(&store)?,
        // A page that is torn is found by nobody while the boot is the same; after a power cut it is.
        _ => {
            let place = run.dice.u64(8_192..length.max(16_384) - 4_096);
            open(&file)?.write_all_at(&[0x5a; 4_096], place).map_err(failed)?;
            other_boot(&store)?;
        }
    }
    // As a supervisor does: damage may be found only where it is read, and ends the process then. A store that has ended
    // three starts in a row is not believed by the next one.
    for _ in 0..=DEATHS_MAX {
        stage.daemon.spawn();
        let converged = stage.converge();
        if converged.is_ok() || stage.daemon.is_running() {
            return converged.map(|()| Outcome::Held);
        }
        // Its checkpoints went with it: an empty one needs a journal that reaches back to the first entry.
        if form == "deleted" && refuses(&stage.daemon.said(), "store-behind") {
            let code = stage.refused(&["store-behind"])?;
            stage.begin_again()?;
            return Ok(Outcome::Refused(code));
        }
        stage.ended(std::time::Duration::from_secs(1))?;
    }
    Err(format!("it never stays\n{}", stage.daemon.log_end()))
}

pub fn other_boot(store: &Path) -> Result<(), String> {
    let facts = guard::read(store).map_err(|error| error.to_string())?.ok_or("the store has no guard")?;
    let boot_id = Some("00000000-0000-0000-0000-000000000000".to_owned());
    guard::write(store, &guard::Facts { boot_id, ..facts }).map_err(|error| error.to_string())
}

pub fn older_store(stage: &mut Stage, run: &mut Run) -> Ran {
    run.variant = "of a clean end".to_owned();
    let store = stage.daemon.data_folder().join("store");
    let copy = copied_after_a_stop(stage, &store)?;
    killed_under_load(stage, run)?;
    swap(&store, &copy)?;
    stage.daemon.spawn();
    run.pause_ms(100..700);
    stage.converge().map(|()| Outcome::Held)
}

pub fn older_folder(stage: &mut Stage, run: &mut Run) -> Ran {
    let folder = stage.daemon.data_folder();
    let copy = copied_after_a_stop(stage, &folder)?;
    // Before the server has heard of anything newer that copy is as good as the folder.
    let end = stage.session().value("SELECT pg_current_wal_insert_lsn()");
    stage.load(run.seed);
    stage.wait_confirmed(&end)?;
    killed_under_load(stage, run)?;
    swap(&folder, &copy)?;
    stage.daemon.spawn();
    let code = stage.refused(&["slot-advanced"])?;
    stage.begin_again()?;
    Ok(Outcome::Refused(code))
}

fn copied_after_a_stop(stage: &mut Stage, from: &Path) -> Result<PathBuf, String> {
    alive(stage)?;
    let (status, _) = stage.daemon.terminate();
    if status.code() != Some(0) {
        return Err(format!("SIGTERM ended it with {status}\n{}", stage.daemon.log_end()));
    }
    let copy = from.with_extension("copy");
    let _ = std::fs::remove_dir_all(&copy);
    process::run(Command::new("cp").arg("-a").args([from, &copy]));
    stage.daemon.start_again();
    Ok(copy)
}

fn swap(place: &Path, copy: &Path) -> Result<(), String> {
    std::fs::remove_dir_all(place)
        .and_then(|()| std::fs::rename(copy, place))
        .map_err(|error| format!("{}: {error}", place.display()))
}

fn killed_under_load(stage: &mut Stage, run: &mut Run) -> Result<(), String> {
    stage.load(run.seed);
    run.pause_ms(800..2_500);
    alive(stage)?;
    stage.daemon.kill();
    Ok(())
}

fn last_segment(stage: &Stage) -> Result<PathBuf, String> {
    let folder = stage.daemon.data_folder().join("journal");
    let files = std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let segments = files.flatten().map(|file| file.path());
    let segments = segments.filter(|path| path.extension().is_some_and(|extension| extension == "journal"));
    segments.max().ok_or_else(|| "the journal has no segment".to_owned())
}

/// Where what was written ends: behind it there may be zeros, allocated ahead.
fn written(segment: &Path) -> Result<u64, String> {
    let bytes = std::fs::read(segment).map_err(|error| format!("{}: {error}", segment.display()))?;
    bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map(|last| last as u64 + 1)
        .ok_or_else(|| "only zeros".to_owned())
}

/// Zeros from so many bytes before the end of what was written on, as pages that never reached the disk.
fn cut(file: &std::fs::File, end: u64, bytes: u64) -> std::io::Result<()> {
    let from = end.saturating_sub(bytes).max(4_096.min(end));
    file.write_all_at(&vec![0; (end - from) as usize], from)
}

fn open(path: &Path) -> Result<std::fs::File, String> {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path);
    file.map_err(|error| format!("{}: {error}", path.display()))
}
