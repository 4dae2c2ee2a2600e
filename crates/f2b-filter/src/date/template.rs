//! One way to write a date (`datetemplate`): an expression that finds it, and how to read what it found.

use std::error::Error;
use std::fmt;
use std::sync::OnceLock;

use f2b_types::Number;

use super::bounds::{self, Begin};
use super::calendar::{self, Clock, DateError};
use super::fields;
use crate::dialect::DialectError;
use crate::pattern::{Pattern, Spans};
use crate::pytext::{ascii_digits, repr};

/// A `datepattern` that can't be used; prints upstream's text.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DatePatternError {
    /// A percent sign that begins no known field.
    Format {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The same template twice.
    Duplicate {
        /// The name that both have.
        name: String,
    },
}

impl fmt::Display for DatePatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format { pattern, cause } => write!(
                f,
                "Failed to set datepattern '{pattern}' (may be an invalid format or unescaped percent char): {cause}"
            ),
            Self::Duplicate { name } => write!(f, "There is already a template with name {name}"),
        }
    }
}

impl Error for DatePatternError {}

/// How a match is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// By the named groups.
    Fields,
    /// As seconds, or for `long` also as milli- or microseconds, in the group of that number.
    Epoch { group: usize, long: bool },
    /// As a TAI64N label in group 1.
    Tai64n,
}

/// A date pattern, named and bounded; compiled when it is first needed.
#[derive(Debug)]
pub(super) struct Template {
    pub(super) name: String,
    /// The pattern with its fields; those for the epoch and TAI64N have none.
    pub(super) pattern: Option<String>,
    pub(super) regex: String,
    pub(super) weight: f64,
    /// It matches at the start or the end of a line only, so that the first hit is the date.
    pub(super) line_anchored: bool,
    reading: Reading,
    compiled: OnceLock<Result<Compiled, DialectError>>,
}

/// What a report says about a template.
#[derive(Debug, Clone, PartialEq)]
pub struct TemplateHits {
    /// How often it gave the date of a line.
    pub hits: u64,
    /// Its name.
    pub name: String,
    /// Its weight in the order of the list.
    pub weight: f64,
    /// What the weight of one hit is.
    pub template_weight: f64,
    /// Its pattern; the epoch and TAI64N have none.
    pub pattern: Option<String>,
    /// Its expression.
    pub regex: String,
}

/// The expression with its fields: letter and group.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) pattern: Pattern,
    fields: Vec<(char, usize)>,
}

impl Template {
    /// Whether both are made of the same pattern.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
            || (self.name == other.name
                && self.pattern == other.pattern
                && self.regex == other.regex
                && self.weight == other.weight)
    }

    /// The template for `pattern` as a `datepattern` or a default has it; `year_now` decides which years `%ExY` takes
    /// (`datedetector._getPatternTemplate`).
    pub(super) fn new(pattern: &str, year_now: i16) -> Result<Self, DatePatternError> {
        let upper = if pattern.contains('%') { pattern.to_owned() } else { pattern.to_uppercase() };
        if upper.contains("EPOCH") {
            let long = upper.contains("LEPOCH");
            if epoch_tags(pattern).next().is_some() {
                return Ok(Self::epoch_in(pattern, long));
            }
            match upper.as_str() {
                "EPOCH" | "LEPOCH" => return Ok(Self::epoch(long, false)),
                "{^LN-BEG}EPOCH" | "^EPOCH" | "{^LN-BEG}LEPOCH" | "^LEPOCH" => {
                    return Ok(Self::epoch(long, true));
                }
                _ => {}
            }
        }
        match upper.as_str() {
            "TAI64N" => Ok(Self::tai64n(Begin::Free)),
            "{^LN-BEG}TAI64N" | "^TAI64N" => Ok(Self::tai64n(Begin::Line)),
            _ => Self::with_fields(pattern, year_now),
        }
    }

    fn with_fields(pattern: &str, year_now: i16) -> Result<Self, DatePatternError> {
        let unbound = pattern.strip_prefix("{UNB}");
        let (bare, begin) = match (unbound, pattern.strip_prefix("{^LN-BEG}")) {
            (Some(bare), _) => (bare, Begin::Free),
            (None, Some(bare)) => (bare, Begin::Line),
            (None, None) => (pattern, Begin::Word),
        };
        let expanded = fields::expand(bare, year_now)
            .map_err(|cause| DatePatternError::Format { pattern: bare.into(), cause })?;
        let words = if fields::has_words(bare) { "(?iu)" } else { "" };
        let mut template = Self::bounded(
            expanded.name,
            &format!("{words}{}", expanded.regex),
            (begin, unbound.is_none()),
            Reading::Fields,
        );
        template.pattern = Some(pattern.into());
        Ok(template)
    }

    /// Seconds since 1970 at the start of a line, in brackets or in `audit(...)`.
    fn epoch(long: bool, line_begin: bool) -> Self {
        let (name, digits) = epoch_expression(long);
        let reading = Reading::Epoch { group: 1, long };
        if line_begin {
            let regex = format!(r"((?P<square>(?<=^\[))?{digits})(?(square)(?=\]))");
            return Self::bounded(name.into(), &regex, (Begin::Line, true), reading);
        }
        let regex = format!(
            r"((?:^|(?P<square>(?<=^\[))|(?P<selinux>(?<=\baudit\())){digits})(?:(?(selinux)(?=:\d+\)))|(?(square)(?=\])))"
        );
        Self::bounded(name.into(), &regex, (Begin::Free, true), reading)
    }

    /// Seconds since 1970 where `pattern` says `{EPOCH}`.
    fn epoch_in(pattern: &str, long: bool) -> Self {
        let (_, digits) = epoch_expression(long);
        let mut regex = String::new();
        let mut read = 0;
        for (start, end) in epoch_tags(pattern) {
            regex.push_str(pattern.get(read..start).unwrap_or(""));
            regex.push_str(&format!("({digits})"));
            read = end;
        }
        regex.push_str(pattern.get(read..).unwrap_or(""));
        if !bounds::has_group(pattern) {
            regex = format!("({regex})");
        }
        let reading = Reading::Epoch { group: 2, long };
        Self::bounded(pattern.into(), &regex, (Begin::Word, true), reading)
    }

    fn tai64n(begin: Begin) -> Self {
        Self::bounded("TAI64N".into(), "@[0-9a-f]{24}", (begin, true), Reading::Tai64n)
    }

    fn bounded(name: String, regex: &str, (begin, word_end): (Begin, bool), reading: Reading) -> Self {
        let bounded = bounds::bind(regex, begin, word_end);
        let name = match bounded.bound_to_line && !name.starts_with("{^LN-BEG}") {
            true => format!("{{^LN-BEG}}{name}"),
            false => name,
        };
        Self {
            name,
            pattern: None,
            regex: bounded.regex,
            weight: 1.0,
            line_anchored: bounded.line_anchored,
            reading,
            compiled: OnceLock::new(),
        }
    }

    /// The compiled expression.
    pub(super) fn compiled(&self) -> Result<&Compiled, DateError> {
        let compiled = self.compiled.get_or_init(|| {
            let pattern = Pattern::new(&self.regex, false)?;
            let single = |name: &str| {
                let mut letters = name.chars();
                letters.next().filter(|_| letters.next().is_none())
            };
            let fields =
                pattern.names().iter().filter_map(|(name, group)| Some((single(name)?, *group))).collect();
            Ok(Compiled { pattern, fields })
        });
        compiled.as_ref().map_err(|error| DateError::Raised(format!("error({})", repr(&error.to_string()))))
    }

    /// The moment of a match in `line`.
    pub(super) fn moment(
        &self,
        line: &str,
        spans: &Spans,
        default_offset: Option<i32>,
        clock: &Clock,
    ) -> Result<Number, DateError> {
        let group = |index: usize| spans.get(index).and_then(|span| line.get(span));
        match self.reading {
            Reading::Fields => {
                let compiled = self.compiled()?;
                let fields = compiled.fields.iter().filter_map(|(key, index)| Some((*key, group(*index)?)));
                calendar::moment(fields, default_offset, clock)
            }
            Reading::Epoch { group: index, long } => {
                let text = ascii_digits(group(index).ok_or_else(|| none_is_no("float"))?);
                let value: f64 = text.parse().map_err(|_| DateError::Invalid)?;
                let divisor = match text.len() {
                    16.. if long && !text.contains('.') => 1_000_000.0,
                    13.. if long => 1000.0,
                    _ => 1.0,
                };
                Ok(Number::Float(value / divisor))
            }
            Reading::Tai64n => {
                // `@`, the digit 4, and the seconds; the nanoseconds are left out.
                let seconds = group(1).and_then(|label| label.get(2..17)).ok_or(DateError::Invalid)?;
                i64::from_str_radix(seconds, 16).map(Number::Int).map_err(|_| DateError::Invalid)
            }
        }
    }
}

fn none_is_no(what: &str) -> DateError {
    DateError::Raised(format!(
        "TypeError(\"{what}() argument must be a string or a real number, not 'NoneType'\")"
    ))
}

fn epoch_expression(long: bool) -> (&'static str, &'static str) {
    match long {
        false => ("Epoch", r"\d{10,11}\b(?:\.\d{3,6})?"),
        true => ("LongEpoch", r"\d{10,11}(?:\d{3}(?:\.\d{1,6}|\d{3})?)?"),
    }
}

/// The places of `{EPOCH}` and `{LEPOCH}`, in any case and not behind a backslash.
fn epoch_tags(pattern: &str) -> impl Iterator<Item = (usize, usize)> + '_ {
    pattern.match_indices('{').filter_map(|(start, _)| {
        let before = pattern.get(..start)?;
        let end = start + pattern.get(start..)?.find('}')? + 1;
        let tag = pattern.get(start..end)?.to_ascii_uppercase();
        (!before.ends_with('\\') && matches!(tag.as_str(), "{EPOCH}" | "{LEPOCH}")).then_some((start, end))
    })
}
