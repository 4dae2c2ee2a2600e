//! A line comes in: find its date, judge its age, search it (`Filter.processLine`).

use std::error::Error;
use std::fmt;
use std::ops::Range;

use f2b_types::{Level, Number, Record, Time, seconds2str};
use jiff::tz::TimeZone;

use super::buffer::Split;
use super::{Filter, Found, State};
use crate::date::{Clock, DateError};
use crate::pattern::Subject;

/// Seconds for which a line without a date is of the time of the one before it, and by which the date of a new line may
/// differ from now.
const TOLERANCE: f64 = 60.0;

const DAY: f64 = 86_400.0;

/// Under which circumstances a line is read.
#[derive(Debug, Clone, Copy)]
pub struct LineContext<'a> {
    /// What time it is.
    pub now: Time,
    /// The zone of the machine, for dates that name none.
    pub zone: &'a TimeZone,
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

/// What the date templates found in a line.
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
        let Self { rules, state } = self;
        state.ignored_by.clear();
        let whole = Split { before: "", date: "", behind: line };
        let (split, date, no_date) = match state.find_date(line, context)? {
            Dated::Date(place, date) => (cut(line, place), Some(date), false),
            Dated::Nothing(place) => (cut(line, place), None, false),
            Dated::Invalid(place) => (cut(line, place), None, true),
            Dated::Missing => (whole, None, true),
        };
        // A line that says nothing of its time is of the time of the one before it, if that was just now.
        let last = state.last_date.filter(|date| date.as_f64() > context.now.0 - TOLERANCE);
        let last_text = std::mem::take(&mut state.last_time_text);
        let now = Number::Float(context.now.0);
        let (split, date) = match (date, last) {
            (Some(date), _) => (split, Some(date)),
            (None, Some(last)) => (Split { date: &last_text, ..whole }, Some(last)),
            (None, None) if !no_date || (context.check_find_time && context.in_operation) => {
                (split, Some(now))
            }
            (None, None) => (split, None),
        };
        let found = match date {
            None => state.search(rules, split, None, no_date, context),
            Some(date) => match state.judge(rules, line, date, context) {
                Some(date) => state.search(rules, split, Some(date), no_date, context),
                None => Vec::new(),
            },
        };
        state.last_time_text = last_text;
        Ok(found)
    }

    /// Reads one line whose date its source knows (a journal), given as what stands before the date, the date's text,
    /// and what stands behind.
    pub fn process_dated(&mut self, parts: [&str; 3], date: Number, context: &LineContext<'_>) -> Vec<Found> {
        let Self { rules, state } = self;
        state.ignored_by.clear();
        let [before, text, behind] = parts;
        text.clone_into(&mut state.last_time_text);
        state.last_date = Some(date);
        let split = Split { before, date: text, behind };
        match state.judge(rules, &parts.concat(), date, context) {
            Some(date) => state.search(rules, split, Some(date), false, context),
            None => Vec::new(),
        }
    }
}

impl State {
    fn find_date(&mut self, line: &str, context: &LineContext<'_>) -> Result<Dated, LineError> {
        let failed = |error: DateError| match error {
            DateError::Raised(exception) => LineError { exception },
            DateError::Invalid => LineError { exception: "ValueError()".into() },
        };
        let Some(detector) = &mut self.detector else { return Ok(Dated::Missing) };
        let Some(found) = detector.match_line(Subject::new(line), context.now).map_err(failed)? else {
            return Ok(Dated::Missing);
        };
        let place = found.spans.get(1).unwrap_or_else(|| before_last(line));
        let text = line.get(place.clone()).unwrap_or("");
        if text.is_empty() {
            return Ok(Dated::Nothing(place));
        }
        match detector.moment(line, &found, Clock { now: context.now, zone: context.zone }) {
            Ok(date) => {
                text.clone_into(&mut self.last_time_text);
                self.last_date = Some(date);
                Ok(Dated::Date(place, date))
            }
            Err(DateError::Invalid) => {
                self.error(format!("findFailure failed to parse timeText: {text}"));
                Ok(Dated::Invalid(place))
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// The date to count with: a new line whose date is odd is taken to be of now, an old line of the past isn't taken
    /// at all.
    fn judge(
        &mut self,
        rules: &super::Rules,
        line: &str,
        date: Number,
        context: &LineContext<'_>,
    ) -> Option<Number> {
        let now = context.now;
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
                let span = seconds2str(delta.abs());
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
            return;
        };
        *next = now + DAY;
        for message in messages() {
            let message = format!("[{}] {message}", rules.jail);
            self.records.push(Record::new(Level::WARNING, "filter", message));
        }
    }
}

fn cut(line: &str, place: Range<usize>) -> Split<'_> {
    match (line.get(..place.start), line.get(place.clone()), line.get(place.end..)) {
        (Some(before), Some(date), Some(behind)) => Split { before, date, behind },
        _ => Split { before: "", date: "", behind: line },
    }
}

/// Where Python's index -1 cuts: before the last character. A date pattern with a group that took no part has its date
/// there.
fn before_last(line: &str) -> Range<usize> {
    let at = line.char_indices().next_back().map_or(0, |(at, _)| at);
    at..at
}
