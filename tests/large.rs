//! One transaction with more rows than anybody should write at once.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::daemon::{self, Daemon};
use support::elasticsearch::Elasticsearch;
use support::memory::MemoryLimit;
use support::postgres::Postgres;
use support::shop;

/// What is resident is of two kinds: the daemon's own memory (RssAnon), and pages of files, mostly of the mapped store,
/// which the kernel takes back when anybody wants them. VmHWM counts both, so on an idle machine it grows with the
/// store and says nothing of what is needed. Where control groups can be had the kernel enforces the limit on both, and
/// a daemon that needed more would be killed. Of RssAnon it is asserted everywhere.
const MEMORY_KIB_MAX: u64 = 256 << 10;

/// PROJECTORD_TEST_ROWS names fewer, for who has less time.
const ROWS: u64 = 1_000_000;

/// Long, because a store that is larger than the limit is read from disk again and again.
const PROJECTED_MAX: Duration = Duration::from_secs(900);

#[test]
fn a_huge_transaction_takes_little_memory_and_ends_in_equal_documents() {
    let rows = std::env::var("PROJECTORD_TEST_ROWS").map_or(ROWS, |rows| rows.parse().expect("a number"));
    let postgres = Postgres::start_quick();
    shop::create(&postgres, 1_000, 1_000);
    let elasticsearch = Elasticsearch::shared();
    let daemon = Arc::new(Daemon::start(&postgres, &elasticsearch, &daemon::Options::shop()));
    daemon.in_step(&postgres, &elasticsearch);
    let limit = MemoryLimit::on(daemon.pid(), MEMORY_KIB_MAX << 10);
    println!("limited by the kernel: {}", limit.is_some());
    println!("before: {} KiB of its own", daemon.memory_kib("RssAnon"));
    let done = Arc::new(AtomicBool::new(false));
    let sampled = {
        let (daemon, done) = (Arc::clone(&daemon), Arc::clone(&done));
        std::thread::spawn(move || {
            let mut most = 0;
            while !done.load(Ordering::Relaxed) {
                most = most.max(daemon.memory_kib("RssAnon"));
                std::thread::sleep(std::time::Duration::from_millis(20)); // between two samples
            }
            most
        })
    };
    postgres.session(shop::DATABASE).must(&format!(
        "INSERT INTO product_reviews (product_id, rating, title, body, approved)
         SELECT 1 + i % (SELECT count(*) FROM products), 1 + i % 5, 'title ' || i, repeat('body ', 10), i % 20 = 0
         FROM generate_series(1, {rows}) AS i
         WHERE EXISTS (SELECT FROM products p WHERE p.id = 1 + i % (SELECT count(*) FROM products))"
    ));
    let begin = std::time::Instant::now();
    daemon.wait_projected(&postgres, PROJECTED_MAX);
    println!("{rows} rows projected {:?} after the commit", begin.elapsed());
    done.store(true, Ordering::Relaxed);
    let most = sampled.join().expect("no panic");
    println!(
        "at most {most} KiB of its own; VmHWM {} KiB, of which files now {} KiB",
        daemon.memory_kib("VmHWM"),
        daemon.memory_kib("RssFile")
    );
    daemon.in_step(&postgres, &elasticsearch);
    if let Some(limit) = &limit {
        println!("at most {} KiB with the pages of its files", limit.most_bytes() >> 10);
    }
    assert!(most < MEMORY_KIB_MAX, "{most} KiB");
    drop(daemon); // before its group
}
