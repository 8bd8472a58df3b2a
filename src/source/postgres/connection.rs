//! The replication connection: ours down to the bytes, because it asks by SQL before it streams, and no
//! client library speaks that mode.
//!
//! `socket` opens the way, `auth` says who we are, `session` pins the settings; then the connection takes
//! statements ([`Sql`]) until [`super::stream`] takes it over.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::{DataRowBody, Message};
use postgres_protocol::message::frontend;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::auth::Exchange;
use super::inbox::{Answer, Inbox};
use super::refusal::{Refusal, network};
use super::socket::{self, Duplex, Privacy};
use super::sql::TextRows;
use super::{Error, Options, Sql, session};

/// How long one statement may take. Long, because creating a slot waits for every open transaction of the
/// server (hazard 7).
pub const ANSWER_WAIT_MAX: Duration = Duration::from_secs(3600);

/// What one statement may return: catalogs, not tables.
pub const ANSWER_BYTES_MAX: usize = 64 << 20;

/// How many things a server may say of itself; there are about fifteen.
const PARAMETERS_MAX: usize = 100;

/// A session in `replication=database` mode, authenticated, its settings pinned and checked.
pub struct Connection {
    pub(super) socket: Box<dyn Duplex>,
    pub(super) inbox: Inbox,
    parameters: BTreeMap<String, String>,
    process: i32,
    /// A statement's answer was not read to its end: nothing can be asked any more.
    broken: bool,
}

impl Connection {
    /// Connects with the replication role. `connect_timeout` covers name, network, TLS, authentication and
    /// the pinning of the settings.
    ///
    /// # Errors
    /// Retry for what may pass; Refused with `source-auth`, `source-database`, `source-tls` or
    /// `source-settings` for what somebody must mend.
    pub async fn connect(options: &Options) -> Result<Connection, Error> {
        const OPERATION: &str = "connect to the server";
        timeout(options.connect_timeout, async {
            let (socket, privacy) = socket::open(options).await?;
            let mut connection = Connection {
                socket,
                inbox: Inbox::new(),
                parameters: BTreeMap::new(),
                process: 0,
                broken: false,
            };
            connection.start_up(options, &privacy).await?;
            session::settle(&mut connection).await?;
            Ok(connection)
        })
        .await
        .unwrap_or_else(|_| {
            let reason = format!("{}: no answer within {:?}", options.host, options.connect_timeout);
            Err(Error::Retry { operation: OPERATION, reason })
        })
    }

    /// The server process that serves us: `pg_replication_slots.active_pid` once we stream (rule 7).
    pub fn process(&self) -> i32 {
        self.process
    }

    /// What the server said of itself, such as `server_version`.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    async fn start_up(&mut self, options: &Options, privacy: &Privacy) -> Result<(), Error> {
        const OPERATION: &str = "start a session";
        let unsendable =
            |error: io::Error| Error::Protocol { operation: OPERATION, reason: error.to_string() };
        let settings = session::startup_options(&[]);
        let parameters = [
            ("user", options.user.as_str()),
            ("database", options.database.as_str()),
            ("replication", "database"),
            ("application_name", options.application_name.as_str()),
            ("options", settings.as_str()),
        ];
        let mut out = BytesMut::new();
        frontend::startup_message(parameters, &mut out).map_err(unsendable)?;
        let mut exchange = Exchange::new(&options.user, options.password.as_ref(), privacy);
        let mut authenticated = false;
        loop {
            if !out.is_empty() {
                self.send(OPERATION, &out).await?;
                out.clear();
            }
            match self.next(OPERATION).await? {
                Message::ErrorResponse(body) => {
                    return Err(Refusal::from_fields(body.fields()).at_connect(OPERATION));
                }
                Message::BackendKeyData(body) if authenticated => self.process = body.process_id(),
                Message::ReadyForQuery(_) if authenticated => return Ok(()),
                message if !authenticated => {
                    authenticated = exchange.step(&message, &mut out)?;
                    if authenticated {
                        self.inbox.trust();
                    }
                }
                _ => return Err(unexpected(OPERATION)),
            }
        }
    }

    pub(super) async fn send(&mut self, operation: &'static str, bytes: &[u8]) -> Result<(), Error> {
        let sent = async {
            self.socket.write_all(bytes).await?;
            self.socket.flush().await
        };
        sent.await.map_err(|error| network(operation, &error))
    }

    /// The next answer, but for those that come at any time and mean nothing here.
    pub(super) async fn answer(&mut self, operation: &'static str) -> Result<Answer, Error> {
        loop {
            let answer =
                self.inbox.next(&mut self.socket).await.map_err(|error| broken(operation, &error))?;
            match answer {
                Answer::Other(Message::ParameterStatus(body)) => {
                    if let (Ok(name), Ok(value)) = (body.name(), body.value())
                        && self.parameters.len() < PARAMETERS_MAX
                    {
                        self.parameters.insert(name.to_owned(), value.to_owned());
                    }
                }
                Answer::Other(Message::NoticeResponse(_)) => (),
                answer => return Ok(answer),
            }
        }
    }

    async fn next(&mut self, operation: &'static str) -> Result<Message, Error> {
        match self.answer(operation).await? {
            Answer::Other(message) => Ok(message),
            Answer::CopyBoth | Answer::CopyData(_) => Err(unexpected(operation)),
        }
    }

    async fn ask(&mut self, operation: &'static str, sql: &str) -> Result<TextRows, Error> {
        let mut out = BytesMut::new();
        frontend::query(sql, &mut out)
            .map_err(|error| Error::Protocol { operation, reason: error.to_string() })?;
        self.send(operation, &out).await?;
        let (mut rows, mut bytes, mut refusal) = (TextRows::new(), 0, None);
        loop {
            let message = match self.next(operation).await {
                // The server says why before it closes the connection.
                Err(error) => {
                    return Err(refusal.map_or(error, |refusal: Refusal| refusal.at_statement(operation)));
                }
                Ok(message) => message,
            };
            match message {
                Message::DataRow(body) => {
                    bytes += body.buffer().len();
                    if bytes > ANSWER_BYTES_MAX {
                        let reason = format!("more than {ANSWER_BYTES_MAX} bytes of rows");
                        return Err(Error::Protocol { operation, reason });
                    }
                    rows.push(row(operation, &body)?);
                }
                Message::ErrorResponse(body) => refusal = Some(Refusal::from_fields(body.fields())),
                Message::RowDescription(_) | Message::CommandComplete(_) | Message::EmptyQueryResponse => (),
                Message::ReadyForQuery(_) => break,
                _ => return Err(unexpected(operation)),
            }
        }
        self.broken = false;
        refusal.map_or(Ok(rows), |refusal| Err(refusal.at_statement(operation)))
    }
}

impl Sql for Connection {
    fn rows<'a>(
        &'a mut self,
        operation: &'static str,
        sql: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<TextRows, Error>> + Send + 'a>> {
        Box::pin(async move {
            if self.broken {
                let reason = "an earlier answer was not read to its end".to_owned();
                return Err(Error::Retry { operation, reason });
            }
            // Until the end of the answer, so that a caller who stops waiting leaves a connection that knows.
            self.broken = true;
            timeout(ANSWER_WAIT_MAX, self.ask(operation, sql)).await.unwrap_or_else(|_| {
                Err(Error::Retry { operation, reason: format!("no answer within {ANSWER_WAIT_MAX:?}") })
            })
        })
    }
}

fn row(operation: &'static str, body: &DataRowBody) -> Result<Vec<Option<String>>, Error> {
    let damaged = |reason: &str| Error::Protocol { operation, reason: reason.to_owned() };
    let mut cells = Vec::new();
    let mut ranges = body.ranges();
    while let Some(range) = ranges.next().map_err(|error| damaged(&error.to_string()))? {
        cells.push(match range {
            None => None,
            Some(range) => {
                let bytes = body.buffer().get(range).ok_or_else(|| damaged("a row is cut short"))?;
                let text = std::str::from_utf8(bytes).map_err(|_| damaged("a value is not UTF-8"))?;
                Some(text.to_owned())
            }
        });
    }
    Ok(cells)
}

/// Bytes that are no protocol are the other side's fault; all else is the network's.
fn broken(operation: &'static str, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
            if error.get_ref().is_none_or(|inner| !inner.is::<rustls::Error>()) =>
        {
            Error::Protocol { operation, reason: error.to_string() }
        }
        _ => network(operation, error),
    }
}

pub(super) fn unexpected(operation: &'static str) -> Error {
    Error::Protocol { operation, reason: "a message that does not belong here".to_owned() }
}
