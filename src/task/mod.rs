//! Finite jobs over the same rooms.

pub mod backfill;
mod chunk_size;
mod key_texts;
