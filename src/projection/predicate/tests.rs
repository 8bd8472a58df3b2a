//! Tests of conditions: three-valued logic, and mistakes with their places.

use super::*;
use crate::projection::definition;
use crate::projection::shop;

/// Evaluates a condition on an order. The mistakes come as `column code`, counted in the condition.
fn evaluate(condition: &str, cells: &[Cell<'_>]) -> Result<Option<bool>, String> {
    let text = format!("projection: p\nroot: orders\nindex: i\nfields: [id]\nwhere: \"{condition}\"");
    let definition = definition::parse("p.yaml", &text).unwrap();
    let mut problems = Problems::new("p.yaml");
    let catalog = shop::catalog();
    let table = catalog.table("public", "orders").unwrap();
    compile(&definition.filter.unwrap(), table, &mut problems)
        .map(|predicate| predicate.evaluate(cells))
        .ok_or_else(|| format!("{} {}", problems.list[0].column - 8, problems.list[0].code))
}

#[test]
fn conditions_follow_the_logic_of_three_values() {
    let cells = [
        Cell::Text(b"1"),
        Cell::Text(b"it's"),
        Cell::Text(b"open"),
        Cell::Text(b"2024-03-04 05:06:07.1+00"),
        Cell::Text(b"12.50"),
        Cell::Text(b"7"),
        Cell::Null,
    ];
    let (yes, no, unknown) = (Some(true), Some(false), None);
    let cases = [
        ("status = 'open'", yes),
        ("STATUS <> 'open'", no),
        ("order_number = 'it''s'", yes),
        ("total = 12.5", yes),
        ("total > 9", yes),
        ("12.49 < total", yes),
        ("total >= 12.500001", no),
        ("total > customer_id", yes),
        ("placed_at > '2024-03-04'", yes),
        ("placed_at = '2024-03-04T05:06:07.100Z'", yes),
        ("placed_at < 'infinity'", yes),
        ("placed_at <= '-infinity'", no),
        ("billing_id = 1", unknown),
        ("NOT billing_id = 1", unknown),
        ("billing_id IS NULL", yes),
        ("billing_id IS NOT NULL", no),
        ("billing_id = 1 OR id = 1", yes),
        ("billing_id = 1 OR id = 2", unknown),
        ("billing_id = 1 AND id = 1", unknown),
        ("billing_id = 1 AND id = 2", no),
        ("id IN (1, 2)", yes),
        ("id IN (2, 3)", no),
        ("id IN (2, NULL)", unknown),
        ("id IN (1, NULL)", yes),
        ("id NOT IN (2, NULL)", unknown),
        ("billing_id IN (1)", unknown),
        ("id = 2 OR id = 1 AND status = 'open'", yes),
        ("(id = 2 OR id = 1) AND status = 'x'", no),
        ("not (id = 1 and total = 1)", yes),
        ("true", yes),
        ("NULL", unknown),
        ("note IS NULL", yes),
    ];
    for (condition, expected) in cases {
        assert_eq!(evaluate(condition, &cells), Ok(expected), "{condition}");
    }
}

#[test]
fn mistakes_are_found_with_their_place() {
    let cases = [
        ("statsu = 'a'", "1 unknown-column"),
        ("id = 1 AND totl = 2", "12 unknown-column"),
        ("id = 'a'", "6 where-type"),
        ("status = 5", "10 where-type"),
        ("status < 'a'", "1 where-order"),
        ("note > 'a'", "1 where-order"),
        ("payload = 'a'", "1 where-type"),
        ("placed_at > '2024-03-04 05:06:07+02'", "13 where-type"),
        ("placed_at > '2024-13-04'", "13 where-type"),
        ("id = NULL", "6 where-type"),
        ("id", "1 where-type"),
        ("1 = 1", "1 where-type"),
        ("id = note", "6 where-type"),
        ("id IN (1, note)", "11 where-type"),
        ("id =", "5 where-syntax"),
        ("id = 1 x", "8 where-syntax"),
        ("(id = 1", "8 where-syntax"),
        ("id = 'a", "6 where-syntax"),
        ("id BETWEEN 1 AND 2", "4 where-syntax"),
        ("id = 1.2.3", "6 where-syntax"),
        ("id ; 1", "4 where-syntax"),
    ];
    for (condition, expected) in cases {
        assert_eq!(evaluate(condition, &[]), Err(expected.to_owned()), "{condition}");
    }
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in "[a-z'0-9<>=!(),. äANDORNOTIN]{0,40}", any: String) {
        let _ = syntax::parse(&text);
        let _ = syntax::parse(&any);
        let _ = syntax::parse(&"(".repeat(1000));
        let _ = syntax::parse(&"NOT ".repeat(1000));
    }
}
