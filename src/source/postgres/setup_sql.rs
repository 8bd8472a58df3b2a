//! The script for whoever owns the write database: what must be there before the daemon starts, and nothing
//! else. With it the daemon needs neither ownership of the tables nor the right to create anything.

use super::catalog::{index_is_identity, name_list};
use super::sql::{identifier, literal};
use super::{Options, publication, slot};

/// SQL for psql: roles, rights, publication, slot, in this order. `tables` are the ones that projections
/// use, by schema and name. No passwords are in it.
///
/// It must not be run as one transaction: a slot cannot be made in one that has written.
pub fn script(options: &Options, tables: &[(String, String)]) -> String {
    let stream = options.user.as_str();
    let read = options.read_user.as_deref().unwrap_or(stream);
    let database = identifier(&options.database);
    let mut script = format!(
        "-- What projectord needs in database {database}. To be run there by a superuser; from PostgreSQL 16 on\n\
         -- the owner of the tables can, with CREATEROLE, REPLICATION and CREATE on the database. Not in one\n\
         -- transaction (psql without -1), and with ON_ERROR_STOP: what stands further down needs what is above.\n\
         -- PostgreSQL must run with wal_level = logical. Give max_slot_wal_keep_size a limit, so that a\n\
         -- daemon that stands still cannot fill the disk.\n\n\
         -- The role of the stream. REPLICATION lets it read everything that is written in this cluster:\n\
         -- treat its password as a superuser's, and let pg_hba.conf allow it database {database} only.\n\
         -- Set its password in psql with: \\password {stream_word}\n",
        database = one_line(&database),
        stream_word = one_line(stream),
    );
    script.push_str(&role(stream, "LOGIN REPLICATION"));
    script.push_str(&format!("GRANT CONNECT ON DATABASE {database} TO {};\n", identifier(stream)));
    if read != stream {
        script.push_str("\n-- The role of the backfill: it reads the tables below and never writes.\n");
        script.push_str(&role(read, "LOGIN"));
        script.push_str(&format!(
            "ALTER ROLE {role} SET default_transaction_read_only = on;\n\
             GRANT CONNECT ON DATABASE {database} TO {role};\n",
            role = identifier(read)
        ));
    }
    script.push_str(
        "\n-- To read what is there already. Partitions are read one by one; for those to come, grant the same\n\
         -- when they are made (ALTER DEFAULT PRIVILEGES). Row-level security would hide rows: where tables\n\
         -- have it, the role needs BYPASSRLS.\n",
    );
    script.push_str(&grants(read, tables));
    script.push_str(
        "\n-- The publication: an explicit list, everything published, partitions under their own names. It must\n\
         -- be there before the slot. Every table, and every partition of it, needs a usable identity: a primary\n\
         -- key that is not deferrable, unless REPLICA IDENTITY says otherwise. Without one its UPDATE and DELETE\n\
         -- would fail in the application from here on: then nothing is published.\n",
    );
    script.push_str(&publication_statement(&options.publication, tables));
    script.push_str(
        "\n-- The slot: from here on PostgreSQL keeps WAL until projectord has read it, so start it soon. Waits for\n\
         -- every transaction that is running now.\n",
    );
    script.push_str(&slot_statement(&options.slot, &options.publication));
    script
}

/// Looks and publishes in one statement, so that nothing harmful is published by a client that goes on behind an
/// error, either (hazards 1, 2). The gate looks more closely; this is what would break the application.
fn publication_statement(name: &str, tables: &[(String, String)]) -> String {
    let create = publication::create_statement(name, tables);
    if tables.is_empty() {
        return format!("{create};\n");
    }
    format!(
        "DO $do$ DECLARE harmed text; BEGIN\n  \
           SELECT pg_catalog.string_agg(c.oid::pg_catalog.regclass::text, ', ') INTO harmed\n  \
           FROM pg_catalog.pg_class r\n  \
           JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace\n  \
           CROSS JOIN LATERAL (SELECT r.oid UNION SELECT relid FROM pg_catalog.pg_partition_tree(r.oid)) t (oid)\n  \
           JOIN pg_catalog.pg_class c ON c.oid = t.oid\n  \
           WHERE (n.nspname, r.relname) IN ({names}) AND c.relreplident <> 'f'\n    \
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_index i WHERE {identity});\n  \
           IF harmed IS NOT NULL THEN\n    \
             RAISE EXCEPTION 'their UPDATE and DELETE would fail: no usable key in %', harmed;\n  \
           END IF;\n  \
           {create};\n\
         END $do$;\n",
        names = name_list(tables.iter().map(|(schema, name)| (schema.as_str(), name.as_str()))),
        identity = index_is_identity(),
    )
}

/// As [`slot::create`] makes it: one that standbys take over, where the server can do that. Never before the
/// publication, which a slot that is older does not know (hazard 11).
fn slot_statement(name: &str, publication: &str) -> String {
    let create = format!(
        "PERFORM pg_catalog.pg_create_logical_replication_slot({}, '{}'",
        literal(name).trim(),
        slot::PLUGIN
    );
    format!(
        "DO $do$ BEGIN\n  \
           IF NOT EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = {publication}) THEN\n    \
             RAISE EXCEPTION 'no slot is made before the publication';\n  \
           ELSIF pg_catalog.current_setting('server_version_num')::int >= 170000 THEN\n    \
             {create}, failover => true);\n  \
           ELSE\n    \
             {create});\n  \
           END IF;\n\
         END $do$;\n",
        publication = literal(publication).trim(),
    )
}

/// A name inside a comment must not end the comment.
fn one_line(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).collect()
}

/// A role that may be there already. `CREATE ROLE IF NOT EXISTS` does not exist.
fn role(name: &str, attributes: &str) -> String {
    format!(
        "DO $do$ BEGIN\n  \
           IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {literal}) THEN\n    \
             CREATE ROLE {role};\n  \
           END IF;\n\
         END $do$;\n\
         ALTER ROLE {role} {attributes};\n",
        literal = literal(name).trim(),
        role = identifier(name),
    )
}

fn grants(read: &str, tables: &[(String, String)]) -> String {
    let role = identifier(read);
    let mut schemas: Vec<&str> = tables.iter().map(|(schema, _)| schema.as_str()).collect();
    schemas.sort_unstable();
    schemas.dedup();
    let mut grants = String::new();
    for schema in schemas {
        grants.push_str(&format!("GRANT USAGE ON SCHEMA {} TO {role};\n", identifier(schema)));
    }
    for (schema, name) in tables {
        let table = format!("{}.{}", identifier(schema), identifier(name));
        grants.push_str(&format!("GRANT SELECT ON TABLE {table} TO {role};\n"));
    }
    if tables.is_empty() {
        return grants;
    }
    let names: Vec<_> = tables
        .iter()
        .map(|(schema, name)| format!("({}, {})", literal(schema).trim(), literal(name).trim()))
        .collect();
    grants.push_str(&format!(
        "DO $do$ DECLARE leaf pg_catalog.regclass; BEGIN\n  \
           FOR leaf IN\n    \
             SELECT t.relid FROM pg_catalog.pg_class c\n    \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace\n    \
             CROSS JOIN LATERAL pg_catalog.pg_partition_tree(c.oid) t\n    \
             WHERE c.relkind = 'p' AND (n.nspname, c.relname) IN ({names})\n  \
           LOOP\n    \
             EXECUTE pg_catalog.format('GRANT SELECT ON TABLE %s TO %I', leaf, {role});\n  \
           END LOOP;\n\
         END $do$;\n",
        names = names.join(", "),
        role = literal(read).trim(),
    ));
    grants
}
