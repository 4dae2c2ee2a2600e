//! The first of many expressions that matches a line, told in one pass over it.
//!
//! A filter has up to a hundred expressions, and most lines match none of them or one. All of them together are one
//! automaton ([`Tagged`]), which is made at the first line. An expression that takes backtracking stands in it with what
//! it matches at least, and is asked itself then.

use std::sync::{Arc, OnceLock};

use crate::pattern::{Pattern, Spans, Subject};
use crate::tagged::{Tagged, Text, Unknown};

/// A list of patterns as one automaton for lines of ASCII characters, and one for others.
#[derive(Debug, Clone, Default)]
pub(crate) struct Choice(Arc<[OnceLock<Option<Tagged>>; 2]>);

/// The next pattern to look at.
#[derive(Debug)]
pub(crate) enum Next {
    /// It matches, with the places of its named groups.
    Match(usize, Spans),
    /// It may match.
    Maybe(usize),
}

impl Choice {
    /// The first of `patterns` from `from` on that matches `subject`, if any. The list has to be the same each time.
    pub(crate) fn next<'p>(
        &self,
        patterns: impl ExactSizeIterator<Item = &'p Pattern> + Clone,
        subject: Subject<'_>,
        from: usize,
    ) -> Option<Next> {
        match self.ask(patterns.clone(), subject, from) {
            Ok(next) => next,
            Err(Unknown) => (from < patterns.len()).then_some(Next::Maybe(from)),
        }
    }

    fn ask<'p>(
        &self,
        patterns: impl Iterator<Item = &'p Pattern> + Clone,
        subject: Subject<'_>,
        from: usize,
    ) -> Result<Option<Next>, Unknown> {
        // Several lines in a text are rare.
        let ascii = subject.line_in_ascii().ok_or(Unknown)?;
        let [plain, other] = &*self.0;
        let tagged = if ascii { plain } else { other };
        let parts = || patterns.clone().map(|pattern| pattern.part(subject));
        let tagged = tagged.get_or_init(|| Tagged::new(parts(), ascii)).as_ref().ok_or(Unknown)?;
        tagged.search(Text::whole(subject.text), 0, from, |index, places| {
            let pattern = patterns.clone().nth(index);
            match pattern.and_then(|pattern| pattern.named_spans(subject, places)) {
                Some(spans) => Next::Match(index, spans),
                None => Next::Maybe(index),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::generate::generate;
    use crate::oracle::{Random, seed};
    use crate::pattern::Search;

    #[track_caller]
    fn check(patterns: &[&str], text: &str, expected: &str) {
        let patterns: Vec<_> = patterns.iter().map(|text| Pattern::new(text, false).unwrap()).collect();
        let (choice, mut from, mut found) = (Choice::default(), 0, String::new());
        while let Some(next) = choice.next(patterns.iter(), Subject::new(text), from) {
            let (index, answer) = match next {
                Next::Match(index, spans) => {
                    let groups = patterns[index].names().iter().map(|(_, group)| spans.get(*group));
                    (index, groups.map(|span| span.map_or("-", |span| &text[span])).collect::<String>())
                }
                Next::Maybe(index) => (index, "?".into()),
            };
            found += &format!("{index}{answer} ");
            from = index + 1;
        }
        assert_eq!(found.trim_end(), expected);
    }

    #[test]
    fn the_first_in_the_list_counts() {
        check(&["^(?P<x>a)", "b$", "c.*a", "(?P<x>x)?(?P<y>b)"], "ab\n", "0a 1 3-b");
        check(&["(?P<x>b)", "^(?P<y>.)"], "ab\n", "0b 1a");
        check(&["^a", "^b"], "c\n", "");
        check(&["(?<=x)a", r"(b)\1", "c"], "ab\n", "0?");
    }

    #[test]
    fn other_characters_than_those_of_ascii_are_searched_in_one_pass_too() {
        check(&["(?P<x>[^a]+) (?P<y>.)", r"\ba", "z", "(?P<x>.)$", "^(?P<y>.)"], "aé² ½\n", "0é²½ 1? 3½ 4a");
        check(&["(?P<x>[à-ÿ])", "(?i)(?P<y>É+)"], "aéE\n", "0é 1é");
    }

    #[test]
    fn what_nobody_knows_is_left() {
        check(&["a", "b"], "c\nd\n", "0? 1?");
    }

    #[test]
    fn generated_lists_are_searched_as_one_by_one() {
        let mut random = Random::new(seed());
        for _ in 0..200 {
            let generated: Vec<_> = (0..8).map(|_| generate(&mut random)).collect();
            let patterns: Vec<_> =
                generated.iter().filter_map(|one| Pattern::new(&one.pattern, false).ok()).collect();
            let choice = Choice::default();
            for text in generated.iter().map(|one| &one.text) {
                let subject = Subject::new(text);
                let mut from = 0;
                for (index, pattern) in patterns.iter().enumerate() {
                    let Search::Found(expected) = pattern.search(subject) else { continue };
                    // What only may match may come before.
                    let next = std::iter::from_fn(|| match choice.next(patterns.iter(), subject, from)? {
                        Next::Maybe(other) if other < index => {
                            from = other + 1;
                            Some(None)
                        }
                        next => Some(Some(next)),
                    });
                    match next.flatten().next() {
                        Some(Next::Match(found, spans)) if found == index => {
                            for (_, group) in pattern.names() {
                                assert_eq!(spans.get(*group), expected.get(*group), "{text:?} {generated:?}");
                            }
                        }
                        Some(Next::Maybe(found)) if found == index => {}
                        other => panic!("{other:?} instead of {index} in {text:?} {generated:?}"),
                    }
                    from = index + 1;
                }
            }
        }
    }
}
