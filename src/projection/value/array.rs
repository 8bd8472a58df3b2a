//! Array texts (PostgreSQL documentation, "Array Input and Output Syntax") to JSON arrays.

use crate::model::ColumnKind;

/// PostgreSQL's own limit of dimensions (MAXDIM).
const DIMENSIONS_MAX: usize = 6;

/// Writes a JSON array; bounds (`[5:6]={1,2}`) are dropped. What is no array text becomes a string.
pub fn write(kind: &ColumnKind, text: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let mut rest = text;
    if text.first() == Some(&b'[') {
        let bounds = text.iter().position(|byte| *byte == b'=').map_or(text.len(), |equals| equals + 1);
        rest = &text[bounds..];
    }
    let mut element = Vec::new();
    if array(kind, &mut rest, 0, &mut element, out).is_none() || !rest.is_empty() {
        out.truncate(start);
        super::text::write(text, out);
    }
}

fn array(
    kind: &ColumnKind,
    rest: &mut &[u8],
    depth: usize,
    element: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Option<()> {
    *rest = rest.strip_prefix(b"{")?;
    if depth == DIMENSIONS_MAX {
        return None;
    }
    out.push(b'[');
    if let Some(end) = rest.strip_prefix(b"}") {
        *rest = end;
        out.push(b']');
        return Some(());
    }
    loop {
        match rest.first()? {
            b'{' => array(kind, rest, depth + 1, element, out)?,
            b'"' => {
                quoted(rest, element)?;
                super::write(kind, element, out);
            }
            _ => {
                let end = rest.iter().position(|byte| matches!(byte, b',' | b'}'))?;
                let (word, after) = rest.split_at(end);
                if word.is_empty() || word.iter().any(|byte| matches!(byte, b'"' | b'\\' | b'{')) {
                    return None;
                }
                *rest = after;
                if word.eq_ignore_ascii_case(b"null") {
                    out.extend_from_slice(b"null");
                } else {
                    super::write(kind, word, out);
                }
            }
        }
        let (separator, after) = rest.split_first()?;
        *rest = after;
        match separator {
            b',' => out.push(b','),
            b'}' => {
                out.push(b']');
                return Some(());
            }
            _ => return None,
        }
    }
}

/// Takes a quoted element off the front, without its quotes and backslashes.
fn quoted(rest: &mut &[u8], element: &mut Vec<u8>) -> Option<()> {
    element.clear();
    let mut bytes = rest.iter().enumerate().skip(1);
    loop {
        match bytes.next()? {
            (_, b'\\') => element.push(*bytes.next()?.1),
            (position, b'"') => {
                *rest = &rest[position + 1..];
                return Some(());
            }
            (_, byte) => element.push(*byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(kind: &ColumnKind, text: &str) -> String {
        let mut out = Vec::new();
        write(kind, text.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn array_texts_become_json_arrays() {
        let cases = [
            (ColumnKind::Int, "{}", "[]"),
            (ColumnKind::Int, "{1,-2,NULL}", "[1,-2,null]"),
            (ColumnKind::Int, "{{1,2},{3,4}}", "[[1,2],[3,4]]"),
            (ColumnKind::Int, "[5:6]={1,2}", "[1,2]"),
            (ColumnKind::Int, "[1:1][-2:-1]={{1,2}}", "[[1,2]]"),
            (
                ColumnKind::Text,
                r#"{a,"b c","d\"e","f\\g","NULL",NULL,""}"#,
                r#"["a","b c","d\"e","f\\g","NULL",null,""]"#,
            ),
            (ColumnKind::Bool, "{t,f}", "[true,false]"),
            (ColumnKind::Numeric, "{1.50,NaN}", "[1.50,null]"),
            (ColumnKind::Timestamp, r#"{"2024-03-04 05:06:07"}"#, r#"["2024-03-04T05:06:07"]"#),
            (ColumnKind::Jsonb, r#"{"{\"a\": [1]}"}"#, r#"[{"a":[1]}]"#),
            (ColumnKind::Int, "{1,2", r#""{1,2""#),
            (ColumnKind::Int, "{1}x", r#""{1}x""#),
            (ColumnKind::Int, "{{{{{{{1}}}}}}}", r#""{{{{{{{1}}}}}}}""#),
        ];
        for (kind, text, expected) in cases {
            assert_eq!(written(&kind, text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn texts_come_back_from_an_array(texts in proptest::collection::vec(proptest::option::of(any::<String>()), 0..6)) {
            let quoted: Vec<String> = texts.iter().map(|text| match text {
                None => "NULL".to_owned(),
                Some(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
            }).collect();
            let array = written(&ColumnKind::Text, &format!("{{{}}}", quoted.join(",")));
            prop_assert_eq!(serde_json::from_str::<Vec<Option<String>>>(&array).unwrap(), texts);
        }

        #[test]
        fn any_text_becomes_valid_json(text in "[{},\"\\\\0-9a=:\\[\\]NUL ]{0,30}") {
            let json = written(&ColumnKind::Int, &text);
            serde_json::from_str::<serde_json::Value>(&json).unwrap();
        }
    }
}
