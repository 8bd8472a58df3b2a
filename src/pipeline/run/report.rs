//! The status, put together from what the loops have said.

use std::time::Duration;

use tokio::sync::oneshot;

use super::Running;
use super::apply_loop::look;
use crate::model::{EntryNo, Lsn};
use crate::pipeline::status::{
    JournalStatus, LagBytes, ProjectionStatus, SourceStatus, Status, StoreStatus, Watermarks,
};
use crate::progress::{CONTACT_FRESH, Lag};
use crate::sink::IndexSpec;
use crate::source::{Identity, SlotStatus};
use crate::store::engine::{self, Engine};
use crate::store::meta::Stage;

/// What the conductor remembers from one look to the next.
pub(super) struct Report {
    pub state: &'static str,
    pub trouble: Option<String>,
    pub connected: bool,
    pub identity: Option<Identity>,
    pub slot: SlotStatus,
    pub slot_asked: Duration,
    /// When it was recorded last that nobody dies of the store.
    pub lived: Duration,
    pub contact: Duration,
    pub checkpoint: Option<oneshot::Receiver<Result<EntryNo, engine::Error>>>,
    pub checkpoint_begun: EntryNo,
    pub checkpoint_bytes: u64,
    pub checkpoint_entry: EntryNo,
    pub forwarding: bool,
    /// New generations have higher numbers than this.
    pub generation_floor: u16,
    /// The last Facts entry that this process journaled.
    pub facts_entry: EntryNo,
    /// When the tables were looked at last.
    pub catalog_looked: Duration,
    /// When the indices were looked at last.
    pub looked: Option<Duration>,
    /// When that was last thought of, by both clocks: between two such moments there was no pause.
    pub looked_tick: Duration,
    pub boot: Duration,
    /// Since the last pause all indices were found to be ours.
    pub all_ours: bool,
    /// The indices of the facts in force, whoever journaled those.
    pub specs: Vec<IndexSpec>,
    received: Lsn,
    lag: Lag,
}

impl Default for Report {
    fn default() -> Self {
        Report {
            state: "starting",
            trouble: None,
            connected: false,
            identity: None,
            slot: SlotStatus::default(),
            slot_asked: Duration::ZERO,
            lived: Duration::ZERO,
            contact: Duration::ZERO,
            checkpoint: None,
            checkpoint_begun: EntryNo::ZERO,
            checkpoint_bytes: 0,
            checkpoint_entry: EntryNo::ZERO,
            forwarding: false,
            generation_floor: 0,
            facts_entry: EntryNo::ZERO,
            catalog_looked: Duration::ZERO,
            looked: None,
            looked_tick: Duration::ZERO,
            boot: Duration::ZERO,
            all_ours: false,
            specs: Vec::new(),
            received: Lsn::ZERO,
            lag: Lag::default(),
        }
    }
}

impl<E: Engine> Running<E> {
    /// Writes a fresh status where the outside looks.
    pub(super) fn report_now(&mut self) {
        let published = look(&self.board);
        let progress = *self.progress.borrow();
        let now = self.machine.clock.now();
        if progress.received > self.report.received {
            self.report.received = progress.received;
            self.report.contact = now;
        }
        // From where a slot begins nothing older has to come: what is journaled counts as received.
        let received = progress.received.max(progress.journaled);
        let server = self.report.slot.server.max(received);
        self.report.lag.received(server, now);
        // After a rebuild the journal goes on at another position: one beyond its end is of what was given up.
        let applied = published.reached.lsn.min(progress.journaled);
        let projected_entry = published.projected.iter().map(|(_, entry, _)| *entry).min();
        let projected_entry = projected_entry.unwrap_or(EntryNo::ZERO);
        let everything = projected_entry >= published.reached.entry && applied >= progress.journaled;
        let projected = if everything {
            applied
        } else {
            published.projected.iter().map(|(_, _, lsn)| *lsn).min().unwrap_or_default().min(applied)
        };
        // With nothing open, what the server holds beyond `received` is not for us.
        let idle = everything && progress.journaled >= progress.received;
        let done = if idle { server } else { projected };
        self.report.lag.projected(done);
        let silence = now.saturating_sub(self.report.contact);
        let silence = if silence > CONTACT_FRESH { silence } else { std::time::Duration::ZERO };
        let lag = self.report.lag.age(now).unwrap_or_default().max(silence); // rule 39
        let backfill = self.backfill_status.lock().map(|status| status.clone()).unwrap_or_default();
        let reading = published.units.iter().any(|unit| !unit.complete) || published.units.is_empty();
        let identity = self.report.identity.clone();
        let status = Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            state: match (self.report.state, self.report.connected) {
                ("streaming", true) if reading => "backfilling".to_owned(),
                ("connecting", _) => "disconnected".to_owned(),
                (state, _) => state.to_owned(),
            },
            // A full journal first: that the connection is let go because of it is not what has to be mended.
            trouble: progress
                .full
                .then(|| "journal-full: no room for the journal; nothing is read".to_owned())
                .or_else(|| self.report.trouble.clone())
                .or_else(|| {
                    let trouble = self.sink_trouble.1.borrow().clone();
                    trouble.map(|reason| format!("sink-unavailable: {reason}"))
                }),
            epoch: self.epoch.unwrap_or_default(),
            journal_id: self.journal_id.clone(),
            watermarks: Watermarks {
                server,
                received,
                journaled: progress.journaled,
                applied,
                projected,
                journaled_entry: progress.durable,
                applied_entry: published.reached.entry,
                projected_entry,
                lag_bytes: LagBytes {
                    received: server.bytes_since(received),
                    journaled: server.bytes_since(progress.journaled),
                    applied: server.bytes_since(applied),
                    projected: server.bytes_since(projected),
                },
                lag_seconds: lag.as_secs_f64(),
                last_contact_seconds: now.saturating_sub(self.report.contact).as_secs_f64(),
            },
            source: SourceStatus {
                connected: self.report.connected,
                system_identifier: identity.as_ref().map(|i| i.system_identifier.clone()).unwrap_or_default(),
                timeline: identity.as_ref().map_or(0, |identity| identity.timeline),
                slot: self.options.slot.clone(),
                publication: self.options.publication.clone(),
                confirmed: self.report.slot.confirmed.unwrap_or_default(),
                retained_bytes: self.report.slot.retained_bytes,
                wal_status: self.report.slot.wal_status.clone(),
            },
            projections: published
                .generations
                .iter()
                .map(|state| {
                    let count = published.reached.dirty.iter().find(|(known, _)| *known == state.generation);
                    let count = count.map(|(_, count)| *count).unwrap_or_default();
                    let plan = published.compiled.generations.iter().position(|g| *g == state.generation);
                    let alias =
                        plan.map(|plan| published.compiled.schema.plans.plans[plan].alias.to_string());
                    let lsn = published.projected.iter().find(|(known, ..)| *known == state.generation);
                    ProjectionStatus {
                        name: state.projection.clone(),
                        alias: alias.unwrap_or_default(),
                        index: state.index.clone(),
                        generation: state.generation,
                        state: match state.stage {
                            Stage::Waiting => "waiting",
                            Stage::Building => "building",
                            Stage::Live => "live",
                            Stage::Dropped => "dropped",
                        }
                        .to_owned(),
                        projected: lsn.map(|(_, _, lsn)| *lsn).unwrap_or_default(),
                        points: count.changes + count.scanned,
                        scans: count.scans,
                        quarantined: count.quarantined,
                    }
                })
                .collect(),
            backfill,
            journal: JournalStatus {
                bytes: progress.bytes,
                segments: progress.segments,
                first_entry: progress.first,
                last_entry: progress.end,
            },
            store: StoreStatus {
                bytes: self.engine.size_bytes().unwrap_or_default(),
                rows: published.reached.rows,
                inserts_over_rows: published.reached.inserts_over_rows,
                checkpoint_entry: self.report.checkpoint_entry,
                durable: self.options.durable_store,
            },
        };
        if let Ok(mut shared) = self.outside.status.write() {
            *shared = status;
        }
    }
}
