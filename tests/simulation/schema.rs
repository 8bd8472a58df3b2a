//! Random schemas, small enough that everything collides: few tables, few keys, many references.

use std::cmp::Ordering;

use fastrand::Rng;
use projectord::model::{
    Catalog, Column as Known, ColumnKind, ForeignKey, Leaf, ReplicaIdentity, Table as KnownTable, TableId,
};

/// A row's cells as texts; nothing for NULL.
pub type Row = Vec<Option<String>>;
/// The texts of a row's key columns.
pub type Key = Vec<String>;

/// What a column may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// An integer from 1 to this.
    Number(u32),
    /// A numeric with two decimals, or none.
    Decimal,
    Flag,
    Name,
    /// A text that rows are known by; some are longer than a key part may be (rule 30).
    Code,
    /// A text that is stored out of line: an UPDATE that leaves it alone does not carry it (hazard 23).
    Toast,
}

#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    pub domain: Domain,
    pub nullable: bool,
    /// The table whose single key column it refers to.
    pub refers: Option<usize>,
}

#[derive(Clone, Debug)]
pub struct Table {
    pub name: String,
    pub columns: Vec<Column>,
    /// Positions of the key's columns.
    pub key: Vec<usize>,
    /// Two leaves, by the parity of the key's last column.
    pub leaves: bool,
    /// Whether its references are declared as foreign keys.
    pub declared: bool,
}

#[derive(Clone, Debug)]
pub struct Schema {
    pub tables: Vec<Table>,
}

const CODES: [&str; 6] = ["a", "B", "c-d", "k1", "k2", "e\\"];

impl Domain {
    pub fn value(self, random: &mut Rng) -> String {
        match self {
            Domain::Number(most) => random.u32(1..=most).to_string(),
            Domain::Decimal if random.bool() => format!("{}.{:02}", random.u8(..4), random.u8(..100)),
            Domain::Decimal => random.u8(..9).to_string(),
            Domain::Flag => if random.bool() { "t" } else { "f" }.to_owned(),
            Domain::Name => format!("n{}", random.u8(..5)),
            Domain::Toast => format!("toasted {}", random.u8(..9)),
            Domain::Code => match CODES[random.usize(..CODES.len())] {
                code if code.starts_with('k') => format!("{}{code}", "k".repeat(170)),
                code => code.to_owned(),
            },
        }
    }

    /// The type's oid in the catalog, its name, and how it is read.
    fn kind(self) -> (u32, &'static str, ColumnKind) {
        match self {
            Domain::Number(_) => (23, "integer", ColumnKind::Int),
            Domain::Decimal => (1700, "numeric", ColumnKind::Numeric),
            Domain::Flag => (16, "boolean", ColumnKind::Bool),
            Domain::Name | Domain::Code | Domain::Toast => (25, "text", ColumnKind::Text),
        }
    }

    pub fn type_oid(self) -> u32 {
        self.kind().0
    }

    pub fn is_text(self) -> bool {
        self.type_oid() == 25
    }
}

impl Table {
    pub fn key_of(&self, row: &Row) -> Key {
        self.key.iter().map(|column| row[*column].clone().expect("a key is not NULL")).collect()
    }

    /// The one column that other tables may refer to.
    pub fn single_key(&self) -> Option<usize> {
        (self.key.len() == 1).then(|| self.key[0])
    }

    /// Whether an UPDATE that leaves this value alone does not carry it.
    pub fn is_toasted(&self, column: usize, row: &Row) -> bool {
        let Some(text) = &row[column] else { return false };
        self.columns[column].domain == Domain::Toast || text.len() > 100
    }

    pub fn value(&self, column: usize, random: &mut Rng) -> Option<String> {
        let described = &self.columns[column];
        (!described.nullable || random.u8(..5) > 0).then(|| described.domain.value(random))
    }

    pub fn row(&self, random: &mut Rng) -> Row {
        (0..self.columns.len()).map(|column| self.value(column, random)).collect()
    }
}

impl Schema {
    pub fn draw(random: &mut Rng) -> Schema {
        let count = random.usize(3..=5);
        let mut tables: Vec<Table> = (0..count).map(|at| draw_table(random, at)).collect();
        let referable: Vec<usize> = (0..count).filter(|at| tables[*at].single_key().is_some()).collect();
        for at in 0..count {
            if tables[at].key.len() == 2 {
                bind_composite(random, &mut tables, at, &referable);
            }
            for number in 0..random.usize(0..=2) {
                let target = referable[random.usize(..referable.len())];
                let domain = tables[target].columns[0].domain;
                let name = format!("r{number}");
                tables[at].columns.push(Column { name, domain, nullable: true, refers: Some(target) });
            }
        }
        Schema { tables }
    }

    /// The oid of the table itself.
    pub fn oid(table: usize) -> u32 {
        table as u32 * 10 + 1000
    }

    /// The oids that a table's rows come under.
    pub fn row_oids(&self, table: usize) -> Vec<u32> {
        let own = Schema::oid(table);
        if self.tables[table].leaves { vec![own + 1, own + 2] } else { vec![own] }
    }

    pub fn oid_of(&self, table: usize, key: &[String]) -> u32 {
        let oids = self.row_oids(table);
        match oids.as_slice() {
            [own] => *own,
            leaves => {
                let number: usize = key.last().and_then(|text| text.parse().ok()).expect("a number");
                leaves[number % leaves.len()]
            }
        }
    }

    pub fn table_of(&self, oid: u32) -> usize {
        ((oid - 1000) / 10) as usize
    }

    /// In the order of a server's collation, which is not ours: numbers by value; texts backwards, which no byte order is.
    pub fn collate(&self, table: usize, a: &Key, b: &Key) -> Ordering {
        let described = &self.tables[table];
        let columns = described.key.iter().zip(a.iter().zip(b));
        for (column, (a, b)) in columns {
            let order = match described.columns[*column].domain {
                Domain::Number(_) => a.parse::<i64>().ok().cmp(&b.parse::<i64>().ok()),
                _ => b.cmp(a),
            };
            if order.is_ne() {
                return order;
            }
        }
        Ordering::Equal
    }

    pub fn catalog_table(&self, at: usize, id: TableId) -> KnownTable {
        let table = &self.tables[at];
        let key: Vec<String> = table.key.iter().map(|column| table.columns[*column].name.clone()).collect();
        let leaf = |oid: u32| Leaf { oid, schema: "public".to_owned(), name: format!("leaf_{oid}") };
        KnownTable {
            id,
            oid: Schema::oid(at),
            schema: "public".to_owned(),
            name: table.name.clone(),
            identity: ReplicaIdentity::Default,
            leaves: if table.leaves { self.row_oids(at).into_iter().map(leaf).collect() } else { Vec::new() },
            columns: table.columns.iter().enumerate().map(|(at, column)| known(at, column)).collect(),
            key: key.clone(),
            primary_key: key.clone(),
            foreign_keys: if table.declared { self.foreign_keys(at) } else { Vec::new() },
            unique_keys: vec![key],
        }
    }

    fn foreign_keys(&self, at: usize) -> Vec<ForeignKey> {
        let columns = self.tables[at].columns.iter();
        let declared = columns.filter_map(|column| {
            let target = &self.tables[column.refers?];
            Some(ForeignKey {
                name: format!("fk_{}", column.name),
                columns: vec![column.name.clone()],
                foreign_schema: "public".to_owned(),
                foreign_table: target.name.clone(),
                references: vec![target.columns[target.key[0]].name.clone()],
            })
        });
        declared.collect()
    }

    /// The catalog as a start without a journal numbers it.
    pub fn catalog(&self) -> Catalog {
        let tables = (0..self.tables.len()).map(|at| self.catalog_table(at, TableId(at as u16 + 1)));
        Catalog { tables: tables.collect() }
    }
}

fn draw_table(random: &mut Rng, at: usize) -> Table {
    // The first one can always be referred to.
    let composite = at > 0 && random.u8(..10) < 4;
    let mut columns = Vec::new();
    let mut column = |name: &str, domain: Domain, nullable: bool| {
        columns.push(Column { name: name.to_owned(), domain, nullable, refers: None });
    };
    if composite {
        column("up", Domain::Number(4), false); // bound to a table later
        column("line", Domain::Number(3), false);
    } else if random.u8(..5) == 0 {
        column("code", Domain::Code, false);
    } else {
        column("id", Domain::Number(random.u32(3..=5)), false);
    }
    let payload = [
        ("n", Domain::Number(6)),
        ("d", Domain::Decimal),
        ("name", Domain::Name),
        ("f", Domain::Flag),
        ("memo", Domain::Toast),
    ];
    for (name, domain) in payload {
        if random.bool() {
            column(name, domain, random.u8(..4) > 0);
        }
    }
    Table {
        name: format!("t{at}"),
        columns,
        key: if composite { vec![0, 1] } else { vec![0] },
        leaves: composite && random.bool(),
        declared: random.bool(),
    }
}

/// The first key column refers to a table; the second is a line, or refers too: a junction.
fn bind_composite(random: &mut Rng, tables: &mut [Table], at: usize, referable: &[usize]) {
    let target = referable[random.usize(..referable.len())];
    tables[at].columns[0].domain = tables[target].columns[0].domain;
    tables[at].columns[0].refers = Some(target);
    let second = referable[random.usize(..referable.len())];
    let numbered = matches!(tables[second].columns[0].domain, Domain::Number(_));
    if random.bool() && (numbered || !tables[at].leaves) {
        tables[at].columns[1].domain = tables[second].columns[0].domain;
        tables[at].columns[1].refers = Some(second);
    }
}

fn known(at: usize, column: &Column) -> Known {
    let (type_oid, type_name, kind) = column.domain.kind();
    Known {
        attnum: at as i16 + 1,
        name: column.name.clone(),
        type_oid,
        type_modifier: -1,
        type_name: type_name.to_owned(),
        kind,
        not_null: !column.nullable,
        generated: false,
    }
}
