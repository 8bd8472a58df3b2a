//! Which node to ask next: round robin, past those that lately did not answer.
//!
//! Pure: now is an argument. It neither opens connections nor asks a cluster for its members: the nodes are
//! those of the configuration, because a member's own address often cannot be reached from outside.

use std::time::{Duration, Instant};

/// A node that failed once is passed over for this long; each further failure doubles it.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// A dead node is tried again at least this often.
const BACKOFF_MAX: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Default)]
struct Health {
    failures: u32,
    until: Option<Instant>,
}

/// The turn and the health of each node.
pub(super) struct Ring {
    next: usize,
    health: Vec<Health>,
}

impl Ring {
    /// `nodes` is at least one.
    pub fn new(nodes: usize) -> Ring {
        Ring { next: 0, health: vec![Health::default(); nodes] }
    }

    /// The node whose turn it is. When all are dead, the one whose time is over first: a request is never
    /// refused here, since the cluster may be back at any moment.
    pub fn pick(&mut self, now: Instant) -> usize {
        let count = self.health.len();
        let turn = (0..count).map(|step| (self.next + step) % count);
        let ready = |node: &usize| self.health[*node].until.is_none_or(|until| until <= now);
        let soonest = || turn.clone().min_by_key(|node| self.health[*node].until);
        let node = turn.clone().find(ready).or_else(soonest).unwrap_or(0);
        self.next = (node + 1) % count.max(1);
        node
    }

    pub fn answered(&mut self, node: usize) {
        self.health[node] = Health::default();
    }

    pub fn failed(&mut self, node: usize, now: Instant) {
        let health = &mut self.health[node];
        let backoff = BACKOFF_MIN.saturating_mul(1 << health.failures.min(10)).min(BACKOFF_MAX);
        *health = Health { failures: health.failures.saturating_add(1), until: Some(now + backoff) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picks(ring: &mut Ring, now: Instant, count: usize) -> Vec<usize> {
        (0..count).map(|_| ring.pick(now)).collect()
    }

    #[test]
    fn healthy_nodes_take_turns() {
        let mut ring = Ring::new(3);
        assert_eq!(picks(&mut ring, Instant::now(), 5), [0, 1, 2, 0, 1]);
    }

    #[test]
    fn a_failed_node_is_passed_over_until_its_time_is_over_and_twice_as_long_the_second_time() {
        let mut ring = Ring::new(2);
        let start = Instant::now();
        ring.failed(0, start);
        assert_eq!(picks(&mut ring, start, 3), [1, 1, 1]);
        let later = start + BACKOFF_MIN;
        assert_eq!(picks(&mut ring, later, 2), [0, 1]);
        ring.failed(0, later);
        assert_eq!(picks(&mut ring, later + BACKOFF_MIN, 2), [1, 1]);
        assert_eq!(picks(&mut ring, later + 2 * BACKOFF_MIN, 2), [0, 1]);
        ring.answered(0);
        ring.failed(0, later);
        assert_eq!(picks(&mut ring, later + BACKOFF_MIN, 2), [0, 1]);
    }

    #[test]
    fn with_all_nodes_dead_the_one_that_is_due_first_is_tried() {
        let mut ring = Ring::new(2);
        let start = Instant::now();
        ring.failed(1, start);
        ring.failed(0, start);
        ring.failed(0, start);
        assert_eq!(picks(&mut ring, start, 2), [1, 1]);
    }

    #[test]
    fn the_backoff_has_an_upper_limit() {
        let mut ring = Ring::new(2);
        let start = Instant::now();
        (0..1000).for_each(|_| ring.failed(0, start));
        assert_eq!(picks(&mut ring, start + BACKOFF_MAX, 2), [0, 1]);
    }
}
