//! The Northwind traders: somebody else's schema, with composite keys, `real` columns and a table that refers
//! to itself. Its data is not ours to keep here.

use std::path::PathBuf;

use super::postgres::Postgres;

/// The database that [`create`] makes.
pub const DATABASE: &str = "northwind";

/// Index (as the projection files name it) and oracle of each projection.
pub const PROJECTIONS: [(&str, &str); 2] = [
    ("northwind_orders", include_str!("../northwind/orders.sql")),
    ("northwind_products", include_str!("../northwind/products.sql")),
];

/// Loads the data, or says why it cannot: then the test prints that it was skipped, and why.
pub fn create(postgres: &Postgres) -> Result<(), String> {
    let file = data_file()?;
    postgres.create_database(DATABASE);
    let file = file.to_str().ok_or("the path of northwind.sql is not UTF-8")?;
    postgres.psql(DATABASE, &["-1", "-f", file]);
    postgres.psql(DATABASE, &["-c", "ANALYZE"]);
    Ok(())
}

/// For [`super::daemon::Options`].
pub fn projection_files() -> Vec<PathBuf> {
    let folder = super::package_root().join("tests/northwind");
    vec![folder.join("orders.yaml"), folder.join("products.yaml")]
}

/// PROJECTORD_NORTHWIND, or `data/northwind.sql` in a folder beside the package.
fn data_file() -> Result<PathBuf, String> {
    if let Some(file) = std::env::var_os("PROJECTORD_NORTHWIND") {
        let file = PathBuf::from(file);
        return if file.is_file() { Ok(file) } else { Err(format!("{} is not a file", file.display())) };
    }
    let beside = super::package_root().parent().and_then(|parent| std::fs::read_dir(parent).ok());
    beside
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("data/northwind.sql"))
        .find(|file| file.is_file())
        .ok_or_else(|| "no northwind.sql: name it by PROJECTORD_NORTHWIND".to_owned())
}
