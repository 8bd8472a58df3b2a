//! A private PostgreSQL cluster that a test may stop, crash, kill and start again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use super::process::{self, Process};
use super::session::Session;

/// Limit of a start, crash recovery included.
const START_LIMIT: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
pub struct Options {
    /// Off is quick; on where a test crashes the server and looks at what survived.
    pub fsync: bool,
    /// Lines of postgresql.conf that win over ours.
    pub settings: Vec<String>,
    /// Folder of the programs; [`program_folder`] when none is given.
    pub programs: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Options {
        Options { fsync: true, settings: Vec::new(), programs: None }
    }
}

/// A cluster. Stopped and removed when dropped.
pub struct Postgres {
    programs: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
    process: Option<Process>,
}

impl Postgres {
    /// initdb, settings, start, wait until it answers.
    pub fn start(options: &Options) -> Postgres {
        let folder = super::private_folder("postgres");
        process::give_to_server_user(folder.path());
        // After the line above, which must not touch the links' other end in the cache.
        let programs = reachable(options.programs.clone().unwrap_or_else(program_folder), folder.path());
        let data = folder.path().join("data");
        process::run(
            process::server_command(&programs.join("initdb"))
                .current_dir("/")
                .args(["-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync", "-D"])
                .arg(&data),
        );
        let port = super::free_port();
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nunix_socket_directories = '{}'\nwal_level = logical\n\
             max_replication_slots = 20\nmax_wal_senders = 20\nmax_connections = 200\n\
             max_slot_wal_keep_size = 4GB\nmax_wal_size = 2GB\nshared_buffers = 64MB\nfsync = {}\n{}\n",
            folder.path().display(),
            if options.fsync { "on" } else { "off" },
            options.settings.join("\n"),
        );
        let conf = data.join("postgresql.conf");
        let before = std::fs::read_to_string(&conf).expect("initdb made it");
        std::fs::write(&conf, before + &settings).expect("settings are written");
        let mut postgres = Postgres { programs, folder, port, process: None };
        postgres.start_again();
        postgres
    }

    /// Without fsync: for tests in which the server itself is not in danger.
    pub fn start_quick() -> Postgres {
        Postgres::start(&Options { fsync: false, ..Options::default() })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn data_folder(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// For tokio-postgres and [`Session::connect`].
    pub fn url(&self, database: &str) -> String {
        format!("host=127.0.0.1 port={} user=postgres dbname={database}", self.port)
    }

    pub fn session(&self, database: &str) -> Session {
        Session::connect(&self.url(database)).expect("the server answers")
    }

    /// Runs psql; panics when a statement fails. Answers what it printed, unaligned, values only.
    pub fn psql(&self, database: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(if self.programs.join("psql").exists() {
            self.programs.join("psql")
        } else {
            PathBuf::from("psql")
        });
        command.env("PGOPTIONS", "-c client_min_messages=warning -c timezone=UTC");
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "postgres"]);
        command.args(["-p", &self.port.to_string(), "-d", database]).args(arguments);
        process::run(&mut command)
    }

    pub fn create_database(&self, name: &str) {
        self.psql("postgres", &["-c", &format!("CREATE DATABASE {name}")]);
    }

    /// Starts on the same data. Recovery is waited for.
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "PostgreSQL runs already");
        let log = self.folder.path().join("postgres.log");
        let mut attempts = 0;
        loop {
            attempts += 1;
            let port = self.port.to_string();
            let mut command = process::server_command(&self.programs.join("postgres"));
            command.current_dir("/").arg("-D").arg(self.data_folder()).args(["-p", &port]);
            let mut process = Process::spawn(&mut command, &log);
            let url = self.url("postgres");
            let answered = super::wait_for("PostgreSQL starts", START_LIMIT, || {
                if process.ended().is_some() {
                    return Ok(false);
                }
                Session::connect(&url).map(|_| true).map_err(|error| error.to_string())
            });
            if answered && process.ended().is_none() {
                self.process = Some(process);
                return;
            }
            // The port may have been taken between the look and the start.
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            assert!(
                attempts < 5 && said.contains("Address already in use"),
                "PostgreSQL does not start:\n{said}"
            );
            self.port = super::free_port();
        }
    }

    /// A copy of the running cluster as it is now, not started, in a folder of its own. As every base backup
    /// it holds no replication slots. With `standby` it follows this server once it is started.
    pub fn base_backup(&self, standby: bool) -> Postgres {
        let folder = super::private_folder("postgres");
        process::give_to_server_user(folder.path());
        let data = folder.path().join("data");
        let mut command = process::server_command(&self.programs.join("pg_basebackup"));
        command.current_dir("/").args(["-h", "127.0.0.1", "-U", "postgres", "-X", "stream", "-c", "fast"]);
        command.args(["-p", &self.port.to_string()]).args(standby.then_some("-R")).arg("-D").arg(&data);
        process::run(&mut command);
        let conf = data.join("postgresql.conf");
        let before = std::fs::read_to_string(&conf).expect("it was copied");
        let own = format!("unix_socket_directories = '{}'\n", folder.path().display());
        std::fs::write(&conf, before + &own).expect("settings are written");
        Postgres { programs: self.programs.clone(), folder, port: super::free_port(), process: None }
    }

    /// Ends a standby's recovery: it is a primary, on a new timeline, when this returns.
    pub fn promote(&self) {
        self.session("postgres").must("SELECT pg_promote()");
    }

    /// `pg_ctl stop -m fast`: rolls clients back, waits for walsenders. Answers how long it took.
    pub fn stop_fast(&mut self) -> Duration {
        let mut process = self.process.take().expect("PostgreSQL runs");
        process.stop(Signal::INT).1
    }

    /// `pg_ctl stop -m immediate`: the next start recovers from the log.
    pub fn crash(&mut self) {
        self.process.take().expect("PostgreSQL runs").stop(Signal::QUIT);
    }

    /// `kill -9` for the server and all its processes.
    pub fn kill(&mut self) {
        self.process.take().expect("PostgreSQL runs").kill();
    }

    /// The server hangs: connections stay open and nobody answers.
    pub fn freeze(&self) {
        self.process.as_ref().expect("PostgreSQL runs").freeze();
    }

    pub fn thaw(&self) {
        self.process.as_ref().expect("PostgreSQL runs").thaw();
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("postgres.log")).unwrap_or_default()
    }
}

/// Of the version in PROJECTORD_TEST_POSTGRES; else from PROJECTORD_POSTGRES_BIN, the distribution's folders,
/// or the cache, where 15 is preferred.
pub fn program_folder() -> PathBuf {
    if let Ok(version) = std::env::var("PROJECTORD_TEST_POSTGRES") {
        let distribution = PathBuf::from(format!("/usr/lib/postgresql/{version}/bin"));
        let found = [distribution, cached_program_folder(&version)];
        let found = found.into_iter().find(|folder| folder.join("initdb").exists());
        return found.unwrap_or_else(|| panic!("PostgreSQL {version} is missing: run scripts/test --all"));
    }
    if let Some(folder) = std::env::var_os("PROJECTORD_POSTGRES_BIN") {
        return PathBuf::from(folder);
    }
    ["15", "16", "17", "18", "14"]
        .iter()
        .map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")))
        .chain(["18", "17", "16"].iter().map(|version| cached_program_folder(version)))
        .find(|folder| folder.join("initdb").exists())
        .expect("PostgreSQL is not installed: run scripts/test once")
}

/// Where scripts/lib/cache.sh puts another major version.
pub fn cached_program_folder(major: &str) -> PathBuf {
    super::server_cache().join(format!("postgres-{major}/bin"))
}

/// Root's own folders are closed to the servers' user: then a copy of hard links is made.
fn reachable(programs: PathBuf, folder: &Path) -> PathBuf {
    let can_run = process::server_command(Path::new("test"))
        .arg("-x")
        .arg(programs.join("initdb"))
        .status()
        .is_ok_and(|status| status.success());
    if can_run {
        return programs;
    }
    let copy = folder.join("program");
    copy_by_links(programs.parent().expect("bin has a parent"), &copy);
    copy.join("bin")
}

/// Copies a tree; hard links where the file system allows it.
pub fn copy_by_links(from: &Path, to: &Path) {
    let linked = Command::new("cp").arg("-al").args([from, to]).output().expect("cp runs");
    if !linked.status.success() {
        let _ = std::fs::remove_dir_all(to);
        process::run(Command::new("cp").arg("-a").args([from, to]));
    }
}
