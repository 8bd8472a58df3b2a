//! The gate: facts as this server would answer them, judged by the real code.

use projectord::model::Lsn;
use projectord::planted::{self, Bug};
use projectord::source::Resume;
use projectord::source::postgres::gate::facts::Facts;
use projectord::source::postgres::gate::judge::{judge, passed, slot_advanced, sync_standby};
use projectord::source::postgres::gate::tables::Relation;
use projectord::source::postgres::gate::{Expected, NeededTable, Passed};
use projectord::source::postgres::settings::PINNED;
use projectord::source::postgres::{Error, publication, slot};

use super::Server;
use crate::schema::Schema;

pub const SLOT: &str = "projectord";
pub const PUBLICATION: &str = "projectord";
const APPLICATION: &str = "projectord";

impl Server {
    /// What the gate says to somebody who wants to go on from there.
    pub fn gate(&self, resume: &Resume, pid: i32) -> Result<Passed, Error> {
        let expected = Expected {
            slot: SLOT.to_owned(),
            publication: PUBLICATION.to_owned(),
            application_name: APPLICATION.to_owned(),
            read_role: None,
            manage: true,
            tables: resume
                .tables
                .iter()
                .map(|table| NeededTable {
                    schema: table.schema.clone(),
                    name: table.name.clone(),
                    columns: None,
                })
                .collect(),
            recorded: resume.recorded.clone(),
            begun_on: resume.begun_on.clone(),
            journal_end: resume.end_lsn,
        };
        let facts = self.facts(&expected, pid);
        let report = judge(&facts, &expected);
        match report.problems.into_iter().next() {
            Some(problem) => Err(problem),
            None => passed(&facts, &expected, report.warnings),
        }
    }

    /// The slot's position once more, when it is ours.
    pub fn gate_again(&self, end: Lsn) -> Result<(), Error> {
        match &self.slot {
            // In the place of `confirmed_again`, which has the same bug planted.
            Some(slot) if slot.confirmed > end && !planted::is(Bug::ResumeBehindSlot) => {
                Err(slot_advanced(SLOT, slot.confirmed, end))
            }
            _ => Ok(()),
        }
    }

    /// Whether our connection would make commits wait (rule 1).
    pub fn is_synchronous(&self) -> bool {
        self.standby_names == "*"
    }

    pub fn standby_refusal(&self) -> Error {
        sync_standby(&self.standby_names, APPLICATION)
    }

    fn facts(&self, expected: &Expected, pid: i32) -> Facts {
        Facts {
            version: 150_018,
            in_recovery: false,
            wal_level: "logical".to_owned(),
            synchronous_standby_names: self.standby_names.clone(),
            max_slot_wal_keep_size: "1GB".to_owned(),
            system_identifier: self.system_identifier.to_string(),
            timeline: self.timeline,
            recorded_timeline_end: expected
                .system()
                .and_then(|recorded| self.timelines.get(&recorded.timeline).copied()),
            database: "application".to_owned(),
            database_oid: 5,
            backend_pid: pid,
            role: "projectord".to_owned(),
            may_replicate: true,
            read_role_oid: Some(10),
            server_flush: Lsn(self.flushed),
            settings: PINNED.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
            publication: self.publication_state(),
            slot: self.slot_state(),
            relations: self.relations(expected),
            ..Facts::default()
        }
    }

    fn publication_state(&self) -> Option<publication::State> {
        let published = self.publication.as_ref()?;
        let members = published.members.iter().map(|(table_oid, membership_oid)| publication::Member {
            table_oid: *table_oid,
            membership_oid: *membership_oid,
            schema: "public".to_owned(),
            name: self.schema.tables[self.schema.table_of(*table_oid)].name.clone(),
            ..publication::Member::default()
        });
        Some(publication::State {
            oid: published.oid,
            insert: true,
            update: true,
            delete: true,
            truncate: true,
            members: members.collect(),
            ..publication::State::default()
        })
    }

    fn slot_state(&self) -> Option<slot::State> {
        let known = self.slot.as_ref()?;
        let active = self.walsender.as_ref().map(|walsender| walsender.pid);
        Some(slot::State {
            plugin: Some("pgoutput".to_owned()),
            database: Some("application".to_owned()),
            active_pid: active,
            wal_status: Some(if known.lost { "lost" } else { "reserved" }.to_owned()),
            restart: (!known.lost).then_some(known.confirmed_on_disk),
            confirmed_flush: Some(known.confirmed),
            server_flush: Lsn(self.flushed),
            ..slot::State::default()
        })
    }

    fn relations(&self, expected: &Expected) -> Vec<Relation> {
        let mut relations = Vec::new();
        for needed in &expected.tables {
            let Some(at) = self.schema.tables.iter().position(|table| table.name == needed.name) else {
                continue;
            };
            let table = &self.schema.tables[at];
            let relation = |oid: u32, name: String, kind: &str| Relation {
                root: Schema::oid(at),
                oid,
                schema: "public".to_owned(),
                name,
                kind: kind.to_owned(),
                permanent: true,
                identity: projectord::model::ReplicaIdentity::Default,
                key: table.key.iter().map(|column| table.columns[*column].name.clone()).collect(),
                deferrable: false,
                row_security: false,
                readable: true,
                has_children: false,
                generated: Vec::new(),
            };
            let kind = if table.leaves { "p" } else { "r" };
            relations.push(relation(Schema::oid(at), table.name.clone(), kind));
            if table.leaves {
                let leaves = self.schema.row_oids(at).into_iter();
                relations.extend(leaves.map(|oid| relation(oid, format!("leaf_{oid}"), "r")));
            }
        }
        relations
    }
}
