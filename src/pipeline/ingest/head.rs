//! What a segment has to repeat in front of its entries, so that it can be read alone (rules 6, 8).

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use crate::journal::Kind;

/// Facts, intent, connection and relations in force at the journal's end.
#[derive(Debug, Default)]
pub(super) struct Head {
    pub facts: Option<Bytes>,
    /// On which server the slot was begun: until the first connection to it nothing else says so.
    pub intent: Option<Bytes>,
    pub connected: Option<Bytes>,
    /// A Rebuild entry that no Facts have followed yet.
    pub rebuilt: Option<Bytes>,
    pub relations: BTreeMap<u32, Bytes>,
    /// Relations whose messages are gathered and not appended yet: a segment that begins now must not
    /// announce them in front of rows of the older layout.
    pub announced: Vec<(u32, Bytes)>,
}

impl Head {
    /// What was in force where the journal was found to end; relations are not repeated (rule 6).
    pub fn found(records: &[(Kind, Bytes)]) -> Head {
        let last = |kind| records.iter().rfind(|(known, _)| *known == kind).map(|(_, bytes)| bytes.clone());
        Head {
            facts: last(Kind::Facts),
            intent: last(Kind::Intent),
            connected: last(Kind::Connected),
            rebuilt: last(Kind::Rebuild),
            ..Head::default()
        }
    }

    /// As the journal takes it; the relations are one record, each message behind its length.
    pub fn records(&self) -> Vec<(Kind, Bytes)> {
        let mut records = Vec::new();
        records.extend(self.facts.iter().map(|facts| (Kind::Facts, facts.clone())));
        records.extend(self.intent.iter().map(|intent| (Kind::Intent, intent.clone())));
        records.extend(self.connected.iter().map(|connected| (Kind::Connected, connected.clone())));
        records.extend(self.rebuilt.iter().map(|rebuilt| (Kind::Rebuild, rebuilt.clone())));
        if !self.relations.is_empty() {
            let mut relations = BytesMut::new();
            for relation in self.relations.values() {
                relations.extend_from_slice(&(relation.len() as u32).to_le_bytes());
                relations.extend_from_slice(relation);
            }
            records.push((Kind::TransactionPart, relations.freeze()));
        }
        records
    }
}
