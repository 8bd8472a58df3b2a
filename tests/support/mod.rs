//! The world around the daemon, for integration tests: private servers, the shop, an oracle, a workload.
//!
//! Use it with `mod support;`. Everything here blocks and owns its threads, so that it works in a plain
//! `#[test]` as well as beside a runtime. Whatever a test starts is stopped and removed when its value is
//! dropped. It is not a framework: a test reads top to bottom and says what it starts.
//!
//! ```text
//!   workload ──> postgres ──> daemon ──> elasticsearch
//!                    └────────> oracle <──────┘
//! ```
#![allow(dead_code)] // Each test binary uses the part that it needs.

pub mod daemon;
pub mod disk;
pub mod elasticsearch;
pub mod http;
pub mod journal;
pub mod json;
pub mod memory;
pub mod northwind;
pub mod oracle;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod session;
pub mod shop;
pub mod wire;
pub mod workload;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The folder that holds Cargo.toml.
pub fn package_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where scripts/lib/cache.sh keeps unpacked servers.
pub fn server_cache() -> PathBuf {
    let cache = match std::env::var_os("PROJECTORD_CACHE") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache/projectord"),
    };
    cache.join("servers")
}

/// A folder of this test's own that the servers' user can enter, too.
pub fn private_folder(name: &str) -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::Builder::new().prefix(&format!("projectord-{name}-")).tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("permissions");
    folder
}

/// A port on the loopback that was free a moment ago. Two tests may be given the same one: whoever starts a
/// server tries another port when it is taken by then.
pub fn free_port() -> u16 {
    loop {
        let port = fastrand::u16(20_000..32_000);
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Asks until there is an answer. Panics with the last refusal when there is none in time.
pub fn wait_for<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let begin = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(refusal) if begin.elapsed() > limit => panic!("{what}: not within {limit:?}: {refusal}"),
            Err(_) => std::thread::sleep(POLL),
        }
    }
}

/// How often [`wait_for`] asks.
const POLL: Duration = Duration::from_millis(20);
