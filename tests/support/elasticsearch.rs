//! A private Elasticsearch node, or the one that scripts/test shares among all tests.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::http::{self, Answer};
use super::postgres::copy_by_links;
use super::process::{self, Process};

/// The version that tests start by default.
pub const VERSION: &str = "8.19.16";
/// Who may do everything in a secured node.
const ADMINISTRATOR: &str = "administrator";
/// Limit of a start on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(180);
/// Documents per page when an index is read whole.
const PAGE: usize = 1_000;

/// A node. A private one is stopped and removed when dropped; a shared one only loses the indices of this test.
pub struct Elasticsearch {
    url: String,
    prefix: String,
    node: Option<Node>,
}

struct Node {
    folder: tempfile::TempDir,
    java: PathBuf,
    process: Option<Process>,
}

impl Node {
    /// One of the programs of the distribution, as it must be run.
    fn command(&self, program: &str) -> Command {
        let home = self.folder.path();
        let mut command = process::server_command(&home.join("program/bin").join(program));
        command
            .current_dir(home.join("home"))
            .env("HOME", home.join("home"))
            .env("ES_JAVA_HOME", &self.java)
            .env("ES_PATH_CONF", home.join("config"))
            .env("ES_TMPDIR", home.join("tmp"))
            // The launcher is a JVM as well, and leaves folders where it takes the temporary ones from.
            .env("CLI_JAVA_OPTS", format!("-Djava.io.tmpdir={}", home.join("tmp").display()));
        command
    }
}

/// A document as it stands in an index.
#[derive(Clone, Debug)]
pub struct Stored {
    pub id: String,
    pub version: u64,
    pub source: String,
}

impl Elasticsearch {
    /// The shared node of PROJECTORD_TEST_ELASTICSEARCH, or a private one where there is none.
    pub fn shared() -> Elasticsearch {
        match std::env::var("PROJECTORD_TEST_ELASTICSEARCH") {
            Ok(url) => {
                Elasticsearch { url: url.trim_end_matches('/').to_owned(), prefix: new_prefix(), node: None }
            }
            Err(_) => Elasticsearch::start(VERSION),
        }
    }

    /// A node of this test's own, which it may kill. The cache must hold the version.
    pub fn start(version: &str) -> Elasticsearch {
        let mut elasticsearch = Elasticsearch::prepare(version, None);
        elasticsearch.start_again();
        elasticsearch
    }

    /// As [`Elasticsearch::start`], with its security on. Whoever asks by [`Elasticsearch::url`] is an administrator;
    /// besides, for each role there is a user of its name with these privileges on the indices of this test. All of
    /// them have the same password. Users and roles stand in files: this distribution cannot make the index for others.
    pub fn start_secured(version: &str, roles: &[(&str, &str)], password: &str) -> Elasticsearch {
        let mut elasticsearch = Elasticsearch::prepare(version, Some(password));
        let mut described = String::new();
        for (role, privileges) in roles {
            described += &format!(
                "{role}:\n  cluster: [monitor]\n  indices:\n    - names: ['{}*']\n      privileges: [{privileges}]\n",
                elasticsearch.prefix
            );
        }
        let file = elasticsearch.private_node().folder.path().join("config/roles.yml");
        std::fs::write(&file, described).expect("roles");
        process::give_to_server_user(&file);
        for (user, role) in roles.iter().map(|(role, _)| (*role, *role)).chain([(ADMINISTRATOR, "superuser")])
        {
            elasticsearch.users(&["useradd", user, "-p", password, "-r", role]);
        }
        elasticsearch.start_again();
        elasticsearch
    }

    /// Changes the users of a secured node, which it notices within seconds.
    pub fn users(&mut self, arguments: &[&str]) {
        process::run(self.private_node().command("elasticsearch-users").args(arguments));
    }

    /// Secured by the administrator's password, if there is one.
    fn prepare(version: &str, password: Option<&str>) -> Elasticsearch {
        let program = super::server_cache().join(format!("elasticsearch-{version}"));
        assert!(program.exists(), "{} is missing: run scripts/test once", program.display());
        let folder = super::private_folder("elasticsearch");
        for name in ["config", "data", "logs", "tmp", "home"] {
            std::fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        process::run(
            Command::new("cp")
                .args(["-r", "--no-preserve=mode"])
                .arg(program.join("config"))
                .arg(folder.path()),
        );
        let config = folder.path().join("config");
        std::fs::create_dir_all(config.join("jvm.options.d")).expect("a folder");
        // Most live for a minute, and would spend it on compiling what they will not use.
        std::fs::write(
            config.join("jvm.options.d/heap.options"),
            "-Xms512m\n-Xmx512m\n-XX:TieredStopAtLevel=1\n",
        )
        .expect("heap options");
        // The log of garbage collections would go into the program's own folder.
        let jvm = config.join("jvm.options");
        let options = std::fs::read_to_string(&jvm).expect("jvm.options");
        let kept: Vec<&str> = options.lines().filter(|line| !line.contains("gc.log")).collect();
        std::fs::write(&jvm, kept.join("\n") + "\n").expect("jvm.options");
        process::give_to_server_user(folder.path());
        copy_by_links(&program, &folder.path().join("program"));
        let java = java_home(if version.starts_with("9.") { 21 } else { 17 });
        let node = Node { folder, java, process: None };
        let mut elasticsearch = Elasticsearch { url: String::new(), prefix: new_prefix(), node: Some(node) };
        elasticsearch.configure(super::free_port(), super::free_port(), password);
        elasticsearch
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// What every index of this test begins with: others may use the same node.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Starts on the same data, and on the same port.
    pub fn start_again(&mut self) {
        let url = self.url.clone();
        let node = self.private_node();
        assert!(node.process.is_none(), "Elasticsearch runs already");
        let log = node.folder.path().join("elasticsearch.log");
        let mut process = Process::spawn(&mut node.command("elasticsearch"), &log);
        super::wait_for("Elasticsearch starts", START_LIMIT, || {
            if let Some(status) = process.ended() {
                panic!("Elasticsearch ended, {status}:\n{}", last_lines(&log));
            }
            let answer = http::get(&format!("{url}/_cluster/health?wait_for_status=yellow&timeout=5s"))?;
            if answer.status == 200 { Ok(()) } else { Err(format!("{}\n{}", answer.body, last_lines(&log))) }
        });
        node.process = Some(process);
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.private_node().process.take().expect("Elasticsearch runs").kill();
    }

    /// SIGTERM: closes its indices properly.
    pub fn stop(&mut self) -> Duration {
        self.private_node().process.take().expect("Elasticsearch runs").stop(Signal::TERM).1
    }

    /// It keeps its connections and does not answer.
    pub fn freeze(&mut self) {
        self.private_node().process.as_ref().expect("Elasticsearch runs").freeze();
    }

    pub fn thaw(&mut self) {
        self.private_node().process.as_ref().expect("Elasticsearch runs").thaw();
    }

    /// `path` begins with a slash.
    pub fn get(&self, path: &str) -> Answer {
        http::get(&format!("{}{path}", self.url)).expect("Elasticsearch answers")
    }

    pub fn post(&self, path: &str, body: &str) -> Answer {
        http::post_json(&format!("{}{path}", self.url), body).expect("Elasticsearch answers")
    }

    pub fn put(&self, path: &str, body: &str) -> Answer {
        http::request("PUT", &format!("{}{path}", self.url), Some(("application/json", body)))
            .expect("Elasticsearch answers")
    }

    pub fn delete(&self, path: &str) -> Answer {
        http::request("DELETE", &format!("{}{path}", self.url), None).expect("Elasticsearch answers")
    }

    /// One document, read in real time, without a refresh.
    pub fn document(&self, index: &str, id: &str) -> Option<Stored> {
        let answer = self.get(&format!("/{index}/_doc/{id}"));
        (answer.status == 200).then(|| {
            let hit: Hit = serde_json::from_str(&answer.body).expect("a document");
            hit.into()
        })
    }

    /// Every document of an index or alias, after a refresh; nothing when there is no such index.
    pub fn scan(&self, index: &str) -> Vec<Stored> {
        if self.post(&format!("/{index}/_refresh"), "").status == 404 {
            return Vec::new();
        }
        let query =
            format!(r#"{{"size":{PAGE},"sort":["_doc"],"version":true,"query":{{"match_all":{{}}}}}}"#);
        let mut page = self.page(&format!("/{index}/_search?scroll=2m"), &query);
        let mut documents = Vec::new();
        while !page.hits.hits.is_empty() {
            documents.extend(page.hits.hits.into_iter().map(Stored::from));
            let next = format!(r#"{{"scroll":"2m","scroll_id":"{}"}}"#, page.scroll_id);
            page = self.page("/_search/scroll", &next);
        }
        documents
    }

    fn page(&self, path: &str, body: &str) -> Page {
        let page: Page = serde_json::from_str(&self.post(path, body).ok().body).expect("a page");
        assert_eq!(page.shards.failed, 0, "a shard did not answer: the page is not whole");
        page
    }

    /// Names of all indices that begin with this test's prefix.
    pub fn indices(&self) -> Vec<String> {
        let answer = self.get(&format!("/{}*/_settings?filter_path=*.settings.index.uuid", self.prefix)).ok();
        answer.json().as_object().map(|all| all.keys().cloned().collect()).unwrap_or_default()
    }

    fn configure(&mut self, http_port: u16, transport_port: u16, password: Option<&str>) {
        let user = password.map(|password| format!("{ADMINISTRATOR}:{password}@")).unwrap_or_default();
        let secured = password.is_some();
        self.url = format!("http://{user}127.0.0.1:{http_port}");
        let home = self.private_node().folder.path();
        let settings = format!(
            "discovery.type: single-node\nnetwork.host: 127.0.0.1\nhttp.port: {http_port}\n\
             transport.port: {transport_port}\npath.data: {data}\npath.logs: {logs}\n\
             xpack.security.enabled: {secured}\ncluster.routing.allocation.disk.threshold_enabled: false\n\
             action.destructive_requires_name: false\n",
            data = home.join("data").display(),
            logs = home.join("logs").display(),
        );
        std::fs::write(home.join("config/elasticsearch.yml"), settings).expect("settings are written");
    }

    fn private_node(&mut self) -> &mut Node {
        self.node.as_mut().expect("only a private Elasticsearch may be stopped: use Elasticsearch::start")
    }
}

impl Drop for Elasticsearch {
    fn drop(&mut self) {
        if self.node.is_none() && !std::thread::panicking() {
            for index in self.indices() {
                self.delete(&format!("/{index}"));
            }
        }
    }
}

#[derive(Deserialize)]
struct Page {
    #[serde(rename = "_scroll_id")]
    scroll_id: String,
    #[serde(rename = "_shards")]
    shards: Shards,
    hits: Hits,
}

#[derive(Deserialize)]
struct Shards {
    failed: u32,
}

#[derive(Deserialize)]
struct Hits {
    hits: Vec<Hit>,
}

#[derive(Deserialize)]
struct Hit {
    #[serde(rename = "_id")]
    id: String,
    #[serde(rename = "_version")]
    version: u64,
    #[serde(rename = "_source")]
    source: Box<RawValue>,
}

impl From<Hit> for Stored {
    fn from(hit: Hit) -> Stored {
        Stored { id: hit.id, version: hit.version, source: hit.source.get().to_owned() }
    }
}

fn new_prefix() -> String {
    format!("t{}-{:06x}-", std::process::id(), fastrand::u32(..0x0100_0000))
}

/// The oldest JDK that is new enough.
pub fn java_home(least: u32) -> PathBuf {
    let installed =
        std::fs::read_dir("/usr/lib/jvm").into_iter().flatten().flatten().map(|entry| entry.path());
    std::env::var_os("JAVA_HOME")
        .map(PathBuf::from)
        .into_iter()
        .chain(installed)
        .filter_map(|home| Some((java_version(&home)?, home)))
        .filter(|(version, _)| *version >= least)
        .min()
        .unwrap_or_else(|| panic!("no JDK of at least version {least}"))
        .1
}

fn java_version(home: &Path) -> Option<u32> {
    let release = std::fs::read_to_string(home.join("release")).ok()?;
    let version = release.lines().find_map(|line| line.strip_prefix("JAVA_VERSION=\""))?;
    version.split(['.', '"', '-', '+']).next()?.parse().ok()
}

fn last_lines(log: &Path) -> String {
    let said = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
