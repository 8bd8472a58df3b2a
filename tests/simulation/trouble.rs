//! Trouble that came to the world later, drawn apart from everything else: hands on the readers' aliases and on the
//! publication, a journal with a quota, an engine that fails, writes that come nearly as late as deletes are
//! remembered.

use std::time::Duration;

use fastrand::Rng;
use projectord::store::engine::Engine as _;
use projectord::store::memory;
use projectord::store::meta;

use super::cluster::Fault;
use super::regressions;
use super::schema::Schema;
use super::world::World;

/// Apart from the seed's own numbers.
const APART: u64 = 0x7a0b_1e5e_ed00;
/// Of so many steps one brings some of it.
const RARELY: u32 = 90;
/// Where an alias leads that somebody has moved.
pub const SOMEBODYS: &str = "somebodys-index";

/// What a run has of it.
#[derive(Debug, Default)]
pub struct Trouble {
    random: Rng,
    kinds: Vec<Kind>,
    /// `limits.quota_bytes` of its processes.
    pub quota: Option<u64>,
    /// The engine was made to fail: the process may end by it.
    pub engine_fails: bool,
    full: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Alias,
    Publication,
    Engine,
    Hour,
    Twin,
}

impl Trouble {
    pub fn draw(seed: u64) -> Trouble {
        let mut random = Rng::with_seed(seed ^ APART);
        if regressions::is_of_the_first_world(seed) || random.bool() {
            return Trouble::default();
        }
        let all = [Kind::Alias, Kind::Publication, Kind::Engine, Kind::Hour, Kind::Twin];
        let mut kinds: Vec<Kind> = all.into_iter().filter(|_| random.u8(..3) == 0).collect();
        kinds.extend((random.u8(..4) == 0).then_some(Kind::Hour));
        let quota = (random.u8(..4) == 0).then(|| random.u64(40_000..90_000));
        Trouble { kinds, quota, random, ..Trouble::default() }
    }

    /// Whether late requests are as late as they can be.
    pub fn is_late(&self) -> bool {
        self.kinds.contains(&Kind::Hour)
    }

    /// What the sink does to a request that would have gone well.
    pub fn fault(&mut self) -> Option<Fault> {
        (self.is_late() && self.random.u8(..8) == 0).then_some(Fault::Late)
    }
}

impl World {
    /// One wild step's chance of some of it.
    pub fn later_trouble(&mut self) {
        let trouble = &mut self.trouble;
        if trouble.kinds.is_empty() || trouble.random.u32(..RARELY) != 0 {
            return;
        }
        let kind = trouble.kinds[trouble.random.usize(..trouble.kinds.len())];
        let mut random = trouble.random.fork();
        match kind {
            Kind::Alias => self.hand_on_an_alias(&mut random),
            // The journal is begun anew after it: not as often as the others.
            Kind::Publication if random.u8(..3) > 0 => {}
            Kind::Publication => self.hand_on_the_publication(&mut random),
            Kind::Engine => self.engine_trouble(&mut random),
            Kind::Twin => self.split(&mut random),
            Kind::Hour => self.nearly_an_hour(&mut random),
        }
    }

    /// The readers' alias is put back where it is ours to move, and refused where it is not; so is the write alias.
    fn hand_on_an_alias(&mut self, random: &mut Rng) {
        if self.must_refuse.is_some() {
            return;
        }
        // One that every set of definitions has.
        let alias = "first";
        let mut cluster = self.sink.cluster();
        let Some(target) = cluster.aliases.get(alias).cloned() else { return };
        match random.u8(..4) {
            0 => {
                cluster.aliases.remove(alias);
                drop(cluster);
                self.watch.note("alias: somebody removes it");
            }
            1 => {
                let sibling = cluster
                    .indices
                    .values()
                    .find(|index| index.spec.alias == alias && index.spec.index != target)
                    .map(|index| index.spec.index.clone());
                let Some(sibling) = sibling else { return };
                cluster.aliases.insert(alias.to_owned(), sibling);
                drop(cluster);
                self.watch.note("alias: somebody leads it to another index of ours");
            }
            2 => {
                cluster.aliases.insert(alias.to_owned(), SOMEBODYS.to_owned());
                drop(cluster);
                self.watch.note("alias: somebody leads it to an index of theirs");
                self.allow(&["alias-foreign"]);
                self.must_refuse = Some("alias-foreign");
            }
            _ => {
                let Some(index) = cluster.indices.get_mut(&target) else { return };
                index.unwritable = true;
                drop(cluster);
                self.watch.note("alias: somebody removes the one that is written through");
                self.allow(&["alias-foreign", "sink-index-gone"]);
            }
        }
    }

    /// What an operator does who reads that an alias is not ours: takes it away over there. Whether it was that.
    pub fn give_the_alias_back(&mut self) -> bool {
        let mut cluster = self.sink.cluster();
        let before = cluster.aliases.len();
        cluster.aliases.retain(|_, target| target != SOMEBODYS);
        let given = cluster.indices.values_mut().filter_map(|index| index.unwritable.then_some(index));
        let written = given.map(|index| index.unwritable = false).count();
        before != cluster.aliases.len() || written > 0
    }

    fn hand_on_the_publication(&mut self, random: &mut Rng) {
        if self.must_refuse.is_some() {
            return;
        }
        // Only a table that was read since positions began proves that there is a connection on record to compare with.
        let begun = self.truth.chronicle.rebuilt_at();
        let rebuilding = self.truth.chronicle.awaits_rebuild();
        let view = self.process.as_ref().and_then(|process| process.store.view().ok());
        let units = view.and_then(|view| meta::units(&view).ok()).unwrap_or_default();
        let recorded = !rebuilding && units.iter().any(|unit| unit.complete && unit.begin > begun);
        let mut server = self.server();
        let Some(mut published) = server.publication.take() else { return };
        let tables: Vec<u32> = published.members.keys().copied().collect();
        match random.u8(..4) {
            0 | 1 => {
                server.disconnect("planned: before somebody drops the publication");
                server.unseen_work(random);
                let again = random.bool();
                if again {
                    published.oid = server.fresh_oid();
                    published.members = tables.into_iter().map(|table| (table, server.fresh_oid())).collect();
                    server.publication = Some(published);
                }
                drop(server);
                self.watch.note(if again {
                    "publication: somebody drops it and makes it again"
                } else {
                    "publication: somebody drops it"
                });
                // Missing, where it goes between the daemon's making sure of it and the gate.
                self.allow(&["publication-changed", "publication-missing"]);
                if recorded {
                    self.must_refuse = Some("publication-changed");
                }
            }
            2 if !tables.is_empty() => {
                server.disconnect("planned: before somebody takes a table out of the publication");
                published.members.remove(&tables[random.usize(..tables.len())]);
                server.publication = Some(published);
                server.unseen_work(random);
                drop(server);
                self.watch.note("publication: somebody takes a table out");
                self.allow(&["publication-lacks-table"]); // as above
            }
            _ => {
                let table = Schema::oid(random.usize(..server.schema.tables.len()));
                let added = !published.members.contains_key(&table);
                let oid = server.fresh_oid();
                published.members.entry(table).or_insert(oid);
                server.publication = Some(published);
                drop(server);
                if added {
                    self.watch.note("publication: somebody adds a table that nobody uses");
                }
            }
        }
    }

    fn engine_trouble(&mut self, random: &mut Rng) {
        if self.process.is_none() {
            return;
        }
        let fault = match random.u8(..4) {
            0 => memory::Fault::Full,
            1 => memory::Fault::Broken,
            2 => memory::Fault::Unheard,
            _ => {
                self.watch.note("engine: a damaged file is noticed at the start");
                self.stopping = false;
                self.process = None;
                self.disk.killed();
                if random.u8(..3) == 0 {
                    self.disk.rot_checkpoint();
                }
                return self.disk.take_checkpoint();
            }
        };
        self.watch.note(match fault {
            memory::Fault::Full => "engine: a batch does not fit",
            memory::Fault::Broken => "engine: a batch fails",
            memory::Fault::Unheard => "engine: a batch is written and counts as failed",
        });
        self.disk.store.fail_next_commit(fault);
        self.trouble.engine_fails = true;
    }

    /// Time goes by until deletes are nearly forgotten. Requests that have arrived are carried out first: none lies
    /// anywhere for longer than that (docs/operations.md).
    fn nearly_an_hour(&mut self, random: &mut Rng) {
        while self.sink.serve(&mut self.random, Fault::None) {}
        let by = Duration::from_secs(random.u64(3_300..3_600));
        self.watch.note("nearly an hour goes by");
        if random.bool() {
            self.clock.sleep(by);
        } else {
            self.clock.advance(by);
        }
    }

    /// Whether the journal is at its quota, as the status says it.
    pub fn notice_a_full_journal(&mut self, full: bool) {
        let before = std::mem::replace(&mut self.trouble.full, full);
        if full && !before {
            self.watch.note("journal: at its quota or reserve, nothing is read (rule 9)");
        } else if before && !full {
            self.watch.note("journal: room again");
        }
    }
}
