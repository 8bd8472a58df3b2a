//! A stored key as the texts that a SELECT asks for.

use crate::model::Table;

/// The texts of a key's columns.
pub(super) fn key_texts(table: &Table, key: &[u8]) -> Option<Vec<String>> {
    let mut rest = key;
    let mut texts = Vec::with_capacity(table.key.len());
    for name in &table.key {
        let class = crate::model::KeyClass::of(&table.column(name)?.1.kind)?;
        let (text, after) = class.decode(rest).ok()?;
        texts.push(text);
        rest = after;
    }
    Some(texts)
}
