//! PostgreSQL in all its moods: whatever it does to rows without telling, or tells in a way of its own, the
//! documents follow, or the daemon stops with a word.
//!
//! Each file has one cluster, one database and one daemon for all its moods. `PROJECTORD_TEST_POSTGRES` names
//! the version of PostgreSQL; `scripts/test --all` goes through all that are supported.

mod support;

#[path = "moods/ddl.rs"]
mod ddl;
#[path = "moods/identity.rs"]
mod identity;
#[path = "moods/partitions.rs"]
mod partitions;
#[path = "moods/publication.rs"]
mod publication;
#[path = "moods/rows.rs"]
mod rows;
#[path = "moods/world.rs"]
mod world;
