//! The life of one index: created, recognised, claimed, looked at.
//!
//! Whose an index is, is written in its mapping's `_meta` (rule 34); names prove nothing. An index that is not
//! ours is never written, emptied or deleted: the call is refused with what differs.

use bytes::Bytes;
use elasticsearch::http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::bulk::write_alias;
use super::client::{Answer, Client, Content};
use super::{mapping, reason, settings};
use crate::model::Epoch;
use crate::sink::{Error, IndexSpec, PreparedIndex};

/// Layout of `_meta`; a larger one was written by a later version of the daemon.
const FORMAT: u32 = 1;
/// Two starts may create the same index at once: the loser looks again.
const CREATE_TRIES_MAX: u32 = 3;

/// `_meta.projectord`: whose the index is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meta {
    pub format: u32,
    pub journal_id: String,
    pub projection: String,
    pub generation: u16,
    pub definition: String,
    pub epoch: Epoch,
}

impl Meta {
    fn new(spec: &IndexSpec, epoch: Epoch) -> Meta {
        Meta {
            format: FORMAT,
            journal_id: spec.journal_id.clone(),
            projection: spec.projection.clone(),
            generation: spec.generation.0,
            definition: spec.definition.clone(),
            epoch,
        }
    }

    /// Of this journal and projection, whatever generation.
    pub fn is_sibling(&self, spec: &IndexSpec) -> bool {
        self.journal_id == spec.journal_id && self.projection == spec.projection
    }
}

/// An index as the cluster describes it.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub name: String,
    pub uuid: String,
    pub durable: bool,
    pub aliases: Map<String, Value>,
    pub meta: Option<Meta>,
    /// `_meta` whole: what others keep there survives our writing.
    meta_whole: Map<String, Value>,
    pub settings: Map<String, Value>,
}

impl Found {
    fn read(name: &str, described: &Value) -> Option<Found> {
        let map = |pointer: &str| {
            described.pointer(pointer).and_then(Value::as_object).cloned().unwrap_or_default()
        };
        let settings = settings::flatten(described.get("settings").unwrap_or(&Value::Null));
        let meta_whole = map("/mappings/_meta");
        Some(Found {
            name: name.to_owned(),
            uuid: settings.get("index.uuid")?.as_str()?.to_owned(),
            durable: settings.get("index.translog.durability").is_none_or(|durability| durability != "async"),
            aliases: map("/aliases"),
            meta: meta_whole.get("projectord").and_then(|meta| Meta::deserialize(meta).ok()),
            meta_whole,
            settings,
        })
    }

    fn prepared(&self, created: bool) -> PreparedIndex {
        let epoch = self.meta.as_ref().map_or(Epoch(0), |meta| meta.epoch);
        PreparedIndex { uuid: self.uuid.clone(), epoch, created, durable: self.durable }
    }

    /// Refuses what was not made by this journal from this definition.
    pub fn recognise(&self, operation: &'static str, spec: &IndexSpec) -> Result<&Meta, Error> {
        let foreign = |what: &str| Error::Refused {
            code: "index-foreign",
            operation,
            reason: format!("index '{}' exists and is not this daemon's: {what}", spec.index),
            hint: format!(
                "Delete it if nobody needs it (DELETE /{}), or give the projection another index",
                spec.index
            ),
        };
        if self.name != spec.index {
            return Err(foreign(&format!("the name is an alias that leads to '{}'", self.name)));
        }
        let meta = self.meta.as_ref().ok_or_else(|| foreign("its _meta does not name projectord"))?;
        if meta.format > FORMAT {
            return Err(foreign("a later version of projectord made it"));
        }
        let own = Meta { epoch: meta.epoch, format: meta.format, ..Meta::new(spec, meta.epoch) };
        for (what, differs) in [
            ("another journal feeds it", meta.journal_id != own.journal_id),
            ("it belongs to another projection", meta.projection != own.projection),
            ("it is another generation", meta.generation != own.generation),
            ("it was made from another definition", meta.definition != own.definition),
        ] {
            if differs {
                return Err(foreign(what));
            }
        }
        Ok(meta)
    }
}

/// The indices that a name, an alias or a pattern leads to; none when there is nothing of that name.
pub(super) async fn describe(
    client: &Client,
    operation: &'static str,
    name: &str,
) -> Result<Vec<Found>, Error> {
    let path = format!(
        "/{}?expand_wildcards=all&filter_path=*.aliases,*.mappings._meta,*.settings.index",
        encoded(name)
    );
    let answer = client.call(operation, Method::Get, &path, Content::Json, None).await?;
    if answer.status == 404 {
        return Ok(Vec::new());
    }
    let described: Map<String, Value> = parse(operation, &accept(operation, answer)?)?;
    // Without settings it is no index: nothing that can be said about it.
    Ok(described.iter().filter_map(|(name, described)| Found::read(name, described)).collect())
}

async fn describe_one(
    client: &Client,
    operation: &'static str,
    spec: &IndexSpec,
) -> Result<Option<Found>, Error> {
    Ok(describe(client, operation, &spec.index).await?.into_iter().next())
}

pub(super) async fn prepare(client: &Client, spec: &IndexSpec) -> Result<PreparedIndex, Error> {
    const OPERATION: &str = "prepare the index";
    settings::validate(OPERATION, spec)?;
    let mut created = false;
    for _ in 0..CREATE_TRIES_MAX {
        let Some(found) = describe_one(client, OPERATION, spec).await? else {
            created |= create(client, OPERATION, spec).await?;
            continue;
        };
        found.recognise(OPERATION, spec)?;
        settings::harmless_now(OPERATION, spec, &found.settings)?;
        ensure_write_alias(client, OPERATION, spec, &found).await?;
        return Ok(found.prepared(created));
    }
    Err(Error::Retry { operation: OPERATION, reason: format!("index '{}' comes and goes", spec.index) })
}

/// False when somebody else was faster.
async fn create(client: &Client, operation: &'static str, spec: &IndexSpec) -> Result<bool, Error> {
    let mut mappings = spec.mappings.clone();
    loop {
        let mut whole = mappings.as_object().cloned().unwrap_or_default();
        whole.insert("_meta".to_owned(), json!({ "projectord": Meta::new(spec, Epoch(0)) }));
        let body = json!({
            "settings": settings::with_ours(&spec.settings),
            "mappings": whole,
            "aliases": { write_alias(&spec.index): { "is_hidden": true } },
        });
        let path = format!("/{}", encoded(&spec.index));
        let answer = client.call(operation, Method::Put, &path, Content::Json, Some(bytes(&body))).await?;
        if answer.succeeded() {
            return Ok(true);
        }
        let trouble = answer.trouble();
        if trouble.kind == "resource_already_exists_exception" {
            return Ok(false);
        }
        // Each round takes one type away, so this ends.
        if mapping::fall_back(&mut mappings, &trouble.reason) {
            continue;
        }
        return Err(Error::Refused {
            code: "index-mapping",
            operation,
            reason: format!(
                "the cluster does not create index '{}': {}: {}",
                spec.index,
                reason::code(&trouble.kind),
                reason::administrative(&trouble.reason)
            ),
            hint: "Change the types or the settings in the projection's file".to_owned(),
        });
    }
}

/// A restored snapshot, or a hand that cleaned up, may have lost it.
async fn ensure_write_alias(
    client: &Client,
    operation: &'static str,
    spec: &IndexSpec,
    found: &Found,
) -> Result<(), Error> {
    let alias = write_alias(&spec.index);
    let leads_to = describe(client, operation, &alias).await?;
    if let Some(other) = leads_to.iter().find(|other| other.name != spec.index) {
        return Err(Error::Refused {
            code: "alias-foreign",
            operation,
            reason: format!(
                "'{alias}' is kept for writing to '{}' and leads to '{}'",
                spec.index, other.name
            ),
            hint: format!("Remove it from '{}'", other.name),
        });
    }
    if found.aliases.contains_key(&alias) {
        return Ok(());
    }
    let add = json!({ "add": { "index": spec.index, "alias": alias, "is_hidden": true } });
    change_aliases(client, operation, vec![add]).await
}

pub(super) async fn change_aliases(
    client: &Client,
    operation: &'static str,
    actions: Vec<Value>,
) -> Result<(), Error> {
    let body = bytes(&json!({ "actions": actions }));
    let answer = client.call(operation, Method::Post, "/_aliases", Content::Json, Some(body)).await?;
    // Not there any more: somebody changed the alias since we looked. The next try looks again.
    if answer.status == 404 {
        let reason = "the alias changed meanwhile".to_owned();
        return Err(Error::Retry { operation, reason });
    }
    acknowledged(operation, answer)
}

pub(super) async fn claim(client: &Client, spec: &IndexSpec, epoch: Epoch) -> Result<(), Error> {
    const OPERATION: &str = "claim the index";
    let gone = || Error::Retry { operation: OPERATION, reason: format!("index '{}' is gone", spec.index) };
    let found = describe_one(client, OPERATION, spec).await?.ok_or_else(gone)?;
    let held = found.recognise(OPERATION, spec)?.epoch;
    if held > epoch {
        return Err(overtaken(OPERATION, spec, held, epoch));
    }
    if found.meta.as_ref() == Some(&Meta::new(spec, epoch)) {
        return Ok(()); // connected again: nothing to change in the cluster's state
    }
    // put_mapping replaces `_meta` whole.
    let mut meta = found.meta_whole.clone();
    meta.insert("projectord".to_owned(), json!(Meta::new(spec, epoch)));
    let path = format!("/{}/_mapping", encoded(&spec.index));
    let body = bytes(&json!({ "_meta": meta }));
    let answer = client.call(OPERATION, Method::Put, &path, Content::Json, Some(body)).await?;
    acknowledged(OPERATION, answer)?;
    let found = describe_one(client, OPERATION, spec).await?.ok_or_else(gone)?;
    match found.recognise(OPERATION, spec)?.epoch {
        held if held == epoch => Ok(()),
        held => Err(overtaken(OPERATION, spec, held, epoch)),
    }
}

fn overtaken(operation: &'static str, spec: &IndexSpec, held: Epoch, epoch: Epoch) -> Error {
    Error::Refused {
        code: "sink-epoch",
        operation,
        reason: format!("index '{}' was claimed by epoch {held}, this start is epoch {epoch}", spec.index),
        hint: "Stop the other daemon that writes this index, then start again".to_owned(),
    }
}

/// Also refuses when the write alias is gone: sending would find no index, again and again.
pub(super) async fn look(client: &Client, spec: &IndexSpec) -> Result<Option<PreparedIndex>, Error> {
    const OPERATION: &str = "look at the index";
    let Some(found) = describe_one(client, OPERATION, spec).await? else { return Ok(None) };
    let alias = write_alias(&spec.index);
    let ours = found.meta.as_ref().is_some_and(|meta| meta.is_sibling(spec));
    if ours && !found.aliases.contains_key(&alias) {
        return Err(Error::Refused {
            code: "alias-foreign",
            operation: OPERATION,
            reason: format!("somebody removed the alias '{alias}', through which the index is written"),
            hint: "Start the daemon again: it puts the alias back".to_owned(),
        });
    }
    Ok(Some(found.prepared(false)))
}

pub(super) async fn refresh(client: &Client, spec: &IndexSpec) -> Result<(), Error> {
    const OPERATION: &str = "refresh the index";
    let path = format!("/{}/_refresh?filter_path=_shards.failed", encoded(&spec.index));
    let answer = client.call(OPERATION, Method::Post, &path, Content::Json, None).await?;
    accept(OPERATION, answer).map(drop)
}

/// Success, or what the cluster said against it. Unlike a bulk answer, these texts hold no rows.
pub(super) fn accept(operation: &'static str, answer: Answer) -> Result<Bytes, Error> {
    if answer.succeeded() {
        return Ok(answer.body);
    }
    let trouble = answer.trouble();
    let reason = format!(
        "status {}, {}: {}",
        answer.status,
        reason::code(&trouble.kind),
        reason::administrative(&trouble.reason)
    );
    Err(Error::Retry { operation, reason })
}

/// A change that the master has taken but not every node (its own time limit) may not be read back yet.
fn acknowledged(operation: &'static str, answer: Answer) -> Result<(), Error> {
    let body: Value = parse(operation, &accept(operation, answer)?)?;
    match body.get("acknowledged") {
        Some(Value::Bool(true)) => Ok(()),
        _ => Err(Error::Retry { operation, reason: "not all nodes have taken the change yet".to_owned() }),
    }
}

pub(super) fn parse<T: serde::de::DeserializeOwned>(
    operation: &'static str,
    body: &[u8],
) -> Result<T, Error> {
    serde_json::from_slice(body)
        .map_err(|_| Error::Retry { operation, reason: "the answer cannot be read".to_owned() })
}

pub(super) fn bytes(body: &Value) -> Bytes {
    Bytes::from(body.to_string())
}

/// A name as part of a path; `*` stays, for patterns.
pub(super) fn encoded(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'*' => {
                encoded.push(byte as char)
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
