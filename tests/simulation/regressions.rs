//! Seeds that once failed, each with what it found. They run first.
//!
//! A seed means its run only as long as the world draws in the same order: when that changes, the sentence stays
//! and the seed is looked for again.

/// Seed, and what it found.
pub const SEEDS: &[(u64, &str)] = &[
    (42, "a Rebuild's position was not repeated in the next segment's head: the next start was refused"),
    (
        26,
        "connecting began where ingest had been a moment ago: a transaction came twice, and the process ended",
    ),
    (80, "damage in the journal that apply found was a failure and not a refusal"),
    (106, "a position of the connection before was confirmed over the next one before it was received"),
    (17, "a loop that stopped too late hid why the others had ended"),
    (371, "a process died between making an index anew and saying so: nobody filled it"),
    (
        8277,
        "after a gap an unchanged value was taken from a row from before it, although the gap lay behind the entry that noticed it",
    ),
    (187, "a generation whose index existed already was prepared for ever"),
    (
        15297,
        "segments forgot on which server a rebuild had made the slot, and a failover that took commits back passed",
    ),
    (
        18085,
        "a table counted as complete although a row of it held a value not known: no document waited for it",
    ),
    (
        21443,
        "a standby was promoted twice, and told of an end that it had never reached (the simulation's fault)",
    ),
    (18012, "entries of an older copy of the data folder were taken for later ones (the simulation's fault)"),
    (20756, "the same, of a document that had been deleted meanwhile (the simulation's fault)"),
    (5049, "indices of facts that were not in force any more were looked at: refused without reason"),
    (2631, "a publication was touched while a connection was being opened (the simulation's fault)"),
    (9725, "a failover took back what a refusal was demanded for (the simulation's fault)"),
    (548, "an incomplete row that a gap had taken away kept the backfill reading it for ever"),
];

/// The same, of the world as it is since processes die at named points and `trouble.rs` is in it.
pub const SEEDS_SINCE: &[(u64, &str)] = &[
    (
        7070,
        "what a transaction older than a marker did in a published table won over the chunk, which had the rest too",
    ),
    (9449, "what an older data folder had sent was judged by the newer one (the simulation's fault)"),
    (
        681,
        "a daemon that woke when its deletes were forgotten sent before it looked whether it was still the one",
    ),
    (1571, "the same"),
    (
        6508,
        "the same, where the sleep fell between the claim of the indices and the first turn of its deliver",
    ),
    (
        165_441,
        "a failover took back what a newer data folder had delivered and its older copy had not read: nobody can know, \
         so the operator builds new indices",
    ),
    (143_925, "an epoch was taken by a new index alone, and the one in force had a higher one"),
    (
        228_154,
        "a gap sent a table back to the beginning while it was being read: a row that was gone was asked for by its key \
         for ever, before the read that would have removed it",
    ),
    (671, "before the first stream of a slot made anew more was shown as journaled than as received"),
    (868, "the same, and more than the server was shown to have"),
    (
        155_245,
        "of equal extremes the one that came first or last in the store was taken: two builds gave two texts",
    ),
    (146_253, "behind a rebuild a position of what was given up was shown as applied"),
    (
        62_952,
        "what the first of two daemons received was held against the second's confirmations (the simulation's fault)",
    ),
    (137_181, "the same"),
    (163_295, "the same"),
    (
        75_794,
        "positions meant nothing behind a failover with loss for the rest of the run (the simulation's fault)",
    ),
    (117_727, "the same"),
    (138_658, "the same"),
];

/// Seeds that mean their runs in the world as it was before processes died at named points and before
/// `trouble.rs`: they are run without either.
const OF_THE_FIRST_WORLD: &[u64] =
    &[15_297, 18_085, 21_443, 18_012, 20_756, 501_454, 501_741, 500_817, 502_004];

/// Whether a seed is run without what came to the world later.
pub fn is_of_the_first_world(seed: u64) -> bool {
    OF_THE_FIRST_WORLD.contains(&seed) || SEEDS.iter().any(|(known, _)| *known == seed)
}
