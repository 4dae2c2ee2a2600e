//! What a line has in it whatever came before it, searched ahead of its turn and in another thread if need be.
//!
//! Everything that depends on other lines, or has to be told in their order, is left to the filter: what is not known of
//! a line by then it finds out itself.

use smallvec::SmallVec;

use super::buffer::push_line;
use super::line::LineDate;
use super::{Filter, Rules};
use crate::choice::Next;
use crate::pattern::{Search, Spans, Subject};

/// What is known of a line before the filter gets to it; nothing by default.
#[derive(Debug, Default)]
pub struct Matches {
    /// Of `prefregex`.
    pub(super) prefix: Option<Search>,
    /// Every `failregex` that matches, in order, out of as many as were tried.
    pub(super) fail: SmallVec<[(usize, Spans); 1]>,
    pub(super) tried: usize,
}

/// Searches lines for a [`Filter`], as it was set when this was made.
#[derive(Debug)]
pub struct Searcher {
    rules: Rules,
    text: String,
    content: String,
}

/// What became of a look for the next `failregex` that matches.
pub(super) enum Sighting {
    Match(usize, Spans),
    /// It takes too long.
    Exhausted(usize),
    Nothing,
}

impl Filter {
    /// Searches lines ahead of [`Filter::process_found`]; `None` if a line is searched together with others.
    pub fn searcher(&self) -> Option<Searcher> {
        let rules = (self.rules.max_lines <= 1).then(|| self.rules.clone())?;
        Some(Searcher { rules, text: String::new(), content: String::new() })
    }
}

impl Searcher {
    /// What the expressions match in `line`, the date of which was found.
    pub fn search(&mut self, line: &str, date: &LineDate) -> Matches {
        let mut matches = Matches::default();
        let Some(split) = date.split(line) else { return matches };
        self.text.clear();
        push_line(&mut self.text, split.before, split.behind);
        let mut subject = Subject::with_shape(&self.text, split.shape.of_part(&self.text));
        if let Some(prefix) = &self.rules.prefix {
            let search = prefix.search(subject);
            if let Search::Exhausted = search {
                return matches;
            }
            let search = matches.prefix.insert(search);
            let Search::Found(spans) = search else { return matches };
            if let Some(content) = prefix.content(&self.text, spans).filter(|content| !content.is_empty()) {
                self.content.clear();
                push_line(&mut self.content, "", &content);
                subject = subject.part(&self.content);
            }
        }
        loop {
            match self.rules.next_match(subject, matches.tried, false) {
                Sighting::Match(index, spans) => {
                    matches.fail.push((index, spans));
                    matches.tried = index + 1;
                }
                Sighting::Exhausted(index) => {
                    matches.tried = index;
                    return matches;
                }
                Sighting::Nothing => {
                    matches.tried = self.rules.fail.len();
                    return matches;
                }
            }
            if !self.rules.check_all {
                return matches;
            }
        }
    }
}

impl Rules {
    /// The first `failregex` from `from` on that matches `subject`.
    pub(super) fn next_match(&self, subject: Subject<'_>, mut from: usize, multi_line: bool) -> Sighting {
        while from < self.fail.len() {
            // The lines that a match of several takes out are known by the place of the whole match.
            let next = match multi_line {
                true => Some(Next::Maybe(from)),
                false => {
                    let patterns = self.fail.iter().map(|regex| regex.pattern());
                    self.fail_choice.next(patterns, subject, from)
                }
            };
            let index = match next {
                None => break,
                Some(Next::Match(index, spans)) => return Sighting::Match(index, spans),
                Some(Next::Maybe(index)) => index,
            };
            match self.fail.get(index).map(|regex| regex.search(subject)) {
                Some(Search::Found(spans)) => return Sighting::Match(index, spans),
                Some(Search::Exhausted) => return Sighting::Exhausted(index),
                Some(Search::Missed) | None => from = index + 1,
            }
        }
        Sighting::Nothing
    }
}

#[cfg(test)]
mod tests {
    use f2b_types::{Record, Time};
    use jiff::tz::TimeZone;

    use super::*;
    use crate::date::Clock;
    use crate::dialect::generate::{generate, mutate};
    use crate::fields::Fields;
    use crate::filter::{Found, LineContext, LineError};
    use crate::oracle::{Random, seed};

    /// All that a line comes to.
    type Outcome = (Result<Vec<Found>, LineError>, Vec<Record>, Vec<usize>, Option<Fields>);

    fn outcome(filter: &mut Filter, found: Result<Vec<Found>, LineError>) -> Outcome {
        (found, filter.take_records(), filter.ignored_by().to_vec(), filter.prefix_groups())
    }

    /// Feeds the lines to the filter, and searches them ahead for another one, of which the same has to come. Answers with
    /// how many expressions were found ahead.
    #[track_caller]
    fn check(mut filter: Filter, lines: &[&str]) -> usize {
        let mut ahead = Filter::new("j", 2005);
        ahead.adopt(&filter);
        filter.take_records();
        let (mut dates, mut searcher) = (ahead.take_date_detector().unwrap(), ahead.searcher().unwrap());
        let clock = Clock::new(Time(1_124_013_600.0), TimeZone::UTC);
        let context = LineContext { clock: &clock, in_operation: true, check_find_time: false };
        let known: Vec<_> = lines
            .iter()
            .map(|line| {
                let date = dates.find(line, &context);
                let matches = searcher.search(line, &date);
                (date, matches)
            })
            .collect();
        let count = known.iter().map(|(_, matches)| matches.fail.len()).sum();
        for (line, (date, mut matches)) in lines.iter().zip(known) {
            let found = filter.process_line(line, &context);
            let expected = outcome(&mut filter, found);
            let found = ahead.process_found(line, &date, Some(&mut matches), &context);
            assert_eq!(outcome(&mut ahead, found), expected, "{line}");
        }
        count
    }

    const LINES: [&str; 10] = [
        "p fail of a from 192.0.2.1",
        "2005-08-14 10:00:00 p[1] fail of b from 192.0.2.2 again",
        "2005-08-14 10:00:01 p[1] ok from 192.0.2.3",
        "2005-08-14 10:00:02 p[2] fail of é from 192.0.2.4",
        "2005-02-30 10:00:03 p[2] fail of c from 192.0.2.5",
        "p[1] fail of d from 192.0.2.6",
        "2005-08-14 10:00:04 p[2] ignored fail of e from 192.0.2.7",
        "2005-08-14 10:00:05 q[2] fail of f from 192.0.2.8",
        "2005-08-14 10:00:06 p[2] once and once from 192.0.2.9",
        "XYZ Aug 14 10:00:00 p[1] fail of g from 192.0.2.10",
    ];

    fn filter(check_all: bool) -> Filter {
        let mut filter = Filter::new("j", 2005);
        filter
            .set_prefregex(
                r"^\s*p<F-MLFID>(?:\[\d+\])?</F-MLFID> <F-CONTENT>(?:fail|once|ok|ignored).+</F-CONTENT>$",
            )
            .unwrap();
        for regex in [
            "^fail of <F-USER>\\w</F-USER> from <ADDR>",
            "^<F-NOFAIL>ok</F-NOFAIL> from <ADDR>$",
            "(?P<word>once|ignored) (?:and (?P=word)|fail of e) from <ADDR>$",
            "from <ADDR>( again)?$",
        ] {
            filter.add_failregex(regex).unwrap();
        }
        filter.add_ignoreregex("^ignored").unwrap();
        filter.set_check_all(check_all);
        filter
    }

    #[test]
    fn what_is_found_ahead_is_what_is_found() {
        assert_eq!(check(filter(true), &LINES), 14);
        assert_eq!(check(filter(false), &LINES), 7);
    }

    #[test]
    fn a_search_without_end_is_left_to_the_filter() {
        let mut filter = filter(true);
        filter.add_failregex(r"(?<!y)x+z<ADDR>").unwrap();
        filter.add_failregex("z<ADDR>$").unwrap();
        let long = format!("p ok {}z192.0.2.1", "x".repeat(200_000));
        assert_eq!(check(filter, &[&long, LINES[1], &long]), 2);
    }

    #[test]
    fn several_lines_at_once_are_not_searched_ahead() {
        let mut filter = filter(true);
        filter.set_max_lines(2).unwrap();
        assert!(filter.searcher().is_none());
    }

    #[test]
    fn generated_expressions_are_found_ahead_as_in_their_turn() {
        let (mut random, mut found) = (Random::new(seed()), 0);
        while found < 500 {
            let (mut filter, mut lines) = (Filter::new("j", 2005), Vec::new());
            for _ in 0..4 {
                let generated = generate(&mut random);
                if filter.add_failregex(&format!("{}(?P<fid>)", generated.pattern)).is_ok() {
                    lines.push(mutate(&mut random, &generated.text));
                    lines.push(generated.text);
                }
            }
            filter.set_check_all(random.once_in(2));
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            found += check(filter, &lines);
        }
    }
}
