//! A row that changes its place in the store in front of a scan.

use super::silent::Fold;
use crate::model::Generation;
use crate::store::dirty;

/// Items as documents, of which none shows the product.
const ITEMS: &str = "projection: items\nroot: items\nindex: items\nfields:\n  qty:\n";
/// Because of this one items stand by their product.
const PRODUCTS: &str = "projection: products\nroot: products\nindex: products\nfields:\n  sold: { many: items, fields: [qty] }\n";

/// The last item, which no longer has a product, in its leaf.
const WITHOUT_PRODUCT: (u32, &[u8]) = (1032, b"\0\x05t\0\0\0\x012t\0\0\0\x012nt\0\0\0\x012u");

/// Rows without a parent stand in front of all others: there the scan has been.
fn check_moved() {
    let mut fold = Fold::new();
    fold.define(&[ITEMS, PRODUCTS]);
    let scans = |fold: &Fold| dirty::scans(&fold.view(), Generation(1)).unwrap();
    assert!(scans(&fold)[0].running, "the premise: the scan is half-way");
    let entry = fold.update(WITHOUT_PRODUCT.0, WITHOUT_PRODUCT.1);
    let marked = |fold: &Fold, key: &[u8]| dirty::mark_of(&fold.view(), Generation(1), key).unwrap();
    let moved = fold.keys().into_iter().next().expect("the item without a product");
    assert_eq!(
        marked(&fold, &moved).map(|mark| mark.last),
        Some(entry),
        "nobody will meet the item that moved"
    );
}

#[test]
fn a_root_that_moves_while_its_table_is_scanned_is_marked() {
    check_moved();
}

/// What it does is so seldom met in the simulation that it is caught here (docs/proof.md).
#[cfg(feature = "planted")]
#[test]
#[should_panic(expected = "nobody will meet the item that moved")]
fn a_planted_move_that_nobody_marks_is_caught() {
    crate::planted::plant(Some(crate::planted::Bug::MovedRowUnscanned));
    check_moved();
}
