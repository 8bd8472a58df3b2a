//! One function per parser of somebody else's bytes: it must take any bytes, and what it reads must be right.
//!
//! Used twice: by the property tests with fixed seeds (`cargo test --test fuzz`) and by the coverage-guided
//! campaign (`scripts/fuzz`). A target panics when something is wrong.

mod apply;
mod bulk;
mod condition;
mod config;
mod control;
mod copy;
mod decimal;
mod entry;
mod frame;
mod http;
mod inbox;
mod journal;
mod key;
mod message;
mod order;
mod projection;
mod row;
mod segment;
mod setting;
mod shop;
mod take;
mod time;
mod value;
mod wire;

/// One parser under test.
pub struct Target {
    pub name: &'static str,
    /// Panics when the input shows a defect.
    pub run: fn(&[u8]),
    /// Inputs that are right, to begin from.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// What the format is made of.
    pub words: &'static [&'static [u8]],
    /// What it may allocate beside what its input is worth.
    pub base_bytes: usize,
}

/// What a target may allocate that has no larger buffers of its own.
const SMALL: usize = 1 << 20;

macro_rules! target {
    ($module:ident, $base:expr) => {
        Target {
            name: stringify!($module),
            run: $module::run,
            seeds: $module::seeds,
            words: $module::WORDS,
            base_bytes: $base,
        }
    };
}

/// All of them.
pub const ALL: &[Target] = &[
    target!(apply, 2 * SMALL),
    target!(bulk, SMALL),
    target!(condition, SMALL),
    target!(config, 2 * SMALL),
    target!(control, SMALL),
    target!(copy, SMALL),
    target!(decimal, SMALL),
    target!(entry, SMALL),
    target!(frame, SMALL),
    target!(http, SMALL),
    // Blocks of a mebibyte, and as much again while a message is on its way.
    target!(inbox, 4 * SMALL),
    // A claimed entry length is believed up to `ENTRY_BYTES_MAX`, and blocks are read ahead.
    target!(journal, 160 * SMALL),
    target!(key, SMALL),
    target!(message, SMALL),
    target!(order, SMALL),
    target!(projection, 2 * SMALL),
    target!(row, SMALL),
    target!(segment, 160 * SMALL),
    target!(setting, SMALL),
    target!(time, SMALL),
    target!(value, SMALL),
];
