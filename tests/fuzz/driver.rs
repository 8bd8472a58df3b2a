//! Drives one target: regressions, seeds, then mutations of seeds until time or executions run out.

use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::mutate::mutate;
use crate::targets::{self, Target};
use crate::{PACKAGE, allocation};

/// Unless `PROJECTORD_FUZZ_SECONDS` says otherwise.
const SECONDS: u64 = 5;
/// What one execution may take of the processor: an input is at most 4 KiB.
const EXECUTION_TIME_MAX: Duration = Duration::from_secs(5);
/// The seed of the first mutation; the n-th is this and n.
const SEED: u64 = 0x70_72_6F_6A_65_63_74_00;
/// Attempts to make a failing input smaller.
const SHRINK_ATTEMPTS: usize = 3000;

/// Panics with the way to repeat it when the target does.
pub fn drive(name: &str) {
    let target = targets::ALL.iter().find(|target| target.name == name).expect("a target of this name");
    let seeds = (target.seeds)();
    for (path, input) in regressions(name) {
        judge(target, &input, &format!("regression {}", path.display()));
    }
    for (at, seed) in seeds.iter().enumerate() {
        judge(target, seed, &format!("seed {at}"));
    }
    let number = |variable: &str| std::env::var(variable).ok().and_then(|text| text.parse::<u64>().ok());
    let executions_max = number("PROJECTORD_FUZZ_EXECUTIONS");
    let seconds = number("PROJECTORD_FUZZ_SECONDS").unwrap_or(SECONDS);
    let begin = Instant::now();
    let mut executions = 0;
    loop {
        let done = match executions_max {
            Some(most) => executions >= most,
            None => begin.elapsed() >= Duration::from_secs(seconds),
        };
        if done {
            break;
        }
        let mut random = fastrand::Rng::with_seed(SEED + executions);
        let mut input = seeds[random.usize(..seeds.len())].clone();
        let other = &seeds[random.usize(..seeds.len())];
        mutate(&mut input, other, target.words, &mut random);
        judge(target, &input, &format!("execution {executions}"));
        executions += 1;
    }
    let rate = executions as f64 / begin.elapsed().as_secs_f64();
    println!("{name}: {executions} executions, {rate:.0}/s");
}

fn regressions(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = PathBuf::from(PACKAGE).join("tests/fuzz/regressions").join(name);
    let Ok(list) = std::fs::read_dir(&folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = list.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// Why an input fails; nothing when it does not.
pub fn failure(target: &Target, input: &[u8]) -> Option<String> {
    let begin = processor_time();
    let mut result = Ok(());
    let held = allocation::peak(|| result = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input))));
    if let Err(panic) = result {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        return Some(text.unwrap_or_default());
    }
    let most = target.base_bytes + allocation::BYTES_PER_INPUT_BYTE * input.len();
    if held > most {
        return Some(format!("{held} bytes were allocated for {}, the limit is {most}", input.len()));
    }
    let took = processor_time().saturating_sub(begin);
    (took > EXECUTION_TIME_MAX).then(|| format!("it took {took:?}"))
}

fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn judge(target: &Target, input: &[u8], place: &str) {
    let Some(reason) = failure(target, input) else { return };
    // The panics of the attempts are not news.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| ()));
    let input = shrink(target, input.to_vec());
    panic::set_hook(hook);
    let folder = PathBuf::from(PACKAGE).join("target/fuzz-failures").join(target.name);
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join(format!("{:08x}", crc32c::crc32c(&input)));
    std::fs::write(&file, &input).unwrap();
    panic!(
        "{}, {place}: {reason}\nshrunk to {} bytes: {}\nrepeat it: cp {} tests/fuzz/regressions/{}/",
        target.name,
        input.len(),
        input.escape_ascii(),
        file.display(),
        target.name
    );
}

/// Leaves pieces out as long as it still fails.
fn shrink(target: &Target, mut input: Vec<u8>) -> Vec<u8> {
    let mut piece = input.len() / 2;
    let mut attempts = 0;
    while piece > 0 && attempts < SHRINK_ATTEMPTS {
        let mut at = 0;
        while at < input.len() && attempts < SHRINK_ATTEMPTS {
            let mut smaller = input.clone();
            smaller.drain(at..(at + piece).min(input.len()));
            attempts += 1;
            match failure(target, &smaller) {
                Some(_) => input = smaller,
                None => at += piece,
            }
        }
        piece /= 2;
    }
    input
}
