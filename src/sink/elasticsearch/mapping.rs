//! What to do about a field type that this cluster does not know.
//!
//! Mappings are made for a full Elasticsearch. Lean builds and OpenSearch lack some types; only when the
//! cluster itself says that it does not know one is it replaced by the nearest that every build knows. What is
//! found then may be less exact; what is stored in `_source` never is.

use serde_json::{Map, Value, json};
use tracing::warn;

/// The nearest type, with the words for the log.
fn nearest(kind: &str) -> Option<(Value, &'static str)> {
    Some(match kind {
        "scaled_float" => (json!({ "type": "double" }), "double; sums and equality are less exact"),
        // Without `enabled: false` every key of a json column would become a field.
        "flattened" | "flat_object" => {
            (json!({ "type": "object", "enabled": false }), "an object that is stored but not indexed")
        }
        "match_only_text" => (json!({ "type": "text" }), "text"),
        "wildcard" => (
            json!({ "type": "keyword", "ignore_above": 8191 }),
            "keyword; terms above 8191 characters are not found",
        ),
        _ => return None,
    })
}

/// Replaces the type that the cluster's refusal names as unknown. False when it names none, or one without
/// substitute.
pub(super) fn fall_back(mappings: &mut Value, refusal: &str) -> bool {
    let Some(kind) = unknown_type(refusal).map(str::to_owned) else { return false };
    let Some((substitute, words)) = nearest(&kind) else { return false };
    let replaced = replace(mappings, &kind, &substitute);
    if replaced > 0 {
        warn!("the cluster does not know the type {kind}: {replaced} field(s) become {words}");
    }
    replaced > 0
}

/// `No handler for type [T] declared on field [F]` (7.17, OpenSearch); since 8 `The mapper type [T] declared
/// on field [F] does not exist`.
fn unknown_type(refusal: &str) -> Option<&str> {
    ["No handler for type [", "The mapper type ["].iter().find_map(|words| {
        let (_, rest) = refusal.split_once(words)?;
        let (kind, rest) = rest.split_once(']')?;
        rest.starts_with(" declared on field").then_some(kind)
    })
}

/// Depth is bounded: the projection's own reader and serde_json limit it.
fn replace(node: &mut Value, kind: &str, substitute: &Value) -> usize {
    let mut replaced = 0;
    for group in ["properties", "fields"] {
        let Some(fields) = node.get_mut(group).and_then(Value::as_object_mut) else { continue };
        for field in fields.values_mut() {
            if field.get("type").is_some_and(|own| own == kind) {
                // Parameters of the old type would be refused by the new one.
                *field = keep_common(field, substitute);
                replaced += 1;
            }
            replaced += replace(field, kind, substitute);
        }
    }
    replaced
}

fn keep_common(field: &Value, substitute: &Value) -> Value {
    let mut kept: Map<String, Value> = substitute.as_object().cloned().unwrap_or_default();
    if kept.get("type").is_some_and(|kind| kind != "object") {
        for name in ["fields", "copy_to", "meta"] {
            if let Some(value) = field.get(name) {
                kept.insert(name.to_owned(), value.clone());
            }
        }
    }
    Value::Object(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_type_is_replaced_everywhere_and_nothing_else_is_touched() {
        let mut mappings = json!({ "dynamic": "strict", "properties": {
            "total": { "type": "scaled_float", "scaling_factor": 100 },
            "items": { "type": "nested", "properties": { "price": { "type": "scaled_float", "scaling_factor": 100 } } },
            "name": { "type": "keyword", "fields": { "n": { "type": "scaled_float", "scaling_factor": 10 } } },
            "type": { "type": "keyword" },
        } });
        let refusal = "Failed to parse mapping: The mapper type [scaled_float] declared on field [total] does not exist.";
        assert!(fall_back(&mut mappings, refusal));
        let expected = json!({ "dynamic": "strict", "properties": {
            "total": { "type": "double" },
            "items": { "type": "nested", "properties": { "price": { "type": "double" } } },
            "name": { "type": "keyword", "fields": { "n": { "type": "double" } } },
            "type": { "type": "keyword" },
        } });
        assert_eq!(mappings, expected);
        assert!(!fall_back(&mut mappings, refusal), "nothing is left to replace");
    }

    #[test]
    fn only_a_refusal_that_names_an_unknown_type_is_acted_on() {
        let check =
            |refusal: &str, expected: Option<&str>| assert_eq!(unknown_type(refusal), expected, "{refusal}");
        check("No handler for type [flattened] declared on field [a]", Some("flattened"));
        check("The mapper type [wildcard] declared on field [a] does not exist. It might", Some("wildcard"));
        check("Field [scaling_factor] is required for type [scaled_float]", None);
        check("The mapper type [wild", None);
        check("", None);
    }
}
