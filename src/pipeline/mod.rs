//! The three loops and what watches them.

pub mod observer;
pub mod status;

pub use observer::Observer;
pub use status::Status;
