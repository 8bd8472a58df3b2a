//! Rows applied and documents assembled on one core: the applier over the store as the daemon uses it, with
//! the shop's own projections; the journal's entries are made in memory before each timed step.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use projectord::journal::Kind;
use projectord::journal::entry::{Backfill, Definition, Facts, Record, Unit};
use projectord::model::{Catalog, EntryNo, Generation, Key, KeyClass, Table};
use projectord::pipeline::apply::{Applier, Settle};
use projectord::projection::ASSEMBLER;
use projectord::projection::assemble::{Assembled, assemble};
use projectord::source::Source;
use projectord::source::postgres::Postgres;
use projectord::store::dirty::{self, Class};
use projectord::store::engine::Engine;
use projectord::store::folder::Folder;
use projectord::store::lmdb::{Lmdb, Options};
use projectord::store::rows::RowReader;

use super::rows::{Values, insert, relation, row, transaction, update};
use super::{Arguments, Outcome, figure};

/// Bytes of entries in one step, as the daemon reads them.
const STEP_BYTES: usize = 2 << 20;
const TABLES: &[&str] = &[
    "customers",
    "addresses",
    "brands",
    "categories",
    "products",
    "tags",
    "product_tags",
    "product_variants",
    "prices",
    "product_reviews",
    "warehouses",
    "stock",
    "orders",
    "order_lines",
    "payments",
    "shipments",
    "shipment_lines",
];
const LINES: u64 = 4;

struct Fold {
    engine: Arc<Lmdb>,
    applier: Applier<Lmdb>,
    catalog: Catalog,
    next: EntryNo,
    waiting: Vec<Record>,
    waiting_bytes: usize,
    rows: u64,
    took: Duration,
    /// Processor time of this thread in the same steps: what a busy machine does not blur.
    worked: Duration,
    settling: bool,
}

impl Fold {
    fn push(&mut self, kind: Kind, payload: Vec<u8>) -> Outcome<EntryNo> {
        let number = self.next;
        self.next = number.next();
        self.waiting_bytes += payload.len();
        self.waiting.push(Record { number, kind, payload: payload.into() });
        Ok(number)
    }

    fn commit(&mut self, messages: &[Vec<u8>]) -> Outcome<()> {
        let record = transaction(self.next, messages);
        self.next = self.next.next();
        self.waiting_bytes += record.payload.len();
        self.waiting.push(record);
        if self.waiting_bytes >= STEP_BYTES { self.step() } else { Ok(()) }
    }

    /// Applies what waits; only this is timed.
    fn step(&mut self) -> Outcome<()> {
        let settles = if self.settling { self.dirty()? } else { Vec::new() };
        let (began, worked) = (Instant::now(), thread_time());
        self.rows += self.applier.step(&self.waiting, &settles, &[])?;
        self.took += began.elapsed();
        self.worked += thread_time() - worked;
        self.waiting.clear();
        self.waiting_bytes = 0;
        Ok(())
    }

    /// Everything that is dirty now, as if deliver had just sent all of it.
    fn dirty(&self) -> Outcome<Vec<Settle>> {
        let view = self.engine.view()?;
        let mut settles = Vec::new();
        for state in self.applier.generations() {
            for class in Class::ALL {
                dirty::walk_queue(&view, state.generation, class, None, &mut |_, document| {
                    settles.push(Settle {
                        batch: 0,
                        generation: state.generation,
                        document,
                        view: self.applier.reached().entry,
                        refused: None,
                    });
                    ControlFlow::Continue(())
                })?;
            }
        }
        Ok(settles)
    }

    /// Settles until nothing is dirty.
    fn clean(&mut self) -> Outcome<()> {
        self.step()?;
        loop {
            let settles = self.dirty()?;
            if settles.is_empty() && !self.applier.has_scans() {
                return Ok(());
            }
            self.applier.step(&[], &settles, &[])?;
        }
    }

    fn table(&self, name: &str) -> Table {
        self.catalog.table("public", name).expect("a table of the migrations").clone()
    }

    /// Rows per second since the last call, by the clock and by this thread's processor time.
    fn measured(&mut self) -> (f64, f64) {
        let rows = self.rows as f64;
        let rates = (rows / self.took.as_secs_f64(), rows / self.worked.as_secs_f64());
        (self.rows, self.took, self.worked) = (0, Duration::ZERO, Duration::ZERO);
        rates
    }
}

fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.max(0) as u64, time.tv_nsec.max(0) as u32)
}

/// Sizes, from the scale in percent.
struct Size {
    customers: u64,
    products: u64,
    orders: u64,
}

pub fn run(arguments: &Arguments) -> Outcome<()> {
    let scale = arguments.number("percent")?;
    let transactions = arguments.number("transactions")?;
    let rounds = arguments.number("rounds")?;
    let size = Size { customers: 1_000 * scale, products: 1_000 * scale, orders: 5_000 * scale };
    let source = Postgres::new(arguments.postgres()?, None);
    let names: Vec<String> = TABLES.iter().map(|name| (*name).to_owned()).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let catalog = runtime.block_on(source.find(&names, &Catalog::default()))?.catalog;

    let folder = Folder::lock(arguments.text("folder")?.as_ref())?;
    let engine = Arc::new(Lmdb::open(folder, &Options::default())?);
    let applier = Applier::load(Arc::clone(&engine), "bench")?;
    let mut fold = Fold {
        engine,
        applier,
        catalog: catalog.clone(),
        next: EntryNo(1),
        waiting: Vec::new(),
        waiting_bytes: 0,
        rows: 0,
        took: Duration::ZERO,
        worked: Duration::ZERO,
        settling: false,
    };
    let mut definitions = Vec::new();
    for (number, name) in [(1, "order"), (2, "product")] {
        let source = std::fs::read_to_string(format!("{}/{name}.yaml", arguments.text("projections")?))?;
        definitions.push(Definition {
            name: format!("{name}s"),
            source,
            generation: Generation(number),
            index: format!("{name}s-1"),
        });
    }
    fold.push(Kind::Connected, b"{}".to_vec())?;
    let facts = Facts { catalog: catalog.clone(), definitions, assembler: ASSEMBLER, traces: Vec::new() };
    fold.push(Kind::Facts, serde_json::to_vec(&facts)?)?;
    let units: Vec<Unit> =
        catalog.tables.iter().map(|table| Unit { table: table.id, oid: table.oid }).collect();
    let begin = Backfill { begin: EntryNo::ZERO, units, keys_only: false, transaction: None };
    let number = fold.push(Kind::BackfillBegin, serde_json::to_vec(&begin)?)?;
    let relations: Vec<Vec<u8>> = catalog.tables.iter().map(relation).collect();
    fold.commit(&relations)?;
    load(&mut fold, &size)?;
    fold.step()?;
    figure("load_rows", &[fold.rows as f64]);
    figure("load_rows_per_s", &[fold.measured().0]);
    fold.push(Kind::BackfillEnd, serde_json::to_vec(&Backfill { begin: number, ..begin })?)?;
    fold.clean()?;
    figure("store_mb", &[fold.engine.size_bytes()? as f64 / 1e6]);

    let mut random = fastrand::Rng::with_seed(7);
    let mut alone = Vec::new();
    let mut settling = Vec::new();
    fold.measured();
    for round in 0..2 * rounds {
        // Every other round also settles what the one step before has dirtied, as under the daemon.
        fold.settling = round % 2 == 1;
        traffic(&mut fold, &size, &mut random, transactions, round)?;
        fold.step()?;
        if fold.settling { &mut settling } else { &mut alone }.push(fold.measured());
        fold.clean()?;
        fold.measured();
    }
    let by_clock = |rounds: &[(f64, f64)]| rounds.iter().map(|(clock, _)| *clock).collect::<Vec<_>>();
    let by_work = |rounds: &[(f64, f64)]| rounds.iter().map(|(_, work)| *work).collect::<Vec<_>>();
    figure("apply_rows_per_s", &by_clock(&alone));
    figure("apply_rows_per_cpu_s", &by_work(&alone));
    figure("apply_and_settle_rows_per_s", &by_clock(&settling));
    figure("apply_and_settle_rows_per_cpu_s", &by_work(&settling));
    documents(&fold, &size, &mut random, rounds)
}

fn load(fold: &mut Fold, size: &Size) -> Outcome<()> {
    let by_id = |table: &Table, id: u64, given: &[(&str, String)]| {
        insert(table, &row(table, id, &[&[("id", id.to_string())], given].concat()))
    };
    for (name, count) in [("customers", size.customers), ("brands", 200), ("warehouses", 4)] {
        let table = fold.table(name);
        for id in 1..=count {
            fold.commit(&[by_id(&table, id, &[])])?;
        }
    }
    let addresses = fold.table("addresses");
    for id in 1..=size.customers {
        fold.commit(&[by_id(&addresses, id, &[("customer_id", id.to_string())])])?;
    }
    let (products, variants, prices) =
        (fold.table("products"), fold.table("product_variants"), fold.table("prices"));
    for id in 1..=size.products {
        let product = by_id(
            &products,
            id,
            &[
                ("brand_id", (1 + id % 200).to_string()),
                ("category_id", String::new()),
                ("status", "active".to_owned()),
            ],
        );
        let variant = by_id(&variants, id, &[("product_id", id.to_string())]);
        fold.commit(&[product, variant, insert(&prices, &price(&prices, id, id))])?;
    }
    for id in 1..=size.orders {
        order(fold, size, id, id)?;
    }
    Ok(())
}

fn price(table: &Table, id: u64, seed: u64) -> Values {
    row(table, seed, &[("id", id.to_string()), ("variant_id", id.to_string()), ("valid_to", String::new())])
}

fn order_row(table: &Table, size: &Size, id: u64, status: &str) -> Values {
    let customer = (1 + id % size.customers).to_string();
    row(
        table,
        id,
        &[
            ("id", id.to_string()),
            ("number", format!("S-{id:08}")),
            ("customer_id", customer.clone()),
            ("billing_address_id", customer.clone()),
            ("shipping_address_id", customer),
            ("status", status.to_owned()),
        ],
    )
}

fn line(table: &Table, size: &Size, order: u64, line_no: u64, seed: u64) -> Values {
    row(
        table,
        seed,
        &[
            ("order_id", order.to_string()),
            ("line_no", line_no.to_string()),
            ("variant_id", (1 + seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) % size.products).to_string()),
        ],
    )
}

fn order(fold: &mut Fold, size: &Size, id: u64, seed: u64) -> Outcome<()> {
    let (orders, lines) = (fold.table("orders"), fold.table("order_lines"));
    let mut messages = vec![insert(&orders, &order_row(&orders, size, id, "placed"))];
    for line_no in 1..=LINES {
        messages.push(insert(&lines, &line(&lines, size, id, line_no, seed * LINES + line_no)));
    }
    fold.commit(&messages)
}

/// 70 % new orders of four lines, 20 % updates of a status, 8 % of a price, 2 % a line moves to another order.
fn traffic(
    fold: &mut Fold,
    size: &Size,
    random: &mut fastrand::Rng,
    transactions: u64,
    round: u64,
) -> Outcome<()> {
    let (orders, lines, prices) = (fold.table("orders"), fold.table("order_lines"), fold.table("prices"));
    for number in 0..transactions {
        let old = random.u64(1..=size.orders);
        match random.u64(0..100) {
            0..70 => {
                let id = size.orders + 1 + round * transactions + number;
                order(fold, size, id, random.u64(0..1 << 40))?;
            }
            70..90 => {
                let status = *random.choice(["paid", "shipped", "delivered"].iter()).unwrap_or(&"paid");
                fold.commit(&[update(&orders, None, &order_row(&orders, size, old, status))])?;
            }
            90..98 => {
                let id = random.u64(1..=size.products);
                fold.commit(&[update(&prices, None, &price(&prices, id, random.u64(..)))])?;
            }
            _ => {
                let before = line(&lines, size, old, 1, old);
                let to = random.u64(1..=size.orders);
                let after = line(&lines, size, to, 100 + number % 30_000, old);
                fold.commit(&[update(&lines, Some(&before), &after)])?;
            }
        }
    }
    Ok(())
}

fn documents(fold: &Fold, size: &Size, random: &mut fastrand::Rng, rounds: u64) -> Outcome<()> {
    let compiled = fold.applier.compiled();
    let set = &compiled.schema.plans;
    let plan = &set.plans[0];
    let key = |id: u64| {
        let mut key = Key::new();
        KeyClass::Int.encode(id.to_string().as_bytes(), &mut key).expect("a number");
        key
    };
    let view = fold.engine.view()?;
    let reader = RowReader { read: &view, schema: &compiled.schema };
    let count = (size.orders / 4).clamp(1_000, 50_000);
    let mut body = Vec::new();
    let (mut shuffled, mut in_order, mut worked, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for round in 0..2 * rounds {
        let keys: Vec<Key> = match round % 2 {
            0 => (0..count).map(|_| key(random.u64(1..=size.orders))).collect(),
            _ => (1..=count).map(key).collect(),
        };
        let (began, working) = (Instant::now(), thread_time());
        bytes = 0;
        for key in &keys {
            body.clear();
            if assemble(plan, set, &reader, key, &mut body)? != Assembled::Document {
                return Err("an order without a document".into());
            }
            bytes += body.len();
        }
        let rate = count as f64 / began.elapsed().as_secs_f64();
        if round % 2 == 0 {
            shuffled.push(rate);
            worked.push(count as f64 / (thread_time() - working).as_secs_f64());
        } else {
            in_order.push(rate);
        }
    }
    figure("assemble_documents_per_cpu_s", &worked);
    figure("assemble_documents_per_s", &shuffled);
    figure("assemble_in_order_documents_per_s", &in_order);
    figure("assemble_document_bytes", &[bytes as f64 / count as f64]);
    Ok(())
}
