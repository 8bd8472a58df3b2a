//! Tests of definitions and of every mistake with its place.

use super::*;

#[test]
fn file_is_read_whole_with_the_places_of_its_words() {
    let text = "# orders\nprojection: orders\nroot: sales.orders\nindex: orders-v1\nwhere: >\n  a = 1\nsettings: { number_of_shards: 2 }\ndynamic: false\nfields:\n  id:\n";
    let definition = parse("orders.yaml", text).unwrap();
    assert_eq!(definition.name, Spot { place: Place { line: 2, column: 13 }, value: "orders".to_owned() });
    assert_eq!(definition.root.value, "sales.orders");
    assert_eq!(definition.settings, serde_json::json!({ "number_of_shards": 2 }));
    assert_eq!(definition.dynamic, serde_json::json!(false));
    assert_eq!(definition.fields[0].name.place, Place { line: 10, column: 3 });
    // In a folded text places within it are not known: the place is that of the whole.
    let filter = definition.filter.unwrap();
    assert_eq!(filter.place_of(3), filter.place);
}

#[test]
fn many_mistakes_of_form_are_told_at_once() {
    let errors = parse("p.yaml", "projektion: a\nroot: 5\nfields: 7\n").unwrap_err();
    let codes: Vec<_> = errors.iter().map(|error| (error.line, error.code)).collect();
    assert_eq!(
        codes,
        [(1, "missing-key"), (1, "missing-key"), (1, "unknown-key"), (2, "wrong-value"), (3, "wrong-value")]
    );
    assert!(errors.iter().any(|error| error.hint == "did you mean `projection`?"));
}

#[test]
fn deep_and_large_files_are_refused() {
    let deep = format!(
        "projection: p\nroot: r\nindex: i\nfields: {}[a]{}",
        "{a: {one: t, fields: ".repeat(20),
        "}}".repeat(20)
    );
    assert!(parse("p.yaml", &deep).unwrap_err().iter().any(|error| error.code == "too-deep"));
    let large = format!("# {}", "x".repeat(FILE_BYTES_MAX));
    assert_eq!(parse("p.yaml", &large).unwrap_err()[0].code, "file-too-large");
    let brackets = "[".repeat(100_000);
    assert_eq!(parse("p.yaml", &brackets).unwrap_err().len(), 1);
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in "[a-z:{}\\[\\]\"'\n >|&*!-]{0,60}") {
        let _ = parse("p.yaml", &text);
    }
}
