//! Whether the publication is the one of the last connect and of a shape that hides nothing and harms nobody.

use super::super::publication;
use super::super::sql::identifier;
use super::facts::Facts;
use super::judge::refused;
use super::{Expected, REBUILD, Report};

/// Judges the publication: is it the recorded one, whole, and of the shape that we need?
pub fn judge(facts: &Facts, expected: &Expected, report: &mut Report) {
    let name = &expected.publication;
    let Some(publication) = &facts.publication else {
        let names: Vec<_> =
            expected.tables.iter().map(|table| (table.schema.clone(), table.name.clone())).collect();
        report.problems.push(match &expected.recorded {
            None => refused(
                "publication-missing",
                format!("publication '{name}' does not exist in database '{}'", facts.database),
                format!("{};", publication::create_statement(name, &names)),
            ),
            // The slot decodes with the publications as they were at its position: made again under the same
            // name, the publication would still be missing there, or changes would be skipped (18).
            Some(_) => refused(
                "publication-missing",
                format!("publication '{name}' does not exist any more; changes since then were not sent"),
                format!("create it (projectord setup-sql), drop the slot, then {REBUILD}"),
            ),
        });
        return;
    };
    // A table that was taken out and put in again is a gap in that table alone: it counts as joined.
    if let Some(recorded) = &expected.recorded
        && publication.oid != recorded.publication_oid
    {
        report.problems.push(refused(
            "publication-changed",
            format!(
                "publication '{name}' has oid {}, recorded is {}",
                publication.oid, recorded.publication_oid
            ),
            format!("changes in between were not sent: drop the slot, then {REBUILD}"),
        ));
    }
    if let Some((reason, hint)) = misshapen(publication, name) {
        report.problems.push(refused("publication-shape", reason, hint));
    }
}

/// What is wrong with the publication as such, and the statement that mends it.
fn misshapen(publication: &publication::State, name: &str) -> Option<(String, String)> {
    let quoted = identifier(name);
    let by_list = format!(
        "make a publication with an explicit list of tables under another name (projectord setup-sql), and set source.publication; then {REBUILD}"
    );
    if publication.all_tables {
        let reason = "is FOR ALL TABLES: new tables without a primary key could not be updated any more";
        return Some((format!("publication '{name}' {reason}"), by_list));
    }
    if let Some(schema) = publication.schemas.first() {
        let reason =
            format!("publication '{name}' is FOR TABLES IN SCHEMA {schema}: nobody sees tables come and go");
        return Some((reason, by_list));
    }
    if !(publication.insert && publication.update && publication.delete && publication.truncate) {
        return Some((
            format!("publication '{name}' does not publish all of insert, update, delete, truncate"),
            format!("ALTER PUBLICATION {quoted} SET (publish = 'insert, update, delete, truncate');"),
        ));
    }
    if publication.via_root {
        return Some((
            format!(
                "publication '{name}' has publish_via_partition_root: the TRUNCATE of a partition would not come"
            ),
            format!("ALTER PUBLICATION {quoted} SET (publish_via_partition_root = false);"),
        ));
    }
    if publication.generated_columns {
        return Some((
            format!("publication '{name}' publishes generated columns, which the backfill does not read"),
            format!("ALTER PUBLICATION {quoted} SET (publish_generated_columns = none);"),
        ));
    }
    let odd = publication.members.iter().find(|member| member.has_column_list || member.has_row_filter)?;
    let what = if odd.has_row_filter { "row filter" } else { "column list" };
    let table = (odd.schema.clone(), odd.name.clone());
    Some((
        format!(
            "{}.{} has a {what} in publication '{name}', which blocks migrations and hides changes",
            odd.schema, odd.name
        ),
        format!(
            "ALTER PUBLICATION {quoted} DROP TABLE {}.{}; {};",
            identifier(&odd.schema),
            identifier(&odd.name),
            publication::add_statement(name, &[table])
        ),
    ))
}
