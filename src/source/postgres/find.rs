//! The tables that projections name, looked up for the first time and again.

use std::collections::BTreeMap;

use super::catalog::listing::list_tables;
use super::catalog::{self, KnownIds};
use super::wording::lookup;
use super::{Error, Postgres};
use crate::model::Catalog;
use crate::source::Found;

impl Postgres {
    /// Facts of the tables that these names mean; a name without a schema is looked for in all of them.
    pub(super) async fn find_tables(&self, names: &[String], known: &Catalog) -> Result<Found, Error> {
        let ids = ids(known);
        let names = names.to_vec();
        let publication = self.options().publication.clone();
        self.question(move |session| {
            Box::pin(async move {
                let listed = list_tables(session).await?;
                let mut missing = Vec::new();
                let mut wanted = Vec::new();
                for name in &names {
                    match lookup(&listed, name) {
                        Ok(table) => wanted.push((table.schema.clone(), table.name.clone())),
                        Err(instead) => missing.push((name.clone(), instead)),
                    }
                }
                let mut found = found(catalog::read(session, &wanted, &ids, &publication).await?);
                found.missing.splice(0..0, missing);
                Ok(found)
            })
        })
        .await
    }

    /// Facts of known tables as they are now.
    pub(super) async fn look_at(&self, known: &Catalog) -> Result<Found, Error> {
        let ids = ids(known);
        let wanted: Vec<_> =
            known.tables.iter().map(|table| (table.schema.clone(), table.name.clone())).collect();
        let publication = self.options().publication.clone();
        self.question(move |session| {
            Box::pin(async move { Ok(found(catalog::read(session, &wanted, &ids, &publication).await?)) })
        })
        .await
    }
}

fn ids(known: &Catalog) -> KnownIds {
    let name = |table: &crate::model::Table| (table.schema.clone(), table.name.clone());
    known.tables.iter().map(|table| (name(table), table.id)).collect::<BTreeMap<_, _>>()
}

fn found(read: catalog::Read) -> Found {
    let missing = read.missing.into_iter();
    Found {
        catalog: read.catalog,
        missing: missing.map(|(schema, name)| (format!("{schema}.{name}"), Vec::new())).collect(),
        traces: read.traces,
    }
}
