//! Entry numbers, epochs, versions and generations: the daemon's own order of things.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The number of an entry in the journal: 1, 2, 3, … without gaps. One number orders everything.
///
/// At most [`EntryNo::MAX`]: 43 bits, 278 years at 1,000 entries a second, because it shares a 63-bit
/// version with the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EntryNo(pub u64);

impl EntryNo {
    /// Before the first entry.
    pub const ZERO: EntryNo = EntryNo(0);
    /// The largest number a version has room for.
    pub const MAX: EntryNo = EntryNo((1 << 43) - 1);

    /// The number after this one.
    pub fn next(self) -> EntryNo {
        EntryNo(self.0 + 1)
    }

    /// The number before this one; [`EntryNo::ZERO`] stays.
    pub fn previous(self) -> EntryNo {
        EntryNo(self.0.saturating_sub(1))
    }
}

impl fmt::Display for EntryNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One per start of the daemon (rule 35): every start takes a larger one than any index has seen.
/// 20 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u32);

impl Epoch {
    /// The largest epoch a version has room for.
    pub const MAX: Epoch = Epoch((1 << 20) - 1);
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The external version of a document: epoch, then the entry number of the view it was assembled from.
/// Always a positive signed 64-bit number, as Elasticsearch demands of external versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u64);

impl Version {
    /// Joins the two parts. Both are within their limits by construction: the journal refuses to number
    /// beyond [`EntryNo::MAX`], a start refuses an epoch beyond [`Epoch::MAX`].
    pub fn new(epoch: Epoch, entry: EntryNo) -> Version {
        debug_assert!(epoch <= Epoch::MAX && entry <= EntryNo::MAX);
        Version(u64::from(epoch.0) << 43 | entry.0)
    }

    pub fn epoch(self) -> Epoch {
        Epoch((self.0 >> 43) as u32)
    }

    pub fn entry(self) -> EntryNo {
        EntryNo(self.0 & EntryNo::MAX.0)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One build of one projection's index: a new mapping or a backfill from scratch makes a new one.
/// Numbers are never used again within one journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u16);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_keeps_both_parts_and_orders_by_epoch_first() {
        let old = Version::new(Epoch(3), EntryNo::MAX);
        let new = Version::new(Epoch(4), EntryNo(1));
        assert!(new > old);
        assert_eq!((old.epoch(), old.entry()), (Epoch(3), EntryNo::MAX));
        assert!(i64::try_from(Version::new(Epoch::MAX, EntryNo::MAX).0).is_ok());
    }
}
