//! The write database behind the [`Source`] trait: which connection is used for what.
//!
//! One ordinary session is kept for the short questions (catalog, slot, markers), one for chunks, so that a
//! long SELECT delays nobody; both are opened anew when they fail. The wait for transactions and the creation
//! of the slot, which may take long, have sessions of their own.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::time::sleep;

use super::gate::{self, Expected, NeededTable};
use super::refusal::without_right;
use super::snapshot::{self, WaitOut, Waiting};
use super::stream::{self, StatusHook};
use super::wording::describe;
use super::{Connection, Error, Options, SqlClient, client, publication, slot};
use crate::model::{Catalog, Lsn, Table};
use crate::source::{
    Answer, ChunkRequest, Event, Events, Found, HeldChunk, Resume, SlotStatus, Source, Stream, System,
};

/// How often a wait for transactions is looked at.
const POLL_EVERY: Duration = Duration::from_millis(100);
/// How long after START_REPLICATION the slot may take to show our process.
const ACTIVE_WAIT_MAX: Duration = Duration::from_secs(10);
/// A chunk's SELECT may take so long; one that runs into it is asked again with fewer rows (rule 42).
const CHUNK_TIMEOUT: Duration = Duration::from_secs(5);
/// Limits of the short questions.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(30);
/// The smallest chunk that a slow SELECT is cut down to.
const CHUNK_ROWS_MIN: u32 = 10;

/// See the module.
pub struct Postgres {
    options: Options,
    questions: Mutex<Option<SqlClient>>,
    chunks: Mutex<Option<SqlClient>>,
    on_status: Option<StatusHook>,
}

impl Postgres {
    pub fn new(options: Options, on_status: Option<StatusHook>) -> Postgres {
        Postgres { options, questions: Mutex::new(None), chunks: Mutex::new(None), on_status }
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Facts of tables, for commands that have no journal.
    pub async fn look(&self) -> Result<SqlClient, Error> {
        client::connect(&self.options).await
    }

    pub(super) async fn question<T>(
        &self,
        ask: impl for<'c> FnOnce(&'c mut SqlClient) -> Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'c>>,
    ) -> Result<T, Error> {
        let mut kept = self.questions.lock().await;
        let mut session = match kept.take() {
            Some(session) => session,
            None => {
                let mut session = client::connect(&self.options).await?;
                session.limit(QUESTION_TIMEOUT, QUESTION_TIMEOUT, QUESTION_TIMEOUT).await?;
                session
            }
        };
        let answer = ask(&mut session).await;
        // A session that failed may be in any state: it is not used again.
        if answer.is_ok() {
            *kept = Some(session);
        }
        answer
    }

    /// A connection with the role that may change publication and slot.
    async fn owner(&self) -> Result<SqlClient, Error> {
        let options = Options { read_user: None, read_password: None, ..self.options.clone() };
        client::connect(&options).await
    }

    async fn publication(&self, tables: &[Table]) -> Result<(), Error> {
        let name = self.options.publication.clone();
        let state = {
            let name = name.clone();
            self.question(move |session| Box::pin(async move { publication::state(session, &name).await }))
                .await?
        };
        let missing: Vec<(String, String)> = tables
            .iter()
            .filter(|table| {
                !state.as_ref().is_some_and(|state| {
                    state.all_tables
                        || state.schemas.contains(&table.schema)
                        || state.members.iter().any(|member| member.table_oid == table.oid)
                })
            })
            .map(|table| (table.schema.clone(), table.name.clone()))
            .collect();
        if missing.is_empty() || !self.options.manage {
            return Ok(()); // the gate says what is missing, and how to mend it
        }
        let mut owner = self.owner().await?;
        let done = match state {
            None => publication::create(&mut owner, &name, &missing).await,
            Some(_) => publication::add_tables(&mut owner, &name, &missing).await,
        };
        done.map_err(without_right)
    }

    async fn make_slot(
        &self,
        tables: &[Table],
        orphan: bool,
        waits: &(dyn Fn(String) + Sync),
    ) -> Result<Lsn, Error> {
        let name = self.options.slot.clone();
        if !self.options.manage {
            return self.adopt_slot(&name).await;
        }
        let mut connection = Connection::connect(&self.options).await?;
        let expected = self.expected(&Resume { tables: tables.to_vec(), ..Resume::default() });
        gate::check_without_slot(&mut connection, &expected).await?;
        drop(connection);
        let mut creator = self.owner().await?;
        if let Some(state) = slot::state(&mut creator, &name).await? {
            if !orphan {
                return self.adopt_slot(&name).await;
            }
            if state.active_pid.is_some() {
                let reason =
                    format!("slot '{name}' is in use by {}", state.active_client.unwrap_or_default());
                return Err(Error::Retry { operation: "create the slot", reason });
            }
            slot::drop(&mut creator, &name).await.map_err(without_right)?;
        }
        let rows = crate::source::postgres::Sql::rows(
            &mut creator,
            "create the slot",
            "SELECT pg_catalog.pg_backend_pid()",
        )
        .await?;
        let pid: i32 = rows.first().and_then(|row| row.first()?.as_ref()?.parse().ok()).unwrap_or_default();
        let mut second = self.owner().await?;
        let creating = slot::create(&mut creator, &name);
        tokio::pin!(creating);
        loop {
            tokio::select! {
                created = &mut creating => return created.map_err(without_right),
                () = sleep(Duration::from_secs(2)) => {
                    let blockers = slot::waits_for(&mut second, pid).await?;
                    if !blockers.is_empty() {
                        waits(describe(&blockers));
                    }
                }
            }
        }
    }

    /// A slot that the DBA made (`setup-sql`) and nobody has streamed from begins where it stands: what
    /// committed before is read by the backfill (rule 13).
    async fn adopt_slot(&self, name: &str) -> Result<Lsn, Error> {
        let name = name.to_owned();
        let state = {
            let name = name.clone();
            self.question(move |session| Box::pin(async move { slot::state(session, &name).await })).await?
        };
        let refused = |code, reason, hint: &str| {
            Err(Error::Refused { code, operation: "look at the slot", reason, hint: hint.to_owned() })
        };
        let Some(state) = state else {
            return refused(
                "slot-missing",
                format!("slot '{name}' does not exist"),
                "Let the DBA run the script of `projectord setup-sql` (its last statement, where all else is there), or set `source.manage: true`.",
            );
        };
        match state.confirmed_flush {
            Some(confirmed) if state.lost_because().is_none() => Ok(confirmed),
            _ => refused(
                "slot-lost",
                format!("slot '{name}' cannot be read from any more"),
                "Drop it with `SELECT pg_drop_replication_slot(...)` and run the last statement of the script of `projectord setup-sql`.",
            ),
        }
    }

    fn expected(&self, resume: &Resume) -> Expected {
        let tables = resume
            .tables
            .iter()
            .map(|table| NeededTable {
                schema: table.schema.clone(),
                name: table.name.clone(),
                columns: None,
            })
            .collect();
        let begun_on = resume.begun_on.clone();
        Expected { begun_on, ..Expected::new(&self.options, tables, resume.recorded.clone(), resume.end_lsn) }
    }

    async fn open(&self, resume: &Resume) -> Result<Stream, Error> {
        let mut connection = Connection::connect(&self.options).await?;
        let passed = gate::check(&mut connection, &self.expected(resume)).await?;
        let pid = connection.process();
        let from = resume.end_lsn.unwrap_or(Lsn::ZERO);
        let mut options = stream::Options::from(&self.options);
        options.on_status.clone_from(&self.on_status);
        let (slot, publication) = (&self.options.slot, &self.options.publication);
        let stream = stream::start(connection, slot, publication, from, options).await?;
        if let Err(error) = self.look_again(pid, from).await {
            stream.close().await;
            return Err(error);
        }
        let confirmer = stream.confirmer();
        Ok(Stream {
            identity: passed.identity,
            warnings: passed
                .warnings
                .iter()
                .map(|warning| format!("{}: {}. {}", warning.code, warning.text, warning.hint))
                .collect(),
            joined: passed.joined,
            events: Box::new(Streaming(stream)),
            confirm: Arc::new(move |position| confirmer.confirm(position)),
        })
    }

    /// The slot takes a moment to show who streams from it.
    async fn look_again(&self, pid: i32, end: Lsn) -> Result<(), Error> {
        let began = Instant::now();
        loop {
            let slot = self.options.slot.clone();
            let looked = self
                .question(move |session| {
                    Box::pin(async move {
                        // An error here is an answer: the session itself is well.
                        Ok(gate::confirmed_again(session, &slot, pid, end).await)
                    })
                })
                .await?;
            match looked {
                Ok(_) => break,
                Err(Error::Retry { .. }) if began.elapsed() < ACTIVE_WAIT_MAX => sleep(POLL_EVERY).await,
                Err(error) => return Err(error),
            }
        }
        let name = self.options.application_name.clone();
        self.question(move |session| Box::pin(async move { gate::pause_check(session, &name).await })).await
    }

    async fn chunk(&self, request: &ChunkRequest<'_>) -> Result<(HeldChunk, Duration), Error> {
        let mut kept = self.chunks.lock().await;
        let session = match kept.take() {
            Some(session) => session,
            None => client::connect(&self.options).await?,
        };
        let mut rows = request.rows.max(1);
        let (held, took) = loop {
            let asked = snapshot::ChunkRequest {
                begin: request.begin,
                table: request.table,
                oid: request.oid,
                sequence: request.sequence,
                range: &request.range,
                rows,
                timeout: CHUNK_TIMEOUT,
            };
            let began = Instant::now();
            match snapshot::read_chunk(session.client(), &asked).await {
                Ok(chunk) => {
                    // Ingest remembers a marker that is quicker than its chunk.
                    let (held, marker) = chunk.hold(request.nonce.clone());
                    marker.emit().await?;
                    break (held, began.elapsed());
                }
                Err(error) if snapshot::is_too_slow(&error) && rows > CHUNK_ROWS_MIN => rows /= 2,
                Err(error) => return Err(error),
            }
        };
        *kept = Some(session);
        Ok((held, took))
    }

    async fn wait(&self, waits: &(dyn Fn(String) + Sync)) -> Result<(), Error> {
        let mut session = client::connect(&self.options).await?;
        let wait = WaitOut::begin(&mut session).await?;
        loop {
            match wait.poll(&mut session).await? {
                Waiting::Over => return Ok(()),
                Waiting::For(blockers) => waits(describe(&blockers)),
            }
            sleep(POLL_EVERY).await;
        }
    }
}

struct Streaming(stream::Stream);

impl Events for Streaming {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Option<Vec<Event>>> + Send + '_>> {
        Box::pin(self.0.events.recv())
    }

    fn close(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(self.0.close())
    }
}

impl Source for Postgres {
    fn find<'a>(&'a self, names: &'a [String], known: &'a Catalog) -> Answer<'a, Found> {
        Box::pin(self.find_tables(names, known))
    }

    fn look<'a>(&'a self, known: &'a Catalog) -> Answer<'a, Option<Found>> {
        Box::pin(async move { self.look_at(known).await.map(Some) })
    }

    fn prepare_publication<'a>(&'a self, tables: &'a [Table]) -> Answer<'a, ()> {
        Box::pin(self.publication(tables))
    }

    fn identify_system(&self) -> Answer<'_, System> {
        Box::pin(async move {
            let mut connection = Connection::connect(&self.options).await?;
            gate::facts::system(&mut connection).await
        })
    }

    fn create_slot<'a>(
        &'a self,
        tables: &'a [Table],
        orphan: bool,
        waits: &'a (dyn Fn(String) + Sync),
    ) -> Answer<'a, Lsn> {
        Box::pin(self.make_slot(tables, orphan, waits))
    }

    fn connect<'a>(&'a self, resume: &'a Resume) -> Answer<'a, Stream> {
        Box::pin(self.open(resume))
    }

    fn emit_marker<'a>(&'a self, nonce: &'a str) -> Answer<'a, u64> {
        let nonce = nonce.to_owned();
        Box::pin(self.question(move |session| {
            Box::pin(async move { snapshot::emit_marker(session.client(), &nonce).await })
        }))
    }

    fn wait_out<'a>(&'a self, waits: &'a (dyn Fn(String) + Sync)) -> Answer<'a, ()> {
        Box::pin(self.wait(waits))
    }

    fn estimate<'a>(&'a self, oid: u32) -> Answer<'a, u64> {
        Box::pin(async move {
            let rows = self
                .question(move |session| {
                    Box::pin(async move { snapshot::estimate_rows(session, &[oid]).await })
                })
                .await?;
            Ok(rows.unwrap_or(0))
        })
    }

    fn read_chunk<'a>(&'a self, request: &'a ChunkRequest<'a>) -> Answer<'a, (HeldChunk, Duration)> {
        Box::pin(self.chunk(request))
    }

    fn status<'a>(&'a self) -> Answer<'a, SlotStatus> {
        let (slot, application) = (self.options.slot.clone(), self.options.application_name.clone());
        Box::pin(self.question(move |session| {
            Box::pin(async move {
                gate::pause_check(session, &application).await?;
                let server = slot::server_flush(session).await?;
                let state = slot::state(session, &slot).await?;
                Ok(SlotStatus {
                    server,
                    confirmed: state.as_ref().and_then(|state| state.confirmed_flush),
                    retained_bytes: state.as_ref().map(slot::State::retained_bytes),
                    wal_status: state.and_then(|state| state.wal_status),
                })
            })
        }))
    }
}
