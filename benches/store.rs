//! What the store's engine does in a second, on keys shaped like ours. One thread, LMDB without an fsync per
//! commit, values of 120 bytes. Run: `cargo bench --bench store -- [orders]`.
//!
//! Each order is a row, four lines clustered under it (`table|order|line`, with `line -> order` beside it), a
//! link to its customer, and a mark in both directions.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use projectord::store::engine::{Batch, Engine, Read, Space};
use projectord::store::folder::Folder;
use projectord::store::lmdb::{Lmdb, Options};

const ORDERS: u64 = 200_000;
const CUSTOMERS: u64 = 50_000;
const LINES: u64 = 4;
const ORDERS_PER_BATCH: u64 = 200;
const MARKS_PER_BATCH: u64 = 500;
const DOCUMENTS_PER_VIEW: u64 = 50;
const VALUE: [u8; 120] = [0x61; 120];

const ORDER: u8 = 1;
const LINE: u8 = 2;
const LINE_PARENT: u8 = 3;

type Anything = Result<(), Box<dyn std::error::Error>>;

fn key<const N: usize>(kind: u8, parts: [u64; N]) -> ([u8; 32], usize) {
    let mut bytes = [0; 32];
    bytes[0] = kind;
    for (at, part) in parts.iter().enumerate() {
        bytes[1 + at * 8..9 + at * 8].copy_from_slice(&part.to_be_bytes());
    }
    (bytes, 1 + N * 8)
}

/// Everything that apply writes for a new order; returns the number of puts.
fn put_order(
    batch: &mut impl Batch,
    order: u64,
    entry: u64,
    customer: u64,
) -> Result<u64, Box<dyn std::error::Error>> {
    let mut puts = 0;
    let mut put = |space, (bytes, length): ([u8; 32], usize), value: &[u8]| {
        puts += 1;
        batch.put(space, &bytes[..length], value)
    };
    put(Space::Rows, key(ORDER, [order]), &VALUE)?;
    for line in 0..LINES {
        put(Space::Rows, key(LINE, [order, order * LINES + line]), &VALUE)?;
        put(Space::Rows, key(LINE_PARENT, [order * LINES + line]), &order.to_be_bytes())?;
    }
    put(Space::Links, key(1, [customer, order]), b"")?;
    put(Space::Dirty, key(0, [order]), &entry.to_be_bytes())?;
    put(Space::Dirty, key(1, [entry, order]), b"")?;
    Ok(puts)
}

fn apply(engine: &Lmdb, orders: impl Iterator<Item = u64>) -> Result<(u64, u64), Box<dyn std::error::Error>> {
    let (mut rows, mut puts) = (0, 0);
    let mut chance = fastrand::Rng::with_seed(1);
    let mut batch = engine.batch()?;
    for (number, order) in orders.enumerate() {
        puts += put_order(&mut batch, order, number as u64 + 1, chance.u64(..CUSTOMERS))?;
        rows += 1 + LINES;
        if (number as u64 + 1).is_multiple_of(ORDERS_PER_BATCH) {
            batch.commit()?;
            batch = engine.batch()?;
        }
    }
    batch.commit()?;
    Ok((rows, puts))
}

/// Takes marks as deliver leaves them: reads the mark, compares, removes both directions.
fn settle(engine: &Lmdb) -> Result<u64, Box<dyn std::error::Error>> {
    let mut settled = 0;
    let mut last: Vec<u8> = Vec::new();
    loop {
        let view = engine.view()?;
        let mut marks: Vec<(u64, u64)> = Vec::new();
        let after = (!last.is_empty()).then_some(last.as_slice());
        let mut end = last.clone();
        view.scan(Space::Dirty, &[1], after, &mut |mark, _| {
            let number = |at: usize| u64::from_be_bytes(mark[at..at + 8].try_into().unwrap_or_default());
            marks.push((number(1), number(9)));
            end = mark.to_vec();
            if marks.len() as u64 == MARKS_PER_BATCH {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        drop(view);
        last = end;
        if marks.is_empty() {
            return Ok(settled);
        }
        let mut batch = engine.batch()?;
        for (entry, order) in marks {
            let (bytes, length) = key(0, [order]);
            if batch.get(Space::Dirty, &bytes[..length])? == Some(entry.to_be_bytes().as_slice()) {
                batch.delete(Space::Dirty, &bytes[..length])?;
                let (bytes, length) = key(1, [entry, order]);
                batch.delete(Space::Dirty, &bytes[..length])?;
                settled += 1;
            }
        }
        batch.commit()?;
    }
}

fn say(what: &str, count: u64, took: Duration) {
    let each_us = took.as_secs_f64() * 1e6 / count as f64;
    println!("{what:<44}{:>12.0} /s {each_us:>10.3} us each", count as f64 / took.as_secs_f64());
}

fn timed<T>(
    work: impl FnOnce() -> Result<T, Box<dyn std::error::Error>>,
) -> Result<(T, Duration), Box<dyn std::error::Error>> {
    let begin = Instant::now();
    Ok((work()?, begin.elapsed()))
}

fn main() -> Anything {
    // Cargo hands `--bench` in as well.
    let orders = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(ORDERS);
    let place = tempfile::tempdir()?;
    let engine = Lmdb::open(Folder::lock(&place.path().join("store"))?, &Options::default())?;

    let ((rows, puts), took) = timed(|| apply(&engine, 0..orders))?;
    say("apply, new orders in key order: rows", rows, took);
    say("  the same: puts", puts, took);
    let mut shuffled: Vec<u64> = (orders..orders * 2).collect();
    fastrand::Rng::with_seed(2).shuffle(&mut shuffled);
    let ((rows, puts), took) = timed(|| apply(&engine, shuffled.into_iter()))?;
    say("apply, new orders in random order: rows", rows, took);
    say("  the same: puts", puts, took);

    let mut chance = fastrand::Rng::with_seed(3);
    let reads = 1_000_000;
    let (_, took) = timed(|| {
        let view = engine.view()?;
        for _ in 0..reads {
            let (bytes, length) = key(ORDER, [chance.u64(..orders)]);
            black_box(view.get(Space::Rows, &bytes[..length])?.ok_or("a row is missing")?);
        }
        Ok(())
    })?;
    say("get of a random row", reads, took);
    let scans = 500_000;
    let (_, took) = timed(|| {
        for _ in 0..scans / DOCUMENTS_PER_VIEW {
            let view = engine.view()?;
            for _ in 0..DOCUMENTS_PER_VIEW {
                let (bytes, length) = key(LINE, [chance.u64(..orders)]);
                let mut found = 0;
                view.scan(Space::Rows, &bytes[..length], None, &mut |_, value| {
                    found += black_box(value).len().min(1) as u64;
                    ControlFlow::Continue(())
                })?;
                if found != LINES {
                    return Err("a line is missing".into());
                }
            }
        }
        Ok(())
    })?;
    say("scan of 4 children, a view for every 50", scans, took);
    let views = 200_000;
    let (_, took) = timed(|| {
        for _ in 0..views {
            black_box(engine.view()?);
        }
        Ok(())
    })?;
    say("view, opened and closed", views, took);
    let (settled, took) = timed(|| settle(&engine))?;
    say("settle: mark compared and removed", settled, took);

    let (_, took) = timed(|| Ok(engine.sync()?))?;
    println!("sync {:.2} s", took.as_secs_f64());
    let copy = place.path().join("copy");
    let (_, took) = timed(|| Ok(engine.copy_to(&copy)?))?;
    let (size, copied) = (engine.size_bytes()? >> 20, std::fs::metadata(&copy)?.len() >> 20);
    println!("copy {:.2} s; file {size} MiB, copy {copied} MiB", took.as_secs_f64());
    Ok(())
}
