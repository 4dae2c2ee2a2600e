//! A line comes in: find its date, judge its age, search it (`Filter.processLine`).

use std::error::Error;
use std::fmt;
use std::ops::Range;

use f2b_types::{Level, Number, Record, Time, seconds2str};

use super::ahead::Matches;
use super::buffer::Split;
use super::{Filter, Found, State};
use crate::date::{Clock, DateDetector, DateError, LineSearches};
use crate::pattern::{Shape, Subject};
use crate::pytext::repr;

/// Seconds for which a line without a date is of the time of the one before it, and by which the date of a new line may
/// differ from now.
const TOLERANCE: f64 = 60.0;

const DAY: f64 = 86_400.0;

/// Under which circumstances a line is read.
#[derive(Debug, Clone, Copy)]
pub struct LineContext<'a> {
    /// What time it is, and where.
    pub clock: &'a Clock,
    /// The line was written just now; otherwise it is read from the past of the log.
    pub in_operation: bool,
    /// Whether the age of the line matters. It does in a jail, it doesn't in `f2b-regex`.
    pub check_find_time: bool,
}

/// A line that could not be processed, because upstream would fail on it too. Prints the `repr` of Python's exception.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LineError {
    /// The exception.
    pub exception: String,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.exception)
    }
}

impl Error for LineError {}

/// The warnings that come once a day.
#[derive(Debug, Clone, Copy)]
pub(super) enum Warning {
    OddTime,
    TooOld,
    NoTime,
    Exhausted,
}

/// The date of a line as a [`DateDetector`] found it, for [`Filter::process_found`].
#[derive(Debug)]
pub struct LineDate {
    found: Result<Dated, LineError>,
    records: Vec<Record>,
    /// Of the line.
    shape: Shape,
}

/// What the date templates found in a line.
#[derive(Debug)]
enum Dated {
    /// A date, and where it stands.
    Date(Range<usize>, Number),
    /// A place, but nothing there: the pattern says that there is no date.
    Nothing(Range<usize>),
    /// Something that looks like a date, but isn't one.
    Invalid(Range<usize>),
    /// No date.
    Missing,
}

impl Filter {
    /// Reads one line, without its line end, and says who failed in it. Messages for the log wait in
    /// [`Filter::take_records`].
    ///
    /// # Errors
    ///
    /// [`LineError`] where upstream raises an exception, as for an unknown abbreviation of a time zone.
    pub fn process_line(&mut self, line: &str, context: &LineContext<'_>) -> Result<Vec<Found>, LineError> {
        let date = self.find_date(line, context);
        self.process_found(line, &date, None, context)
    }

    /// The same for a message whose source knows when it was written. A date in it is cut out all the same, as the
    /// expressions expect it.
    ///
    /// # Errors
    ///
    /// As [`Filter::process_line`].
    pub fn process_entry(
        &mut self,
        message: &str,
        time: Number,
        context: &LineContext<'_>,
    ) -> Result<Vec<Found>, LineError> {
        let date = self.find_date(message, context).at(time);
        self.process_found(message, &date, None, context)
    }

    /// Takes note of a line in which nothing is to be searched.
    pub fn skip_line(&mut self) {
        self.state.ignored_by.clear();
        self.state.prefix_match = None;
    }

    fn find_date(&mut self, line: &str, context: &LineContext<'_>) -> LineDate {
        self.state.detector.as_mut().map_or_else(|| LineDate::none(line), |dates| dates.find(line, context))
    }

    /// The same for a line whose date was found already, by the detector of this filter or one that is like it, which found
    /// those of all lines before it too, and of which some `matches` may be known, which are taken out.
    ///
    /// # Errors
    ///
    /// As [`Filter::process_line`].
    pub fn process_found(
        &mut self,
        line: &str,
        date: &LineDate,
        matches: Option<&mut Matches>,
        context: &LineContext<'_>,
    ) -> Result<Vec<Found>, LineError> {
        let Self { rules, state } = self;
        state.ignored_by.clear();
        state.debug(Level::TRACEDEBUG, || format!("Working on line {}", repr(line)));
        state.records.extend_from_slice(&date.records);
        let whole = Split::whole(line, date.shape);
        let (split, date, no_date) = match date.found.as_ref().map_err(Clone::clone)? {
            Dated::Date(place, date) => {
                let split = cut(whole, place);
                split.date.clone_into(&mut state.last_time_text);
                state.last_date = Some(*date);
                (split, Some(*date), false)
            }
            Dated::Nothing(place) => (cut(whole, place), None, false),
            Dated::Invalid(place) => {
                let split = cut(whole, place);
                state.error(format!("findFailure failed to parse timeText: {}", split.date));
                (split, None, true)
            }
            Dated::Missing => (whole, None, true),
        };
        // A line that says nothing of its time is of the time of the one before it, if that was just now.
        let last = state.last_date.filter(|date| date.as_f64() > context.clock.now().0 - TOLERANCE);
        let last_text = std::mem::take(&mut state.last_time_text);
        let now = Number::Float(context.clock.now().0);
        let (split, date) = match (date, last) {
            (Some(date), _) => (split, Some(date)),
            (None, Some(last)) => (Split { date: &last_text, ..whole }, Some(last)),
            (None, None) if !no_date || (context.check_find_time && context.in_operation) => {
                (split, Some(now))
            }
            (None, None) => (split, None),
        };
        let found = match date {
            None => state.search(rules, (split, matches), None, no_date, context),
            Some(date) => match state.judge(rules, line, date, context) {
                Some(date) => state.search(rules, (split, matches), Some(date), no_date, context),
                None => Vec::new(),
            },
        };
        state.last_time_text = last_text;
        Ok(found)
    }

    /// The time that the date in a line stands for, which is neither searched nor remembered: to find a time in a log
    /// (`FileFilter.seekToTime`). `None` without a date, `Some(None)` where what looks like one isn't.
    pub fn time_of(&mut self, line: &str, context: &LineContext<'_>) -> Option<Option<Number>> {
        if let Some(format) = &self.rules.log_format {
            let time = format.time(line).and_then(|time| self.entry_time(time, context));
            return time.map(Some);
        }
        let State { detector, records, .. } = &mut self.state;
        let detector = detector.as_mut()?;
        let time = detector.time_of(line, context);
        records.extend(detector.take_records());
        time
    }

    /// Reads one line whose date its source knows (a journal), given as what stands before the date, the date's text,
    /// and what stands behind.
    pub fn process_dated(&mut self, parts: [&str; 3], date: Number, context: &LineContext<'_>) -> Vec<Found> {
        let Self { rules, state } = self;
        state.ignored_by.clear();
        let [before, text, behind] = parts;
        state.debug(Level::TRACEDEBUG, || {
            let [before, text, behind] = parts.map(repr);
            format!("Working on line ({before}, {text}, {behind})")
        });
        text.clone_into(&mut state.last_time_text);
        state.last_date = Some(date);
        let line = parts.concat();
        let split = Split { before, date: text, behind, shape: Shape::of(&line) };
        match state.judge(rules, &line, date, context) {
            Some(date) => state.search(rules, (split, None), Some(date), false, context),
            None => Vec::new(),
        }
    }
}

impl LineDate {
    /// The date in the line says where to cut it, but its source knows when it was written.
    #[must_use]
    pub fn at(&self, time: Number) -> Self {
        let place = match &self.found {
            Ok(Dated::Date(place, _) | Dated::Nothing(place) | Dated::Invalid(place)) => place.clone(),
            Ok(Dated::Missing) | Err(_) => 0..0,
        };
        Self { found: Ok(Dated::Date(place, time)), records: self.records.clone(), shape: self.shape }
    }

    /// Nobody looked for one.
    pub fn none(line: &str) -> Self {
        Self { found: Ok(Dated::Missing), records: Vec::new(), shape: Shape::of(line) }
    }

    /// The line around its date, unless that depends on the lines before it.
    pub(super) fn split<'l>(&self, line: &'l str) -> Option<Split<'l>> {
        let whole = Split::whole(line, self.shape);
        match &self.found {
            Ok(Dated::Date(place, _)) => Some(cut(whole, place)),
            Ok(Dated::Missing) => Some(whole),
            Ok(Dated::Nothing(_) | Dated::Invalid(_)) | Err(_) => None,
        }
    }
}

impl DateDetector {
    /// The date of the next line.
    pub fn find(&mut self, line: &str, context: &LineContext<'_>) -> LineDate {
        self.find_with(line, context, None)
    }

    /// The same among other detectors that look for the date of this line: `known` is what they have found.
    pub fn find_among(
        &mut self,
        line: &str,
        context: &LineContext<'_>,
        known: &mut LineSearches,
    ) -> LineDate {
        self.find_with(line, context, Some(known))
    }

    fn find_with(
        &mut self,
        line: &str,
        context: &LineContext<'_>,
        known: Option<&mut LineSearches>,
    ) -> LineDate {
        let line = Subject::new(line);
        let found = self.dated(line, context, known).map_err(|error| match error {
            DateError::Raised(exception) => LineError { exception },
            DateError::Invalid => LineError { exception: "ValueError()".into() },
        });
        LineDate { found, records: self.take_records(), shape: line.shape() }
    }

    fn time_of(&mut self, line: &str, context: &LineContext<'_>) -> Option<Option<Number>> {
        let found = self.match_line(Subject::new(line), context.clock.now(), None).ok()??;
        let time = self.moment(line, &found, context.clock, None).ok();
        if let Some(date) = time {
            self.debug_moment(date, line.get(found.spans.whole()).unwrap_or(""), &found);
        }
        Some(time)
    }

    fn dated(
        &mut self,
        line: Subject<'_>,
        context: &LineContext<'_>,
        mut known: Option<&mut LineSearches>,
    ) -> Result<Dated, DateError> {
        let Some(found) = self.match_line(line, context.clock.now(), known.as_deref_mut())? else {
            return Ok(Dated::Missing);
        };
        let line = line.text;
        let place = found.spans.get(1).unwrap_or_else(|| before_last(line));
        let text = line.get(place.clone()).unwrap_or("");
        if text.is_empty() {
            return Ok(Dated::Nothing(place));
        }
        match self.moment(line, &found, context.clock, known) {
            Ok(date) => {
                self.debug_moment(date, text, &found);
                Ok(Dated::Date(place, date))
            }
            Err(DateError::Invalid) => Ok(Dated::Invalid(place)),
            Err(error) => Err(error),
        }
    }
}

impl State {
    /// The date to count with: a new line whose date is odd is taken to be of now, an old line of the past isn't taken
    /// at all.
    fn judge(
        &mut self,
        rules: &super::Rules,
        line: &str,
        date: Number,
        context: &LineContext<'_>,
    ) -> Option<Number> {
        let now = context.clock.now();
        if !context.check_find_time {
            return Some(date);
        }
        let odd_line = || format!("Please check a jail for a timing issue. Line with odd timestamp: {line}");
        if context.in_operation {
            let delta = (date.as_f64() - now.0).trunc();
            if delta.abs() <= TOLERANCE {
                return Some(date);
            }
            self.warn(rules, Warning::OddTime, now, || {
                let when = if delta < 0.0 { "before" } else { "after" };
                let what = if (-3300.0..0.0).contains(&delta) { "latency" } else { "timezone" };
                let span = seconds2str(delta.abs() as i64);
                let odd_entry = format!(
                    "Detected a log entry {span} {when} the current time in operation mode. This looks like a {what} \
                     problem. Treating such entries as if they just happened."
                );
                vec![odd_entry, odd_line()]
            });
            self.last_date = Some(Number::Float(now.0));
            return self.last_date;
        }
        if date.as_f64() >= now.0 - rules.find_time.as_f64() {
            return Some(date);
        }
        self.warn(rules, Warning::TooOld, now, || {
            let old_entries = format!(
                "Ignoring all log entries older than {}s; these are probably messages generated while fail2ban was not \
                 running.",
                rules.find_time
            );
            vec![old_entries, odd_line()]
        });
        None
    }

    /// Warns unless the same was warned of within a day.
    pub(super) fn warn(
        &mut self,
        rules: &super::Rules,
        warning: Warning,
        now: Time,
        messages: impl FnOnce() -> Vec<String>,
    ) {
        let Some(next) = self.next_warnings.get_mut(warning as usize).filter(|next| now >= **next) else {
            self.debug(Level::TRACEDEBUG, || messages().into_iter().next().unwrap_or_default());
            return;
        };
        *next = now + DAY;
        for message in messages() {
            let message = format!("[{}] {message}", rules.jail);
            self.records.push(Record::new(Level::WARNING, "filter", message));
        }
    }
}

fn cut<'l>(whole: Split<'l>, place: &Range<usize>) -> Split<'l> {
    let line = whole.behind;
    match (line.get(..place.start), line.get(place.clone()), line.get(place.end..)) {
        (Some(before), Some(date), Some(behind)) => Split { before, date, behind, ..whole },
        _ => whole,
    }
}

/// Where Python's index -1 cuts: before the last character. A date pattern with a group that took no part has its date
/// there.
fn before_last(line: &str) -> Range<usize> {
    let at = line.char_indices().next_back().map_or(0, |(at, _)| at);
    at..at
}

#[cfg(test)]
mod tests {
    use f2b_types::Id;
    use jiff::tz::TimeZone;

    use super::*;
    use crate::filter::Who;

    /// 2005-08-14 10:00:00 UTC
    const NOW: f64 = 1_124_013_600.0;

    fn filter() -> Filter {
        let mut filter = Filter::new("j", 2005);
        filter.add_failregex("fail <ADDR>$").unwrap();
        filter
    }

    /// Feeds a line; answers with the times of what was found, and the warnings.
    fn feed(filter: &mut Filter, line: &str, in_operation: bool) -> (Vec<Option<Number>>, Vec<String>) {
        let clock = Clock::new(Time(NOW), TimeZone::UTC);
        let context = LineContext { clock: &clock, in_operation, check_find_time: true };
        let found = filter.process_line(line, &context).unwrap();
        assert!(found.iter().all(|found| found.who == Some(Who::Id(Id::parse("192.0.2.1")))));
        let records = filter.take_records().into_iter().filter(|record| record.level >= Level::WARNING);
        (found.into_iter().map(|found| found.time).collect(), records.map(|record| record.message).collect())
    }

    #[test]
    fn a_line_has_its_own_time() {
        let mut filter = filter();
        let line = "2005-08-14 09:59:59 fail 192.0.2.1";
        assert_eq!(feed(&mut filter, line, true), (vec![Some(Number::Float(NOW - 1.0))], vec![]));
        let line = "2005-08-14 12:00:00+0200 fail 192.0.2.1";
        assert_eq!(feed(&mut filter, line, true), (vec![Some(Number::Int(NOW as i64))], vec![]));
        assert_eq!(filter.last_date(), Some(Number::Int(NOW as i64)));
    }

    #[test]
    fn a_line_without_a_date_has_that_of_the_one_before() {
        let mut filter = filter();
        feed(&mut filter, "2005-08-14 09:59:55 x", true);
        let (times, warnings) = feed(&mut filter, "fail 192.0.2.1", true);
        assert_eq!(times, [Some(Number::Float(NOW - 5.0))]);
        assert_eq!(
            warnings,
            [
                "[j] Found a match but no valid date/time found for '2005-08-14 09:59:55'.",
                "[j] Match without a timestamp: 2005-08-14 09:59:55fail 192.0.2.1",
                "[j] Please try setting a custom date pattern (see man page jail.conf(5)).",
            ]
        );
        assert_eq!(feed(&mut filter, "fail 192.0.2.1", true).1, [""; 0], "warned once a day");
    }

    #[test]
    fn a_new_line_with_an_odd_date_is_of_now() {
        let mut filter = filter();
        let (times, warnings) = feed(&mut filter, "2005-08-14 08:00:00 fail 192.0.2.1", true);
        assert_eq!(times, [Some(Number::Float(NOW))]);
        assert_eq!(
            warnings,
            [
                "[j] Detected a log entry 2h before the current time in operation mode. This looks like a timezone \
                 problem. Treating such entries as if they just happened.",
                "[j] Please check a jail for a timing issue. Line with odd timestamp: 2005-08-14 08:00:00 fail 192.0.2.1",
            ]
        );
        let (times, warnings) = feed(&mut filter, "2005-08-14 10:02:00 fail 192.0.2.1", true);
        assert_eq!((times, warnings), (vec![Some(Number::Float(NOW))], vec![]));
    }

    #[test]
    fn old_lines_of_the_past_are_left_out() {
        let mut filter = filter();
        let (times, warnings) = feed(&mut filter, "2005-08-14 09:49:59 fail 192.0.2.1", false);
        assert_eq!(times, []);
        assert_eq!(
            warnings[0],
            "[j] Ignoring all log entries older than 600s; these are probably messages generated while fail2ban was not \
             running."
        );
        let (times, _) = feed(&mut filter, "2005-08-14 09:50:00 fail 192.0.2.1", false);
        assert_eq!(times, [Some(Number::Float(NOW - 600.0))]);
        assert_eq!(feed(&mut filter, "no date fail 192.0.2.1", false).0, [], "its time isn't known");
    }

    #[test]
    fn what_only_looks_like_a_date_is_none() {
        let mut filter = filter();
        let (times, messages) = feed(&mut filter, "Feb 30 10:00:00 fail 192.0.2.1", true);
        assert_eq!(times, [Some(Number::Float(NOW))]);
        assert_eq!(messages[0], "findFailure failed to parse timeText: Feb 30 10:00:00");
        filter.set_date_pattern("{NONE}").unwrap();
        assert_eq!(feed(&mut filter, "fail 192.0.2.1", true), (vec![Some(Number::Float(NOW))], vec![]));
    }

    #[test]
    fn the_date_alone_can_be_asked_for() {
        let mut filter = filter();
        let clock = Clock::new(Time(NOW), TimeZone::UTC);
        let context = LineContext { clock: &clock, in_operation: true, check_find_time: true };
        assert_eq!(filter.time_of("2005-08-14 10:00:00 x", &context), Some(Some(Number::Float(NOW))));
        assert_eq!(filter.time_of("Feb 30 10:00:00 x", &context), Some(None));
        assert_eq!(filter.time_of("x", &context), None);
        assert_eq!(filter.last_date(), None);
    }

    #[test]
    fn an_unknown_time_zone_fails_as_upstream_does() {
        let mut filter = filter();
        let clock = Clock::new(Time(NOW), TimeZone::UTC);
        let context = LineContext { clock: &clock, in_operation: true, check_find_time: true };
        let error = filter.process_line("XYZ Aug 14 10:00:00 fail 192.0.2.1", &context).unwrap_err();
        assert_eq!(error.to_string(), "KeyError('XYZ')");
        assert!(filter.process_line("", &context).unwrap().is_empty());
        assert!(filter.process_line("\0\u{fffd}", &context).unwrap().is_empty());
    }
}
