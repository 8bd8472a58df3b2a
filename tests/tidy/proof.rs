//! docs/proof.md answers for every hazard and every rule, with tests that exist.

use super::*;

const HAZARDS: u32 = 57;
const RULES: u32 = 42;

/// What is wrong with the document's tables: numbers without a row, rows without an answer, tests that are not
/// there. `functions` are the names of all functions in tests and sources.
fn complaints(document: &str, functions: &std::collections::HashSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    for (title, count) in [("## Hazards", HAZARDS), ("## Rules", RULES)] {
        let Some(section) = document.split(title).nth(1).and_then(|rest| rest.split("\n## ").next()) else {
            found.push(format!("no section {title}"));
            continue;
        };
        for number in 1..=count {
            let begin = format!("\n| {number} | ");
            let Some(row) = section.split(&begin).nth(1).and_then(|rest| rest.lines().next()) else {
                found.push(format!("{title}: no row for {number}"));
                continue;
            };
            let answer = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
            let answers = answer.contains('`')
                || ["simulation", "campaign", "not applicable", "Not applicable"]
                    .iter()
                    .any(|word| answer.contains(word));
            if !answers {
                found.push(format!("{title}: {number} has no answer"));
            }
            let tests = answer.split('`').skip(1).step_by(2).filter(|name| is_test_name(name));
            found.extend(
                tests
                    .filter(|name| !functions.contains(*name))
                    .map(|name| format!("{title}: {number}: there is no test {name}")),
            );
        }
    }
    found
}

/// Names of tests are sentences; codes and settings are shorter, or spelled with dashes.
fn is_test_name(name: &str) -> bool {
    name.matches('_').count() >= 3
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn functions() -> std::collections::HashSet<String> {
    let mut names = std::collections::HashSet::new();
    for source in ["src", "tests"].into_iter().flat_map(sources) {
        for rest in source.text.split("fn ").skip(1) {
            names.insert(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    names
}

#[test]
fn every_hazard_and_every_rule_has_its_proof() {
    let document = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/proof.md")).unwrap();
    let functions = functions();
    let found = complaints(&document, &functions);
    assert!(found.is_empty(), "\n{}", found.join("\n"));
    // Planted: a row that is gone, a test that is gone, a row without an answer.
    let gone = document.replace("\n| 9 | ", "\n| 999 | ");
    assert_eq!(complaints(&gone, &functions).len(), 2);
    let none = std::collections::HashSet::new();
    assert!(complaints(&document, &none).len() > 90);
    let empty = "## Hazards\n| 1 | a | b |  |\n## Rules\n";
    assert!(complaints(empty, &functions).contains(&"## Hazards: 1 has no answer".to_owned()));
}
