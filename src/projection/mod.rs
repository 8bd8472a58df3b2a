//! What a document is, and what a row change makes dirty. Pure: functions of their arguments.

pub mod assemble;
pub mod plan;

/// Raised when the same definition over the same rows gives another document than before, so that a new
/// program makes new generations (rule 8).
pub const ASSEMBLER: u32 = 1;
