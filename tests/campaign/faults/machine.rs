//! The machine is not as it was: another time of day, little memory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::kills::alive;
use super::{Outcome, Ran, Run};
use crate::stage::Stage;
use crate::support;

/// Lag is measured by a clock that does not jump (hazard 43).
const LAG_MAX_S: f64 = 1.0;
const CGROUP: &str = "/sys/fs/cgroup/memory";
const MEMORY_BYTES: u64 = 128 << 20;

pub fn clock(stage: &mut Stage, run: &mut Run) -> Ran {
    let Some(library) = faketime() else {
        return Ok(Outcome::Skipped("libfaketime is not installed".to_owned()));
    };
    let form = run.turn(&["10 minutes ahead", "10 minutes behind", "forwards, then back by 20 minutes"]);
    run.variant = form.to_owned();
    alive(stage)?;
    stage.daemon.kill();
    let file = stage.daemon.data_folder().with_extension("time");
    let set = |offset: &str| std::fs::write(&file, format!("{offset}\n")).expect("the time is written");
    set(if form.ends_with("behind") { "-600" } else { "+600" });
    let environment = [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value)).to_vec();
    stage.daemon.change(|options| options.environment = environment);
    stage.load(run.seed);
    stage.daemon.spawn();
    run.pause_ms(1_000..3_000);
    alive(stage)?;
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", stage.daemon.pid()));
    if !maps.is_ok_and(|maps| maps.contains("libfaketime")) {
        return Err("the daemon does not use libfaketime".to_owned());
    }
    if form.starts_with("forwards") {
        set("-600");
        run.pause_ms(500..2_000);
    }
    let converged = stage.converge();
    converged?;
    support::wait_for("no lag", Duration::from_secs(15), || {
        let status = stage.daemon.status().ok_or("no answer")?;
        let lag = status["watermarks"]["lag_seconds"].as_f64().unwrap_or(f64::MAX);
        if lag < LAG_MAX_S { Ok(()) } else { Err(format!("{lag} s of lag")) }
    });
    stage.daemon.kill();
    stage.daemon.change(|options| options.environment.clear());
    stage.daemon.spawn();
    stage.converge().map(|()| Outcome::Held)
}

fn faketime() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.flatten().map(|folder| folder.path());
    folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|library| library.exists())
}

pub fn memory(stage: &mut Stage, run: &mut Run) -> Ran {
    let group = Path::new(CGROUP).join(format!("projectord-campaign-{}", std::process::id()));
    let limit = || -> std::io::Result<()> {
        std::fs::create_dir_all(&group)?;
        std::fs::write(group.join("memory.limit_in_bytes"), MEMORY_BYTES.to_string())
    };
    if let Err(error) = limit() {
        return Ok(Outcome::Skipped(format!("no memory control group: {error}")));
    }
    alive(stage)?;
    stage.daemon.kill();
    let enter = format!("echo $$ > {}/cgroup.procs && exec \"$0\" \"$@\"", group.display());
    let wrapper = vec!["sh".to_owned(), "-c".to_owned(), enter];
    stage.daemon.change(|options| options.wrapper = wrapper);
    stage.load(run.seed);
    stage.daemon.spawn();
    run.pause_ms(500..1_000);
    let session = stage.session();
    let lines: u32 = session.value("SELECT count(*) FROM order_lines").parse().expect("a count");
    let rounds = 200_000 / lines.max(1) + 1;
    let statement = "UPDATE order_lines SET quantity = quantity % 50 + 1;";
    // The crowd would make it a deadlock.
    stage.quiet();
    session.must(&format!("BEGIN; {} COMMIT", statement.repeat(rounds as usize)));
    let converged = stage.converge();
    let used = std::fs::read_to_string(group.join("memory.max_usage_in_bytes")).unwrap_or_default();
    let used: u64 = used.trim().parse().unwrap_or(0);
    run.variant = format!("{} MiB, used {} MiB", MEMORY_BYTES >> 20, used >> 20);
    if stage.daemon.is_started() {
        stage.daemon.kill();
    }
    stage.daemon.change(|options| options.wrapper.clear());
    let _ = std::fs::remove_dir(&group);
    converged?;
    if used == 0 {
        return Err("the daemon did not run in the control group".to_owned());
    }
    stage.daemon.spawn();
    stage.converge().map(|()| Outcome::Held)
}
