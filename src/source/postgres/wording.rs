//! What is said of blockers, and which table a name means.

use super::catalog::listing::{ListedTable, Resolved, resolve};
use super::transactions::Blocker;

/// Tables named as what was perhaps meant.
const SUGGESTIONS: usize = 3;

/// Whom a wait waits for, in one line.
pub(super) fn describe(blockers: &[Blocker]) -> String {
    match blockers {
        [] => "a transaction that is just ending".to_owned(),
        [first] => first.to_string(),
        [first, rest @ ..] => format!("{first}, and {} more", rest.len()),
    }
}

/// A table by the name that a projection file gives, or what it may have meant.
pub(super) fn lookup<'a>(listed: &'a [ListedTable], name: &str) -> Result<&'a ListedTable, Vec<String>> {
    if let Some((schema, bare)) = name.split_once('.')
        && let Some(table) = listed.iter().find(|table| table.schema == schema && table.name == bare)
    {
        return Ok(table);
    }
    match resolve(listed, name) {
        Resolved::One(table) => Ok(table),
        Resolved::Ambiguous(schemas) => {
            Err(schemas.iter().map(|schema| format!("{schema}.{name}")).collect())
        }
        Resolved::Missing => {
            let bare = name.rsplit('.').next().unwrap_or(name);
            let near = |table: &&ListedTable| table.name.contains(bare) || bare.contains(&table.name);
            let near = listed.iter().filter(near).take(SUGGESTIONS);
            Err(near.map(|table| format!("{}.{}", table.schema, table.name)).collect())
        }
    }
}
