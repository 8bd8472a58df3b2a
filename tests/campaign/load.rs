//! What the write database goes through while faults happen: the seeded crowd of the shop, and one connection
//! that changes many rows at a time, so that there are some 2,000 row changes per second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support;
use crate::support::session::Session;
use crate::support::workload::{self, Workload};

/// Transactions per second of each connection of the crowd; there are four.
const CROWD_RATE: f64 = 30.0;
/// Orders whose lines one transaction of the many changes, about two and a half rows each.
const ORDERS_AT_ONCE: u32 = 50;
const MANY_EVERY: Duration = Duration::from_millis(90);
/// How long a connection tries to come back while the server is down.
const RECONNECT_LIMIT: Duration = Duration::from_secs(120);

/// Under way until it is stopped.
pub struct Load {
    url: String,
    crowd: Workload,
    many: JoinHandle<()>,
    stop: Arc<AtomicBool>,
    begun: Instant,
    before: Option<u64>,
}

impl Load {
    pub fn start(url: String, seed: u64) -> Load {
        let options = workload::Options {
            seed,
            transactions: None,
            rate: Some(CROWD_RATE),
            truncate: seed.is_multiple_of(4),
            ..Default::default()
        };
        let before = changes(&url);
        let stop = Arc::new(AtomicBool::new(false));
        let many = {
            let (url, stop) = (url.clone(), Arc::clone(&stop));
            let dice = fastrand::Rng::with_seed(seed);
            std::thread::spawn(move || change_many(&url, dice, &stop))
        };
        let crowd = Workload::start(&url, &options);
        Load { url, crowd, many, stop, begun: Instant::now(), before }
    }

    /// Ends after the transactions under way. Rows inserted, updated and deleted per second, as the server
    /// counts them; nothing when it lost count in a crash.
    pub fn stop(self) -> Option<u32> {
        self.stop.store(true, Ordering::Relaxed);
        self.crowd.stop();
        self.many.join().expect("the connection that changes many rows ends");
        let took = self.begun.elapsed().as_secs_f64();
        // What a connection has done is counted when it ends, a moment after it was told to.
        std::thread::sleep(Duration::from_millis(20));
        let changed = changes(&self.url).zip(self.before).and_then(|(now, before)| now.checked_sub(before));
        changed.map(|changed| (changed as f64 / took) as u32)
    }
}

fn change_many(url: &str, mut dice: fastrand::Rng, stop: &AtomicBool) {
    let mut session = connect(url);
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let part = dice.f64();
        let sql = format!(
            "UPDATE order_lines SET quantity = quantity % 50 + 1, line_total = unit_price * (quantity % 50 + 1)
             WHERE order_id IN (SELECT id FROM orders WHERE id >= (SELECT count(*) * {part:.6} FROM orders)
                                ORDER BY id LIMIT {ORDERS_AT_ONCE})"
        );
        if let Err(error) = session.query(&sql) {
            let ended = error.code().is_none_or(|code| code.code().starts_with("57P"));
            if ended {
                session = connect(url);
            } // else a deadlock or a timeout: part of the life shown here
        }
        next = (next + MANY_EVERY).max(Instant::now() - Duration::from_secs(1));
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

fn connect(url: &str) -> Session {
    support::wait_for("the connection that changes many rows", RECONNECT_LIMIT, || {
        let session = Session::connect(url).map_err(|error| error.to_string())?;
        let limits = "SET deadlock_timeout = '30ms'; SET lock_timeout = '3s'; SET statement_timeout = '20s'";
        session.query(limits).map_err(|error| error.to_string())?;
        Ok(session)
    })
}

/// Row changes of the shop's tables since the server began to count.
fn changes(url: &str) -> Option<u64> {
    let session = Session::connect(url).ok()?;
    let sql = "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables";
    session.query(sql).ok()?.first()?.first()?.as_ref()?.parse().ok()
}

/// Makes the shop small again once it has grown: what the crowd has made goes. The changes are changes as all
/// others, and are compared as all others.
pub fn trim(session: &Session) {
    // Keys of the crowd begin here.
    session.insist(
        "DELETE FROM orders WHERE id >= 900000; DELETE FROM products WHERE id >= 900000;
         DELETE FROM customers AS c WHERE id >= 900000 AND NOT EXISTS (SELECT FROM orders WHERE customer_id = c.id)",
    );
}

/// Documents that there are about: rows of the root tables.
pub fn size(session: &Session) -> u64 {
    let sql = "SELECT (SELECT count(*) FROM orders) + (SELECT count(*) FROM products)";
    session.value(sql).parse().expect("a count")
}
