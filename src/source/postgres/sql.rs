//! One way to ask, over either kind of connection.

use std::future::Future;
use std::pin::Pin;

use super::Error;

/// Rows of text, as the simple query protocol gives them.
pub type TextRows = Vec<Vec<Option<String>>>;

/// A connection that takes simple queries: the replication connection itself (rule 7: the gate asks over
/// the very connection that will stream) or an ordinary one.
pub trait Sql: Send {
    /// Runs one statement and returns its rows. `operation` says in an error what was being done.
    fn rows<'a>(
        &'a mut self,
        operation: &'static str,
        sql: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<TextRows, Error>> + Send + 'a>>;
}

/// Quotes an identifier.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a literal, safe with and without standard_conforming_strings.
pub fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') {
        format!(" E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}
