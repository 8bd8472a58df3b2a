//! Every document, computed from all rows of a state, without anything of the projection engine.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::database::{BRANDS, CUSTOMERS, ITEMS, ORDER_TAGS, ORDERS, PRODUCTS, REGIONS, State, TAGS, Texts};

pub const ORDERS_FULL: &str = "projection: orders
root: orders
index: orders
where: total IS NOT NULL
fields:
  id:
  total:
  note:
  customer: { one: customers, fields: { name: , memo: , region: { one: regions, fields: [name] }, boss: { one: customers, via: boss, fields: [name] } } }
  lines: { many: items, fields: { line: , qty: , text: , product: { one: products, fields: { name: , brand: { one: brands, fields: [name] } } } } }
  tags: { many: tags, through: order_tags, values: name }
  pieces: { count: lines }
";

pub const ORDERS_SMALL: &str = "projection: orders
root: orders
index: orders
fields:
  id:
  note:
  customer: { one: customers, fields: [name] }
  lines: { many: items, fields: [line, qty] }
";

pub const CUSTOMERS_FULL: &str = "projection: customers
root: customers
index: customers
fields:
  code:
  name:
  region: { one: regions, fields: [name] }
  boss: { one: customers, via: boss, fields: [name] }
  team: { many: customers, via: boss, values: code }
  orders: { many: orders, fields: [id, total] }
";

pub const PRODUCTS_FULL: &str = "projection: products
root: products
index: products
fields:
  name:
  brand: { one: brands, fields: [name] }
  sold: { many: items, fields: { order_id: , line: , qty: , order: { one: orders, fields: [total] } } }
";

/// Sets of definitions that follow one another.
pub const SETS: [&[&str]; 4] = [
    &[ORDERS_FULL, CUSTOMERS_FULL],
    &[ORDERS_SMALL, CUSTOMERS_FULL],
    &[ORDERS_FULL, CUSTOMERS_FULL, PRODUCTS_FULL],
    &[ORDERS_SMALL, PRODUCTS_FULL],
];

/// All documents of a projection, by id.
pub fn documents(source: &str, state: &State) -> BTreeMap<String, Value> {
    let oracle = Oracle { state };
    match source {
        ORDERS_FULL => oracle.orders(),
        ORDERS_SMALL => oracle.orders_small(),
        CUSTOMERS_FULL => oracle.customers(),
        PRODUCTS_FULL => oracle.products(),
        _ => unreachable!("no such definition"),
    }
}

struct Oracle<'a> {
    state: &'a State,
}

fn int(cell: &Option<String>) -> Value {
    cell.as_ref().map_or(Value::Null, |text| json!(text.parse::<i64>().expect("a number")))
}

impl Oracle<'_> {
    fn one(&self, table: usize, key: &Option<String>, fields: impl Fn(&Texts) -> Value) -> Value {
        let Some(key) = key else { return Value::Null };
        self.state[table].get(&vec![key.clone()]).map_or(Value::Null, |row| fields(row))
    }

    /// Rows whose column holds this text, by number of their key.
    fn many(&self, table: usize, column: usize, text: &Option<String>) -> Vec<&Texts> {
        let mut rows: Vec<_> = self.state[table]
            .iter()
            .filter(|(_, row)| text.is_some() && row[column] == *text)
            .map(|(key, row)| {
                (key.iter().map(|part| (part.parse::<i64>().ok(), part)).collect::<Vec<_>>(), &**row)
            })
            .collect();
        rows.sort_by(|(a, _), (b, _)| a.cmp(b));
        rows.into_iter().map(|(_, row)| row).collect()
    }

    fn name(&self, table: usize, key: &Option<String>) -> Value {
        self.one(table, key, |row| json!({ "name": row[1] }))
    }

    fn product(&self, key: &Option<String>) -> Value {
        self.one(PRODUCTS, key, |row| json!({ "name": row[1], "brand": self.name(BRANDS, &row[2]) }))
    }

    fn orders(&self) -> BTreeMap<String, Value> {
        let mut documents = BTreeMap::new();
        for row in self.state[ORDERS].values().filter(|row| row[2].is_some()) {
            let customer = self.one(CUSTOMERS, &row[1], |customer| {
                json!({
                    "name": customer[1],
                    "memo": customer[4],
                    "region": self.name(REGIONS, &customer[2]),
                    "boss": self.name(CUSTOMERS, &customer[3]),
                })
            });
            let items = self.many(ITEMS, 0, &row[0]);
            let line = |item: &&Texts| {
                let product = self.product(&item[2]);
                json!({ "line": int(&item[1]), "qty": int(&item[3]), "text": item[4], "product": product })
            };
            let lines: Vec<Value> = items.iter().map(line).collect();
            let mut tags: Vec<(i64, Value)> = Vec::new();
            for junction in self.many(ORDER_TAGS, 0, &row[0]) {
                if let Some(tag) = self.state[TAGS].get(&vec![junction[1].clone().expect("a key")]) {
                    tags.push((tag[0].as_ref().expect("a key").parse().expect("a number"), json!(tag[1])));
                }
            }
            tags.sort_by_key(|(id, _)| *id);
            let tags: Vec<Value> = tags.into_iter().map(|(_, name)| name).collect();
            let document = json!({
                "id": int(&row[0]), "total": int(&row[2]), "note": row[3], "customer": customer,
                "pieces": lines.len(), "lines": lines, "tags": tags,
            });
            documents.insert(row[0].clone().expect("a key"), document);
        }
        documents
    }

    fn orders_small(&self) -> BTreeMap<String, Value> {
        let document = |row: &Texts| {
            let items = self.many(ITEMS, 0, &row[0]);
            let lines: Vec<Value> =
                items.iter().map(|item| json!({ "line": int(&item[1]), "qty": int(&item[3]) })).collect();
            let customer = self.name(CUSTOMERS, &row[1]);
            json!({ "id": int(&row[0]), "note": row[3], "customer": customer, "lines": lines })
        };
        self.state[ORDERS].values().map(|row| (row[0].clone().expect("a key"), document(row))).collect()
    }

    fn customers(&self) -> BTreeMap<String, Value> {
        let document = |row: &Texts| {
            let orders = self.many(ORDERS, 1, &row[0]);
            let orders: Vec<Value> =
                orders.iter().map(|order| json!({ "id": int(&order[0]), "total": int(&order[2]) })).collect();
            let mut team: Vec<_> =
                self.many(CUSTOMERS, 3, &row[0]).iter().map(|row| row[0].clone()).collect();
            team.sort();
            json!({
                "code": row[0], "name": row[1], "region": self.name(REGIONS, &row[2]),
                "boss": self.name(CUSTOMERS, &row[3]), "team": team, "orders": orders,
            })
        };
        self.state[CUSTOMERS].values().map(|row| (row[0].clone().expect("a key"), document(row))).collect()
    }

    fn products(&self) -> BTreeMap<String, Value> {
        let document = |row: &Texts| {
            let sold = self.many(ITEMS, 2, &row[0]);
            let item = |item: &&Texts| {
                let order = self.one(ORDERS, &item[0], |order| json!({ "total": int(&order[2]) }));
                json!({ "order_id": int(&item[0]), "line": int(&item[1]), "qty": int(&item[3]), "order": order })
            };
            let sold: Vec<Value> = sold.iter().map(item).collect();
            json!({ "name": row[1], "brand": self.name(BRANDS, &row[2]), "sold": sold })
        };
        self.state[PRODUCTS].values().map(|row| (row[0].clone().expect("a key"), document(row))).collect()
    }
}
