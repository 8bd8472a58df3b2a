//! Property tests of everything that reads somebody else's bytes: each target with inputs mutated from right
//! ones, by fixed seeds, for `PROJECTORD_FUZZ_SECONDS` (5 unless set) or `PROJECTORD_FUZZ_EXECUTIONS`.
//!
//! What was found once stands in `tests/fuzz/regressions/TARGET/` and is tried first. The campaign with
//! coverage is `scripts/fuzz`; docs/fuzzing.md says more.

mod allocation;
mod driver;
mod mutate;
mod targets;

/// Where the package lies.
pub const PACKAGE: &str = env!("CARGO_MANIFEST_DIR");

macro_rules! tests {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            driver::drive(stringify!($name));
        })*

        #[test]
        fn every_target_has_a_test() {
            let tested = [$(stringify!($name)),*];
            let targets: Vec<&str> = targets::ALL.iter().map(|target| target.name).collect();
            assert_eq!(targets, tested);
        }
    };
}

tests! {
    apply bulk condition config control copy decimal entry frame http inbox journal key message order projection row
    segment setting time value
}

#[test]
fn nesting_as_deep_as_a_file_is_long_is_a_mistake_and_not_the_end_of_the_stack() {
    let whole = [("[", "]"), ("{a: ", "}"), ("- ", ""), ("? ", ""), ("[{", ""), ("&a [", "]"), ("!t [", "]")];
    for (open, close) in whole {
        for depth in [70, 1_000, 100_000, (1 << 20) / open.len()] {
            let text = open.repeat(depth) + &close.repeat(depth.min(1000));
            let config = targets::ALL.iter().find(|target| target.name == "config").unwrap();
            let projection = targets::ALL.iter().find(|target| target.name == "projection").unwrap();
            for target in [config, projection] {
                if let Some(reason) = driver::failure(target, text.as_bytes()) {
                    panic!("{}, {depth} times {open:?}: {reason}", target.name);
                }
            }
        }
    }
}
