//! What upstream logs of each line for whoever wants to know everything (`TRACEDEBUG` and `HEAVYDEBUG`). Nothing of it is
//! put together unless it is asked for.

use std::borrow::Borrow;
use std::fmt::Arguments;
use std::ops::Range;

use f2b_types::{Level, Record};

use super::buffer::Split;
use super::{Filter, Rules, State};
use crate::failregex::Regex;
use crate::fields::{Field, Fields, Line};
use crate::pytext::repr;

impl Filter {
    /// From which level on messages are wanted; without it, those about what went wrong and about settings.
    pub fn set_log_level(&mut self, level: Level) {
        self.state.log_level = level;
        if let Some(detector) = &mut self.state.detector {
            detector.set_log_level(level);
        }
    }
}

impl State {
    /// Notes a message for the log if its level is asked for.
    pub(super) fn debug(&mut self, level: Level, message: impl FnOnce() -> String) {
        if self.log_level <= level {
            self.records.push(Record::new(level, "filter", message()));
        }
    }

    /// The lines that are about to be searched.
    pub(super) fn debug_lines(&mut self, split: Split<'_>, buffered: &[Line]) {
        self.debug(Level::HEAVYDEBUG, || {
            let lines = match buffered {
                [] => Field::Lines(vec![split.to_line()].into()),
                lines => Field::Lines(lines.to_vec().into()),
            };
            format!("Looking for match of {lines}")
        });
    }

    pub(super) fn debug_prefix(&mut self, regex: &Regex) {
        self.debug(Level::HEAVYDEBUG, || format!("  Looking for prefregex {}", repr(regex.as_str())));
    }

    /// Every `failregex` that is tried, whether one look was enough for several or not.
    pub(super) fn debug_tries(&mut self, rules: &Rules, tried: Range<usize>) {
        if self.log_level > Level::HEAVYDEBUG {
            return;
        }
        for index in tried {
            let Some(regex) = rules.fail.get(index) else { return };
            self.debug(Level::HEAVYDEBUG, || {
                format!("  Looking for failregex {index} - {}", repr(regex.as_str()))
            });
        }
    }

    /// The `failregex` at `index` did not yet say of the connection `id` what is missing.
    pub(super) fn debug_waiting(&mut self, what: &str, id: &str, index: usize, missing: &str) {
        self.debug(Level::TRACEDEBUG, || {
            format!("{what} by mlfid {} in regex {index}: waiting for {missing}", repr(id))
        });
    }

    pub(super) fn debug_match<G: Borrow<Fields>>(&mut self, what: Arguments<'_>, groups: impl FnOnce() -> G) {
        self.debug(Level::TRACEDEBUG, || format!("  {what} {}", groups().borrow()));
    }
}

#[cfg(test)]
mod tests {
    use f2b_types::Time;
    use jiff::tz::TimeZone;

    use super::*;
    use crate::date::Clock;
    use crate::filter::LineContext;

    /// What is said of a line from that level on.
    fn said(level: Level, line: &str) -> Vec<String> {
        let mut filter = Filter::new("j", 2005);
        filter.set_date_pattern("^%Y-%m-%d").unwrap();
        filter.set_prefregex("^ p <F-CONTENT>.+</F-CONTENT>$").unwrap();
        for regex in ["^a <F-ID>x</F-ID>", "^b <F-ID>x</F-ID>", "^c <F-ID>x</F-ID>"] {
            filter.add_failregex(regex).unwrap();
        }
        filter.add_ignoreregex("ignored").unwrap();
        filter.take_records();
        filter.set_log_level(level);
        let clock = Clock::new(Time(1_124_013_600.0), TimeZone::UTC);
        let context = LineContext { clock: &clock, in_operation: true, check_find_time: false };
        filter.process_line(line, &context).unwrap();
        filter.take_records().into_iter().map(|record| record.message).collect()
    }

    #[test]
    fn every_step_is_told_to_who_asks() {
        let content = "{'content': 'b x'}";
        let line = "2005-08-14 p b x";
        assert_eq!(said(Level::DEBUG, line), [""; 0]);
        assert_eq!(
            said(Level::TRACEDEBUG, line),
            [
                "Working on line '2005-08-14 p b x'",
                &format!("  Pre-filter matched {content}"),
                "  Matched failregex 1: {'fid': 'x'}"
            ]
        );
        let all = said(Level::HEAVYDEBUG, line);
        for message in [
            "Looking for match of [('', '2005-08-14', ' p b x')]",
            "  Looking for failregex 0 - '^a (?P<fid>x)'",
            "  Looking for failregex 1 - '^b (?P<fid>x)'",
            " search template (1) ...",
        ] {
            assert!(all.iter().any(|known| known == message), "{message}: {all:#?}");
        }
        assert!(!all.iter().any(|message| message.contains("failregex 2")));
        assert_eq!(said(Level::HEAVYDEBUG, "2005-08-14 q").last().unwrap(), "  Prefregex not matched");
        assert_eq!(
            said(Level::TRACEDEBUG, "2005-08-14 p b x ignored").last().unwrap(),
            "  Matched ignoreregex 0 and was ignored"
        );
    }
}
