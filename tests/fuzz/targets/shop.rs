//! A small catalog and projections over it, for targets that need tables.

use std::sync::OnceLock;

use projectord::model::{Catalog, Column, ColumnKind, ForeignKey, ReplicaIdentity, Table, TableId};

pub const ORDERS: &str = "projection: orders
root: orders
index: orders
where: \"status != 'draft' and total >= 0\"
fields:
  id:
  note:
  total:
  placed_at:
  customer: { one: customers, fields: [id, name] }
  lines: { many: order_lines, order_by: [line_no], fields: [line_no, quantity, blob], nested: true }
  units: { sum: order_lines.quantity }
  line_count: { count: order_lines, where: \"quantity > 0\" }
";

pub const CUSTOMERS: &str = "projection: customers
root: customers
index: customers
fields:
  id:
  name:
  orders: { many: orders, order_by: [id], fields: [id, total, tags] }
  dearest: { max: orders.total }
";

/// Tables, their keys, their columns, and what they refer to.
type Text =
    (&'static str, &'static [&'static str], &'static [(&'static str, ColumnKind)], &'static [&'static str]);

fn tables() -> [Text; 3] {
    use ColumnKind::*;
    [
        ("customers", &["id"], &[("id", Int), ("name", Text)], &[]),
        (
            "orders",
            &["id"],
            &[
                ("id", Int),
                ("customer_id", Int),
                ("status", Enum),
                ("total", Numeric),
                ("placed_at", Timestamptz),
                ("note", Text),
                ("tags", Text),
                ("paid", Bool),
            ],
            &["customers"],
        ),
        (
            "order_lines",
            &["order_id", "line_no"],
            &[("order_id", Int), ("line_no", Int), ("quantity", Numeric), ("blob", Bytea), ("code", Bpchar)],
            &["orders"],
        ),
    ]
}

/// Customers, orders, lines of orders; their oids are 16384 and up.
pub fn small() -> &'static Catalog {
    static SMALL: OnceLock<Catalog> = OnceLock::new();
    SMALL.get_or_init(made)
}

fn made() -> Catalog {
    let mut catalog = Catalog { tables: Vec::new() };
    for (at, (name, key, columns, refers)) in tables().into_iter().enumerate() {
        let mut table = table(at, name, key, columns);
        for foreign in refers {
            table.foreign_keys.push(ForeignKey {
                name: format!("{name}_{foreign}"),
                columns: vec![format!("{}_id", foreign.trim_end_matches('s'))],
                foreign_schema: "public".to_owned(),
                foreign_table: (*foreign).to_owned(),
                references: vec!["id".to_owned()],
            });
        }
        catalog.tables.push(table);
    }
    catalog
}

/// A table without references.
pub fn table(at: usize, name: &str, key: &[&str], columns: &[(&str, ColumnKind)]) -> Table {
    let key: Vec<String> = key.iter().map(|column| (*column).to_owned()).collect();
    let columns = columns.iter().enumerate().map(|(at, (name, kind))| Column {
        attnum: at as i16 + 1,
        name: (*name).to_owned(),
        type_oid: 20 + at as u32,
        type_modifier: -1,
        type_name: format!("{kind:?}"),
        kind: kind.clone(),
        not_null: false,
        generated: false,
    });
    Table {
        id: TableId(at as u16 + 1),
        oid: 16_384 + at as u32,
        schema: "public".to_owned(),
        name: name.to_owned(),
        identity: ReplicaIdentity::Default,
        leaves: vec![],
        columns: columns.collect(),
        key: key.clone(),
        primary_key: key.clone(),
        foreign_keys: vec![],
        unique_keys: vec![key],
    }
}
