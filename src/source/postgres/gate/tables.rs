//! Whether a table, with all its leaves, can be followed: without harm to the application, and without
//! changes or rows that stay hidden.

use std::collections::BTreeSet;

use super::super::answer::{Answer, answers};
use super::super::catalog::{INDEX_COLUMNS, identity, index_is_identity, name_list, tree_of};
use super::super::sql::identifier;
use super::super::{Error, Sql};
use super::facts::Facts;
use super::judge::refused;
use super::{CHECK, Expected, NeededTable, Report, Warning};
use crate::model::ReplicaIdentity;

/// A plain table, a partitioned one, or a partition of it at any level.
#[derive(Clone, Debug)]
pub struct Relation {
    /// Oid of the table that was asked for.
    pub root: u32,
    pub oid: u32,
    pub schema: String,
    pub name: String,
    /// `pg_class.relkind`: r, p or f.
    pub kind: String,
    /// `pg_class.relpersistence` is p.
    pub permanent: bool,
    pub identity: ReplicaIdentity,
    /// The columns that tell its rows apart in the stream; empty when UPDATE and DELETE would fail, or
    /// could only be told apart by the whole row.
    pub key: BTreeSet<String>,
    /// The primary key is DEFERRABLE, which makes it useless here (hazard 2).
    pub deferrable: bool,
    /// A policy decides what the reading role sees (hazard 44).
    pub row_security: bool,
    /// The reading role may SELECT from the table as a whole; rights on columns do not let it lock.
    pub readable: bool,
    /// Classic inheritance (hazard 29).
    pub has_children: bool,
    /// Generated columns, by name.
    pub generated: Vec<String>,
}

impl Relation {
    fn is_root(&self) -> bool {
        self.oid == self.root
    }

    /// Whether the backfill reads it: it reads leaves, not the partitioned tables above them.
    fn is_read(&self) -> bool {
        self.kind == "r"
    }

    fn spoken(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    fn quoted(&self) -> String {
        format!("{}.{}", identifier(&self.schema), identifier(&self.name))
    }
}

/// Asks about these tables and everything below them. Rights are those of `read_role`; without one nobody
/// reads and every relation is readable to no one.
pub async fn gather<'a>(
    sql: &mut dyn Sql,
    names: impl Iterator<Item = (&'a str, &'a str)>,
    read_role: Option<u32>,
) -> Result<Vec<Relation>, Error> {
    let names = name_list(names);
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let roots = format!(
        "SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p') AND (n.nspname, c.relname) IN ({names})"
    );
    let role = read_role.unwrap_or(0);
    let statement = format!(
        "{tree}
         SELECT t.root, c.oid, n.nspname, c.relname, c.relkind, c.relpersistence = 'p', c.relreplident,
                (SELECT {INDEX_COLUMNS} FROM pg_catalog.pg_index i
                 WHERE {index_is_identity} LIMIT 1),
                EXISTS (SELECT FROM pg_catalog.pg_index i
                        WHERE i.indrelid = c.oid AND i.indisprimary AND NOT i.indimmediate),
                c.relrowsecurity AND NOT COALESCE(r.rolsuper OR r.rolbypassrls, false)
                    AND (c.relforcerowsecurity OR NOT pg_catalog.pg_has_role(r.oid, c.relowner, 'USAGE')),
                r.oid IS NOT NULL AND pg_catalog.has_schema_privilege(r.oid, n.oid, 'USAGE')
                    AND pg_catalog.has_table_privilege(r.oid, c.oid, 'SELECT'),
                c.relkind = 'r' AND EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhparent = c.oid),
                (SELECT pg_catalog.json_agg(a.attname ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> '')
         FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         LEFT JOIN pg_catalog.pg_roles r ON r.oid = {role}
         ORDER BY t.root, c.oid <> t.root, c.oid",
        tree = tree_of(&roots),
        index_is_identity = index_is_identity()
    );
    let rows = sql.rows(CHECK, &statement).await?;
    answers(CHECK, &rows).map(|row| relation(&row)).collect()
}

fn relation(row: &Answer<'_>) -> Result<Relation, Error> {
    Ok(Relation {
        root: row.parsed(0)?,
        oid: row.parsed(1)?,
        schema: row.text(2)?.to_owned(),
        name: row.text(3)?.to_owned(),
        kind: row.text(4)?.to_owned(),
        permanent: row.flag(5)?,
        identity: identity(row, 6)?,
        key: row.names(7)?.into_iter().collect(),
        deferrable: row.flag(8)?,
        row_security: row.flag(9)?,
        readable: row.flag(10)?,
        has_children: row.flag(11)?,
        generated: row.names(12)?,
    })
}

/// Judges every table that is needed.
pub fn judge(facts: &Facts, expected: &Expected, report: &mut Report) {
    if facts.read_role_oid.is_none() && !expected.tables.is_empty() {
        let role = expected.read_role.as_deref().unwrap_or(&facts.role);
        report.problems.push(refused(
            "table-no-right",
            format!("role '{role}', which is to read the tables, does not exist"),
            "run the script that `projectord setup-sql` prints, or set source.read_user",
        ));
    }
    for table in &expected.tables {
        let root = facts.relations.iter().find(|relation| {
            relation.is_root() && relation.schema == table.schema && relation.name == table.name
        });
        let Some(root) = root else {
            report.problems.push(refused(
                "table-missing",
                format!("{}.{} is no table of database '{}'", table.schema, table.name, facts.database),
                "correct the table's name in the projection, or create the table",
            ));
            continue;
        };
        if let Some(publication) = &facts.publication
            && !publication.members.iter().any(|member| member.table_oid == root.oid)
        {
            let name = (root.schema.clone(), root.name.clone());
            report.problems.push(refused(
                "publication-lacks-table",
                format!("{} is not in publication '{}'", root.spoken(), expected.publication),
                format!("{};", super::super::publication::add_statement(&expected.publication, &[name])),
            ));
        }
        let family: Vec<_> = facts.relations.iter().filter(|relation| relation.root == root.oid).collect();
        for relation in &family {
            report.problems.extend(unpublishable(relation, root));
            if facts.read_role_oid.is_some() && relation.is_read() {
                report.problems.extend(unreadable(relation, facts, expected));
            }
        }
        generated(root, table, report);
    }
}

/// Refuses tables that must not be put into a publication as they are.
pub(in super::super) async fn check_publishable(
    sql: &mut dyn Sql,
    tables: &[(String, String)],
) -> Result<(), Error> {
    let names = tables.iter().map(|(schema, name)| (schema.as_str(), name.as_str()));
    let relations = gather(sql, names, None).await?;
    for relation in &relations {
        let root = relations.iter().find(|root| root.oid == relation.root).unwrap_or(relation);
        if let Some(problem) = unpublishable(relation, root) {
            return Err(problem);
        }
    }
    Ok(())
}

/// Why a relation's changes could not be followed, or would fail in the application.
fn unpublishable(relation: &Relation, root: &Relation) -> Option<Error> {
    let (spoken, quoted) = (relation.spoken(), relation.quoted());
    if relation.kind == "f" {
        let reason = format!("partition {spoken} is a foreign table, whose changes are not in the WAL");
        return Some(refused(
            "table-foreign-partition",
            reason,
            format!("ALTER TABLE {} DETACH PARTITION {quoted};", root.quoted()),
        ));
    }
    if !relation.permanent {
        let reason = format!("{spoken} is unlogged or temporary: its changes are not in the WAL");
        return Some(refused("table-unlogged", reason, format!("ALTER TABLE {quoted} SET LOGGED;")));
    }
    if relation.has_children {
        let reason =
            format!("{spoken} has inheritance children, whose rows are rows of other tables to the stream");
        return Some(refused(
            "table-inheritance",
            reason,
            "take the table out of the projections, or partition it instead",
        ));
    }
    // Rows of a partitioned table are told apart by its leaves' identities; its own is what joins use.
    if relation.key.is_empty() {
        return Some(no_key(relation));
    }
    if relation.key != root.key {
        return Some(refused(
            "table-no-key",
            format!("partition {spoken} has another replica identity than {}", root.spoken()),
            format!("ALTER TABLE {quoted} REPLICA IDENTITY DEFAULT;"),
        ));
    }
    None
}

/// No usable identity: the application's UPDATE and DELETE fail once the table is published (hazards 1, 2,
/// 5), or rows can be told apart by all their columns only (rule 40).
fn no_key(relation: &Relation) -> Error {
    let (spoken, quoted) = (relation.spoken(), relation.quoted());
    let (reason, hint) = match relation.identity {
        ReplicaIdentity::Nothing => (
            format!("{spoken} has REPLICA IDENTITY NOTHING"),
            format!("ALTER TABLE {quoted} REPLICA IDENTITY DEFAULT;"),
        ),
        ReplicaIdentity::Index => (
            format!("the index that was the replica identity of {spoken} is gone or invalid"),
            format!("ALTER TABLE {quoted} REPLICA IDENTITY DEFAULT;"),
        ),
        ReplicaIdentity::Default | ReplicaIdentity::Full if relation.deferrable => (
            format!("the primary key of {spoken} is DEFERRABLE, which does not count as a replica identity"),
            format!("make the primary key of {quoted} NOT DEFERRABLE"),
        ),
        ReplicaIdentity::Full => (
            format!("{spoken} has REPLICA IDENTITY FULL and no primary key: equal rows cannot be told apart"),
            format!("ALTER TABLE {quoted} ADD PRIMARY KEY (…);"),
        ),
        ReplicaIdentity::Default => {
            (format!("{spoken} has no primary key"), format!("ALTER TABLE {quoted} ADD PRIMARY KEY (…);"))
        }
    };
    refused("table-no-key", reason, hint)
}

/// Why the backfill would not see all rows.
fn unreadable(relation: &Relation, facts: &Facts, expected: &Expected) -> Option<Error> {
    let role = expected.read_role.as_deref().unwrap_or(&facts.role);
    if !relation.readable {
        return Some(refused(
            "table-no-right",
            format!("role '{role}' may not read {}", relation.spoken()),
            format!(
                "GRANT USAGE ON SCHEMA {} TO {role}; GRANT SELECT ON TABLE {} TO {role};",
                identifier(&relation.schema),
                relation.quoted(),
                role = identifier(role)
            ),
        ));
    }
    if relation.row_security {
        return Some(refused(
            "table-row-security",
            format!("row-level security hides rows of {} from role '{role}'", relation.spoken()),
            format!("ALTER ROLE {} BYPASSRLS;", identifier(role)),
        ));
    }
    None
}

/// Generated columns are not in the stream (18 can send stored ones, which the backfill does not read yet:
/// hazard 35).
fn generated(root: &Relation, table: &NeededTable, report: &mut Report) {
    const HINT: &str = "compute the value in the projection, or fill an ordinary column by a trigger";
    for column in &root.generated {
        let text =
            format!("{}.{column} is a generated column, which the stream does not carry", root.spoken());
        match &table.columns {
            Some(used) if used.contains(column) => {
                report.problems.push(refused("column-generated", text, HINT));
            }
            Some(_) => {}
            None => report.warnings.push(Warning { code: "column-generated", text, hint: HINT.to_owned() }),
        }
    }
}
