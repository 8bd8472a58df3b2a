//! How texts compare: whatever they are, an order is an order, or sorting by it is undefined.

use std::cmp::Ordering;

use projectord::projection::value::order::Order;

use super::take::Take;

pub const WORDS: &[&[u8]] = &[
    b"\0",
    b"NaN",
    b"-Infinity",
    b"Infinity",
    b"infinity",
    b"-infinity",
    b" BC",
    b"-0",
    b"0.00",
    b"1e400",
    b"+00",
    b"   ",
    b"2024-03-04",
    b"10000-01-01",
    b"-",
    b".",
    b"inf",
    b"+1",
];

const ORDERS: [Order; 5] = [Order::Decimal, Order::Float, Order::Text, Order::Bpchar, Order::Temporal];

pub fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "NaN\x000\x00-0.00",
        "-Infinity\x001e400\x00inf",
        "a \x00a\x00a!",
        "2024-03-04 05:06:07.1+00\x002024-03-04 05:06:07+00\x000044-03-15 BC",
        "infinity\x00-infinity\x0010000-01-01",
        "-9.99\x00-10\x0010",
    ];
    (0..5u8).flat_map(|order| texts.iter().map(move |text| [&[order], text.as_bytes()].concat())).collect()
}

/// The first byte chooses the order; three texts follow, parted by zero bytes.
pub fn run(bytes: &[u8]) {
    let mut take = Take(bytes);
    let order = ORDERS[usize::from(take.byte()) % ORDERS.len()];
    let texts = [take.text(), take.text(), take.text()];
    for a in texts {
        assert_eq!(order.compare(a, a), Ordering::Equal, "{order:?}");
        for b in texts {
            assert_eq!(order.compare(a, b), order.compare(b, a).reverse(), "{order:?}");
            for c in texts {
                if order.compare(a, b).is_le() && order.compare(b, c).is_le() {
                    assert!(order.compare(a, c).is_le(), "{order:?} does not carry over");
                }
            }
        }
    }
}
