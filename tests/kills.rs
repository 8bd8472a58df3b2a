//! Everybody is killed, at any moment: nothing is lost, nothing goes back, and nothing is confirmed that is not
//! in the journal.

mod support;

use std::time::Duration;

use support::daemon::{self, CATCH_UP, Daemon};
use support::elasticsearch::{self, Elasticsearch};
use support::postgres::{Options, Postgres};
use support::workload::{self, Workload};
use support::{proxy, shop};

/// What ends next.
#[derive(Clone, Copy, Debug)]
enum Kill {
    /// After so many milliseconds of its life at most.
    Daemon(u64),
    Postgres,
    Elasticsearch,
}

#[test]
fn nothing_is_lost_or_goes_back_whoever_is_killed_and_whenever() {
    let seed = std::env::var("PROJECTORD_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    println!("PROJECTORD_TEST_SEED={seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    // With fsync: what the server has confirmed must survive it.
    let mut postgres = Postgres::start(&Options::default());
    shop::create(&postgres, 500, 3_000);
    let mut elasticsearch = Elasticsearch::start(elasticsearch::VERSION);
    let data = support::private_folder("data");
    let folder = data.path().join("data");
    let (source, confirmed) = proxy::confirmations(postgres.port(), folder.join("journal"));
    let (sink, sent) = proxy::versions(proxy::port_of(elasticsearch.url()));
    let options = daemon::Options {
        source_port: Some(source.port()),
        sink_port: Some(sink.port()),
        sink_extra: "  compress: false\n".to_owned(),
        // Small chunks and small copies: more moments to be killed in.
        extra: "limits: { segment_bytes: 1MiB }\nstore: { checkpoint_bytes: 16MiB }\n".to_owned(),
        data: Some(folder),
        ..daemon::Options::shop()
    };
    let load = workload::Options {
        seed,
        transactions: None,
        rate: Some(15.0),
        truncate: false,
        ..Default::default()
    };
    let writers = Workload::start(&postgres.url(shop::DATABASE), &load);
    let mut daemon = Daemon::prepare(&postgres, &elasticsearch, &options);

    // In the first backfill, then in recoveries, then in the stream with everybody else.
    let mut kills = vec![Kill::Daemon(1_500), Kill::Daemon(300), Kill::Daemon(2_500), Kill::Daemon(200)];
    for round in 0..16 {
        kills.push(Kill::Daemon(if dice.bool() { 400 } else { 3_000 }));
        match round {
            2 | 5 | 8 | 11 | 14 => kills.push(Kill::Postgres),
            4 | 9 | 13 => kills.push(Kill::Elasticsearch),
            _ => {}
        }
    }
    daemon.spawn();
    for kill in kills {
        match kill {
            Kill::Daemon(longest_ms) => {
                std::thread::sleep(Duration::from_millis(dice.u64(20..longest_ms)));
                assert!(daemon.is_running(), "{kill:?}: it ended by itself\n{}", daemon.log_end());
                daemon.kill();
                daemon.spawn();
            }
            Kill::Postgres => {
                std::thread::sleep(Duration::from_millis(dice.u64(500..3_000)));
                postgres.crash();
                postgres.start_again();
            }
            Kill::Elasticsearch => {
                std::thread::sleep(Duration::from_millis(dice.u64(500..3_000)));
                elasticsearch.kill();
                elasticsearch.start_again();
            }
        }
    }
    assert!(daemon.is_running(), "it ended by itself\n{}", daemon.log_end());
    println!("{}", writers.stop());
    daemon.wait_status("it answers", CATCH_UP, |_| true);
    daemon.in_step(&postgres, &elasticsearch);
    // On a slow machine many lives were too short for a status; this one goes on until enough were heard.
    daemon.wait_status("the proxies have heard enough", CATCH_UP, |_| {
        confirmed.lock().expect("no panic").count > 20
    });

    let confirmed = confirmed.lock().expect("no panic");
    let sent = sent.lock().expect("no panic");
    println!(
        "{} status updates; {} documents sent, {} of them again",
        confirmed.count, sent.count, sent.repeated
    );
    assert!(confirmed.count > 20 && sent.count > 1_000, "the proxies heard too little");
    assert!(confirmed.wrong.is_empty(), "G4: {:#?}", confirmed.wrong);
    assert!(sent.wrong.is_empty(), "G3: {} {:#?}", sent.wrong.len(), &sent.wrong[..sent.wrong.len().min(20)]);
    let versions: std::collections::HashMap<_, _> = ["products", "orders"]
        .iter()
        .flat_map(|index| elasticsearch.scan(&format!("{}{index}", elasticsearch.prefix())))
        .map(|document| (document.id, document.version))
        .collect();
    assert!(!versions.is_empty());
}
