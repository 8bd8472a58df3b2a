//! Bytes of the logical replication stream to changes, and COPY text to cells. Pure.
//!
//! [`frame`]: what a CopyData message of the replication protocol holds. [`message`] and [`decoder`]: the
//! pgoutput messages inside, protocol version 1. [`copy`]: COPY text format, as backfill chunks have it.

pub mod copy;
pub mod decoder;
pub mod frame;
pub mod message;
