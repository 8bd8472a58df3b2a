//! An encoder of pgoutput messages, independent of the decoder (PostgreSQL docs, "Logical Replication
//! Message Formats").

use projectord::model::{Cell, Relation, ReplicaIdentity};
use projectord::pgoutput::{Message, OldKind};

/// The message's bytes; `flags` of relation columns and of TRUNCATE beyond the known ones are not repeated.
pub fn encode(message: &Message<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    match message {
        Message::Begin { final_lsn, time_us, xid } => {
            out.push(b'B');
            out.extend(final_lsn.0.to_be_bytes());
            out.extend(time_us.to_be_bytes());
            out.extend(xid.to_be_bytes());
        }
        Message::Commit { flags, commit, end, time_us } => {
            out.extend([b'C', *flags]);
            out.extend(commit.0.to_be_bytes());
            out.extend(end.0.to_be_bytes());
            out.extend(time_us.to_be_bytes());
        }
        Message::Origin { commit, name } => {
            out.push(b'O');
            out.extend(commit.0.to_be_bytes());
            text(&mut out, name);
        }
        Message::Relation(relation) => self::relation(&mut out, relation),
        Message::Type { oid, schema, name } => {
            out.push(b'Y');
            out.extend(oid.to_be_bytes());
            text(&mut out, schema.as_bytes());
            text(&mut out, name.as_bytes());
        }
        Message::Insert { oid, new } => {
            out.push(b'I');
            out.extend(oid.to_be_bytes());
            tuple(&mut out, b'N', &new.cells().collect::<Vec<_>>());
        }
        Message::Update { oid, old, new } => {
            out.push(b'U');
            out.extend(oid.to_be_bytes());
            if let Some((kind, old)) = old {
                tuple(&mut out, mark(*kind), &old.cells().collect::<Vec<_>>());
            }
            tuple(&mut out, b'N', &new.cells().collect::<Vec<_>>());
        }
        Message::Delete { oid, kind, old } => {
            out.push(b'D');
            out.extend(oid.to_be_bytes());
            tuple(&mut out, mark(*kind), &old.cells().collect::<Vec<_>>());
        }
        Message::Truncate { oids, cascade, restart } => {
            out.push(b'T');
            out.extend((oids.iter().len() as u32).to_be_bytes());
            out.push(u8::from(*cascade) | u8::from(*restart) << 1);
            oids.iter().for_each(|oid| out.extend(oid.to_be_bytes()));
        }
        Message::Logical { transactional, lsn, prefix, content } => {
            out.extend([b'M', u8::from(*transactional)]);
            out.extend(lsn.0.to_be_bytes());
            text(&mut out, prefix);
            out.extend((content.len() as u32).to_be_bytes());
            out.extend(*content);
        }
    }
    out
}

fn mark(kind: OldKind) -> u8 {
    match kind {
        OldKind::Key => b'K',
        OldKind::Full => b'O',
    }
}

fn text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend(text);
    out.push(0);
}

/// A RELATION message.
pub fn relation(out: &mut Vec<u8>, relation: &Relation) {
    out.push(b'R');
    out.extend(relation.oid.to_be_bytes());
    text(out, relation.schema.as_bytes());
    text(out, relation.name.as_bytes());
    out.push(match relation.identity {
        ReplicaIdentity::Default => b'd',
        ReplicaIdentity::Nothing => b'n',
        ReplicaIdentity::Full => b'f',
        ReplicaIdentity::Index => b'i',
    });
    out.extend((relation.columns.len() as u16).to_be_bytes());
    for column in &relation.columns {
        out.push(u8::from(column.key));
        text(out, column.name.as_bytes());
        out.extend(column.type_oid.to_be_bytes());
        out.extend(column.type_modifier.to_be_bytes());
    }
}

/// TupleData behind its mark.
pub fn tuple(out: &mut Vec<u8>, mark: u8, cells: &[Cell<'_>]) {
    out.push(mark);
    out.extend((cells.len() as u16).to_be_bytes());
    for cell in cells {
        match cell {
            Cell::Null => out.push(b'n'),
            Cell::Unchanged => out.push(b'u'),
            Cell::Text(text) => {
                out.push(b't');
                out.extend((text.len() as u32).to_be_bytes());
                out.extend(*text);
            }
        }
    }
}

/// A row message: `kind` is I, U or D; marks and cells of its tuples.
pub fn row(kind: u8, oid: u32, tuples: &[(u8, &[Cell<'_>])]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend(oid.to_be_bytes());
    tuples.iter().for_each(|(mark, cells)| tuple(&mut out, *mark, cells));
    out
}
