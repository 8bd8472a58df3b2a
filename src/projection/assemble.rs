//! Puts a document together from the rows of one view.

/// How a document is put together.
#[derive(Clone, Debug, Default)]
pub struct Shape;
