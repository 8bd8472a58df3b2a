//! `journal show`: what the entries say.
//!
//! A segment is read from its beginning even when only its last entries are asked for: what the tables are
//! called is said in its head and by the entries before.

use std::collections::HashMap;
use std::io::Write;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::messages::{self, Values};
use super::{Out, failed};
use crate::config::Config;
use crate::error::Failure;
use crate::journal::entry::{self, Backfill, Command, Commit, Facts, Intent, Position, Record};
use crate::journal::peek::{self, Look, Next};
use crate::journal::{Error, Kind};
use crate::model::{EntryNo, Relation};
use crate::pipeline::apply::split_chunk;
use crate::source::Identity;

/// What is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection<'a> {
    pub from: Option<u64>,
    pub to: Option<u64>,
    pub kind: Option<&'a str>,
    pub values: Values,
    pub json: bool,
}

/// Relations by oid, as they are in force at an entry.
pub type Relations = HashMap<u32, Relation>;

/// Prints the entries of the selection.
pub fn run(config: &Config, selection: Selection<'_>) -> Result<(), Failure> {
    let segments = peek::segments(&super::folder(config)).map_err(failed)?;
    let mut out = Out::new();
    for (position, segment) in segments.iter().enumerate() {
        let following = segments.get(position + 1).map(|following| following.first);
        let before = selection.from.zip(following).is_some_and(|(from, following)| following.0 <= from);
        if before || selection.to.is_some_and(|to| segment.first.0 > to) {
            continue;
        }
        let Some(mut look) = Look::open(segment).map_err(failed)? else { continue };
        let mut relations = Relations::new();
        for (kind, payload) in &look.head {
            if *kind == Kind::TransactionPart {
                learn(&mut relations, payload);
            }
        }
        while !out.closed {
            match look.entry().map_err(failed)? {
                Next::Entry(record) if selection.to.is_some_and(|to| record.number.0 > to) => return Ok(()),
                Next::Entry(record) => show(&record, &mut relations, selection, &mut out)?,
                Next::End => break,
                Next::Torn(torn) if following.is_some() => {
                    let peek::Torn { file, offset, reason, .. } = torn;
                    return Err(failed(Error::Damaged { file, offset, reason: reason.to_owned() }));
                }
                Next::Torn(torn) => {
                    eprintln!("{}", super::torn_line(&torn));
                    break;
                }
            }
        }
    }
    Ok(())
}

/// Takes the relations out of a transaction's messages.
fn learn(relations: &mut Relations, payload: &[u8]) {
    for message in entry::messages(payload).filter(|message| message.first() == Some(&b'R')) {
        messages::learn(relations, message);
    }
}

fn show(
    record: &Record,
    relations: &mut Relations,
    selection: Selection<'_>,
    out: &mut Out,
) -> Result<(), Failure> {
    if record.kind == Kind::Connected {
        relations.clear(); // rule 6
    }
    let wanted = selection.from.is_none_or(|from| record.number.0 >= from)
        && selection.kind.is_none_or(|kind| record.kind.name() == kind);
    let messages = match record.kind {
        Kind::Transaction => Commit::decode(&record.payload).map_or(&[][..], |(_, messages)| messages),
        Kind::TransactionPart => &record.payload[..],
        _ => &[],
    };
    if !wanted {
        learn(relations, messages);
        return Ok(());
    }
    let said = said(record, selection.values);
    if selection.json {
        let mut object = Map::new();
        object.insert("entry".to_owned(), json!(record.number));
        object.insert("kind".to_owned(), json!(record.kind.name()));
        object.insert("bytes".to_owned(), json!(record.payload.len()));
        object.extend(said);
        if !messages.is_empty() {
            let shown: Vec<Value> = entry::messages(messages)
                .map(|message| messages::json(message, relations, selection.values))
                .collect();
            object.insert("messages".to_owned(), Value::Array(shown));
        }
        return out.line(&Value::Object(object));
    }
    let words: Vec<String> = said.iter().map(|(name, value)| format!("{name} {}", word(value))).collect();
    out.text(|to| {
        writeln!(
            to,
            "{:>10}  {:<16} {:>9} B  {}",
            record.number.0,
            record.kind.name(),
            record.payload.len(),
            words.join(", ")
        )
    })?;
    for message in entry::messages(messages) {
        let line = messages::line(message, relations, selection.values);
        out.text(|to| writeln!(to, "            {line}"))?;
    }
    Ok(())
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(word).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// What an entry says beside its messages, in the order in which it is shown.
fn said(record: &Record, values: Values) -> Vec<(String, Value)> {
    let payload = &record.payload;
    let said = match record.kind {
        Kind::Transaction => Commit::decode(payload).map(|(commit, _)| transaction(&commit)).ok(),
        Kind::TransactionPart => Some(Vec::new()),
        Kind::Connected => json_of(payload, |identity: Identity| {
            vec![
                ("system", json!(identity.system_identifier)),
                ("timeline", json!(identity.timeline)),
                ("database", json!(identity.database)),
                ("slot", json!(identity.slot)),
                ("publication", json!(identity.publication)),
                ("server", json!(identity.server_version)),
            ]
        }),
        Kind::Facts => json_of(payload, |facts: Facts| {
            let tables: Vec<String> =
                facts.catalog.tables.iter().map(|table| table.qualified_name()).collect();
            let definitions = facts.definitions.iter();
            let indices: Vec<String> =
                definitions.map(|known| format!("{}={}", known.name, known.index)).collect();
            vec![("projections", json!(indices)), ("tables", json!(tables))]
        }),
        Kind::Intent => json_of(payload, |intent: Intent| vec![("slot", json!(intent.slot))]),
        Kind::Position | Kind::Rebuild => {
            json_of(payload, |position: Position| vec![("lsn", json!(position.lsn))])
        }
        Kind::BackfillBegin | Kind::BackfillEnd => json_of(payload, |backfill: Backfill| {
            let units = backfill.units.iter().map(|unit| format!("{}/{}", unit.table.0, unit.oid));
            let mut said = vec![("units", json!(units.collect::<Vec<_>>()))];
            if backfill.begin != EntryNo::ZERO {
                said.insert(0, ("begin", json!(backfill.begin)));
            }
            if backfill.keys_only {
                said.push(("keys_only", json!(true)));
            }
            said
        }),
        Kind::Chunk => split_chunk(payload).ok().map(|(head, rows)| {
            let columns: Vec<&str> = head.columns.iter().map(|(_, name, _)| name.as_str()).collect();
            let mut said = vec![
                ("begin", json!(head.begin)),
                ("table", json!(head.table.0)),
                ("oid", json!(head.oid)),
                ("sequence", json!(head.sequence)),
                ("rows", json!(head.rows)),
                ("last", json!(head.last)),
                ("columns", json!(columns)),
            ];
            if values == Values::Shown {
                said.push(("copied", messages::copied(rows, &columns)));
            }
            said
        }),
        Kind::Command => json_of(payload, |command: Command| match command {
            Command::Whole { generation } => {
                vec![("replay", json!("every document")), ("generation", json!(generation))]
            }
            Command::ReadAgain { units } => vec![("read again", json!(format!("{} tables", units.len())))],
            Command::Anew { generation } => {
                vec![("index anew", json!("every document")), ("generation", json!(generation))]
            }
            Command::Documents { generation, keys } => {
                let mut said = vec![
                    ("replay", json!(format!("{} documents", keys.len()))),
                    ("generation", json!(generation)),
                ];
                if values == Values::Shown {
                    said.push(("keys", json!(keys)));
                }
                said
            }
        }),
    };
    let said = said.unwrap_or_else(|| vec![("error", json!("cannot be read by this program"))]);
    said.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn json_of<T: serde::de::DeserializeOwned>(
    payload: &Bytes,
    said: impl FnOnce(T) -> Vec<(&'static str, Value)>,
) -> Option<Vec<(&'static str, Value)>> {
    serde_json::from_slice(payload).ok().map(said)
}

fn transaction(commit: &Commit) -> Vec<(&'static str, Value)> {
    vec![
        ("commit", json!(commit.commit)),
        ("end", json!(commit.end)),
        ("time", json!(messages::time_text(commit.time_us))),
        ("xid", json!(commit.xid)),
        ("rows", json!(commit.rows)),
        ("first", json!(commit.first)),
    ]
}
