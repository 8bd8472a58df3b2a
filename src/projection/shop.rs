//! A little shop for tests: its catalog facts, and rows in memory.

use std::collections::BTreeMap;

use super::plan::{LinkId, PlanSet, Rows, RowsError, key_of};
use crate::model::{
    Catalog, Cell, Column, ColumnKind, EntryNo, ForeignKey, Key, ReplicaIdentity, Row, RowWriter, Table,
    TableId,
};

/// Tables with columns `name type`, the key first after the name, foreign keys `columns -> table(columns)`.
type TableText = (&'static str, &'static str, &'static [&'static str], &'static [&'static str]);

const TABLES: &[TableText] = &[
    (
        "public.customers",
        "id",
        &["id int4", "name text", "email citext", "vip bool", "country_code bpchar"],
        &[],
    ),
    ("public.countries", "code", &["code bpchar", "name text"], &[]),
    (
        "public.orders",
        "id",
        &[
            "id int8",
            "order_number text",
            "status order_status",
            "placed_at timestamptz",
            "total numeric",
            "customer_id int4",
            "billing_id int4",
            "shipping_id int4",
            "payload json",
            "note text",
        ],
        &["customer_id -> customers(id)", "billing_id -> addresses(id)", "shipping_id -> addresses(id)"],
    ),
    ("public.addresses", "id", &["id int4", "street text"], &[]),
    (
        "public.order_items",
        "order_id,line_no",
        &[
            "order_id int8",
            "line_no int4",
            "product_id int4",
            "quantity int4",
            "unit_price numeric",
            "weight float8",
            "search tsvector generated",
        ],
        &["order_id -> orders(id)", "product_id -> products(id)"],
    ),
    ("public.products", "id", &["id int4", "sku text", "name text", "tags text[]"], &[]),
    ("public.tags", "id", &["id int4", "name text"], &[]),
    (
        "public.order_tags",
        "order_id,tag_id",
        &["order_id int8", "tag_id int4"],
        &["order_id -> orders(id)", "tag_id -> tags(id)"],
    ),
    ("public.notes", "", &["text text", "order_ref int4"], &[]),
    ("a.twins", "id", &["id int4"], &[]),
    ("b.twins", "id", &["id int4"], &[]),
];

pub fn catalog() -> Catalog {
    let table = |(position, (name, key, columns, foreign)): (usize, &TableText)| {
        let (schema, name) = name.split_once('.').unwrap();
        let list = |text: &str| -> Vec<String> {
            text.split(',').filter(|word| !word.is_empty()).map(|word| word.trim().to_owned()).collect()
        };
        let columns = columns.iter().enumerate().map(|(attnum, text)| column(attnum, text));
        let foreign_keys = foreign.iter().enumerate().map(|(number, text)| {
            let (columns, target) = text.split_once(" -> ").unwrap();
            let (table, references) = target.trim_end_matches(')').split_once('(').unwrap();
            ForeignKey {
                name: format!("{name}_{number}"),
                columns: list(columns),
                foreign_schema: "public".to_owned(),
                foreign_table: table.to_owned(),
                references: list(references),
            }
        });
        let unique = if key.is_empty() { vec![] } else { vec![list(key)] };
        Table {
            id: TableId(position as u16 + 1),
            oid: position as u32 + 16_384,
            schema: schema.to_owned(),
            name: name.to_owned(),
            identity: ReplicaIdentity::Default,
            leaves: vec![],
            columns: columns.collect(),
            key: list(key),
            primary_key: list(key),
            foreign_keys: foreign_keys.collect(),
            unique_keys: unique,
        }
    };
    Catalog { tables: TABLES.iter().enumerate().map(table).collect() }
}

fn column(position: usize, text: &str) -> Column {
    let words: Vec<&str> = text.split(' ').collect();
    let kind = match words[1] {
        "int4" | "int8" => ColumnKind::Int,
        "bool" => ColumnKind::Bool,
        "numeric" => ColumnKind::Numeric,
        "float8" => ColumnKind::Float8,
        "citext" => ColumnKind::Citext,
        "bpchar" => ColumnKind::Bpchar,
        "timestamptz" => ColumnKind::Timestamptz,
        "json" => ColumnKind::Json,
        "order_status" => ColumnKind::Enum,
        "text[]" => ColumnKind::Array(Box::new(ColumnKind::Text)),
        "text" => ColumnKind::Text,
        _ => ColumnKind::Other,
    };
    Column {
        attnum: position as i16 + 1,
        name: words[0].to_owned(),
        type_oid: 0,
        type_modifier: -1,
        type_name: words[1].to_owned(),
        kind,
        not_null: false,
        generated: words.len() > 2,
    }
}

/// Rows in memory, with the links of a plan set.
#[derive(Debug)]
pub struct Shop {
    pub set: PlanSet,
    catalog: Catalog,
    rows: BTreeMap<(TableId, Key), Vec<u8>>,
}

impl Shop {
    pub fn new(set: PlanSet) -> Shop {
        Shop { set, catalog: catalog(), rows: BTreeMap::new() }
    }

    pub fn id(&self, table: &str) -> TableId {
        self.catalog.table("public", table).unwrap().id
    }

    /// Puts a row: its cells parted by `|`, `-` for NULL, `?` for one that is not known.
    pub fn put(&mut self, table: &str, cells: &str) -> Key {
        let table = self.id(table);
        let mut writer = RowWriter::default();
        writer.begin(EntryNo(1), 0, 0);
        for cell in cells.split('|') {
            writer.cell(match cell {
                "-" => Cell::Null,
                "?" => Cell::Unchanged,
                text => Cell::Text(text.as_bytes()),
            });
        }
        let bytes = writer.bytes().to_vec();
        let key = self.set.tables.iter().find(|key| key.table == table).expect("a table of the plans");
        let key = key_of(&Row::parse(&bytes).unwrap(), &key.columns, &key.classes).unwrap();
        self.rows.insert((table, key.clone()), bytes);
        key
    }
}

impl Rows for Shop {
    fn get<'a>(&'a self, table: TableId, key: &[u8]) -> Result<Option<Row<'a>>, RowsError> {
        Ok(self.rows.get(&(table, key.to_vec())).map(|bytes| Row::parse(bytes).unwrap()))
    }

    fn linked<'a>(&'a self, link: LinkId, key: &[u8], rows: &mut Vec<Row<'a>>) -> Result<(), RowsError> {
        let link = &self.set.links[usize::from(link.0)];
        let of_table = self.rows.iter().filter(|((table, _), _)| *table == link.table);
        // Backwards, so that nobody relies on an order.
        for (_, bytes) in of_table.rev() {
            let row = Row::parse(bytes).unwrap();
            if key_of(&row, &link.columns, &link.classes).as_deref() == Some(key) {
                rows.push(row);
            }
        }
        Ok(())
    }
}
