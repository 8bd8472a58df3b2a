//! A private PostgreSQL for one test: own folder, own port, gone at the end.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use projectord::source::postgres::{Options, SqlClient, SslMode, client};
use secrecy::SecretString;

pub const DATABASE: &str = "app";

/// Who must prove what, by TCP.
const HBA: &str = "
local   all all                trust
host    all trusty   samehost  trust
host    all hashed   samehost  md5
host    all plain    samehost  password
host    all scrammed samehost  scram-sha-256
hostssl all secure   samehost  scram-sha-256
";

pub struct Cluster {
    folder: tempfile::TempDir,
    port: u16,
}

impl Cluster {
    /// Starts a server with these lines of configuration, the database and the roles of the tests.
    pub async fn start(settings: &str) -> Cluster {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::Builder::new().prefix("wire").tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let cluster = Cluster { folder, port };
        let data = cluster.path("data");
        cluster.run(
            "initdb",
            &["-D", &data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
        );
        cluster.make_certificates();
        let socket = cluster.folder.path().display();
        let configuration = format!(
            "port={port}\nunix_socket_directories='{socket}'\nlisten_addresses='localhost'\nwal_level=logical\n\
             fsync=off\nssl=on\nssl_cert_file='{socket}/server.crt'\nssl_key_file='{socket}/server.key'\n{settings}\n"
        );
        fs::write(format!("{data}/conf.d.conf"), configuration).unwrap();
        let main = format!("{data}/postgresql.conf");
        fs::write(&main, fs::read_to_string(&main).unwrap() + "\ninclude 'conf.d.conf'\n").unwrap();
        fs::write(format!("{data}/pg_hba.conf"), HBA).unwrap();
        cluster.run("pg_ctl", &["-D", &data, "-w", "-l", &cluster.path("log"), "start"]);
        let mut options = cluster.local();
        options.database = "postgres".to_owned();
        let sql = client::connect(&options).await.unwrap();
        for statement in [
            "CREATE DATABASE app",
            "SET password_encryption = 'md5'; CREATE ROLE hashed LOGIN REPLICATION PASSWORD 'right'",
            "SET password_encryption = 'scram-sha-256'",
            "CREATE ROLE trusty LOGIN REPLICATION; CREATE ROLE nobody LOGIN REPLICATION PASSWORD 'right'",
            "CREATE ROLE scrammed LOGIN REPLICATION PASSWORD 'right'",
            "CREATE ROLE plain LOGIN REPLICATION PASSWORD 'right'",
            "CREATE ROLE secure LOGIN REPLICATION PASSWORD 'right'",
        ] {
            sql.client().batch_execute(statement).await.unwrap();
        }
        cluster
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// As the superuser over the unix socket.
    pub fn local(&self) -> Options {
        Options { host: self.folder.path().display().to_string(), port: self.port, ..Cluster::unreachable() }
    }

    /// Options that lead nowhere yet.
    pub fn unreachable() -> Options {
        Options {
            host: String::new(),
            port: 0,
            database: DATABASE.to_owned(),
            user: "postgres".to_owned(),
            password: None,
            read_user: None,
            read_password: None,
            ssl_mode: SslMode::VerifyFull,
            ssl_ca: None,
            application_name: "wire".to_owned(),
            slot: "slot".to_owned(),
            publication: "publication".to_owned(),
            manage: false,
            connect_timeout: Duration::from_secs(20),
            status_interval: Duration::from_secs(10),
            catalog_interval: Duration::from_secs(10),
            chunk_rows: 1000,
            chunk_target: Duration::from_secs(1),
        }
    }

    /// By TCP and without TLS.
    pub fn tcp(&self, user: &str, password: Option<&str>) -> Options {
        Options {
            host: "localhost".to_owned(),
            user: user.to_owned(),
            password: password.map(SecretString::from),
            ssl_mode: SslMode::Disable,
            ..self.local()
        }
    }

    pub async fn sql(&self) -> SqlClient {
        client::connect(&self.local()).await.unwrap()
    }

    /// Stops the way an administrator does; fails when that takes longer than this.
    pub fn stop_fast(&self, seconds_max: u32) {
        self.run(
            "pg_ctl",
            &["-D", &self.path("data"), "-w", "-t", &seconds_max.to_string(), "-m", "fast", "stop"],
        );
    }

    /// A CA of our own, and a certificate of it for `localhost` alone.
    fn make_certificates(&self) {
        let extensions = self.path("extensions");
        fs::write(&extensions, "subjectAltName=DNS:localhost\n").unwrap();
        let (ca, ca_key) = (self.path("ca.crt"), self.path("ca.key"));
        let (server, server_key, request) =
            (self.path("server.crt"), self.path("server.key"), self.path("request"));
        for (name, key, out) in
            [("ca", &ca_key, &ca), ("other", &self.path("other.key"), &self.path("other.crt"))]
        {
            let subject = format!("/CN={name}");
            self.run(
                "openssl",
                &[
                    "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", &subject,
                    "-keyout", key, "-out", out,
                ],
            );
        }
        self.run(
            "openssl",
            &[
                "req",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-subj",
                "/CN=server",
                "-keyout",
                &server_key,
                "-out",
                &request,
            ],
        );
        self.run(
            "openssl",
            &[
                "x509",
                "-req",
                "-in",
                &request,
                "-CA",
                &ca,
                "-CAkey",
                &ca_key,
                "-CAcreateserial",
                "-days",
                "2",
                "-extfile",
                &extensions,
                "-out",
                &server,
            ],
        );
    }

    /// Runs a program; as `postgres` when we are root, which the server refuses to be.
    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", program]);
            command
        } else {
            Command::new(program)
        };
        let log = self.path("output");
        let output = fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let status = command
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .status()
            .unwrap();
        assert!(status.success(), "{program}: {}", fs::read_to_string(&log).unwrap());
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").unwrap().uid() == 0
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if Path::new(&self.path("data/postmaster.pid")).exists() {
            self.run("pg_ctl", &["-D", &self.path("data"), "-m", "immediate", "stop"]);
        }
    }
}
