//! What others do at the worst moments: each a transaction of its own, committed at once.

use std::sync::Arc;

use fastrand::Rng;

use super::{Deed, Server};
use crate::schema::{Domain, Key, Row};

impl Server {
    /// What is worst for somebody who has just read this table and has not said so yet.
    pub fn ambush(&mut self, oid: u32, random: &mut Rng) {
        let table = self.schema.table_of(oid);
        let xid = self.begin(random);
        let at = self.at(xid);
        match random.u8(..4) {
            0 => self.truncate(at, table, random),
            1 => {
                for (key, row) in self.rows_of(table) {
                    if random.u8(..3) > 0 && self.lock(at, table, &key) {
                        self.push(at, table, Deed::Delete(table, row));
                    }
                }
            }
            2 => self.touch(at, table, random),
            _ => {}
        }
        for _ in 0..random.usize(..4) {
            self.row_deed(at, table, random);
        }
        self.commit(xid, true);
        self.show(xid);
    }

    /// A commit that is on its way to everybody, and that no SELECT sees yet.
    pub fn linger(&mut self, random: &mut Rng) {
        let xid = self.begin(random);
        for _ in 0..random.usize(1..6) {
            self.deed(xid, random);
        }
        self.commit(xid, true);
    }

    /// A commit that a SELECT sees, and that is not in the stream yet.
    pub fn forestall(&mut self, oid: u32, random: &mut Rng) {
        let table = self.schema.table_of(oid);
        let xid = self.begin(random);
        let at = self.at(xid);
        for _ in 0..random.usize(1..5) {
            self.row_deed(at, table, random);
        }
        self.commit(xid, true);
        self.show(xid);
    }

    /// Every row of a table becomes another one under its key.
    pub fn rewrite(&mut self, table: usize, random: &mut Rng) {
        let xid = self.begin(random);
        let at = self.at(xid);
        self.change_rows(at, table, random, |_| true);
        self.commit(xid, true);
        self.show(xid);
    }

    /// The rows of a table go to other parents; whatever else they hold stays.
    pub fn reparent(&mut self, random: &mut Rng) {
        let schema = Arc::clone(&self.schema);
        let mut moving = Vec::new();
        for (table, described) in schema.tables.iter().enumerate() {
            let columns = described.columns.iter().enumerate();
            let refers =
                columns.filter(|(at, column)| column.refers.is_some() && !described.key.contains(at));
            moving.extend(refers.map(|(column, _)| (table, column)));
        }
        let Some((table, column)) = moving.get(random.usize(..moving.len().max(1))) else { return };
        let xid = self.begin(random);
        let at = self.at(xid);
        self.change_rows(at, *table, random, |chosen| chosen == *column);
        self.commit(xid, true);
        self.show(xid);
    }

    /// Large values are left alone: the stream does not carry them.
    fn touch(&mut self, at: usize, table: usize, random: &mut Rng) {
        let schema = Arc::clone(&self.schema);
        let columns = &schema.tables[table].columns;
        self.change_rows(at, table, random, |column| columns[column].domain != Domain::Toast);
    }

    /// Draws these columns of every row anew, but for its key.
    fn change_rows(&mut self, at: usize, table: usize, random: &mut Rng, chosen: impl Fn(usize) -> bool) {
        let schema = Arc::clone(&self.schema);
        let described = &schema.tables[table];
        let chosen: Vec<usize> = (0..described.columns.len())
            .filter(|column| !described.key.contains(column) && chosen(*column))
            .collect();
        for (key, _) in self.rows_of(table) {
            if chosen.is_empty() || !self.lock(at, table, &key) {
                continue;
            }
            let Some(old) = self.row(at, table, &key) else { continue };
            let mut new = Row::clone(&old);
            chosen.iter().for_each(|column| new[*column] = described.value(*column, random));
            self.update(at, table, &old, new);
        }
    }

    fn rows_of(&self, table: usize) -> Vec<(Key, Arc<Row>)> {
        self.visible[table].iter().map(|(key, row)| (key.clone(), Arc::clone(row))).collect()
    }
}
