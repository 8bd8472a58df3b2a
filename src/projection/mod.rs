//! What a document is, and what a row change makes dirty. Pure: functions of their arguments.
//!
//! Flow: a file becomes a [`definition`], definitions and catalog facts become a [`plan`] set (by
//! [`compile`]), and a plan over rows becomes a document (by [`assemble`]) and an index mapping (by
//! [`mapping`]). What kinds of fields there are is in [`field`]; conditions on rows are in [`predicate`];
//! how PostgreSQL's texts become JSON, and how they compare, is in [`value`].

pub mod affected;
pub mod assemble;
pub mod compile;
pub mod definition;
mod field;
mod mapping;
pub mod plan;
pub mod predicate;
#[cfg(test)]
pub mod shop;
pub mod value;

/// Raised when the same definition over the same rows gives another document than before, so that a new
/// program makes new generations (rule 8).
pub const ASSEMBLER: u32 = 2;
