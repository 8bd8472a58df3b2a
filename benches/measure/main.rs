//! What `scripts/bench` measures with: one program, a subcommand for each figure. It prints one
//! `name value...` line per figure (several values are the rounds), and nothing else, on its standard output.
//!
//! Without a subcommand it does nothing, so that `cargo bench` and `cargo test --all-targets` stay quick.

mod bulk;
mod fold;
mod http;
mod journal;
mod latency;
mod rows;
mod until;

use std::collections::HashMap;
use std::time::Duration;

use projectord::source::postgres::{Options, SslMode};

pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// `--name value` pairs.
pub struct Arguments(HashMap<String, String>);

impl Arguments {
    pub fn text(&self, name: &str) -> Outcome<&str> {
        Ok(self.0.get(name).ok_or_else(|| format!("--{name} is missing"))?)
    }

    pub fn number(&self, name: &str) -> Outcome<u64> {
        Ok(self.text(name)?.parse()?)
    }

    /// The private server that the script has started.
    pub fn postgres(&self) -> Outcome<Options> {
        Ok(Options {
            host: "127.0.0.1".to_owned(),
            port: self.number("port")? as u16,
            database: self.text("database")?.to_owned(),
            user: "postgres".to_owned(),
            password: None,
            read_user: None,
            read_password: None,
            ssl_mode: SslMode::Disable,
            ssl_ca: None,
            application_name: "projectord-bench".to_owned(),
            slot: self.0.get("slot").cloned().unwrap_or_default(),
            publication: self.0.get("publication").cloned().unwrap_or_default(),
            manage: false,
            connect_timeout: Duration::from_secs(10),
            status_interval: Duration::from_secs(10),
            catalog_interval: Duration::from_secs(10),
            chunk_rows: 10_000,
            chunk_target: Duration::from_secs(1),
        })
    }
}

/// Prints a figure.
pub fn figure(name: &str, values: &[f64]) {
    let values: Vec<String> = values.iter().map(|value| format!("{value:.3}")).collect();
    println!("{name} {}", values.join(" "));
}

fn main() -> Outcome<()> {
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    let command = words.next().unwrap_or_default();
    let mut arguments = HashMap::new();
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        arguments.insert(name.trim_start_matches("--").to_owned(), value);
    }
    let arguments = Arguments(arguments);
    match command.as_str() {
        "journal" => journal::run(&arguments),
        "fold" => fold::run(&arguments),
        "bulk" => bulk::run(&arguments),
        "latency" => latency::run(&arguments),
        "until" => until::run(&arguments),
        _ => {
            eprintln!("this is run by scripts/bench");
            Ok(())
        }
    }
}
