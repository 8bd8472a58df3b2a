//! One server, one database, one daemon, and the documents that must be.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::support;
use crate::support::daemon::{self, Daemon};
use crate::support::elasticsearch::Elasticsearch;
use crate::support::oracle::{self, Documents};
use crate::support::postgres::{Options, Postgres};
use crate::support::session::Session;

const DATABASE: &str = "moods";
/// Limit of what must become so.
const LIMIT: Duration = Duration::from_secs(60);
/// Exit code of a refusal by a safety check, and of a projection that does not fit the tables.
pub const SAFETY: i32 = 3;
pub const USAGE: i32 = 2;

/// A projection file without its first three lines, and the SQL that says what its documents are.
pub struct Projection {
    /// Also the index.
    pub name: &'static str,
    pub root: &'static str,
    pub fields: &'static str,
    pub oracle: &'static str,
}

impl Projection {
    pub fn file(&self) -> String {
        format!("projection: {0}\nroot: {1}\nindex: {0}\nfields: {2}\n", self.name, self.root, self.fields)
    }
}

/// A row that changes when nothing else does: then a position behind everything comes at once, not with the
/// next idle one.
const TICKS: Projection = Projection {
    name: "ticks",
    root: "ticks",
    fields: "[id, n]",
    oracle: "SELECT id::text, to_jsonb(t) FROM ticks t",
};

pub struct World {
    pub postgres: Postgres,
    pub daemon: Daemon,
    /// A superuser's, opened before anything was set for the database.
    pub session: Session,
    elasticsearch: Elasticsearch,
    oracles: Vec<(&'static str, &'static str)>,
    began: Instant,
}

impl World {
    /// Makes the tables, then starts the daemon and waits for its first backfill.
    pub fn start(tables: &str, projections: &[Projection]) -> World {
        World::start_as("postgres", tables, projections)
    }

    /// With the daemon under this role, which the tables' script makes.
    pub fn start_as(user: &str, tables: &str, projections: &[Projection]) -> World {
        let settings = vec!["max_prepared_transactions = 5".to_owned()];
        let postgres = Postgres::start(&Options { fsync: false, settings, ..Options::default() });
        postgres.create_database(DATABASE);
        let session = postgres.session(DATABASE);
        session
            .must("SET intervalstyle = 'postgres'; SET bytea_output = 'hex'; SET statement_timeout = '30s'");
        session.must(tables);
        session.must(
            "CREATE TABLE public.ticks (id int PRIMARY KEY, n int); INSERT INTO public.ticks VALUES (1, 0)",
        );
        let projections: Vec<&Projection> = projections.iter().chain([&TICKS]).collect();
        let elasticsearch = Elasticsearch::shared();
        let folder = support::private_folder("projections");
        let files = projections.iter().map(|projection| {
            let path = folder.path().join(format!("{}.yaml", projection.name));
            std::fs::write(&path, projection.file()).expect("a projection");
            path
        });
        let options = daemon::Options {
            database: DATABASE.to_owned(),
            projections: files.collect(),
            user: user.to_owned(),
            source_extra: "  catalog_interval: 500ms\n".to_owned(),
            ..daemon::Options::shop()
        };
        let daemon = Daemon::start(&postgres, &elasticsearch, &options);
        let oracles = projections.iter().map(|projection| (projection.name, projection.oracle)).collect();
        let world = World { postgres, daemon, session, elasticsearch, oracles, began: Instant::now() };
        println!("PostgreSQL {}", world.session.value("SHOW server_version"));
        world.in_step("first backfill");
        world
    }

    /// Runs one or several statements, in one transaction where PostgreSQL allows it.
    pub fn run(&self, sql: &str) {
        self.session.must(sql);
    }

    /// The stream says it: what is projected now must be equal.
    pub fn in_step(&self, mood: &str) {
        self.projected();
        if let Err(report) = self.compare() {
            panic!("{mood}: {report}\n{}", self.daemon.log_end());
        }
        self.passed(mood);
    }

    /// The stream does not say it: the statements change documents, and in the end they are equal, because
    /// just these tables and leaves were read again.
    pub fn silent(&self, mood: &str, sql: &str, read: &[&str]) {
        let (before, readings) = (self.expected(), self.readings().len());
        self.run(sql);
        assert!(before != self.expected(), "{mood}: no document has to change");
        self.read_again(mood, readings, read);
        self.mended(mood);
        self.read_again(mood, readings, read);
    }

    /// Waits until just these tables and leaves were read since there were so many readings.
    fn read_again(&self, mood: &str, since: usize, expected: &[&str]) {
        let expected: BTreeSet<String> = expected.iter().map(|name| (*name).to_owned()).collect();
        support::wait_for(mood, LIMIT, || {
            let oids: BTreeSet<String> = self.readings().drain(since..).collect();
            let name = |oid: String| self.session.value(&format!("SELECT {oid}::regclass"));
            let read: BTreeSet<String> = oids.into_iter().map(name).collect();
            let said = format!("read again {read:?}, must be {expected:?}\n{}", self.daemon.log_end());
            assert!(read.is_subset(&expected), "{mood}: {said}");
            if read == expected { Ok(()) } else { Err(said) }
        });
    }

    /// Sooner or later all is equal, and stays so.
    pub fn mended(&self, mood: &str) {
        support::wait_for(mood, LIMIT, || {
            self.projected();
            self.compare().map_err(|report| format!("{report}\n{}", self.daemon.log_end()))
        });
        self.passed(mood);
    }

    /// The daemon looks, and finds nothing worth reading again.
    pub fn unmoved(&self, mood: &str, sql: &[&str]) {
        let readings = self.readings().len();
        sql.iter().for_each(|sql| self.run(sql));
        std::thread::sleep(Duration::from_millis(1_500)); // the look comes twice a second
        self.in_step(mood);
        self.read_again(mood, readings, &[]);
    }

    /// The daemon ends with this code, is started again after the remedy, and brings everything in step.
    pub fn refused(&mut self, mood: &str, exit: i32, code: &str, remedy: &str) {
        self.daemon.wait_refusal(exit, code);
        self.run(remedy);
        self.daemon.start_again();
        self.mended(mood);
    }

    /// What happens while nobody looks.
    pub fn asleep(&mut self, mood: &str, sql: &[&str], read: &[&str]) {
        let (ended, _) = self.daemon.terminate();
        assert!(ended.success(), "{}", self.daemon.log_end());
        let (before, readings) = (self.expected(), self.readings().len());
        sql.iter().for_each(|sql| self.run(sql));
        assert!(before != self.expected(), "{mood}: no document has to change");
        self.daemon.start_again();
        self.read_again(mood, readings, read);
        self.mended(mood);
        self.read_again(mood, readings, read);
    }

    /// Another projection file of this name, which takes effect with the next start.
    pub fn project(&mut self, projection: &Projection) {
        self.daemon.terminate();
        let file = self.daemon.projections_folder().join(format!("{}.yaml", projection.name));
        let index = format!("index: {}{}", self.elasticsearch.prefix(), projection.name);
        let text = projection.file().replace(&format!("index: {}", projection.name), &index);
        std::fs::write(file, text).expect("a projection");
        self.daemon.start_again();
    }

    /// The oids whose reading began, in their order, by the journal.
    fn readings(&self) -> Vec<String> {
        let output = self.daemon.run(&["journal", "show", "--kind", "backfill_begin", "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let entries = text.lines().map(|line| line.parse::<serde_json::Value>().expect("JSON"));
        let units =
            entries.filter(|entry| entry.get("keys_only").is_none()).map(|entry| entry["units"].clone());
        let units = units.flat_map(|units| units.as_array().cloned().unwrap_or_default());
        let oid = |unit: serde_json::Value| Some(unit.as_str()?.split_once('/')?.1.to_owned());
        units.filter_map(oid).collect()
    }

    fn projected(&self) {
        self.run("UPDATE public.ticks SET n = n + 1");
        self.daemon.wait_projected(&self.postgres, LIMIT);
    }

    fn expected(&self) -> Vec<Documents> {
        self.oracles.iter().map(|(_, sql)| oracle::expected(&self.session, sql)).collect()
    }

    fn compare(&self) -> Result<usize, String> {
        oracle::compare_all(&self.session, &self.elasticsearch, &self.oracles)
            .map_err(|report| report.to_string())
    }

    fn passed(&self, mood: &str) {
        println!("{:7.1} s  {mood}", self.began.elapsed().as_secs_f64());
    }
}
