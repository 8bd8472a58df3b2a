//! What DDL leaves behind in the catalog although the stream says nothing of it (hazards 28, 30-33).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The traces of one relation as they were before its rows were read: of a plain table, of a partitioned
/// one, or of a leaf. Taken again later and compared, they say whether its stored rows may be believed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    pub oid: u32,
    /// Another one after every rewrite by ALTER TABLE: the oid of the TOAST table, which TRUNCATE and VACUUM
    /// FULL leave alone; where there is none, `relfilenode`, which they do not.
    pub storage: u32,
    /// Which catalog rows describe the columns: others after any ALTER of one.
    pub columns: String,
    /// How a leaf hangs under its root: other words after it was detached and attached. Empty for the others.
    pub path: String,
    /// The publication's own catalog row: another one after it published less for a while, or otherwise.
    pub publication: String,
    /// What the gate judges, membership in the publication included.
    pub standing: String,
    /// What the texts of values depend on beside the values: labels of enums, attributes of composites.
    pub types: BTreeMap<String, String>,
}

impl Trace {
    /// Whether stored rows may be other ones now, or have other texts, without a message that said so.
    ///
    /// New storage alone says nothing of a plain table: no rewrite changes what it holds but together with
    /// its columns. Of a leaf it does: SET UNLOGGED and SET LOGGED, which PostgreSQL allows there although its
    /// root is published, hide every change between them and leave no other trace.
    pub fn is_rewritten(&self, now: &Trace) -> bool {
        let storage = self.storage != now.storage && (self.columns != now.columns || !now.path.is_empty());
        // A label more changes no row.
        let types = self.types.iter().any(|(name, text)| now.types.get(name) != Some(text));
        storage || types || self.path != now.path || self.publication != now.publication
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace() -> Trace {
        Trace { oid: 7, storage: 1, columns: "a".to_owned(), ..Trace::default() }
    }

    #[test]
    fn new_storage_is_a_rewrite_only_with_altered_columns_or_in_a_leaf() {
        let moved = Trace { storage: 2, ..trace() };
        let altered = Trace { columns: "b".to_owned(), ..trace() };
        assert!(!trace().is_rewritten(&trace()));
        assert!(!trace().is_rewritten(&moved));
        assert!(!trace().is_rewritten(&altered));
        assert!(trace().is_rewritten(&Trace { storage: 2, ..altered }));
        let leaf = |trace: Trace| Trace { path: "p".to_owned(), ..trace };
        assert!(leaf(trace()).is_rewritten(&leaf(moved)));
        assert!(leaf(trace()).is_rewritten(&Trace { path: "q".to_owned(), ..trace() }));
    }

    #[test]
    fn a_label_more_is_no_rewrite_and_another_label_is() {
        let with = |labels: &[(&str, &str)]| Trace {
            types: labels.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect(),
            ..trace()
        };
        let before = with(&[("1", "new")]);
        assert!(!before.is_rewritten(&with(&[("1", "new"), ("2", "old")])));
        assert!(before.is_rewritten(&with(&[("1", "fresh")])));
        assert!(before.is_rewritten(&with(&[])));
    }
}
