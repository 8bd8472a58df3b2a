//! projectord keeps Elasticsearch documents exactly in step with a PostgreSQL write database.
//!
//! What happened is written down, durably and in order: the journal. Rows are a fold of it. A document is a
//! pure function of the rows. Whatever happens only makes documents dirty.
//!
//! # The flow
//!
//! ```text
//! source::postgres --> pipeline::ingest --> journal --> pipeline::apply --> store --> pipeline::deliver --> sink
//!      ^ confirmed = durable    |                            ^   |  view ------^              |
//!      +------------------------+                            |   +-- projection::affected     +- projection::assemble
//!                                                            +------------- settles ----------+
//! ```
//!
//! Each loop reads what the one before has made durable or visible; none calls another. `pipeline::run` has
//! them turned, connects, and looks after things; `task::backfill` reads tables beside the stream.
//!
//! # The words
//!
//! - *Entry*: a numbered record of the journal. One number orders everything.
//! - *Mark*: one dirty document, with the first and the last entry that dirtied it. *Scan*: a cursor over many,
//!   unfolded into marks. *Barrier*: what an ended scan leaves until they are settled.
//! - *View*: a consistent state of the store, at an entry. *Version*: epoch (one per start) and that entry.
//! - *Generation*: one build of a projection, with an index of its own behind the alias.
//! - *Unit*, *chunk*, *marker L*: a table or leaf under backfill, rows of one SELECT, the entry that divides
//!   older from newer than the backfill.
//!
//! docs/architecture.md has the whole glossary; docs/rules.md says what `rule 22` and `hazard 23` are.
//!
//! # What always holds
//!
//! 1. Nothing is confirmed to PostgreSQL that is not fsynced here.
//! 2. Rows, links, marks and the entry reached are one batch; apply is the only writer.
//! 3. Apply reads the journal alone: never a catalog, a clock, a file.
//! 4. Nobody sees a state inside a transaction.
//! 5. A mark goes only when a view at or behind its last entry is in the sink, or in quarantine.
//! 6. A document is in at most one request at a time; versions only grow.
//! 7. Doubt is a refusal with a code (docs/errors.md), never silence.
//! 8. No row values in logs and errors; everything that grows has a named limit.
//!
//! # Reading order
//!
//! 1. [`model`]: the words as types.
//! 2. [`journal::entry`]: what can happen.
//! 3. [`pipeline::ingest`].
//! 4. [`projection::plan`] and [`projection::affected`]: what a change dirties.
//! 5. [`store::dirty`], [`store::rows`], [`store::meta`].
//! 6. [`pipeline::apply`].
//! 7. [`pipeline::deliver`].
//! 8. [`task::backfill`].
//! 9. [`pipeline::run`]: all of it together.
//!
//! Then the doors, [`source`] and [`sink`], and the walls: [`config`], [`cli`], [`control`], [`http`], [`metrics`].

pub mod cli;
pub mod config;
pub mod control;
pub mod error;
pub mod failpoint;
pub mod http;
pub mod journal;
pub mod logging;
pub mod metrics;
pub mod model;
pub mod pgoutput;
pub mod pipeline;
pub mod planted;
pub mod progress;
pub mod projection;
pub mod retry;
pub mod shutdown;
pub mod sink;
pub mod source;
pub mod store;
pub mod task;
