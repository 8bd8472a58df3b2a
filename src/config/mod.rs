//! The configuration: one YAML file, read once, judged whole, never guessed.
//!
//! Flow: [`node`] parses the file into a tree with places; [`section`] walks it, expands `${VARIABLES}`,
//! reads secret files and notes every mistake; the modules named after the file's sections turn what they
//! find into each room's options. Either everything is right and there is a [`Config`], or all mistakes come
//! back at once. Projection files are found here but read by `projection`.

mod effective;
pub mod http;
pub mod limits;
pub mod log;
pub mod nearest;
mod node;
mod projections;
pub mod quantity;
mod secret;
mod section;
pub mod sink;
pub mod source;
pub mod store;
#[cfg(test)]
mod tests;
mod variable;

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::model::Diagnostic;
use crate::source::postgres;

pub use http::Http;
pub use limits::Limits;
pub use log::Log;
pub use section::Environment;
pub use sink::{Delivery, Sink};
pub use store::Store;

use section::{Reader, Section};

/// A configuration file larger than this is not a configuration file.
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// The environment variable that names the configuration file.
pub const CONFIG_VARIABLE: &str = "PROJECTORD_CONFIG";

/// Where the file is looked for when nobody names one.
pub const DEFAULT_PATHS: [&str; 2] = ["projectord.yaml", "/etc/projectord/projectord.yaml"];

/// Everything that the daemon is told. Its `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file that this was read from.
    pub file: PathBuf,
    pub source: postgres::Options,
    pub sink: Sink,
    pub delivery: Delivery,
    /// The folder that holds journal, store, lock and control socket; nothing else may be in it.
    pub data: PathBuf,
    /// Projection files, each once, in the order of their names.
    pub projections: Vec<PathBuf>,
    pub http: Http,
    pub limits: Limits,
    pub store: Store,
    pub log: Log,
    /// What is allowed but not wise.
    pub warnings: Vec<Diagnostic>,
}

impl Config {
    /// The control socket of the daemon that works on this data folder.
    pub fn control_socket(&self) -> PathBuf {
        self.data.join(crate::control::SOCKET_NAME)
    }

    /// What is in force, defaults included, as JSON without secrets.
    pub fn effective(&self) -> serde_json::Value {
        effective::json(self)
    }
}

/// Reads and judges the file at `path`. The error holds every mistake, in the order of their places,
/// followed by warnings.
pub fn load(path: &Path, environment: Environment<'_>) -> Result<Config, Vec<Diagnostic>> {
    let file = path.display().to_string();
    let source = read(path).map_err(|reason| {
        vec![Diagnostic {
            file: file.clone(),
            line: 0,
            column: 0,
            code: "unreadable-file",
            message: format!("the configuration cannot be read: {reason}"),
            hint: format!("name another file with --config or {CONFIG_VARIABLE}"),
        }]
    })?;
    parse(path, &source, environment)
}

/// As [`load`], for a text that is already in memory; `path` gives relative paths their beginning.
pub fn parse(path: &Path, source: &str, environment: Environment<'_>) -> Result<Config, Vec<Diagnostic>> {
    let file = path.display().to_string();
    let root = node::parse(&file, source).map_err(|problem| vec![problem])?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let reader = Reader {
        file: &file,
        folder,
        environment,
        problems: Default::default(),
        warnings: Default::default(),
    };
    let top = Section::root(&reader, &root);
    let source = source::read(top.section("source"));
    let (sink, delivery) = sink::read(top.section("sink"));
    let data = match top.path("data") {
        Some(given) => given.value,
        None => {
            if !top.has("data") {
                top.missing(
                    "data",
                    "name a folder of its own on a local disk, such as data: /var/lib/projectord",
                );
            }
            PathBuf::new()
        }
    };
    let projections = projections::read(&top, folder);
    let http = http::read(top.section("http"));
    let limits = limits::read(top.section("limits"));
    let store = store::read(top.section("store"), limits.quota_bytes);
    let log = log::read(top.section("log"));
    top.end();

    let mut problems = reader.problems.into_inner();
    let mut warnings = reader.warnings.into_inner();
    problems.sort();
    warnings.sort();
    if problems.is_empty() {
        let file = path.to_owned();
        Ok(Config { file, source, sink, delivery, data, projections, http, limits, store, log, warnings })
    } else {
        problems.append(&mut warnings);
        Err(problems)
    }
}

fn read(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    let bytes =
        file.take(CONFIG_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if bytes as u64 > CONFIG_BYTES_MAX {
        return Err(format!("it is larger than {}", quantity::size_text(CONFIG_BYTES_MAX)));
    }
    Ok(text)
}
