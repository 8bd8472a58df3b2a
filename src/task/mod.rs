//! Finite jobs over the same rooms.

pub mod backfill;
mod chunk_size;
mod incomplete;
mod key_texts;
