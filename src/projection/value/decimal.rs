//! Exact decimals: comparison and sum of numeric texts. PostgreSQL writes them without exponents.

use std::cmp::Ordering;

/// Compares two numeric texts by value; NaN equals itself and is the largest. Whatever is no number counts
/// as NaN.
pub fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let (a, b) = (Number::parse(a), Number::parse(b));
    a.rank().cmp(&b.rank()).then_with(|| match (a, b) {
        (Number::Finite(a), Number::Finite(b)) if a.negative => b.magnitude(&a),
        (Number::Finite(a), Number::Finite(b)) => a.magnitude(&b),
        _ => Ordering::Equal,
    })
}

/// A sum as PostgreSQL's: exact, with as many decimals as the input that has most.
#[derive(Debug, Default)]
pub struct Sum {
    any: bool,
    scale: usize,
    /// What fits into it; the rest goes to the long sums. Counts units of ten to the minus `small_scale`.
    small: i128,
    small_scale: usize,
    positive: Long,
    negative: Long,
    plus_infinity: bool,
    minus_infinity: bool,
    nan: bool,
}

impl Sum {
    pub fn add(&mut self, text: &[u8]) {
        self.any = true;
        match Number::parse(text) {
            Number::Nan => self.nan = true,
            Number::Infinity => self.plus_infinity = true,
            Number::MinusInfinity => self.minus_infinity = true,
            Number::Finite(number) => {
                self.scale = self.scale.max(number.scale);
                if self.add_small(&number).is_none() {
                    let long = if number.negative { &mut self.negative } else { &mut self.positive };
                    long.add(number.integer, number.fraction);
                }
            }
        }
    }

    fn add_small(&mut self, number: &Finite<'_>) -> Option<()> {
        let scale = self.small_scale.max(number.fraction.len());
        let digits = number.integer.iter().chain(number.fraction);
        let mut value: i128 = 0;
        for digit in digits {
            value = value.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
        }
        let power = |difference: usize| 10i128.checked_pow(u32::try_from(difference).ok()?);
        value = value.checked_mul(power(scale - number.fraction.len())?)?;
        let value = if number.negative { -value } else { value };
        let small = self.small.checked_mul(power(scale - self.small_scale)?)?.checked_add(value)?;
        (self.small, self.small_scale) = (small, scale);
        Some(())
    }

    /// The sum's text; nothing when nothing was added, or when the sum is not a finite number, which JSON
    /// cannot hold.
    pub fn finish(mut self) -> Option<String> {
        if !self.any || self.nan || self.plus_infinity || self.minus_infinity {
            return None;
        }
        let digits = self.small.unsigned_abs().to_string();
        let digits = format!("{digits:0>width$}", width = self.small_scale + 1);
        let (integer, fraction) = digits.as_bytes().split_at(digits.len() - self.small_scale);
        let long = if self.small < 0 { &mut self.negative } else { &mut self.positive };
        long.add(integer, fraction);
        let (negative, larger, smaller) = match self.positive.compare(&self.negative) {
            Ordering::Less => (true, self.negative, self.positive),
            _ => (false, self.positive, self.negative),
        };
        Some(larger.minus(smaller).text(negative, self.scale))
    }
}

enum Number<'t> {
    MinusInfinity,
    Finite(Finite<'t>),
    Infinity,
    Nan,
}

struct Finite<'t> {
    negative: bool,
    /// Without leading zeros.
    integer: &'t [u8],
    /// Without trailing zeros.
    fraction: &'t [u8],
    /// Decimals as they were written.
    scale: usize,
}

impl<'t> Number<'t> {
    fn parse(text: &'t [u8]) -> Number<'t> {
        match text {
            b"Infinity" => return Number::Infinity,
            b"-Infinity" => return Number::MinusInfinity,
            _ => {}
        }
        let (negative, digits) = match text {
            [b'-', digits @ ..] => (true, digits),
            digits => (false, digits),
        };
        let point = digits.iter().position(|byte| *byte == b'.').unwrap_or(digits.len());
        let (integer, fraction) = digits.split_at(point);
        let fraction = fraction.get(1..).unwrap_or_default();
        if digits.is_empty() || !integer.iter().chain(fraction).all(u8::is_ascii_digit) {
            return Number::Nan;
        }
        let scale = fraction.len();
        let first = integer.iter().position(|digit| *digit != b'0').unwrap_or(integer.len());
        let last = fraction.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
        let (integer, fraction) = (&integer[first..], &fraction[..last]);
        let zero = integer.is_empty() && fraction.is_empty();
        Number::Finite(Finite { negative: negative && !zero, integer, fraction, scale })
    }

    fn rank(&self) -> u8 {
        match self {
            Number::MinusInfinity => 0,
            Number::Finite(finite) if finite.negative => 1,
            Number::Finite(_) => 2,
            Number::Infinity => 3,
            Number::Nan => 4,
        }
    }
}

impl Finite<'_> {
    fn magnitude(&self, other: &Finite<'_>) -> Ordering {
        let lengths = self.integer.len().cmp(&other.integer.len());
        lengths.then_with(|| self.integer.cmp(other.integer)).then_with(|| self.fraction.cmp(other.fraction))
    }
}

/// A number without sign and bounds: digits (0 to 9) around the point, the one next to it first.
#[derive(Debug, Default)]
struct Long {
    integer: Vec<u8>,
    fraction: Vec<u8>,
}

impl Long {
    /// Adds a number given as ASCII digits.
    fn add(&mut self, integer: &[u8], fraction: &[u8]) {
        self.widen(integer.len(), fraction.len());
        let mut carry = 0;
        let mut step = |digit: &mut u8, other: u8| {
            let sum = *digit + other + carry;
            (*digit, carry) = (sum % 10, sum / 10);
        };
        for (position, digit) in self.fraction.iter_mut().enumerate().rev() {
            step(digit, fraction.get(position).map_or(0, |digit| digit - b'0'));
        }
        for (position, digit) in self.integer.iter_mut().enumerate() {
            step(digit, integer.iter().rev().nth(position).map_or(0, |digit| digit - b'0'));
        }
        if carry > 0 {
            self.integer.push(carry);
        }
    }

    fn compare(&mut self, other: &Long) -> Ordering {
        self.widen(other.integer.len(), other.fraction.len());
        let digit = |long: &Long, position: usize| long.integer.get(position).copied().unwrap_or(0);
        let integers = (0..self.integer.len()).rev().map(|at| digit(self, at).cmp(&digit(other, at)));
        let fractions = self.fraction.iter().enumerate();
        let fractions = fractions.map(|(at, digit)| digit.cmp(other.fraction.get(at).unwrap_or(&0)));
        integers.chain(fractions).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }

    /// The difference to a number that is not larger.
    fn minus(mut self, other: Long) -> Long {
        self.widen(other.integer.len(), other.fraction.len());
        let mut borrow = 0;
        let mut step = |digit: &mut u8, other: u8| {
            let (minuend, subtrahend) = (*digit + 10, other + borrow);
            borrow = u8::from(minuend - subtrahend < 10);
            *digit = (minuend - subtrahend) % 10;
        };
        for (position, digit) in self.fraction.iter_mut().enumerate().rev() {
            step(digit, other.fraction.get(position).copied().unwrap_or(0));
        }
        for (position, digit) in self.integer.iter_mut().enumerate() {
            step(digit, other.integer.get(position).copied().unwrap_or(0));
        }
        self
    }

    fn widen(&mut self, integer: usize, fraction: usize) {
        self.integer.resize(self.integer.len().max(integer), 0);
        self.fraction.resize(self.fraction.len().max(fraction), 0);
    }

    fn text(mut self, negative: bool, scale: usize) -> String {
        self.fraction.resize(scale, 0);
        while self.integer.len() > 1 && self.integer.last() == Some(&0) {
            self.integer.pop();
        }
        self.widen(1, 0);
        let mut text = String::with_capacity(self.integer.len() + scale + 2);
        if negative {
            text.push('-');
        }
        text.extend(self.integer.iter().rev().map(|digit| char::from(b'0' + digit)));
        if scale > 0 {
            text.push('.');
            text.extend(self.fraction.iter().map(|digit| char::from(b'0' + digit)));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(values: &[&str]) -> Option<String> {
        let mut sum = Sum::default();
        values.iter().for_each(|value| sum.add(value.as_bytes()));
        sum.finish()
    }

    #[test]
    fn sums_are_exact_and_keep_the_most_decimals() {
        let huge = format!("1{}", "0".repeat(60));
        let over = format!("1{}1.5", "0".repeat(59));
        let cases: [(&[&str], Option<&str>); 12] = [
            (&[], None),
            (&["1", "2"], Some("3")),
            (&["1.50", "2.5"], Some("4.00")),
            (&["0.1", "0.2"], Some("0.3")),
            (&["5.00", "-5"], Some("0.00")),
            (&["-1.5", "0.25"], Some("-1.25")),
            (&["9223372036854775807", "1"], Some("9223372036854775808")),
            (
                &["170141183460469231731687303715884105727", "1"],
                Some("170141183460469231731687303715884105728"),
            ),
            (&[&huge, "1.5"], Some(&over)),
            (&[&huge, &format!("-{huge}"), "-0.50"], Some("-0.50")),
            (&["1", "NaN"], None),
            (&["1", "Infinity"], None),
        ];
        for (values, expected) in cases {
            assert_eq!(sum(values).as_deref(), expected, "{values:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn sums_of_long_numbers_agree_with_integers(numbers in proptest::collection::vec(-(1i128 << 100)..(1i128 << 100), 1..20)) {
            // Forty more zeros in front of the point push every number past the fast path.
            let shifted: Vec<String> = numbers.iter().map(|n| format!("{n}{}", "0".repeat(40))).collect();
            let texts: Vec<&str> = shifted.iter().map(String::as_str).collect();
            let total: i128 = numbers.iter().sum();
            let expected = if total == 0 { "0".to_owned() } else { format!("{total}{}", "0".repeat(40)) };
            proptest::prop_assert_eq!(sum(&texts), Some(expected));
        }
    }
}
