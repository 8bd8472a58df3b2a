//! What makes a third of the runs worse than chance would: things happen at the very moments at which they are
//! dangerous. Drawn apart from everything else, so that a run without them is what it would be if they were not
//! there.

use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fastrand::Rng;
use projectord::pipeline::run::Ask;
use projectord::store::engine::Engine;
use projectord::store::meta::{self, Reached};

use super::cluster::Fault;
use super::postgres::Server;
use super::schema::Schema;
use super::shape::{self, Shape};
use super::watch::Watch;
use super::world::World;

/// Apart from the seed's own numbers.
const APART: u64 = 0x5eed_0f70_0b1e;
/// Of so many steps one brings what a run of that kind is about.
const RARELY: u32 = 60;

/// Its name among the loops.
pub const WALSENDER: &str = "walsender";

/// The dangerous moments of a run.
#[derive(Debug)]
struct Moments {
    random: Rng,
    /// Others change a table between a chunk's SELECT and its marker.
    ambushed_chunks: bool,
    /// A commit is logged and not visible yet when a backfill's first marker is.
    lingering_commits: bool,
    /// Transactions are large, and the server asks for answers in the middle of them.
    chatty: bool,
    /// The sink does wrong more often than right.
    bad_sink: bool,
    /// Older copies of the data folder come back.
    restored: bool,
    /// Another daemon claims indices, and writes what is just being written.
    usurped: bool,
    /// The stream lags, and its connection is cut or a standby takes over while a chunk's marker is on its way.
    cut_off: bool,
    /// Tables are read anew again and again, also behind a gap.
    reread: bool,
    /// Rows go to other parents while somebody walks through them, and projections share a table.
    reparented: bool,
    /// The process is killed where a transaction is half applied.
    killed_inside: bool,
    /// A loop that is given less time than the others.
    slow: Option<&'static str>,
}

#[derive(Clone, Copy, Debug)]
enum Moment {
    Restore,
    Usurp,
    Large,
    Reread,
    Gap,
    PowerCut,
}

/// See [`Moments`]. Clones are the same ones.
#[derive(Clone)]
pub struct Worse(Arc<Mutex<Moments>>);

impl Worse {
    pub fn draw(seed: u64) -> Worse {
        let mut random = Rng::with_seed(seed ^ APART);
        let worse = random.u8(..3) == 0;
        let mut of = |sides| worse && random.u8(..sides) == 0;
        let (cut_off, is_slow) = (of(2), of(2));
        let mut some = || of(3);
        let moments = Moments {
            ambushed_chunks: some(),
            lingering_commits: some(),
            chatty: some(),
            bad_sink: some(),
            restored: some(),
            usurped: some(),
            cut_off,
            reread: some(),
            reparented: some(),
            killed_inside: some(),
            slow: is_slow.then(|| ["apply", "apply", "apply", "deliver", "ingest"][random.usize(..5)]),
            random,
        };
        Worse(Arc::new(Mutex::new(moments)))
    }

    fn moments(&self) -> MutexGuard<'_, Moments> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_chatty(&self) -> bool {
        self.moments().chatty
    }

    /// Definitions that are worse than those drawn by chance.
    pub fn sets(&self, schema: &Schema) -> Option<Vec<Vec<Rc<Shape>>>> {
        let mut moments = self.moments();
        if !moments.reparented {
            return None;
        }
        shape::draw_sharing_sets(&mut moments.random, schema)
    }

    /// Whether a loop of this name, or the walsender, is not turned although it is its turn.
    pub fn passes_over(&self, name: &str) -> bool {
        let mut moments = self.moments();
        let slow = moments.slow == Some(name) || (moments.cut_off && name == WALSENDER);
        // A scan waits until what it has found is delivered: so it lasts.
        let slower = moments.reparented && name == "deliver" && moments.random.u8(..4) > 0;
        slower || slow && moments.random.u8(..12) > 0
    }

    /// What the sink does to a request that would have gone well.
    pub fn fault(&self) -> Fault {
        let mut moments = self.moments();
        if !moments.bad_sink || moments.random.u8(..3) == 0 {
            return Fault::None;
        }
        Fault::ALL[moments.random.usize(..Fault::ALL.len())]
    }
}

impl Server {
    /// Before a chunk's SELECT.
    pub fn before_chunk(&mut self, oid: u32, worse: &Worse, watch: &Watch) {
        let mut moments = worse.moments();
        if moments.cut_off && moments.random.bool() {
            watch.note("a chunk saw what was not streamed yet");
            self.forestall(oid, &mut moments.random);
        }
    }

    /// Between a chunk's SELECT and its marker.
    pub fn before_marker_of_chunk(&mut self, oid: u32, nonce: &str, worse: &Worse, watch: &Watch) {
        self.chunks.insert(nonce.to_owned(), false);
        let mut moments = worse.moments();
        if moments.ambushed_chunks && moments.random.bool() {
            watch.note("a table was changed between a chunk and its marker");
            self.ambush(oid, &mut moments.random);
        }
    }

    /// Before a marker that a backfill waits for.
    pub fn before_marker(&mut self, worse: &Worse, watch: &Watch) {
        let mut moments = worse.moments();
        if moments.lingering_commits && moments.random.bool() {
            watch.note("a commit was logged and not visible when a marker was (hazard 9)");
            self.linger(&mut moments.random);
        }
    }
}

impl World {
    /// One wild step's chance of something dangerous.
    pub fn dangerous_moment(&mut self) {
        let (chosen, mut random) = {
            let mut moments = self.source.worse.moments();
            if moments.killed_inside && moments.random.u8(..4) == 0 && self.is_inside() {
                drop(moments);
                self.watch.note("killed where a transaction was half applied");
                return self.kill();
            }
            if moments.reparented && moments.random.u8(..6) == 0 && self.is_scanning() {
                let mut random = moments.random.fork();
                drop(moments);
                self.watch.note("rows went to other parents while a scan ran");
                return self.server().reparent(&mut random);
            }
            if moments.cut_off && moments.random.u8(..8) == 0 {
                drop(moments);
                return self.cut_before_marker();
            }
            if moments.random.u32(..RARELY) != 0 {
                return;
            }
            let all = [
                (moments.restored, Moment::Restore),
                (moments.usurped, Moment::Usurp),
                (moments.chatty || moments.killed_inside, Moment::Large),
                (moments.reread, Moment::Reread),
                (moments.reread, Moment::Gap),
                (moments.slow == Some("apply"), Moment::PowerCut),
            ];
            let (wanted, chosen) = all[moments.random.usize(..all.len())];
            if !wanted {
                return;
            }
            (chosen, moments.random.fork())
        };
        match chosen {
            Moment::Restore if self.failing || self.powerless => {}
            Moment::Restore if self.backup.is_some() => self.restore_or_rot(&mut random),
            Moment::Restore => self.back_up(),
            // Nobody would know of documents that it took from under the first of two daemons.
            Moment::Usurp if self.twin.is_some() => {}
            Moment::Usurp => {
                let claimed = self.overwrite_an_epoch(&mut random);
                self.sink.cluster().usurp = claimed;
            }
            Moment::Large => {
                let mut server = self.server();
                server.foreign(&mut random);
                let xid = server.begin(&mut random);
                (0..40).for_each(|_| server.deed(xid, &mut random));
                server.commit(xid, true);
                server.show(xid);
            }
            Moment::Gap => self.republish(true),
            Moment::PowerCut => self.cut_power(),
            Moment::Reread => {
                if let Some(process) = &mut self.process {
                    process.ask(Ask::Backfill(None));
                }
            }
        }
    }

    /// A chunk's marker is in the WAL and was not sent: that chunk is not to be believed any more.
    fn cut_before_marker(&mut self) {
        let mut server = self.server();
        let Some((sent, true)) = server.unsent_chunk() else { return };
        let lost = self.source.worse.moments().random.u8(..4) > 0;
        // A standby that is behind the last failover cannot say where that one was: it is refused, and rightly.
        if lost && server.timelines.values().all(|end| *end <= sent) {
            // Everything that the journal can hold is there; what chunks have seen is not.
            self.watch.note("database: a failover that loses what was not sent");
            server.checkpoint();
            server.promote(sent);
            drop(server);
            self.commits_are_gone(sent);
        } else {
            self.watch.note("database: the connection is cut before a marker");
            server.disconnect("planned: the connection was reset");
        }
    }

    fn reached(&self) -> Option<Reached> {
        let view = self.process.as_ref().and_then(|process| process.store.view().ok());
        view.and_then(|view| meta::reached(&view).ok())
    }

    fn is_inside(&self) -> bool {
        self.reached().is_some_and(|reached| reached.inside)
    }

    fn is_scanning(&self) -> bool {
        self.reached().is_some_and(|reached| reached.dirty.iter().any(|(_, count)| count.scans > 0))
    }
}
