//! The store of a data folder, opened only as far as it may be believed.
