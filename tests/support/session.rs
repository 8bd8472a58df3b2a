//! One connection to PostgreSQL that blocks: every value comes and goes as text.

use std::sync::mpsc;
use std::time::Duration;

use tokio_postgres::{NoTls, SimpleQueryMessage};

pub use tokio_postgres::Error;

/// A row as the server writes it.
pub type TextRow = Vec<Option<String>>;

type Request = (String, mpsc::Sender<Result<Vec<TextRow>, Error>>);

/// Attempts of [`Session::insist`].
const DEADLOCKS_MAX: u32 = 20;

/// Lives on a thread of its own, so that it may be used beside any runtime. Dropping it closes the connection.
pub struct Session {
    requests: tokio::sync::mpsc::UnboundedSender<Request>,
}

impl Session {
    pub fn connect(url: &str) -> Result<Session, Error> {
        let (requests, mut inbox) = tokio::sync::mpsc::unbounded_channel::<Request>();
        let (connected, connection) = mpsc::channel();
        let mut config: tokio_postgres::Config = url.parse()?;
        config.connect_timeout(Duration::from_secs(10));
        // Compiling the oracle's statements takes longer than running them.
        config.options("-c jit=off");
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let client = match config.connect(NoTls).await {
                    Ok((client, connection)) => {
                        tokio::spawn(connection);
                        let _ = connected.send(Ok(()));
                        client
                    }
                    Err(error) => return drop(connected.send(Err(error))),
                };
                while let Some((sql, reply)) = inbox.recv().await {
                    let answer = client
                        .simple_query(&sql)
                        .await
                        .map(|messages| messages.iter().filter_map(text_row).collect::<Vec<_>>());
                    let _ = reply.send(answer);
                }
            });
        });
        connection.recv().expect("the connection's thread answers").map(|()| Session { requests })
    }

    /// Runs one or several statements; the rows of all of them.
    pub fn query(&self, sql: &str) -> Result<Vec<TextRow>, Error> {
        let (reply, answer) = mpsc::channel();
        self.requests.send((sql.to_owned(), reply)).expect("the connection's thread lives");
        answer.recv().expect("the connection's thread answers")
    }

    /// As [`Session::query`], for statements that a test is sure of.
    pub fn must(&self, sql: &str) -> Vec<TextRow> {
        self.query(sql).unwrap_or_else(|error| panic!("{sql}\n{}", explain(&error)))
    }

    /// As [`Session::must`], for what others may stand in the way of: a deadlock with them costs another attempt.
    pub fn insist(&self, sql: &str) -> Vec<TextRow> {
        for _ in 0..DEADLOCKS_MAX {
            match self.query(sql) {
                Err(error) if is_deadlock(&error) => self.must("ROLLBACK"),
                done => return done.unwrap_or_else(|error| panic!("{sql}\n{}", explain(&error))),
            };
        }
        panic!("{sql}\n{DEADLOCKS_MAX} deadlocks, one after the other");
    }

    /// The one value of a statement that a test is sure of.
    pub fn value(&self, sql: &str) -> String {
        let rows = self.must(sql);
        match &rows[..] {
            [row] if row.len() == 1 => row[0].clone().unwrap_or_default(),
            _ => panic!("{sql}\nreturned {} rows, not one value", rows.len()),
        }
    }
}

/// With the server's own words, which `Display` of the driver's error leaves out.
pub fn explain(error: &Error) -> String {
    match error.as_db_error() {
        Some(server) => format!("{} ({})", server.message(), server.code().code()),
        None => error.to_string(),
    }
}

fn is_deadlock(error: &Error) -> bool {
    error.code() == Some(&tokio_postgres::error::SqlState::T_R_DEADLOCK_DETECTED)
}

fn text_row(message: &SimpleQueryMessage) -> Option<TextRow> {
    match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect()),
        _ => None,
    }
}
