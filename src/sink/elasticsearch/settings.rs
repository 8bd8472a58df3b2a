//! Settings of an index: ours, those of the configuration, and those that would hurt.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::sink::{Error, IndexSpec};

/// Deletes are remembered with their version this long (rule 37): a write that was held up by less than this
/// cannot bring a deleted document back (hazard 45).
const GC_DELETES_MIN: Duration = Duration::from_secs(3600);

/// Settings that change, hide or delete documents behind the daemon's back.
const HARMFUL: [&str; 6] = [
    "index.default_pipeline",
    "index.final_pipeline",
    "index.lifecycle.name",
    "index.plugins.index_state_management.policy_id",
    "index.opendistro.index_state_management.policy_id",
    "index.mapping.ignore_malformed",
];

/// Nested settings as dotted names, each with `index.` in front: all three ways of writing them mean the same.
pub(super) fn flatten(settings: &Value) -> Map<String, Value> {
    fn walk(prefix: &str, value: &Value, out: &mut Map<String, Value>) {
        match value {
            Value::Object(inner) => {
                for (name, value) in inner {
                    let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                    walk(&name, value, out);
                }
            }
            Value::Null if prefix.is_empty() => {}
            value => {
                let name =
                    if prefix.starts_with("index.") { prefix.to_owned() } else { format!("index.{prefix}") };
                out.insert(name, value.clone());
            }
        }
    }
    let mut flat = Map::new();
    walk("", settings, &mut flat);
    flat
}

/// The settings to create an index with. Shards and replicas only if the configuration names them: the
/// cluster's own defaults are its operator's choice.
pub(super) fn with_ours(configured: &Value) -> Value {
    let mut settings = Map::from_iter([("index.gc_deletes".to_owned(), json!("1h"))]);
    settings.extend(flatten(configured));
    Value::Object(settings)
}

/// Refuses a name that the cluster would not take, and configured settings that would hurt.
pub(super) fn validate(operation: &'static str, spec: &IndexSpec) -> Result<(), Error> {
    for name in [&spec.index, &spec.alias] {
        if !is_name(name) {
            return Err(refused(
                "index-name",
                operation,
                format!("'{name}' cannot be the name of an index"),
                "Use lower-case letters, digits, '-', '_' and '.', beginning with a letter or digit, up to 200 bytes",
            ));
        }
    }
    if spec.index == spec.alias {
        let reason = format!("index and alias have the same name '{}'", spec.index);
        return Err(refused("index-name", operation, reason, "Give the alias another name"));
    }
    harmless(operation, spec, &flatten(&spec.settings))
}

/// Refuses settings, configured or come in by an index template, under which the index would not hold what was
/// sent.
pub(super) fn harmless(
    operation: &'static str,
    spec: &IndexSpec,
    settings: &Map<String, Value>,
) -> Result<(), Error> {
    let hint = "Take it out of the projection's settings, or out of the index template that brings it in";
    for name in HARMFUL {
        let off = |value: &Value| matches!(value.as_str(), Some("_none" | "false" | "")) || value == false;
        if settings.get(name).is_some_and(|value| !value.is_null() && !off(value)) {
            let reason = format!("setting {name} of index '{}' changes or deletes documents", spec.index);
            return Err(refused("index-settings", operation, reason, hint));
        }
    }
    let gc_deletes = settings.get("index.gc_deletes").and_then(Value::as_str);
    if gc_deletes.is_some_and(|text| duration(text).is_none_or(|time| time < GC_DELETES_MIN)) {
        let reason = format!("setting index.gc_deletes of index '{}' is less than one hour", spec.index);
        return Err(refused("index-settings", operation, reason, hint));
    }
    Ok(())
}

/// [`harmless`], for the settings that an index has: without `gc_deletes` the cluster's minute is in force.
pub(super) fn harmless_now(
    operation: &'static str,
    spec: &IndexSpec,
    settings: &Map<String, Value>,
) -> Result<(), Error> {
    let minute = ("index.gc_deletes".to_owned(), json!("60s"));
    let in_force = Map::from_iter(std::iter::once(minute).chain(settings.clone()));
    harmless(operation, spec, &in_force)
}

fn refused(code: &'static str, operation: &'static str, reason: String, hint: &str) -> Error {
    Error::Refused { code, operation, reason, hint: hint.to_owned() }
}

/// The cluster's own limit is 255 bytes; generation and the write alias's ending need room.
fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    begins && name.len() <= 200 && name.chars().all(plain)
}

/// The cluster's time units: a whole number and `d`, `h`, `m`, `s` or `ms`.
fn duration(text: &str) -> Option<Duration> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let count: u64 = text[..at].parse().ok()?;
    let milliseconds = match &text[at..] {
        "d" => 86_400_000,
        "h" => 3_600_000,
        "m" => 60_000,
        "s" => 1_000,
        "ms" => 1,
        _ => return None,
    };
    Some(Duration::from_millis(count.checked_mul(milliseconds)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Generation;

    fn spec(settings: Value) -> IndexSpec {
        IndexSpec {
            projection: "orders".to_owned(),
            generation: Generation(1),
            index: "orders-7f3a-1".to_owned(),
            alias: "orders".to_owned(),
            mappings: json!({}),
            settings,
            journal_id: "j".to_owned(),
            definition: "d".to_owned(),
        }
    }

    #[test]
    fn settings_mean_the_same_however_they_are_written() {
        let expected = json!({ "index.gc_deletes": "1h", "index.number_of_replicas": 0 });
        for configured in [
            json!({ "number_of_replicas": 0 }),
            json!({ "index.number_of_replicas": 0 }),
            json!({ "index": { "number_of_replicas": 0 } }),
        ] {
            assert_eq!(with_ours(&configured), expected);
        }
        assert_eq!(with_ours(&Value::Null), json!({ "index.gc_deletes": "1h" }));
        assert_eq!(with_ours(&json!({ "gc_deletes": "2d" })), json!({ "index.gc_deletes": "2d" }));
    }

    #[test]
    fn settings_that_would_lose_documents_are_refused() {
        let check = |settings: Value, accepted: bool| {
            assert_eq!(validate("test", &spec(settings.clone())).is_ok(), accepted, "{settings}");
        };
        check(json!({}), true);
        check(Value::Null, true);
        check(json!({ "gc_deletes": "1h" }), true);
        check(json!({ "gc_deletes": "60m" }), true);
        check(json!({ "gc_deletes": "59m" }), false);
        check(json!({ "index": { "gc_deletes": "-1" } }), false);
        check(json!({ "gc_deletes": "99999999999999999999d" }), false);
        check(json!({ "default_pipeline": "_none" }), true);
        check(json!({ "default_pipeline": "mine" }), false);
        check(json!({ "index.lifecycle": { "name": "thirty-days" } }), false);
        check(json!({ "mapping": { "ignore_malformed": true } }), false);
        check(json!({ "mapping": { "ignore_malformed": false } }), true);
    }

    #[test]
    fn names_that_the_cluster_would_refuse_are_refused_here() {
        let long = "x".repeat(201);
        for name in ["", "Orders", "-orders", ".orders", "or/ders", "or*ders", "ordérs", "orders x", &long] {
            let spec = IndexSpec { index: name.to_owned(), ..spec(json!({})) };
            assert!(validate("test", &spec).is_err(), "{name}");
        }
        let same = IndexSpec { alias: "orders-7f3a-1".to_owned(), ..spec(json!({})) };
        assert!(validate("test", &same).is_err());
    }
}
