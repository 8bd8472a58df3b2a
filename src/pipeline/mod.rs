//! The three loops and what watches them.

pub mod apply;
pub mod deliver;
pub mod ingest;
pub mod observer;
pub mod run;
pub mod status;
#[cfg(test)]
mod tests;

pub use observer::Observer;
pub use status::Status;
