//! Why a line was missed: how far each expression got in it. Upstream has nothing of the kind.
//!
//! The start of an expression up to the end of any of its pieces is an expression too. The longest start that matches
//! somewhere in the line is found by halves; behind it stands the piece that broke the match. Where that piece is a group
//! without alternatives, the search goes on inside.

use std::collections::HashMap;
use std::ops::Range;

use super::{Filter, LineContext};
use crate::dialect::{self, Piece};
use crate::failregex::Regex;
use crate::fields::Field;
use crate::pattern::{Pattern, Search, Subject};

/// What became of a line that was missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The text of the date and the name of its template, if one was found.
    pub date: Option<(String, String)>,
    /// Whether there is a `prefregex` and, if so, whether it matched.
    pub prefix_matched: Option<bool>,
    /// The expression that got farthest, which is `prefregex` if that didn't match.
    pub nearest: Option<Nearest>,
}

/// How far an expression got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nearest {
    /// Its place among the `failregex`; `None` for `prefregex`.
    pub index: Option<usize>,
    /// The expression with its tags expanded.
    pub regex: String,
    /// How many of its bytes matched.
    pub regex_reached: usize,
    /// What it was tried on: the line without its date, or what `prefregex` left of it.
    pub text: String,
    /// How many bytes of the text that took.
    pub text_reached: usize,
}

/// Explains lines, and remembers what it compiled for them.
#[derive(Debug, Default)]
pub struct Explainer {
    /// By the text of a start.
    starts: HashMap<String, Option<Pattern>>,
    /// By the text of an expression.
    pieces: HashMap<String, Vec<Piece>>,
}

/// What the expressions see of a line.
struct Sight {
    date: Option<(String, String)>,
    text: String,
    prefix_matched: Option<bool>,
}

impl Explainer {
    /// Why `filter` found nothing in `line`, which changes nothing in the filter.
    pub fn explain(&mut self, filter: &Filter, line: &str, context: &LineContext<'_>) -> Explanation {
        let Sight { date, text, prefix_matched } = filter.sight(line, context);
        let mut candidates: Vec<(Option<usize>, &Regex)> = Vec::new();
        match (&filter.rules.prefix, prefix_matched) {
            (Some(prefix), Some(false)) => candidates.push((None, prefix)),
            _ => {
                candidates.extend(filter.rules.fail.iter().enumerate().map(|(i, regex)| (Some(i), &**regex)))
            }
        }
        let mut nearest: Option<Nearest> = None;
        for (index, regex) in candidates {
            let regex = regex.as_str();
            let (regex_reached, text_reached) = self.reach(regex, &text, filter.rules.max_lines > 1);
            // What matches anywhere gets nowhere.
            if nearest
                .as_ref()
                .is_none_or(|best| (text_reached, regex_reached) > (best.text_reached, best.regex_reached))
            {
                nearest = Some(Nearest {
                    index,
                    regex: regex.into(),
                    regex_reached,
                    text: text.clone(),
                    text_reached,
                });
            }
        }
        Explanation { date, prefix_matched, nearest }
    }

    /// The bytes of `regex`, and of `text`, that match.
    fn reach(&mut self, regex: &str, text: &str, multi_line: bool) -> (usize, usize) {
        let pieces = self
            .pieces
            .entry(regex.to_owned())
            .or_insert_with(|| dialect::pieces(regex, multi_line).unwrap_or_default())
            .clone();
        let mut best = (0, 0);
        // Alternatives at the top stand for themselves.
        let mut bars: Vec<usize> = pieces
            .iter()
            .filter(|piece| piece.is_bar && piece.depth == 0)
            .map(|bar| bar.span.start)
            .collect();
        bars.push(regex.len());
        let mut from = 0;
        for bar in bars {
            let (cut, reached) = self.descend((regex, text, multi_line), &pieces, from..bar, (from, 0));
            if reached > best.1 || best == (0, 0) {
                best = (cut, reached);
            }
            from = bar + 1;
        }
        best
    }

    /// The same within `range`, where everything from `start` on belongs to the branch, and `depth` groups are open.
    fn descend(
        &mut self,
        about: (&str, &str, bool),
        pieces: &[Piece],
        range: Range<usize>,
        (start, depth): (usize, usize),
    ) -> (usize, usize) {
        let row: Vec<&Piece> = pieces
            .iter()
            .filter(|piece| piece.depth == depth && !piece.is_bar)
            .filter(|piece| range.start <= piece.span.start && piece.span.end <= range.end)
            .collect();
        let mut matched = (range.start, None);
        let (mut low, mut high) = (0, row.len());
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            let end = row.get(middle - 1).map_or(start, |piece| piece.span.end);
            match self.end_of_match(about, start..end, depth) {
                Some(reached) => {
                    low = middle;
                    matched = (end, Some(reached));
                }
                None => high = middle - 1,
            }
        }
        let here = (matched.0, matched.1.unwrap_or(0));
        let Some(broken) = row.get(low) else { return here };
        let text = about.0.get(broken.span.clone()).unwrap_or("");
        let is_group = text.starts_with("(?:")
            || text.starts_with("(?P<")
            || (text.starts_with('(') && !text.starts_with("(?"));
        let inside = |piece: &&Piece| {
            broken.span.start < piece.span.start
                && piece.span.end < broken.span.end
                && piece.depth == depth + 1
        };
        if !is_group || pieces.iter().any(|piece| piece.is_bar && inside(&piece)) {
            return here;
        }
        let deeper = self.descend(about, pieces, broken.span.clone(), (start, depth + 1));
        if deeper.1 >= here.1 && deeper.0 > here.0 { deeper } else { here }
    }

    /// Where the match of a part of the expression ends, its open groups closed.
    fn end_of_match(
        &mut self,
        (regex, text, multi_line): (&str, &str, bool),
        part: Range<usize>,
        open: usize,
    ) -> Option<usize> {
        let start = regex.get(part)?.to_owned() + &")".repeat(open);
        let pattern =
            self.starts.entry(start).or_insert_with_key(|start| Pattern::new(start, multi_line).ok());
        match pattern.as_ref()?.search(Subject::new(text)) {
            Search::Found(spans) => Some(spans.whole().end),
            Search::Missed | Search::Exhausted => None,
        }
    }
}

impl Filter {
    fn sight(&self, line: &str, context: &LineContext<'_>) -> Sight {
        let mut detector = self.state.detector.clone();
        let found = detector.as_mut().and_then(|detector| {
            detector.match_line(Subject::new(line), context.clock.now(), None).ok().flatten()
        });
        let place = found.as_ref().and_then(|found| found.spans.get(1)).filter(|place| !place.is_empty());
        let date = found.as_ref().zip(place.clone()).map(|(found, place)| {
            (line.get(place).unwrap_or("").to_owned(), found.template_name().to_owned())
        });
        let place = place.unwrap_or(0..0);
        let mut text =
            format!("{}{}\n", line.get(..place.start).unwrap_or(""), line.get(place.end..).unwrap_or(""));
        let mut prefix_matched = None;
        if let Some(prefix) = &self.rules.prefix {
            let found = match prefix.search(Subject::new(&text)) {
                Search::Found(spans) => Some(prefix.groups(&text, &spans)),
                Search::Missed | Search::Exhausted => None,
            };
            prefix_matched = Some(found.is_some());
            if let Some(Field::Text(content)) = found.as_ref().and_then(|groups| groups.get("content")) {
                text = format!("{content}\n");
            }
        }
        Sight { date, text, prefix_matched }
    }

    /// Searches a line with one `failregex`, without any effect: for who wants to know what an expression costs.
    pub fn try_failregex(&self, index: usize, line: &Sought) -> bool {
        let regex = self.rules.fail.get(index);
        regex.is_some_and(|regex| matches!(regex.search(Subject::new(&line.0)), Search::Found(_)))
    }

    /// What the expressions see of a line; `None` where `prefregex` does not match.
    pub fn sought(&self, line: &str, context: &LineContext<'_>) -> Option<Sought> {
        let sight = self.sight(line, context);
        (sight.prefix_matched != Some(false)).then_some(Sought(sight.text))
    }

    /// Whether the time of a `failregex` grows with the length of a line only, whatever stands in it.
    pub fn is_linear(&self, index: usize) -> bool {
        self.rules.fail.get(index).is_some_and(|regex| regex.is_linear())
    }
}

/// A line as the expressions see it.
#[derive(Debug)]
pub struct Sought(String);

impl Sought {
    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use f2b_types::Time;
    use jiff::tz::TimeZone;

    use super::*;
    use crate::date::Clock;

    #[track_caller]
    fn check(prefix: &str, regexes: &[&str], line: &str, matched: &str, reached: &str) {
        let mut filter = Filter::new("x", 2026);
        filter.set_prefregex(prefix).unwrap();
        for regex in regexes {
            filter.add_failregex(regex).unwrap();
        }
        let clock = Clock::new(Time(1_124_013_600.0), TimeZone::UTC);
        let context = LineContext { clock: &clock, in_operation: true, check_find_time: false };
        let nearest = Explainer::default().explain(&filter, line, &context).nearest.unwrap();
        let start = |text: &str, end: usize| text.get(..end).unwrap().to_owned();
        assert_eq!(
            (start(&nearest.regex, nearest.regex_reached), start(&nearest.text, nearest.text_reached)),
            (matched.to_owned(), reached.to_owned())
        );
    }

    #[test]
    fn the_longest_start_that_matches_is_found() {
        check(
            "",
            &["^login of <F-USER>x</F-USER> by <F-ID/>"],
            "login of x at home",
            "^login of (?P<user>x) ",
            "login of x ",
        );
        check("", &["^a(?:b(?:cd)e)+ <F-ID/>"], "abcf", "^a(?:b(?:c", "abc");
        check("", &["^x <F-ID/>", "^ab?c <F-ID/>"], "ac", "^ab?c", "ac");
        check("", &[r"^no <F-ID/>|^yes \w+!"], "yes who", r"^no (?P<fid>\S+)|^yes \w+", "yes who");
    }

    #[test]
    fn a_prefix_that_does_not_match_is_what_broke() {
        check("^pre <F-CONTENT>.+</F-CONTENT>$", &["<F-ID/>"], "prx y", "^pr", "pr");
        check("^pre <F-CONTENT>.+</F-CONTENT>$", &["^a b<F-ID/>"], "pre a c", "^a ", "a ");
    }
}
