//! Reading the text cells of an answer: the one place where "that cannot be" is said about an answer.

use std::str::FromStr;

use super::sql::TextRows;
use super::{Error, Sql};

/// One row of an answer to a statement of ours.
pub(super) struct Answer<'a> {
    pub operation: &'static str,
    pub cells: &'a [Option<String>],
}

impl<'a> Answer<'a> {
    /// A cell that may be NULL.
    pub fn optional(&self, column: usize) -> Option<&'a str> {
        self.cells.get(column).and_then(|cell| cell.as_deref())
    }

    pub fn text(&self, column: usize) -> Result<&'a str, Error> {
        self.optional(column).ok_or_else(|| self.unexpected(column, "a value"))
    }

    /// Anything that has a text form: numbers, positions.
    pub fn parsed<T: FromStr>(&self, column: usize) -> Result<T, Error> {
        self.text(column)?.parse().map_err(|_| self.unexpected(column, std::any::type_name::<T>()))
    }

    /// NULL is nothing; anything else must have the form.
    pub fn parsed_optional<T: FromStr>(&self, column: usize) -> Result<Option<T>, Error> {
        self.optional(column).map(|_| self.parsed(column)).transpose()
    }

    /// A boolean; NULL is false, as it is in a WHERE.
    pub fn flag(&self, column: usize) -> Result<bool, Error> {
        match self.optional(column) {
            Some("t" | "true") => Ok(true),
            None | Some("f" | "false") => Ok(false),
            Some(_) => Err(self.unexpected(column, "a boolean")),
        }
    }

    /// A JSON array of texts; NULL is the empty list. Names hold commas, quotes and braces, which JSON
    /// carries and a hand-made separator would not.
    pub fn names(&self, column: usize) -> Result<Vec<String>, Error> {
        match self.optional(column) {
            None => Ok(Vec::new()),
            Some(json) => serde_json::from_str(json).map_err(|_| self.unexpected(column, "a list of names")),
        }
    }

    fn unexpected(&self, column: usize, wanted: &str) -> Error {
        let reason = format!("column {} is not {wanted}", column + 1);
        Error::Protocol { operation: self.operation, reason }
    }
}

/// The rows of an answer, one after the other.
pub(super) fn answers<'a>(operation: &'static str, rows: &'a TextRows) -> impl Iterator<Item = Answer<'a>> {
    rows.iter().map(move |cells| Answer { operation, cells })
}

/// The one row that a statement must give.
pub(super) fn only<'a>(operation: &'static str, rows: &'a TextRows) -> Result<Answer<'a>, Error> {
    answers(operation, rows)
        .next()
        .ok_or_else(|| Error::Protocol { operation, reason: "no row came back".to_owned() })
}

/// Empties the session's search_path, so that operators, too, can only be PostgreSQL's own: a role or a
/// database may bring a path in which somebody else can create things. Names of types and of regclass
/// values become independent of the role by it as well.
pub(super) async fn pin_search_path(sql: &mut dyn Sql, operation: &'static str) -> Result<(), Error> {
    sql.rows(operation, "SELECT pg_catalog.set_config('search_path', '', false)").await?;
    Ok(())
}
