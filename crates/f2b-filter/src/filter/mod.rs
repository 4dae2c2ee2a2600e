//! The filter of a jail: its settings, and what it remembers from line to line.
//!
//! | module | what it does | upstream's counterpart |
//! |---|---|---|
//! | this one | settings | `filter.Filter`, its setters and getters |
//! | [`line`] | splits a line around its date, judges the date | `Filter.processLine` |
//! | [`ahead`] | what the expressions match in a line, whatever came before it | |
//! | [`search`] | runs the expressions over a line | `Filter.findFailure`, `_ignoreLine` |
//! | [`buffer`] | the lines that an expression sees at once | `failregex.Regex.search` |
//! | [`connection`] | merges what lines of one connection say | `Filter._mergeFailure` |
//! | [`debug`] | what there is to log of each line | |
//! | [`explain`] | why a line was missed | |
//! | [`steps`] | how many steps an expression takes | |
//! | [`found`] | what comes out | the lists that `findFailure` returns |

mod ahead;
mod buffer;
mod connection;
mod debug;
mod explain;
mod found;
mod line;
mod search;
mod steps;

pub use self::ahead::{Matches, Searcher};
pub use self::explain::{Explainer, Explanation, Nearest, Sought};
pub use self::found::{Found, Who};
pub use self::line::{LineContext, LineDate, LineError};
pub use self::steps::{StepCounter, Steps};

use std::sync::Arc;

use f2b_types::{Level, Number, Record, Time};

use self::buffer::Buffer;
use self::connection::Connections;
use crate::choice::Choice;
use crate::date::{DateDetector, DatePatternError, UnknownZone, validate_time_zone};
use crate::decode::{Encoding, UnknownEncoding};
use crate::failregex::{Options, Regex, RegexError};
use crate::fields::Fields;
use crate::log_format::{EntryTime, LogFormat};
use crate::pattern::Spans;
use crate::pytext::{repr, strip};
use crate::settings::UseDns;

/// Turns log lines into failures.
#[derive(Debug)]
pub struct Filter {
    rules: Rules,
    state: State,
}

/// What was set.
#[derive(Debug, Clone)]
struct Rules {
    jail: String,
    year_now: i16,
    use_dns: UseDns,
    prefix: Option<Arc<Regex>>,
    fail: Vec<Arc<Regex>>,
    /// All of `fail` in one; a new one for each change of it.
    fail_choice: Choice,
    ignore: Vec<Arc<Regex>>,
    find_time: Number,
    max_lines: usize,
    log_time_zone: Option<String>,
    encoding: Encoding,
    log_format: Option<LogFormat>,
    raw_hosts: bool,
    check_all: bool,
    ignore_pending: bool,
}

/// What changes with every line.
#[derive(Debug)]
struct State {
    /// `None` where the source of the lines knows their dates.
    detector: Option<DateDetector>,
    buffer: Buffer,
    last_time_text: String,
    last_date: Option<Number>,
    connections: Connections,
    /// From when on each of the warnings may be repeated.
    next_warnings: [Time; 4],
    records: Vec<Record>,
    log_level: Level,
    ignored_by: Vec<usize>,
    /// The last match of `prefregex`, and what it was tried on.
    prefix_match: Option<Spans>,
    prefix_text: String,
}

/// What `maxlines` must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidMaxLines;

impl std::fmt::Display for InvalidMaxLines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("maxlines must be integer greater than zero")
    }
}

impl std::error::Error for InvalidMaxLines {}

impl Filter {
    /// A filter without expressions for the jail of that name. `year_now` decides which years `%ExY` takes.
    pub fn new(jail: &str, year_now: i16) -> Self {
        Self {
            rules: Rules {
                jail: jail.into(),
                year_now,
                use_dns: UseDns::Warn,
                prefix: None,
                fail: Vec::new(),
                fail_choice: Choice::default(),
                ignore: Vec::new(),
                find_time: Number::Int(600),
                max_lines: 1,
                log_time_zone: None,
                encoding: Encoding::default(),
                log_format: None,
                raw_hosts: false,
                check_all: false,
                ignore_pending: true,
            },
            state: State {
                detector: Some(DateDetector::new(year_now)),
                buffer: Buffer::default(),
                last_time_text: String::new(),
                last_date: None,
                connections: Connections::default(),
                next_warnings: [Time(0.0); 4],
                records: Vec::new(),
                log_level: Level::DEBUG,
                ignored_by: Vec::new(),
                prefix_match: None,
                prefix_text: String::new(),
            },
        }
    }

    /// Takes over the settings of another filter, and keeps what this one remembers of connections and half-read
    /// matches. Date templates are taken over without their hits.
    pub fn adopt(&mut self, other: &Self) {
        self.rules = other.rules.clone();
        self.state.prefix_match = None;
        self.state.detector = other.state.detector.clone();
    }

    /// Messages for the log since the last call.
    pub fn take_records(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.state.records)
    }

    /// Forgets all expressions, as a reload begins.
    pub fn clear(&mut self) {
        self.rules.fail.clear();
        self.rules.fail_choice = Choice::default();
        self.rules.ignore.clear();
    }

    /// Sets `usedns`; an unknown word counts as `no`.
    pub fn set_use_dns(&mut self, word: &str) {
        self.rules.use_dns = UseDns::parse(word).unwrap_or_else(|| {
            let word = repr(&word.to_lowercase());
            self.state.error(format!("Incorrect value {word} specified for usedns. Using safe 'no'"));
            UseDns::No
        });
    }

    /// `usedns`
    pub fn use_dns(&self) -> UseDns {
        self.rules.use_dns
    }

    /// Sets the expression that every line has to match first; an empty one removes it.
    ///
    /// # Errors
    ///
    /// [`RegexError`] says what is wrong with it.
    pub fn set_prefregex(&mut self, regex: &str) -> Result<(), RegexError> {
        self.state.prefix_match = None;
        self.rules.prefix = match regex {
            "" => None,
            regex => {
                Some(Regex::new(regex, Options { multi_line: false, use_dns: self.rules.use_dns })?.into())
            }
        };
        Ok(())
    }

    /// `prefregex` with its tags expanded.
    pub fn prefregex(&self) -> Option<&str> {
        self.rules.prefix.as_ref().map(|regex| regex.as_str())
    }

    /// Adds a `failregex`.
    ///
    /// # Errors
    ///
    /// [`RegexError`] says what is wrong with it; it is in the records too.
    pub fn add_failregex(&mut self, regex: &str) -> Result<(), RegexError> {
        let options = Options { multi_line: self.rules.max_lines > 1, use_dns: self.rules.use_dns };
        let regex = Regex::new_fail(regex, self.rules.prefix.as_deref(), options);
        self.rules.fail.push(self.state.noted(regex)?.into());
        self.rules.fail_choice = Choice::default();
        Ok(())
    }

    /// Removes the `failregex` at `index`, which counts from the end if it is negative.
    pub fn del_failregex(&mut self, index: i64) {
        self.state.remove(&mut self.rules.fail, index);
        self.rules.fail_choice = Choice::default();
    }

    /// Every `failregex` with its tags expanded.
    pub fn failregex(&self) -> impl Iterator<Item = &str> {
        self.rules.fail.iter().map(|regex| regex.as_str())
    }

    /// Adds an `ignoreregex`.
    ///
    /// # Errors
    ///
    /// [`RegexError`] says what is wrong with it; it is in the records too.
    pub fn add_ignoreregex(&mut self, regex: &str) -> Result<(), RegexError> {
        let regex = Regex::new(regex, Options { multi_line: false, use_dns: self.rules.use_dns });
        self.rules.ignore.push(self.state.noted(regex)?.into());
        Ok(())
    }

    /// Removes the `ignoreregex` at `index`, which counts from the end if it is negative.
    pub fn del_ignoreregex(&mut self, index: i64) {
        self.state.remove(&mut self.rules.ignore, index);
    }

    /// Removes every `ignoreregex`.
    pub fn clear_ignoreregex(&mut self) {
        self.rules.ignore.clear();
    }

    /// Every `ignoreregex` with its tags expanded.
    pub fn ignoreregex(&self) -> impl Iterator<Item = &str> {
        self.rules.ignore.iter().map(|regex| regex.as_str())
    }

    /// Sets `findtime`: of the lines of the past, older ones don't count.
    pub fn set_find_time(&mut self, seconds: Number) {
        self.rules.find_time = seconds;
        self.state.info(format!("  findtime: {seconds}"));
    }

    /// `findtime`
    pub fn find_time(&self) -> Number {
        self.rules.find_time
    }

    /// Sets `datepattern`, several with line ends between them.
    ///
    /// # Errors
    ///
    /// [`DatePatternError`]; then the old patterns stay.
    pub fn set_date_pattern(&mut self, patterns: &str) -> Result<(), DatePatternError> {
        let mut detector = DateDetector::new(self.rules.year_now);
        detector.set_log_level(self.state.log_level);
        detector.set_default_offset(self.default_offset());
        for pattern in patterns.split('\n').map(strip).filter(|pattern| !pattern.is_empty()) {
            detector.append(pattern)?;
            self.state.records.extend(detector.take_records());
        }
        self.state.detector = Some(detector);
        Ok(())
    }

    /// Takes dates from the source of the lines only.
    pub fn disable_date_detector(&mut self) {
        self.state.detector = None;
    }

    /// The pattern and the name of the template that is set, or `Default Detectors` (`getDatePattern`).
    pub fn date_pattern(&self) -> Option<(Option<String>, String)> {
        let detector = self.state.detector.as_ref()?;
        match (detector.len(), detector.templates().next()) {
            (1..=2, Some(first)) => Some((first.pattern, first.name)),
            _ => Some((None, "Default Detectors".into())),
        }
    }

    /// The templates in use, for reports.
    pub fn date_detector(&self) -> Option<&DateDetector> {
        self.state.detector.as_ref()
    }

    /// Takes the templates out, to find the dates of lines elsewhere and ahead of [`Filter::process_found`]; `None` where
    /// the source of the lines knows their dates.
    pub fn take_date_detector(&mut self) -> Option<DateDetector> {
        self.state.detector.take()
    }

    /// Puts the templates back.
    pub fn restore_date_detector(&mut self, detector: DateDetector) {
        self.state.detector = Some(detector);
    }

    /// Sets the zone of dates that name none; `None` for local time.
    ///
    /// # Errors
    ///
    /// [`UnknownZone`] for a zone that is no fixed offset.
    pub fn set_log_time_zone(&mut self, zone: Option<&str>) -> Result<(), UnknownZone> {
        let offset = zone.map(validate_time_zone).transpose()?;
        self.rules.log_time_zone = zone.map(Into::into);
        if let Some(detector) = &mut self.state.detector {
            detector.set_default_offset(offset);
        }
        Ok(())
    }

    /// `logtimezone`
    pub fn log_time_zone(&self) -> Option<&str> {
        self.rules.log_time_zone.as_deref()
    }

    /// Sets `maxlines`, how many lines an expression sees at once. Set it before the expressions.
    ///
    /// # Errors
    ///
    /// [`InvalidMaxLines`] below 1.
    pub fn set_max_lines(&mut self, lines: i64) -> Result<(), InvalidMaxLines> {
        self.rules.max_lines =
            usize::try_from(lines).ok().filter(|lines| *lines > 0).ok_or(InvalidMaxLines)?;
        self.state.info(format!("  maxLines: {lines}"));
        Ok(())
    }

    /// `maxlines`
    pub fn max_lines(&self) -> usize {
        self.rules.max_lines
    }

    /// Sets `logencoding`.
    ///
    /// # Errors
    ///
    /// [`UnknownEncoding`] for a name that Python's `codecs.lookup` wouldn't know either.
    pub fn set_log_encoding(&mut self, name: &str) -> Result<(), UnknownEncoding> {
        self.rules.encoding = Encoding::parse(name)?;
        self.state.info(format!("  encoding: {}", self.rules.encoding.name()));
        Ok(())
    }

    /// `logencoding`
    pub fn log_encoding(&self) -> &Encoding {
        &self.rules.encoding
    }

    /// Sets `logformat`; `None` where the lines are the messages.
    pub fn set_log_format(&mut self, format: Option<LogFormat>) {
        self.rules.log_format = format;
    }

    /// `logformat`
    pub fn log_format(&self) -> Option<&LogFormat> {
        self.rules.log_format.as_ref()
    }

    /// Seconds since 1970 of the time of an entry, which is in `logtimezone` if it names no zone itself.
    pub fn entry_time(&self, time: EntryTime, context: &LineContext<'_>) -> Option<Number> {
        time.seconds(self.default_offset(), context.clock.zone()).map(Number::Float)
    }

    /// Whether to take host names as they are, whatever `usedns` says.
    pub fn set_raw_hosts(&mut self, raw: bool) {
        self.rules.raw_hosts = raw;
    }

    /// Whether to try every expression on a line instead of stopping at the first that matches.
    pub fn set_check_all(&mut self, check_all: bool) {
        self.rules.check_all = check_all;
    }

    /// Whether to leave out failures of connections whose id isn't known yet.
    pub fn set_ignore_pending(&mut self, ignore: bool) {
        self.rules.ignore_pending = ignore;
    }

    /// The places of every `ignoreregex` that matched the last line.
    pub fn ignored_by(&self) -> &[usize] {
        &self.state.ignored_by
    }

    /// Whether `prefregex` matched the last line on which it was tried.
    pub fn prefix_matched(&self) -> bool {
        self.state.prefix_match.is_some()
    }

    /// The groups of that match.
    pub fn prefix_groups(&self) -> Option<Fields> {
        self.state.prefix_groups(&self.rules, None)
    }

    /// The lines that wait for a match over several lines.
    pub fn buffered_lines(&self) -> &[crate::fields::Line] {
        self.state.buffer.lines()
    }

    /// The last line without its date, as the expressions saw it; empty with `maxlines` 1.
    pub fn processed_line(&self) -> &str {
        self.state.buffer.processed()
    }

    /// The date of the last line that had one.
    pub fn last_date(&self) -> Option<Number> {
        self.state.last_date
    }

    fn default_offset(&self) -> Option<i32> {
        // It was valid when it was set.
        self.rules.log_time_zone.as_deref().and_then(|zone| validate_time_zone(zone).ok())
    }
}

impl State {
    fn error(&mut self, message: String) {
        self.records.push(Record::new(Level::ERROR, "filter", message));
    }

    fn info(&mut self, message: String) {
        self.records.push(Record::new(Level::INFO, "filter", message));
    }

    /// Puts an error into the records as well, or a warning where it is known that matches may be others than upstream's.
    fn noted(&mut self, regex: Result<Regex, RegexError>) -> Result<Regex, RegexError> {
        match &regex {
            Err(error) => self.error(error.to_string()),
            Ok(regex) => {
                if let Some(doubt) = regex.pattern().doubt() {
                    let text = repr(regex.as_str());
                    let message = format!(
                        "What this expression finds may differ from fail2ban, since it {doubt}: {text}"
                    );
                    self.records.push(Record::new(Level::WARNING, "filter", message));
                }
            }
        }
        regex
    }

    fn remove(&mut self, list: &mut Vec<Arc<Regex>>, index: i64) {
        let length = i64::try_from(list.len()).unwrap_or(i64::MAX);
        let place = if index < 0 { index.saturating_add(length) } else { index };
        match usize::try_from(place).ok().filter(|place| *place < list.len()) {
            Some(place) => drop(list.remove(place)),
            None => {
                self.error(format!("Cannot remove regular expression. Index {index} is not valid"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_found_otherwise_is_said() {
        let warnings = |regex: &str| -> Vec<String> {
            let mut filter = Filter::new("j", 2005);
            filter.add_failregex(regex).unwrap();
            let records = filter.take_records().into_iter();
            records.filter(|record| record.level == Level::WARNING).map(|record| record.message).collect()
        };
        assert_eq!(warnings(r"^(?:(?!x).)* (a|b)+ (?P<q>')?\w*(?(q)') from <HOST>$"), [""; 0]);
        assert_eq!(
            warnings("^(a*)* from <HOST>$")[0].split(": ").next(),
            Some("What this expression finds may differ from fail2ban, since it repeats what may be empty")
        );
        assert!(
            warnings(r"(?<=(x)|y)\1 from <HOST>$")[0]
                .contains("since it refers to a group in a look-behind: ")
        );
    }
}
