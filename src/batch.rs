//! A run of documents, cut into requests by count, bytes and age.
//!
//! Pure: `now` is any clock that only goes forward, as the time since some fixed moment. Nothing is lost
//! or reordered: the cuts, put together, are what was pushed.

use std::collections::VecDeque;
use std::time::Duration;

/// When a run is cut. A limit of zero counts as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Documents in one cut.
    pub count_max: usize,
    /// Bytes in one cut; a single document above it is a cut of its own.
    pub bytes_max: usize,
    /// The oldest document waits no longer than this for company.
    pub age_max: Duration,
}

/// Items that wait for company, oldest first.
#[derive(Debug)]
pub struct Run<T> {
    limits: Limits,
    waiting: VecDeque<Item<T>>,
    /// The sum of what waits; wide enough that no sizes overflow it.
    bytes: u128,
}

#[derive(Debug)]
struct Item<T> {
    item: T,
    bytes: usize,
    since: Duration,
}

impl<T> Run<T> {
    pub fn new(limits: Limits) -> Run<T> {
        Run { limits, waiting: VecDeque::new(), bytes: 0 }
    }

    /// Other limits from now on, such as a smaller one after a request that was too large.
    pub fn limit(&mut self, limits: Limits) {
        self.limits = limits;
    }

    pub fn push(&mut self, item: T, bytes: usize, now: Duration) {
        self.bytes += bytes as u128;
        self.waiting.push_back(Item { item, bytes, since: now });
    }

    /// The next cut that is due: full, or with an item that is old enough. To be asked again until there is
    /// none.
    pub fn cut(&mut self, now: Duration) -> Option<Vec<T>> {
        let full = self.waiting.len() >= self.limits.count_max.max(1)
            || self.bytes >= self.limits.bytes_max.max(1) as u128;
        let old = self.due_in(now)?.is_zero();
        if full || old { self.cut_now() } else { None }
    }

    /// The next cut, due or not; for the end of a run. To be asked again until there is none.
    pub fn cut_now(&mut self) -> Option<Vec<T>> {
        let mut bytes = 0usize;
        let mut count = 0;
        for item in self.waiting.iter().take(self.limits.count_max.max(1)) {
            bytes = bytes.saturating_add(item.bytes);
            if count > 0 && bytes > self.limits.bytes_max {
                break;
            }
            count += 1;
        }
        if count == 0 {
            return None;
        }
        let cut: Vec<T> = self
            .waiting
            .drain(..count)
            .map(|item| {
                self.bytes -= item.bytes as u128;
                item.item
            })
            .collect();
        Some(cut)
    }

    /// How long until the oldest item is old enough by itself; nothing when nothing waits.
    pub fn due_in(&self, now: Duration) -> Option<Duration> {
        let oldest = self.waiting.front()?;
        Some(oldest.since.saturating_add(self.limits.age_max).saturating_sub(now))
    }

    /// Items that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Bytes that wait.
    pub fn size_bytes(&self) -> u128 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { count_max: 3, bytes_max: 100, age_max: Duration::from_millis(50) };

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Pushes items of these sizes at once; what is cut right away, as their sizes, and what still waits.
    fn check(sizes: &[usize], expected: &[&[usize]], waiting: usize) {
        let mut run = Run::new(LIMITS);
        for size in sizes {
            run.push(*size, *size, at(0));
        }
        let cuts: Vec<Vec<usize>> = std::iter::from_fn(|| run.cut(at(0))).collect();
        assert_eq!(cuts, expected, "{sizes:?}");
        assert_eq!((run.len(), run.is_empty()), (waiting, waiting == 0), "{sizes:?}");
    }

    #[test]
    fn a_run_is_cut_by_whichever_of_count_and_bytes_comes_first() {
        check(&[], &[], 0);
        check(&[10, 10], &[], 2);
        check(&[10, 10, 10], &[&[10, 10, 10]], 0);
        check(&[10, 10, 10, 10], &[&[10, 10, 10]], 1);
        check(&[60, 60], &[&[60]], 1);
        check(&[60, 40], &[&[60, 40]], 0);
        check(&[99, 1, 1], &[&[99, 1]], 1);
        check(&[0, 0, 0], &[&[0, 0, 0]], 0);
    }

    #[test]
    fn a_document_above_the_limit_is_a_cut_of_its_own() {
        check(&[500], &[&[500]], 0);
        check(&[10, 500, 10], &[&[10], &[500]], 1);
        check(&[500, 500], &[&[500], &[500]], 0);
        check(&[usize::MAX, usize::MAX], &[&[usize::MAX], &[usize::MAX]], 0);
    }

    #[test]
    fn the_oldest_document_decides_when_a_small_run_is_due() {
        let mut run = Run::new(LIMITS);
        assert_eq!(run.due_in(at(0)), None);
        run.push('a', 1, at(10));
        run.push('b', 1, at(40));
        assert_eq!(run.due_in(at(40)), Some(at(20)));
        assert_eq!(run.cut(at(59)), None);
        assert_eq!(run.cut(at(60)), Some(vec!['a', 'b']));
        assert_eq!((run.cut(at(99)), run.due_in(at(99))), (None, None));
    }

    #[test]
    fn smaller_limits_cut_what_waits_already() {
        let mut run = Run::new(LIMITS);
        run.push('a', 30, at(0));
        run.push('b', 30, at(5));
        run.limit(Limits { bytes_max: 30, ..LIMITS });
        assert_eq!(run.cut(at(9)), Some(vec!['a']));
        run.limit(Limits { count_max: 0, bytes_max: 0, age_max: Duration::MAX });
        assert_eq!(run.cut(at(9)), Some(vec!['b']));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn cuts_put_together_are_what_was_pushed_and_each_is_within_the_limits(
            sizes in prop::collection::vec(0usize..150, 0..60),
        ) {
            let mut run = Run::new(LIMITS);
            let mut cuts = Vec::new();
            for (number, size) in sizes.iter().enumerate() {
                run.push(*size, *size, at(number as u64));
                cuts.extend(std::iter::from_fn(|| run.cut(at(number as u64))));
            }
            cuts.extend(std::iter::from_fn(|| run.cut_now()));
            for cut in &cuts {
                let bytes: usize = cut.iter().sum();
                prop_assert!(cut.len() == 1 || (cut.len() <= LIMITS.count_max && bytes <= LIMITS.bytes_max));
            }
            prop_assert_eq!(cuts.concat(), sizes);
            prop_assert_eq!(run.size_bytes(), 0);
        }
    }
}
