//! Dates in log lines: which patterns there are, which one a log uses, and the moment that a match stands for.
//!
//! | module | what it does | upstream's counterpart |
//! |---|---|---|
//! | [`fields`] | the `%` fields of a date pattern | `strptime.timeRE` |
//! | [`template`] | one date pattern, bounded and compiled | `datetemplate` |
//! | [`bounds`] | where the expression of a template may begin and end | `datetemplate.DateTemplate.setRegex` |
//! | [`detector`] | picks the template for a line, learns from its hits | `datedetector.DateDetector` |
//! | [`defaults`] | the templates of an unset `datepattern` | `datedetector.DateDetectorCache` |
//! | [`calendar`] | from captured fields to a moment | `strptime.reGroupDictStrptime` |
//! | [`searches`] | what templates find in a line, for several detectors | |
//! | [`zone`] | names of time zones and their offsets | `strptime.zone2offset` |

mod bounds;
mod calendar;
mod defaults;
mod detector;
#[cfg(test)]
mod differential;
mod fields;
mod searches;
mod template;
mod zone;

pub use self::calendar::Clock;
pub use self::detector::DateDetector;
pub use self::searches::LineSearches;
pub use self::template::{DatePatternError, TemplateHits};
pub use self::zone::{UnknownZone, validate_time_zone};

pub(crate) use self::calendar::DateError;
