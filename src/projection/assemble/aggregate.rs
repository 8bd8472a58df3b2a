//! Counts, sums and extremes over the rows that hang on a row.

use super::{AssembleError, Assembler, Function, OrderBy};
use crate::projection::compile::Hop;
use crate::projection::plan::Rows;
use crate::projection::value;
use crate::projection::value::decimal::Sum;
use crate::projection::value::order::float;

impl<'a, R: Rows> Assembler<'a, R> {
    pub(super) fn aggregate(
        &mut self,
        hops: &'a [Hop],
        function: &'a Function,
        order: &'a [OrderBy],
        base: usize,
    ) -> Result<(), AssembleError> {
        let (cells, frames) = (self.cells.len(), self.frames.len());
        self.gather(hops, base)?;
        if !order.is_empty() {
            self.sort(order, frames);
        }
        let rows = &self.frames[frames..];
        let stack = &self.cells;
        let texts = |position: usize| rows.iter().filter_map(move |row| stack[row + position].text());
        match function {
            Function::Count { position } => {
                let count = position.map_or(rows.len(), |position| texts(position).count());
                self.out.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
            }
            Function::Sum { position, float: false } => {
                let mut sum = Sum::default();
                texts(*position).for_each(|text| sum.add(text));
                self.out.extend_from_slice(sum.finish().as_deref().unwrap_or("null").as_bytes());
            }
            Function::Sum { position, float: true } => {
                let sum = texts(*position).map(float).reduce(|a, b| a + b);
                match sum.filter(|sum| sum.is_finite()).and_then(serde_json::Number::from_f64) {
                    Some(sum) => self.out.extend_from_slice(sum.to_string().as_bytes()),
                    None => self.out.extend_from_slice(b"null"),
                }
            }
            Function::Extreme { position, kind, order, largest } => {
                // The rows come in the order of the store. Of equal values, 2 and 2.00, it is always the same one.
                let by = |a: &&'a [u8], b: &&'a [u8]| order.compare(a, b).then_with(|| a.cmp(b));
                let found = if *largest { texts(*position).max_by(by) } else { texts(*position).min_by(by) };
                match found {
                    Some(text) => value::write(kind, text, self.out),
                    None => self.out.extend_from_slice(b"null"),
                }
            }
        }
        self.cells.truncate(cells);
        self.frames.truncate(frames);
        Ok(())
    }
}
