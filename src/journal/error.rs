//! What can go wrong with the journal.

use crate::model::EntryNo;

/// An error of the journal, with its place and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading or writing failed. After a failed sync nothing of the file is to be believed: the process
    /// ends, and recovery copies what is really there (rule 4).
    #[error(
        "journal-failed: {operation} {file}: {source}\n    \
         Look at the disk; then start again: the journal recovers by itself."
    )]
    Failed { operation: &'static str, file: String, source: std::io::Error },
    #[error(
        "journal-damaged: {file} at byte {offset}: {reason}\n    \
         Remove the folders `journal` and `store` within the data folder, not its identity.json: then \
         `projectord run` reads everything again."
    )]
    Damaged { file: String, offset: u64, reason: String },
    #[error(
        "journal-newer: {file} has format {found}, this program knows {known}\n    \
         Use the program that wrote it, or a newer one."
    )]
    Newer { file: String, found: u32, known: u32 },
    #[error(
        "journal-other: {file} belongs to journal {found}, this data folder is of journal {expected}\n    \
         Files of two data folders were mixed: restore one of them whole."
    )]
    Other { file: String, found: String, expected: String },
    #[error(
        "journal-damaged: entry {entry} is missing: {file} begins with {found}\n    \
         Restore the missing file, or remove the folders `journal` and `store`: then everything is read again."
    )]
    Missing { entry: EntryNo, file: String, found: EntryNo },
    #[error("journal-entry-too-large: {bytes} bytes; the limit is {limit}")]
    TooLarge { bytes: usize, limit: usize },
    #[error("journal-exhausted: the last entry number has been given; begin a new data folder")]
    Exhausted,
    #[error(
        "data-locked: another projectord uses {folder} (process {pid})\n    \
         Stop it first, or give this one another data folder."
    )]
    Locked { folder: String, pid: String },
    #[error(
        "data-unreadable: {file}: {reason}\n    Restore the data folder from a copy, or begin a new one."
    )]
    Identity { file: String, reason: String },
}

impl Error {
    /// Whether the disk is full rather than broken.
    pub fn is_full(&self) -> bool {
        matches!(self, Error::Failed { source, .. }
            if source.kind() == std::io::ErrorKind::StorageFull
                || source.kind() == std::io::ErrorKind::QuotaExceeded)
    }
}
