//! Every metric of ours, once: name, kind, labels, help. docs/metrics.md is this list; a test compares.

/// What a metric is to Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

macro_rules! metrics {
    ($($id:ident = $kind:ident $name:literal $labels:tt $help:literal;)*) => {
        $(pub const $id: Metric = Metric { name: $name, kind: Kind::$kind, labels: &$labels, help: $help };)*
        /// All of them, in the order of the documentation.
        pub const ALL: &[Metric] = &[$($id),*];
    };
}

pub const WATERMARK: &str = "watermark";
pub const PROJECTION: &str = "projection";
pub const OUTCOME: &str = "outcome";
pub const ROOM: &str = "room";
pub const KIND: &str = "kind";
pub const TABLE: &str = "table";
pub const STATE: &str = "state";
pub const CODE: &str = "code";
pub const WAL_STATUS: &str = "wal_status";
pub const VERSION: &str = "version";

metrics! {
    BUILD = Gauge "projectord_build_info" [VERSION] "Always 1; the label holds the version.";
    UP = Gauge "projectord_up" [STATE] "1 for the state that the daemon is in, such as streaming.";
    CONNECTED = Gauge "projectord_source_connected" [] "1 while the replication connection streams.";
    TROUBLE = Gauge "projectord_trouble_info" [CODE] "1 while something keeps the daemon from going on; see docs/errors.md for the code.";
    LAG_BYTES = Gauge "projectord_lag_bytes" [WATERMARK] "WAL between the watermark and the server's own position.";
    LAG_SECONDS = Gauge "projectord_lag_seconds" [] "How old the newest state is that all documents show; what users notice.";
    LAST_CONTACT = Gauge "projectord_last_contact_seconds" [] "How long ago the server was last heard of.";
    POSITION = Gauge "projectord_position_bytes" [WATERMARK] "WAL position of the watermark as a number of bytes.";
    ENTRY = Gauge "projectord_entry_number" [WATERMARK] "Journal entry that the watermark has reached.";
    RETAINED = Gauge "projectord_slot_retained_bytes" [] "WAL that the slot makes the server keep.";
    SLOT = Gauge "projectord_slot_wal_status_info" [WAL_STATUS] "1 for the slot's wal_status: reserved, extended, unreserved or lost.";
    RECEIVED_MESSAGES = Counter "projectord_received_messages_total" [] "Replication messages that came from the server.";
    RECEIVED_BYTES = Counter "projectord_received_bytes_total" [] "Bytes of replication messages that came from the server.";
    CONNECTIONS = Counter "projectord_connections_total" [] "Replication connections that were begun.";
    JOURNALED_ENTRIES = Counter "projectord_journaled_entries_total" [] "Entries made durable in the journal.";
    JOURNALED_BYTES = Counter "projectord_journaled_bytes_total" [] "Bytes made durable in the journal.";
    SYNC = Histogram "projectord_journal_sync_seconds" [] "Time of one group's fsync.";
    APPLIED_ROWS = Counter "projectord_applied_rows_total" [] "Row changes applied to the store.";
    APPLY = Histogram "projectord_apply_batch_seconds" [] "Time of one batch of the store.";
    ASSEMBLED_DOCUMENTS = Counter "projectord_assembled_documents_total" [] "Documents assembled from the store.";
    ASSEMBLED_BYTES = Counter "projectord_assembled_bytes_total" [] "Bytes of documents assembled.";
    ASSEMBLE_SECONDS = Counter "projectord_assemble_seconds_total" [] "Time spent assembling documents.";
    DELIVERED = Counter "projectord_delivered_documents_total" [OUTCOME] "Documents that the sink answered for: indexed, deleted, repeated (it had our own write), retried or rejected.";
    DELIVERED_BYTES = Counter "projectord_delivered_bytes_total" [] "Bytes of answered bulk requests.";
    BULK = Histogram "projectord_bulk_request_seconds" [] "Time from sending a bulk request to its answer.";
    COMMIT_TO_ACKNOWLEDGED = Histogram "projectord_commit_to_acknowledged_seconds" [] "Time from a commit to the sink's acknowledgement of a document that shows it.";
    RETRIES = Counter "projectord_retries_total" [ROOM] "Things tried again: source, journal, store or sink.";
    DIRTY = Gauge "projectord_dirty_marks" [PROJECTION, KIND] "Open marks: points are documents, scans are ranges of them.";
    QUARANTINED = Gauge "projectord_quarantined_documents" [PROJECTION] "Documents that the sink refused and that wait for a person.";
    PROJECTED = Gauge "projectord_projection_position_bytes" [PROJECTION] "WAL position that all documents of the projection show.";
    PROJECTION_STATE = Gauge "projectord_projection_state_info" [PROJECTION, STATE] "1 for the state of the projection: waiting, building or live.";
    JOURNAL_BYTES = Gauge "projectord_journal_bytes" [] "Size of the journal on disk.";
    JOURNAL_SEGMENTS = Gauge "projectord_journal_segments" [] "Segment files of the journal.";
    STORE_BYTES = Gauge "projectord_store_bytes" [] "Bytes in use in the store.";
    STORE_ROWS = Gauge "projectord_store_rows" [] "Rows in the store.";
    INSERTS_OVER_ROWS = Gauge "projectord_store_inserts_over_rows" [] "INSERTs that found their key taken, since the store began: changes before them were not sent.";
    CHECKPOINT = Gauge "projectord_store_checkpoint_entry" [] "Journal entry of the store's last durable checkpoint.";
    BACKFILL_ROWS = Gauge "projectord_backfill_rows" [TABLE] "Rows of the table read by the current or last backfill.";
    BACKFILL_ESTIMATE = Gauge "projectord_backfill_estimated_rows" [TABLE] "Estimate of all rows of the table.";
}
