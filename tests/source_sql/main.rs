//! The SQL side of the PostgreSQL source against a real, private server.
//!
//! Each test has a cluster of its own in a temporary folder, reached through a unix socket only.
//! `PROJECTORD_PG_BIN` names the folder of initdb and pg_ctl; PostgreSQL 15 of Debian without it.

mod catalog;
mod chunks;
mod cluster;
mod gate;
mod gate_tables;
mod replication;
mod setup;
