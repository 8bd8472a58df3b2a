//! Whether `synchronous_standby_names` takes our connection for a standby (rule 1; PostgreSQL docs,
//! "Replication", `synchronous_standby_names`).

/// The name in the list that means us: `*`, or our application_name in any case. A name in quotes means the
/// same as without.
pub fn matching<'a>(setting: &'a str, application_name: &str) -> Option<&'a str> {
    // `FIRST n (…)`, `ANY n (…)` and `n (…)`: only what is in the parentheses are names.
    let list = match (setting.find('('), setting.find('"')) {
        (Some(open), quote) if quote.is_none_or(|quote| open < quote) => &setting[open + 1..],
        _ => setting,
    };
    names(list).find(|name| *name == "*" || name.eq_ignore_ascii_case(application_name))
}

fn names(list: &str) -> impl Iterator<Item = &str> {
    let mut rest = list;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', '\n', '\r', ',', ')']);
        if rest.is_empty() {
            return None;
        }
        let (name, behind) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_at(rest.find([' ', '\t', '\n', '\r', ',', ')', '"']).unwrap_or(rest.len())),
        };
        rest = behind;
        Some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_name_and_the_star_are_found_in_every_form_of_the_setting() {
        for (setting, expected) in [
            ("", None),
            ("*", Some("*")),
            ("\"*\"", Some("*")),
            ("nobody", None),
            ("projectord", Some("projectord")),
            ("a, ProjectorD ,b", Some("ProjectorD")),
            ("a,\"projectord\"", Some("projectord")),
            ("FIRST 2 (a, b)", None),
            ("FIRST 2 (a, projectord)", Some("projectord")),
            ("ANY 1(*)", Some("*")),
            ("2 (a , b, \"x y\", projectord )", Some("projectord")),
            ("\"odd (projectord\", c", None),
            ("projectord2, my_projectord", None),
            ("\"unclosed", None),
        ] {
            assert_eq!(matching(setting, "projectord"), expected, "{setting}");
        }
    }
}
