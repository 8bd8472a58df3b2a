//! What goes wrong. Every event that makes a situation unsafe says which refusals are right from then on.

use std::time::Duration;

use fastrand::Rng;
use projectord::model::Lsn;
use projectord::pipeline::run::{Ask, ReplayTarget};

use super::cluster::Fault;
use super::points;
use super::postgres::Server;
use super::world::World;

/// What a run is about: most runs are about a few things, so that each is seen at work alone too.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Of a hundred calls so many fail.
    failures: u8,
    /// Of a thousand steps so many bring trouble.
    pub nemesis: u32,
    /// Of a hundred steps so many are the application's work in the database.
    pub work: u8,
    /// Deaths of the process and of the machine.
    deaths: bool,
    database: bool,
    operators: bool,
    cluster: bool,
    disk: bool,
    /// Situations that must end in a refusal.
    unsafe_ones: bool,
    /// Wild steps before each rest.
    pub rounds: [u64; 3],
}

impl Plan {
    pub fn draw(random: &mut Rng) -> Plan {
        let mut some = || random.u8(..3) > 0;
        let (deaths, database, operators, cluster, disk) = (some(), some(), some(), some(), some());
        Plan {
            failures: [0, 1, 4, 20][random.usize(..4)],
            nemesis: [2, 6, 15, 40][random.usize(..4)],
            work: random.u8(5..30),
            deaths,
            database,
            operators,
            cluster,
            disk,
            unsafe_ones: random.u8(..3) == 0,
            rounds: [random.u64(..600), random.u64(200..800), random.u64(..500)],
        }
    }

    /// Whether this call fails.
    pub fn fails(&self, random: &mut Rng) -> bool {
        random.u8(..100) < self.failures
    }
}

impl World {
    pub fn nemesis(&mut self) {
        if self.process.is_none() {
            return self.start();
        }
        let plan = self.plan.clone();
        match self.random.u8(..12) {
            0 | 1 if plan.deaths => self.kill(),
            2 if plan.deaths => self.cut_power(),
            3 | 4 if plan.database => self.trouble_in_the_database(),
            5 | 6 if plan.operators => self.operator(),
            7 if plan.cluster => self.trouble_in_the_cluster(),
            8 if plan.disk => self.trouble_with_the_disk(),
            9 => self.pause(),
            10 | 11 if plan.unsafe_ones => self.unsafe_situation(),
            _ => {}
        }
    }

    /// kill -9.
    pub fn kill(&mut self) {
        let since = self.steps - self.started;
        self.watch.note(if since < 40 { "kill -9 soon after the start (double kill)" } else { "kill -9" });
        self.stopping = false;
        self.process = None;
        self.disk.killed();
        if self.random.bool() {
            self.start();
            // Dead again while it recovers.
            while self.random.u8(..3) == 0 {
                for _ in 0..self.random.u64(..30) {
                    self.turn_and_serve();
                }
                if let Err(broken) = self.learn() {
                    self.watch.broken(broken);
                }
                self.watch.note("killed again while it recovered (double kill)");
                self.process = None;
                self.disk.killed();
                self.start();
            }
        }
    }

    /// The process died at a named point: as by kill -9, or with the machine's power.
    pub fn take_the_dead_away(&mut self) {
        let Some((point, with_power)) = points::bury() else { return };
        self.watch.trace(format_args!("died at {point}"));
        self.stopping = false;
        self.process = None;
        if with_power {
            self.watch.note("the power went at a failpoint");
            self.cut_power();
        } else {
            self.watch.note("killed at a failpoint");
            self.disk.killed();
        }
    }

    /// The machine's power goes.
    pub fn cut_power(&mut self) {
        self.watch.note("power cut");
        self.powerless = false;
        self.stopping = false;
        self.process = None;
        self.disk.power_cut(&mut self.random);
        if self.random.u8(..6) == 0 {
            self.disk.rot_checkpoint();
            self.disk.take_checkpoint();
        }
        self.clock.sleep(Duration::from_secs(self.random.u64(1..60)));
    }

    fn pause(&mut self) {
        let how_long = Duration::from_secs([3, 20, 45, 4_000][self.random.usize(..4)]);
        self.watch.note("a pause of the process");
        // No request lies anywhere for longer than deletes are remembered.
        while how_long > Duration::from_secs(3_000) && self.sink.serve(&mut self.random, Fault::None) {}
        if self.random.bool() {
            self.clock.sleep(how_long);
        } else {
            self.clock.advance(how_long);
        }
        if self.random.u8(..4) == 0 {
            self.watch.note("somebody sets the wall clock");
            self.clock.skew(self.random.i64(-600..600));
        }
    }

    fn trouble_in_the_database(&mut self) {
        let mut random = self.random.fork();
        let watch = self.watch.clone();
        let mut server = self.server();
        match random.u8(..8) {
            0 | 1 => {
                let confirmed = |server: &Server| server.slot.as_ref().map(|slot| slot.confirmed);
                let before = (server.history.len(), server.next_xid, confirmed(&server));
                server.crash(&mut random);
                let lost = server.history.len() < before.0;
                watch.note(if lost { "database: a crash that loses commits" } else { "database: a crash" });
                if server.next_xid < before.1 {
                    watch.note("database: transaction ids are given out again");
                }
                if confirmed(&server) < before.2 {
                    watch.note("database: the slot stands further back (hazard 14)");
                }
            }
            2 => {
                watch.note("database: shut down");
                server.stop_fast();
                server.down = true;
            }
            3 => {
                watch.note("database: up again");
                server.down = false;
            }
            4 => {
                watch.note("database: a failover without loss");
                let end = Lsn(server.flushed);
                server.checkpoint();
                server.promote(end);
            }
            _ => {
                watch.note("database: the connection is cut");
                server.disconnect("planned: the connection was reset");
            }
        }
        if server.down && random.bool() {
            server.down = false;
        }
    }

    fn operator(&mut self) {
        let asked = match self.random.u8(..9) {
            0 => ("operator: replay of everything", Ask::Replay(ReplayTarget::All)),
            1 => {
                let name = self.shapes()[0].name.clone();
                ("operator: replay of a projection", Ask::Replay(ReplayTarget::Projections(vec![name])))
            }
            2 => {
                let ids = vec![self.random.u8(1..5).to_string()];
                let target = ReplayTarget::Ids { projection: None, ids };
                ("operator: replay of a document", Ask::Replay(target))
            }
            3 => ("operator: quarantine listed", Ask::QuarantineList),
            4 => ("operator: quarantine tried again", Ask::QuarantineRetry(None)),
            5 => ("operator: backfill anew", Ask::Backfill(None)),
            6 => {
                self.watch.note("operator: stop");
                if let Some(process) = &self.process {
                    process.ask_to_stop();
                    self.stopping = true;
                }
                return;
            }
            _ => {
                self.watch.note("operator: other definitions");
                self.set = self.random.usize(..self.sets.len());
                return self.kill();
            }
        };
        self.watch.note(asked.0);
        if let Some(process) = &mut self.process {
            process.ask(asked.1);
        }
    }

    fn trouble_in_the_cluster(&mut self) {
        let lost = match self.random.u8(..4) {
            0 => {
                self.watch.note("cluster: writes are acknowledged before they are on disk");
                self.sink.cluster().asynchronous = true;
                false
            }
            1 => {
                self.sink.cluster().sync();
                false
            }
            _ => {
                let lost = self.sink.cluster().restart();
                self.watch.note("cluster: a node restarts");
                lost
            }
        };
        if lost {
            self.watch.note("cluster: acknowledged writes were lost");
            self.lost_writes();
        }
    }

    fn trouble_with_the_disk(&mut self) {
        match self.random.u8(..6) {
            0 => {
                self.watch.note("disk: a sync fails");
                self.disk.files.fail_next_sync();
                self.failing = true;
            }
            1 => {
                self.watch.note("disk: no space left");
                let used = self.disk.used();
                self.disk.files.set_capacity(Some(used + self.random.u64(..2_000)));
                self.failing = true;
            }
            2 => {
                self.watch.note("disk: space again");
                self.disk.files.set_capacity(None);
            }
            3 => self.disk.fail_next_copy(),
            4 => {
                self.watch.note("disk: the power goes in the middle of writing");
                self.disk.files.cut_power_after(self.random.u64(..6));
                self.powerless = true;
                self.failing = true;
            }
            _ => self.back_up(),
        }
    }

    /// An older copy of the data folder, to be restored later.
    pub fn back_up(&mut self) {
        if self.backup.is_none() {
            let chronicle = self.truth.chronicle.clone();
            self.backup = Some((self.disk.back_up(), self.folder.copy(), chronicle));
        }
    }
}
