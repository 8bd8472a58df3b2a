//! The shop of migrations/ and config/projections/, in a cluster of this test.

use std::path::Path;

use super::elasticsearch::Elasticsearch;
use super::oracle::{self, Report};
use super::postgres::Postgres;
use super::session::Session;

/// The database that [`create`] makes.
pub const DATABASE: &str = "shop";

/// Index (as the projection files name it) and oracle of each projection.
pub const PROJECTIONS: [(&str, &str); 2] =
    [("products", include_str!("../sql/product.sql")), ("orders", include_str!("../sql/order.sql"))];

/// Migrations and that much generated data.
pub fn create(postgres: &Postgres, products: u32, orders: u32) {
    postgres.create_database(DATABASE);
    let root = super::package_root();
    let mut migrations: Vec<_> = std::fs::read_dir(root.join("migrations"))
        .expect("migrations/")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .collect();
    migrations.sort();
    for migration in &migrations {
        postgres.psql(DATABASE, &["-1", "-f", text(migration)]);
    }
    let products = format!("products={products}");
    let orders = format!("orders={orders}");
    let data = root.join("scripts/shop-data.sql");
    postgres.psql(DATABASE, &["-1", "-v", &products, "-v", &orders, "-f", text(&data)]);
    postgres.psql(DATABASE, &["-c", "ANALYZE"]);
}

/// Compares every document with the oracle: see [`oracle::compare_all`].
pub fn compare(session: &Session, elasticsearch: &Elasticsearch) -> Result<usize, Report> {
    oracle::compare_all(session, elasticsearch, &PROJECTIONS)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the package's path is UTF-8")
}
