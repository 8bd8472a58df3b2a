//! Key `projections`: which files define documents.

use std::fs;
use std::path::{Path, PathBuf};

use super::section::{Listed, Section};

/// More projection files than this are a mistyped folder.
const FILES_MAX: usize = 1_000;

/// Files, folders (every .yaml and .yml in them) and patterns with `*` in the last part of the path.
pub(super) fn read(section: &Section<'_>, folder: &Path) -> Vec<PathBuf> {
    let Some(given) = section.list("projections") else {
        if !section.has("projections") {
            section.missing(
                "projections",
                "files, folders or patterns, such as projections: [projections/*.yaml]",
            );
        }
        return Vec::new();
    };
    if given.is_empty() {
        section.problem(
            section.place,
            "bad-value",
            "'projections' is an empty list",
            "name at least one file",
        );
    }
    let mut files = Vec::new();
    for item in &given {
        match find(&folder.join(&item.value)) {
            Ok(found) if found.is_empty() => {
                let message = format!("no projection file in '{}'", item.written);
                section.problem(
                    item.place,
                    "no-projection",
                    message,
                    "projection files end in .yaml or .yml",
                );
            }
            Ok(found) => files.extend(found),
            Err(reason) => refuse(section, item, &reason),
        }
    }
    files.sort();
    files.dedup();
    if files.len() > FILES_MAX {
        section.problem(section.place, "bad-value", format!("more than {FILES_MAX} projection files"), "");
    }
    files
}

fn refuse(section: &Section<'_>, item: &Listed, reason: &str) {
    section.problem(
        item.place,
        "unreadable-file",
        format!("'{}': {reason}", item.written),
        "paths begin at this file's folder",
    );
}

fn find(path: &Path) -> Result<Vec<PathBuf>, String> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if name.contains('*') {
        let parent = path.parent().unwrap_or(Path::new(""));
        return list(parent, |file| matches(name, file));
    }
    let found = fs::metadata(path).map_err(|error| error.to_string())?;
    if found.is_dir() {
        return list(path, |file| file.ends_with(".yaml") || file.ends_with(".yml"));
    }
    Ok(vec![path.to_owned()])
}

fn list(folder: &Path, fits: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    // An empty path is the current folder.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    for entry in fs::read_dir(folder).map_err(|error| error.to_string())? {
        let entry = entry.map_err(|error| error.to_string())?;
        let name = entry.file_name();
        // Editors leave hidden copies; those are nobody's definition.
        let wanted = name.to_str().is_some_and(|name| !name.starts_with('.') && fits(name));
        if wanted && entry.path().is_file() {
            files.push(entry.path());
            if files.len() > FILES_MAX {
                return Err(format!("more than {FILES_MAX} files"));
            }
        }
    }
    Ok(files)
}

/// `*` stands for any run of characters.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(name) = name.strip_prefix(head) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let tail = parts.pop().unwrap_or_default();
    let mut name = name;
    for part in parts {
        let Some(at) = name.find(part) else { return false };
        name = &name[at + part.len()..];
    }
    name.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        for (pattern, name, expected) in [
            ("*.yaml", "orders.yaml", true),
            ("*.yaml", "orders.yml", false),
            ("*", "anything", true),
            ("o*s.*", "orders.yaml", true),
            ("o*x*.yaml", "orders.yaml", false),
            ("a*a", "a", false),
            ("orders.yaml", "orders.yaml", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
