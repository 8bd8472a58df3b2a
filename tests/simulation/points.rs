//! Deaths at named points (`src/failpoint.rs`): the process ends at that very place, in the middle of a turn, and
//! nothing of it runs afterwards.
//!
//! The hook panics. The runtime catches a panic inside a task and would run the other tasks on: therefore every
//! door to the outside (desk, sink, folder, store's keeper) asks [`is_dead`] first, and nobody turns a loop of the
//! dead. All of a run is on one thread; so is this.

use std::cell::RefCell;
use std::collections::BTreeMap;
#[cfg(feature = "failpoints")]
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use fastrand::Rng;

/// Apart from the seed's own numbers.
const APART: u64 = 0xdead_0f70_0b1e;
/// Deaths of one run at most: it has to come to rest.
const DEATHS_MAX: u8 = 12;

/// Points inside the real data folder and its guard, for which the simulation has others in their place.
pub const NOT_MET: &[&str] = &[
    "checkpoint.copied",
    "checkpoint.copying",
    "checkpoint.sealed",
    "identity.renamed",
    "identity.written",
    "note.renamed",
    "note.written",
    "store.closed",
    "store.closing",
    "store.restored",
    "store.restoring",
];

#[derive(Default)]
struct Points {
    random: Rng,
    /// The point at which this run's processes die most.
    aimed: Option<&'static str>,
    /// Of so many points that are come by, one is the end; zero for none.
    rarely: u32,
    deaths: u8,
    /// A process is running now: the world's own use of the daemon's code dies of nothing.
    within: bool,
    struck: Option<&'static str>,
    met: BTreeMap<&'static str, u64>,
    killed: BTreeMap<&'static str, u64>,
}

thread_local! {
    static POINTS: RefCell<Points> = RefCell::default();
}

/// What a run is about to do; `harmless` for one that knows no such deaths.
pub fn begin(seed: u64, harmless: bool) {
    let mut random = Rng::with_seed(seed ^ APART);
    let chosen = random.u8(..4);
    let names: Vec<_> =
        projectord::failpoint::NAMES.iter().filter(|name| !NOT_MET.contains(name)).copied().collect();
    let name = names[random.usize(..names.len())];
    let rarely = [200, 1_000, 3_000][random.usize(..3)];
    let points = Points {
        aimed: (!harmless && chosen < 2).then_some(name),
        rarely: if !harmless && chosen % 2 == 0 { rarely } else { 0 },
        random,
        ..Points::default()
    };
    POINTS.set(points);
    watch_points();
}

#[cfg(feature = "failpoints")]
fn watch_points() {
    projectord::failpoint::set_hook(Some(Box::new(come_by)));
}

#[cfg(not(feature = "failpoints"))]
fn watch_points() {}

/// What a death unwinds with.
#[cfg(feature = "failpoints")]
struct Died;

#[cfg(feature = "failpoints")]
fn come_by(name: &'static str) {
    let dies = POINTS.with_borrow_mut(|points| {
        if !points.within || points.struck.is_some() {
            return points.struck.is_some();
        }
        *points.met.entry(name).or_default() += 1;
        let aimed = points.aimed == Some(name) && points.random.bool();
        let dies = points.deaths < DEATHS_MAX
            && (aimed || (points.rarely > 0 && points.random.u32(..points.rarely) == 0));
        if dies {
            points.deaths += 1;
            points.struck = Some(name);
            *points.killed.entry(name).or_default() += 1;
        }
        dies
    });
    if dies {
        // Without the panic hook's words.
        resume_unwind(Box::new(Died));
    }
}

/// Runs a piece of the process; nothing when it has died, then or before.
#[cfg(feature = "failpoints")]
pub fn within<T>(work: impl FnOnce() -> T) -> Option<T> {
    if is_dead() {
        return None;
    }
    POINTS.with_borrow_mut(|points| points.within = true);
    let done = catch_unwind(AssertUnwindSafe(work));
    POINTS.with_borrow_mut(|points| points.within = false);
    match done {
        Err(panic) if !panic.is::<Died>() => resume_unwind(panic),
        done => done.ok().filter(|_| !is_dead()),
    }
}

#[cfg(not(feature = "failpoints"))]
pub fn within<T>(work: impl FnOnce() -> T) -> Option<T> {
    Some(work())
}

/// The process has died at a point and was not taken away yet: nothing of it may have an effect.
pub fn is_dead() -> bool {
    POINTS.with_borrow(|points| points.struck.is_some())
}

/// Takes the dead away; says where it died, and whether the machine's power went at that moment.
pub fn bury() -> Option<(&'static str, bool)> {
    let buried = POINTS.with_borrow_mut(|points| {
        let struck = points.struck.take()?;
        Some((struck, points.random.u8(..4) == 0))
    });
    if buried.is_some() {
        watch_points(); // the hook went with the panic
    }
    buried
}

/// How often each point was met, and killed at.
pub fn sums() -> impl Iterator<Item = (String, u64)> {
    POINTS.with_borrow_mut(|points| {
        let met = std::mem::take(&mut points.met).into_iter().map(|(name, n)| (format!("met: {name}"), n));
        let killed = std::mem::take(&mut points.killed);
        met.chain(killed.into_iter().map(|(name, n)| (format!("killed at: {name}"), n)))
    })
}
