//! Tests of what compiles, and of every mistake with its place.

use super::*;
use crate::model::TableId;
use crate::projection::definition;
use crate::projection::plan::Access;
use crate::projection::shop::catalog;

const HEAD: &str = "projection: p\nroot: orders\nindex: i\n";

/// The mistakes of one file, as `line:column code`, from its form or from the catalog.
fn mistakes(text: &str) -> Vec<String> {
    let errors = match definition::parse("p.yaml", text) {
        Err(errors) => errors,
        Ok(definition) => compile(&[definition], &catalog()).expect_err("a mistake"),
    };
    errors.iter().for_each(|error| assert_eq!(error.file, "p.yaml"));
    errors.iter().map(|error| format!("{}:{} {}", error.line, error.column, error.code)).collect()
}

#[test]
fn every_mistake_is_told_with_its_place_and_code() {
    let cases: &[(&str, &[&str])] = &[
        ("fields: [id, nmae]", &["4:14 unknown-column"]),
        ("fields: { id: , total: { cloumn: id } }", &["4:17 unknown-kind"]),
        ("fields:\n  id: { column: id, typ: long }", &["5:21 unknown-key"]),
        ("feilds: [id]", &["1:1 missing-key", "4:1 unknown-key"]),
        ("fields: []", &["4:9 wrong-value"]),
        ("fields: [id, id]", &["4:14 duplicate-field"]),
        ("fields: { a.b: id, _id: id }", &["4:11 field-name", "4:20 field-name"]),
        ("fields: { id: 5 }", &["4:15 wrong-value"]),
        ("fields:\n  id:\n  id:", &["6:3 duplicate-key"]),
        ("fields: [id", &["4:9 yaml-syntax"]),
        ("where: \"stat = 'x'\"\nfields: [id]", &["4:9 unknown-column"]),
        ("dynamic: maybe\nfields: [id]", &["4:10 wrong-value"]),
        ("settings: [1]\nfields: [id]", &["4:11 wrong-value"]),
        ("fields:\n  c: { one: custmers, fields: [id] }", &["5:13 unknown-table"]),
        ("fields:\n  c: { one: twins, via: id, fields: [id] }", &["5:13 ambiguous-table"]),
        ("fields:\n  c: { one: countries, fields: [name] }", &["5:13 missing-foreign-key"]),
        ("fields:\n  c: { one: addresses, fields: [id] }", &["5:13 ambiguous-foreign-key"]),
        ("fields:\n  c: { one: customers, via: note, fields: [id] }", &["5:29 join-types-differ"]),
        (
            "fields:\n  c: { one: customers, via: note, references: email, fields: [id] }",
            &["5:13 not-unique"],
        ),
        (
            "fields:\n  c: { many: customers, via: email, references: note, fields: [id] }",
            &["5:30 join-type"],
        ),
        ("fields:\n  c: { one: customers, via: [note, id], fields: [id] }", &["5:30 join-columns"]),
        ("fields:\n  c: { one: customers }", &["5:6 missing-key"]),
        ("fields:\n  n: { many: notes, via: order_ref, fields: [text] }", &["5:6 no-key"]),
        ("fields:\n  n: { many: order_items, fields: [search] }", &["5:36 generated-column"]),
        ("fields:\n  n: { many: order_items, fields: [line_no], values: line_no }", &["5:54 wrong-value"]),
        (
            "fields:\n  n: { many: order_items, order_by: [{ line_no: up }], values: line_no }",
            &["5:49 wrong-value"],
        ),
        ("fields:\n  n: { sum: order_items.lineno }", &["5:25 unknown-column"]),
        ("fields:\n  n: { sum: order_items.search }", &["5:25 generated-column"]),
        ("fields:\n  n: { max: tags.name, through: order_tags, where: nam = 'a' }", &["5:52 unknown-column"]),
        ("fields:\n  n: { sum: order_items }", &["5:13 wrong-value"]),
        ("fields:\n  n: { sum: tags.name, through: order_tags }", &["5:18 wrong-type"]),
        ("fields:\n  n: { one: customers, many: tags }", &["5:24 two-kinds"]),
        ("fields:\n  n: { column: total, type: scaled_float }", &["5:29 wrong-value"]),
        (
            "fields:\n  a: nope\n  b: { one: customers, fields: [nope] }\n  c: { many: nope, fields: [id] }",
            &["5:6 unknown-column", "6:33 unknown-column", "7:14 unknown-table"],
        ),
    ];
    let found: Vec<_> = cases.iter().map(|(text, _)| (*text, mistakes(&format!("{HEAD}{text}")))).collect();
    for ((text, found), (_, expected)) in found.iter().zip(cases).filter(|(found, case)| found.1 != case.1) {
        println!("{text}\n  {found:?}, not {expected:?}");
    }
    assert!(found.iter().zip(cases).all(|(found, case)| found.1 == case.1));
    assert_eq!(mistakes("projection: p\nroot: ordres\nindex: i\nfields: [id]"), ["2:7 unknown-table"]);
    assert_eq!(mistakes("- a"), ["1:1 wrong-value"]);
}

#[test]
fn hints_say_what_to_write() {
    let hint = |text: &str| {
        let definition = definition::parse("p.yaml", &format!("{HEAD}fields:\n  {text}")).unwrap();
        compile(&[definition], &catalog()).unwrap_err()[0].hint.clone()
    };
    assert_eq!(hint("a: totl"), "did you mean `total`?");
    assert_eq!(hint("a: { one: custmers, fields: [id] }"), "did you mean `customers`?");
    assert_eq!(
        hint("a: { one: addresses, fields: [id] }"),
        "write `via: [billing_id]` or `via: [shipping_id]`"
    );
}

fn definition(text: &str) -> Definition {
    definition::parse("p.yaml", text).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

#[test]
fn two_projections_share_neither_name_nor_index() {
    let one = definition(&format!("{HEAD}fields: [id]"));
    let errors = compile(&[one.clone(), one], &catalog()).unwrap_err();
    let codes: Vec<_> = errors.iter().map(|error| error.code).collect();
    assert_eq!(codes, ["duplicate-projection", "duplicate-index"]);
}

const ORDERS: &str = "projection: orders\nroot: orders\nindex: orders\nfields:\n  customer: { one: customers, fields: [name] }\n  items: { many: order_items, fields: { product: { one: products, fields: [name] } } }\n  tags: { many: tags, through: order_tags, values: name }\n  units: { sum: items.quantity }";
const CUSTOMERS: &str = "projection: customers\nroot: customers\nindex: customers\nfields:\n  orders: { many: orders, nested: true, fields: [id] }";

#[test]
fn joins_go_over_keys_or_shared_links() {
    let set = compile(&[definition(ORDERS), definition(CUSTOMERS)], &catalog()).unwrap();
    let id = |name: &str| catalog().table("public", name).unwrap().id;
    let [orders, customers] = &set.plans[..] else { panic!() };
    let links: Vec<_> =
        set.links.iter().map(|link| (link.table, &link.columns[..], link.clustered)).collect();
    let expected: [(TableId, &[usize], bool); 5] = [
        (id("orders"), &[5], true),
        (id("order_items"), &[0], true),
        (id("order_items"), &[2], false),
        (id("order_tags"), &[0], true),
        (id("order_tags"), &[1], false),
    ];
    assert_eq!(links, expected);
    let joins: Vec<_> = orders
        .nodes
        .iter()
        .filter_map(|node| node.parent.as_ref())
        .map(|(parent, join)| (*parent, join.down, join.up))
        .collect();
    let link = |number| Access::Link(super::super::plan::LinkId(number));
    let expected = [
        (0, Access::Key, link(0)),
        (0, link(1), Access::Key),
        (2, Access::Key, link(2)),
        (0, link(3), Access::Key),
        (4, Access::Key, link(4)),
    ];
    assert_eq!(joins, expected);
    // The other projection reads the same link the other way round.
    let (_, join) = customers.nodes[1].parent.as_ref().unwrap();
    assert_eq!((join.down, join.up), (link(0), Access::Key));
    assert_eq!(set.tables.len(), 6);
    assert!(set.tables.is_sorted_by_key(|key| key.table));
}

#[test]
fn mapping_follows_the_types_of_the_columns() {
    let set = compile(&[definition(ORDERS), definition(CUSTOMERS)], &catalog()).unwrap();
    let text = serde_json::json!({ "type": "text", "fields": { "keyword": { "type": "keyword", "ignore_above": 8191 } } });
    let expected = serde_json::json!({ "dynamic": "strict", "properties": {
        "customer": { "properties": { "name": text } },
        "items": { "properties": { "product": { "properties": { "name": text } } } },
        "tags": text,
        "units": { "type": "long" },
    } });
    assert_eq!(*set.plans[0].mapping(), expected);
    let nested = serde_json::json!({ "type": "nested", "properties": { "id": { "type": "long" } } });
    assert_eq!(set.plans[1].mapping()["properties"]["orders"], nested);
}

#[test]
fn fingerprint_tells_what_matters_from_what_does_not() {
    let plain = definition(ORDERS);
    let noted = definition(&format!(
        "# a note\n{}",
        ORDERS.replace("{ one: customers, fields: [name] }", "{fields: [name], one: customers}")
    ));
    let changed = definition(&ORDERS.replace("values: name", "values: id"));
    assert_eq!(plain.fingerprint(), noted.fingerprint());
    assert_ne!(plain.fingerprint(), changed.fingerprint());
    let compiled =
        |catalog: &Catalog| compile(std::slice::from_ref(&plain), catalog).unwrap().plans[0].fingerprint();
    let mut retyped = catalog();
    assert_eq!(compiled(&catalog()), compiled(&retyped));
    retyped.tables[0].columns[1].type_name = "varchar(3)".to_owned();
    assert_ne!(compiled(&catalog()), compiled(&retyped));
}

#[test]
fn tables_are_named_once() {
    let named = tables_named(&[definition(ORDERS), definition(CUSTOMERS)]);
    let names: Vec<_> = named.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["customers", "order_items", "order_tags", "orders", "products", "tags"]);
}

#[test]
fn both_ends_of_a_join_share_one_order_of_columns() {
    // The child's key is (a, b), the parent's (y, x): one of the ends needs a link in the other's order.
    let mut catalog = catalog();
    let column = |name: &str| {
        let mut column = catalog.tables[0].columns[0].clone();
        column.name = name.to_owned();
        column
    };
    let mut table = catalog.tables[0].clone();
    table.columns = vec![column("x"), column("y")];
    let mut child = table.clone();
    (table.id, table.name) = (TableId(100), "pairs".to_owned());
    (child.id, child.name) = (TableId(101), "halves".to_owned());
    (table.key, table.primary_key) = (vec!["y".into(), "x".into()], vec!["y".into(), "x".into()]);
    (child.key, child.primary_key) = (vec!["x".into(), "y".into()], vec!["x".into(), "y".into()]);
    catalog.tables.extend([table, child]);
    let text = "projection: p\nroot: pairs\nindex: i\nfields:\n  h: { many: halves, via: [y, x], references: [y, x], fields: [x] }";
    let set = compile(&[definition(text)], &catalog).unwrap();
    let (_, join) = set.plans[0].nodes[1].parent.as_ref().unwrap();
    assert_eq!(join.down, Access::Key);
    assert_eq!((&join.columns[..], &join.parent_columns[..]), (&[0, 1][..], &[0, 1][..]));
    let Access::Link(link) = join.up else { panic!("{join:?}") };
    assert_eq!(set.links[usize::from(link.0)].columns, [0, 1]);
}

#[test]
fn reference_lists_every_code() {
    let page = include_str!("../../../docs/projections.md");
    let sources = [
        include_str!("../compile.rs"),
        include_str!("join.rs"),
        include_str!("../definition.rs"),
        include_str!("../definition/section.rs"),
        include_str!("../field.rs"),
        include_str!("../field/many.rs"),
        include_str!("../field/aggregate.rs"),
        include_str!("../predicate/syntax.rs"),
        include_str!("../predicate/check.rs"),
    ];
    // A code is the only kind of quoted text that is lower-case words with dashes.
    let quoted = sources.iter().flat_map(|source| source.split('"'));
    let is_code = |text: &&str| {
        text.contains('-') && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_lowercase())
    };
    let codes: BTreeSet<&str> = quoted.filter(is_code).filter(|code| !code.ends_with("infinity")).collect();
    assert!(codes.len() > 20, "{codes:?}");
    for code in codes {
        assert!(page.contains(&format!("`{code}`")), "{code}");
    }
}
