//! 'Did you mean': the known word that is nearest to a mistyped one.

/// Words further apart than this many edits are not each other's typing mistakes.
const DISTANCE_MAX: usize = 3;

/// The word out of `known` that `word` was probably meant to be.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = DISTANCE_MAX.min(word.chars().count().div_ceil(2));
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace) that lead from one word to the other, ignoring case and `-` against `_`.
fn distance(left: &str, right: &str) -> usize {
    let plain = |c: char| if c == '-' { '_' } else { c.to_ascii_lowercase() };
    let right: Vec<char> = right.chars().map(plain).collect();
    let mut previous: Vec<usize> = (0..=right.len()).collect();
    for (row, a) in left.chars().map(plain).enumerate() {
        let mut diagonal = previous[0];
        previous[0] = row + 1;
        for (column, b) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = previous[column + 1];
            previous[column + 1] = replaced.min(diagonal + 1).min(previous[column] + 1);
        }
    }
    previous[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_mistakes_find_their_word_and_other_words_find_none() {
        let known = ["host", "port", "password", "password_file", "sslmode"];
        for (word, expected) in [
            ("hots", Some("host")),
            ("Port", Some("port")),
            ("passwort", Some("password")),
            ("password-file", Some("password_file")),
            ("ssl_mode", Some("sslmode")),
            ("kafka_topic", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
    }
}
