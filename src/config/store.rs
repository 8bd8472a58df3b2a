//! Section `store`: the row store.

use super::quantity::size_text;
use super::section::Section;

/// What makes a committed batch durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The journal, from which the store is made again after a power cut.
    Journal,
    /// Every batch is fsynced as well.
    Commit,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    pub durability: Durability,
    /// Address space reserved for the store; its file never grows beyond it.
    pub map_bytes: u64,
    /// Bytes of journal after which another checkpoint copy is taken (rule 32).
    pub checkpoint_bytes: u64,
}

const CHECKPOINT_BYTES_MIN: u64 = 16 << 20;

const DURABILITIES: [(&str, Durability); 2] =
    [("journal", Durability::Journal), ("commit", Durability::Commit)];

/// As the file writes it.
pub fn durability_word(durability: Durability) -> &'static str {
    DURABILITIES.iter().find(|(_, known)| *known == durability).map_or("", |(word, _)| word)
}

/// Only a checkpoint lets segments go: this many have to fit into the journal's quota, or it would be full before
/// the first.
const CHECKPOINTS_IN_QUOTA: u64 = 4;

/// `quota_bytes` is the journal's, of section `limits`.
pub(super) fn read(section: Section<'_>, quota_bytes: u64) -> Store {
    const GIB: u64 = 1 << 30;
    let checkpoint_max = quota_bytes / CHECKPOINTS_IN_QUOTA;
    let checkpoint = section.given_size("checkpoint_bytes", CHECKPOINT_BYTES_MIN..=1 << 40);
    if let Some(given) = checkpoint.as_ref().filter(|given| given.value > checkpoint_max) {
        section.problem(
            given.place,
            "bad-value",
            format!("'checkpoint_bytes' is more than a quarter of 'quota_bytes', {}", size_text(checkpoint_max)),
            "the journal would be full before a checkpoint lets go of its segments: lower it, or raise 'quota_bytes' in section 'limits'",
        );
    }
    let store = Store {
        durability: section
            .choice("durability", &DURABILITIES)
            .map_or(Durability::Journal, |given| given.value),
        map_bytes: section.size("map_bytes", 64 * GIB, 64 << 20..=16 << 40),
        checkpoint_bytes: checkpoint.map_or(GIB.min(checkpoint_max), |given| given.value),
    };
    section.end();
    store
}
