//! A naive PostgreSQL: tables of few keys, so that everything collides, and a log of what was committed.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::model::{Catalog, Column, ColumnKind, ForeignKey, Leaf, Lsn, ReplicaIdentity, Table, TableId};

pub type Texts = Vec<Option<String>>;
pub type Rows = BTreeMap<Vec<String>, Rc<Texts>>;
/// All tables of one committed state, by position in [`TABLES`].
pub type State = Vec<Rc<Rows>>;

/// What a column may hold.
#[derive(Clone, Copy, PartialEq)]
pub enum Domain {
    Int(u32),
    /// An int that may be NULL.
    Maybe(u32),
    Name,
    /// Text keys, some of them long (rule 30).
    Code,
    MaybeCode,
    /// Stored out of line: an UPDATE that leaves it alone does not carry it.
    Toast,
}

pub struct Described {
    pub name: &'static str,
    pub columns: &'static [(&'static str, Domain)],
    pub key: &'static [usize],
    /// Column and the table that it refers to.
    pub refers: &'static [(&'static str, &'static str, &'static str)],
    pub leaves: u32,
}

use Domain::{Code, Int, Maybe, MaybeCode, Name, Toast};

pub const CUSTOMERS: usize = 0;
pub const REGIONS: usize = 1;
pub const ORDERS: usize = 2;
pub const ITEMS: usize = 3;
pub const PRODUCTS: usize = 4;
pub const BRANDS: usize = 5;
pub const TAGS: usize = 6;
pub const ORDER_TAGS: usize = 7;

pub const TABLES: [Described; 8] = [
    Described {
        name: "customers",
        columns: &[
            ("code", Code),
            ("name", Name),
            ("region_id", Maybe(2)),
            ("boss", MaybeCode),
            ("memo", Toast),
        ],
        key: &[0],
        refers: &[("region_id", "regions", "id"), ("boss", "customers", "code")],
        leaves: 0,
    },
    Described {
        name: "regions",
        columns: &[("id", Int(2)), ("name", Name)],
        key: &[0],
        refers: &[],
        leaves: 0,
    },
    Described {
        name: "orders",
        columns: &[("id", Int(6)), ("customer", MaybeCode), ("total", Maybe(9)), ("note", Toast)],
        key: &[0],
        refers: &[("customer", "customers", "code")],
        leaves: 0,
    },
    Described {
        name: "items",
        columns: &[
            ("order_id", Int(6)),
            ("line", Int(3)),
            ("product_id", Maybe(3)),
            ("qty", Maybe(9)),
            ("text", Toast),
        ],
        key: &[0, 1],
        refers: &[("order_id", "orders", "id"), ("product_id", "products", "id")],
        leaves: 2,
    },
    Described {
        name: "products",
        columns: &[("id", Int(3)), ("name", Name), ("brand_id", Maybe(2))],
        key: &[0],
        refers: &[("brand_id", "brands", "id")],
        leaves: 0,
    },
    Described {
        name: "brands",
        columns: &[("id", Int(2)), ("name", Name)],
        key: &[0],
        refers: &[],
        leaves: 0,
    },
    Described { name: "tags", columns: &[("id", Int(3)), ("name", Name)], key: &[0], refers: &[], leaves: 0 },
    Described {
        name: "order_tags",
        columns: &[("order_id", Int(6)), ("tag_id", Int(3))],
        key: &[0, 1],
        refers: &[("order_id", "orders", "id"), ("tag_id", "tags", "id")],
        leaves: 0,
    },
];

pub fn key_of(table: usize, row: &Texts) -> Vec<String> {
    TABLES[table].key.iter().map(|column| row[*column].clone().expect("a key is not NULL")).collect()
}

/// The oid under which a row comes: leaves of `items` hold odd and even lines.
pub fn oid_of(table: usize, key: &[String]) -> u32 {
    match TABLES[table].leaves {
        0 => oids(table)[0],
        leaves => oids(table)[(key[1].parse::<u32>().expect("a number") % leaves) as usize],
    }
}

pub fn oids(table: usize) -> Vec<u32> {
    let base = table as u32 * 10 + 1000;
    match TABLES[table].leaves {
        0 => vec![base],
        leaves => (1..=leaves).map(|leaf| base + leaf).collect(),
    }
}

pub fn catalog() -> Catalog {
    let tables = TABLES.iter().enumerate().map(|(at, table)| Table {
        id: TableId(at as u16 + 1),
        oid: at as u32 * 10 + 1000,
        schema: "public".to_owned(),
        name: table.name.to_owned(),
        identity: ReplicaIdentity::Default,
        leaves: if table.leaves == 0 { Vec::new() } else { leaves(at) },
        columns: table.columns.iter().enumerate().map(column).collect(),
        key: names(table),
        primary_key: names(table),
        foreign_keys: table.refers.iter().map(foreign_key).collect(),
        unique_keys: vec![names(table)],
    });
    Catalog { tables: tables.collect() }
}

fn leaves(table: usize) -> Vec<Leaf> {
    let leaf = |oid: u32| Leaf { oid, schema: "public".to_owned(), name: format!("leaf_{oid}") };
    oids(table).into_iter().map(leaf).collect()
}

fn names(table: &Described) -> Vec<String> {
    table.key.iter().map(|column| table.columns[*column].0.to_owned()).collect()
}

fn column((at, (name, domain)): (usize, &(&str, Domain))) -> Column {
    let kind = if matches!(domain, Int(_) | Maybe(_)) { ColumnKind::Int } else { ColumnKind::Text };
    Column {
        attnum: at as i16 + 1,
        name: (*name).to_owned(),
        type_oid: 0,
        type_modifier: -1,
        type_name: "of a test".to_owned(),
        kind,
        not_null: false,
        generated: false,
    }
}

fn foreign_key((column, table, references): &(&str, &str, &str)) -> ForeignKey {
    ForeignKey {
        name: (*column).to_owned(),
        columns: vec![(*column).to_owned()],
        foreign_schema: "public".to_owned(),
        foreign_table: (*table).to_owned(),
        references: vec![(*references).to_owned()],
    }
}

/// One thing that a transaction does.
#[derive(Clone, Debug)]
pub enum Deed {
    Insert(usize, Rc<Texts>),
    Update(usize, Rc<Texts>, Rc<Texts>),
    Delete(usize, Rc<Texts>),
    Truncate(Vec<u32>),
}

/// What stands in the log; `end` of each is larger than that of the one before.
#[derive(Clone, Debug)]
pub enum Logged {
    Commit { deeds: Rc<Vec<Deed>>, end: Lsn },
    Marker { nonce: String, at: Lsn },
}

pub struct Database {
    pub state: State,
    /// The state after each commit, and where it ended; the first is the state before any.
    pub history: Vec<(Lsn, State)>,
    pub log: Vec<Logged>,
    pub lsn: u64,
}

impl Database {
    /// With some rows from before anybody listened.
    pub fn new(random: &mut fastrand::Rng) -> Database {
        let state = TABLES.iter().map(|_| Rc::default()).collect();
        let mut database = Database { state, history: Vec::new(), log: Vec::new(), lsn: 100 };
        for _ in 0..8 {
            database.commit(random, 6);
        }
        database.log.clear();
        database.history = vec![(Lsn(database.lsn), database.state.clone())];
        database
    }

    pub fn marker(&mut self, nonce: &str) {
        self.lsn += 10;
        self.log.push(Logged::Marker { nonce: nonce.to_owned(), at: Lsn(self.lsn) });
    }

    /// A random transaction.
    pub fn commit(&mut self, random: &mut fastrand::Rng, most: usize) {
        let mut deeds = Vec::new();
        for _ in 0..random.usize(1..=most) {
            self.deed(random, &mut deeds);
        }
        self.lsn += 10;
        let end = Lsn(self.lsn);
        self.log.push(Logged::Commit { deeds: Rc::new(deeds), end });
        self.history.push((end, self.state.clone()));
    }

    fn deed(&mut self, random: &mut fastrand::Rng, deeds: &mut Vec<Deed>) {
        let table = random.usize(..TABLES.len());
        let key = self.state[table].keys().nth(random.usize(..8)).cloned();
        match (random.u8(..20), key) {
            (0, _) if random.u8(..4) == 0 => self.truncate(random, table, deeds),
            (1, _) => self.shift(random, deeds),
            (2..=4, Some(key)) => self.delete(table, &key, deeds),
            (5..=7, Some(key)) => {
                let mut row = self.state[table][&key].as_ref().clone();
                for column in TABLES[table].key {
                    if random.bool() {
                        row[*column] = Some(value(random, TABLES[table].columns[*column].1).expect("a key"));
                    }
                }
                self.change_columns(random, table, &mut row);
                self.update(table, &key, row, deeds);
            }
            (8..=13, Some(key)) => {
                let mut row = self.state[table][&key].as_ref().clone();
                self.change_columns(random, table, &mut row);
                self.update(table, &key, row, deeds);
            }
            _ => {
                let row: Texts =
                    TABLES[table].columns.iter().map(|(_, domain)| value(random, *domain)).collect();
                if !self.state[table].contains_key(&key_of(table, &row)) {
                    self.put(table, row.clone());
                    deeds.push(Deed::Insert(table, Rc::new(row)));
                }
            }
        }
    }

    fn change_columns(&self, random: &mut fastrand::Rng, table: usize, row: &mut Texts) {
        for (column, (_, domain)) in TABLES[table].columns.iter().enumerate() {
            if !TABLES[table].key.contains(&column) && random.u8(..3) == 0 {
                row[column] = value(random, *domain);
            }
        }
    }

    /// Every order's number grows by one: the last one first, as the server's own check demands.
    fn shift(&mut self, random: &mut fastrand::Rng, deeds: &mut Vec<Deed>) {
        let table = if random.bool() { ORDERS } else { ITEMS };
        let mut rows: Vec<_> =
            self.state[table].iter().map(|(key, row)| (key.clone(), row.as_ref().clone())).collect();
        rows.sort_by_key(|(key, _)| std::cmp::Reverse(key[0].parse::<u32>().expect("a number")));
        for (key, mut row) in rows {
            row[0] = Some((key[0].parse::<u32>().expect("a number") + 1).to_string());
            self.update(table, &key, row, deeds);
        }
    }

    fn truncate(&mut self, random: &mut fastrand::Rng, table: usize, deeds: &mut Vec<Deed>) {
        let mut gone = oids(table);
        if gone.len() > 1 && random.bool() {
            gone.remove(random.usize(..gone.len()));
        }
        let rows = Rc::make_mut(&mut self.state[table]);
        rows.retain(|key, _| !gone.contains(&oid_of(table, key)));
        deeds.push(Deed::Truncate(gone));
    }

    fn delete(&mut self, table: usize, key: &[String], deeds: &mut Vec<Deed>) {
        if let Some(row) = Rc::make_mut(&mut self.state[table]).remove(key) {
            deeds.push(Deed::Delete(table, row));
        }
    }

    fn put(&mut self, table: usize, row: Texts) {
        Rc::make_mut(&mut self.state[table]).insert(key_of(table, &row), Rc::new(row));
    }

    fn update(&mut self, table: usize, key: &[String], row: Texts, deeds: &mut Vec<Deed>) {
        let new_key = key_of(table, &row);
        if new_key != key && self.state[table].contains_key(&new_key) {
            return; // the server refuses it
        }
        let old = Rc::make_mut(&mut self.state[table]).remove(key).expect("the row");
        self.put(table, row.clone());
        if oid_of(table, key) != oid_of(table, &new_key) {
            // Into another leaf: the server makes two of it.
            deeds.push(Deed::Delete(table, old));
            deeds.push(Deed::Insert(table, Rc::new(row)));
        } else {
            deeds.push(Deed::Update(table, old, Rc::new(row)));
        }
    }
}

fn value(random: &mut fastrand::Rng, domain: Domain) -> Option<String> {
    match domain {
        Int(most) => Some(random.u32(1..=most).to_string()),
        Maybe(most) => (random.u8(..5) > 0).then(|| random.u32(1..=most).to_string()),
        Name => Some(format!("n{}", random.u8(..6))),
        Toast => (random.u8(..6) > 0).then(|| format!("toasted {}", random.u8(..9))),
        Code | MaybeCode => (domain == Code || random.u8(..5) > 0).then(|| {
            let codes = ["a", "b", "c-d", "k1", "k2", "k3"];
            let code = codes[random.usize(..codes.len())];
            if code.starts_with('k') { format!("{}{code}", "k".repeat(170)) } else { code.to_owned() }
        }),
    }
}
