//! Section `store`: the row store.

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

const DURABILITIES: [(&str, Durability); 2] =
    [("journal", Durability::Journal), ("commit", Durability::Commit)];

/// As the file writes it.
pub fn durability_word(durability: Durability) -> &'static str {
    DURABILITIES.iter().find(|(_, known)| *known == durability).map_or("", |(word, _)| word)
}

pub(super) fn read(section: Section<'_>) -> Store {
    const GIB: u64 = 1 << 30;
    let store = Store {
        durability: section
            .choice("durability", &DURABILITIES)
            .map_or(Durability::Journal, |given| given.value),
        map_bytes: section.size("map_bytes", 64 * GIB, 64 << 20..=16 << 40),
        checkpoint_bytes: section.size("checkpoint_bytes", GIB, 16 << 20..=1 << 40),
    };
    section.end();
    store
}
