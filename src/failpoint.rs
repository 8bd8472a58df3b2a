//! Named points at which the process may die, for tests that let it.
//!
//! Without the cargo feature `failpoints` they are nothing at all. With it a point first asks the thread's hook,
//! for a simulation, then what `PROJECTORD_FAILPOINT` plans, for a daemon: `name=abort@3` aborts the process when
//! the point `name` is come by for the third time.

#[cfg(feature = "failpoints")]
pub use on::{hit, planned, set_hook};

/// Every point there is, by what dies there: in the middle of the thing (`-ing`) or just after it.
pub const NAMES: &[&str] = &[
    "alias.switched",
    "alias.switching",
    "apply.chunk",
    "apply.published",
    "apply.removing",
    "apply.swept",
    "apply.unfolding",
    "backfill.begun",
    "backfill.chunk_ordered",
    "backfill.chunk_read",
    "backfill.ended",
    "backfill.ending",
    "backfill.marked",
    "backfill.waited",
    "checkpoint.copied",
    "checkpoint.copying",
    "checkpoint.made",
    "checkpoint.sealed",
    "connect.anew",
    "connect.facts",
    "connect.gate",
    "connect.identity",
    "connect.intent",
    "connect.joined",
    "connect.position",
    "connect.publication",
    "connect.slot",
    "deliver.assembled",
    "deliver.partial",
    "deliver.sending",
    "deliver.sent",
    "deliver.settling",
    "epoch.taken",
    "identity.renamed",
    "identity.written",
    "ingest.confirmed",
    "ingest.ordered",
    "ingest.received",
    "ingest.synced",
    "journal.forgotten",
    "journal.rolled",
    "journal.synced",
    "journal.syncing",
    "journal.truncated",
    "journal.truncating",
    "journal.writing",
    "journal.written",
    "note.renamed",
    "note.written",
    "rebuild.intent",
    "rebuild.slot",
    "recover.copied",
    "recover.renamed",
    "segment.created",
    "segment.synced",
    "sink.claimed",
    "sink.prepared",
    "stop.applied",
    "stop.delivered",
    "store.closed",
    "store.closing",
    "store.committed",
    "store.committing",
    "store.restored",
    "store.restoring",
];

/// The process has come by this point.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn hit(_name: &'static str) {}

/// What a plan says: the point, and at which time it is come by. The text says what is wrong with it.
#[cfg(any(feature = "failpoints", test))]
fn parse(plan: &str) -> Result<(&'static str, u64), String> {
    let parts = plan.split_once("=abort@");
    let (name, times) = parts.ok_or_else(|| format!("a plan is `name=abort@3`, not `{plan}`"))?;
    let known = NAMES.iter().find(|known| **known == name);
    let times = times.parse().ok().filter(|times| *times > 0);
    Ok((known.ok_or_else(|| format!("there is no point {name}"))?, times.ok_or("times are counted from 1")?))
}

#[cfg(feature = "failpoints")]
mod on {
    use std::cell::RefCell;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    const VARIABLE: &str = "PROJECTORD_FAILPOINT";

    type Hook = Box<dyn FnMut(&'static str)>;

    thread_local! {
        static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
    }

    static PLAN: OnceLock<Option<(&'static str, u64)>> = OnceLock::new();
    static HITS: AtomicU64 = AtomicU64::new(0);

    /// The process has come by this point.
    pub fn hit(name: &'static str) {
        // Taken out while it runs: it may come by points of its own, and one that panics has had its say.
        if let Some(mut hook) = HOOK.take() {
            hook(name);
            HOOK.with_borrow_mut(|place| {
                place.get_or_insert(hook);
            });
        }
        // Whoever starts the daemon has been told what is wrong with a plan; here it is none.
        let plan =
            PLAN.get_or_init(|| std::env::var(VARIABLE).ok().and_then(|plan| super::parse(&plan).ok()));
        if let Some((planned, times)) = plan
            && *planned == name
            && HITS.fetch_add(1, Ordering::Relaxed) + 1 == *times
        {
            eprintln!("failpoint {name}: aborting");
            std::process::abort();
        }
    }

    /// From now on this thread asks `hook` at every point; nothing ends it but another one, or its panic. A panic
    /// inside a task of tokio's ends that task alone: the hook should also leave word that it struck.
    pub fn set_hook(hook: Option<Hook>) {
        HOOK.set(hook);
    }

    /// The plan for this process, as it stands in the environment; empty when there is none.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn planned() -> Result<String, String> {
        let plan = std::env::var(VARIABLE).unwrap_or_default();
        if !plan.is_empty() {
            super::parse(&plan).map_err(|reason| format!("{VARIABLE}: {reason}"))?;
        }
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn called(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                called(&path, found);
            } else if !path.ends_with("failpoint.rs") && path.extension().is_some_and(|end| end == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let calls = text.split("failpoint::hit(\"").skip(1);
                found.extend(calls.filter_map(|call| call.split_once('"')).map(|(name, _)| name.to_owned()));
            }
        }
    }

    #[test]
    fn every_name_stands_at_one_point_and_every_point_has_a_name() {
        let mut found = Vec::new();
        called(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        found.sort();
        assert_eq!(found, NAMES);
        assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "a name stands at two points: {found:?}");
        assert!(NAMES.len() >= 35);
    }

    #[test]
    fn a_plan_names_a_point_and_a_time() {
        assert_eq!(parse("journal.synced=abort@3"), Ok(("journal.synced", 3)));
        for wrong in
            ["journal.synced", "journal.sunk=abort@1", "journal.synced=abort@0", "journal.synced=abort@"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
