//! The session settings that decide how values are written as text (hazard 36).
//!
//! The stream, the backfill and the gate must agree on every one of them: a role or a database can bring
//! other ones, and the same value would then have two texts.

/// Name and value, as `SET` and the startup packet take them.
pub const PINNED: [(&str, &str); 8] = [
    ("datestyle", "ISO, MDY"),
    ("intervalstyle", "postgres"),
    ("timezone", "UTC"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
    ("lc_monetary", "C"),
    ("xmlbinary", "base64"),
    ("client_encoding", "UTF8"),
];

/// Whether a session's value writes texts as the pinned one does.
pub fn is_as_pinned(name: &str, value: &str) -> bool {
    match name {
        // The order of day and month matters to input in other styles than ISO only.
        "datestyle" => value.starts_with("ISO"),
        // From 1 on the shortest exact form is written (PostgreSQL docs, "Floating-Point Types").
        "extra_float_digits" => value.parse::<i32>().is_ok_and(|digits| digits >= 1),
        _ => PINNED.iter().any(|(pinned, wanted)| *pinned == name && wanted.eq_ignore_ascii_case(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pinned_values_are_as_pinned_and_others_are_not() {
        for (name, value) in PINNED {
            assert!(is_as_pinned(name, value), "{name}");
        }
        for (name, value) in [
            ("datestyle", "SQL, DMY"),
            ("timezone", "Asia/Kolkata"),
            ("extra_float_digits", "0"),
            ("bytea_output", "escape"),
            ("intervalstyle", "iso_8601"),
            ("unknown", "UTF8"),
        ] {
            assert!(!is_as_pinned(name, value), "{name}");
        }
    }
}
