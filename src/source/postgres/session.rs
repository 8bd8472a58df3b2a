//! Settings that must hold in every session of ours: a value's text depends on them, and roles and
//! databases may carry defaults of their own (hazard 36).

use super::sql::literal;
use super::{Error, Sql};

/// Name as `pg_settings` writes it, and value. Stream, COPY and SELECT must print a value the same way.
const PINNED: [(&str, &str); 10] = [
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
    ("client_encoding", "UTF8"),
    ("xmlbinary", "base64"),
    ("lc_monetary", "C"),
    // The text of regclass and its like.
    ("quote_all_identifiers", "off"),
    ("standard_conforming_strings", "on"),
];

/// The first of our own questions must survive these timeouts, too. And the planner thinks much of our questions to the
/// catalogs (they follow types and partitions down), so that it would have them compiled: half a second
/// of the server's processor for what takes milliseconds. Every supported version has these.
const AT_STARTUP: [(&str, &str); 4] = [
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("jit", "off"),
];

/// Defaults of a role that would end a session in the middle of its work. Later versions have more of them.
const TIMEOUTS: [&str; 5] = [
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "transaction_timeout",
];

/// The `options` of the startup message. They win over every default of role and database.
pub(super) fn startup_options(more: &[(&str, &str)]) -> String {
    let mut options = String::new();
    for (name, value) in PINNED.iter().chain(&AT_STARTUP).chain(more) {
        if !options.is_empty() {
            options.push(' ');
        }
        options.push_str("-c ");
        options.push_str(name);
        options.push('=');
        for character in value.chars() {
            if character == ' ' || character == '\\' {
                options.push('\\');
            }
            options.push(character);
        }
    }
    options
}

/// Sees that the settings do hold (something between us and the server may have dropped them), and switches
/// the server's timeouts off.
///
/// # Errors
/// `source-settings` when one does not hold.
pub(super) async fn settle(sql: &mut dyn Sql) -> Result<(), Error> {
    let names: Vec<String> = PINNED.iter().map(|(name, _)| literal(name)).collect();
    let query =
        format!("SELECT name, setting FROM pg_catalog.pg_settings WHERE name IN ({})", names.join(", "));
    let rows = sql.rows("read the session's settings", &query).await?;
    for (name, expected) in PINNED {
        let found = rows.iter().find(|row| row.first().is_some_and(|found| found.as_deref() == Some(name)));
        let found = found.and_then(|row| row.get(1)?.as_deref());
        if found != Some(expected) {
            return Err(Error::Refused {
                code: "source-settings",
                operation: "pin the session's settings",
                reason: format!("{name} is {} instead of {expected}", found.unwrap_or("unknown")),
                hint: "connect to the server directly, not through a pooler".to_owned(),
            });
        }
    }
    let off: Vec<_> = TIMEOUTS.iter().map(|name| (*name, 0)).collect();
    set_milliseconds(sql, "switch the server's timeouts off", &off).await
}

/// Sets those of the settings, in milliseconds, that this version of the server has.
pub(super) async fn set_milliseconds(
    sql: &mut dyn Sql,
    operation: &'static str,
    settings: &[(&str, u64)],
) -> Result<(), Error> {
    let values: Vec<String> =
        settings.iter().map(|(name, value)| format!("({}, '{value}')", literal(name))).collect();
    let query = format!(
        "SELECT pg_catalog.set_config(s.name, v.setting, false) FROM pg_catalog.pg_settings s \
         JOIN (VALUES {}) v (name, setting) ON v.name = s.name",
        values.join(", ")
    );
    sql.rows(operation, &query).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_with_spaces_are_escaped_in_the_startup_options() {
        let options = startup_options(&[("row_security", "off")]);
        assert!(options.starts_with(r"-c DateStyle=ISO,\ MDY -c IntervalStyle=postgres "), "{options}");
        assert!(options.ends_with(" -c row_security=off"), "{options}");
    }
}
