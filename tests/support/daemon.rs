//! The built binary, run as an operator would: a configuration file, a data folder, signals.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::elasticsearch::Elasticsearch;
use super::http;
use super::postgres::Postgres;
use super::process::Process;

/// Limit of a start until the first status.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Limit of a first backfill or of catching up on a busy machine.
pub const CATCH_UP: Duration = Duration::from_secs(180);
/// Limit of noticing what must be refused.
const REFUSAL_LIMIT: Duration = Duration::from_secs(30);
/// How often a busy port may make us configure the daemon anew.
const PORT_ATTEMPTS: u32 = 5;

/// What the configuration says beyond the servers.
#[derive(Clone, Debug)]
pub struct Options {
    pub database: String,
    /// Projection files; their index names get the prefix of the test.
    pub projections: Vec<PathBuf>,
    pub slot: String,
    pub publication: String,
    /// Top-level YAML that is appended to the configuration as it is.
    pub extra: String,
    /// Lines of the sections `source` and `sink`, indented by two blanks, each ended.
    pub source_extra: String,
    pub sink_extra: String,
    pub user: String,
    /// Where a proxy listens that stands before PostgreSQL.
    pub source_port: Option<u16>,
    /// Where a proxy listens that stands before Elasticsearch.
    pub sink_port: Option<u16>,
    /// Another data folder than its own.
    pub data: Option<PathBuf>,
    /// Variables of the daemon's environment.
    pub environment: Vec<(String, String)>,
    /// A program, and its arguments, that runs the daemon: strace, say. The daemon's own follow.
    pub wrapper: Vec<String>,
}

impl Options {
    /// Both projections of the shop.
    pub fn shop() -> Options {
        let folder = super::package_root().join("config/projections");
        Options {
            database: super::shop::DATABASE.to_owned(),
            projections: vec![folder.join("product.yaml"), folder.join("order.yaml")],
            slot: "projectord".to_owned(),
            publication: "projectord".to_owned(),
            extra: String::new(),
            source_extra: String::new(),
            sink_extra: String::new(),
            user: "postgres".to_owned(),
            source_port: None,
            sink_port: None,
            data: None,
            environment: Vec::new(),
            wrapper: Vec::new(),
        }
    }
}

/// A daemon and its folder. Killed and removed when dropped; the slot stays in the database.
pub struct Daemon {
    folder: tempfile::TempDir,
    options: Options,
    postgres_port: u16,
    sink_url: String,
    http_port: u16,
    process: Option<Process>,
    /// Bytes of the log before the last start.
    log_before: usize,
}

impl Daemon {
    /// Writes the configuration and starts `projectord run`; returns when it answers.
    pub fn start(postgres: &Postgres, elasticsearch: &Elasticsearch, options: &Options) -> Daemon {
        let mut daemon = Daemon::prepare(postgres, elasticsearch, options);
        daemon.start_again();
        daemon
    }

    /// Only the folder and the configuration, for commands that need no running daemon.
    pub fn prepare(postgres: &Postgres, elasticsearch: &Elasticsearch, options: &Options) -> Daemon {
        let folder = super::private_folder("daemon");
        let projections = folder.path().join("projections");
        std::fs::create_dir(&projections).expect("a folder");
        for file in &options.projections {
            let text =
                std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            let prefixed = with_index_prefix(&text, elasticsearch.prefix());
            std::fs::write(projections.join(file.file_name().expect("a file")), prefixed)
                .expect("a projection");
        }
        let daemon = Daemon {
            folder,
            options: options.clone(),
            postgres_port: options.source_port.unwrap_or(postgres.port()),
            sink_url: match options.sink_port {
                Some(port) => format!("http://127.0.0.1:{port}"),
                None => elasticsearch.url().to_owned(),
            },
            http_port: super::free_port(),
            process: None,
            log_before: 0,
        };
        daemon.write_config();
        daemon
    }

    /// Starts on the same data folder and waits until it answers.
    pub fn start_again(&mut self) {
        for _ in 0..PORT_ATTEMPTS {
            self.spawn();
            let process = self.process.as_mut().expect("just spawned");
            let url = format!("http://127.0.0.1:{}/status", self.http_port);
            let ended = super::wait_for("projectord answers", START_LIMIT, || {
                if let Some(status) = process.ended() {
                    return Ok(Some(status));
                }
                http::get(&url).map(|_| None)
            });
            let Some(status) = ended else { return };
            self.process = None;
            let log = self.log();
            assert!(log.contains("in use"), "projectord ended, {status}:\n{log}");
            self.http_port = super::free_port();
            self.write_config();
        }
        panic!("projectord found no free port in {PORT_ATTEMPTS} attempts");
    }

    /// Starts without waiting, for starts that must be refused: see [`Daemon::wait_end`].
    pub fn spawn(&mut self) {
        assert!(self.process.is_none(), "projectord runs already");
        self.log_before = self.log().len();
        let mut command = match self.options.wrapper.split_first() {
            None => self.command(&["run"]),
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(binary()).args(["run", "--config"]).arg(self.config_file());
                command.envs(self.options.environment.iter().cloned());
                command
            }
        };
        self.process = Some(Process::spawn(&mut command, &self.folder.path().join("projectord.log")));
    }

    /// How it ended by itself.
    pub fn wait_end(&mut self, limit: Duration) -> ExitStatus {
        let mut process = self.process.take().expect("projectord runs");
        super::wait_for("projectord ends", limit, || process.ended().ok_or_else(|| self.log_end()))
    }

    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.ended().is_none())
    }

    /// Whether it was started and its end was not taken notice of.
    pub fn is_started(&self) -> bool {
        self.process.is_some()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process.take().expect("projectord runs").kill();
    }

    /// SIGTERM, not waited for: see [`Daemon::wait_end`].
    pub fn ask_to_stop(&self) {
        self.process.as_ref().expect("projectord runs").signal(Signal::TERM);
    }

    /// Variables of its environment, as its options name them.
    pub fn environment(&self) -> Vec<(String, String)> {
        self.options.environment.clone()
    }

    /// SIGTERM. How it ended and how long that took.
    pub fn terminate(&mut self) -> (ExitStatus, Duration) {
        self.process.take().expect("projectord runs").stop(Signal::TERM)
    }

    /// It keeps its connections and its locks and does nothing, as a paused machine.
    pub fn freeze(&self) {
        self.process.as_ref().expect("projectord runs").freeze();
    }

    pub fn thaw(&self) {
        self.process.as_ref().expect("projectord runs").thaw();
    }

    /// Runs another command of the binary with this daemon's configuration.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the binary runs")
    }

    /// `GET /status`, or nothing while it does not answer.
    pub fn status(&self) -> Option<Value> {
        let answer = http::get(&format!("http://127.0.0.1:{}/status", self.http_port)).ok()?;
        (answer.status == 200).then(|| answer.json())
    }

    /// Asks for the status until `accept` says yes to one.
    pub fn wait_status(&self, what: &str, limit: Duration, accept: impl Fn(&Value) -> bool) -> Value {
        super::wait_for(what, limit, || match self.status() {
            Some(status) if accept(&status) => Ok(status),
            status => Err(format!("last status {status:?}\n{}", self.log_end())),
        })
    }

    /// Until every projection is live and everything that is committed now is in the index.
    ///
    /// The caller has stopped writing; another table's writes would only make this wait longer.
    pub fn wait_projected(&self, postgres: &Postgres, limit: Duration) -> Value {
        let now = parse_lsn(&postgres.session("postgres").value("SELECT pg_current_wal_insert_lsn()"));
        self.wait_status("everything is projected", limit, |status| {
            let live = status["projections"]
                .as_array()
                .is_some_and(|all| !all.is_empty() && all.iter().all(|one| one["state"] == "live"));
            let projected = status["watermarks"]["projected"].as_str().map(parse_lsn);
            live && projected.is_some_and(|projected| projected >= now)
        })
    }

    pub fn http_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http_port)
    }

    pub fn data_folder(&self) -> PathBuf {
        self.options.data.clone().unwrap_or_else(|| self.folder.path().join("data"))
    }

    /// Other options from the next start on; those of [`Daemon::prepare`] (servers, projections) stay.
    pub fn change(&mut self, change: impl FnOnce(&mut Options)) {
        change(&mut self.options);
        self.write_config();
    }

    /// Another `extra` from the next start on.
    pub fn configure(&mut self, extra: &str) {
        self.options.extra = extra.to_owned();
        self.write_config();
    }

    /// Must end by itself with this exit code, having said this.
    pub fn wait_refusal(&mut self, exit: i32, code: &str) {
        let status = self.wait_end(REFUSAL_LIMIT);
        let end = self.said();
        assert_eq!(status.code(), Some(exit), "{code} was expected\n{end}");
        assert!(end.contains(code), "{code} is not said\n{end}");
    }

    /// As [`Daemon::wait_projected`], then everything of the shop must be equal. The number of documents.
    pub fn in_step(&self, postgres: &Postgres, elasticsearch: &Elasticsearch) -> usize {
        self.wait_projected(postgres, CATCH_UP);
        let compared = super::shop::compare(&postgres.session(super::shop::DATABASE), elasticsearch);
        match compared {
            Ok(documents) => {
                println!("{documents} documents are in step");
                documents
            }
            Err(report) => panic!("{report}\n{}", self.log_end()),
        }
    }

    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("projectord runs").pid()
    }

    /// A line of /proc/PID/status in KiB, such as VmHWM.
    pub fn memory_kib(&self, name: &str) -> u64 {
        let pid = self.pid();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }

    pub fn config_file(&self) -> PathBuf {
        self.folder.path().join("projectord.yaml")
    }

    /// Where the projection files are, for tests that change one.
    pub fn projections_folder(&self) -> PathBuf {
        self.folder.path().join("projections")
    }

    /// Everything that it has said so far, in all its runs.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("projectord.log")).unwrap_or_default()
    }

    /// What it has said since its last start.
    pub fn said(&self) -> String {
        self.log().split_off(self.log_before)
    }

    pub fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).arg("--config").arg(self.config_file());
        command.envs(self.options.environment.iter().cloned());
        command
    }

    fn write_config(&self) {
        let folder = self.folder.path().display();
        let config = format!(
            "source:\n  host: 127.0.0.1\n  port: {postgres}\n  database: {database}\n  user: {user}\n  \
             sslmode: disable\n  slot: {slot}\n  publication: {publication}\n  manage: true\n{source_extra}\
             sink:\n  kind: elasticsearch\n  urls: [\"{sink}\"]\n{sink_extra}\
             data: {data}\nprojections: [{folder}/projections]\nhttp:\n  listen: 127.0.0.1:{http}\n{extra}\n",
            user = self.options.user,
            source_extra = self.options.source_extra,
            sink_extra = self.options.sink_extra,
            data = self.data_folder().display(),
            postgres = self.postgres_port,
            database = self.options.database,
            slot = self.options.slot,
            publication = self.options.publication,
            sink = self.sink_url,
            http = self.http_port,
            extra = self.options.extra,
        );
        std::fs::write(self.config_file(), config).expect("a configuration");
    }
}

/// PROJECTORD_TEST_BINARY, or the binary of this build.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("PROJECTORD_TEST_BINARY") {
        Some(binary) => PathBuf::from(binary),
        None => PathBuf::from(env!("CARGO_BIN_EXE_projectord")),
    })
}

/// `16/B374D848` as a number, to compare.
pub fn parse_lsn(text: &str) -> u64 {
    let (high, low) = text.split_once('/').unwrap_or_else(|| panic!("{text:?} is no LSN"));
    let part = |hex: &str| u64::from_str_radix(hex, 16).unwrap_or_else(|_| panic!("{text:?} is no LSN"));
    (part(high) << 32) | part(low)
}

/// Every line `index: NAME` at the left edge becomes `index: PREFIXNAME`.
fn with_index_prefix(text: &str, prefix: &str) -> String {
    let line = |line: &str| match line.strip_prefix("index:") {
        Some(name) => format!("index: {prefix}{}\n", name.trim()),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}
