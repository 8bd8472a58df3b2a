//! A memory limit that the kernel enforces, page cache included.

use std::path::PathBuf;
use std::time::Duration;

/// A control group with a limit; gone when dropped, which its processes have to be before.
pub struct MemoryLimit(PathBuf);

impl MemoryLimit {
    /// Puts a process under a limit. Nothing where this machine lets us have no group of our own.
    pub fn on(pid: u32, bytes: u64) -> Option<MemoryLimit> {
        let name = format!("projectord-test-{pid}");
        // Version 1 of control groups, then version 2.
        let places = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        for (parent, limit) in places {
            if !std::path::Path::new(parent).join("cgroup.procs").exists() {
                continue;
            }
            let group = PathBuf::from(parent).join(&name);
            if std::fs::create_dir(&group).is_err() {
                continue;
            }
            let group = MemoryLimit(group);
            let write = |file: &str, text: String| std::fs::write(group.0.join(file), text).is_ok();
            if write(limit, bytes.to_string()) && write("cgroup.procs", pid.to_string()) {
                return Some(group);
            }
        }
        None
    }

    /// The most that was ever charged, page cache included.
    pub fn most_bytes(&self) -> u64 {
        let read = |file: &str| std::fs::read_to_string(self.0.join(file)).ok()?.trim().parse().ok();
        read("memory.max_usage_in_bytes").or_else(|| read("memory.peak")).unwrap_or(0)
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        // A process that was killed stays in its group for a moment.
        for _ in 0..100 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
