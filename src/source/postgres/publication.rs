//! The publication: which tables PostgreSQL sends us.
//!
//! Ours is an explicit list of tables, without column lists and row filters, that publishes everything and
//! leaves under their own oids (hazards 1, 4, 28). It must exist before the slot (hazard 11). `FOR ALL
//! TABLES` is never made here: tables that the application creates later could no longer be updated.

use super::answer::{Answer, answers, pin_search_path};
use super::gate::tables;
use super::sql::{identifier, literal};
use super::{Error, Sql};

const READ: &str = "read the publication";

/// A publication as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub oid: u32,
    pub insert: bool,
    pub update: bool,
    pub delete: bool,
    pub truncate: bool,
    /// `publish_via_partition_root`.
    pub via_root: bool,
    /// `FOR ALL TABLES`.
    pub all_tables: bool,
    /// `FOR TABLES IN SCHEMA` (15+).
    pub schemas: Vec<String>,
    /// Whether generated columns are published (18+).
    pub generated_columns: bool,
    /// The tables that are listed one by one, by oid.
    pub members: Vec<Member>,
}

/// A table that is listed in a publication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    pub table_oid: u32,
    /// `pg_publication_rel.oid`: another one after the table was dropped from the publication and added
    /// again, which leaves no trace in the stream (hazard 33).
    pub membership_oid: u32,
    pub schema: String,
    pub name: String,
    /// Column list (15+).
    pub has_column_list: bool,
    /// Row filter (15+).
    pub has_row_filter: bool,
}

impl State {
    /// As an [`Identity`](crate::source::Identity) records it.
    pub fn membership(&self) -> Vec<(u32, u32)> {
        let mut pairs: Vec<_> =
            self.members.iter().map(|member| (member.table_oid, member.membership_oid)).collect();
        pairs.sort_unstable();
        pairs
    }
}

/// Reads a publication; nothing when there is none of this name in the database.
pub async fn state(sql: &mut dyn Sql, name: &str) -> Result<Option<State>, Error> {
    pin_search_path(sql, READ).await?;
    // Columns that newer versions have are asked for through JSON: there they are absent, not an error.
    let statement = format!(
        "SELECT p.oid, p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate, p.pubviaroot, p.puballtables,
                COALESCE(pg_catalog.to_jsonb(p) ->> 'pubgencols', 'n') NOT IN ('n', 'false')
         FROM pg_catalog.pg_publication p WHERE p.pubname = {}",
        literal(name)
    );
    let rows = sql.rows(READ, &statement).await?;
    let Some(row) = answers(READ, &rows).next() else { return Ok(None) };
    let mut state = State {
        oid: row.parsed(0)?,
        insert: row.flag(1)?,
        update: row.flag(2)?,
        delete: row.flag(3)?,
        truncate: row.flag(4)?,
        via_root: row.flag(5)?,
        all_tables: row.flag(6)?,
        generated_columns: row.flag(7)?,
        schemas: Vec::new(),
        members: Vec::new(),
    };
    let statement = format!(
        "SELECT r.prrelid, r.oid, n.nspname, c.relname,
                pg_catalog.to_jsonb(r) ->> 'prattrs' IS NOT NULL, pg_catalog.to_jsonb(r) ->> 'prqual' IS NOT NULL
         FROM pg_catalog.pg_publication_rel r
         JOIN pg_catalog.pg_class c ON c.oid = r.prrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE r.prpubid = {} ORDER BY r.prrelid",
        state.oid
    );
    let rows = sql.rows(READ, &statement).await?;
    state.members = answers(READ, &rows).map(|row| member(&row)).collect::<Result<_, _>>()?;
    // The catalog of schemas came with 15; before, the word to look for is not there.
    let exists = "SELECT FROM pg_catalog.pg_class c WHERE c.relname = 'pg_publication_namespace'
                  AND c.relnamespace = 'pg_catalog'::regnamespace";
    if !sql.rows(READ, exists).await?.is_empty() {
        let statement = format!(
            "SELECT n.nspname FROM pg_catalog.pg_publication_namespace s
             JOIN pg_catalog.pg_namespace n ON n.oid = s.pnnspid WHERE s.pnpubid = {} ORDER BY 1",
            state.oid
        );
        let rows = sql.rows(READ, &statement).await?;
        state.schemas =
            answers(READ, &rows).map(|row| row.text(0).map(str::to_owned)).collect::<Result<_, _>>()?;
    }
    Ok(Some(state))
}

fn member(row: &Answer<'_>) -> Result<Member, Error> {
    Ok(Member {
        table_oid: row.parsed(0)?,
        membership_oid: row.parsed(1)?,
        schema: row.text(2)?.to_owned(),
        name: row.text(3)?.to_owned(),
        has_column_list: row.flag(4)?,
        has_row_filter: row.flag(5)?,
    })
}

/// Creates the publication for these tables, by schema and name. Needs CREATE on the database and ownership
/// of the tables. Locks that it waits for do not block the application's reads and writes.
///
/// # Errors
/// Refuses, before anything is changed, tables whose UPDATE or DELETE would fail in the application once
/// they are published (hazards 1, 2), and tables whose rows would not all come.
pub async fn create(sql: &mut dyn Sql, name: &str, tables: &[(String, String)]) -> Result<(), Error> {
    const CREATE: &str = "create the publication";
    pin_search_path(sql, CREATE).await?;
    tables::check_publishable(sql, tables).await?;
    sql.rows(CREATE, &create_statement(name, tables)).await?;
    Ok(())
}

/// Adds tables. Rows written by transactions that were running at that moment may never come: a backfill
/// must wait them out (hazard 10, rule 12).
///
/// # Errors
/// As [`create`].
pub async fn add_tables(sql: &mut dyn Sql, name: &str, tables: &[(String, String)]) -> Result<(), Error> {
    const ADD: &str = "add tables to the publication";
    if tables.is_empty() {
        return Ok(());
    }
    pin_search_path(sql, ADD).await?;
    tables::check_publishable(sql, tables).await?;
    sql.rows(ADD, &add_statement(name, tables)).await?;
    Ok(())
}

/// `CREATE PUBLICATION` as [`create`] runs it.
pub fn create_statement(name: &str, tables: &[(String, String)]) -> String {
    let list = match table_list(tables) {
        list if list.is_empty() => String::new(),
        list => format!(" FOR TABLE {list}"),
    };
    format!(
        "CREATE PUBLICATION {}{list} WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = false)",
        identifier(name)
    )
}

/// `ALTER PUBLICATION … ADD TABLE` as [`add_tables`] runs it.
pub fn add_statement(name: &str, tables: &[(String, String)]) -> String {
    format!("ALTER PUBLICATION {} ADD TABLE {}", identifier(name), table_list(tables))
}

/// ONLY keeps classic inheritance children out; leaves of a partitioned table belong to it all the same.
fn table_list(tables: &[(String, String)]) -> String {
    tables
        .iter()
        .map(|(schema, name)| format!("ONLY {}.{}", identifier(schema), identifier(name)))
        .collect::<Vec<_>>()
        .join(", ")
}
