//! Runs the expressions over a line (`Filter.findFailure` and `_ignoreLine`).

use std::sync::Arc;

use f2b_types::{Level, Number, Time};

use super::ahead::{Matches, Sighting};
use super::buffer::{self, Split};
use super::found::{Named, identify};
use super::line::{LineContext, Warning};
use super::{Found, Rules, State};
use crate::failregex::Regex;
use crate::fields::{Field, Fields, Line};
use crate::pattern::{MAX_BACKTRACKED, MAX_STEPS, Search, Shape, Spans, Subject};
use crate::pytext::repr;

/// What the expressions see of a line.
struct View<'l> {
    split: Split<'l>,
    text: String,
    shape: Shape,
    /// What is known of the text, which is one line then.
    known: Option<&'l mut Matches>,
    /// The lines that `text` was made of at first; empty with `maxlines` 1, where it is the one in `split`.
    lines: Vec<Line>,
    /// The lines left to search, once they differ from `lines`.
    rest: Option<Vec<Line>>,
}

impl View<'_> {
    fn multi_line(&self) -> bool {
        !self.lines.is_empty()
    }

    /// The lines that a match used, and the others.
    fn used(&self, regex: &Regex, spans: &Spans) -> (Vec<Line>, Vec<Line>) {
        match self.multi_line() {
            true => buffer::used(regex, &self.text, spans, &self.lines),
            false => (vec![self.split.to_line()], Vec::new()),
        }
    }

    fn subject(&self) -> Subject<'_> {
        Subject::with_shape(&self.text, self.shape)
    }

    /// Leaves only `rest` to be searched.
    fn narrow(&mut self, rest: Vec<Line>) {
        buffer::join(&mut self.text, &rest);
        self.shape = Shape::of(&self.text);
        self.rest = Some(rest);
    }

    /// Leaves only what `prefregex` cut out to be searched.
    fn narrow_to_content(&mut self, content: &str) {
        if self.multi_line() {
            return self.narrow(vec![[String::new(), String::new(), content.into()]]);
        }
        self.text.clear();
        buffer::push_line(&mut self.text, "", content);
        self.shape = self.shape.of_part(&self.text);
    }
}

impl State {
    /// Who failed in the line that is `split` around its date, of which this much is `known`.
    pub(super) fn search<'l>(
        &mut self,
        rules: &Rules,
        (split, known): (Split<'l>, Option<&'l mut Matches>),
        date: Option<Number>,
        no_date: bool,
        context: &LineContext<'_>,
    ) -> Vec<Found> {
        let (text, lines) = self.buffer.add(split, rules.max_lines);
        let shape = if lines.is_empty() { split.shape.of_part(&text) } else { Shape::of(&text) };
        self.debug_lines(split, &lines);
        let mut view = View { split, text, shape, known, lines, rest: None };
        let found = self.search_view(rules, &mut view, date, no_date, context);
        if let Some(rest) = view.rest {
            self.buffer.replace(if rules.max_lines > 1 { rest } else { Vec::new() });
        }
        self.buffer.reuse(view.text);
        found
    }

    fn search_view(
        &mut self,
        rules: &Rules,
        view: &mut View<'_>,
        date: Option<Number>,
        no_date: bool,
        context: &LineContext<'_>,
    ) -> Vec<Found> {
        let mut found = Vec::new();
        let now = context.clock.now();
        // With many expressions it pays to look first whether the line is to be ignored.
        if !rules.ignore.is_empty()
            && rules.ignore.len() + 2 < rules.fail.len()
            && self.is_ignored(rules, view.subject(), now)
        {
            return found;
        }
        if let Some(regex) = &rules.prefix {
            self.debug_prefix(regex);
            let known = view.known.as_mut().and_then(|known| known.prefix.take());
            let search = known.unwrap_or_else(|| regex.search(view.subject()));
            let search = self.watched(search, rules, regex, view.subject(), now);
            let Search::Found(spans) = search else {
                self.prefix_match = None;
                self.debug(Level::HEAVYDEBUG, || "  Prefregex not matched".into());
                return found;
            };
            self.debug_match(format_args!("Pre-filter matched"), || regex.groups(&view.text, &spans));
            let spans = self.prefix_match.insert(spans);
            std::mem::swap(&mut self.prefix_text, &mut view.text);
            match regex.content(&self.prefix_text, spans) {
                Some(content) if !content.is_empty() => view.narrow_to_content(&content),
                _ => view.text.clone_from(&self.prefix_text),
            }
        }
        let mut from = 0;
        while let Some((index, regex, spans)) = self.next_match(rules, view, from, now) {
            self.debug_tries(rules, from..index + 1);
            from = index + 1;
            let groups = regex.groups(&view.text, &spans);
            self.debug_match(format_args!("Matched failregex {index}:"), || &groups);
            let (matched, others) = view.used(regex, &spans);
            if self.is_match_ignored(rules, view, &matched, &others, now) {
                match rules.check_all {
                    true => continue,
                    false => return found,
                }
            }
            if no_date {
                self.warn_of_no_date(rules, view.split.date, &matched, now);
                if date.is_none() && context.check_find_time {
                    continue;
                }
            }
            if view.multi_line() {
                view.narrow(others);
            }
            let mut merged = self.prefix_groups(rules, Some("content")).unwrap_or_default();
            merged.remove("content");
            let groups = match merged.is_empty() {
                true => groups,
                false => {
                    merged.update(groups);
                    merged
                }
            };
            let Some(conclusion) = self.conclude(rules, index, groups, matched, now) else {
                let text = format!("No group found in '{}' using '{}'", view.text, python_regex(regex));
                self.error(text);
                continue;
            };
            if let Some((who, fields)) = conclusion {
                let found_one = |who| Found { regex: index, who, time: date, fields };
                match who {
                    Named::Who(who) => found.push(found_one(Some(who))),
                    Named::Pending => found.push(found_one(None)),
                    Named::Nobody | Named::Unresolved => {}
                }
            }
            if !rules.check_all {
                return found;
            }
        }
        self.debug_tries(rules, from..rules.fail.len());
        found
    }

    /// What follows from a match with these `groups`: who and what; `Some(None)` if nothing follows yet, `None` if the
    /// match says nothing about who it is.
    fn conclude(
        &mut self,
        rules: &Rules,
        index: usize,
        groups: Fields,
        matched: Vec<Line>,
        now: Time,
    ) -> Option<Option<(Named, Fields)>> {
        let id = groups.get("mlfid").filter(|id| **id != Field::None).map(|id| match id {
            Field::Text(text) => text.clone(),
            other => other.to_string().into(),
        });
        let mut fields = groups;
        let mut kept = false;
        match &id {
            Some(id) => {
                let merged = self.connections.merge(id, fields, matched, now);
                (fields, kept) = (merged.fields, merged.kept);
            }
            None => {
                let lines = match fields.take_lines("matches") {
                    lines if lines.is_empty() => matched,
                    mut lines => {
                        lines.extend(matched);
                        lines
                    }
                };
                fields.set("matches", Field::Lines(lines.into()));
            }
        }
        if let Some(id) = id.as_ref().filter(|_| fields.is_no_failure()) {
            self.debug_waiting("Nofail", id, index, "failure");
        }
        let kept = id.clone().filter(|_| kept);
        if fields.is_no_failure() && id.is_some() && !rules.check_all {
            if let Some(id) = kept {
                self.connections.store(id, fields, now);
            }
            return Some(None);
        }
        let named = identify(&mut fields, rules.raw_hosts, rules.use_dns);
        let pending = matches!(named, Named::Pending);
        if pending {
            self.debug_waiting("No failure-id", id.as_ref().map_or("", |id| id), index, "identifier");
            fields.set("mlfpending", Field::Flag);
        }
        if let Some(id) = kept {
            self.connections.store(id, fields.clone(), now);
        }
        match named {
            Named::Nobody => None,
            _ if pending && !rules.check_all && rules.ignore_pending => Some(None),
            named => Some(Some((named, fields))),
        }
    }

    /// The groups of the last match of `prefregex`, one of them left out if possible.
    pub(super) fn prefix_groups(&self, rules: &Rules, left_out: Option<&str>) -> Option<Fields> {
        let (regex, spans) = (rules.prefix.as_ref()?, self.prefix_match.as_ref()?);
        Some(regex.groups_without(left_out, &self.prefix_text, spans))
    }

    /// The first `failregex` from `from` on that matches, with its place in the list.
    fn next_match<'r>(
        &mut self,
        rules: &'r Rules,
        view: &mut View<'_>,
        mut from: usize,
        now: Time,
    ) -> Option<(usize, &'r Regex, Spans)> {
        if let Some(known) = &mut view.known {
            if !known.fail.is_empty() {
                let (index, spans) = known.fail.remove(0);
                return Some((index, rules.fail.get(index)?, spans));
            }
            from = from.max(known.tried);
        }
        loop {
            match rules.next_match(view.subject(), from, view.multi_line()) {
                Sighting::Match(index, spans) => return Some((index, rules.fail.get(index)?, spans)),
                Sighting::Nothing => return None,
                Sighting::Exhausted(index) => {
                    self.watched(Search::Exhausted, rules, rules.fail.get(index)?, view.subject(), now);
                    from = index + 1;
                }
            }
        }
    }

    /// What became of a search of `text`; warns if it took too many steps.
    fn watched(
        &mut self,
        search: Search,
        rules: &Rules,
        regex: &Regex,
        text: Subject<'_>,
        now: Time,
    ) -> Search {
        if matches!(search, Search::Exhausted) {
            self.warn(rules, Warning::Exhausted, now, || {
                let cost = match text.text.len() > MAX_BACKTRACKED {
                    true => "not tried on".into(),
                    false => format!("given up after {MAX_STEPS} steps in"),
                };
                vec![format!(
                    "The {} takes too long: {cost} a line of {} characters, which counts as not matched: {}",
                    rules.place_of(regex),
                    text.text.trim_end_matches('\n').chars().count(),
                    regex.as_str()
                )]
            });
        }
        search
    }

    /// Whether an `ignoreregex` matches `text`.
    fn is_ignored(&mut self, rules: &Rules, text: Subject<'_>, now: Time) -> bool {
        for (index, regex) in rules.ignore.iter().enumerate() {
            if let Search::Found(_) = self.watched(regex.test(text), rules, regex, text, now) {
                self.debug(Level::TRACEDEBUG, || format!("  Matched ignoreregex {index} and was ignored"));
                self.ignored_by.push(index);
                if !rules.check_all {
                    return true;
                }
            }
        }
        !self.ignored_by.is_empty()
    }

    /// Whether an `ignoreregex` matches what a `failregex` matched; those lines are done with then.
    fn is_match_ignored(
        &mut self,
        rules: &Rules,
        view: &mut View<'_>,
        matched: &[Line],
        others: &[Line],
        now: Time,
    ) -> bool {
        if rules.ignore.is_empty() {
            return false;
        }
        let before = self.ignored_by.len();
        if !view.multi_line() {
            self.is_ignored(rules, view.subject(), now);
            return self.ignored_by.len() > before;
        }
        let mut text = String::new();
        buffer::join(&mut text, matched);
        self.is_ignored(rules, Subject::new(&text), now);
        let ignored = self.ignored_by.len() > before;
        if ignored {
            view.narrow(others.to_vec());
        }
        ignored
    }

    fn warn_of_no_date(&mut self, rules: &Rules, date_text: &str, matched: &[Line], now: Time) {
        self.warn(rules, Warning::NoTime, now, || {
            let lines: Vec<_> = matched.iter().map(|line| line.concat()).collect();
            vec![
                format!("Found a match but no valid date/time found for {}.", repr(date_text)),
                format!("Match without a timestamp: {}", lines.join("\n")),
                "Please try setting a custom date pattern (see man page jail.conf(5)).".into(),
            ]
        });
    }
}

impl Rules {
    /// What an expression is called, and its number among its like, as reports count them.
    fn place_of(&self, regex: &Regex) -> String {
        let number = |list: &[Arc<Regex>]| list.iter().position(|known| std::ptr::eq(&**known, regex));
        match (number(&self.fail), number(&self.ignore)) {
            (Some(index), _) => format!("failregex {}", index + 1),
            (None, Some(index)) => format!("ignoreregex {}", index + 1),
            (None, None) => "prefregex".into(),
        }
    }
}

/// Python's `repr` of the compiled expression, which is cut after 200 characters.
fn python_regex(regex: &Regex) -> String {
    let text: String = repr(regex.as_str()).chars().take(200).collect();
    format!("re.compile({text})")
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::date::Clock;
    use crate::filter::{Filter, Who};

    fn filter(failregex: &[&str], ignoreregex: &[&str]) -> Filter {
        let mut filter = Filter::new("j", 2005);
        filter.set_date_pattern("{NONE}").unwrap();
        for regex in failregex {
            filter.add_failregex(regex).unwrap();
        }
        for regex in ignoreregex {
            filter.add_ignoreregex(regex).unwrap();
        }
        filter
    }

    /// Feeds lines; answers for each with `regex id: lines` of everything found.
    fn feed(filter: &mut Filter, lines: &[&str]) -> Vec<String> {
        let clock = Clock::new(Time(1_124_013_600.0), TimeZone::UTC);
        let context = LineContext { clock: &clock, in_operation: true, check_find_time: true };
        let show = |found: &Found| {
            let id = match &found.who {
                Some(Who::Id(id)) => id.to_string(),
                Some(Who::Host(host)) => format!("host {host}"),
                None => "nobody".into(),
            };
            let lines: Vec<_> = found.fields.matches().iter().map(|line| line.concat()).collect();
            format!("{} {id}: {}", found.regex, lines.join(" + "))
        };
        lines
            .iter()
            .map(|line| {
                let found = filter.process_line(line, &context).unwrap();
                found.iter().map(show).collect::<Vec<_>>().join("; ")
            })
            .collect()
    }

    #[test]
    fn the_first_match_counts_unless_all_are_checked() {
        let mut filter = filter(&["^x<F-ID/>", "a <HOST>$", "<HOST>$"], &[]);
        assert_eq!(feed(&mut filter, &["a 192.0.2.1"]), ["1 192.0.2.1: a 192.0.2.1"]);
        filter.set_check_all(true);
        assert_eq!(
            feed(&mut filter, &["a 192.0.2.1"]),
            ["1 192.0.2.1: a 192.0.2.1; 2 192.0.2.1: a 192.0.2.1"]
        );
        assert_eq!(feed(&mut filter, &["b example.org"]), ["2 host example.org: b example.org"]);
    }

    #[test]
    fn ignored_lines_are_reported_by_their_expression() {
        let mut filter = filter(&["<ADDR>$"], &["^nothing", "^ok "]);
        assert_eq!(feed(&mut filter, &["ok 192.0.2.1"]), [""]);
        assert_eq!(filter.ignored_by(), [1]);
        assert_eq!(feed(&mut filter, &["ok"]), [""]);
        assert!(filter.ignored_by().is_empty(), "only what matches is ignored");
    }

    #[test]
    fn a_prefix_cuts_the_content_out() {
        let mut filter = filter(&[], &[]);
        filter.set_prefregex(r"^\S+ <F-APP>\w+</F-APP>: <F-CONTENT>.+</F-CONTENT>$").unwrap();
        filter.add_failregex("^fail <ADDR>$").unwrap();
        assert_eq!(
            feed(&mut filter, &["h sshd: fail 192.0.2.1", "fail 192.0.2.1"]),
            ["0 192.0.2.1: h sshd: fail 192.0.2.1", ""]
        );
        assert!(filter.prefix_groups().is_none());
    }

    #[test]
    fn a_newline_that_a_prefix_cuts_out_is_not_the_end() {
        let mut filter = filter(&["^<F-ID>a</F-ID>$"], &[]);
        filter.set_prefregex("(?s)^p <F-CONTENT>.+</F-CONTENT>$").unwrap();
        assert_eq!(feed(&mut filter, &["p a"]), [""]);
        filter.set_prefregex("^p <F-CONTENT>.+</F-CONTENT>$").unwrap();
        assert_eq!(feed(&mut filter, &["p a"]), ["0 a: p a"]);
    }

    #[test]
    fn a_match_may_take_several_lines() {
        let mut filter = filter(&[], &[]);
        filter.set_max_lines(3).unwrap();
        filter.add_failregex("^begin <ADDR>$<SKIPLINES>^end$").unwrap();
        assert_eq!(
            feed(&mut filter, &["begin 192.0.2.1", "x", "end", "end"]),
            ["", "", "0 192.0.2.1: begin 192.0.2.1 + end", ""]
        );
        let left: Vec<_> = filter.buffered_lines().iter().map(|line| line.concat()).collect();
        assert_eq!(left, ["x", "end"]);
    }

    #[test]
    fn lines_of_a_connection_belong_together() {
        let mut filter = filter(
            &[
                "^<F-MLFID>c\\d</F-MLFID> <F-NOFAIL>connect</F-NOFAIL> <ADDR>$",
                "^<F-MLFID>c\\d</F-MLFID> wrong <F-USER>\\w+</F-USER>$",
                "^<F-MLFID>c\\d</F-MLFID> <F-MLFFORGET>close</F-MLFFORGET>$",
            ],
            &[],
        );
        assert_eq!(
            feed(&mut filter, &["c1 connect 192.0.2.1", "c2 wrong b", "c1 wrong a", "c2 close"]),
            ["", "", "1 192.0.2.1: c1 connect 192.0.2.1 + c1 wrong a", ""]
        );
    }

    #[test]
    fn a_match_that_names_nobody_is_an_error() {
        let mut filter = filter(&["^x(?: <ADDR>)?$"], &[]);
        assert_eq!(feed(&mut filter, &["x"]), [""]);
        let errors: Vec<_> =
            filter.take_records().into_iter().filter(|record| record.level == Level::ERROR).collect();
        assert!(
            errors[0].message.starts_with("No group found in 'x\n' using 're.compile('^x(?: "),
            "{errors:?}"
        );
    }

    #[test]
    fn a_line_that_costs_too_much_counts_as_not_matched() {
        let mut filter = filter(&[r"(?<!y)x+(?!x)<ADDR>"], &[]);
        let line = "x".repeat(200_000) + "192.0.2.1";
        assert_eq!(feed(&mut filter, &[&line]), [""]);
        let records = filter.take_records();
        assert!(
            records.iter().any(|r| r
                .message
                .starts_with("[j] The failregex 1 takes too long: not tried on a line of 200009 characters"))
        );
    }
}
