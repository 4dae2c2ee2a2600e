//! Which of many expressions can match a line at all, told in one pass over it.
//!
//! A filter has up to a hundred expressions, and most lines match none of them or one. The screen is the sum of what
//! each matches at least, so that only those that are left have to be searched for. It is compiled at the first line.

use std::sync::OnceLock;

use regex_automata::meta;
use regex_automata::{Input, MatchKind, PatternID, PatternSet};

use crate::pattern::{MAX_PROGRAM, Pattern, Subject};

/// Bytes for the states of the screen that came up so far. Many expressions have many.
const MAX_STATES: usize = 8 << 20;

/// A screen before a list of patterns.
#[derive(Debug, Clone, Default)]
pub(crate) struct Screen(OnceLock<Option<meta::Regex>>);

/// What a screen left of a list, kept from line to line since its room is always the same.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    /// `None` if nobody knows.
    set: Option<PatternSet>,
    is_known: bool,
}

impl Screen {
    /// Finds out which of `patterns` can match `subject`. The list has to be the same each time.
    pub(crate) fn sieve<'p>(
        &self,
        patterns: impl ExactSizeIterator<Item = &'p Pattern>,
        subject: Subject<'_>,
        candidates: &mut Candidates,
    ) {
        candidates.is_known = false;
        // One by one is as fast for few, and a text that asks for exact programs is rare.
        if patterns.len() < 2 || !subject.is_plain() {
            return;
        }
        let Some(regex) = self.0.get_or_init(|| compile(patterns)) else { return };
        let room = regex.pattern_len();
        let set = candidates.set.get_or_insert_with(|| PatternSet::new(room));
        if set.capacity() != room {
            *set = PatternSet::new(room);
        }
        set.clear();
        regex.which_overlapping_matches(&Input::new(subject.text), set);
        candidates.is_known = true;
    }
}

impl Candidates {
    /// False only if the pattern at `index` certainly doesn't match.
    pub(crate) fn may_match(&self, index: usize) -> bool {
        match (&self.set, PatternID::new(index)) {
            (Some(set), Ok(id)) if self.is_known => set.contains(id),
            _ => true,
        }
    }
}

/// `None` if it would be too big.
fn compile<'p>(patterns: impl Iterator<Item = &'p Pattern>) -> Option<meta::Regex> {
    let texts: Vec<String> = patterns.map(Pattern::screen).collect();
    let config = meta::Config::new()
        .match_kind(MatchKind::All)
        .nfa_size_limit(Some(MAX_PROGRAM))
        .hybrid_cache_capacity(MAX_STATES);
    meta::Builder::new().configure(config).build_many(&texts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(patterns: &[&str], text: &str, expected: &[usize]) {
        let patterns: Vec<_> = patterns.iter().map(|text| Pattern::new(text, false).unwrap()).collect();
        let mut candidates = Candidates::default();
        Screen::default().sieve(patterns.iter(), Subject::new(text), &mut candidates);
        let left: Vec<_> = (0..patterns.len()).filter(|index| candidates.may_match(*index)).collect();
        assert_eq!(left, expected);
    }

    #[test]
    fn only_what_can_match_is_left() {
        check(&["^a", "b$", "c.*a"], "ab\n", &[0, 1]);
        check(&["^a", "^b"], "c\n", &[]);
        check(&["(?<=x)a", r"(b)\1", "c"], "ab\n", &[0]);
    }

    #[test]
    fn what_nobody_knows_is_left() {
        check(&["a"], "b\n", &[0]);
        check(&["a", "b"], "é\n", &[0, 1]);
        check(&["a", "b"], "c\nd\n", &[0, 1]);
    }
}
