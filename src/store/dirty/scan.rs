//! Scans, and the barriers that they leave behind.

use std::ops::ControlFlow;

use super::{BARRIER, Count, ORDER, SCAN, damaged, first_of, head, number, oldest_owed};
use crate::model::{EntryNo, Generation, Key};
use crate::planted::{self, Bug};
use crate::store::engine::{Batch, Error, Read, Space};
use crate::store::part;

/// What a scan covers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// Every document of the projection.
    Whole,
    /// The rows of a node's parent that the node's join leads up to from this key.
    Prefix { node: u16, key: Key },
}

impl Target {
    fn encode(&self) -> Vec<u8> {
        match self {
            Target::Whole => vec![0],
            Target::Prefix { node, key } => [&[1][..], &node.to_be_bytes(), key].concat(),
        }
    }

    fn decode(bytes: &[u8]) -> Option<Target> {
        match bytes.split_first()? {
            (0, _) => Some(Target::Whole),
            (1, rest) => {
                let (node, key) = rest.split_first_chunk::<2>()?;
                Some(Target::Prefix { node: u16::from_be_bytes(*node), key: key.to_vec() })
            }
            _ => None,
        }
    }
}

/// A scan that is not over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    pub target: Target,
    /// Hops between its rows and the root: 0 for rows of the root itself (rule 23).
    pub depth: u16,
    pub first: EntryNo,
    pub last: EntryNo,
    /// Has begun: no change joins it any more (rule 22).
    pub running: bool,
    /// Where it goes on.
    pub cursor: Option<Vec<u8>>,
}

fn scan_key(generation: Generation, running: bool, target: &[u8]) -> Vec<u8> {
    let mut key = head(SCAN, generation);
    key.push(u8::from(!running));
    part::put(&mut key, target);
    key
}

fn order_key(generation: Generation, first: EntryNo, target: &[u8]) -> Vec<u8> {
    let mut key = head(ORDER, generation);
    key.extend_from_slice(&first.0.to_be_bytes());
    part::put(&mut key, target);
    key
}

fn scan_value(scan: &Scan, target: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(64);
    value.extend_from_slice(&scan.first.0.to_be_bytes());
    value.extend_from_slice(&scan.last.0.to_be_bytes());
    value.extend_from_slice(&scan.depth.to_be_bytes());
    value.extend_from_slice(&(target.len() as u32).to_be_bytes());
    value.extend_from_slice(target);
    if let Some(cursor) = &scan.cursor {
        value.extend_from_slice(cursor);
    }
    value
}

pub(super) fn read_scan(running: bool, value: &[u8]) -> Result<Scan, Error> {
    let scan = || {
        let depth = u16::from_be_bytes(*value.get(16..)?.first_chunk::<2>()?);
        let length = u32::from_be_bytes(*value.get(18..)?.first_chunk::<4>()?) as usize;
        let (target, cursor) = value.get(22..)?.split_at_checked(length)?;
        Some(Scan {
            target: Target::decode(target)?,
            depth,
            first: number(value, 0)?,
            last: number(value, 8)?,
            running,
            cursor: (!cursor.is_empty()).then(|| cursor.to_vec()),
        })
    };
    scan().ok_or_else(|| damaged("a scan"))
}

/// All scans of a generation, the running one first.
pub fn scans<R: Read>(read: &R, generation: Generation) -> Result<Vec<Scan>, Error> {
    let prefix = head(SCAN, generation);
    let mut scans = Vec::new();
    let mut failed = None;
    read.scan(Space::Dirty, &prefix, None, &mut |entry, value| match read_scan(
        entry[prefix.len()] == 0,
        value,
    ) {
        Ok(scan) => {
            scans.push(scan);
            ControlFlow::Continue(())
        }
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    })?;
    failed.map_or(Ok(scans), Err)
}

/// Adds a scan that owes the entries from the first to the last of `owed`, or joins the one for the same
/// target that has not begun (rule 22). It takes over the `first` of open scans and barriers further from the root: a document that they still owe may have moved
/// behind this one (rule 23).
pub fn add_scan<B: Batch>(
    batch: &mut B,
    generation: Generation,
    target: Target,
    depth: u16,
    owed: (EntryNo, EntryNo),
    count: &mut Count,
) -> Result<(), Error> {
    let (mut first, last) = owed;
    for open in scans(batch, generation)? {
        if open.depth > depth {
            first = first.min(open.first);
        }
    }
    for barrier in barriers(batch, generation)? {
        if barrier.depth > depth {
            first = first.min(barrier.first);
        }
    }
    let bytes = target.encode();
    if planted::is(Bug::JoinRunningScan)
        && let Some(running) = batch.get(Space::Dirty, &scan_key(generation, true, &bytes))?
    {
        let running = read_scan(true, running)?;
        let scan = Scan { first: running.first.min(first), last: running.last.max(last), ..running };
        return batch.put(Space::Dirty, &scan_key(generation, true, &bytes), &scan_value(&scan, &bytes));
    }
    let waiting = batch
        .get(Space::Dirty, &scan_key(generation, false, &bytes))?
        .map(|value| read_scan(false, value))
        .transpose()?;
    let scan = match waiting {
        None => {
            count.scans += 1;
            Scan { target, depth, first, last, running: false, cursor: None }
        }
        Some(waiting) => {
            if waiting.first > first {
                batch.delete(Space::Dirty, &order_key(generation, waiting.first, &bytes))?;
            }
            Scan { first: waiting.first.min(first), last: waiting.last.max(last), ..waiting }
        }
    };
    batch.put(Space::Dirty, &scan_key(generation, false, &bytes), &scan_value(&scan, &bytes))?;
    batch.put(
        Space::Dirty,
        &order_key(generation, scan.first, &bytes),
        &scan_key(generation, false, &bytes),
    )?;
    Ok(())
}

/// The scan to unfold next: the running one, else the oldest waiting one, which is running from now on.
pub fn next_scan<B: Batch>(batch: &mut B, generation: Generation) -> Result<Option<Scan>, Error> {
    let mut prefix = head(SCAN, generation);
    prefix.push(0);
    if let Some((_, value)) = first_of(batch, &prefix)? {
        return read_scan(true, &value).map(Some);
    }
    let Some((order, key)) = first_of(batch, &head(ORDER, generation))? else { return Ok(None) };
    let value = batch.get(Space::Dirty, &key)?.ok_or_else(|| damaged("the order of scans"))?;
    let scan = Scan { running: true, ..read_scan(false, value)? };
    let bytes = scan.target.encode();
    batch.delete(Space::Dirty, &order)?;
    batch.delete(Space::Dirty, &key)?;
    batch.put(Space::Dirty, &scan_key(generation, true, &bytes), &scan_value(&scan, &bytes))?;
    Ok(Some(scan))
}

/// Lets running scans begin anew: what their cursors name is somewhere else now.
pub fn restart_scans<B: Batch>(batch: &mut B, generation: Generation) -> Result<(), Error> {
    for scan in scans(batch, generation)? {
        if scan.running && scan.cursor.is_some() {
            let bytes = scan.target.encode();
            let restarted = Scan { cursor: None, ..scan };
            batch.put(Space::Dirty, &scan_key(generation, true, &bytes), &scan_value(&restarted, &bytes))?;
        }
    }
    Ok(())
}

/// Moves a running scan's cursor, or ends it at `entry` and leaves a barrier.
pub fn advance_scan<B: Batch>(
    batch: &mut B,
    generation: Generation,
    scan: &Scan,
    cursor: Option<Vec<u8>>,
    entry: EntryNo,
    count: &mut Count,
) -> Result<(), Error> {
    let bytes = scan.target.encode();
    let key = scan_key(generation, true, &bytes);
    match cursor {
        Some(cursor) => {
            let scan = Scan { cursor: Some(cursor), ..scan.clone() };
            batch.put(Space::Dirty, &key, &scan_value(&scan, &bytes))
        }
        None => {
            batch.delete(Space::Dirty, &key)?;
            count.scans = count.scans.saturating_sub(1);
            if planted::is(Bug::NoBarrier) {
                return Ok(());
            }
            let barrier = Barrier { until: entry, first: scan.first, depth: scan.depth };
            batch.put(Space::Dirty, &barrier.key(generation), &[])
        }
    }
}

/// What an ended scan leaves: it holds the watermark at its `first` until everything that was owed at
/// `until` is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Barrier {
    until: EntryNo,
    pub first: EntryNo,
    depth: u16,
}

impl Barrier {
    fn key(&self, generation: Generation) -> Vec<u8> {
        let mut key = head(BARRIER, generation);
        key.extend_from_slice(&self.until.0.to_be_bytes());
        key.extend_from_slice(&self.first.0.to_be_bytes());
        key.extend_from_slice(&self.depth.to_be_bytes());
        key
    }
}

/// The end of a [`hold`] that nobody knows yet.
const OPEN: EntryNo = EntryNo(u64::MAX);

/// Holds the watermark before `first` until [`release`]: rows of the generation's tables are not known, and so
/// neither is which documents are owed.
pub fn hold<B: Batch>(batch: &mut B, generation: Generation, first: EntryNo) -> Result<(), Error> {
    // A document that it owes may move behind any scan.
    let barrier = Barrier { until: OPEN, first, depth: u16::MAX };
    batch.put(Space::Dirty, &barrier.key(generation), &[])
}

/// The rows are known as of this entry, and what they have dirtied is marked: holds become barriers.
pub fn release<B: Batch>(batch: &mut B, generation: Generation, entry: EntryNo) -> Result<(), Error> {
    for barrier in barriers(batch, generation)?.into_iter().filter(|barrier| barrier.until == OPEN) {
        batch.delete(Space::Dirty, &barrier.key(generation))?;
        batch.put(Space::Dirty, &Barrier { until: entry, ..barrier }.key(generation), &[])?;
    }
    Ok(())
}

pub(super) fn barriers<R: Read>(read: &R, generation: Generation) -> Result<Vec<Barrier>, Error> {
    let prefix = head(BARRIER, generation);
    let mut barriers = Vec::new();
    read.scan(Space::Dirty, &prefix, None, &mut |key, _| {
        let rest = &key[prefix.len()..];
        if let (Some(until), Some(first), Some(depth)) = (number(rest, 0), number(rest, 8), rest.get(16..18))
        {
            barriers.push(Barrier { until, first, depth: u16::from_be_bytes([depth[0], depth[1]]) });
        }
        ControlFlow::Continue(())
    })?;
    Ok(barriers)
}

/// Removes the barriers that hold nothing any more.
pub fn lift_barriers<B: Batch>(batch: &mut B, generation: Generation) -> Result<(), Error> {
    let barriers = barriers(batch, generation)?;
    if barriers.is_empty() {
        return Ok(());
    }
    let oldest = oldest_owed(batch, generation)?;
    for barrier in barriers {
        if barrier.until != OPEN && oldest.is_none_or(|oldest| oldest > barrier.until) {
            batch.delete(Space::Dirty, &barrier.key(generation))?;
        }
    }
    Ok(())
}
