//! Tests of assembled documents.

use std::time::Instant;

use super::*;
use crate::projection::compile::compile;
use crate::projection::definition;
use crate::projection::shop::{Shop, catalog};

fn shop(fields: &str) -> Shop {
    let text = format!("projection: orders\nroot: orders\nindex: orders\nfields:\n{fields}");
    let definition = definition::parse("orders.yaml", &text).unwrap_or_else(|errors| panic!("{errors:#?}"));
    let set = compile(&[definition], &catalog()).unwrap_or_else(|errors| panic!("{errors:#?}"));
    Shop::new(set)
}

fn document(shop: &Shop, key: &[u8]) -> Result<String, AssembleError> {
    let mut out = b"before".to_vec();
    let result = assemble(&shop.set.plans[0], &shop.set, shop, key, &mut out)?;
    let written = String::from_utf8(out.split_off(6)).unwrap();
    assert_eq!(result == Assembled::Absent, written.is_empty());
    Ok(written)
}

/// Puts the rows of tables that the projection uses, then assembles order 1.
fn check(fields: &str, rows: &[(&str, &str)], expected: &str) {
    let mut shop = shop(fields);
    let key = shop.put("orders", "1|A-1|open|2024-03-04 05:06:07.1+00|12.50|7|-|9|{ \"a\" : 1 }|hi");
    for (table, cells) in rows {
        shop.put(table, cells);
    }
    let document = document(&shop, &key).unwrap();
    assert_eq!(document, expected, "{fields}");
    serde_json::from_str::<serde_json::Value>(&document).unwrap();
}

const ITEMS: [(&str, &str); 4] = [
    ("order_items", "1|2|-|5|1.10|0.5"),
    ("order_items", "1|10|31|1|2.125|-"),
    ("order_items", "1|1|30|-|10|1e+20"),
    ("order_items", "2|1|30|99|99|9"),
];

#[test]
fn columns_are_renamed_and_typed() {
    check(
        "  id:\n  \"nu\\\"m\": order_number\n  at: { column: placed_at, type: date_nanos }\n  total:\n  payload:\n  billing_id:",
        &[],
        r#"{"id":1,"nu\"m":"A-1","at":"2024-03-04T05:06:07.1+00:00","total":12.50,"payload":{"a":1},"billing_id":null}"#,
    );
    check("  [id, {number: order_number}, note]", &[], r#"{"id":1,"number":"A-1","note":"hi"}"#);
}

#[test]
fn to_one_follows_the_foreign_key_and_is_null_without_a_row() {
    let fields = "  customer: { one: customers, fields: { name: , country: { one: countries, via: country_code, fields: [name] } } }";
    let customer = ("customers", "7|Ann|a@b|t|de ");
    let country = ("countries", "de |Germany");
    check(fields, &[], r#"{"customer":null}"#);
    check(fields, &[customer], r#"{"customer":{"name":"Ann","country":null}}"#);
    check(fields, &[customer, country], r#"{"customer":{"name":"Ann","country":{"name":"Germany"}}}"#);
    let two = "  b: { one: addresses, via: billing_id, fields: [street] }\n  s: { one: addresses, via: [shipping_id], references: [id], fields: [street] }";
    check(two, &[("addresses", "9|Elm")], r#"{"b":null,"s":{"street":"Elm"}}"#);
}

#[test]
fn to_many_is_ordered_filtered_and_nested_to_any_depth() {
    check("  items: { many: order_items, fields: [line_no] }", &[], r#"{"items":[]}"#);
    // Without an order the row's own key decides, as numbers.
    check(
        "  items: { many: order_items, fields: [line_no] }",
        &ITEMS,
        r#"{"items":[{"line_no":1},{"line_no":2},{"line_no":10}]}"#,
    );
    let lines = |by: &str| format!("  items: {{ many: order_items, order_by: {by}, values: line_no }}");
    check(&lines("[quantity]"), &ITEMS, r#"{"items":[10,2,1]}"#);
    check(&lines("{ quantity: desc }"), &ITEMS, r#"{"items":[1,2,10]}"#);
    check(&lines("[{ unit_price: desc }, line_no]"), &ITEMS, r#"{"items":[1,10,2]}"#);
    let product = "  items: { many: order_items, where: quantity IS NOT NULL, fields: { n: line_no, product: { one: products, fields: [tags] } } }";
    let rows = [&ITEMS[..], &[("products", "31|S|Pen|{a,\"b c\"}")]].concat();
    check(product, &rows, r#"{"items":[{"n":2,"product":null},{"n":10,"product":{"tags":["a","b c"]}}]}"#);
}

#[test]
fn junction_gives_values_or_objects() {
    let rows = [
        ("tags", "3|red"),
        ("tags", "4|new"),
        ("tags", "5|other"),
        ("order_tags", "1|3"),
        ("order_tags", "1|4"),
        ("order_tags", "1|6"),
        ("order_tags", "2|5"),
    ];
    check(
        "  tags: { many: tags, through: order_tags, order_by: name, values: name }",
        &rows,
        r#"{"tags":["new","red"]}"#,
    );
    check(
        "  tags: { many: tags, through: order_tags, fields: [id], where: \"name != 'new'\" }",
        &rows,
        r#"{"tags":[{"id":3}]}"#,
    );
    check("  n: { count: tags, through: order_tags }", &rows, r#"{"n":2}"#);
}

#[test]
fn aggregates_are_exact_and_null_without_values() {
    let fields = "  items: { many: order_items, where: line_no < 10, values: line_no }\n  n: { count: items }\n  all: { count: order_items }\n  q: { count: order_items.quantity }\n  units: { sum: order_items.quantity }\n  price: { sum: order_items.unit_price }\n  weight: { sum: order_items.weight }\n  least: { min: order_items.unit_price }\n  most: { max: items.unit_price, where: quantity = 5 }";
    check(
        fields,
        &ITEMS,
        r#"{"items":[1,2],"n":2,"all":3,"q":2,"units":6,"price":13.225,"weight":1e+20,"least":1.10,"most":1.10}"#,
    );
    check(
        fields,
        &[],
        r#"{"items":[],"n":0,"all":0,"q":0,"units":null,"price":null,"weight":null,"least":null,"most":null}"#,
    );
}

#[test]
fn of_equal_extremes_it_is_the_same_one_whatever_the_order_of_the_rows() {
    let fields = "  least: { min: order_items.unit_price }\n  most: { max: order_items.unit_price }";
    for [first, second, third] in [["2", "2.0", "2.00"], ["2.00", "2", "2.0"], ["2.0", "2.00", "2"]] {
        let rows =
            [(1, first), (2, second), (3, third)].map(|(line, price)| format!("1|{line}|30|1|{price}|-"));
        let rows: Vec<(&str, &str)> = rows.iter().map(|row| ("order_items", row.as_str())).collect();
        check(fields, &rows, r#"{"least":2,"most":2.00}"#);
    }
}

#[test]
fn no_root_row_or_false_condition_is_no_document() {
    let text = "projection: p\nroot: orders\nindex: i\nwhere: \"status != 'draft'\"\nfields: [id]";
    let set = compile(&[definition::parse("p.yaml", text).unwrap()], &catalog()).unwrap();
    let mut shop = Shop::new(set);
    let rest = "-|-|-|-|-|-|-";
    let open = shop.put("orders", &format!("1|A|open|{rest}"));
    let draft = shop.put("orders", &format!("2|A|draft|{rest}"));
    let unknown = shop.put("orders", &format!("3|A|-|{rest}"));
    assert_eq!(document(&shop, &open).unwrap(), r#"{"id":1}"#);
    assert_eq!(document(&shop, &draft).unwrap(), "");
    assert_eq!(document(&shop, &unknown).unwrap(), "");
    assert_eq!(document(&shop, b"none").unwrap(), "");
    // The condition's column is used although no field shows it.
    let mut status = crate::projection::plan::ColumnSet::default();
    status.insert(2);
    assert!(shop.set.plans[0].nodes[0].used.intersects(status));
}

#[test]
fn unknown_value_holds_the_document_only_where_it_is_used() {
    let mut shop = shop("  id:\n  note:");
    let unused = shop.put("orders", "1|A|open|-|-|-|-|-|?|hi");
    let used = shop.put("orders", "2|A|open|-|-|-|-|-|-|?");
    assert_eq!(document(&shop, &unused).unwrap(), r#"{"id":1,"note":"hi"}"#);
    let table = shop.id("orders");
    assert!(
        matches!(document(&shop, &used), Err(AssembleError::Incomplete { table: found }) if found == table)
    );
}

/// Prints how many documents a second one core makes over rows in a map: `cargo test --release -- --ignored
/// --nocapture documents_per_second`.
#[test]
#[ignore = "a measurement"]
fn documents_per_second() {
    let mut shop = shop(
        "  [id, order_number, status, placed_at, total, note,\n   {customer: { one: customers, fields: [id, name, email] }},\n   {ship: { one: addresses, via: shipping_id, fields: [id, street] }},\n   {items: { many: order_items, fields: { line_no: , quantity: , unit_price: , product: { one: products, fields: [id, sku, name] } } }},\n   {units: { sum: items.quantity }}]",
    );
    let key = shop.put("orders", "1|A-1|open|2024-03-04 05:06:07.1+00|12.50|7|-|9|-|a note of some length");
    shop.put("customers", "7|Ann Example|ann@example.org|t|de");
    shop.put("addresses", "9|Elm Street 12");
    for line in 1..=10 {
        shop.put("order_items", &format!("1|{line}|{line}|5|12.50|0.5"));
        shop.put("products", &format!("{line}|SKU-{line}|A product with a name|{{}}"));
    }
    let mut out = Vec::new();
    let rounds = 100_000;
    let start = Instant::now();
    for _ in 0..rounds {
        out.clear();
        assemble(&shop.set.plans[0], &shop.set, &shop, &key, &mut out).unwrap();
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{} bytes, {:.0} documents a second", out.len(), f64::from(rounds) / seconds);
}
