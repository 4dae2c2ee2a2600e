//! From a log line to a failure.
//!
//! | step | module | upstream's counterpart |
//! |---|---|---|
//! | bytes to text | [`Encoding`] | `FileContainer.decode_line` |
//! | the message of an entry in JSON | [`LogFormat`] | |
//! | the date of a line | [`DateDetector`] | `datedetector`, `datetemplate`, `strptime` |
//! | tags to groups | `tags` | `failregex.Regex._resolveHostTag` |
//! | Python's regular expressions | `dialect`, `pattern`, `tagged` | Python's `re` |
//! | many of them at once | `choice` | |
//! | a line to failures | [`Filter`] | `filter.Filter` |
//!
//! Nothing in here does any I/O, reads a clock or resolves a name: the time and the zone come with each line
//! ([`LineContext`]), and a host that has to be resolved is given back as [`Who::Host`]. Lines are hostile: no line
//! makes a search longer than a budget, and no pattern makes the parser deeper than a limit.

mod choice;
mod date;
mod decode;
mod dialect;
mod failregex;
mod fields;
mod filter;
mod log_format;
#[cfg(test)]
mod oracle;
mod pattern;
mod pytext;
mod settings;
mod single;
mod tagged;
mod tags;

pub use crate::date::{
    Clock, DateDetector, DatePatternError, LineSearches, TemplateHits, UnknownZone, validate_time_zone,
};
pub use crate::decode::{Encoding, UnknownEncoding, trim_line_end};
pub use crate::dialect::DialectError;
pub use crate::failregex::RegexError;
pub use crate::fields::{Field, Fields, Line};
pub use crate::filter::{
    Explainer, Explanation, Filter, Found, InvalidMaxLines, LineContext, LineDate, LineError, Matches,
    Nearest, Searcher, Sought, StepCounter, Steps, Who,
};
pub use crate::log_format::{Entry, EntryTime, LogFormat, LogFormatError, OpenMessages};
pub use crate::pytext::repr;
pub use crate::settings::UseDns;
pub use crate::tags::{expand as expand_tags, group_of as group_of_field};
