//! The image can be built from what the Dockerfile copies, and the compose file mounts what is there: no engine is
//! needed to see that.

use std::path::Path;

const DOCKERFILE: &str = include_str!("../../docker/Dockerfile");
const COMPOSE: &str = include_str!("../../docker/compose.yml");
const MANIFEST: &str = include_str!("../../Cargo.toml");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What is wrong with building from these files.
fn wrong(dockerfile: &str, manifest: &str) -> Vec<String> {
    let mut copied = Vec::new();
    let mut wrong = Vec::new();
    for line in dockerfile.lines().filter_map(|line| line.strip_prefix("COPY ")) {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        words.pop(); // where to
        if !words.first().is_some_and(|first| first.starts_with("--from")) {
            copied.extend(words);
        }
    }
    let missing = copied.iter().filter(|path| !root().join(path).exists());
    wrong.extend(missing.map(|path| format!("{path} is copied and not there")));
    for target in targets(manifest) {
        if !copied.iter().any(|path| Path::new(&target).starts_with(path)) {
            wrong.push(format!("{target} is a target and not copied"));
        }
    }
    let last = dockerfile.rsplit("\nFROM ").next().unwrap_or_default();
    let user = last.lines().filter_map(|line| line.strip_prefix("USER ")).next_back();
    if user.is_none_or(|user| matches!(user.trim(), "root" | "0")) {
        wrong.push("the program runs as root".to_owned());
    }
    wrong
}

/// Files of the targets that a manifest names: cargo refuses the manifest when one of them is absent.
fn targets(manifest: &str) -> Vec<String> {
    let mut targets = Vec::new();
    for section in manifest.split("\n[[").skip(1) {
        let section = section.split("\n[").next().unwrap_or_default();
        let kind = section.split("]]").next().unwrap_or_default();
        let value = |key: &str| {
            let line = section.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_prefix('='));
            line.map(|value| value.trim().trim_matches('"').to_owned())
        };
        let folder = if kind == "bench" { "benches" } else { "tests" };
        let by_name = |name: String| format!("{folder}/{name}.rs");
        targets.extend(value("path").or_else(|| value("name").map(by_name)));
    }
    targets
}

#[test]
fn the_image_is_built_from_all_that_the_manifest_names_and_does_not_run_as_root() {
    assert_eq!(wrong(DOCKERFILE, MANIFEST), Vec::<String>::new());
    assert!(targets(MANIFEST).len() >= 4, "{:?}", targets(MANIFEST));
    for (from, to, expected) in [
        ("COPY benches benches\n", "", "benches/journal.rs is a target and not copied"),
        ("COPY src src\n", "COPY source src\n", "source is copied and not there"),
        ("USER projectord\n", "", "the program runs as root"),
    ] {
        assert!(DOCKERFILE.contains(from), "{from}");
        let found = wrong(&DOCKERFILE.replace(from, to), MANIFEST);
        assert!(found.iter().any(|wrong| wrong == expected), "{found:?}");
    }
}

#[test]
fn the_compose_file_mounts_and_builds_what_is_there() {
    let mounts = COMPOSE.lines().filter_map(|line| line.trim().strip_prefix("- ."));
    let mut seen = 0;
    for mount in mounts {
        let path = format!(".{}", mount.split(':').next().unwrap_or_default());
        assert!(root().join("docker").join(&path).exists(), "{path} is mounted and not there");
        seen += 1;
    }
    assert!(seen >= 4, "{seen} mounts");
    let dockerfile = COMPOSE.lines().find_map(|line| line.trim().strip_prefix("dockerfile: "));
    assert!(dockerfile.is_some_and(|file| root().join(file).exists()), "{dockerfile:?}");
}
