//! Rows and the links between them.
//!
//! A row stands under `table | key`, or, when its table is clustered by a link, under `table | parent | key`
//! with its parent noted in `key -> parent`: the children of one parent are then read with one scan. Every
//! other link is an index of its own: `link | foreign key | key`.

use std::ops::ControlFlow;

use super::engine::{Batch, Error, Read, Space};
use super::part;
use super::schema::{Schema, StoredTable};
use crate::model::{EntryNo, Key, Row, TableId};
use crate::projection::plan::{LinkId, Rows, RowsError, key_of};

/// In front of link keys.
const LINK: u8 = b'L';
/// In front of the keys that lead from a clustered row's key to its parent.
const PARENT: u8 = b'P';

/// The rows of one state.
pub struct RowReader<'r, R> {
    pub read: &'r R,
    pub schema: &'r Schema,
}

fn broken(operation: &'static str, reason: impl Into<String>) -> Error {
    Error::Broken { operation, reason: reason.into() }
}

fn table_prefix(table: &StoredTable, key: &mut Vec<u8>) {
    key.extend_from_slice(&table.number.to_be_bytes());
}

fn parent_note(table: &StoredTable, key: &[u8]) -> Vec<u8> {
    let mut note = vec![PARENT];
    note.extend_from_slice(&table.number.to_be_bytes());
    part::put(&mut note, key);
    note
}

/// Where a row stands.
fn place(table: &StoredTable, parent: Option<Option<&[u8]>>, key: &[u8]) -> Vec<u8> {
    let mut place = Vec::with_capacity(key.len() + 32);
    table_prefix(table, &mut place);
    match parent {
        None => {}
        Some(None) => part::put_absent(&mut place),
        Some(Some(parent)) => part::put(&mut place, parent),
    }
    part::put(&mut place, key);
    place
}

/// A parent as it is noted: nothing for NULL, else one tag byte and the key.
fn note_value(parent: Option<&[u8]>) -> Vec<u8> {
    match parent {
        None => Vec::new(),
        Some(parent) => [&[1], parent].concat(),
    }
}

fn noted(value: &[u8]) -> Option<&[u8]> {
    value.split_first().map(|(_, parent)| parent)
}

fn link_prefix(number: u16, foreign: &[u8]) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(foreign.len() + 32);
    prefix.push(LINK);
    prefix.extend_from_slice(&number.to_be_bytes());
    part::put(&mut prefix, foreign);
    prefix
}

/// The value of a link entry: empty, or both true keys when one of them is hashed in the entry's key.
fn link_value(foreign: &[u8], key: &[u8]) -> Vec<u8> {
    if !part::is_hashed(foreign) && !part::is_hashed(key) {
        return Vec::new();
    }
    let mut value = (foreign.len() as u32).to_be_bytes().to_vec();
    value.extend_from_slice(foreign);
    value.extend_from_slice(key);
    value
}

/// The row's key in a link entry, once the foreign key was found to be the wanted one.
fn linked_key<'a>(
    prefix: usize,
    entry: &'a [u8],
    value: &'a [u8],
    foreign: &[u8],
) -> Result<&'a [u8], Error> {
    let damaged = || broken("read link", "an entry is damaged");
    if value.is_empty() {
        return part::whole(&entry[prefix..]).ok_or_else(damaged);
    }
    let (length, rest) = value.split_first_chunk::<4>().ok_or_else(damaged)?;
    let (true_foreign, key) =
        rest.split_at_checked(u32::from_be_bytes(*length) as usize).ok_or_else(damaged)?;
    if true_foreign != foreign {
        return Err(broken("read link", "two long keys have one hash (rule 30)"));
    }
    Ok(key)
}

impl<'r, R: Read> RowReader<'r, R> {
    fn stored(&self, table: TableId) -> Result<&'r StoredTable, Error> {
        self.schema.table(table).ok_or_else(|| broken("read row", "a table is not among the facts"))
    }

    fn parse(&self, table: &'r StoredTable, bytes: &'r [u8]) -> Result<Row<'r>, Error> {
        let row = Row::parse(bytes).map_err(|error| broken("read row", error.to_string()))?;
        Ok(table.adapt(row))
    }

    /// The row and where it stands.
    pub fn find(&self, id: TableId, key: &[u8]) -> Result<Option<(Vec<u8>, Row<'r>)>, Error> {
        let table = self.stored(id)?;
        let at = if table.clustered.is_some() {
            let Some(note) = self.read.get(Space::Links, &parent_note(table, key))? else { return Ok(None) };
            place(table, Some(noted(note)), key)
        } else {
            place(table, None, key)
        };
        let Some(bytes) = self.read.get(Space::Rows, &at)? else { return Ok(None) };
        let row = self.parse(table, bytes)?;
        if part::is_hashed(key)
            && key_of(&row, &table.key.columns, &table.key.classes).as_deref() != Some(key)
        {
            return Err(broken("read row", "two long keys have one hash (rule 30)"));
        }
        Ok(Some((at, row)))
    }

    /// The row's own key.
    pub fn key(&self, id: TableId, row: &Row<'_>) -> Result<Key, Error> {
        let table = self.stored(id)?;
        key_of(row, &table.key.columns, &table.key.classes)
            .ok_or_else(|| broken("read row", "a stored row has no key"))
    }

    /// Visits the rows under one link key behind a cursor, at most `limit` of them. Returns the cursor
    /// behind the last one, or nothing when there are no more.
    pub fn walk_link(
        &self,
        id: LinkId,
        foreign: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        rows: &mut Vec<Row<'r>>,
    ) -> Result<Option<Vec<u8>>, Error> {
        let link = self.schema.link(id);
        let table = self.stored(link.table)?;
        let (space, prefix) = if link.clustered {
            let mut prefix = Vec::with_capacity(foreign.len() + 8);
            table_prefix(table, &mut prefix);
            part::put(&mut prefix, foreign);
            (Space::Rows, prefix)
        } else {
            (Space::Links, link_prefix(self.schema.link_number(id), foreign))
        };
        let mut cursor = None;
        let mut seen = 0;
        let mut failed = None;
        self.read.scan(space, &prefix, after, &mut |entry, value| {
            if seen == limit {
                return ControlFlow::Break(());
            }
            seen += 1;
            if seen == limit {
                cursor = Some(entry.to_vec());
            }
            let row = if link.clustered {
                self.parse(table, value).map(Some)
            } else {
                linked_key(prefix.len(), entry, value, foreign)
                    .and_then(|key| self.find(link.table, key))
                    .map(|found| found.map(|(_, row)| row))
            };
            match row {
                // A clustered row's parent may be hashed in its place: compare the true one.
                Ok(Some(row))
                    if link.clustered
                        && part::is_hashed(foreign)
                        && key_of(&row, &link.columns, &link.classes).as_deref() != Some(foreign) =>
                {
                    failed = Some(broken("read link", "two long keys have one hash (rule 30)"));
                    ControlFlow::Break(())
                }
                Ok(Some(row)) => {
                    rows.push(row);
                    ControlFlow::Continue(())
                }
                Ok(None) => {
                    failed = Some(broken("read link", "a link leads to a row that is not there"));
                    ControlFlow::Break(())
                }
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        match failed {
            Some(error) => Err(error),
            None => Ok(cursor),
        }
    }

    /// Visits all rows of a table behind a cursor; see [`RowReader::walk_link`].
    pub fn walk_table(
        &self,
        id: TableId,
        after: Option<&[u8]>,
        limit: usize,
        rows: &mut Vec<Row<'r>>,
    ) -> Result<Option<Vec<u8>>, Error> {
        let table = self.stored(id)?;
        let mut prefix = Vec::with_capacity(2);
        table_prefix(table, &mut prefix);
        let mut cursor = None;
        let mut seen = 0;
        let mut failed = None;
        self.read.scan(Space::Rows, &prefix, after, &mut |entry, value| {
            if seen == limit {
                return ControlFlow::Break(());
            }
            seen += 1;
            if seen == limit {
                cursor = Some(entry.to_vec());
            }
            match self.parse(table, value) {
                Ok(row) => {
                    rows.push(row);
                    ControlFlow::Continue(())
                }
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        match failed {
            Some(error) => Err(error),
            None => Ok(cursor),
        }
    }
}

fn rows_error(error: Error) -> RowsError {
    RowsError(error.to_string())
}

impl<R: Read> Rows for RowReader<'_, R> {
    fn get<'a>(&'a self, table: TableId, key: &[u8]) -> Result<Option<Row<'a>>, RowsError> {
        Ok(self.find(table, key).map_err(rows_error)?.map(|(_, row)| row))
    }

    fn linked<'a>(&'a self, link: LinkId, key: &[u8], rows: &mut Vec<Row<'a>>) -> Result<(), RowsError> {
        self.walk_link(link, key, None, usize::MAX, rows).map_err(rows_error)?;
        Ok(())
    }
}

/// Puts a row in place, moving it and its links when they change. `old` is the row that stands under `key`
/// now and its place; `new` holds the new row's bytes, in any layout of this table. Returns whether it stands in
/// another place now, where a walk through the table may have been already.
pub fn put<B: Batch>(
    batch: &mut B,
    schema: &Schema,
    table: &StoredTable,
    key: &[u8],
    old: Option<&OldRow>,
    new: &[u8],
) -> Result<bool, Error> {
    let row = table.adapt(Row::parse(new).map_err(|error| broken("write row", error.to_string()))?);
    let parent = match table.clustered {
        None => None,
        Some(link) => {
            let link = schema.link(link);
            Some(key_of(&row, &link.columns, &link.classes))
        }
    };
    let at = place(table, parent.as_ref().map(|parent| parent.as_deref()), key);
    let moved = old.filter(|old| old.place != at);
    if let Some(old) = moved {
        batch.delete(Space::Rows, &old.place)?;
    }
    batch.put(Space::Rows, &at, new)?;
    if let Some(parent) = &parent
        && old.is_none_or(|old| old.place != at)
    {
        batch.put(Space::Links, &parent_note(table, key), &note_value(parent.as_deref()))?;
    }
    for (position, (id, number)) in table.links.iter().enumerate() {
        let link = schema.link(*id);
        let after = key_of(&row, &link.columns, &link.classes);
        let before = old.and_then(|old| old.links[position].as_ref());
        if before == after.as_ref() && old.is_some() {
            continue;
        }
        if let Some(before) = before {
            delete_link(batch, *number, before, key)?;
        }
        if let Some(after) = &after {
            let mut entry = link_prefix(*number, after);
            part::put(&mut entry, key);
            batch.put(Space::Links, &entry, &link_value(after, key))?;
        }
    }
    Ok(moved.is_some())
}

/// Removes a row and its links.
pub fn remove<B: Batch>(batch: &mut B, table: &StoredTable, key: &[u8], old: &OldRow) -> Result<(), Error> {
    batch.delete(Space::Rows, &old.place)?;
    if table.clustered.is_some() {
        batch.delete(Space::Links, &parent_note(table, key))?;
    }
    for (position, (_, number)) in table.links.iter().enumerate() {
        if let Some(foreign) = &old.links[position] {
            delete_link(batch, *number, foreign, key)?;
        }
    }
    Ok(())
}

fn delete_link<B: Batch>(batch: &mut B, number: u16, foreign: &[u8], key: &[u8]) -> Result<(), Error> {
    let mut entry = link_prefix(number, foreign);
    part::put(&mut entry, key);
    batch.delete(Space::Links, &entry)?;
    Ok(())
}

/// A row as it was before a change, copied out of the batch so that the batch can be written to.
#[derive(Clone, Debug)]
pub struct OldRow {
    pub place: Vec<u8>,
    pub bytes: Vec<u8>,
    pub last: EntryNo,
    /// Its key in each of the table's links, in their order.
    pub links: Vec<Option<Key>>,
}

impl OldRow {
    /// Copies a found row.
    pub fn copy(schema: &Schema, table: &StoredTable, place: Vec<u8>, bytes: &[u8]) -> Result<OldRow, Error> {
        let row = table.adapt(Row::parse(bytes).map_err(|error| broken("read row", error.to_string()))?);
        let links = table
            .links
            .iter()
            .map(|(id, _)| {
                let link = schema.link(*id);
                key_of(&row, &link.columns, &link.classes)
            })
            .collect();
        Ok(OldRow { place, bytes: bytes.to_vec(), last: row.last, links })
    }

    /// The row, to be read by the catalog's columns.
    pub fn row<'a>(&'a self, table: &'a StoredTable) -> Result<Row<'a>, Error> {
        let row = Row::parse(&self.bytes).map_err(|error| broken("read row", error.to_string()))?;
        Ok(table.adapt(row))
    }
}

/// Finds the row under a key and copies it out.
pub fn find_old<B: Read>(
    batch: &B,
    schema: &Schema,
    table: &StoredTable,
    key: &[u8],
) -> Result<Option<OldRow>, Error> {
    let at = if table.clustered.is_some() {
        let Some(note) = batch.get(Space::Links, &parent_note(table, key))? else { return Ok(None) };
        place(table, Some(noted(note)), key)
    } else {
        place(table, None, key)
    };
    let Some(bytes) = batch.get(Space::Rows, &at)? else { return Ok(None) };
    let old = OldRow::copy(schema, table, at, bytes)?;
    if part::is_hashed(key) {
        let row = old.row(table)?;
        if key_of(&row, &table.key.columns, &table.key.classes).as_deref() != Some(key) {
            return Err(broken("read row", "two long keys have one hash (rule 30)"));
        }
    }
    Ok(Some(old))
}
