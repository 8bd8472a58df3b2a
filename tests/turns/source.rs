//! One table, one log, and a stream of it: the least that a write database can be.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use projectord::model::{Catalog, Column, ColumnKind, Lsn, ReplicaIdentity, Table, TableId};
use projectord::source::{
    Answer, ChunkHead, ChunkRange, ChunkRequest, Event, Events, Found, HeldChunk, Identity, Resume,
    SlotStatus, Source, Stream,
};
use tokio::sync::watch;

const OID: u32 = 1_000;
/// Keys there are: few, so that rows come and go.
const KEYS: u32 = 12;
/// Rows of a chunk, whatever is asked for: a table of several chunks.
const CHUNK_ROWS: usize = 3;

#[derive(Default)]
struct State {
    rows: BTreeMap<u32, String>,
    /// Messages that end at a position.
    log: Vec<(Lsn, Vec<Bytes>)>,
    lsn: u64,
    confirmed: Lsn,
}

/// Clones are connections to the same database.
#[derive(Clone)]
pub struct Database {
    state: Arc<Mutex<State>>,
    grew: watch::Sender<()>,
}

impl Database {
    pub fn new() -> Database {
        Database {
            state: Arc::new(Mutex::new(State { lsn: 100, ..State::default() })),
            grew: watch::Sender::new(()),
        }
    }

    /// A transaction of a row or two.
    pub fn commit(&self, random: &mut fastrand::Rng) {
        let mut state = self.state.lock().unwrap();
        let end = Lsn(state.lsn + 10);
        let mut messages = vec![begin(end), relation()];
        for _ in 0..random.u8(1..4) {
            let (key, name) = (random.u32(1..=KEYS), format!("n{}", random.u8(..9)));
            messages.push(match state.rows.get(&key) {
                Some(_) if random.u8(..4) == 0 => {
                    state.rows.remove(&key);
                    change(b'D', b'K', key, None)
                }
                known => {
                    let kind = if known.is_some() { b'U' } else { b'I' };
                    let message = change(kind, b'N', key, Some(&name));
                    state.rows.insert(key, name);
                    message
                }
            });
        }
        messages.push(commit(end));
        state.lsn = end.0;
        state.log.push((end, messages));
        drop(state);
        self.grew.send_replace(());
    }

    /// What the documents must be.
    pub fn documents(&self) -> BTreeMap<String, serde_json::Value> {
        let state = self.state.lock().unwrap();
        let document =
            |(id, name): (&u32, &String)| (id.to_string(), serde_json::json!({ "id": id, "name": name }));
        state.rows.iter().map(document).collect()
    }

    fn mark(&self, nonce: &str) {
        let mut state = self.state.lock().unwrap();
        state.lsn += 10;
        let at = Lsn(state.lsn);
        let length = (nonce.len() as u32).to_be_bytes();
        let marker = [&b"M\0"[..], &at.0.to_be_bytes(), b"projectord\0", &length, nonce.as_bytes()].concat();
        state.log.push((at, vec![marker.into()]));
        drop(state);
        self.grew.send_replace(());
    }
}

fn begin(end: Lsn) -> Bytes {
    [&b"B"[..], &(end.0 - 1).to_be_bytes(), &0i64.to_be_bytes(), &7u32.to_be_bytes()].concat().into()
}

fn commit(end: Lsn) -> Bytes {
    [&b"C\0"[..], &(end.0 - 1).to_be_bytes(), &end.0.to_be_bytes(), &0i64.to_be_bytes()].concat().into()
}

fn relation() -> Bytes {
    let mut bytes = [&b"R"[..], &OID.to_be_bytes(), b"public\0things\0d", &2u16.to_be_bytes()].concat();
    for (key, name, oid) in [(1u8, &b"id\0"[..], 23u32), (0, b"name\0", 25)] {
        bytes.push(key);
        bytes.extend_from_slice(name);
        bytes.extend(oid.to_be_bytes());
        bytes.extend((-1i32).to_be_bytes());
    }
    bytes.into()
}

fn change(kind: u8, tuple: u8, key: u32, name: Option<&str>) -> Bytes {
    let mut bytes = [&[kind][..], &OID.to_be_bytes(), &[tuple], &2u16.to_be_bytes()].concat();
    for text in [Some(key.to_string().as_str()), name] {
        match text {
            None => bytes.push(b'n'),
            Some(text) => {
                bytes.push(b't');
                bytes.extend((text.len() as u32).to_be_bytes());
                bytes.extend_from_slice(text.as_bytes());
            }
        }
    }
    bytes.into()
}

fn table() -> Table {
    let column = |attnum: i16, name: &str, type_oid: u32, kind: ColumnKind| Column {
        attnum,
        name: name.to_owned(),
        type_oid,
        type_modifier: -1,
        type_name: "of a test".to_owned(),
        kind,
        not_null: attnum == 1,
        generated: false,
    };
    let key = vec!["id".to_owned()];
    Table {
        id: TableId(1),
        oid: OID,
        schema: "public".to_owned(),
        name: "things".to_owned(),
        identity: ReplicaIdentity::Default,
        leaves: Vec::new(),
        columns: vec![column(1, "id", 23, ColumnKind::Int), column(2, "name", 25, ColumnKind::Text)],
        key: key.clone(),
        primary_key: key.clone(),
        foreign_keys: Vec::new(),
        unique_keys: vec![key],
    }
}

struct Listening {
    database: Database,
    grew: watch::Receiver<()>,
    after: Lsn,
}

impl Events for Listening {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Option<Vec<Event>>> + Send + '_>> {
        Box::pin(async move {
            loop {
                self.grew.borrow_and_update();
                let found = {
                    let state = self.database.state.lock().unwrap();
                    state.log.iter().find(|(end, _)| *end > self.after).cloned()
                };
                if let Some((end, messages)) = found {
                    self.after = end;
                    let message = |payload| Event::Message { wal_end: end, payload };
                    return Some(messages.into_iter().map(message).collect());
                }
                self.grew.changed().await.ok()?;
            }
        })
    }

    fn close(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async {})
    }
}

impl Source for Database {
    fn find<'a>(&'a self, _names: &'a [String], _known: &'a Catalog) -> Answer<'a, Found> {
        let catalog = Catalog { tables: vec![table()] };
        Box::pin(async { Ok(Found { catalog, ..Found::default() }) })
    }

    fn prepare_publication<'a>(&'a self, _tables: &'a [Table]) -> Answer<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn create_slot<'a>(&'a self, _orphan: bool, _waits: &'a (dyn Fn(String) + Sync)) -> Answer<'a, Lsn> {
        Box::pin(async { Ok(Lsn(self.state.lock().unwrap().lsn)) })
    }

    fn connect<'a>(&'a self, resume: &'a Resume) -> Answer<'a, Stream> {
        let after = resume.end_lsn.unwrap();
        assert!(after >= self.state.lock().unwrap().confirmed, "confirmed, and not in the journal any more");
        let identity = Identity {
            system_identifier: "1".to_owned(),
            timeline: 1,
            database: "d".to_owned(),
            database_oid: 1,
            slot: "s".to_owned(),
            publication: "p".to_owned(),
            publication_oid: 1,
            membership: vec![(OID, 1)],
            server_version: 150_000,
        };
        let state = Arc::clone(&self.state);
        let events = Listening { database: self.clone(), grew: self.grew.subscribe(), after };
        Box::pin(async {
            Ok(Stream {
                identity,
                warnings: Vec::new(),
                joined: Vec::new(),
                events: Box::new(events),
                confirm: Arc::new(move |lsn| state.lock().unwrap().confirmed = lsn),
            })
        })
    }

    fn emit_marker<'a>(&'a self, nonce: &'a str) -> Answer<'a, ()> {
        Box::pin(async {
            self.mark(nonce);
            Ok(())
        })
    }

    fn wait_out<'a>(&'a self, _waits: &'a (dyn Fn(String) + Sync)) -> Answer<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn estimate<'a>(&'a self, _oid: u32) -> Answer<'a, u64> {
        Box::pin(async { Ok(u64::from(KEYS)) })
    }

    fn read_chunk<'a>(&'a self, request: &'a ChunkRequest<'a>) -> Answer<'a, (HeldChunk, Duration)> {
        Box::pin(async move {
            let state = self.state.lock().unwrap();
            let (after, keys_only) = match &request.range {
                ChunkRange::After(after) => (after.clone(), false),
                ChunkRange::Keys(_) => (None, true),
            };
            let from = after.as_ref().map_or(0, |key| key[0].parse().unwrap());
            let wanted = |key: u32| match &request.range {
                ChunkRange::After(_) => key > from,
                ChunkRange::Keys(keys) => keys.iter().any(|known| known[0] == key.to_string()),
            };
            let rows: Vec<_> = state.rows.iter().filter(|(key, _)| wanted(**key)).collect();
            let last = keys_only || rows.len() <= CHUNK_ROWS;
            let rows = &rows[..if last { rows.len() } else { CHUNK_ROWS }];
            let head = ChunkHead {
                begin: request.begin,
                table: request.table.id,
                oid: request.oid,
                sequence: request.sequence,
                after,
                columns: vec![(1, "id".to_owned(), 23), (2, "name".to_owned(), 25)],
                rows: rows.len() as u32,
                last_key: rows.last().map(|(key, _)| vec![key.to_string()]),
                last,
                keys_only,
            };
            let text: String = rows.iter().map(|(key, name)| format!("{key}\t{name}\n")).collect();
            drop(state);
            self.mark(&request.nonce);
            Ok((
                HeldChunk { nonce: request.nonce.clone(), head, rows: text.into() },
                Duration::from_millis(1),
            ))
        })
    }

    fn status<'a>(&'a self) -> Answer<'a, SlotStatus> {
        Box::pin(async {
            let state = self.state.lock().unwrap();
            Ok(SlotStatus {
                server: Lsn(state.lsn),
                confirmed: Some(state.confirmed),
                ..SlotStatus::default()
            })
        })
    }
}
