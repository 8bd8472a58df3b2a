//! What an error of an ordinary connection means.

use tokio_postgres::error::{DbError, SqlState};

use crate::source::postgres::Error;

/// Turns a driver's error into ours. The server's DETAIL is dropped because it quotes rows; so is the
/// message of a data error, which quotes the value.
pub fn failure(operation: &'static str, error: &tokio_postgres::Error) -> Error {
    let Some(answer) = error.as_db_error() else {
        // No answer of the server: the connection is gone, or the driver did not understand it.
        let reason = match std::error::Error::source(error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        };
        return Error::Retry { operation, reason };
    };
    if is_passing(answer.code()) {
        return Error::Retry { operation, reason: answer.message().to_owned() };
    }
    Error::Server { operation, sqlstate: answer.code().code().to_owned(), message: message(answer) }
}

fn message(answer: &DbError) -> String {
    match &answer.code().code()[..2] {
        "22" | "23" => "a value is not acceptable".to_owned(),
        _ => answer.message().to_owned(),
    }
}

/// Connection exceptions, shutdown and start-up, too many connections, conflicts between transactions.
fn is_passing(code: &SqlState) -> bool {
    code.code().starts_with("08")
        || code.code().starts_with("40")
        || code.code().starts_with("53")
        || [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN, SqlState::CANNOT_CONNECT_NOW].contains(code)
        || *code == SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
}

/// The statement ran into its time limit, or into a lock that it did not wait for: worth another try with
/// fewer rows, later.
pub fn is_too_slow(error: &Error) -> bool {
    matches!(error, Error::Server { sqlstate, .. }
        if sqlstate == SqlState::QUERY_CANCELED.code() || sqlstate == SqlState::LOCK_NOT_AVAILABLE.code())
}
