//! Metrics for Prometheus: what the loops tell an [`Observer`] as it happens, and what the [`Status`] says at
//! the moment of a scrape. The loops know nothing of this module.

pub mod names;
#[cfg(test)]
mod tests;

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, Registry, TextEncoder,
};

use crate::model::{EntryNo, Lsn};
use crate::pipeline::observer::Delivered;
use crate::pipeline::{Observer, Status};
use names::{Kind, Metric};

/// From a fast disk's fsync to a request that has nearly timed out.
const BUCKETS: &[f64] =
    &[0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Labels keep at most this much of a text that is not ours, such as an error code.
const LABEL_CHARS_MAX: usize = 100;

/// All metrics of one daemon, in a registry of its own.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    up: GaugeVec,
    connected: Gauge,
    trouble: GaugeVec,
    lag_bytes: GaugeVec,
    lag_seconds: Gauge,
    last_contact: Gauge,
    position: GaugeVec,
    entry: GaugeVec,
    retained: Gauge,
    slot: GaugeVec,
    received_messages: IntCounter,
    received_bytes: IntCounter,
    connections: IntCounter,
    journaled_entries: IntCounter,
    journaled_bytes: IntCounter,
    sync: Histogram,
    applied_rows: IntCounter,
    apply: Histogram,
    assembled_documents: IntCounter,
    assembled_bytes: IntCounter,
    assemble_seconds: prometheus::Counter,
    delivered: IntCounterVec,
    delivered_bytes: IntCounter,
    bulk: Histogram,
    commit_to_acknowledged: Histogram,
    retries: IntCounterVec,
    dirty: GaugeVec,
    quarantined: GaugeVec,
    projected: GaugeVec,
    projection_state: GaugeVec,
    journal_bytes: Gauge,
    journal_segments: Gauge,
    store_bytes: Gauge,
    store_rows: Gauge,
    inserts_over_rows: Gauge,
    checkpoint: Gauge,
    backfill_rows: GaugeVec,
    backfill_estimate: GaugeVec,
}

/// Registers what the names describe; names and labels are constants, so only a mistake of ours can fail.
struct Registrar(Registry);

impl Registrar {
    fn add<C: Collector + Clone + 'static>(
        &self,
        metric: Metric,
        kind: Kind,
        made: prometheus::Result<C>,
    ) -> Result<C, prometheus::Error> {
        debug_assert_eq!(metric.kind, kind, "{}", metric.name);
        let collector = made?;
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    fn gauge(&self, m: Metric) -> Result<Gauge, prometheus::Error> {
        self.add(m, Kind::Gauge, Gauge::new(m.name, m.help))
    }

    fn gauges(&self, m: Metric) -> Result<GaugeVec, prometheus::Error> {
        self.add(m, Kind::Gauge, GaugeVec::new(Opts::new(m.name, m.help), m.labels))
    }

    fn counter(&self, m: Metric) -> Result<IntCounter, prometheus::Error> {
        self.add(m, Kind::Counter, IntCounter::new(m.name, m.help))
    }

    fn counters(&self, m: Metric) -> Result<IntCounterVec, prometheus::Error> {
        self.add(m, Kind::Counter, IntCounterVec::new(Opts::new(m.name, m.help), m.labels))
    }

    fn histogram(&self, m: Metric) -> Result<Histogram, prometheus::Error> {
        let options = HistogramOpts::new(m.name, m.help).buckets(BUCKETS.to_vec());
        self.add(m, Kind::Histogram, Histogram::with_opts(options))
    }
}

impl Metrics {
    /// A fresh set; the error is a mistake in [`names`].
    pub fn new() -> Result<Metrics, prometheus::Error> {
        let r = Registrar(Registry::new());
        #[cfg(target_os = "linux")]
        r.0.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        r.gauges(names::BUILD)?.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        let metrics = Metrics {
            up: r.gauges(names::UP)?,
            connected: r.gauge(names::CONNECTED)?,
            trouble: r.gauges(names::TROUBLE)?,
            lag_bytes: r.gauges(names::LAG_BYTES)?,
            lag_seconds: r.gauge(names::LAG_SECONDS)?,
            last_contact: r.gauge(names::LAST_CONTACT)?,
            position: r.gauges(names::POSITION)?,
            entry: r.gauges(names::ENTRY)?,
            retained: r.gauge(names::RETAINED)?,
            slot: r.gauges(names::SLOT)?,
            received_messages: r.counter(names::RECEIVED_MESSAGES)?,
            received_bytes: r.counter(names::RECEIVED_BYTES)?,
            connections: r.counter(names::CONNECTIONS)?,
            journaled_entries: r.counter(names::JOURNALED_ENTRIES)?,
            journaled_bytes: r.counter(names::JOURNALED_BYTES)?,
            sync: r.histogram(names::SYNC)?,
            applied_rows: r.counter(names::APPLIED_ROWS)?,
            apply: r.histogram(names::APPLY)?,
            assembled_documents: r.counter(names::ASSEMBLED_DOCUMENTS)?,
            assembled_bytes: r.counter(names::ASSEMBLED_BYTES)?,
            assemble_seconds: r.add(
                names::ASSEMBLE_SECONDS,
                Kind::Counter,
                prometheus::Counter::new(names::ASSEMBLE_SECONDS.name, names::ASSEMBLE_SECONDS.help),
            )?,
            delivered: r.counters(names::DELIVERED)?,
            delivered_bytes: r.counter(names::DELIVERED_BYTES)?,
            bulk: r.histogram(names::BULK)?,
            commit_to_acknowledged: r.histogram(names::COMMIT_TO_ACKNOWLEDGED)?,
            retries: r.counters(names::RETRIES)?,
            dirty: r.gauges(names::DIRTY)?,
            quarantined: r.gauges(names::QUARANTINED)?,
            projected: r.gauges(names::PROJECTED)?,
            projection_state: r.gauges(names::PROJECTION_STATE)?,
            journal_bytes: r.gauge(names::JOURNAL_BYTES)?,
            journal_segments: r.gauge(names::JOURNAL_SEGMENTS)?,
            store_bytes: r.gauge(names::STORE_BYTES)?,
            store_rows: r.gauge(names::STORE_ROWS)?,
            inserts_over_rows: r.gauge(names::INSERTS_OVER_ROWS)?,
            checkpoint: r.gauge(names::CHECKPOINT)?,
            backfill_rows: r.gauges(names::BACKFILL_ROWS)?,
            backfill_estimate: r.gauges(names::BACKFILL_ESTIMATE)?,
            registry: r.0,
        };
        // Alerts on a rate need the series before its first event.
        for outcome in ["indexed", "deleted", "repeated", "retried", "rejected"] {
            metrics.delivered.with_label_values(&[outcome]);
        }
        for room in ["source", "journal", "store", "sink"] {
            metrics.retries.with_label_values(&[room]);
        }
        Ok(metrics)
    }

    /// Takes over what the status says. Series of what is gone, such as an old state, disappear.
    pub fn refresh(&self, status: &Status) {
        self.up.reset();
        self.up.with_label_values(&[&status.state]).set(1.0);
        self.connected.set(f64::from(u8::from(status.source.connected)));
        self.trouble.reset();
        if let Some(trouble) = &status.trouble {
            // The code stands in front of the text; the text is not a label's matter.
            let code: String =
                trouble.split([':', ' ']).next().unwrap_or_default().chars().take(LABEL_CHARS_MAX).collect();
            self.trouble.with_label_values(&[&code]).set(1.0);
        }
        let marks = &status.watermarks;
        for (name, lag, position) in [
            ("received", marks.lag_bytes.received, marks.received),
            ("journaled", marks.lag_bytes.journaled, marks.journaled),
            ("applied", marks.lag_bytes.applied, marks.applied),
            ("projected", marks.lag_bytes.projected, marks.projected),
        ] {
            self.lag_bytes.with_label_values(&[name]).set(lag as f64);
            self.position.with_label_values(&[name]).set(position.0 as f64);
        }
        self.position.with_label_values(&["server"]).set(marks.server.0 as f64);
        self.position.with_label_values(&["confirmed"]).set(status.source.confirmed.0 as f64);
        for (name, entry) in [
            ("journaled", marks.journaled_entry),
            ("applied", marks.applied_entry),
            ("projected", marks.projected_entry),
        ] {
            self.entry.with_label_values(&[name]).set(entry.0 as f64);
        }
        self.lag_seconds.set(marks.lag_seconds);
        self.last_contact.set(marks.last_contact_seconds);
        self.retained.set(status.source.retained_bytes.map_or(f64::NAN, |bytes| bytes as f64));
        self.slot.reset();
        if let Some(wal_status) = &status.source.wal_status {
            self.slot.with_label_values(&[wal_status]).set(1.0);
        }
        for family in [&self.dirty, &self.quarantined, &self.projected, &self.projection_state] {
            family.reset();
        }
        for projection in &status.projections {
            let name = projection.name.as_str();
            self.dirty.with_label_values(&[name, "points"]).set(projection.points as f64);
            self.dirty.with_label_values(&[name, "scans"]).set(projection.scans as f64);
            self.quarantined.with_label_values(&[name]).set(projection.quarantined as f64);
            self.projected.with_label_values(&[name]).set(projection.projected.0 as f64);
            self.projection_state.with_label_values(&[name, &projection.state]).set(1.0);
        }
        self.journal_bytes.set(status.journal.bytes as f64);
        self.journal_segments.set(status.journal.segments as f64);
        self.store_bytes.set(status.store.bytes as f64);
        self.store_rows.set(status.store.rows as f64);
        self.inserts_over_rows.set(status.store.inserts_over_rows as f64);
        self.checkpoint.set(status.store.checkpoint_entry.0 as f64);
        for backfill in &status.backfill {
            self.backfilled(&backfill.table, backfill.rows, backfill.estimate);
        }
    }

    /// The text that a scrape is answered with (Prometheus text format 0.0.4).
    pub fn exposition(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

impl Observer for Metrics {
    fn received(&self, messages: u64, bytes: u64, _position: Lsn) {
        self.received_messages.inc_by(messages);
        self.received_bytes.inc_by(bytes);
    }

    fn journaled(&self, entries: u64, bytes: u64, sync: Duration, _position: Lsn) {
        self.journaled_entries.inc_by(entries);
        self.journaled_bytes.inc_by(bytes);
        self.sync.observe(sync.as_secs_f64());
    }

    fn applied(&self, _entry: EntryNo, rows: u64, took: Duration) {
        self.applied_rows.inc_by(rows);
        self.apply.observe(took.as_secs_f64());
    }

    fn assembled(&self, documents: u64, bytes: u64, took: Duration) {
        self.assembled_documents.inc_by(documents);
        self.assembled_bytes.inc_by(bytes);
        self.assemble_seconds.inc_by(took.as_secs_f64());
    }

    fn delivered(&self, delivered: Delivered) {
        let Delivered { indexed, deleted, repeated, retried, rejected, bytes, took } = delivered;
        for (outcome, documents) in [
            ("indexed", indexed),
            ("deleted", deleted),
            ("repeated", repeated),
            ("retried", retried),
            ("rejected", rejected),
        ] {
            self.delivered.with_label_values(&[outcome]).inc_by(documents);
        }
        self.delivered_bytes.inc_by(bytes);
        self.bulk.observe(took.as_secs_f64());
    }

    fn commit_to_acknowledged(&self, lag: Duration) {
        self.commit_to_acknowledged.observe(lag.as_secs_f64());
    }

    fn retried(&self, room: &'static str, _reason: &str) {
        // The reason is for the log: as a label it could grow without end.
        self.retries.with_label_values(&[room]).inc();
    }

    fn connected(&self) {
        self.connections.inc();
        self.connected.set(1.0);
    }

    fn disconnected(&self) {
        self.connected.set(0.0);
    }

    fn backfilled(&self, table: &str, rows: u64, estimate: u64) {
        self.backfill_rows.with_label_values(&[table]).set(rows as f64);
        self.backfill_estimate.with_label_values(&[table]).set(estimate as f64);
    }
}
