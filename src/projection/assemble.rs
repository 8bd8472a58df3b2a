//! Puts a document together from the rows of one view.
//!
//! The plan's [`Shape`] says what stands where. Assembling walks it once and writes compact JSON straight
//! into the output: no tree in between. The cells of the rows that are being read lie on one stack
//! ([`Assembler::cells`]), so that a document needs a handful of allocations, whatever its size.

mod aggregate;
mod children;
mod id;
mod shape;

pub use shape::{Content, Frame, Function, Member, OrderBy, Shape, Write};

use super::compile::Hop;
use super::plan::{Access, Plan, PlanSet, Rows, RowsError};
use super::predicate::Predicate;
use super::value;
use crate::model::{Cell, Row, TableId};

/// A document larger than this is not made: Elasticsearch's own limit of a request
/// (`http.max_content_length`) is 100 MB.
pub const DOCUMENT_BYTES_MAX: usize = 100 * 1024 * 1024;
/// Rows read for one document, so that one of them cannot hold up the others for ever.
pub const DOCUMENT_ROWS_MAX: usize = 1_000_000;

/// What became of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assembled {
    /// It was appended to the output.
    Document,
    /// There is none: no root row, or the root's condition is not true.
    Absent,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum AssembleError {
    /// A row holds a value that is not known (rule 16): the document waits until the row was read again.
    #[error("assemble document: a row of table {} is not complete", table.0)]
    Incomplete { table: TableId },
    #[error("assemble document: {what} passes the limit of {limit}")]
    TooLarge { what: &'static str, limit: usize },
    #[error("assemble document: {0}")]
    Rows(#[from] RowsError),
}

/// Appends the document of one root row to `out`: JSON on one line, without a line end. It is a function of
/// the rows alone. On an error, and when there is no document, `out` is as before.
///
/// # Errors
/// When a value that the document needs is not known, when a limit is passed, when rows cannot be read.
pub fn assemble(
    plan: &Plan,
    _plans: &PlanSet,
    rows: &impl Rows,
    root_key: &[u8],
    out: &mut Vec<u8>,
) -> Result<Assembled, AssembleError> {
    let start = out.len();
    let mut assembler = Assembler {
        plan,
        rows,
        out,
        start,
        cells: Vec::with_capacity(128),
        frames: Vec::with_capacity(16),
        fetched: Vec::with_capacity(16),
        key: Vec::with_capacity(32),
        read: 0,
    };
    let result = assembler.root(root_key);
    if !matches!(result, Ok(Assembled::Document)) {
        out.truncate(start);
    }
    result
}

struct Assembler<'a, R> {
    plan: &'a Plan,
    rows: &'a R,
    out: &'a mut Vec<u8>,
    /// Where the document begins in `out`.
    start: usize,
    /// A stack of rows: each is a run of as many cells as its node's frame is wide.
    cells: Vec<Cell<'a>>,
    /// A stack of lists of children: where each child's cells begin.
    frames: Vec<usize>,
    /// A stack of rows found and not looked at yet.
    fetched: Vec<Row<'a>>,
    /// The key that is being looked up.
    key: Vec<u8>,
    /// Rows read so far.
    read: usize,
}

impl<'a, R: Rows> Assembler<'a, R> {
    fn root(&mut self, root_key: &[u8]) -> Result<Assembled, AssembleError> {
        let Some(root) = self.plan.nodes.first() else { return Ok(Assembled::Absent) };
        let Some(row) = self.rows.get(root.table, root_key)? else { return Ok(Assembled::Absent) };
        let base = self.push(0, row)?;
        if !self.passes(self.plan.shape.filter.as_ref(), base) {
            return Ok(Assembled::Absent);
        }
        self.object(&self.plan.shape.fields, base)?;
        Ok(Assembled::Document)
    }

    fn object(&mut self, members: &'a [Member], base: usize) -> Result<(), AssembleError> {
        self.out.push(b'{');
        for member in members {
            self.out.extend_from_slice(&member.prefix);
            match &member.write {
                Write::Column { position, kind } => self.value(kind, self.cells[base + position]),
                Write::One { hop, fields } => self.one(hop, fields, base)?,
                Write::Many { hops, order, content } => self.many(hops, order, content, base)?,
                Write::Aggregate { hops, function, order } => {
                    self.aggregate(hops, function, order, base)?;
                }
            }
        }
        self.out.push(b'}');
        if self.out.len() - self.start > DOCUMENT_BYTES_MAX {
            return Err(AssembleError::TooLarge { what: "its size in bytes", limit: DOCUMENT_BYTES_MAX });
        }
        Ok(())
    }

    fn value(&mut self, kind: &crate::model::ColumnKind, cell: Cell<'a>) {
        match cell.text() {
            Some(text) => value::write(kind, text, self.out),
            None => self.out.extend_from_slice(b"null"),
        }
    }

    fn one(&mut self, hop: &'a Hop, fields: &'a [Member], base: usize) -> Result<(), AssembleError> {
        let cells = self.cells.len();
        match self.single(hop, base)? {
            Some(child) => self.object(fields, child)?,
            None => self.out.extend_from_slice(b"null"),
        }
        self.cells.truncate(cells);
        Ok(())
    }

    /// The one row that a row leads to; its cells are on the stack then.
    fn single(&mut self, hop: &'a Hop, base: usize) -> Result<Option<usize>, AssembleError> {
        let fetched = self.fetched.len();
        self.fetch(hop, base)?;
        // The join is unique in every committed state, so there is one row at most.
        let row = self.fetched.get(fetched).copied();
        self.fetched.truncate(fetched);
        let Some(row) = row else { return Ok(None) };
        let child = self.push(hop.node, row)?;
        Ok(self.passes(hop.filter.as_ref(), child).then_some(child))
    }

    /// Finds the rows that a row is joined with and appends them to `fetched`.
    fn fetch(&mut self, hop: &'a Hop, base: usize) -> Result<(), AssembleError> {
        let node = &self.plan.nodes[hop.node];
        let Some((_, join)) = &node.parent else { return Ok(()) };
        self.key.clear();
        for (column, class) in join.parent_columns.iter().zip(&join.classes) {
            // NULL joins nothing; nor does what is not of its class.
            let Some(text) = self.cells[base + column].text() else { return Ok(()) };
            if class.encode(text, &mut self.key).is_err() {
                return Ok(());
            }
        }
        match join.down {
            Access::Key => self.fetched.extend(self.rows.get(node.table, &self.key)?),
            Access::Link(link) => self.rows.linked(link, &self.key, &mut self.fetched)?,
        }
        Ok(())
    }

    /// Puts a row's cells on the stack.
    fn push(&mut self, node: usize, row: Row<'a>) -> Result<usize, AssembleError> {
        self.read += 1;
        if self.read > DOCUMENT_ROWS_MAX {
            return Err(AssembleError::TooLarge { what: "the number of its rows", limit: DOCUMENT_ROWS_MAX });
        }
        let frame = &self.plan.shape.frames[node];
        let base = self.cells.len();
        row.read_into(frame.width, &mut self.cells);
        if self.cells[base..].contains(&Cell::Unchanged)
            && frame.used.iter().any(|column| self.cells[base + column] == Cell::Unchanged)
        {
            return Err(AssembleError::Incomplete { table: frame.table });
        }
        Ok(base)
    }

    fn passes(&self, filter: Option<&Predicate>, base: usize) -> bool {
        filter.is_none_or(|filter| filter.is_true(&self.cells[base..]))
    }
}

#[cfg(test)]
mod tests;
