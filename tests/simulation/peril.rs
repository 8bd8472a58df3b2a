//! Situations that nobody can go on from without being told: each has its refusals (I11).

use fastrand::Rng;
use projectord::model::{Epoch, Lsn};

use super::postgres::{Record, Server, Slot};
use super::schema::Schema;
use super::world::World;

impl World {
    /// Situations that nobody can go on from without being told.
    pub fn unsafe_situation(&mut self) {
        let mut random = self.random.fork();
        match random.u8(..11) {
            0 => self.unsafe_slot("unsafe: the slot is dropped", &["slot-missing"], |server, _| {
                server.slot = None;
            }),
            1 => self.unsafe_slot("unsafe: the slot is lost", &["slot-lost"], |server, _| {
                if let Some(slot) = &mut server.slot {
                    slot.lost = true;
                }
            }),
            2 => self.unsafe_slot("unsafe: the slot is made again", &["slot-advanced"], |server, random| {
                server.unseen_work(random);
                let at = Lsn(server.flushed);
                server.slot = Some(Slot { confirmed: at, confirmed_on_disk: at, ..Slot::default() });
            }),
            3 => {
                self.unsafe_slot("unsafe: another advances the slot", &["slot-advanced"], |server, random| {
                    server.unseen_work(random);
                    let at = Lsn(server.flushed);
                    if let Some(slot) = &mut server.slot {
                        slot.confirmed = at;
                        slot.confirmed_on_disk = at;
                    }
                })
            }
            4 => self.republish(false),
            5 => self.fail_over_with_loss(&mut random),
            6 => self.unsafe_slot("unsafe: another server", &["source-other-system"], |server, _| {
                server.system_identifier += 1;
                server.life += 1; // no session goes on over there
            }),
            7 => {
                self.watch.note("unsafe: we would be a synchronous standby");
                self.allow(&["source-sync-standby"]);
                self.must_refuse = Some("source-sync-standby");
                self.server().standby_names = "*".to_owned();
            }
            8 => self.remove_an_index(&mut random),
            9 => {
                self.overwrite_an_epoch(&mut random);
            }
            _ => self.restore_or_rot(&mut random),
        }
    }

    fn unsafe_slot(
        &mut self,
        name: &'static str,
        codes: &'static [&'static str],
        work: impl FnOnce(&mut Server, &mut Rng),
    ) {
        let mut random = self.random.fork();
        let streamed;
        {
            let mut server = self.server();
            if server.slot.is_none() || self.must_refuse.is_some() {
                return;
            }
            streamed = server.slot.as_ref().is_some_and(|slot| slot.streamed);
            server.disconnect("planned: before somebody touches the slot");
            work(&mut server, &mut random);
        }
        self.watch.note(name);
        self.allow(codes);
        // Before anybody streamed from it, it is made again as an orphan.
        if streamed {
            self.must_refuse = codes.first().copied();
        }
    }

    /// `rewritten`: what nobody sees of it concerns every row.
    pub fn republish(&mut self, rewritten: bool) {
        let mut random = self.random.fork();
        {
            let mut server = self.server();
            let oid = server.fresh_oid();
            let table = random.usize(..server.schema.tables.len());
            let Some(published) = &mut server.publication else { return };
            if published.members.remove(&Schema::oid(table)).is_none() {
                return;
            }
            server.disconnect("planned: before somebody touches the publication");
            server.unseen_work(&mut random);
            if rewritten {
                server.rewrite(table, &mut random);
            }
            if let Some(published) = &mut server.publication {
                published.members.insert(Schema::oid(table), oid);
            }
        }
        self.watch.note("unsafe: a table was taken out of the publication and put in again");
        self.allow(&["publication-changed"]);
    }

    fn fail_over_with_loss(&mut self, random: &mut Rng) {
        let (confirmed, to) = {
            let mut server = self.server();
            if server.history.len() < 3 || server.slot.is_none() {
                return;
            }
            let back = 1 + random.usize(..2.min(server.history.len() - 2));
            let to = server.history[server.history.len() - 1 - back].end;
            server.promote(to);
            // A standby has its slots from its last synchronisation.
            server.append(16, Record::Foreign);
            server.flush();
            (server.slot.as_ref().map_or(Lsn::ZERO, |slot| slot.confirmed), to)
        };
        // Where that takes back what somebody else had read from the slot, nothing is missing any more.
        if self.must_refuse == Some("slot-advanced") && confirmed <= self.watch.brought() {
            self.must_refuse = None;
        }
        self.truth.chronicle.fork();
        self.commits_are_gone(to);
        self.watch.note("unsafe: a failover that loses commits");
        self.allow(&["source-timeline", "source-behind", "slot-advanced"]);
    }

    fn remove_an_index(&mut self, random: &mut Rng) {
        {
            let sink = std::sync::Arc::clone(&self.sink);
            let mut cluster = sink.cluster();
            let names: Vec<String> = cluster.indices.keys().cloned().collect();
            if names.is_empty() {
                return;
            }
            let name = &names[random.usize(..names.len())];
            if random.bool() && cluster.take_snapshot(name) {
                return self.watch.note("cluster: a snapshot was taken");
            }
            let restored = random.bool() && cluster.restore_snapshot(name);
            if restored {
                self.watch.note("unsafe: an index comes back from a snapshot");
            } else {
                self.watch.note("unsafe: an index is deleted");
                cluster.indices.remove(name);
                cluster.aliases.retain(|_, target| target != name);
            }
            self.truth.forget(name);
        }
        self.allow(&["sink-index-gone"]);
    }

    /// Whether there was one.
    pub fn overwrite_an_epoch(&mut self, random: &mut Rng) -> bool {
        {
            let mut cluster = self.sink.cluster();
            let number = random.usize(..cluster.indices.len().max(1));
            let Some(index) = cluster.indices.values_mut().nth(number) else { return false };
            index.epoch = Epoch(index.epoch.0 + 5);
        }
        self.watch.note("unsafe: another daemon claims an index");
        self.allow(&["sink-other-writer", "sink-epoch"]);
        true
    }

    /// An older copy of the data folder, or a bit that flips in the journal.
    pub fn restore_or_rot(&mut self, random: &mut Rng) {
        self.process = None;
        self.disk.killed();
        match self.backup.take() {
            Some((backup, folder, chronicle)) => {
                self.watch.note("unsafe: an older copy of the data folder is restored");
                // A late request of this very step was sent by the journal that goes now.
                if let Err(broken) = self.judge() {
                    self.watch.broken(broken);
                }
                self.put_the_folder_aside();
                self.disk.restore(&backup);
                self.folder = folder;
                self.truth.restore(chronicle);
                if self.truth.chronicle.is_forked() {
                    // It is from before a failover that took commits back.
                    self.allow(&["source-timeline", "source-behind"]);
                }
                self.twin = None;
                self.must_refuse = None;
                let mut server = self.server();
                server.disconnect("planned: the process is gone");
                if let Some(slot) = &mut server.slot {
                    slot.streamed = false; // that copy may be from before
                }
                drop(server);
                self.sink.cluster().forget_requests();
                self.allow(&[
                    "slot-advanced",
                    "index-foreign",
                    "alias-foreign",
                    "store-ahead",
                    "publication-changed",
                ]);
            }
            None => {
                self.watch.note("unsafe: a bit flips in the journal");
                self.disk.flip(random);
                self.allow(&[
                    "journal-damaged",
                    "slot-advanced",
                    "store-ahead",
                    "journal-other",
                    "journal-newer",
                    "publication-changed",
                ]);
                self.rotten = true;
                self.truth.rotten = true;
            }
        }
    }
}
