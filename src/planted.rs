//! Bugs planted on purpose: they show that the tests would notice them.
//!
//! Each stands where an honest mistake could have put it. Without the feature `planted` every question is a
//! constant `false` and the compiler removes what depends on it; the feature cannot be built without debug
//! assertions, so that no release can hold a bug, asleep or not. docs/proof.md says who catches each.

#[cfg(all(feature = "planted", not(debug_assertions)))]
compile_error!("planted bugs are for tests: build them with debug assertions");

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// PostgreSQL is told of what is written and not synced.
    ConfirmBeforeFsync,
    /// An idle position is journaled although a transaction is open.
    ConfirmPendingKeepalive,
    /// Apply reads entries that are not synced.
    ApplyUnsynced,
    /// Of rows that share a position only the first is taken.
    SkipSamePosition,
    /// Rows that were written before the position that was received are taken for old ones.
    SkipEarlierPosition,
    /// The stream is asked for from just before the end of the journal.
    ResumeOneEarly,
    /// A Relation is passed over when its table is known, also from another connection.
    RelationKept,
    /// What comes next of a transaction that a crash left half applied counts as applied.
    HalfAppliedIsDone,
    /// An unchanged TOAST value becomes NULL.
    IgnoreUnchanged,
    /// It is taken from a row that may have missed changes in a gap.
    StaleIsKnown,
    /// It is looked for under the row's new key.
    UnchangedUnderNewKey,
    /// A TRUNCATE of a leaf is ignored.
    IgnoreLeafTruncate,
    /// A TRUNCATE does not end the backfill of its table.
    TruncateIgnoredByBackfill,
    /// Deletes leave no tombstones while their table is read.
    NoTombstones,
    /// A chunk is read without waiting for the transactions that were running.
    NoWaitOut,
    /// What a transaction older than a table's reading did counts as done since.
    EarlyIsLate,
    /// Held chunks survive a lost connection: they are taken without their markers.
    HeldChunkKept,
    /// A table that was read again keeps the rows that nobody saw.
    NoSweep,
    /// Only the new row's foreign keys are followed.
    NewForeignKeysOnly,
    /// A mark moves to the last entry that dirtied its document.
    MarkKeepsLast,
    /// A document is settled although it changed behind the view.
    SettleNewer,
    /// A change joins the scan that is running.
    JoinRunningScan,
    /// An ended scan leaves no barrier.
    NoBarrier,
    /// A table that is read again after a gap does not hold the watermark.
    GapNotOwed,
    /// A row that moves while its table is scanned is not marked.
    MovedRowUnscanned,
    /// What scans still have to do is forgotten at a restart.
    ScanNotDurable,
    /// Views are taken inside a large transaction.
    ViewInsideTransaction,
    /// Deliver begins before apply has reached the end of the journal that was found.
    DeliverBeforeCaughtUp,
    /// After a pause it sends before anybody has looked whose the indices are.
    SendBeforeLook,
    /// Versions are entries alone.
    VersionWithoutEpoch,
    /// Deletes carry no version.
    DeleteWithoutVersion,
    /// Every conflict counts as done.
    ConflictIsDone,
    /// What the sink was too busy for counts as done.
    BusyIsDone,
    /// What the sink refused counts as done.
    RefusedIsDone,
    /// A document is delivered although a table of its projection is half read.
    DeliverHalfRead,
    /// The gate lets a slot pass that is ahead of the journal.
    ResumeBehindSlot,
    /// A slot that is missing is made again.
    SlotMadeAgain,
}

impl Bug {
    pub const ALL: [Bug; 37] = [
        Bug::ConfirmBeforeFsync,
        Bug::ConfirmPendingKeepalive,
        Bug::ApplyUnsynced,
        Bug::SkipSamePosition,
        Bug::SkipEarlierPosition,
        Bug::ResumeOneEarly,
        Bug::RelationKept,
        Bug::HalfAppliedIsDone,
        Bug::IgnoreUnchanged,
        Bug::StaleIsKnown,
        Bug::UnchangedUnderNewKey,
        Bug::IgnoreLeafTruncate,
        Bug::TruncateIgnoredByBackfill,
        Bug::NoTombstones,
        Bug::NoWaitOut,
        Bug::EarlyIsLate,
        Bug::HeldChunkKept,
        Bug::NoSweep,
        Bug::NewForeignKeysOnly,
        Bug::MarkKeepsLast,
        Bug::SettleNewer,
        Bug::JoinRunningScan,
        Bug::NoBarrier,
        Bug::GapNotOwed,
        Bug::MovedRowUnscanned,
        Bug::ScanNotDurable,
        Bug::ViewInsideTransaction,
        Bug::DeliverBeforeCaughtUp,
        Bug::SendBeforeLook,
        Bug::VersionWithoutEpoch,
        Bug::DeleteWithoutVersion,
        Bug::ConflictIsDone,
        Bug::BusyIsDone,
        Bug::RefusedIsDone,
        Bug::DeliverHalfRead,
        Bug::ResumeBehindSlot,
        Bug::SlotMadeAgain,
    ];
}

#[cfg(feature = "planted")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Plants a bug on this thread, or none.
#[cfg(feature = "planted")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether this bug is planted.
#[inline(always)]
pub fn is(bug: Bug) -> bool {
    #[cfg(feature = "planted")]
    return PLANTED.get() == Some(bug);
    #[cfg(not(feature = "planted"))]
    {
        let _ = bug;
        false
    }
}
