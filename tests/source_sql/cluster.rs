//! A throw-away PostgreSQL, and the plainest possible `Sql` over an ordinary connection.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use projectord::source::postgres::snapshot::failure;
use projectord::source::postgres::sql::TextRows;
use projectord::source::postgres::{Error, Options, Sql, SslMode};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// No wait of a test takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Cluster {
    folder: tempfile::TempDir,
}

impl Cluster {
    /// Starts a cluster with these settings on top of what every test needs.
    pub fn start(settings: &[(&str, &str)]) -> Cluster {
        let folder = tempfile::tempdir().unwrap();
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(folder.path()));
        }
        let cluster = Cluster { folder };
        let data = cluster.data();
        run(tool("initdb")
            .args(["-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"])
            .args(["--wal-segsize=1", "-D"])
            .arg(&data));
        let mut text = format!(
            "listen_addresses = ''\nunix_socket_directories = '{}'\nfsync = off\nshared_buffers = 16MB\n\
             wal_level = logical\nmax_replication_slots = 10\nmax_prepared_transactions = 5\n\
             min_wal_size = 2MB\nmax_wal_size = 20MB\nautovacuum = off\n",
            cluster.folder.path().display()
        );
        for (name, value) in settings {
            text.push_str(&format!("{name} = '{value}'\n"));
        }
        let path = data.join("postgresql.conf");
        std::fs::write(&path, text).unwrap();
        cluster.start_server();
        cluster
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn start_server(&self) {
        run(tool("pg_ctl")
            .args(["start", "-w", "-s", "-D"])
            .arg(self.data())
            .arg("-l")
            .arg(self.folder.path().join("log")));
    }

    pub fn stop_server(&self) {
        run(tool("pg_ctl").args(["stop", "-w", "-s", "-m", "fast", "-D"]).arg(self.data()));
    }

    pub fn promote(&self) {
        run(tool("pg_ctl").args(["promote", "-w", "-s", "-D"]).arg(self.data()));
    }

    /// Makes the server a standby at its next start.
    pub fn become_standby(&self) {
        let path = self.data().join("standby.signal");
        std::fs::write(&path, "").unwrap();
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(path));
        }
    }

    pub async fn connect(&self, database: &str, user: &str) -> Plain {
        let mut config = tokio_postgres::Config::new();
        config.host_path(self.folder.path()).dbname(database).user(user).application_name("test");
        let (client, connection) = config.connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        let mut plain = Plain { client };
        plain.pin().await;
        plain
    }

    /// A fresh database of this name, connected to as the superuser.
    pub async fn database(&self, name: &str) -> Plain {
        let mut postgres = self.connect("postgres", "postgres").await;
        postgres.run(&format!("CREATE DATABASE {name}")).await;
        self.connect(name, "postgres").await
    }

    pub fn options(&self, database: &str) -> Options {
        Options {
            host: self.folder.path().display().to_string(),
            port: 5432,
            database: database.to_owned(),
            user: "postgres".to_owned(),
            password: None,
            read_user: None,
            read_password: None,
            ssl_mode: SslMode::Disable,
            ssl_ca: None,
            application_name: "projectord".to_owned(),
            slot: "projectord".to_owned(),
            publication: "projectord".to_owned(),
            manage: true,
            connect_timeout: Duration::from_secs(5),
            status_interval: Duration::from_secs(1),
            catalog_interval: Duration::from_secs(10),
            chunk_rows: 100,
            chunk_target: Duration::from_secs(1),
        }
    }

    /// A client that streams from a slot until it is dropped.
    pub fn stream(&self, database: &str, slot: &str, publication: &str) -> Stream {
        let child = tool("pg_recvlogical")
            .args(["--start", "--no-loop", "-f", "/dev/null", "-U", "postgres", "-h"])
            .arg(self.folder.path())
            .args(["-d", database, "-S", slot, "-o", "proto_version=1", "-o"])
            .arg(format!("publication_names={publication}"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Stream(child)
    }

    /// psql as the superuser, with nothing to say of its own.
    pub fn psql_command(&self, database: &str) -> Command {
        let mut command = tool("psql");
        command
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database, "-h"])
            .arg(self.folder.path())
            .stdout(Stdio::piped());
        command
    }

    /// As one does who forgot ON_ERROR_STOP: every statement is tried.
    pub fn psql_on_and_on(&self, database: &str, script: &Path) -> String {
        let script = std::fs::File::open(script).unwrap();
        let output = self.psql_command(database).args(["-v", "ON_ERROR_STOP=0"]).stdin(script).output();
        String::from_utf8_lossy(&output.unwrap().stderr).into_owned()
    }

    /// Runs a script as psql does, and returns what it said on stderr.
    pub fn psql(&self, database: &str, script: &Path) -> Result<(), String> {
        let script = std::fs::File::open(script).unwrap();
        let output = self.psql_command(database).stdin(script).output().unwrap();
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = tool("pg_ctl").args(["stop", "-s", "-m", "immediate", "-D"]).arg(self.data()).status();
    }
}

pub struct Stream(Child);

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A program of PostgreSQL, which refuses to run as root.
fn tool(name: &str) -> Command {
    let folder = std::env::var("PROJECTORD_PG_BIN").unwrap_or("/usr/lib/postgresql/15/bin".to_owned());
    let mut path = Path::new(&folder).join(name);
    if !path.exists() {
        // Not every build brings all clients; those of Debian's 15 speak to all servers.
        path = Path::new("/usr/lib/postgresql/15/bin").join(name);
    }
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(path);
        command
    } else {
        Command::new(path)
    };
    command.current_dir("/").stdout(Stdio::null());
    command
}

fn run(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

/// An ordinary connection.
pub struct Plain {
    pub client: Client,
}

impl Plain {
    /// What the real connections pin in their startup packet.
    async fn pin(&mut self) {
        for (name, value) in projectord::source::postgres::settings::PINNED {
            self.run(&format!("SET {name} = '{value}'")).await;
        }
    }

    pub async fn run(&mut self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    pub async fn text(&mut self, sql: &str) -> String {
        let rows = self.rows("test", sql).await.unwrap();
        rows[0][0].clone().unwrap_or_default()
    }

    /// Asks until the answer is this one.
    pub async fn until(&mut self, sql: &str, expected: &str) {
        let begin = Instant::now();
        loop {
            let answer = self.text(sql).await;
            if answer == expected {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "{sql} is still {answer}, not {expected}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Sql for Plain {
    fn rows<'a>(
        &'a mut self,
        operation: &'static str,
        sql: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<TextRows, Error>> + Send + 'a>> {
        Box::pin(async move {
            let answer = self.client.simple_query(sql).await.map_err(|error| failure(operation, &error))?;
            let row = |message| match message {
                SimpleQueryMessage::Row(row) => {
                    Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect())
                }
                _ => None,
            };
            Ok(answer.into_iter().filter_map(row).collect())
        })
    }
}

/// Names as the room's functions take them.
pub fn names(list: &[&str]) -> Vec<(String, String)> {
    let split =
        |name: &&str| name.split_once('.').map(|(schema, table)| (schema.to_owned(), table.to_owned()));
    list.iter().map(|name| split(name).unwrap()).collect()
}
