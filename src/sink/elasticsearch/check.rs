//! Everything that can be wrong with the cluster for these indices, told at once; changes nothing.
//!
//! What can only be learnt by changing something (a quota on shards, a mapping that is refused) comes to light
//! when the index is prepared.

use std::collections::BTreeMap;

use elasticsearch::http::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::bulk::write_alias;
use super::client::{Client, Content};
use super::index::{accept, bytes, describe, parse};
use super::{alias, cluster, settings};
use crate::sink::{Error, IndexSpec};

/// Acknowledged writes may be lost when the cluster crashes (rule 39): a warning, not a reason to stop.
pub const NOT_DURABLE: &str = "sink-not-durable";

const OPERATION: &str = "check the sink";

pub(super) async fn check(client: &Client, indices: &[IndexSpec]) -> Vec<Error> {
    // Without an answer, or with one of another product, all else would be the same problem once more.
    if let Err(error) = cluster::detect(client).await {
        return vec![error];
    }
    let mut problems = Vec::new();
    let mut note = |result: Result<(), Error>| problems.extend(result.err());
    note(blocks(client).await);
    note(rights(client, indices).await);
    for spec in indices {
        let named = settings::validate(OPERATION, spec);
        let asked = named.is_ok();
        note(named);
        if asked {
            note(alias::targets(client, OPERATION, spec).await.map(drop));
            note(index(client, spec).await);
        }
    }
    // One missing right or one lost connection is one problem, however many calls it spoils.
    let mut seen = std::collections::BTreeSet::new();
    problems.retain(|problem| seen.insert(problem.to_string()));
    problems
}

async fn index(client: &Client, spec: &IndexSpec) -> Result<(), Error> {
    let found = describe(client, OPERATION, &spec.index).await?;
    let Some(found) = found.first() else {
        return durable(spec, &settings::flatten(&spec.settings));
    };
    found.recognise(OPERATION, spec)?;
    settings::harmless_now(OPERATION, spec, &found.settings)?;
    let blocked = |name: &&str| found.settings.get(*name).is_some_and(|value| value == "true");
    if let Some(name) = ["index.blocks.write", "index.blocks.read_only"].iter().find(|name| blocked(name)) {
        return Err(Error::Refused {
            code: "index-settings",
            operation: OPERATION,
            reason: format!("setting {name} forbids writing to '{}'", spec.index),
            hint: "Remove the block".to_owned(),
        });
    }
    durable(spec, &found.settings)
}

fn durable(spec: &IndexSpec, settings: &Map<String, Value>) -> Result<(), Error> {
    match settings.get("index.translog.durability").and_then(Value::as_str) {
        Some("async") => Err(Error::Refused {
            code: NOT_DURABLE,
            operation: OPERATION,
            reason: format!("'{}' has index.translog.durability = async", spec.index),
            hint: "Set it to request, or accept that a crash of the cluster loses acknowledged documents"
                .to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Blocks that an operator put on the whole cluster.
async fn blocks(client: &Client) -> Result<(), Error> {
    let path = "/_cluster/settings?flat_settings=true";
    let answer = match client.call(OPERATION, Method::Get, path, Content::Json, None).await {
        // Hosted clusters keep this from their users; then nobody here could have set a block.
        Err(Error::Refused { code: "sink-forbidden", .. }) => return Ok(()),
        other => other?,
    };
    if !answer.succeeded() {
        return Ok(());
    }
    let levels: BTreeMap<String, Map<String, Value>> = parse(OPERATION, &answer.body)?;
    for name in ["cluster.blocks.read_only", "cluster.blocks.read_only_allow_delete"] {
        if levels.values().any(|settings| settings.get(name).is_some_and(|value| value == "true")) {
            return Err(Error::Refused {
                code: "sink-read-only",
                operation: OPERATION,
                reason: format!("the cluster is read-only ({name})"),
                hint: format!("Set {name} to null when the cluster may be written again"),
            });
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct Rights {
    #[serde(default)]
    index: BTreeMap<String, BTreeMap<String, bool>>,
}

/// Asks what the credentials may do. The question exists only where Elasticsearch's own security is on.
async fn rights(client: &Client, indices: &[IndexSpec]) -> Result<(), Error> {
    let names: Vec<String> = indices
        .iter()
        .flat_map(|spec| [spec.alias.clone(), spec.index.clone(), write_alias(&spec.index)])
        .collect();
    if names.is_empty() {
        return Ok(());
    }
    let question =
        json!({ "index": [{ "names": names, "privileges": ["manage", "read", "index", "delete"] }] });
    let path = "/_security/user/_has_privileges";
    let answer = client.call(OPERATION, Method::Post, path, Content::Json, Some(bytes(&question))).await?;
    if matches!(answer.status, 400 | 404 | 405) {
        return Ok(());
    }
    let rights: Rights = parse(OPERATION, &accept(OPERATION, answer)?)?;
    let missing: Vec<String> = rights
        .index
        .iter()
        .flat_map(|(name, rights)| {
            rights.iter().filter(|(_, held)| !**held).map(move |(right, _)| format!("{right} on '{name}'"))
        })
        .collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Error::Refused {
            code: "sink-forbidden",
            operation: OPERATION,
            reason: format!("the credentials lack {}", missing.join(", ")),
            hint: "Give the role manage, read, index and delete on these names; a pattern such as 'orders*' covers \
                   alias and indices"
                .to_owned(),
        }),
    }
}
