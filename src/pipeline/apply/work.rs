//! The open batch, and the points gathered since it began.
//!
//! A transaction that inserts an order and its lines dirties one document five times: points are gathered
//! in memory and written once, when the batch is committed.

use hashbrown::HashMap;

use super::{Error, count_of};
use crate::failpoint;
use crate::model::{EntryNo, Generation, Key};
use crate::store::dirty::{self, Class, Mark, Target};
use crate::store::engine::{Batch, Engine};
use crate::store::meta::{self, Reached};

pub(super) struct Work<'e, E: Engine + 'e> {
    engine: &'e E,
    batch: Option<E::Batch<'e>>,
    points: HashMap<(Generation, Key), Mark, foldhash::fast::RandomState>,
    /// Rows changed since the last commit.
    pub rows: usize,
}

impl<'e, E: Engine> Work<'e, E> {
    pub fn new(engine: &'e E) -> Result<Self, Error> {
        let batch = Some(engine.batch()?);
        Ok(Work { engine, batch, points: HashMap::default(), rows: 0 })
    }

    /// The open batch.
    pub fn batch(&mut self) -> Result<&mut E::Batch<'e>, Error> {
        if self.batch.is_none() {
            self.batch = Some(self.engine.batch()?);
        }
        Ok(self.batch.get_or_insert_with(|| unreachable!("set just above")))
    }

    /// Dirties a document because of a change.
    pub fn point(&mut self, generation: Generation, document: Key, entry: EntryNo) {
        self.add(generation, document, Mark { first: entry, last: entry, class: Class::Change });
    }

    /// Dirties a document with a mark of its own making (scans).
    pub fn add(&mut self, generation: Generation, document: Key, mark: Mark) {
        self.points
            .entry((generation, document))
            .and_modify(|known| {
                known.first = known.first.min(mark.first);
                known.last = known.last.max(mark.last);
                known.class = known.class.min(mark.class);
            })
            .or_insert(mark);
    }

    /// Adds a scan, or joins one that has not begun.
    pub fn scan(
        &mut self,
        reached: &mut Reached,
        generation: Generation,
        target: Target,
        depth: u16,
        owed: (EntryNo, EntryNo),
    ) -> Result<(), Error> {
        let count = count_of(reached, generation);
        dirty::add_scan(self.batch()?, generation, target, depth, owed, count)?;
        Ok(())
    }

    /// Forgets what was gathered for a generation that is dropped.
    pub fn forget(&mut self, generation: Generation) {
        self.points.retain(|(known, _), _| *known != generation);
    }

    /// Writes the gathered points into the batch, for whoever looks at what is owed.
    pub fn write_points(&mut self, reached: &mut Reached) -> Result<(), Error> {
        let mut points: Vec<_> = self.points.drain().collect();
        points.sort_unstable_by(|(a, _), (b, _)| a.cmp(b)); // neighbours in the store one after the other
        for ((generation, document), mark) in points {
            let count = count_of(reached, generation);
            dirty::mark(self.batch()?, generation, &document, mark, count)?;
        }
        Ok(())
    }

    /// Writes the gathered points and how far we are, and commits all of it.
    pub fn commit(&mut self, reached: &mut Reached) -> Result<(), Error> {
        self.write_points(reached)?;
        meta::put_reached(self.batch()?, reached)?;
        if let Some(batch) = self.batch.take() {
            failpoint::hit("store.committing");
            batch.commit()?;
            failpoint::hit("store.committed");
        }
        self.rows = 0;
        Ok(())
    }
}
