//! What is dirty: points, the queue they stand in, scans, and what holds the watermark.
//!
//! A *mark* (point) is one document of one generation with the first and the last entry that dirtied it
//! (rule 21). The queue orders marks by class (changes before scans) and `first`. A *scan* is a durable
//! cursor over a whole projection or over one link prefix; it is unfolded slice by slice into points of the
//! scan class that carry the scan's `first`, so that retried and refused documents of a slice need no rule of
//! their own (rule 25), and there is one queue, one way to settle. A *barrier* is what an ended scan leaves
//! behind (rule 23).

mod scan;

use std::ops::ControlFlow;

use super::engine::{Batch, Error, Read, Space};
use super::part;
use crate::model::{EntryNo, Generation, Key};
use crate::planted::{self, Bug};
pub use scan::{
    Scan, Target, add_scan, advance_scan, hold, lift_barriers, next_scan, release, restart_scans, scans,
};
use scan::{barriers, read_scan};

const MARK: u8 = b'M';
const QUEUE: u8 = b'Q';
const SCAN: u8 = b'S';
const ORDER: u8 = b'O';
const BARRIER: u8 = b'B';

/// Why a point is there; changes are served first, scans keep a share (rule 28).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    Change = 0,
    Scan = 1,
}

impl Class {
    pub const ALL: [Class; 2] = [Class::Change, Class::Scan];
}

/// Which entries dirtied a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub first: EntryNo,
    pub last: EntryNo,
    pub class: Class,
}

/// How many points there are; kept by the writer, so that nobody has to count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Count {
    pub changes: u64,
    pub scanned: u64,
    pub scans: u64,
    /// Documents that the sink refused.
    #[serde(default)]
    pub quarantined: u64,
}

impl Count {
    fn of(&mut self, class: Class) -> &mut u64 {
        match class {
            Class::Change => &mut self.changes,
            Class::Scan => &mut self.scanned,
        }
    }
}

fn head(tag: u8, generation: Generation) -> Vec<u8> {
    let mut key = Vec::with_capacity(48);
    key.push(tag);
    key.extend_from_slice(&generation.0.to_be_bytes());
    key
}

fn mark_key(generation: Generation, document: &[u8]) -> Vec<u8> {
    let mut key = head(MARK, generation);
    part::put(&mut key, document);
    key
}

fn queue_prefix(generation: Generation, class: Class) -> Vec<u8> {
    let mut key = head(QUEUE, generation);
    key.push(class as u8);
    key
}

fn queue_key(generation: Generation, mark: &Mark, document: &[u8]) -> Vec<u8> {
    let mut key = queue_prefix(generation, mark.class);
    key.extend_from_slice(&mark.first.0.to_be_bytes());
    part::put(&mut key, document);
    key
}

fn damaged(what: &str) -> Error {
    Error::Broken { operation: "read dirty", reason: format!("{what} is damaged") }
}

fn number(bytes: &[u8], at: usize) -> Option<EntryNo> {
    Some(EntryNo(u64::from_be_bytes(*bytes.get(at..)?.first_chunk::<8>()?)))
}

fn read_mark(value: &[u8]) -> Result<Mark, Error> {
    let mark = || {
        let class = if *value.get(16)? == 0 { Class::Change } else { Class::Scan };
        Some(Mark { first: number(value, 0)?, last: number(value, 8)?, class })
    };
    mark().ok_or_else(|| damaged("a mark"))
}

fn mark_value(mark: &Mark, document: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(17);
    value.extend_from_slice(&mark.first.0.to_be_bytes());
    value.extend_from_slice(&mark.last.0.to_be_bytes());
    value.push(mark.class as u8);
    if part::is_hashed(document) {
        value.extend_from_slice(document);
    }
    value
}

/// The mark of a document, if it is dirty.
pub fn mark_of<R: Read>(read: &R, generation: Generation, document: &[u8]) -> Result<Option<Mark>, Error> {
    read.get(Space::Dirty, &mark_key(generation, document))?.map(read_mark).transpose()
}

/// Dirties a document. A mark that is there keeps the older `first`, takes the newer `last`, and the
/// class that is served sooner.
pub fn mark<B: Batch>(
    batch: &mut B,
    generation: Generation,
    document: &[u8],
    new: Mark,
    count: &mut Count,
) -> Result<(), Error> {
    let old = mark_of(batch, generation, document)?;
    let merged = match old {
        None => new,
        Some(_) if planted::is(Bug::MarkKeepsLast) => new,
        Some(old) => Mark {
            first: old.first.min(new.first),
            last: old.last.max(new.last),
            class: old.class.min(new.class),
        },
    };
    if old == Some(merged) {
        return Ok(());
    }
    replace(batch, generation, document, old, Some(merged), count)
}

fn replace<B: Batch>(
    batch: &mut B,
    generation: Generation,
    document: &[u8],
    old: Option<Mark>,
    new: Option<Mark>,
    count: &mut Count,
) -> Result<(), Error> {
    let moved = |a: &Mark, b: &Mark| (a.first, a.class) != (b.first, b.class);
    if let Some(old) = &old
        && new.as_ref().is_none_or(|new| moved(old, new))
    {
        batch.delete(Space::Dirty, &queue_key(generation, old, document))?;
        *count.of(old.class) = count.of(old.class).saturating_sub(1);
    }
    match &new {
        None => {
            batch.delete(Space::Dirty, &mark_key(generation, document))?;
        }
        Some(new) => {
            batch.put(Space::Dirty, &mark_key(generation, document), &mark_value(new, document))?;
            if old.as_ref().is_none_or(|old| moved(old, new)) {
                batch.put(Space::Dirty, &queue_key(generation, new, document), &[])?;
                *count.of(new.class) += 1;
            }
        }
    }
    Ok(())
}

/// The document, as it was in the view of this entry, is in the sink (or in quarantine). If something
/// newer dirtied it meanwhile, it stays with what is still owed (rules 21, 26). Returns whether it is clean.
pub fn settle<B: Batch>(
    batch: &mut B,
    generation: Generation,
    document: &[u8],
    view: EntryNo,
    count: &mut Count,
) -> Result<bool, Error> {
    let Some(old) = mark_of(batch, generation, document)? else { return Ok(true) };
    if old.last <= view || planted::is(Bug::SettleNewer) {
        replace(batch, generation, document, Some(old), None, count)?;
        return Ok(true);
    }
    if old.first <= view {
        let new = Mark { first: view.next(), ..old };
        replace(batch, generation, document, Some(old), Some(new), count)?;
    }
    Ok(false)
}

/// A place in the queue, to go on from.
pub type QueueCursor = Vec<u8>;

/// Visits the queue of one class in its order, behind a cursor, until `visit` breaks.
pub fn walk_queue<R: Read>(
    read: &R,
    generation: Generation,
    class: Class,
    after: Option<&QueueCursor>,
    visit: &mut dyn FnMut(QueueCursor, Key) -> ControlFlow<()>,
) -> Result<(), Error> {
    let prefix = queue_prefix(generation, class);
    let mut failed = None;
    read.scan(Space::Dirty, &prefix, after.map(Vec::as_slice), &mut |entry, _| {
        let bytes = &entry[prefix.len() + 8..];
        let key = match part::whole(bytes) {
            Some(key) => Ok(key.to_vec()),
            None => hashed_document(read, generation, bytes),
        };
        match key {
            Ok(key) => visit(entry.to_vec(), key),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    failed.map_or(Ok(()), Err)
}

/// The true key of a document whose part is a hash stands in its mark.
fn hashed_document<R: Read>(read: &R, generation: Generation, bytes: &[u8]) -> Result<Key, Error> {
    let mut key = head(MARK, generation);
    key.extend_from_slice(bytes);
    let value = read.get(Space::Dirty, &key)?.ok_or_else(|| damaged("the queue"))?;
    Ok(value.get(17..).ok_or_else(|| damaged("a mark"))?.to_vec())
}

/// A key and its value, copied out.
type Entry = (Vec<u8>, Vec<u8>);

fn first_of<R: Read>(read: &R, prefix: &[u8]) -> Result<Option<Entry>, Error> {
    let mut first = None;
    read.scan(Space::Dirty, prefix, None, &mut |key, value| {
        first = Some((key.to_vec(), value.to_vec()));
        ControlFlow::Break(())
    })?;
    Ok(first)
}

/// The oldest entry that a point or a scan still owes.
fn oldest_owed<R: Read>(read: &R, generation: Generation) -> Result<Option<EntryNo>, Error> {
    let mut oldest: Option<EntryNo> = None;
    let mut take = |first: Option<EntryNo>| oldest = [oldest, first].into_iter().flatten().min();
    for class in Class::ALL {
        let prefix = queue_prefix(generation, class);
        take(first_of(read, &prefix)?.and_then(|(key, _)| number(&key, prefix.len())));
    }
    let order = head(ORDER, generation);
    take(first_of(read, &order)?.and_then(|(key, _)| number(&key, order.len())));
    let mut running = head(SCAN, generation);
    running.push(0);
    if let Some((_, value)) = first_of(read, &running)? {
        take(Some(read_scan(true, &value)?.first));
    }
    Ok(oldest)
}

/// Everything up to this entry is in the sink: just before the oldest entry that a point, a scan or a
/// barrier still owes, else `reached`.
pub fn projected<R: Read>(read: &R, generation: Generation, reached: EntryNo) -> Result<EntryNo, Error> {
    let mut oldest = oldest_owed(read, generation)?;
    for barrier in barriers(read, generation)? {
        oldest = [oldest, Some(barrier.first)].into_iter().flatten().min();
    }
    Ok(oldest.map_or(reached, EntryNo::previous))
}

/// The same for changed documents alone, without scans (rule 28).
pub fn projected_points<R: Read>(
    read: &R,
    generation: Generation,
    reached: EntryNo,
) -> Result<EntryNo, Error> {
    let prefix = queue_prefix(generation, Class::Change);
    let oldest = first_of(read, &prefix)?.and_then(|(key, _)| number(&key, prefix.len()));
    Ok(oldest.map_or(reached, EntryNo::previous))
}

/// Forgets what a generation owed: it is not delivered any more. Removes at most `limit` keys; returns
/// whether none are left.
pub fn forget<B: Batch>(batch: &mut B, generation: Generation, limit: usize) -> Result<bool, Error> {
    for tag in [MARK, QUEUE, SCAN, ORDER, BARRIER] {
        let mut keys = Vec::new();
        batch.scan(Space::Dirty, &head(tag, generation), None, &mut |key, _| {
            keys.push(key.to_vec());
            if keys.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        for key in &keys {
            batch.delete(Space::Dirty, key)?;
        }
        if keys.len() == limit {
            return Ok(false);
        }
    }
    Ok(true)
}
