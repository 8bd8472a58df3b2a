//! Section `limits`: what may grow, and how far.

use std::time::Duration;

use super::section::Section;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A journal segment is closed at this size.
    pub segment_bytes: u64,
    /// Segments that nothing needs any more are kept for looking back up to this many bytes …
    pub retain_bytes: u64,
    /// … and up to this age.
    pub retain_age: Duration,
    /// At this size of the journal ingest stops reading (rule 9); PostgreSQL's own limits apply from there.
    pub quota_bytes: u64,
    /// How long a group of entries may wait for company before it is fsynced.
    pub group_delay: Duration,
    /// Bytes at which a group does not wait any longer.
    pub group_bytes: u64,
    /// A transaction larger than this is journaled in parts (rule 5).
    pub transaction_part_bytes: u64,
    /// How long a graceful stop may take before the process ends anyway.
    pub shutdown: Duration,
}

pub(super) fn read(section: Section<'_>) -> Limits {
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    let seconds = Duration::from_secs;
    let limits = Limits {
        segment_bytes: section.size("segment_bytes", 64 * MIB, MIB..=4 * GIB),
        retain_bytes: section.size("retain_bytes", GIB, 0..=(1 << 50)),
        retain_age: section.duration("retain_age", seconds(86_400), Duration::ZERO..=seconds(86_400 * 3_650)),
        quota_bytes: section.size("quota_bytes", 16 * GIB, 16 * MIB..=(1 << 50)),
        group_delay: section.duration("group_delay", Duration::from_millis(1), Duration::ZERO..=seconds(1)),
        group_bytes: section.size("group_bytes", MIB, 4 << 10..=256 * MIB),
        transaction_part_bytes: section.size("transaction_part_bytes", 4 * MIB, 64 << 10..=GIB),
        shutdown: section.duration("shutdown", seconds(30), seconds(1)..=seconds(3_600)),
    };
    // The quota counts whole segments: with fewer than this it would stop ingest between two deletions.
    const SEGMENTS_IN_QUOTA_MIN: u64 = 4;
    if limits.quota_bytes < limits.segment_bytes.saturating_mul(SEGMENTS_IN_QUOTA_MIN) {
        section.problem(
            section.place,
            "bad-value",
            "'quota_bytes' has room for fewer than four segments",
            "raise 'quota_bytes' or lower 'segment_bytes'",
        );
    }
    if limits.retain_bytes > limits.quota_bytes {
        section.problem(
            section.place,
            "bad-value",
            "'retain_bytes' is larger than 'quota_bytes'",
            "what is kept for looking back would fill the quota: lower 'retain_bytes' or raise 'quota_bytes'",
        );
    }
    section.end();
    limits
}
