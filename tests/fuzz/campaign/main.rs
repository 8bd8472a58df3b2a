//! The campaign: one target, named by `PROJECTORD_FUZZ_TARGET`, under libFuzzer. scripts/fuzz builds and runs
//! it. With `PROJECTORD_FUZZ_SEEDS` it only writes the target's seeds into that folder.
#![no_main]

#[path = "../allocation.rs"]
mod allocation;
#[path = "../mutate.rs"]
mod mutate;
#[path = "../targets/mod.rs"]
mod targets;

use std::path::Path;
use std::sync::OnceLock;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use targets::Target;

/// Where projectord's package lies.
pub const PACKAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../..");

struct Chosen {
    target: &'static Target,
    seeds: Vec<Vec<u8>>,
}

fn chosen() -> &'static Chosen {
    static CHOSEN: OnceLock<Chosen> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let name = std::env::var("PROJECTORD_FUZZ_TARGET").expect("PROJECTORD_FUZZ_TARGET names the target");
        let target = targets::ALL.iter().find(|target| target.name == name).expect("a target of this name");
        let seeds = (target.seeds)();
        if let Ok(folder) = std::env::var("PROJECTORD_FUZZ_SEEDS") {
            for (at, seed) in seeds.iter().enumerate() {
                std::fs::write(Path::new(&folder).join(format!("seed-{at:04}")), seed).unwrap();
            }
            std::process::exit(0);
        }
        // What a target keeps from its first call on is not what an input costs.
        seeds.iter().for_each(|seed| (target.run)(seed));
        Chosen { target, seeds }
    })
}

fuzz_target!(|bytes: &[u8]| {
    let target = chosen().target;
    let held = allocation::peak(|| (target.run)(bytes));
    let most = target.base_bytes + allocation::BYTES_PER_INPUT_BYTE * bytes.len();
    assert!(held <= most, "{held} bytes were allocated for {}, the limit is {most}", bytes.len());
});

// By turns the fuzzer's own way, which knows what was compared, and ours, which knows the format.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    if seed % 2 == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    let chosen = chosen();
    let mut random = fastrand::Rng::with_seed(u64::from(seed));
    let mut input = data[..size].to_vec();
    let other = &chosen.seeds[random.usize(..chosen.seeds.len())];
    mutate::mutate(&mut input, other, chosen.target.words, &mut random);
    let length = input.len().min(max_size);
    data[..length].copy_from_slice(&input[..length]);
    length
});
