//! Ordinary connections: catalogs, the backfill's SELECTs and COPYs, its markers.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::time::Duration;

use futures_util::{StreamExt, pin_mut};
use secrecy::ExposeSecret;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::SslMode as PostgresSslMode;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::clear_text::Guarded;
use super::connection::{ANSWER_BYTES_MAX, ANSWER_WAIT_MAX};
use super::refusal::{Refusal, network, refused};
use super::socket::{self, KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_RETRIES, Privacy, TCP_USER_TIMEOUT};
use super::sql::TextRows;
use super::{Error, Options, Sql, session, tls};

const CONNECT: &str = "connect to the server for SQL";

/// An ordinary session with the read role (the replication role when there is none), its settings pinned
/// and checked like those of the replication connection. A row level security policy in our way is an error
/// there, never a hole (hazard 44). `default_transaction_read_only` stays as the role has it.
pub struct SqlClient {
    client: Client,
    connection: JoinHandle<()>,
}

/// Connects. `connect_timeout` covers everything.
///
/// # Errors
/// As [`super::Connection::connect`].
pub async fn connect(options: &Options) -> Result<SqlClient, Error> {
    timeout(options.connect_timeout, async {
        let config = config(options);
        let mut client = match tls::client_config(options)? {
            Some(tls) => {
                let (client, connection) =
                    config.connect(MakeRustlsConnect::new(tls)).await.map_err(at_connect)?;
                SqlClient { client, connection: tokio::spawn(drive(connection)) }
            }
            None => {
                let (way, privacy) = socket::open(options).await?;
                let way = Guarded::new(way, matches!(privacy, Privacy::Open));
                let (client, connection) = config.connect_raw(way, NoTls).await.map_err(at_connect)?;
                SqlClient { client, connection: tokio::spawn(drive(connection)) }
            }
        };
        session::settle(&mut client).await?;
        Ok(client)
    })
    .await
    .unwrap_or_else(|_| {
        let reason = format!("{}: no answer within {:?}", options.host, options.connect_timeout);
        Err(Error::Retry { operation: CONNECT, reason })
    })
}

impl SqlClient {
    /// For what [`Sql`] cannot do, such as `copy_out`.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Limits of this session's statements (rule 42); zero is none, as after [`connect`].
    pub async fn limit(
        &mut self,
        statement: Duration,
        lock: Duration,
        idle_in_transaction: Duration,
    ) -> Result<(), Error> {
        // Parts of a millisecond must not become "no limit".
        let milliseconds = |limit: Duration| limit.as_micros().div_ceil(1000) as u64;
        let settings = [
            ("statement_timeout", milliseconds(statement)),
            ("lock_timeout", milliseconds(lock)),
            ("idle_in_transaction_session_timeout", milliseconds(idle_in_transaction)),
        ];
        session::set_milliseconds(self, "limit the session's statements", &settings).await
    }

    /// What an error of [`SqlClient::client`] means to us.
    pub fn error(operation: &'static str, error: tokio_postgres::Error) -> Error {
        meaning(operation, error, Refusal::at_statement)
    }

    async fn ask(&self, operation: &'static str, sql: &str) -> Result<TextRows, Error> {
        let failed = |error| SqlClient::error(operation, error);
        let answers = self.client.simple_query_raw(sql).await.map_err(failed)?;
        pin_mut!(answers);
        let (mut rows, mut bytes) = (TextRows::new(), 0);
        while let Some(answer) = answers.next().await {
            let SimpleQueryMessage::Row(row) = answer.map_err(failed)? else { continue };
            let mut cells = Vec::with_capacity(row.len());
            for position in 0..row.len() {
                let cell = row
                    .try_get(position)
                    .map_err(|_| Error::Protocol { operation, reason: "a value is not UTF-8".to_owned() })?;
                bytes += cell.map_or(0, str::len);
                cells.push(cell.map(str::to_owned));
            }
            if bytes > ANSWER_BYTES_MAX {
                let reason = format!("more than {ANSWER_BYTES_MAX} bytes of rows");
                return Err(Error::Protocol { operation, reason });
            }
            rows.push(cells);
        }
        Ok(rows)
    }
}

impl Sql for SqlClient {
    fn rows<'a>(
        &'a mut self,
        operation: &'static str,
        sql: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<TextRows, Error>> + Send + 'a>> {
        Box::pin(async move {
            timeout(ANSWER_WAIT_MAX, self.ask(operation, sql)).await.unwrap_or_else(|_| {
                Err(Error::Retry { operation, reason: format!("no answer within {ANSWER_WAIT_MAX:?}") })
            })
        })
    }
}

impl Drop for SqlClient {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

fn config(options: &Options) -> Config {
    let mut config = Config::new();
    let (user, password) = match &options.read_user {
        Some(user) => (user, options.read_password.as_ref()),
        None => (&options.user, options.password.as_ref()),
    };
    let encrypted = options.ssl_mode != super::SslMode::Disable && !tls::is_unix(&options.host);
    config
        .host(&options.host)
        .port(options.port)
        .dbname(&options.database)
        .user(user)
        .application_name(&options.application_name)
        .options(session::startup_options(&[("row_security", "off")]))
        .ssl_mode(if encrypted { PostgresSslMode::Require } else { PostgresSslMode::Disable })
        .keepalives_idle(KEEPALIVE_IDLE)
        .keepalives_interval(KEEPALIVE_INTERVAL)
        .keepalives_retries(KEEPALIVE_RETRIES)
        .tcp_user_timeout(TCP_USER_TIMEOUT);
    if let Some(password) = password {
        config.password(password.expose_secret());
    }
    config
}

/// Moves the bytes until the client is dropped. Notices are dropped unread: they may quote values.
async fn drive<S, T>(mut connection: tokio_postgres::Connection<S, T>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    while let Some(Ok(_)) = poll_fn(|context| connection.poll_message(context)).await {}
}

fn at_connect(error: tokio_postgres::Error) -> Error {
    meaning(CONNECT, error, Refusal::at_connect)
}

fn meaning(
    operation: &'static str,
    error: tokio_postgres::Error,
    of_refusal: fn(Refusal, &'static str) -> Error,
) -> Error {
    if let Some(refusal) = error.as_db_error() {
        return of_refusal(Refusal::new(refusal.code().code(), refusal.message()), operation);
    }
    let text = error.to_string();
    let Some(source) = error.into_source() else { return Error::Retry { operation, reason: text } };
    if let Some(error) = source.downcast_ref::<std::io::Error>() {
        return network(operation, error);
    }
    // The library keeps the kinds of its errors to itself: only their texts tell.
    if source.to_string().contains("password missing") {
        let reason = "the server asks for a password and none is configured";
        return refused("source-auth", operation, reason, "configure the role's password");
    }
    if text.starts_with("authentication") {
        return refused(
            "source-auth",
            operation,
            &format!("{text}: {source}"),
            "use scram-sha-256 in pg_hba.conf",
        );
    }
    if source.to_string().contains("does not support TLS") {
        let hint = "switch ssl on at the server, or set ssl_mode to disable if nobody can listen";
        return refused("source-tls", operation, "the server offers no TLS", hint);
    }
    Error::Retry { operation, reason: format!("{text}: {source}") }
}
