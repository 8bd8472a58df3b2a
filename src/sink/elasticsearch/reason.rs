//! What may be said of a refusal: the cluster's own texts quote documents, ours must not.
//!
//! A text is recognised by the words that the cluster puts before anything that comes out of a document, and
//! put together again from the parts that come out of the mapping. What is not recognised is withheld. Texts
//! about indices, aliases and rights hold no rows; they are cut and cleaned only.

/// Characters kept of a text that holds no row values.
const TEXT_CHARS_MAX: usize = 300;
/// Longer names are not taken for field names.
const NAME_CHARS_MAX: usize = 128;

/// The short stable word for an error type; what does not look like one becomes `unknown`.
pub(super) fn code(error_type: &str) -> String {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let fits = !error_type.is_empty() && error_type.len() <= 64 && error_type.chars().all(word);
    if fits { error_type.to_owned() } else { "unknown".to_owned() }
}

/// A sentence about one refused document, without any of its content.
pub(super) fn of_document(error_type: &str, text: &str, cause: Option<&str>) -> String {
    let mut sentence = describe(error_type, text).unwrap_or_else(|| {
        "the sink's own words are withheld, because they may quote the document".to_owned()
    });
    if let Some(cause) = cause {
        sentence.push_str(&format!(" ({})", code(cause)));
    }
    sentence
}

fn describe(error_type: &str, text: &str) -> Option<String> {
    let text = without_place(text);
    if let Some(rest) = text.strip_prefix("failed to parse field [") {
        let (field, rest) = name(rest)?;
        return Some(match rest.strip_prefix(" of type [").and_then(name) {
            Some((kind, _)) => format!("field '{field}' of type {kind} cannot hold the value"),
            None => format!("field '{field}' cannot hold the value"),
        });
    }
    if let Some(rest) = text.strip_prefix("object mapping for [") {
        let (field, _) = name(rest)?;
        return Some(format!("field '{field}' is an object in the mapping, and the value is none"));
    }
    if let Some(rest) = text.strip_prefix("mapping set to strict, dynamic introduction of [") {
        // The new key is ours only at the top of the document. Further in it may be a key out of a json
        // column, which is row content.
        let (key, rest) = name(rest)?;
        let (within, _) = name(rest.strip_prefix(" within [")?)?;
        return Some(match within {
            "_doc" => format!("field '{key}' is not in the mapping, and the mapping is strict"),
            within => {
                format!("a key inside field '{within}' is not in the mapping, and the mapping is strict")
            }
        });
    }
    if let Some(rest) = text.strip_prefix("Document contains at least one immense term in field=\"") {
        let field = rest.split('"').next().filter(|field| is_name(field))?;
        return Some(format!("field '{field}' holds a term of more than 32766 bytes: set ignore_above"));
    }
    if text.starts_with("Limit of total fields [") {
        return Some("the index has too many fields (index.mapping.total_fields.limit)".to_owned());
    }
    if text.starts_with("The number of nested documents has exceeded") {
        return Some("too many nested objects (index.mapping.nested_objects.limit)".to_owned());
    }
    (error_type == "strict_dynamic_mapping_exception")
        .then(|| "a field is not in the mapping, and the mapping is strict".to_owned())
}

/// Newer versions put `[line:column] ` before the text.
fn without_place(text: &str) -> &str {
    let place = |c: char| c.is_ascii_digit() || c == ':';
    match text.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((inner, rest)) if inner.contains(':') && inner.chars().all(place) => rest,
        _ => text,
    }
}

/// The name up to the next bracket, and what follows it.
fn name(text: &str) -> Option<(&str, &str)> {
    text.split_once(']').filter(|(name, _)| is_name(name))
}

fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '@');
    !name.is_empty() && name.len() <= NAME_CHARS_MAX && name.chars().all(plain)
}

/// A text that cannot hold row values (about indices, settings, rights): one line, not endless.
pub(super) fn administrative(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let mut cut: String = text.chars().take(TEXT_CHARS_MAX).map(clean).collect();
    if text.chars().nth(TEXT_CHARS_MAX).is_some() {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_name_the_field_and_never_quote_the_document() {
        let check = |text: &str, expected: &str| {
            let said = of_document("document_parsing_exception", text, None);
            assert_eq!(said, expected, "{text}");
            assert!(!said.contains("secret"), "{said}");
        };
        let withheld = "the sink's own words are withheld, because they may quote the document";
        check(
            "[1:6] failed to parse field [n] of type [long] in document with id 'secret'. Preview of field's value: 'secret]'",
            "field 'n' of type long cannot hold the value",
        );
        check(
            "failed to parse field [items.price] of type [double] in document with id '3'. Preview of field's value: 'secret'",
            "field 'items.price' of type double cannot hold the value",
        );
        check(
            "[1:6] object mapping for [o] tried to parse field [o] as object, but found a concrete value",
            "field 'o' is an object in the mapping, and the value is none",
        );
        check(
            "[1:16] mapping set to strict, dynamic introduction of [zzz] within [_doc] is not allowed",
            "field 'zzz' is not in the mapping, and the mapping is strict",
        );
        check(
            "mapping set to strict, dynamic introduction of [secret] within [attributes] is not allowed",
            "a key inside field 'attributes' is not in the mapping, and the mapping is strict",
        );
        check(
            "Document contains at least one immense term in field=\"a\" (whose UTF8 encoding is longer than the max length 32766), all of which were skipped. The prefix of the first immense term is: '[115, 101]...', original message: secret",
            "field 'a' holds a term of more than 32766 bytes: set ignore_above",
        );
        check("failed to parse field [a secret name] of type [long]", withheld);
        check("the value secret is bad", withheld);
        check("[secret] failed to parse field [n]", withheld);
        check("[1:2", withheld);
        check("", withheld);
    }

    #[test]
    fn a_type_that_is_no_word_is_not_repeated() {
        assert_eq!(code("mapper_parsing_exception"), "mapper_parsing_exception");
        assert_eq!(code("secret words"), "unknown");
        assert_eq!(code(""), "unknown");
        assert_eq!(code(&"x".repeat(65)), "unknown");
    }

    #[test]
    fn an_administrative_text_becomes_one_short_line() {
        assert_eq!(administrative("a\nb"), "a b");
        assert_eq!(administrative(&"é".repeat(400)).chars().count(), TEXT_CHARS_MAX + 1);
    }
}
