//! Scans become points, slice by slice, where a generation's queue of scan points runs low.

use std::sync::Arc;

use super::work::Work;
use super::{Applier, Error, count_of};
use crate::failpoint;
use crate::projection::affected::{self, Contribution};
use crate::store::dirty::{self, Class, Mark, Target};
use crate::store::engine::{self, Engine};
use crate::store::meta::{GenerationState, Stage};
use crate::store::rows::RowReader;

impl<E: Engine> Applier<E> {
    pub(super) fn wants_slice(&self, state: &GenerationState) -> bool {
        let count = self.reached.dirty.iter().find(|(known, _)| *known == state.generation);
        matches!(state.stage, Stage::Building | Stage::Live)
            && count.is_some_and(|(_, count)| count.scans > 0 && count.scanned < self.limits.scan_points_low)
    }

    /// Unfolds one slice for each generation that wants one. Not inside a transaction: a scan must not see
    /// half of it either, for rows that it has not reached yet would be read as they were.
    pub(super) fn unfold_slice(&mut self, work: &mut Work<'_, E>) -> Result<(), Error> {
        if self.reached.inside {
            return Ok(());
        }
        for position in 0..self.generations.len() {
            if self.wants_slice(&self.generations[position]) {
                let state = self.generations[position].clone();
                self.unfold_one(work, &state)?;
            }
        }
        Ok(())
    }

    fn unfold_one(&mut self, work: &mut Work<'_, E>, state: &GenerationState) -> Result<(), Error> {
        let generation = state.generation;
        let compiled = Arc::clone(&self.compiled);
        let Some(position) = compiled.generations.iter().position(|known| *known == generation) else {
            return Ok(());
        };
        let set = &compiled.schema.plans;
        let plan = &set.plans[position];
        let Some(scan) = dirty::next_scan(work.batch()?, generation)? else { return Ok(()) };
        let mut contributions = Vec::new();
        let broken = |reason: String| engine::Error::Broken { operation: "unfold scan", reason };
        let next = {
            let reader = RowReader { read: &*work.batch()?, schema: &compiled.schema };
            let mut found = Vec::new();
            let cursor = scan.cursor.as_deref();
            match &scan.target {
                Target::Whole => {
                    let root = plan.nodes[0].table;
                    let next = reader.walk_table(root, cursor, self.limits.slice_rows, &mut found)?;
                    for row in &found {
                        contributions.push(Contribution::Point { key: reader.key(root, row)? });
                    }
                    next
                }
                Target::Prefix { node, key } => {
                    let Some((parent, join)) =
                        plan.nodes.get(usize::from(*node)).and_then(|n| n.parent.as_ref())
                    else {
                        return Err(broken("a scan names a node that is not there".to_owned()).into());
                    };
                    let crate::projection::plan::Access::Link(link) = join.up else {
                        return Err(broken("a scan names a join without a link".to_owned()).into());
                    };
                    let next = reader.walk_link(link, key, cursor, self.limits.slice_rows, &mut found)?;
                    for row in &found {
                        affected::above(plan, set, &reader, *parent, row, &mut |c| contributions.push(c))
                            .map_err(|error| broken(error.to_string()))?;
                    }
                    next
                }
            }
        };
        failpoint::hit("apply.unfolding");
        work.rows += contributions.len();
        for contribution in contributions {
            match contribution {
                Contribution::Point { key } => {
                    work.add(
                        generation,
                        key,
                        Mark { first: scan.first, last: scan.last, class: Class::Scan },
                    );
                }
                Contribution::Scan { node, key, depth } => {
                    // It owes what this scan owes.
                    let owed = (scan.first, scan.last);
                    work.scan(&mut self.reached, generation, Target::Prefix { node, key }, depth, owed)?;
                }
            }
        }
        let entry = self.reached.entry;
        let count = count_of(&mut self.reached, generation);
        dirty::advance_scan(work.batch()?, generation, &scan, next, entry, count)?;
        Ok(())
    }
}
