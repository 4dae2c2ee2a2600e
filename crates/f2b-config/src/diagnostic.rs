//! What reading has to say: upstream's log records, and where their cause stands.

use std::fmt;

use f2b_types::{Level, Record};

use crate::Error;
use crate::source::{Location, Place};

/// The loggers of upstream's modules that read configuration, and `fail2ban` itself.
pub(crate) mod logger {
    pub(crate) const ROOT: &str = "fail2ban";
    pub(crate) const INCLUDES: &str = "configparserinc";
    pub(crate) const CONFIG: &str = "configreader";
    pub(crate) const JAIL: &str = "jailreader";
    pub(crate) const JAILS: &str = "jailsreader";
}

/// A record as upstream logs it, with the place in the files that caused it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Level, logger and text are upstream's.
    pub record: Record,
    /// Where the cause stands, if it stands in a file.
    pub at: Option<Location>,
    /// The line there.
    pub line_text: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Diagnostic {
    fn new(record: Record, place: Option<Place>, hint: Option<String>) -> Self {
        let (at, line_text) = place.map(|place| (place.location, place.line_text)).unzip();
        Self { record, at, line_text, hint }
    }

    /// Whether it is an error rather than a warning or less.
    pub fn is_error(&self) -> bool {
        self.record.level >= Level::ERROR
    }
}

/// Prints the message, below it the place, the line there with a caret, and the hint.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.record.message)?;
        if let Some(at) = &self.at {
            write!(f, "\n{:margin$}--> {at}", "", margin = self.margin())?;
        }
        self.fmt_line(f)
    }
}

/// A diagnostic as compilers print them, for editors to find the place: `path:line:column: error: message`, and below it
/// the line there with a caret, and the hint.
#[derive(Debug)]
pub struct Problem<'a>(pub &'a Diagnostic);

impl fmt::Display for Problem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = &self.0.at {
            write!(f, "{at}: ")?;
        }
        write!(f, "{}: {}", if self.0.is_error() { "error" } else { "warning" }, self.0.record.message)?;
        self.0.fmt_line(f)
    }
}

impl Diagnostic {
    /// How far the lines below the message are indented, so that line numbers fit.
    fn margin(&self) -> usize {
        self.at.as_ref().map_or(1, |at| at.line.to_string().len())
    }

    fn fmt_line(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let margin = self.margin();
        if let (Some(at), Some(line)) = (&self.at, &self.line_text) {
            write!(f, "\n{:margin$} |\n{} | {line}", "", at.line)?;
            if at.column <= line.chars().count() + 1 {
                // Tabs stay tabs, so that the caret stands below its character.
                let indent: String =
                    line.chars().take(at.column - 1).map(|c| if c == '\t' { c } else { ' ' }).collect();
                write!(f, "\n{:margin$} | {indent}^", "")?;
            }
        }
        match &self.hint {
            Some(hint) => write!(f, "\n{:margin$} = {hint}", ""),
            None => Ok(()),
        }
    }
}

/// An error by itself.
impl From<Error> for Diagnostic {
    fn from(error: Error) -> Self {
        let record = Record::new(Level::ERROR, logger::ROOT, error.message);
        Self::new(record, error.place.map(|place| *place), error.hint.map(String::from))
    }
}

/// Collects diagnostics in the order in which upstream logs.
#[derive(Debug)]
pub(crate) struct Log {
    /// What matters less is not composed at all.
    pub(crate) from: Level,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl Default for Log {
    fn default() -> Self {
        Self { from: Level::HEAVYDEBUG, diagnostics: Vec::new() }
    }
}

impl Log {
    /// The level of what only `--test` shows, since upstream says nothing of the kind.
    pub(crate) const OWN: Level = Level(1);

    /// For what is said all the time and seldom heard.
    pub(crate) fn trace(&mut self, level: Level, logger: &'static str, message: impl FnOnce() -> String) {
        if level >= self.from {
            self.say(level, logger, message());
        }
    }

    pub(crate) fn say(&mut self, level: Level, logger: &'static str, message: String) {
        self.say_at(level, logger, message, None);
    }

    pub(crate) fn say_at(
        &mut self,
        level: Level,
        logger: &'static str,
        message: String,
        place: Option<Place>,
    ) {
        self.say_hint(level, logger, message, place, None);
    }

    /// With what to do about it.
    pub(crate) fn say_hint(
        &mut self,
        level: Level,
        logger: &'static str,
        message: String,
        place: Option<Place>,
        hint: Option<String>,
    ) {
        self.diagnostics.push(Diagnostic::new(Record::new(level, logger, message), place, hint));
    }

    /// An ERROR about `error`, in other words than its own.
    pub(crate) fn say_error(&mut self, logger: &'static str, message: String, error: Error) {
        let record = Record::new(Level::ERROR, logger, message);
        let place = error.place.map(|place| *place);
        self.diagnostics.push(Diagnostic::new(record, place, error.hint.map(String::from)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caret_stands_below_the_cause() {
        let place = Place {
            location: Location { path: "jail.local".into(), line: 12, column: 11 },
            line_text: "\tfilter = sshdd".into(),
        };
        let mut log = Log::default();
        let error = Error::value("x").at_place(Some(place)).hint("filter.d/sshdd.conf does not exist");
        log.say_error(logger::JAIL, "Unable to read the filter 'sshdd'".into(), error);
        assert_eq!(
            log.diagnostics[0].to_string(),
            "Unable to read the filter 'sshdd'\n  --> jail.local:12:11\n   |\n12 | \tfilter = sshdd\n   | \t         ^\n   = filter.d/sshdd.conf does not exist"
        );
    }
}
