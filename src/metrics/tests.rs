//! Tests of names, exposition and documentation of the metrics.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::pipeline::status::ProjectionStatus;

const DOCUMENTATION: &str = include_str!("../../docs/metrics.md");

/// A strict reader of the text format: HELP and TYPE before samples, families together, labels quoted, values
/// numeric, no series twice. Returns each family's type and its series.
fn read(text: &str) -> Result<BTreeMap<String, (String, BTreeSet<String>)>, String> {
    let mut families: BTreeMap<String, (String, BTreeSet<String>)> = BTreeMap::new();
    let mut current = String::new();
    let mut helped = String::new();
    if !text.ends_with('\n') {
        return Err("the last line has no end".into());
    }
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or(format!("no help: {line}"))?;
            if help.is_empty() || families.contains_key(name) {
                return Err(format!("empty or again: {line}"));
            }
            helped = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or(format!("no type: {line}"))?;
            if name != helped || !["counter", "gauge", "histogram"].contains(&kind) {
                return Err(format!("type without help: {line}"));
            }
            current = name.to_owned();
            families.insert(current.clone(), (kind.to_owned(), BTreeSet::new()));
        } else {
            let (series, value) = line.rsplit_once(' ').ok_or(format!("no value: {line}"))?;
            value.parse::<f64>().map_err(|_| format!("not a number: {line}"))?;
            let name = series.split('{').next().unwrap_or_default();
            let (kind, all) = families.get_mut(&current).ok_or(format!("no family: {line}"))?;
            let suffix = name.strip_prefix(&current).ok_or(format!("outside of its family: {line}"))?;
            let fits = match kind.as_str() {
                "histogram" => ["_bucket", "_sum", "_count"].contains(&suffix),
                _ => suffix.is_empty(),
            };
            let labels = series.strip_prefix(name).unwrap_or_default();
            if !fits || !labels_are_right(labels) || !all.insert(series.to_owned()) {
                return Err(format!("bad series: {line}"));
            }
        }
    }
    Ok(families)
}

fn labels_are_right(labels: &str) -> bool {
    let Some(inner) = labels.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
        return labels.is_empty();
    };
    inner.split("\",").all(|pair| {
        let Some((name, value)) = pair.split_once("=\"") else { return false };
        name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
            && !value.trim_end_matches('"').contains('\n')
    })
}

fn busy() -> Metrics {
    let metrics = Metrics::new().unwrap();
    metrics.received(3, 300, Lsn(1));
    metrics.journaled(2, 200, Duration::from_millis(2), Lsn(1));
    metrics.applied(EntryNo(2), 10, Duration::from_millis(3));
    metrics.assembled(4, 400, Duration::from_millis(1));
    metrics.delivered(Delivered {
        indexed: 4,
        bytes: 400,
        took: Duration::from_millis(8),
        ..Delivered::default()
    });
    metrics.commit_to_acknowledged(Duration::from_millis(40));
    metrics.retried("sink", "busy");
    metrics.backfilled("public.orders", 5, 10);
    metrics.refresh(&status());
    metrics
}

fn status() -> Status {
    let mut status = Status { state: "streaming".into(), ..Status::default() };
    status.trouble = Some("slot-lost: the slot\nis \"gone\"".into());
    status.source.wal_status = Some("reserved".into());
    status.source.retained_bytes = Some(77);
    status.projections = vec![ProjectionStatus {
        name: "or\"d\\er\ns".into(),
        points: 3,
        state: "live".into(),
        ..Default::default()
    }];
    status
}

#[test]
fn the_exposition_parses_and_holds_every_metric_with_its_kind() {
    let text = busy().exposition().unwrap();
    let families = read(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    for metric in names::ALL {
        let (kind, series) = families.get(metric.name).unwrap_or_else(|| panic!("{} is absent", metric.name));
        assert_eq!(*kind, format!("{:?}", metric.kind).to_lowercase(), "{}", metric.name);
        assert!(!series.is_empty(), "{}", metric.name);
    }
    assert!(families.contains_key("process_resident_memory_bytes"), "process metrics are absent");
    assert!(families.keys().all(|name| name.starts_with("projectord_") || name.starts_with("process_")));
    assert!(text.contains("projectord_delivered_documents_total{outcome=\"indexed\"} 4"), "{text}");
    assert!(text.contains("projectord_trouble_info{code=\"slot-lost\"} 1"), "{text}");
}

#[test]
fn the_checker_refuses_what_is_wrong() {
    for text in [
        "a 1\n",
        "# HELP a b\n# TYPE a gauge\na x\n",
        "# HELP a b\n# TYPE a gauge\nb 1\n",
        "# HELP a b\n# TYPE a gauge\na 1\na 1\n",
        "# HELP a b\n# TYPE a gauge\na{X=1} 1\n",
        "# HELP a b\n# TYPE a gauge\na 1",
        "# TYPE a gauge\na 1\n",
    ] {
        assert!(read(text).is_err(), "{text}");
    }
}

#[test]
fn what_is_gone_leaves_no_series_behind() {
    let metrics = busy();
    metrics.refresh(&Status { state: "stopping".into(), ..Status::default() });
    let text = metrics.exposition().unwrap();
    for gone in ["state=\"streaming\"", "slot-lost", "reserved", "projectord_dirty_marks{"] {
        assert!(!text.contains(gone), "{gone}\n{text}");
    }
}

#[test]
fn names_follow_the_rules() {
    for metric in names::ALL {
        assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
        if metric.kind == Kind::Histogram {
            assert!(metric.name.ends_with("_seconds"), "{}", metric.name);
        }
    }
}

/// After a change: PROJECTORD_WRITE_DOCS=1 cargo test metrics
#[test]
fn the_documentation_is_this_list() {
    let mut table = String::from("| Metric | Kind | Labels | Meaning |\n| --- | --- | --- | --- |\n");
    for m in names::ALL {
        let labels: Vec<String> = m.labels.iter().map(|label| format!("`{label}`")).collect();
        let kind = format!("{:?}", m.kind).to_lowercase();
        table.push_str(&format!("| `{}` | {kind} | {} | {} |\n", m.name, labels.join(", "), m.help));
    }
    if std::env::var_os("PROJECTORD_WRITE_DOCS").is_some() {
        let head = DOCUMENTATION.split("| Metric ").next().unwrap();
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md"), format!("{head}{table}"))
            .unwrap();
        return;
    }
    assert!(DOCUMENTATION.ends_with(&table), "docs/metrics.md is out of date:\n{table}");
}
