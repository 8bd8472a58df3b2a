//! What the store knows about itself: how far it has come, the facts in force, the state of tables and
//! generations. All of it is a fold of the journal, in the same batches as the rows.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::dirty::Count;
use super::engine::{Batch, Error, Read, Space};
use super::part;
use super::schema::{Layout, Placement};
pub use super::unit::UnitState;
use crate::model::{EntryNo, Generation, Key, Lsn, TableId};

const REACHED: &[u8] = b"reached";
const FACTS: &[u8] = b"facts";
const STORAGE: &[u8] = b"storage";
const RELATION: u8 = b'r';
const UNIT: u8 = b'u';
const GENERATION: u8 = b'g';
const INCOMPLETE: u8 = b'i';
const TOMBSTONE: u8 = b't';
const QUARANTINE: u8 = b'q';

/// How far the store has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// The journal that this is a fold of (rule 34).
    pub journal_id: String,
    /// The last entry applied whole.
    pub entry: EntryNo,
    /// Messages of the next entry that are applied already.
    pub message: u32,
    /// Inside a transaction or a sweep: no view may be taken (rule 29).
    pub inside: bool,
    /// The Facts entry in force: a view and a compiled schema fit together when they name the same one.
    pub facts: EntryNo,
    /// The last committed transaction or position.
    pub lsn: Lsn,
    /// Commit time of the last transaction, microseconds since 2000-01-01 UTC, the server's clock.
    pub commit_time_us: i64,
    pub rows: u64,
    pub quarantined: u64,
    pub incomplete: u64,
    /// INSERTs that found their key taken (rule 19), since the store began.
    pub inserts_over_rows: u64,
    /// By generation.
    pub dirty: Vec<(Generation, Count)>,
}

/// Layouts and placements; see `schema`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storage {
    pub layouts: Vec<Layout>,
    pub placements: Vec<Placement>,
    /// The next free number for a table or a link.
    pub next: u16,
}

/// What a generation of a projection is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// A table is incomplete: nothing is delivered (rule 17).
    Waiting,
    /// Its first scan is being delivered.
    Building,
    /// Behind the alias.
    Live,
    /// Replaced by a newer one; what it owed is being forgotten.
    Dropped,
}

/// A generation in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationState {
    pub generation: Generation,
    pub projection: String,
    pub index: String,
    pub stage: Stage,
    /// Whether it was behind the alias before it had to wait.
    pub published: bool,
    /// The entry whose whole scan builds it.
    pub built_from: EntryNo,
}

/// Why a document is in quarantine. No row values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    pub id: String,
    pub code: String,
    pub reason: String,
    pub entry: EntryNo,
    /// By the daemon's wall clock, for people only.
    pub since_unix_s: i64,
    pub attempts: u32,
}

fn invalid(what: &str, reason: impl std::fmt::Display) -> Error {
    Error::Broken { operation: "read meta", reason: format!("{what}: {reason}") }
}

fn load<T: DeserializeOwned, R: Read>(read: &R, what: &str, key: &[u8]) -> Result<Option<T>, Error> {
    let Some(value) = read.get(Space::Meta, key)? else { return Ok(None) };
    serde_json::from_slice(value).map(Some).map_err(|error| invalid(what, error))
}

fn save<T: Serialize, B: Batch>(batch: &mut B, what: &str, key: &[u8], value: &T) -> Result<(), Error> {
    let bytes = serde_json::to_vec(value).map_err(|error| invalid(what, error))?;
    batch.put(Space::Meta, key, &bytes)
}

fn all<T: DeserializeOwned, R: Read>(read: &R, what: &str, tag: u8) -> Result<Vec<T>, Error> {
    let mut values = Vec::new();
    let mut failed = None;
    read.scan(Space::Meta, &[tag, b'/'], None, &mut |_, value| match serde_json::from_slice(value) {
        Ok(value) => {
            values.push(value);
            ControlFlow::Continue(())
        }
        Err(error) => {
            failed = Some(invalid(what, error));
            ControlFlow::Break(())
        }
    })?;
    failed.map_or(Ok(values), Err)
}

fn tagged(tag: u8, number: &[u8], key: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag, b'/'];
    bytes.extend_from_slice(number);
    if !key.is_empty() {
        part::put(&mut bytes, key);
    }
    bytes
}

pub fn reached<R: Read>(read: &R) -> Result<Reached, Error> {
    Ok(load(read, "reached", REACHED)?.unwrap_or_default())
}

pub fn put_reached<B: Batch>(batch: &mut B, reached: &Reached) -> Result<(), Error> {
    save(batch, "reached", REACHED, reached)
}

/// The payload of the Facts entry in force, as it was journaled.
pub fn facts<R: Read>(read: &R) -> Result<Option<Vec<u8>>, Error> {
    Ok(read.get(Space::Meta, FACTS)?.map(<[u8]>::to_vec))
}

pub fn put_facts<B: Batch>(batch: &mut B, payload: &[u8]) -> Result<(), Error> {
    batch.put(Space::Meta, FACTS, payload)
}

pub fn storage<R: Read>(read: &R) -> Result<Storage, Error> {
    Ok(load(read, "storage", STORAGE)?.unwrap_or_default())
}

pub fn put_storage<B: Batch>(batch: &mut B, storage: &Storage) -> Result<(), Error> {
    save(batch, "storage", STORAGE, storage)
}

/// The raw Relation messages in force on this connection.
pub fn relations<R: Read>(read: &R) -> Result<Vec<Vec<u8>>, Error> {
    let mut relations = Vec::new();
    read.scan(Space::Meta, &[RELATION, b'/'], None, &mut |_, value| {
        relations.push(value.to_vec());
        ControlFlow::Continue(())
    })?;
    Ok(relations)
}

pub fn put_relation<B: Batch>(batch: &mut B, oid: u32, message: &[u8]) -> Result<(), Error> {
    batch.put(Space::Meta, &tagged(RELATION, &oid.to_be_bytes(), &[]), message)
}

/// Rule 6: a new connection knows no relation.
pub fn clear_relations<B: Batch>(batch: &mut B) -> Result<(), Error> {
    remove_prefix(batch, &[RELATION, b'/'], usize::MAX).map(|_| ())
}

/// Removes at most `limit` keys; returns how many there were.
fn remove_prefix<B: Batch>(batch: &mut B, prefix: &[u8], limit: usize) -> Result<usize, Error> {
    let mut keys = Vec::new();
    batch.scan(Space::Meta, prefix, None, &mut |key, _| {
        keys.push(key.to_vec());
        if keys.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    for key in &keys {
        batch.delete(Space::Meta, key)?;
    }
    Ok(keys.len())
}

pub fn units<R: Read>(read: &R) -> Result<Vec<UnitState>, Error> {
    all(read, "a table's state", UNIT)
}

fn unit_key(unit: &UnitState) -> Vec<u8> {
    tagged(UNIT, &[&unit.table.0.to_be_bytes()[..], &unit.oid.to_be_bytes()].concat(), &[])
}

pub fn put_unit<B: Batch>(batch: &mut B, unit: &UnitState) -> Result<(), Error> {
    save(batch, "a table's state", &unit_key(unit), unit)
}

pub fn remove_unit<B: Batch>(batch: &mut B, unit: &UnitState) -> Result<(), Error> {
    batch.delete(Space::Meta, &unit_key(unit)).map(|_| ())
}

pub fn generations<R: Read>(read: &R) -> Result<Vec<GenerationState>, Error> {
    all(read, "a generation", GENERATION)
}

pub fn put_generation<B: Batch>(batch: &mut B, state: &GenerationState) -> Result<(), Error> {
    save(batch, "a generation", &tagged(GENERATION, &state.generation.0.to_be_bytes(), &[]), state)
}

pub fn remove_generation<B: Batch>(batch: &mut B, generation: Generation) -> Result<(), Error> {
    batch.delete(Space::Meta, &tagged(GENERATION, &generation.0.to_be_bytes(), &[])).map(|_| ())
}

/// Rows that hold a value not known (hazard 23), by table and key, with the entry since which this row has
/// been so; nothing for a row that is known whole. Returns whether it was noted before.
pub fn set_incomplete<B: Batch>(
    batch: &mut B,
    table: TableId,
    key: &[u8],
    since: Option<EntryNo>,
) -> Result<bool, Error> {
    let at = tagged(INCOMPLETE, &table.0.to_be_bytes(), key);
    let was = batch.get(Space::Meta, &at)?.is_some();
    match (was, since) {
        (false, Some(since)) => {
            batch.put(Space::Meta, &at, &[&since.0.to_be_bytes()[..], key].concat())?;
        }
        (true, None) => {
            batch.delete(Space::Meta, &at)?;
        }
        _ => {}
    }
    Ok(was)
}

/// Since when a row has held a value not known; nothing when it holds none.
pub fn incomplete_since<R: Read>(read: &R, table: TableId, key: &[u8]) -> Result<Option<EntryNo>, Error> {
    let value = read.get(Space::Meta, &tagged(INCOMPLETE, &table.0.to_be_bytes(), key))?;
    Ok(value.and_then(|value| value.first_chunk::<8>()).map(|bytes| EntryNo(u64::from_be_bytes(*bytes))))
}

/// At most `limit` rows that became incomplete at this entry or later.
pub fn incomplete<R: Read>(read: &R, since: EntryNo, limit: usize) -> Result<Vec<(TableId, Key)>, Error> {
    incomplete_under(read, &[INCOMPLETE, b'/'], since, limit)
}

/// The same, of one table.
pub fn incomplete_of<R: Read>(
    read: &R,
    table: TableId,
    since: EntryNo,
    limit: usize,
) -> Result<Vec<Key>, Error> {
    let found = incomplete_under(read, &tagged(INCOMPLETE, &table.0.to_be_bytes(), &[]), since, limit)?;
    Ok(found.into_iter().map(|(_, key)| key).collect())
}

fn incomplete_under<R: Read>(
    read: &R,
    prefix: &[u8],
    since: EntryNo,
    limit: usize,
) -> Result<Vec<(TableId, Key)>, Error> {
    let mut rows = Vec::new();
    read.scan(Space::Meta, prefix, None, &mut |at, value| {
        let began = value.first_chunk::<8>().map(|bytes| EntryNo(u64::from_be_bytes(*bytes)));
        if let (Some(number), Some(key)) = (at.get(2..4), value.get(8..))
            && began >= Some(since)
        {
            rows.push((TableId(u16::from_be_bytes([number[0], number[1]])), key.to_vec()));
        }
        if rows.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(rows)
}

/// A row that the stream deleted while its table was being read must not come back with a chunk (rule 14).
pub fn put_tombstone<B: Batch>(
    batch: &mut B,
    table: TableId,
    key: &[u8],
    entry: EntryNo,
) -> Result<(), Error> {
    let at = tagged(TOMBSTONE, &table.0.to_be_bytes(), key);
    batch.put(Space::Meta, &at, &entry.0.to_be_bytes())
}

/// The entry that deleted this key, if that is still of interest.
pub fn tombstone<R: Read>(read: &R, table: TableId, key: &[u8]) -> Result<Option<EntryNo>, Error> {
    let value = read.get(Space::Meta, &tagged(TOMBSTONE, &table.0.to_be_bytes(), key))?;
    Ok(value.and_then(|value| value.first_chunk::<8>()).map(|bytes| EntryNo(u64::from_be_bytes(*bytes))))
}

/// Forgets at most `limit` tombstones of a table; returns whether none are left.
pub fn clear_tombstones<B: Batch>(batch: &mut B, table: TableId, limit: usize) -> Result<bool, Error> {
    Ok(remove_prefix(batch, &tagged(TOMBSTONE, &table.0.to_be_bytes(), &[]), limit)? < limit)
}

fn quarantine_key(generation: Generation, document: &[u8]) -> Vec<u8> {
    tagged(QUARANTINE, &generation.0.to_be_bytes(), document)
}

pub fn quarantined<R: Read>(
    read: &R,
    generation: Generation,
    document: &[u8],
) -> Result<Option<Quarantined>, Error> {
    let pair: Option<(Key, Quarantined)> = load(read, "quarantine", &quarantine_key(generation, document))?;
    Ok(pair.map(|(_, quarantined)| quarantined))
}

pub fn put_quarantined<B: Batch>(
    batch: &mut B,
    generation: Generation,
    document: &[u8],
    quarantined: &Quarantined,
) -> Result<(), Error> {
    save(batch, "quarantine", &quarantine_key(generation, document), &(document, quarantined))
}

/// Whether it was there.
pub fn remove_quarantined<B: Batch>(
    batch: &mut B,
    generation: Generation,
    document: &[u8],
) -> Result<bool, Error> {
    batch.delete(Space::Meta, &quarantine_key(generation, document))
}

/// At most `limit` documents in quarantine: generation, the root row's key, why.
pub fn quarantine<R: Read>(read: &R, limit: usize) -> Result<Vec<(Generation, Key, Quarantined)>, Error> {
    let mut documents = Vec::new();
    let mut failed = None;
    read.scan(Space::Meta, &[QUARANTINE, b'/'], None, &mut |at, value| {
        let generation = at.get(2..4).map_or(0, |number| u16::from_be_bytes([number[0], number[1]]));
        match serde_json::from_slice::<(Key, Quarantined)>(value) {
            Ok((key, why)) => documents.push((Generation(generation), key, why)),
            Err(error) => {
                failed = Some(invalid("quarantine", error));
                return ControlFlow::Break(());
            }
        }
        if documents.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    failed.map_or(Ok(documents), Err)
}

/// Forgets the quarantine of a dropped generation.
pub fn clear_quarantine<B: Batch>(batch: &mut B, generation: Generation) -> Result<usize, Error> {
    remove_prefix(batch, &tagged(QUARANTINE, &generation.0.to_be_bytes(), &[]), usize::MAX)
}
