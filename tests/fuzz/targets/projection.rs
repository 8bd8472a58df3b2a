//! Projection files, against a catalog.

use std::sync::OnceLock;

use projectord::projection::compile::{compile, tables_named};
use projectord::projection::definition::{self, Definition};

use super::shop;

pub const WORDS: &[&[u8]] = &[
    b"projection: p\n",
    b"root: orders\n",
    b"index: p\n",
    b"fields:\n",
    b"fields: [id]\n",
    b"  ",
    b"\n",
    b": ",
    b"{",
    b"}",
    b"[",
    b"]",
    b", ",
    b"one: customers",
    b"many: order_lines",
    b"many: orders",
    b"via: ",
    b"where: ",
    b"order_by: [",
    b"sum: ",
    b"count: ",
    b"max: orders.total",
    b"values: ",
    b"through: ",
    b"nested: true",
    b"ancestors: ",
    b"type: ",
    b"&a ",
    b"*a",
    b"|\n",
    b"\"",
    b"'",
    b"- ",
    b"? ",
    b"id:",
    b"settings: {",
    b"dynamic: false\n",
    b"{one: customers, fields: {c: ",
    b"[[[[[[[[[[",
    b"1e400",
    b".nan",
    b"!!int 3",
    b"\t",
    "ä".as_bytes(),
    b"customer_id",
    b"public.orders",
];

pub fn seeds() -> Vec<Vec<u8>> {
    let deep = format!(
        "projection: p\nroot: orders\nindex: p\nfields: {}id{}\n",
        "{customer: {one: customers, fields: {orders: {many: orders, fields: ".repeat(5),
        "}}}}".repeat(5)
    );
    vec![
        shop::ORDERS.as_bytes().to_vec(),
        shop::CUSTOMERS.as_bytes().to_vec(),
        deep.into_bytes(),
        b"projection: l\nroot: order_lines\nindex: l\nsettings: {number_of_shards: 2}\nfields: [blob, code]\n".to_vec(),
        b"a: &a [1,1,1,1]\nb: &b [*a,*a,*a]\nfields: *b\n".to_vec(),
    ]
}

fn other() -> &'static Definition {
    static OTHER: OnceLock<Definition> = OnceLock::new();
    OTHER.get_or_init(|| definition::parse("other", shop::CUSTOMERS).unwrap())
}

/// A file is taken, or every mistake in it has a code and a place inside it. Comments and empty lines
/// change nothing of what it says.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (catalog, other) = (shop::small(), other());
    let lines = text.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count() + 1;
    let check = |problems: &[projectord::model::Diagnostic]| {
        assert!(!problems.is_empty(), "refused without a reason");
        for problem in problems {
            assert!(!problem.code.is_empty());
            assert!(problem.line <= lines, "{problem}: the file has {lines} lines");
        }
    };
    let definition = match definition::parse("this", text) {
        Ok(definition) => definition,
        Err(problems) => return check(&problems),
    };
    let again = definition::parse("this", text).unwrap();
    assert_eq!(again.fingerprint(), definition.fingerprint());
    let named = tables_named(std::slice::from_ref(&definition));
    assert!(!named.is_empty(), "a projection has a root");
    for together in [vec![definition.clone()], vec![other.clone(), definition]] {
        match compile(&together, catalog) {
            Err(problems) => check(&problems),
            Ok(set) => {
                assert_eq!(set.plans.len(), together.len());
                for plan in &set.plans {
                    for (at, node) in plan.nodes.iter().enumerate() {
                        assert!(node.parent.iter().all(|(parent, _)| *parent < at));
                        assert!(set.tables.iter().any(|key| key.table == node.table));
                    }
                    serde_json::to_vec(&plan.mapping()).unwrap();
                }
            }
        }
    }
}
