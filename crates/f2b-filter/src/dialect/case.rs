//! Which characters are equal where the case is ignored (`re.IGNORECASE`).
//!
//! Python compares lower case, and takes letters for equal whose upper case is the same. That is not the folding that
//! engines use: to Python, `i` is also `İ` and `ı`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::ast::ClassItem;

/// Behind the last character that has a case.
const END: u32 = 0x1_e944;

/// Every character that has a case, by the characters that are equal to it.
struct Equals {
    /// Sets of equal characters, each sorted.
    sets: Vec<Vec<char>>,
    /// The set that a character is in.
    places: BTreeMap<char, usize>,
}

static EQUALS: LazyLock<Equals> = LazyLock::new(|| {
    let mut by_upper: BTreeMap<String, Vec<char>> = BTreeMap::new();
    for c in (0..END).filter_map(char::from_u32) {
        let low = lower(c);
        if low != c || c.to_uppercase().next() != Some(c) {
            by_upper.entry(low.to_uppercase().collect()).or_default().push(c);
        }
    }
    let sets: Vec<Vec<char>> = by_upper.into_values().collect();
    let places =
        sets.iter().enumerate().flat_map(|(place, set)| set.iter().map(move |c| (*c, place))).collect();
    Equals { sets, places }
});

/// The lower case of a character as one character.
fn lower(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

/// The characters that are equal to `c`, which is among them.
pub(super) fn equal(c: char, ascii: bool) -> Vec<char> {
    if ascii || (c.is_ascii() && !matches!(c, 'i' | 'I' | 'k' | 'K' | 's' | 'S')) {
        return match c.is_ascii_alphabetic() {
            true => vec![c.to_ascii_uppercase(), c.to_ascii_lowercase()],
            false => vec![c],
        };
    }
    let set = EQUALS.places.get(&c).and_then(|place| EQUALS.sets.get(*place));
    set.map_or_else(|| vec![c], Clone::clone)
}

/// Adds to the members of a class what is equal to one of them.
pub(super) fn close(items: &mut Vec<ClassItem>, ascii: bool) {
    let mut added = Vec::new();
    for item in items.iter() {
        match *item {
            ClassItem::Char(c) => added.extend(equal(c, ascii)),
            ClassItem::Range(from, to) if ascii || to.is_ascii() => {
                let letters = (b'A'..=b'z').map(char::from).filter(|c| (from..=to).contains(c));
                letters.for_each(|c| added.extend(equal(c, ascii)));
            }
            ClassItem::Range(from, to) => {
                for (_, place) in EQUALS.places.range(from..=to) {
                    added.extend(EQUALS.sets.get(*place).into_iter().flatten());
                }
            }
            ClassItem::Category { .. } => {}
        }
    }
    added.sort_unstable();
    added.dedup();
    let is_there = |c: char| {
        items.iter().any(|item| match *item {
            ClassItem::Char(known) => known == c,
            ClassItem::Range(from, to) => (from..=to).contains(&c),
            ClassItem::Category { .. } => false,
        })
    };
    added.retain(|c| !is_there(*c));
    items.extend(added.into_iter().map(ClassItem::Char));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(c: char, expected: &str) {
        assert_eq!(equal(c, false).into_iter().collect::<String>(), expected);
    }

    #[test]
    fn equal_is_what_has_the_same_upper_case() {
        check('a', "Aa");
        check('-', "-");
        check('i', "Iiİı");
        check('K', "Kk\u{212a}");
        check('ſ', "Ssſ");
        check('σ', "Σςσ");
        check('ǅ', "\u{1c4}\u{1c5}\u{1c6}");
        check('四', "四");
        assert_eq!(equal('k', true), ['K', 'k']);
        assert_eq!(equal('É', true), ['É']);
    }

    #[test]
    fn a_range_holds_the_equals_of_its_members() {
        let mut items = vec![ClassItem::Range('h', 'j')];
        close(&mut items, false);
        let more: String = items
            .iter()
            .filter_map(|item| if let ClassItem::Char(c) = item { Some(*c) } else { None })
            .collect();
        assert_eq!(more, "HIJİı");
    }
}
