//! Arrays: the rows that hang on a row, over one step or over a junction.

use std::cmp::Ordering;

use super::{AssembleError, Assembler, Content, OrderBy};
use crate::model::Cell;
use crate::projection::compile::Hop;
use crate::projection::plan::Rows;

impl<'a, R: Rows> Assembler<'a, R> {
    pub(super) fn many(
        &mut self,
        hops: &'a [Hop],
        order: &'a [OrderBy],
        content: &'a Content,
        base: usize,
    ) -> Result<(), AssembleError> {
        let (cells, frames) = (self.cells.len(), self.frames.len());
        self.gather(hops, base)?;
        self.sort(order, frames);
        self.out.push(b'[');
        for position in frames..self.frames.len() {
            if position > frames {
                self.out.push(b',');
            }
            let child = self.frames[position];
            match content {
                Content::Object(fields) => self.object(fields, child)?,
                Content::Value { position, kind } => self.value(kind, self.cells[child + position]),
            }
        }
        self.out.push(b']');
        self.cells.truncate(cells);
        self.frames.truncate(frames);
        Ok(())
    }

    /// Appends the places of the rows at the end of the hops to `frames`. They and the rows on the way stay
    /// on the stack until the caller takes them off.
    pub(super) fn gather(&mut self, hops: &'a [Hop], base: usize) -> Result<(), AssembleError> {
        let Some((hop, onward)) = hops.split_first() else {
            self.frames.push(base);
            return Ok(());
        };
        let fetched = self.fetched.len();
        self.fetch(hop, base)?;
        let end = self.fetched.len();
        for position in fetched..end {
            let row = self.fetched[position];
            let cells = self.cells.len();
            let child = self.push(hop.node, row)?;
            if self.passes(hop.filter.as_ref(), child) {
                self.gather(onward, child)?;
            } else {
                self.cells.truncate(cells);
            }
        }
        self.fetched.truncate(fetched);
        Ok(())
    }

    /// Sorts the children from `start` on. The order ends with the row's own key, so it is complete, except
    /// for rows that occur twice through a junction and are the same.
    pub(super) fn sort(&mut self, order: &[OrderBy], start: usize) {
        let cells = &self.cells;
        self.frames[start..].sort_unstable_by(|a, b| {
            let steps = order.iter().map(|by| compare(by, cells[a + by.position], cells[b + by.position]));
            steps.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        });
    }
}

fn compare(by: &OrderBy, a: Cell<'_>, b: Cell<'_>) -> Ordering {
    let ascending = match (a.text(), b.text()) {
        (Some(a), Some(b)) => by.kind.compare(a, b),
        (a, b) => a.is_none().cmp(&b.is_none()),
    };
    if by.descending { ascending.reverse() } else { ascending }
}
