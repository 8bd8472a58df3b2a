//! What a thousand seeds must have reached: every fault, every way back from one, every refusal. A fault that is
//! never reached tests nothing.

use super::points;

/// Of a thousand seeds so many must have come by.
pub const WANTED: &[&str] = &[
    "a chunk saw what was not streamed yet",
    "a chunk was read while a logged commit was not visible (hazard 9)",
    "a pause of the process",
    "a table joined the publication while transactions ran (hazard 10)",
    "alias: somebody leads it to an index of theirs",
    "alias: somebody leads it to another index of ours",
    "alias: somebody removes it",
    "alias: somebody removes the one that is written through",
    "an orphaned slot was dropped",
    "check: what is projected is in the sink",
    "check: what was confirmed is on disk",
    "cluster: a node restarts",
    "cluster: a snapshot was taken",
    "cluster: acknowledged writes were lost",
    "creating the slot waited for a transaction",
    "database: TRUNCATE",
    "database: a crash that loses commits",
    "database: a crash",
    "database: a failover without loss",
    "database: a key changed",
    "database: a subtransaction was rolled back",
    "database: a transaction was rolled back",
    "database: an asynchronous commit",
    "database: an unchanged value is not carried (hazard 23)",
    "database: shut down",
    "database: the connection is cut",
    "database: the slot stands further back (hazard 14)",
    "database: transaction ids are given out again",
    "disk: a sync fails",
    "disk: no space left",
    "disk: the power goes in the middle of writing",
    "engine: a batch does not fit",
    "engine: a batch fails",
    "engine: a batch is written and counts as failed",
    "engine: a damaged file is noticed at the start",
    "journal: at its quota or reserve, nothing is read (rule 9)",
    "journal: room again",
    "kill -9 soon after the start (double kill)",
    "kill -9",
    "killed where a transaction was half applied",
    "killed again while it recovered (double kill)",
    "nearly an hour goes by",
    "operator: backfill anew",
    "operator: new indices after lost writes",
    "operator: other definitions",
    "operator: quarantine tried again",
    "operator: rebuild",
    "operator: replay of a document",
    "operator: replay of everything",
    "operator: stop",
    "power cut",
    "publication: somebody adds a table that nobody uses",
    "publication: somebody drops it and makes it again",
    "publication: somebody drops it",
    "publication: somebody takes a table out",
    "refused: alias-foreign",
    "refused: journal-damaged",
    "refused: publication-changed",
    "refused: sink-index-gone",
    "refused: sink-other-writer",
    "refused: slot-advanced",
    "refused: slot-lost",
    "refused: slot-missing",
    "refused: source-other-system",
    "refused: source-sync-standby",
    "refused: source-timeline",
    "rows went to other parents while a scan ran",
    "sink: a request of a process that is gone was carried out",
    "sink: a write behind a delete whose version was forgotten",
    "sink: an answer to a process that is gone",
    "sink: an item missing from the answer",
    "sink: carried out hours late",
    "sink: carried out late",
    "sink: carried out twice",
    "sink: carried out when deletes are nearly forgotten",
    "sink: carried out, the answer lost",
    "sink: carried out, the answer malformed",
    "sink: carried out, the answer truncated",
    "sink: some items busy (429, 503, 403)",
    "sink: some items rejected (400)",
    "sink: too large (413)",
    "sink: unauthorized (401, 403)",
    "sink: unavailable (503, 429 as a whole)",
    "somebody sets the wall clock",
    "source: a chunk was read and its marker not emitted",
    "source: the answer was lost",
    "start: a store that was closed cleanly survives a power cut",
    "start: from a checkpoint",
    "start: from an empty store",
    "start: the newest checkpoint is rotten",
    "store: a checkpoint was made",
    "store: a copy did not fit",
    "the process died with the power",
    "the process ended by a failure of the store's engine",
    "the process ended by a failure: journal-failed",
    "the process stopped when asked",
    "the wait-out waited for a transaction (rule 12)",
    "two daemons: the first one sends what it owed",
    "two daemons: the first one stopped by itself",
    "two daemons: the folder of a paused one is copied",
    "unsafe: a bit flips in the journal",
    "unsafe: a failover that loses commits",
    "unsafe: a table was taken out of the publication and put in again",
    "unsafe: an index comes back from a snapshot",
    "unsafe: an index is deleted",
    "unsafe: an older copy of the data folder is restored",
    "unsafe: another advances the slot",
    "unsafe: another daemon claims an index",
    "unsafe: another server",
    "unsafe: the slot is dropped",
    "unsafe: the slot is lost",
    "unsafe: the slot is made again",
    "unsafe: we would be a synchronous standby",
];

/// Of ten thousand seeds so many must have come by these, too.
pub const WANTED_OF_MANY: &[&str] = &[
    "refused: publication-lacks-table",
    "refused: publication-missing",
    "refused: sink-epoch",
    "refused: store-ahead",
];

/// How the names of states begin that are something going wrong, and not what came of it.
const FAULTS: &[&str] = &[
    "a pause of the process",
    "alias: somebody",
    "cluster: ",
    "database: a crash",
    "database: a failover",
    "database: shut down",
    "database: the connection",
    "disk: a sync",
    "disk: no space",
    "disk: the power",
    "engine: a batch",
    "kill -9",
    "killed again",
    "killed at a failpoint",
    "nearly an hour",
    "power cut",
    "publication: somebody",
    "sink: an item missing",
    "sink: carried out",
    "sink: some items",
    "sink: too large",
    "sink: una",
    "somebody sets",
    "source: ",
    "start: the newest checkpoint",
    "store: a copy did not fit",
    "two daemons: the folder",
    "unsafe: ",
];

/// Whether a state is a fault.
pub fn is_fault(state: &str) -> bool {
    FAULTS.iter().any(|begin| state.starts_with(begin))
}

/// See [`WANTED_OF_MANY`].
const SEEDS_MANY: u64 = 10_000;

/// Of so many seeds each named point that can be met must have killed a process; with failpoints only.
pub const SEEDS_KILLING: u64 = 4_000;

/// States that this many seeds must have reached and have not.
pub fn missed(seeds: u64, reached: impl Fn(&str) -> bool) -> Vec<String> {
    let points: &[&str] = if cfg!(feature = "failpoints") { projectord::failpoint::NAMES } else { &[] };
    let points = points.iter().filter(|name| !points::NOT_MET.contains(name)).map(|name| {
        if seeds >= SEEDS_KILLING { format!("killed at: {name}") } else { format!("met: {name}") }
    });
    let many: &[&str] = if seeds >= SEEDS_MANY { WANTED_OF_MANY } else { &[] };
    let wanted = WANTED.iter().chain(many).map(|what| (*what).to_owned());
    wanted.chain(points).filter(|what| !reached(what)).collect()
}
