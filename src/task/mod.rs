//! Finite jobs over the same rooms.

pub mod backfill;
