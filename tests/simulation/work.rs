//! What the application does in the database.

use fastrand::Rng;

use super::postgres::{Deed, Record, Server};
use super::watch::Watch;
use super::world::World;

impl World {
    /// One thing that the application does.
    pub fn work_in_the_database(&mut self) {
        let mut random = self.random.fork();
        let mut server = self.server();
        if server.down {
            return;
        }
        let running = server.running();
        let unseen = server.logged_unseen();
        let one = |random: &mut Rng, of: &[u32]| of[random.usize(..of.len())];
        match random.u8(..20) {
            0..4 if running.len() < 3 => drop(server.begin(&mut random)),
            4..11 if !running.is_empty() => {
                let xid = one(&mut random, &running);
                for _ in 0..random.usize(1..4) {
                    server.deed(xid, &mut random);
                }
            }
            11 if !running.is_empty() => server.savepoint(one(&mut random, &running)),
            12 if !running.is_empty() => {
                let xid = one(&mut random, &running);
                if server.end_savepoint(xid, random.bool()) {
                    self.watch.note("database: a subtransaction was rolled back");
                }
            }
            13..16 if !running.is_empty() => {
                let xid = one(&mut random, &running);
                if random.u8(..6) == 0 {
                    self.watch.note("database: a transaction was rolled back");
                    server.roll_back(xid);
                } else {
                    let flush = random.u8(..4) > 0;
                    server.commit(xid, flush);
                    if !flush {
                        self.watch.note("database: an asynchronous commit");
                    }
                    if random.bool() {
                        server.show(xid);
                    }
                }
            }
            16..19 if !unseen.is_empty() => server.show(one(&mut random, &unseen)),
            _ => {
                let xid = server.begin(&mut random);
                for _ in 0..random.usize(1..6) {
                    server.deed(xid, &mut random);
                }
                server.commit(xid, true);
                server.show(xid);
            }
        }
    }

    pub fn end_transactions(&mut self) {
        let mut server = self.server();
        if let Some(xid) = server.running().first().copied() {
            server.commit(xid, true);
        }
        for xid in server.logged_unseen() {
            server.show(xid);
        }
        server.flush();
    }
}

impl Server {
    /// Which kinds of changes the WAL holds.
    pub fn note_deeds(&self, watch: &Watch) {
        let commits = self.wal.iter().filter_map(|logged| match &logged.record {
            Record::Commit { changes, .. } => Some(changes),
            _ => None,
        });
        for change in commits.flat_map(|changes| changes.iter()).filter(|change| change.published) {
            match &change.deed {
                Deed::Truncate(_) => watch.note("database: TRUNCATE"),
                Deed::Update(table, old, new) => {
                    let table = &self.schema.tables[*table];
                    if table.key_of(old) != table.key_of(new) {
                        watch.note("database: a key changed");
                    }
                    if (0..new.len()).any(|at| table.is_toasted(at, new) && old[at] == new[at]) {
                        watch.note("database: an unchanged value is not carried (hazard 23)");
                    }
                }
                Deed::Insert(..) | Deed::Delete(..) => {}
            }
        }
    }
}
