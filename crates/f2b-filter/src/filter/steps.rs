//! How many steps an expression takes in a line. Upstream has nothing of the kind.
//!
//! An engine that is linear takes as many as the line has bytes. The one that backtracks does not tell; it only gives up
//! above a limit. So it is asked again with ever higher limits, each twice the one before, until it gets through.

use std::collections::HashMap;

use fancy_regex::RegexBuilder;

use super::Filter;
use super::explain::Sought;
use crate::pattern::{MAX_STEPS, Subject};

/// The lowest limit that is tried.
const FIRST_LIMIT: usize = 16;

/// What a search took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Steps {
    /// As many at most.
    pub at_most: usize,
    /// The search was given up: the line counts as not matched.
    pub exhausted: bool,
}

/// Counts steps, and remembers what it compiled for that.
#[derive(Debug, Default)]
pub struct StepCounter {
    /// By the text of a program: the same with a limit each, lowest first.
    ladders: HashMap<String, Vec<(usize, Option<fancy_regex::Regex>)>>,
}

impl StepCounter {
    /// The steps of the `failregex` at `index` in a line.
    pub fn count(&mut self, filter: &Filter, index: usize, line: &Sought) -> Steps {
        let text = line.text();
        let linear = Steps { at_most: text.len(), exhausted: false };
        let Some(regex) = filter.rules.fail.get(index) else { return linear };
        let Some(program) = regex.pattern().backtracking_program(Subject::new(text)) else { return linear };
        let ladder = self.ladders.entry(program.to_owned()).or_insert_with(|| ladder(program));
        for (limit, regex) in ladder {
            if regex.as_ref().is_some_and(|regex| regex.captures(text).is_ok()) {
                return Steps { at_most: text.len() + *limit, exhausted: false };
            }
        }
        Steps { at_most: text.len() + MAX_STEPS, exhausted: true }
    }
}

fn ladder(program: &str) -> Vec<(usize, Option<fancy_regex::Regex>)> {
    let below = std::iter::successors(Some(FIRST_LIMIT), |limit| limit.checked_mul(2));
    let limits = below.take_while(|limit| *limit < MAX_STEPS).chain([MAX_STEPS]);
    limits.map(|limit| (limit, RegexBuilder::new(program).backtrack_limit(limit).build().ok())).collect()
}

#[cfg(test)]
mod tests {
    use f2b_types::Time;
    use jiff::tz::TimeZone;

    use super::*;
    use crate::date::Clock;
    use crate::filter::LineContext;

    #[track_caller]
    fn count(regex: &str, line: &str) -> Steps {
        let mut filter = Filter::new("x", 2026);
        filter.set_date_pattern("{NONE}").unwrap();
        filter.add_failregex(regex).unwrap();
        let clock = Clock::new(Time(1_124_013_600.0), TimeZone::UTC);
        let context = LineContext { clock: &clock, in_operation: true, check_find_time: false };
        StepCounter::default().count(&filter, 0, &filter.sought(line, &context).unwrap())
    }

    #[test]
    fn steps_grow_with_the_line_and_end_at_the_budget() {
        assert_eq!(count("^a+ <F-ID/>", "aaa x"), Steps { at_most: 6, exhausted: false });
        let regex = r"^<F-ID>(?:a|aa)+</F-ID>(b|c)\2$";
        let [short, longer] = [count(regex, "aaaabc"), count(regex, &("a".repeat(16) + "bc"))];
        assert!(short < longer, "{short:?} {longer:?}");
        let longest = count(regex, &("a".repeat(60) + "bc"));
        assert!(longest.exhausted, "{longest:?}");
    }
}
