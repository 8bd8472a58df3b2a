//! One chunk: some rows of one plain table or leaf, in the order of its key, read in a short transaction.
//!
//! The order of things, and why:
//! 1. LOCK in ACCESS SHARE, which waits for no writer, for 500 ms at the most: DDL cannot slip between the
//!    column list and the rows (rule 18), and an ALTER behind us holds up the application for one chunk at
//!    the most (rule 42).
//! 2. Only then the snapshot, by the statement that reads the column list.
//! 3. COPY of the rows under that same snapshot, COMMIT: lock and snapshot are gone (hazard 8).
//! 4. The caller hands the chunk to ingest, and only then emits the marker, in the same session: the marker
//!    may be back within a millisecond, and ingest must know the chunk by then.
//!
//! The marker is a transaction of its own behind the reading one. Behind the snapshot it must be: every
//! commit that the rows show is then in front of it in the WAL, and on disk when it comes back, so a chunk
//! never shows what a crash can still take away (rule 11). Inside the reading transaction it would give that
//! one an id and a commit record, while other sessions wait for its lock. In the same session, because one
//! that survived proves that the server did.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use super::{Marker, copy_text, failure};
use crate::model::{EntryNo, Table};
use crate::source::postgres::Error;
use crate::source::postgres::settings::PINNED;
use crate::source::postgres::sql::{identifier, literal};
use crate::source::{ChunkHead, ChunkRange, HeldChunk};

const READ: &str = "read a chunk";

/// A chunk is held in memory until its marker comes back: no further row is taken once it has this many
/// bytes. One row alone may be larger, up to PostgreSQL's own limit of 1 GB.
pub const CHUNK_BYTES_MAX: usize = 32 << 20;

/// Keys that [`ChunkRange::Keys`] may ask for at once; each is a condition of the statement.
pub const CHUNK_KEYS_MAX: usize = 1000;

/// How long a chunk waits for DDL that holds the table; it comes back later instead.
const LOCK_TIMEOUT: Duration = Duration::from_millis(500);

/// A transaction of ours that stands still ends by itself after this time, whatever has become of us.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// What to read.
#[derive(Clone, Copy, Debug)]
pub struct ChunkRequest<'a> {
    /// L: see [`ChunkHead::begin`].
    pub begin: EntryNo,
    pub table: &'a Table,
    /// The table's own oid, or a leaf's.
    pub oid: u32,
    pub sequence: u32,
    pub range: &'a ChunkRange,
    /// At most this many rows; at least one.
    pub rows: u32,
    /// For each statement (rule 42). Running into it is [`is_too_slow`](super::is_too_slow): ask for fewer rows.
    pub timeout: Duration,
}

/// A chunk that was read, and the session that it was read in.
#[must_use = "a chunk is to be held by ingest until its marker comes back"]
pub struct ReadChunk<'c> {
    pub head: ChunkHead,
    /// COPY text format.
    pub rows: Bytes,
    client: &'c Client,
}

impl<'c> ReadChunk<'c> {
    /// The chunk for ingest, and its marker, to be emitted once ingest has it. `nonce` is unique for ever.
    pub fn hold(self, nonce: String) -> (HeldChunk, Marker<'c>) {
        let held = HeldChunk { nonce, head: self.head, rows: self.rows };
        let marker = Marker::new(self.client, &held);
        (held, marker)
    }
}

/// Reads one chunk. `client` must be outside of a transaction and is so again afterwards; when the future is
/// dropped half-way, drop the client as well.
///
/// `head.last` means for a range of keys that all of them were read; if it is false, the rows were larger
/// than [`CHUNK_BYTES_MAX`]: drop the chunk and ask for half of the keys.
///
/// # Errors
/// `table-changed` when the relation is no longer what the facts say: read the facts again. A timeout is
/// [`is_too_slow`](super::is_too_slow).
pub async fn read_chunk<'c>(client: &'c Client, request: &ChunkRequest<'_>) -> Result<ReadChunk<'c>, Error> {
    let result = read_in_transaction(client, request).await;
    if result.is_err() {
        // A session that is not in a transaction answers with a warning.
        let _ = client.batch_execute("ROLLBACK").await;
    }
    let (head, rows) = result?;
    Ok(ReadChunk { head, rows, client })
}

async fn read_in_transaction(
    client: &Client,
    request: &ChunkRequest<'_>,
) -> Result<(ChunkHead, Bytes), Error> {
    let relation = relation_name(request)?;
    let select = Select::new(request, &relation)?;
    let begin = begin_statements(request.timeout, &relation);
    client.batch_execute(&begin).await.map_err(|error| unchanged(request, failure(READ, &error)))?;
    let columns = columns(client, request, &relation, &select).await?;
    let (rows, cut) = copy_rows(client, request, &select).await?;
    client.batch_execute("COMMIT").await.map_err(|error| failure(READ, &error))?;
    // Newlines inside values are escaped, so each one ends a row.
    let count = rows.iter().filter(|byte| **byte == b'\n').count();
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let keys_only = matches!(request.range, ChunkRange::Keys(_));
    let head = ChunkHead {
        begin: request.begin,
        table: request.table.id,
        oid: request.oid,
        sequence: request.sequence,
        after: match &request.range {
            ChunkRange::After(after) => after.clone(),
            ChunkRange::Keys(_) => None,
        },
        columns,
        rows: count,
        last_key: last_key(&rows, &select.key_positions, request)?,
        last: !cut && (keys_only || count < request.rows.max(1)),
        keys_only,
    };
    Ok((head, rows))
}

/// The rows, and whether there would have been more than fit into a chunk. The driver's stream is gone at
/// the end: it would hold up the connection for as long as it exists and is not read.
async fn copy_rows(
    client: &Client,
    request: &ChunkRequest<'_>,
    select: &Select,
) -> Result<(Bytes, bool), Error> {
    let failed = |error: tokio_postgres::Error| unchanged(request, failure(READ, &error));
    let statement = format!("COPY ({}) TO STDOUT (FORMAT text)", select.statement);
    let mut copy = std::pin::pin!(client.copy_out(&statement).await.map_err(failed)?);
    let mut rows = BytesMut::new();
    while let Some(data) = copy.next().await {
        let data = data.map_err(failed)?;
        if rows.len() + data.len() > CHUNK_BYTES_MAX
            && let Some(newline) = rows.iter().rposition(|byte| *byte == b'\n')
        {
            // The driver passes over the rest of the answer; the statement's timeout limits it.
            rows.truncate(newline + 1);
            return Ok((rows.freeze(), true));
        }
        rows.extend_from_slice(&data);
    }
    Ok((rows.freeze(), false))
}

/// The quoted name of the relation that has this oid.
fn relation_name(request: &ChunkRequest<'_>) -> Result<String, Error> {
    let table = request.table;
    let (schema, name) = if table.leaves.is_empty() && table.oid == request.oid {
        (&table.schema, &table.name)
    } else {
        let leaf = table.leaves.iter().find(|leaf| leaf.oid == request.oid);
        let leaf = leaf.ok_or_else(|| changed(request, "the facts do not know that oid"))?;
        (&leaf.schema, &leaf.name)
    };
    Ok(format!("{}.{}", identifier(schema), identifier(name)))
}

/// Everything up to the lock, in one round trip. None of it takes a snapshot.
fn begin_statements(timeout: Duration, relation: &str) -> String {
    let mut statements = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
         SET LOCAL search_path = '';
         SET LOCAL statement_timeout = {statement};
         SET LOCAL lock_timeout = {lock};
         SET LOCAL idle_in_transaction_session_timeout = {idle};
         SET LOCAL row_security = off;
         SET LOCAL enable_sort = off;
         SET LOCAL max_parallel_workers_per_gather = 0;
         SET LOCAL jit = off;",
        statement = timeout.as_millis().max(1),
        lock = LOCK_TIMEOUT.as_millis(),
        idle = IDLE_TIMEOUT.as_millis(),
    );
    // Policies become errors (hazard 44). Sorting off: without statistics the planner may think that a table
    // is small and read all of it; the key's index has the order already. And the texts must be those that
    // the stream has (hazard 36).
    for (name, value) in PINNED {
        statements.push_str(&format!(" SET LOCAL {name} = {};", literal(value)));
    }
    statements.push_str(&format!(" LOCK TABLE ONLY {relation} IN ACCESS SHARE MODE"));
    statements
}

/// What is read, as SQL.
struct Select {
    statement: String,
    names: Vec<String>,
    /// Where the key's columns stand in a row, in the key's order.
    key_positions: Vec<usize>,
}

impl Select {
    fn new(request: &ChunkRequest<'_>, relation: &str) -> Result<Select, Error> {
        let table = request.table;
        // Generated columns are not in the stream, and a chunk must look like it (hazard 35, rule 18).
        let names: Vec<String> = table
            .columns
            .iter()
            .filter(|column| !column.generated)
            .map(|column| column.name.clone())
            .collect();
        let key_positions: Option<Vec<usize>> =
            table.key.iter().map(|key| names.iter().position(|name| name == key)).collect();
        let Some(key_positions) = key_positions.filter(|positions| !positions.is_empty()) else {
            return Err(Error::Refused {
                code: "table-no-key",
                operation: READ,
                reason: format!("{} has no key of ordinary columns", table.qualified_name()),
                hint: format!("ALTER TABLE {relation} ADD PRIMARY KEY (…);"),
            });
        };
        let columns = names.iter().map(|name| identifier(name)).collect::<Vec<_>>().join(", ");
        let key = table.key.iter().map(|name| identifier(name)).collect::<Vec<_>>().join(", ");
        let (condition, limit) = match request.range {
            ChunkRange::After(None) => (String::new(), request.rows.max(1)),
            ChunkRange::After(Some(after)) => {
                (format!(" WHERE ({key}) > {}", key_literal(request, after)?), request.rows.max(1))
            }
            ChunkRange::Keys(keys) if keys.is_empty() => (" WHERE false".to_owned(), 1),
            ChunkRange::Keys(keys) => {
                let wanted: Vec<_> =
                    keys.iter().map(|wanted| key_literal(request, wanted)).collect::<Result<_, _>>()?;
                if wanted.len() > CHUNK_KEYS_MAX {
                    let reason =
                        format!("{} keys were asked for, {CHUNK_KEYS_MAX} are the limit", wanted.len());
                    return Err(Error::Protocol { operation: READ, reason });
                }
                (format!(" WHERE ({key}) IN ({})", wanted.join(", ")), wanted.len() as u32)
            }
        };
        let statement =
            format!("SELECT {columns} FROM ONLY {relation}{condition} ORDER BY {key} LIMIT {limit}");
        Ok(Select { statement, names, key_positions })
    }
}

/// A key to compare with. Literals without a type take that of the column beside them, base types of
/// domains included, so the comparison is the index's own whatever the type is called.
fn key_literal(request: &ChunkRequest<'_>, key: &[String]) -> Result<String, Error> {
    if key.len() != request.table.key.len() {
        return Err(changed(request, "its key has another number of columns"));
    }
    let texts: Vec<_> = key.iter().map(|text| literal(text)).collect();
    Ok(format!("({})", texts.join(", ")))
}

/// The column list as it is under the lock: (attnum, name, type oid), in the order of the SELECT. This
/// statement takes the snapshot.
async fn columns(
    client: &Client,
    request: &ChunkRequest<'_>,
    relation: &str,
    select: &Select,
) -> Result<Vec<(i16, String, u32)>, Error> {
    let statement = format!(
        "SELECT a.attrelid, a.attnum, a.attname, a.atttypid FROM pg_catalog.pg_attribute a
         WHERE a.attrelid = {}::pg_catalog.regclass AND a.attnum > 0 AND NOT a.attisdropped",
        literal(relation)
    );
    let answer = client.simple_query(&statement).await.map_err(|error| failure(READ, &error))?;
    let mut found = Vec::new();
    for message in &answer {
        let SimpleQueryMessage::Row(row) = message else { continue };
        let (oid, attnum, name, type_oid): (u32, _, _, _) =
            (number(row, 0)?, number(row, 1)?, row.get(2).unwrap_or_default().to_owned(), number(row, 3)?);
        if oid != request.oid {
            return Err(changed(request, "the name now means another table"));
        }
        found.push((attnum, name, type_oid));
    }
    select
        .names
        .iter()
        .map(|name| found.iter().find(|(_, found, _)| found == name).cloned())
        .collect::<Option<_>>()
        .ok_or_else(|| changed(request, "a column is gone"))
}

fn number<T: std::str::FromStr>(row: &SimpleQueryRow, column: usize) -> Result<T, Error> {
    row.get(column).and_then(|text| text.parse().ok()).ok_or_else(|| Error::Protocol {
        operation: READ,
        reason: format!("column {} is not a number", column + 1),
    })
}

fn last_key(
    rows: &[u8],
    positions: &[usize],
    request: &ChunkRequest<'_>,
) -> Result<Option<Vec<String>>, Error> {
    let Some(row) = copy_text::last_row(rows) else { return Ok(None) };
    let cells: Vec<_> = copy_text::cells(row).collect();
    let text = |position: &usize| {
        let value = cells.get(*position).and_then(|cell| copy_text::value(cell));
        value.and_then(|value| String::from_utf8(value).ok())
    };
    let key: Option<Vec<String>> = positions.iter().map(text).collect();
    // A key is never NULL; in a database without an encoding (SQL_ASCII) it may be anything.
    key.map(Some).ok_or_else(|| Error::Refused {
        code: "table-key-not-text",
        operation: READ,
        reason: format!("a key of {} is not UTF-8", request.table.qualified_name()),
        hint: "convert the database to the encoding UTF8".to_owned(),
    })
}

fn changed(request: &ChunkRequest<'_>, what: &str) -> Error {
    Error::Refused {
        code: "table-changed",
        operation: READ,
        reason: format!("{} (oid {}) is not as it was: {what}", request.table.qualified_name(), request.oid),
        hint: "the facts about the table are to be read again".to_owned(),
    }
}

/// What the server says about a relation or column that is not there any more.
fn unchanged(request: &ChunkRequest<'_>, error: Error) -> Error {
    match &error {
        // undefined_table, invalid_schema_name, undefined_column, wrong_object_type
        Error::Server { sqlstate, .. }
            if ["42P01", "3F000", "42703", "42809"].contains(&sqlstate.as_str()) =>
        {
            changed(request, "the relation or a column is gone")
        }
        _ => error,
    }
}
