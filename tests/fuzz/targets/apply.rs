//! The fold itself: any sequence of entries, right ones and wrong ones, ends in a store that counts right or
//! in a refusal.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use projectord::journal::Kind;
use projectord::journal::entry::{Backfill, Commit, Definition, Facts, Record, Unit, put_message};
use projectord::model::{Cell, EntryNo, Generation, Lsn, Relation, RelationColumn, ReplicaIdentity, TableId};
use projectord::pipeline::apply::{Applier, join_chunk};
use projectord::source::ChunkHead;
use projectord::store::memory::{Memory, State};

use super::take::Take;
use super::{shop, wire};

const ID: &str = "0123456789abcdef0123456789abcdef";
const OIDS: [u32; 3] = [16_384, 16_385, 16_386];

pub const WORDS: &[&[u8]] = &[
    b"\x00\x01\x02",
    b"\x01\x00",
    b"\x02\x00",
    b"\x03",
    b"\x04",
    b"\x05\x05",
    b"t\0\0\0\x011",
    b"\0\0\x40\x01",
    b"n",
    b"u",
    b"N\0\x08",
    b"1\t1\tx\t1\t\\N\ty\t\\N\tt\n",
    b"{\"units\":[",
    b"\xFF",
];

pub fn seeds() -> Vec<Vec<u8>> {
    let cells = [Cell::Text(b"1"), Cell::Text(b"2"), Cell::Unchanged, Cell::Null];
    let raw = wire::row(b'U', OIDS[1], &[(b'K', &cells), (b'N', &cells)]);
    vec![
        // Rows of each table come, change, move, go; then all of a table goes.
        (0..60u8).flat_map(|at| [at % 5, at % 3, at / 7, at * 3, at]).collect(),
        [&[5, raw.len() as u8][..], &raw, &[0, 1, 1, 1, 1]].concat(),
        [&[6, 1, 40][..], b"1\t1\tx\t1\t\\N\ty\t\\N\tt\n2\t1\tx\t1\t\\N\ty\t\\N\tt\n"].concat(),
        [&[7, 9, 20][..], b"{\"begin\":4,\"units\":[]}"].concat(),
        [8, 1, 3, 0, 1, 1, 1, 9, 0, 1, 2, 2].to_vec(),
    ]
}

fn relation(at: usize) -> Vec<u8> {
    let table = &shop::small().tables[at];
    let column = |column: &projectord::model::Column| RelationColumn {
        name: column.name.clone(),
        type_oid: column.type_oid,
        type_modifier: -1,
        key: table.key.contains(&column.name),
    };
    let relation = Relation {
        oid: table.oid,
        schema: table.schema.clone(),
        name: table.name.clone(),
        identity: ReplicaIdentity::Default,
        columns: table.columns.iter().map(column).collect(),
    };
    let mut out = Vec::new();
    wire::relation(&mut out, &relation);
    out
}

fn transaction(number: EntryNo, messages: &[Vec<u8>]) -> Record {
    let rows = messages.len() as u32;
    let commit = Commit {
        commit: Lsn(number.0 * 16),
        end: Lsn(number.0 * 16 + 8),
        time_us: 1,
        xid: 7,
        rows,
        first: number,
    };
    let mut payload = commit.encode().to_vec();
    messages.iter().for_each(|message| put_message(&mut payload, message));
    Record { number, kind: Kind::Transaction, payload: payload.into() }
}

/// A store whose tables are complete and empty, so that every change marks documents.
fn ready() -> &'static (State, EntryNo) {
    static READY: OnceLock<(State, EntryNo)> = OnceLock::new();
    READY.get_or_init(|| {
        let definition = |at: u16, name: &str, source: &str| Definition {
            name: name.to_owned(),
            source: source.to_owned(),
            generation: Generation(at),
            index: format!("{name}-1"),
        };
        let definitions =
            vec![definition(1, "orders", shop::ORDERS), definition(2, "customers", shop::CUSTOMERS)];
        let facts = Facts { catalog: shop::small().clone(), definitions, assembler: 1, traces: Vec::new() };
        let units: Vec<Unit> =
            OIDS.iter().zip(1..).map(|(oid, table)| Unit { table: TableId(table), oid: *oid }).collect();
        let mut entries: Vec<(Kind, Vec<u8>)> = vec![
            (Kind::Facts, serde_json::to_vec(&facts).unwrap()),
            (
                Kind::BackfillBegin,
                serde_json::to_vec(&Backfill {
                    begin: EntryNo(0),
                    units: units.clone(),
                    keys_only: false,
                    transaction: None,
                })
                .unwrap(),
            ),
        ];
        for unit in &units {
            entries.push((Kind::Chunk, chunk(unit.table, unit.oid, EntryNo(2), 0, b"", true)));
        }
        entries.push((
            Kind::BackfillEnd,
            serde_json::to_vec(&Backfill { begin: EntryNo(2), units, keys_only: false, transaction: None })
                .unwrap(),
        ));
        entries.push((Kind::Connected, b"{}".to_vec()));
        let mut records: Vec<Record> = entries
            .into_iter()
            .zip(1..)
            .map(|((kind, payload), number)| Record {
                number: EntryNo(number),
                kind,
                payload: payload.into(),
            })
            .collect();
        let last = EntryNo(records.len() as u64 + 1);
        records.push(transaction(last, &[relation(0), relation(1), relation(2)]));
        let store = Arc::new(Memory::new());
        let mut applier = Applier::load(Arc::clone(&store), ID).unwrap();
        applier.step(&records, &[], &[]).unwrap();
        assert!(applier.units().iter().all(|unit| unit.complete));
        (store.state(), last)
    })
}

fn chunk(table: TableId, oid: u32, begin: EntryNo, sequence: u32, rows: &[u8], last: bool) -> Vec<u8> {
    let facts = &shop::small().tables[usize::from(table.0) - 1];
    let columns =
        facts.columns.iter().map(|column| (column.attnum, column.name.clone(), column.type_oid)).collect();
    let head = ChunkHead {
        begin,
        table,
        oid,
        sequence,
        after: None,
        columns,
        rows: 0,
        last_key: None,
        last,
        keys_only: false,
    };
    join_chunk(&head, rows)
}

/// What the input's plan has done so far.
struct Plan {
    messages: Vec<Vec<u8>>,
    /// Rows that must be there, by table and key; nothing once the input has brought bytes of its own.
    rows: Option<BTreeSet<(usize, Vec<u8>)>>,
}

pub fn run(bytes: &[u8]) {
    let (state, last) = ready();
    let store = Arc::new(Memory::from_state(state.clone()));
    let mut applier = Applier::load(Arc::clone(&store), ID).unwrap();
    let mut take = Take(bytes);
    let mut number = *last;
    let mut plan = Plan { messages: Vec::new(), rows: Some(BTreeSet::new()) };
    for _ in 0..64 {
        if take.is_empty() {
            break;
        }
        let extra = plan.step(&mut take);
        if extra.is_none() && plan.messages.len() < 6 && !take.is_empty() {
            continue;
        }
        let mut records = Vec::new();
        if !plan.messages.is_empty() {
            number = number.next();
            records.push(transaction(number, &std::mem::take(&mut plan.messages)));
        }
        if let Some((kind, payload)) = extra {
            number = number.next();
            records.push(Record { number, kind, payload: payload.into() });
        }
        if applier.step(&records, &[], &[]).is_err() {
            return; // the daemon would end here, and say why
        }
        assert_eq!(applier.reached().entry, number);
        if let Some(rows) = &plan.rows {
            assert_eq!(applier.reached().rows, rows.len() as u64, "rows are counted wrong");
        }
    }
    // A start finds what the last step has left.
    let again = Applier::load(store, ID).unwrap();
    assert_eq!(again.reached(), applier.reached());
}

impl Plan {
    /// The next thing that happens; an entry when it is not a message of a transaction.
    fn step(&mut self, take: &mut Take<'_>) -> Option<(Kind, Vec<u8>)> {
        match take.byte() % 10 {
            op @ 0..=3 => {
                let table = usize::from(take.byte() % 3);
                self.row(op, table, take);
                None
            }
            4 => {
                let table = usize::from(take.byte() % 3);
                let mut message = vec![b'T', 0, 0, 0, 1, 0];
                message.extend(OIDS[table].to_be_bytes());
                self.messages.push(message);
                if let Some(rows) = &mut self.rows {
                    rows.retain(|(of, _)| *of != table);
                }
                None
            }
            5 => {
                self.rows = None;
                self.messages.push(take.piece().to_vec());
                None
            }
            6 => {
                self.rows = None;
                let table = take.byte() % 3;
                let begin = EntryNo(u64::from(take.byte()));
                let rows = take.piece();
                Some((
                    Kind::Chunk,
                    chunk(TableId(u16::from(table) + 1), OIDS[usize::from(table)], begin, 0, rows, true),
                ))
            }
            7 => {
                self.rows = None;
                let kind = Kind::from_byte(take.byte() % 12).unwrap_or(Kind::Command);
                Some((kind, take.piece().to_vec()))
            }
            8 => {
                self.messages.push(relation(usize::from(take.byte() % 3)));
                None
            }
            _ => Some((Kind::Position, b"{\"lsn\":\"0/1\"}".to_vec())),
        }
    }

    /// Inserts, updates, moves or deletes a row with a key of few values.
    fn row(&mut self, op: u8, table: usize, take: &mut Take<'_>) {
        let facts = &shop::small().tables[table];
        let keys = facts.key.len();
        let key: Vec<u8> = (0..keys).map(|_| take.byte() % 8).collect();
        let texts: Vec<String> = key.iter().map(u8::to_string).collect();
        let choice = take.byte();
        let foreign = (choice % 8).to_string();
        let cells: Vec<Cell<'_>> = (0..facts.columns.len())
            .map(|at| match texts.get(at) {
                Some(text) => Cell::Text(text.as_bytes()),
                None if choice & 0x40 != 0 => Cell::Null,
                None if choice & 0x80 != 0 && op == 1 => Cell::Unchanged,
                None => Cell::Text(foreign.as_bytes()),
            })
            .collect();
        let oid = OIDS[table];
        match op {
            0 => self.messages.push(wire::row(b'I', oid, &[(b'N', &cells)])),
            1 => self.messages.push(wire::row(b'U', oid, &[(b'N', &cells)])),
            2 => {
                self.messages.push(wire::row(b'D', oid, &[(b'K', &cells)]));
                self.forget(table, &key);
                return;
            }
            _ => {
                let from: Vec<u8> = (0..keys).map(|_| take.byte() % 8).collect();
                let from_texts: Vec<String> = from.iter().map(u8::to_string).collect();
                let mut old = vec![Cell::Null; facts.columns.len()];
                for (cell, text) in old.iter_mut().zip(&from_texts) {
                    *cell = Cell::Text(text.as_bytes());
                }
                self.messages.push(wire::row(b'U', oid, &[(b'K', &old), (b'N', &cells)]));
                self.forget(table, &from);
            }
        }
        if let Some(rows) = &mut self.rows {
            rows.insert((table, key));
        }
    }

    fn forget(&mut self, table: usize, key: &[u8]) {
        if let Some(rows) = &mut self.rows {
            rows.remove(&(table, key.to_vec()));
        }
    }
}
