//! Lines through the filter, and what becomes of each: matched, missed or ignored (`Fail2banRegex.testRegex` and
//! `process`).

use std::path::Path;

use f2b_filter::{Clock, Explainer, Filter, Found, LineContext, Who};
use f2b_types::{Level, Number, Record, Time};

use super::Failure;
use super::beyond::{self, Profile, Verdict};
use super::hosts::Hosts;
use super::lines::Line;
use super::options::Options;
use super::output::Output;
use super::rules::add_all;
use super::tokens::Tokens;

/// How many lines of a kind are kept and printed unless all are asked for.
const MAX_LINES: usize = 20;

/// An expression and its hits.
pub(super) struct RegexHits {
    pub(super) regex: String,
    pub(super) hits: usize,
    pub(super) matches: Vec<Match>,
}

/// A hit as the report shows it.
pub(super) struct Match {
    pub(super) id: String,
    pub(super) time: Option<Number>,
    /// Other expressions matched the line before this one.
    pub(super) repeated: bool,
}

/// Lines of one kind.
#[derive(Default)]
pub(super) struct Lines {
    pub(super) count: usize,
    pub(super) kept: Vec<String>,
    /// The same lines without their dates, for debuggex.
    pub(super) kept_without_date: Vec<String>,
    /// Why they are not of another kind, for those that are kept.
    pub(super) explained: Vec<Vec<String>>,
}

/// A filter and what the lines so far came to.
pub(super) struct Trial {
    pub(super) filter: Filter,
    pub(super) fail: Vec<RegexHits>,
    pub(super) ignore: Vec<RegexHits>,
    pub(super) prefix_hits: usize,
    pub(super) prefix_groups: Vec<String>,
    pub(super) matched: Lines,
    pub(super) missed: Lines,
    pub(super) ignored: Lines,
    pub(super) tested: usize,
    pub(super) seconds: f64,
    /// How many lines of a kind are kept and printed unless all are asked for.
    pub(super) max_lines: usize,
    /// The words of `-m`, or else of the filter.
    pub(super) journal_match: Option<Vec<String>>,
    journal_match_given: bool,
    date_pattern_set: bool,
    max_lines_set: bool,
    /// When the lines that are tried were read, and where.
    pub(super) clock: Clock,
    hosts: Hosts,
    explainer: Explainer,
    pub(super) profile: Profile,
}

impl Trial {
    /// A filter with the options of the command line.
    pub(super) fn new(options: &Options, clock: Clock, out: &mut Output) -> Result<Self, Failure> {
        let year = f2b_types::local_time(clock.now(), clock.zone()).map_or(2000, |now| now.year());
        let mut trial = Self {
            filter: Filter::new("~jailless~", year),
            fail: Vec::new(),
            ignore: Vec::new(),
            prefix_hits: 0,
            prefix_groups: Vec::new(),
            matched: Lines::default(),
            missed: Lines::default(),
            ignored: Lines::default(),
            tested: 0,
            seconds: 0.0,
            max_lines: usize::try_from(options.max_lines)
                .ok()
                .filter(|lines| *lines > 0)
                .unwrap_or(MAX_LINES),
            journal_match: None,
            journal_match_given: options.journal_match.is_some(),
            date_pattern_set: false,
            max_lines_set: false,
            clock,
            hosts: Hosts::default(),
            explainer: Explainer::default(),
            profile: Profile::default(),
        };
        let fail = |out: &mut Output, error: String| -> Result<(), Failure> {
            out.fail(&error)?;
            Err(Failure::Reported)
        };
        trial.filter.set_log_level(out.level());
        let created = ["Setting usedns = warn for Filter(None)", "Created Filter(None)"];
        out.log(created.map(|message| Record::new(Level::DEBUG, "filter", message)))?;
        if options.max_lines != 0
            && let Err(error) = trial.set_max_lines(&options.max_lines.to_string(), out)?
        {
            fail(out, error)?;
        }
        if let Some(text) = &options.journal_match {
            match f2b_config::shell_words(text) {
                Ok(words) => trial.journal_match = Some(words),
                Err(error) => fail(out, error.into())?,
            }
        }
        if let Some(zone) = options.time_zone.as_deref().filter(|zone| !zone.is_empty())
            && let Err(error) = trial.filter.set_log_time_zone(Some(zone))
        {
            fail(out, error.to_string())?;
        }
        if let Some(pattern) = options.date_pattern.as_deref().filter(|pattern| !pattern.is_empty())
            && let Err(error) = trial.set_date_pattern(pattern, out)?
        {
            fail(out, error)?;
        }
        if let Some(text) = &options.log_format {
            match crate::log_format::parse(text) {
                Ok(format) => trial.filter.set_log_format(format),
                Err(error) => fail(out, error)?,
            }
            out.say(&format!("Use        logformat : {text}"))?;
        }
        if let Some(word) = options.use_dns.as_deref().filter(|word| !word.is_empty()) {
            trial.filter.set_use_dns(word);
            let message = format!("Setting usedns = {} for Filter(None)", trial.filter.use_dns());
            out.log(trial.filter.take_records())?;
            out.log([Record::new(Level::DEBUG, "filter", message)])?;
        }
        trial.filter.set_raw_hosts(options.raw);
        trial.filter.set_check_all(options.check_all && options.out.is_none());
        trial.filter.set_ignore_pending(options.out.is_some());
        out.log(trial.filter.take_records())?;
        Ok(trial)
    }

    /// Sets `maxlines`, of which the first counts. The inner result is about the value.
    pub(super) fn set_max_lines(
        &mut self,
        value: &str,
        out: &mut Output,
    ) -> Result<Result<(), String>, Failure> {
        if self.max_lines_set {
            return Ok(Ok(()));
        }
        let Ok(lines) = value.trim().parse() else {
            let value = f2b_protocol::Value::from(value);
            return Ok(Err(format!("invalid literal for int() with base 10: {value}")));
        };
        if let Err(error) = self.filter.set_max_lines(lines) {
            return Ok(Err(error.to_string()));
        }
        self.max_lines_set = true;
        out.log(self.filter.take_records())?;
        out.say(&format!("Use         maxlines : {}", self.filter.max_lines()))?;
        Ok(Ok(()))
    }

    /// Sets `datepattern`, of which the first counts. The inner result is about the value.
    pub(super) fn set_date_pattern(
        &mut self,
        pattern: &str,
        out: &mut Output,
    ) -> Result<Result<(), String>, Failure> {
        if self.date_pattern_set {
            return Ok(Ok(()));
        }
        if let Err(error) = self.filter.set_date_pattern(pattern) {
            return Ok(Err(error.to_string()));
        }
        self.date_pattern_set = true;
        out.log(self.filter.take_records())?;
        let name = self.filter.date_pattern().map_or_else(String::new, |(_, name)| name);
        out.say(&format!("Use      datepattern : {pattern} : {name}"))?;
        Ok(Ok(()))
    }

    /// Takes over what a filter says of the journal, unless the command line does.
    pub(super) fn set_journal_match(&mut self, words: Vec<String>) {
        if !words.is_empty() && !self.journal_match_given {
            self.journal_match = Some(words);
        }
    }

    /// The source of the lines knows their dates.
    pub(super) fn use_no_dates(&mut self) {
        if !std::mem::replace(&mut self.date_pattern_set, true) {
            self.filter.disable_date_detector();
        }
    }

    pub(super) fn add_failregex(&mut self, regexes: Vec<String>, out: &mut Output) -> Result<(), Failure> {
        add_all(&mut self.filter, &regexes, Filter::add_failregex, out)?;
        self.fail = regexes.into_iter().map(RegexHits::new).collect();
        Ok(())
    }

    pub(super) fn add_ignoreregex(&mut self, regexes: Vec<String>, out: &mut Output) -> Result<(), Failure> {
        add_all(&mut self.filter, &regexes, Filter::add_ignoreregex, out)?;
        self.ignore = regexes.into_iter().map(RegexHits::new).collect();
        Ok(())
    }

    /// Prints of what is found in a line only what `--out` asks for.
    pub(super) fn print_tokens(
        &mut self,
        mut line: Line<'_>,
        tokens: &Tokens<'_>,
        invert: bool,
        out: &mut Output,
    ) -> Result<(), Failure> {
        let found = self.find(&mut line, out)?;
        let failures: Vec<_> = found.into_iter().filter(|found| !found.fields.is_no_failure()).collect();
        match (failures.is_empty(), invert) {
            (false, false) => tokens.print(&failures, out)?,
            (true, true) => tokens.print_missed(&line.whole(), self.filter.last_date(), out)?,
            _ => {}
        }
        Ok(())
    }

    /// Tries a line; the report counts it.
    pub(super) fn try_line(
        &mut self,
        mut line: Line<'_>,
        options: &Options,
        out: &mut Output,
    ) -> Result<(), Failure> {
        let buffered = self.filter.buffered_lines().to_vec();
        let found = self.find(&mut line, out)?;
        let (mut failures, mut is_ignored) = (0_usize, false);
        for found in &found {
            if let Some(hits) = self.fail.get_mut(found.regex) {
                hits.hits += 1;
                // Else the report shows none of them, and they would take memory for each line.
                if options.verbose > 0 {
                    let id = found.id().map_or_else(|| "None".into(), ToString::to_string);
                    hits.matches.push(Match { id, time: found.time, repeated: failures > 1 });
                }
            }
            match found.fields.is_no_failure() {
                true => is_ignored = true,
                false => failures += 1,
            }
        }
        self.count_prefix(options);
        for index in self.filter.ignored_by() {
            is_ignored = true;
            if let Some(hits) = self.ignore.get_mut(*index) {
                hits.hits += 1;
            }
        }
        let used = self.settle_buffered(buffered, options);
        self.tested += 1;
        let verdict = match (is_ignored, failures) {
            (true, _) => Verdict::Ignored,
            (false, 0) => Verdict::Missed,
            (false, _) => Verdict::Matched,
        };
        if options.json {
            out.print(
                &beyond::line_json(&line.whole(), verdict, &found, self.filter.ignored_by()).to_string(),
            )?;
        }
        let context = context(&self.clock);
        if options.profile {
            self.profile.try_line(&self.filter, line.text(), &context);
        }
        let (lines, keep) = if is_ignored {
            let few = options.print_all_ignored || self.ignored.count <= self.max_lines;
            (&mut self.ignored, !options.print_no_ignored && few)
        } else if failures > 0 {
            (&mut self.matched, options.print_all_matched)
        } else {
            let few = options.print_all_missed || self.missed.count <= self.max_lines;
            (&mut self.missed, !options.print_no_missed && few)
        };
        lines.count += 1;
        if keep && options.explain && verdict == Verdict::Missed {
            lines.explained.push(match (&line, self.filter.log_format()) {
                (Line::Other(_), Some(format)) => vec![format!("no entry of the logformat {format}")],
                _ => beyond::explain(&mut self.explainer, &self.filter, line.text(), &context),
            });
        }
        if keep {
            let line = line.whole().into_owned();
            lines.kept_without_date.push(used.unwrap_or_else(|| line.clone()));
            lines.kept.push(line);
        }
        Ok(())
    }

    fn count_prefix(&mut self, options: &Options) {
        if !self.filter.prefix_matched() {
            return;
        }
        self.prefix_hits += 1;
        if options.verbose > 0
            && let Some(groups) = self.filter.prefix_groups()
        {
            match self.prefix_groups.len() {
                known if known < self.max_lines => self.prefix_groups.push(groups.to_string()),
                known if known == self.max_lines => self.prefix_groups.push("...".into()),
                _ => {}
            }
        }
    }

    /// With `maxlines`: earlier lines that left the buffer were used by this match. Answers with their text for debuggex.
    fn settle_buffered(&mut self, before: Vec<f2b_filter::Line>, options: &Options) -> Option<String> {
        let max_lines = self.filter.max_lines();
        if max_lines <= 1 {
            return None;
        }
        let mut used = Vec::new();
        let skip = usize::from(before.len() >= max_lines);
        for earlier in before.into_iter().skip(skip) {
            if self.filter.buffered_lines().contains(&earlier) {
                continue;
            }
            let whole = earlier.concat();
            let [start, _, end] = earlier;
            let without_date = start + &end;
            if let Some(place) = self.missed.kept.iter().position(|kept| *kept == whole) {
                self.missed.kept.remove(place);
                if options.explain {
                    self.missed.explained.remove(place);
                }
                if options.debuggex
                    && let Some(place) =
                        self.missed.kept_without_date.iter().position(|kept| *kept == without_date)
                {
                    self.missed.kept_without_date.remove(place);
                }
            }
            if options.print_all_matched {
                match options.debuggex {
                    false => self.matched.kept.push(whole),
                    true => used.push(without_date),
                }
            }
            self.matched.count += 1;
            self.missed.count = self.missed.count.saturating_sub(1);
        }
        if used.is_empty() {
            return None;
        }
        used.push(self.filter.processed_line().to_owned());
        Some(used.join("\n"))
    }

    /// The lines that come now were read then.
    pub(super) fn set_now(&mut self, now: Time) {
        self.clock = Clock::new(now, self.clock.zone().clone());
    }

    /// What the filter finds in a line, each host in place of its addresses.
    fn find(&mut self, line: &mut Line<'_>, out: &mut Output) -> Result<Vec<Found>, Failure> {
        let context = context(&self.clock);
        let found = match line {
            Line::Text(text, found, time) => {
                let time = time.and_then(|time| self.filter.entry_time(time, &context));
                match (found.take(), time) {
                    (Some((date, matches)), None) => {
                        self.filter.process_found(text, &date, matches, &context)
                    }
                    (Some((date, matches)), Some(time)) => {
                        self.filter.process_found(text, &date.at(time), matches, &context)
                    }
                    (None, Some(time)) => self.filter.process_entry(text, time, &context),
                    (None, None) => self.filter.process_line(text, &context),
                }
            }
            Line::Other(_) => {
                self.filter.skip_line();
                Ok(Vec::new())
            }
            Line::Entry(entry) => {
                Ok(self.filter.process_dated(entry.parts(), Number::Float(entry.time), &context))
            }
        };
        let records = self.filter.take_records();
        if !records.is_empty() {
            out.log(records)?;
        }
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                out.print(&format!("ERROR: {error}"))?;
                return Err(Failure::Reported);
            }
        };
        if !found.iter().any(|found| matches!(found.who, Some(Who::Host(_)))) {
            return Ok(found);
        }
        let mut identified = Vec::new();
        for found in found {
            let Some(Who::Host(host)) = &found.who else {
                identified.push(found);
                continue;
            };
            let (ids, records) = self.hosts.addresses(host, self.filter.use_dns());
            out.log(records)?;
            let each = |id| Found { who: Some(Who::Id(id)), ..found.clone() };
            identified.extend(ids.into_iter().map(each));
        }
        Ok(identified)
    }
}

impl RegexHits {
    fn new(regex: String) -> Self {
        Self { regex, hits: 0, matches: Vec::new() }
    }
}

pub(super) fn context(clock: &Clock) -> LineContext<'_> {
    LineContext { clock, in_operation: true, check_find_time: false }
}

/// Whether the word is a file to read lines from.
pub(super) fn is_file(word: &str) -> bool {
    Path::new(word).is_file()
}
