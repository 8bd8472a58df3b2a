//! The alias that clients read: led to a new index in one atomic call, never taken from somebody else; and the
//! old indices behind it, removed when nobody needs them.

use elasticsearch::http::Method;
use serde_json::{Value, json};

use super::client::{Client, Content};
use super::index::{Found, accept, change_aliases, describe, encoded};
use crate::sink::{Error, IndexSpec};

/// What the alias leads to; refused when that is not ours to move.
pub(super) async fn targets(
    client: &Client,
    operation: &'static str,
    spec: &IndexSpec,
) -> Result<Vec<Found>, Error> {
    let targets = describe(client, operation, &spec.alias).await?;
    for target in &targets {
        let foreign =
            |reason: String, hint: String| Error::Refused { code: "alias-foreign", operation, reason, hint };
        if target.name == spec.alias {
            return Err(foreign(
                format!("'{}' is an index, so it cannot be an alias", spec.alias),
                "Give the projection another index name, or delete that index".to_owned(),
            ));
        }
        let ours = target.meta.as_ref().is_some_and(|meta| meta.is_sibling(spec));
        // A data stream leads to indices that do not know the name.
        if !ours || !target.aliases.contains_key(&spec.alias) {
            return Err(foreign(
                format!("'{}' leads to '{}', which is not this daemon's", spec.alias, target.name),
                format!("Remove the alias from '{}', or give the projection another index name", target.name),
            ));
        }
    }
    Ok(targets)
}

pub(super) async fn publish(client: &Client, spec: &IndexSpec) -> Result<(), Error> {
    const OPERATION: &str = "lead the alias to the index";
    let targets = targets(client, OPERATION, spec).await?;
    let leads_here = |target: &Found| {
        let writes = target.aliases.get(&spec.alias).and_then(|alias| alias.get("is_write_index"));
        target.name == spec.index && writes == Some(&Value::Bool(true))
    };
    if let [target] = targets.as_slice()
        && leads_here(target)
    {
        return Ok(());
    }
    let own = describe(client, OPERATION, &spec.index).await?;
    match own.first() {
        Some(found) => found.recognise(OPERATION, spec)?,
        None => {
            let reason = format!("index '{}' is gone", spec.index);
            return Err(Error::Retry { operation: OPERATION, reason });
        }
    };
    // `must_exist`: if the alias moved since we looked, the whole call fails instead of half of it being true.
    let mut actions: Vec<Value> = targets
        .iter()
        .filter(|target| target.name != spec.index)
        .map(|target| json!({ "remove": { "index": target.name, "alias": spec.alias, "must_exist": true } }))
        .collect();
    actions.push(json!({ "add": { "index": spec.index, "alias": spec.alias, "is_write_index": true } }));
    change_aliases(client, OPERATION, actions).await
}

pub(super) async fn prune(client: &Client, spec: &IndexSpec, keep: u16) -> Result<Vec<String>, Error> {
    const OPERATION: &str = "delete old indices";
    let oldest_kept = spec.generation.0.saturating_sub(keep);
    let mut removed = Vec::new();
    for found in describe(client, OPERATION, &format!("{}-*", spec.alias)).await? {
        let ours = found.meta.as_ref().filter(|meta| meta.is_sibling(spec));
        let old = ours.is_some_and(|meta| meta.generation < oldest_kept);
        if !old || found.name == spec.index || found.aliases.contains_key(&spec.alias) {
            continue;
        }
        let path = format!("/{}", encoded(&found.name));
        let answer = client.call(OPERATION, Method::Delete, &path, Content::Json, None).await?;
        if answer.status != 404 {
            accept(OPERATION, answer)?;
        }
        removed.push(found.name);
    }
    removed.sort();
    Ok(removed)
}
