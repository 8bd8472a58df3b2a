//! The stage: a PostgreSQL cluster, an Elasticsearch node, wires between them and the daemon in its release
//! build, alive over many runs. A run breaks something; the stage says whether all is well again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::load::{self, Load};
use crate::support::daemon::{self, Daemon, parse_lsn};
use crate::support::elasticsearch::{self, Elasticsearch};
use crate::support::postgres::{self, Postgres};
use crate::support::proxy::{self, Heard, Proxy};
use crate::support::session::Session;
use crate::support::{self, shop};

/// Everything must be equal this long after the last fault has ended and the last writer has stopped.
pub const CONVERGENCE_LIMIT: Duration = Duration::from_secs(60);
/// Limit of a first backfill.
const BACKFILL_LIMIT: Duration = Duration::from_secs(120);
/// Limit of ending by itself for what must be refused.
const REFUSAL_LIMIT: Duration = Duration::from_secs(40);
const PRODUCTS: u32 = 400;
const ORDERS: u32 = 2_500;
/// Root rows above which what the crowd has made is deleted again.
const ROWS_MAX: u64 = 8_000;
/// Small files and parts: more moments to be killed in.
const SMALL_FILES: &str = "limits: { segment_bytes: 1MiB, retain_bytes: 8MiB, transaction_part_bytes: 64KiB }\nstore: { checkpoint_bytes: 16MiB }\n";
/// Silence after which the server gives a walsender up.
pub const WAL_SENDER_TIMEOUT: Duration = Duration::from_secs(6);

/// Where everything is equal again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Converged {
    pub milliseconds: u64,
    pub documents: usize,
    pub changes_per_s: Option<u32>,
}

pub struct Stage {
    pub postgres: Postgres,
    pub elasticsearch: Elasticsearch,
    pub source: Proxy,
    pub sink: Proxy,
    confirmed: Arc<Mutex<Heard>>,
    sent: Arc<Mutex<Heard>>,
    /// Dropped before `folder`, which holds its data.
    pub daemon: Daemon,
    load: Option<Load>,
    /// Of the last convergence.
    pub converged: Converged,
    folder: tempfile::TempDir,
    /// Data folders are numbered: each fresh daemon has its own.
    number: u32,
}

impl Stage {
    /// Servers, the shop, and a daemon that has read everything.
    pub fn build() -> Stage {
        let settings = vec![
            format!("wal_sender_timeout = {}s", WAL_SENDER_TIMEOUT.as_secs()),
            // Compared with what is retained, and what the crowd leaves behind is little.
            "autovacuum_naptime = 10s".to_owned(),
            // A slot that is to be lost loses its segments soon.
            "min_wal_size = 32MB".to_owned(),
        ];
        let postgres = Postgres::start(&postgres::Options { settings, ..Default::default() });
        shop::create(&postgres, PRODUCTS, ORDERS);
        let elasticsearch = Elasticsearch::start(elasticsearch::VERSION);
        let folder = support::private_folder("campaign");
        let journal = folder.path().join("data-1/journal");
        let (source, confirmed) = proxy::confirmations(postgres.port(), journal);
        let (sink, sent) = proxy::versions(proxy::port_of(elasticsearch.url()));
        let options = options(&source, &sink, folder.path().join("data-1"));
        let daemon = Daemon::prepare(&postgres, &elasticsearch, &options);
        let mut stage = Stage {
            postgres,
            elasticsearch,
            source,
            sink,
            confirmed,
            sent,
            daemon,
            load: None,
            converged: Converged::default(),
            folder,
            number: 1,
        };
        stage.daemon.start_again();
        stage.converge_within(BACKFILL_LIMIT).unwrap_or_else(|why| panic!("the stage is not in step: {why}"));
        stage
    }

    pub fn session(&self) -> Session {
        self.postgres.session(shop::DATABASE)
    }

    /// Writers begin, unless they are at it.
    pub fn load(&mut self, seed: u64) {
        if self.load.is_none() {
            self.load = Some(Load::start(self.postgres.url(shop::DATABASE), seed));
        }
    }

    /// Writers end.
    pub fn quiet(&mut self) {
        if let Some(load) = self.load.take() {
            self.converged.changes_per_s = load.stop();
        }
    }

    /// Until all that is committed is in the index, then everything is compared with the oracle, and the wires
    /// are asked what they heard. Writers end first.
    pub fn converge(&mut self) -> Result<(), String> {
        self.converge_within(CONVERGENCE_LIMIT)
    }

    pub fn converge_within(&mut self, limit: Duration) -> Result<(), String> {
        self.quiet();
        let begin = Instant::now();
        self.wait_projected(limit)?;
        self.converged.milliseconds = begin.elapsed().as_millis() as u64;
        let session = self.session();
        self.converged.documents = shop::compare(&session, &self.elasticsearch)
            .map_err(|report| format!("{report}\n{}", self.daemon.log_end()))?;
        self.wires()?;
        if load::size(&session) > ROWS_MAX {
            load::trim(&session);
        }
        Ok(())
    }

    /// Until the daemon says that all that is committed now is projected, and every projection is live.
    pub fn wait_projected(&mut self, limit: Duration) -> Result<(), String> {
        let begin = Instant::now();
        // A position inside a transaction of ours: only that transaction's end is behind it, and the daemon
        // need not see an idle position, which it journals only now and then.
        let rows = self.session().must(
            "BEGIN; UPDATE warehouses SET name = name WHERE id = 1; SELECT pg_current_wal_insert_lsn(); COMMIT",
        );
        let wanted = parse_lsn(rows[0][0].as_ref().expect("a position"));
        loop {
            if !self.daemon.is_running() {
                return Err(format!("it ended by itself\n{}", self.daemon.log_end()));
            }
            let status = self.daemon.status();
            if let Some(status) = &status {
                let all = status["projections"].as_array().cloned().unwrap_or_default();
                let live = !all.is_empty() && all.iter().all(|one| one["state"] == "live");
                let projected = status["watermarks"]["projected"].as_str().map(parse_lsn);
                if live && projected.is_some_and(|projected| projected >= wanted) {
                    return Ok(());
                }
            }
            if begin.elapsed() > limit {
                let status = status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
                return Err(format!("not projected within {limit:?}: {status}\n{}", self.daemon.log_end()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Until the server has been told that everything up to this position is on disk here.
    pub fn wait_confirmed(&self, lsn: &str) -> Result<(), String> {
        let session = self.session();
        let sql = format!(
            "SELECT confirmed_flush_lsn > '{lsn}' FROM pg_replication_slots WHERE slot_name = 'projectord'"
        );
        let begin = Instant::now();
        while session.value(&sql) != "t" {
            if begin.elapsed() > CONVERGENCE_LIMIT {
                return Err(format!("the slot does not move beyond {lsn}\n{}", self.daemon.log_end()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// What the wires heard must be right: G4 and G3.
    fn wires(&self) -> Result<(), String> {
        for (what, heard) in [("G4", &self.confirmed), ("G3", &self.sent)] {
            let heard = heard.lock().map_err(|_| format!("{what}: the wire's listener panicked"))?;
            if let Some(first) = heard.wrong.first() {
                return Err(format!("{what}: {} times, first: {first}", heard.wrong.len()));
            }
        }
        Ok(())
    }

    /// The daemon must end by itself with exit code 3 and this code. Writers end first.
    pub fn refused(&mut self, codes: &[&'static str]) -> Result<&'static str, String> {
        self.quiet();
        let status = self.ended(REFUSAL_LIMIT)?;
        // Only this start's words: earlier ones were refused with other codes.
        let end = self.daemon.said();
        let said = codes.iter().find(|code| refuses(&end, code));
        match said {
            Some(code) if status.code() == Some(3) => Ok(code),
            _ => Err(format!("{codes:?} with exit code 3 was expected, it ended with {status}\n{end}")),
        }
    }

    /// The daemon must end by itself.
    pub fn ended(&mut self, limit: Duration) -> Result<std::process::ExitStatus, String> {
        let begin = Instant::now();
        while self.daemon.is_running() {
            if begin.elapsed() > limit {
                return Err(format!("it should have ended within {limit:?}\n{}", self.daemon.log_end()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(self.daemon.wait_end(limit))
    }

    /// As the documentation says after a gap: `projectord rebuild`, then run, and all is read again.
    pub fn begin_again(&mut self) -> Result<(), String> {
        self.free_slot()?;
        let output = self.daemon.run(&["rebuild", "--yes"]);
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("rebuild ended with {}: {said}", output.status));
        }
        self.daemon.start_again();
        self.converge_within(BACKFILL_LIMIT)
    }

    /// Until nobody reads from the slot, if there is one.
    pub fn free_slot(&self) -> Result<(), String> {
        let session = self.session();
        let sql = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'projectord' AND active";
        for _ in 0..400 {
            if session.value(sql) == "0" {
                return Ok(());
            }
            session.must(
                "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots
                 WHERE slot_name = 'projectord' AND active",
            );
            std::thread::sleep(Duration::from_millis(25));
        }
        Err("the slot stays active".to_owned())
    }

    /// Ends the daemon, and with it all that it has left anywhere: slot, publication, indices, data folder.
    /// What follows is a first start, which `change` may make another one.
    pub fn fresh(&mut self, change: impl FnOnce(&mut daemon::Options)) -> Result<(), String> {
        self.quiet();
        self.clear()?;
        self.number += 1;
        let data = self.folder.path().join(format!("data-{}", self.number));
        let mut options = options(&self.source, &self.sink, data);
        change(&mut options);
        // The wire follows the journal of the new folder.
        let folder = options.data.clone().expect("a data folder");
        let (source, confirmed) = proxy::confirmations(self.postgres.port(), folder.join("journal"));
        options.source_port = Some(source.port());
        (self.source, self.confirmed) = (source, confirmed);
        self.daemon = Daemon::prepare(&self.postgres, &self.elasticsearch, &options);
        Ok(())
    }

    /// Another daemon takes over, prepared but not started, with this data folder and wires of its own. The one
    /// that was there comes back with its wires.
    pub fn take_over(&mut self, data: &Path) -> (Daemon, Proxy, Proxy) {
        let (source, confirmed) = proxy::confirmations(self.postgres.port(), data.join("journal"));
        let (sink, sent) = proxy::versions(proxy::port_of(self.elasticsearch.url()));
        let options = options(&source, &sink, data.to_owned());
        let daemon = Daemon::prepare(&self.postgres, &self.elasticsearch, &options);
        (self.confirmed, self.sent) = (confirmed, sent);
        let daemon = std::mem::replace(&mut self.daemon, daemon);
        let source = std::mem::replace(&mut self.source, source);
        (daemon, source, std::mem::replace(&mut self.sink, sink))
    }

    /// A fresh daemon as at the beginning, running and in step.
    pub fn renew(&mut self) -> Result<(), String> {
        self.fresh(|_| ())?;
        self.daemon.start_again();
        self.converge_within(BACKFILL_LIMIT)
    }

    fn clear(&mut self) -> Result<(), String> {
        if self.daemon.is_started() {
            self.daemon.kill();
        }
        self.free_slot()?;
        let session = self.session();
        session.must(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = 'projectord'",
        );
        session.must("DROP PUBLICATION IF EXISTS projectord");
        for index in self.elasticsearch.indices() {
            self.elasticsearch.delete(&format!("/{index}"));
        }
        let _ = std::fs::remove_dir_all(self.daemon.data_folder());
        Ok(())
    }

    /// Another cluster takes the place of this one, at the other end of the same wire.
    pub fn replace_postgres(&mut self, postgres: Postgres) -> Postgres {
        self.source.aim(postgres.port());
        self.source.cut();
        std::mem::replace(&mut self.postgres, postgres)
    }

    /// After a crash or a stop.
    pub fn start_postgres(&mut self) {
        self.postgres.start_again();
        self.source.aim(self.postgres.port());
    }

    /// Copies what tells about a failure: the daemon's log, configuration and data, and the servers' logs.
    pub fn keep(&mut self, folder: &Path) -> PathBuf {
        if self.daemon.is_started() {
            self.daemon.kill();
        }
        let copy = |from: &Path| {
            let _ = Command::new("cp").arg("-a").args([from, folder]).output();
        };
        let _ = std::fs::create_dir_all(folder);
        copy(&self.daemon.config_file());
        copy(&self.daemon.data_folder());
        let _ = std::fs::write(folder.join("projectord.log"), self.daemon.log());
        let _ = std::fs::write(folder.join("postgres.log"), self.postgres.log());
        folder.to_owned()
    }
}

/// Whether a line of what it said is its end with this code.
pub fn refuses(said: &str, code: &str) -> bool {
    said.lines().any(|line| line.starts_with("error: ") && line.contains(code))
}

fn options(source: &Proxy, sink: &Proxy, data: PathBuf) -> daemon::Options {
    daemon::Options {
        source_port: Some(source.port()),
        sink_port: Some(sink.port()),
        sink_extra: "  compress: false\n".to_owned(),
        extra: SMALL_FILES.to_owned(),
        data: Some(data),
        ..daemon::Options::shop()
    }
}
