//! Keys as bytes, parts of store keys, and document ids: each says one thing only, and can be read back.

use std::sync::OnceLock;

use projectord::model::{Catalog, ColumnKind, Key, KeyClass};
use projectord::projection::compile::compile;
use projectord::projection::definition;
use projectord::projection::plan::Plan;
use projectord::store::part;

use super::shop;
use super::take::Take;

pub const WORDS: &[&[u8]] = &[
    b"\0",
    b"-",
    b"\\",
    b"\\x",
    b"-9223372036854775808",
    b"9223372036854775807",
    b"9223372036854775808",
    b"1.50",
    b"1.5",
    b"0.00",
    b"  ",
    b"\xFF",
    "ä".as_bytes(),
    b"NaN",
    b"00",
];

/// Keys of every make, each with a projection whose documents have it.
fn makes() -> &'static [(Vec<KeyClass>, Plan)] {
    static MAKES: OnceLock<Vec<(Vec<KeyClass>, Plan)>> = OnceLock::new();
    use ColumnKind::*;
    let kinds: [&[ColumnKind]; 7] =
        [&[Int], &[Text], &[Numeric], &[Bpchar], &[Int, Text], &[Text, Text], &[Text, Bpchar, Numeric]];
    MAKES.get_or_init(|| {
        kinds
            .iter()
            .map(|kinds| {
                let names = ["a", "b", "c"];
                let columns: Vec<_> = names.into_iter().zip(kinds.iter().cloned()).collect();
                let table = shop::table(0, "things", &names[..kinds.len()], &columns);
                let text = "projection: p\nroot: things\nindex: p\nfields: [a]\n";
                let definition = definition::parse("p", text).unwrap();
                let plan = compile(&[definition], &Catalog { tables: vec![table] }).unwrap().plans.remove(0);
                (kinds.iter().map(|kind| KeyClass::of(kind).unwrap()).collect(), plan)
            })
            .collect()
    })
}

pub fn seeds() -> Vec<Vec<u8>> {
    let texts: [&[u8]; 9] = [
        b"-42\x0042",
        b"a-b\0a\\-b",
        b"\0\\",
        b"\\x\0\xFF",
        b"5.00\x005.0",
        b"ab  \0ab",
        b"7\0a-b\x007-a\0b",
        b"a-\0b\0a\0-b",
        b"x\0\0\0y\0 \x001.0",
    ];
    let makes = makes().len() as u8;
    let long = [&[1], [b'k'; 200].as_slice(), b"\0", &[b'k'; 201]].concat();
    let mut seeds: Vec<Vec<u8>> =
        (0..makes).flat_map(|make| texts.iter().map(move |text| [&[make], *text].concat())).collect();
    seeds.push(long);
    seeds
}

/// The first byte chooses the make; the texts of two keys follow, parted by zero bytes; the rest is taken for
/// bytes of a key, and for an id.
pub fn run(bytes: &[u8]) {
    let mut take = Take(bytes);
    let makes = makes();
    let (classes, plan) = &makes[usize::from(take.byte()) % makes.len()];
    let a: Vec<&[u8]> = classes.iter().map(|_| take.text()).collect();
    let b: Vec<&[u8]> = classes.iter().map(|_| take.text()).collect();
    let (key_a, key_b) = (encode(classes, &a), encode(classes, &b));
    for (key, texts) in [(&key_a, &a), (&key_b, &b)] {
        let Some(key) = key else { continue };
        read_back(classes, plan, key, texts);
    }
    if let (Some(key_a), Some(key_b)) = (key_a, key_b) {
        let equal = classes.iter().zip(a.iter().zip(&b)).all(|(class, (a, b))| equal(*class, a, b));
        assert_eq!(key_a == key_b, equal, "equal keys are equal values");
        assert!(key_a == key_b || !key_b.starts_with(&key_a), "no key begins another");
        assert_eq!(plan.document_id(&key_a) == plan.document_id(&key_b), equal, "one id, one key");
        let (mut part_a, mut part_b) = (Vec::new(), Vec::new());
        part::put(&mut part_a, &key_a);
        part::put(&mut part_b, &key_b);
        assert_eq!(part_a == part_b, equal);
        assert!(part_a == part_b || !part_b.starts_with(&part_a), "no part begins another");
        if classes[..] == [KeyClass::Int] {
            let number = |text: &[u8]| std::str::from_utf8(text).unwrap().parse::<i64>().unwrap();
            assert_eq!(key_a.cmp(&key_b), number(a[0]).cmp(&number(b[0])), "keys sort as the numbers do");
        }
    }
    let rest = take.0;
    let _ = classes[0].decode(rest);
    plan.document_id(rest);
    if let Ok(id) = std::str::from_utf8(rest)
        && let Some(key) = plan.document_key(id)
    {
        assert_eq!(plan.document_id(&key), id);
    }
}

fn encode(classes: &[KeyClass], texts: &[&[u8]]) -> Option<Key> {
    let mut key = Key::new();
    for (class, text) in classes.iter().zip(texts) {
        // Only numbers come out of a numeric column.
        if *class == KeyClass::Numeric && !is_number(text) {
            return None;
        }
        class.encode(text, &mut key).ok()?;
    }
    Some(key)
}

fn is_number(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let points = digits.iter().filter(|byte| **byte == b'.').count();
    text == b"NaN" || (points <= 1 && digits.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.'))
}

fn read_back(classes: &[KeyClass], plan: &Plan, key: &Key, texts: &[&[u8]]) {
    let mut rest = key.as_slice();
    for (class, text) in classes.iter().zip(texts) {
        let (read, behind) = class.decode(rest).unwrap();
        rest = behind;
        if std::str::from_utf8(text).is_ok() {
            assert_eq!(read.as_bytes(), plain(*class, text), "{class:?}");
        }
    }
    assert!(rest.is_empty());
    let id = plan.document_id(key);
    assert!(!id.is_empty());
    assert_eq!(plan.document_key(&id).as_ref(), Some(key), "the id {id:?} leads back to its key");
    let mut part = Vec::new();
    part::put(&mut part, key);
    assert!(part.len() <= part::PART_BYTES_MAX + 1);
    match part::is_hashed(key) {
        true => assert_eq!(part::whole(&part), None),
        false => assert_eq!(part::whole(&part), Some(key.as_slice())),
    }
}

/// Whether two texts are the same value, by PostgreSQL's rules for the type.
fn equal(class: KeyClass, a: &[u8], b: &[u8]) -> bool {
    plain(class, a) == plain(class, b)
}

/// The one text of a value.
fn plain(class: KeyClass, text: &[u8]) -> Vec<u8> {
    let without = |text: &[u8], last: u8| {
        let padding = text.iter().rev().take_while(|byte| **byte == last).count();
        text[..text.len() - padding].to_vec()
    };
    match class {
        KeyClass::Text => text.to_vec(),
        KeyClass::Bpchar => without(text, b' '),
        KeyClass::Int => std::str::from_utf8(text).unwrap().parse::<i64>().unwrap().to_string().into_bytes(),
        KeyClass::Numeric if text.contains(&b'.') => {
            let text = without(text, b'0');
            text.strip_suffix(b".").unwrap_or(&text).to_vec()
        }
        KeyClass::Numeric => text.to_vec(),
    }
}
