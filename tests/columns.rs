//! Tables change their columns while the daemon runs.

mod support;

use support::daemon::{self, Daemon};
use support::elasticsearch::Elasticsearch;
use support::postgres::Postgres;
use support::shop;
use support::workload::{self, Workload};

#[test]
fn documents_are_equal_after_columns_were_added_dropped_and_changed() {
    let postgres = Postgres::start_quick();
    shop::create(&postgres, 200, 800);
    let elasticsearch = Elasticsearch::shared();
    let daemon = Daemon::start(&postgres, &elasticsearch, &daemon::Options::shop());
    daemon.in_step(&postgres, &elasticsearch);
    let session = postgres.session(shop::DATABASE);
    for (number, change) in [
        "ALTER TABLE products ADD COLUMN extra integer NOT NULL DEFAULT 7",
        "ALTER TABLE customers DROP COLUMN phone",
        "ALTER TABLE product_variants ALTER COLUMN weight_grams TYPE bigint",
        "ALTER TABLE order_lines ALTER COLUMN quantity TYPE bigint",
        "ALTER TABLE products ADD COLUMN more text DEFAULT 'x', DROP COLUMN extra",
    ]
    .into_iter()
    .enumerate()
    {
        println!("{change}");
        let options = workload::Options {
            seed: 40 + number as u64,
            transactions: None,
            rate: Some(10.0),
            truncate: false,
            ..workload::Options::default()
        };
        let writers = Workload::start(&postgres.url(shop::DATABASE), &options);
        session.must(change);
        session.must("UPDATE products SET name = name || '.' WHERE id % 3 = 0");
        session.must("UPDATE order_lines SET quantity = quantity + 1 WHERE order_id % 7 = 0");
        session.must("UPDATE customers SET full_name = full_name || '.' WHERE id % 5 = 0");
        session.must("UPDATE product_variants SET weight_grams = 1000 WHERE id % 4 = 0");
        writers.stop();
        daemon.in_step(&postgres, &elasticsearch);
    }
}
