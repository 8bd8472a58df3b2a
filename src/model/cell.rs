//! One column value.

/// One column value in PostgreSQL's text form, borrowed from the bytes it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cell<'a> {
    Null,
    /// A TOASTed value that the UPDATE did not touch: the stream does not carry it (hazard 23).
    Unchanged,
    /// The text form under the pinned session settings (hazard 36). UTF-8 unless the database is SQL_ASCII.
    Text(&'a [u8]),
}

impl<'a> Cell<'a> {
    /// The text; nothing for NULL and for an unchanged value.
    pub fn text(self) -> Option<&'a [u8]> {
        match self {
            Cell::Text(text) => Some(text),
            Cell::Null | Cell::Unchanged => None,
        }
    }
}
