//! An ordered map whose copies are free: a treap with shared nodes.
//!
//! A clone shares everything; a change copies only the nodes on its way, and only where a clone still
//! sees them. The priority of a node is a hash of its key, so that the shape depends on the keys alone.
//! Expected depth: some 2.5 times the logarithm of the number of keys.

use std::cmp::Ordering;
use std::ops::ControlFlow;
use std::sync::Arc;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    root: Link,
    count: u64,
}

type Link = Option<Arc<Node>>;

#[derive(Clone, Debug)]
struct Node {
    key: Arc<[u8]>,
    value: Arc<[u8]>,
    priority: u64,
    left: Link,
    right: Link,
}

impl Tree {
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let mut link = &self.root;
        while let Some(node) = link {
            link = match key.cmp(&node.key) {
                Ordering::Equal => return Some(&node.value),
                Ordering::Less => &node.left,
                Ordering::Greater => &node.right,
            };
        }
        None
    }

    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        if put(&mut self.root, key, value, xxhash_rust::xxh3::xxh3_64(key)) {
            self.count += 1;
        }
    }

    /// Whether the key was there.
    pub fn delete(&mut self, key: &[u8]) -> bool {
        // Looked up first: a miss must not copy the nodes on its way.
        if self.get(key).is_none() {
            return false;
        }
        delete(&mut self.root, key);
        self.count -= 1;
        true
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// Visits the keys that come at or behind `from` (behind only, when `exclusive`) until `visit` breaks.
    pub fn scan<'a>(
        &'a self,
        from: &[u8],
        exclusive: bool,
        visit: &mut dyn FnMut(&'a [u8], &'a [u8]) -> ControlFlow<()>,
    ) {
        // Nodes whose own key and right side are still to come; the next one on top.
        let mut open: Vec<&'a Node> = Vec::new();
        let mut link = &self.root;
        while let Some(node) = link {
            let order = node.key.as_ref().cmp(from);
            if order == Ordering::Less || (exclusive && order == Ordering::Equal) {
                link = &node.right;
            } else {
                open.push(node);
                link = &node.left;
            }
        }
        while let Some(node) = open.pop() {
            if visit(&node.key, &node.value).is_break() {
                return;
            }
            let mut link = &node.right;
            while let Some(node) = link {
                open.push(node);
                link = &node.left;
            }
        }
    }
}

/// Whether the key is new.
fn put(link: &mut Link, key: &[u8], value: &[u8], priority: u64) -> bool {
    let Some(shared) = link else {
        *link =
            Some(Arc::new(Node { key: key.into(), value: value.into(), priority, left: None, right: None }));
        return true;
    };
    let node = Arc::make_mut(shared);
    match key.cmp(&node.key) {
        Ordering::Equal => {
            node.value = value.into();
            false
        }
        Ordering::Less => {
            let new = put(&mut node.left, key, value, priority);
            if is_above(&node.left, node.priority) {
                rotate(link, |node| &mut node.left, |node| &mut node.right);
            }
            new
        }
        Ordering::Greater => {
            let new = put(&mut node.right, key, value, priority);
            if is_above(&node.right, node.priority) {
                rotate(link, |node| &mut node.right, |node| &mut node.left);
            }
            new
        }
    }
}

fn is_above(child: &Link, priority: u64) -> bool {
    child.as_ref().is_some_and(|child| child.priority > priority)
}

/// Lifts the child on `side` above its parent; what hangs on the child's other side changes hands.
fn rotate(link: &mut Link, side: fn(&mut Node) -> &mut Link, other: fn(&mut Node) -> &mut Link) {
    let Some(mut parent) = link.take() else { return };
    if let Some(mut child) = side(Arc::make_mut(&mut parent)).take() {
        *side(Arc::make_mut(&mut parent)) = other(Arc::make_mut(&mut child)).take();
        *other(Arc::make_mut(&mut child)) = Some(parent);
        *link = Some(child);
    } else {
        *link = Some(parent);
    }
}

fn delete(link: &mut Link, key: &[u8]) {
    let Some(shared) = link else { return };
    let node = Arc::make_mut(shared);
    match key.cmp(&node.key) {
        Ordering::Less => delete(&mut node.left, key),
        Ordering::Greater => delete(&mut node.right, key),
        Ordering::Equal => {
            let (left, right) = (node.left.take(), node.right.take());
            *link = join(left, right);
        }
    }
}

/// Every key on the left is smaller than every key on the right.
fn join(left: Link, right: Link) -> Link {
    match (left, right) {
        (None, link) | (link, None) => link,
        (Some(mut left), Some(mut right)) => {
            if left.priority > right.priority {
                let node = Arc::make_mut(&mut left);
                node.right = join(node.right.take(), Some(right));
                Some(left)
            } else {
                let node = Arc::make_mut(&mut right);
                node.left = join(Some(left), node.left.take());
                Some(right)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn depth(link: &Link) -> usize {
        link.as_ref().map_or(0, |node| 1 + depth(&node.left).max(depth(&node.right)))
    }

    #[test]
    fn ten_thousand_ascending_keys_make_a_shallow_tree_in_their_order() {
        let mut tree = Tree::default();
        for number in 0..10_000u32 {
            tree.put(&number.to_be_bytes(), b"");
        }
        assert!(depth(&tree.root) < 50, "{}", depth(&tree.root));
        let mut expected = 500u32;
        tree.scan(&expected.to_be_bytes(), false, &mut |key, _| {
            assert_eq!(key, expected.to_be_bytes());
            expected += 1;
            ControlFlow::Continue(())
        });
        assert_eq!((expected, tree.count()), (10_000, 10_000));
    }

    #[test]
    fn a_clone_does_not_see_later_changes() {
        let mut tree = Tree::default();
        for number in 0..200u8 {
            tree.put(&[number], b"old");
        }
        let before = tree.clone();
        for number in 0..200u8 {
            match number % 3 {
                0 => assert!(tree.delete(&[number])),
                1 => tree.put(&[number], b"new"),
                _ => {}
            }
        }
        assert!(!tree.delete(b"absent"));
        assert!((0..200u8).all(|number| before.get(&[number]) == Some(b"old")));
        assert_eq!((before.count(), tree.count()), (200, 133));
        assert_eq!(tree.get(&[1]), Some(b"new".as_slice()));
    }
}
