//! Which cluster this is: Elasticsearch or OpenSearch, and its version.

use elasticsearch::http::Method;
use serde_json::Value;

use super::client::{Client, Content};
use crate::sink::Error;

const OPERATION: &str = "ask the cluster for its version";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    Elasticsearch,
    OpenSearch,
}

/// What answers at the addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cluster {
    pub flavour: Flavour,
    pub major: u16,
    pub minor: u16,
}

/// Asks `GET /`; some builds and some proxies refuse that, and then the node that answers is asked about itself.
pub(super) async fn detect(client: &Client) -> Result<Cluster, Error> {
    let answer = client.call(OPERATION, Method::Get, "/", Content::Json, None).await?;
    if let (true, Some(root)) = (answer.succeeded(), version_of_root(&answer.body)) {
        return supported(root.0, &root.1);
    }
    let path = "/_nodes/_local?filter_path=nodes.*.version";
    let answer = client.call(OPERATION, Method::Get, path, Content::Json, None).await?;
    match version_of_node(&answer.body) {
        Some(version) if answer.succeeded() => supported(None, &version),
        _ => Err(unsupported(format!(
            "what answers is neither Elasticsearch nor OpenSearch (status {})",
            answer.status
        ))),
    }
}

fn version_of_root(body: &[u8]) -> Option<(Option<Flavour>, String)> {
    let root: Value = serde_json::from_slice(body).ok()?;
    let number = root.pointer("/version/number")?.as_str()?.to_owned();
    let flavour = match root.pointer("/version/distribution").and_then(Value::as_str) {
        Some("opensearch") => Flavour::OpenSearch,
        _ => Flavour::Elasticsearch,
    };
    Some((Some(flavour), number))
}

fn version_of_node(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let node = answer.get("nodes")?.as_object()?.values().next()?;
    Some(node.get("version")?.as_str()?.to_owned())
}

/// Elasticsearch from 7.17 to 9, OpenSearch from 2 on. A node that did not name its distribution is told
/// apart by its number: nobody runs Elasticsearch 2 to 4 any more, and OpenSearch has not come to 7.
fn supported(flavour: Option<Flavour>, number: &str) -> Result<Cluster, Error> {
    let mut parts = number.split(['.', '-']).map(|part| part.parse::<u16>().ok());
    let (Some(Some(major)), Some(Some(minor))) = (parts.next(), parts.next()) else {
        return Err(unsupported("its version cannot be read".to_owned()));
    };
    let guess = if major < 5 { Flavour::OpenSearch } else { Flavour::Elasticsearch };
    let flavour = flavour.unwrap_or(guess);
    let fits = match flavour {
        Flavour::Elasticsearch => (7, 17) <= (major, minor) && major < 10,
        Flavour::OpenSearch => major >= 2,
    };
    match fits {
        true => Ok(Cluster { flavour, major, minor }),
        false => Err(unsupported(format!("{flavour:?} {major}.{minor} is not supported"))),
    }
}

fn unsupported(reason: String) -> Error {
    let hint = "Use Elasticsearch 7.17 to 9 or OpenSearch 2 and later; on OpenSearch set \
                compatibility.override_main_response_version to false";
    Error::Refused { code: "sink-version", operation: OPERATION, reason, hint: hint.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn supported_versions_are_told_from_others() {
        let check = |flavour, number: &str, expected: Option<(Flavour, u16)>| {
            let found = supported(flavour, number).ok().map(|cluster| (cluster.flavour, cluster.major));
            assert_eq!(found, expected, "{flavour:?} {number}");
        };
        let (elastic, open) = (Flavour::Elasticsearch, Flavour::OpenSearch);
        check(Some(elastic), "7.17.29", Some((elastic, 7)));
        check(Some(elastic), "7.16.3", None);
        check(Some(elastic), "7.10.2", None);
        check(Some(elastic), "9.2.4", Some((elastic, 9)));
        check(Some(elastic), "10.0.0-alpha1", None);
        check(Some(open), "2.19.1", Some((open, 2)));
        check(Some(open), "3.0.0-beta1", Some((open, 3)));
        check(Some(open), "1.3.20", None);
        check(None, "8.19.16", Some((elastic, 8)));
        check(None, "2.19.1", Some((open, 2)));
        check(None, "6.8.0", None);
        check(None, "", None);
        check(None, "99999999.1", None);
    }

    #[test]
    fn the_distribution_is_read_from_the_root() {
        let open = br#"{"name":"n","version":{"distribution":"opensearch","number":"2.19.1"}}"#;
        assert_eq!(version_of_root(open), Some((Some(Flavour::OpenSearch), "2.19.1".to_owned())));
        let elastic = br#"{"version":{"number":"8.19.16","build_flavor":"default"}}"#;
        assert_eq!(version_of_root(elastic), Some((Some(Flavour::Elasticsearch), "8.19.16".to_owned())));
        assert_eq!(version_of_root(b"<html>"), None);
        let node = br#"{"nodes":{"Gd74":{"version":"8.19.16"}}}"#;
        assert_eq!(version_of_node(node).as_deref(), Some("8.19.16"));
    }
}
