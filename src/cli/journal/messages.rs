//! Messages of a transaction for people. Values of columns may be personal data: they are shown only to who
//! asks for them, and so is whether they are NULL.

use serde_json::{Map, Value, json};

use super::show::Relations;
use crate::model::{Cell, Relation};
use crate::pgoutput::copy::Rows;
use crate::pgoutput::{Message, OldKind, Tuple, decode};
use crate::source::MARKER_PREFIX;

/// Whether column values are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    Shown,
    Hidden,
}

/// 2000-01-01, where the server's times begin, in seconds since 1970.
const SERVER_TIME_BEGINS_S: i64 = 946_684_800;

/// The server's time as people write it, UTC.
pub fn time_text(time_us: i64) -> String {
    let unix = time_us.checked_add(SERVER_TIME_BEGINS_S * 1_000_000);
    let time = unix.and_then(|unix| jiff::Timestamp::from_microsecond(unix).ok());
    time.map_or_else(|| format!("{time_us} µs since 2000"), |time| time.to_string())
}

/// Takes note of a Relation message.
pub fn learn(relations: &mut Relations, message: &[u8]) {
    if let Ok(Message::Relation(relation)) = decode(message) {
        relations.insert(relation.oid, relation);
    }
}

/// One message as JSON.
pub fn json(message: &[u8], relations: &mut Relations, values: Values) -> Value {
    let decoded = match decode(message) {
        Ok(decoded) => decoded,
        Err(error) => return json!({ "message": "unreadable", "error": error.to_string() }),
    };
    let mut object = Map::new();
    object.insert("message".to_owned(), json!(decoded.name().to_lowercase()));
    let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
    let row = |oid: u32, tuple: Tuple<'_>| cells(relations.get(&oid), tuple, values);
    match &decoded {
        Message::Begin { final_lsn, time_us, xid } => {
            put("commit", json!(final_lsn));
            put("time", json!(time_text(*time_us)));
            put("xid", json!(xid));
        }
        Message::Commit { commit, end, .. } => {
            put("commit", json!(commit));
            put("end", json!(end));
        }
        Message::Relation(relation) => {
            put("table", json!(format!("{}.{}", relation.schema, relation.name)));
            let columns: Vec<&str> = relation.columns.iter().map(|column| column.name.as_str()).collect();
            put("columns", json!(columns));
        }
        Message::Type { schema, name, .. } => {
            put("type", json!(format!("{schema}.{name}")));
        }
        Message::Insert { oid, new } => {
            put("table", table(*oid, relations));
            put("new", row(*oid, *new));
        }
        Message::Update { oid, old, new } => {
            put("table", table(*oid, relations));
            if let Some((kind, old)) = old {
                put(old_word(*kind), row(*oid, *old));
            }
            put("new", row(*oid, *new));
        }
        Message::Delete { oid, kind, old } => {
            put("table", table(*oid, relations));
            put(old_word(*kind), row(*oid, *old));
        }
        Message::Truncate { oids, .. } => {
            put("tables", oids.iter().map(|oid| table(oid, relations)).collect());
        }
        Message::Logical { prefix, content, .. } => {
            // Anybody may have written it, and anything into it.
            if *prefix == MARKER_PREFIX.as_bytes() || values == Values::Shown {
                put("prefix", json!(String::from_utf8_lossy(prefix)));
            }
            put("bytes", json!(content.len()));
            if values == Values::Shown {
                put("content", json!(String::from_utf8_lossy(content)));
            }
        }
        Message::Origin { .. } => {}
    }
    if let Message::Relation(relation) = decoded {
        relations.insert(relation.oid, relation);
    }
    Value::Object(object)
}

/// One message as a line.
pub fn line(message: &[u8], relations: &mut Relations, values: Values) -> String {
    let Value::Object(object) = json(message, relations, values) else { return String::new() };
    let mut words = Vec::new();
    for (name, value) in &object {
        match (name.as_str(), value) {
            ("message", Value::String(what)) => words.insert(0, what.clone()),
            ("table" | "type", Value::String(name)) => words.insert(1.min(words.len()), name.clone()),
            ("new" | "key" | "old", Value::Object(cells)) => {
                let cells: Vec<String> =
                    cells.iter().map(|(column, value)| format!("{column}={}", cell_word(value))).collect();
                words.push(format!("{name}({})", cells.join(", ")));
            }
            ("new" | "key" | "old" | "columns" | "tables", Value::Array(names)) => {
                let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
                words.push(format!("{name}({})", names.join(", ")));
            }
            (name, Value::String(text)) => words.push(format!("{name} {text:?}")),
            (name, other) => words.push(format!("{name} {other}")),
        }
    }
    words.join(" ")
}

fn cell_word(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::String(text) => format!("{text:?}"),
        _ => "(unchanged)".to_owned(),
    }
}

fn old_word(kind: OldKind) -> &'static str {
    match kind {
        OldKind::Key => "key",
        OldKind::Full => "old",
    }
}

fn table(oid: u32, relations: &Relations) -> Value {
    match relations.get(&oid) {
        Some(relation) => json!(format!("{}.{}", relation.schema, relation.name)),
        None => json!(format!("oid {oid}")),
    }
}

/// With values: an object by column, unchanged TOAST as `{"unchanged": true}`. Else the columns' names.
fn cells(relation: Option<&Relation>, tuple: Tuple<'_>, values: Values) -> Value {
    let name = |position: usize| {
        let column = relation.and_then(|relation| relation.columns.get(position));
        column.map_or_else(|| format!("column {}", position + 1), |column| column.name.clone())
    };
    let cells = tuple.cells().enumerate().map(|(position, cell)| (name(position), cell));
    match values {
        Values::Hidden => cells.map(|(name, _)| Value::String(name)).collect(),
        Values::Shown => cells.map(|(name, cell)| (name, value(cell))).collect::<Map<_, _>>().into(),
    }
}

fn value(cell: Cell<'_>) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Unchanged => json!({ "unchanged": true }),
        Cell::Text(text) => json!(String::from_utf8_lossy(text)),
    }
}

/// The rows of a backfill chunk.
pub fn copied(rows: &[u8], columns: &[&str]) -> Value {
    let mut rows = Rows::new(rows, columns.len());
    let mut all = Vec::new();
    loop {
        match rows.next_row() {
            Ok(Some(row)) => {
                let cells = columns.iter().zip(row.cells());
                let cells: Map<_, _> = cells.map(|(name, cell)| ((*name).to_owned(), value(cell))).collect();
                all.push(Value::Object(cells));
            }
            Ok(None) => return Value::Array(all),
            Err(error) => {
                all.push(json!({ "error": error.to_string() }));
                return Value::Array(all);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &mut Vec<u8>, text: &str) {
        bytes.extend(text.as_bytes());
        bytes.push(0);
    }

    fn relation() -> Vec<u8> {
        let mut bytes = vec![b'R'];
        bytes.extend(7u32.to_be_bytes());
        text(&mut bytes, "public");
        text(&mut bytes, "customers");
        bytes.extend(b"d");
        bytes.extend(3u16.to_be_bytes());
        for (key, name) in [(1, "id"), (0, "email"), (0, "notes")] {
            bytes.push(key);
            text(&mut bytes, name);
            bytes.extend(25u32.to_be_bytes());
            bytes.extend((-1i32).to_be_bytes());
        }
        bytes
    }

    fn update() -> Vec<u8> {
        let mut bytes = vec![b'U'];
        bytes.extend(7u32.to_be_bytes());
        bytes.extend(b"N");
        bytes.extend(3u16.to_be_bytes());
        bytes.extend([&b"t"[..], &2u32.to_be_bytes(), b"42", b"n", b"u"].concat());
        bytes
    }

    #[test]
    fn values_are_hidden_unless_somebody_asks_for_them() {
        let mut relations = Relations::new();
        let unknown = line(&update(), &mut relations, Values::Hidden);
        assert_eq!(unknown, "update oid 7 new(column 1, column 2, column 3)");
        let learnt = line(&relation(), &mut relations, Values::Hidden);
        assert_eq!(learnt, "relation public.customers columns(id, email, notes)");
        let hidden = line(&update(), &mut relations, Values::Hidden);
        assert_eq!(hidden, "update public.customers new(id, email, notes)");
        let shown = line(&update(), &mut relations, Values::Shown);
        assert!(shown.contains("id=\"42\"") && shown.contains("email=NULL"), "{shown}");
        assert!(shown.contains("notes=(unchanged)"), "{shown}");
        let object = json(&update(), &mut relations, Values::Shown);
        assert_eq!(object["new"], json!({ "id": "42", "email": null, "notes": { "unchanged": true } }));
    }

    #[test]
    fn what_others_write_into_the_log_is_hidden_too() {
        let mut bytes = vec![b'M', 1];
        bytes.extend(9u64.to_be_bytes());
        text(&mut bytes, "billing");
        bytes.extend(6u32.to_be_bytes());
        bytes.extend(b"secret");
        let mut relations = Relations::new();
        let hidden = json(&bytes, &mut relations, Values::Hidden).to_string();
        assert!(!hidden.contains("secret") && !hidden.contains("billing"), "{hidden}");
        let shown = json(&bytes, &mut relations, Values::Shown).to_string();
        assert!(shown.contains("secret") && shown.contains("billing"), "{shown}");
        assert!(line(b"Qx", &mut relations, Values::Shown).starts_with("unreadable"));
    }

    #[test]
    fn times_are_the_servers_in_utc_and_impossible_ones_are_numbers() {
        assert_eq!(time_text(0), "2000-01-01T00:00:00Z");
        assert_eq!(time_text(1_500_000), "2000-01-01T00:00:01.5Z");
        assert!(time_text(i64::MAX).contains("since 2000"));
    }

    #[test]
    fn rows_of_a_chunk_are_shown_by_column() {
        let rows = copied(b"1\t\\N\n2\tx\\ty\n", &["id", "name"]);
        assert_eq!(rows, json!([{ "id": "1", "name": null }, { "id": "2", "name": "x\ty" }]));
    }
}
