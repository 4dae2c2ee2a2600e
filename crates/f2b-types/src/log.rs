//! What goes into the log: a level, who says it, and the text.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

/// Python's numeric log levels with the names that fail2ban gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Level(pub u8);

impl Level {
    /// Everything there is.
    pub const HEAVYDEBUG: Self = Self(5);
    /// What happens to each line.
    pub const TRACEDEBUG: Self = Self(7);
    /// For whoever looks for a fault.
    pub const DEBUG: Self = Self(10);
    /// Notes that belong between DEBUG and INFO (`logging.MSG`).
    pub const MSG: Self = Self(18);
    /// What the server does.
    pub const INFO: Self = Self(20);
    /// Bans and unbans.
    pub const NOTICE: Self = Self(25);
    /// Something wants attention.
    pub const WARNING: Self = Self(30);
    /// Something failed.
    pub const ERROR: Self = Self(40);
    /// The server can't go on as it should.
    pub const CRITICAL: Self = Self(50);
}

/// Names as they are read and as they are printed.
const NAMES: &[(&str, &str, Level)] = &[
    ("CRITICAL", "CRITICAL", Level::CRITICAL),
    ("ERROR", "ERROR", Level::ERROR),
    ("WARNING", "WARNING", Level::WARNING),
    ("NOTICE", "NOTICE", Level::NOTICE),
    ("INFO", "INFO", Level::INFO),
    ("MSG", "MSG", Level::MSG),
    ("DEBUG", "DEBUG", Level::DEBUG),
    ("TRACEDEBUG", "TRACE", Level::TRACEDEBUG),
    ("HEAVYDEBUG", "HEAVY", Level::HEAVYDEBUG),
    ("FATAL", "CRITICAL", Level::CRITICAL),
    ("WARN", "WARNING", Level::WARNING),
    ("NOTSET", "NOTSET", Level(0)),
];

/// The name by which the level stands in a log line; `#12-Lev.` for a number without a name.
impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, _, level)| level == self) {
            Some((_, name, _)) => f.pad(name),
            None if self.0 < 50 => f.pad(&format!("#{:02}-Lev.", self.0)),
            None => f.pad(&format!("Level {}", self.0)),
        }
    }
}

/// Reads a name in any case or a number (`helpers.str2LogLevel`).
impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(number) = text.parse::<u8>() {
            return Ok(Self(number));
        }
        let upper = text.to_uppercase();
        let known = NAMES.iter().find(|(name, _, _)| *name == upper);
        known.map(|(_, _, level)| *level).ok_or_else(|| format!("Invalid log level {text:?}"))
    }
}

/// One message for the log, not yet bound to a time or a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// How much it matters.
    pub level: Level,
    /// Who says it, with upstream's module name: `filter`, `actions`, `server`.
    pub logger: Cow<'static, str>,
    /// The text, without a line end.
    pub message: String,
}

impl Record {
    /// A message of `logger` at `level`.
    pub fn new(level: Level, logger: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { level, logger: logger.into(), message: message.into() }
    }
}

/// Where records go. The server writes them to its log target, tests collect them.
pub trait Log: Send + Sync {
    /// Whether records of this level are wanted; ask before composing a costly message.
    fn enabled(&self, level: Level) -> bool;

    /// Takes one record.
    fn write(&self, record: Record);

    /// Takes several that are there at the same time.
    fn write_all(&self, records: Vec<Record>) {
        records.into_iter().for_each(|record| self.write(record));
    }
}

/// Collects records of every level, for tests.
#[derive(Debug, Default)]
pub struct Recorder(Mutex<Vec<Record>>);

impl Recorder {
    /// The messages so far, oldest first, each as `LEVEL message`.
    pub fn lines(&self) -> Vec<String> {
        let records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        records.iter().map(|record| format!("{} {}", record.level, record.message)).collect()
    }
}

impl Log for Recorder {
    fn enabled(&self, _: Level) -> bool {
        true
    }

    fn write(&self, record: Record) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_by_name_and_by_number() {
        assert_eq!("notice".parse(), Ok(Level::NOTICE));
        assert_eq!("20".parse(), Ok(Level::INFO));
        assert_eq!("loud".parse::<Level>(), Err("Invalid log level \"loud\"".into()));
        assert_eq!(format!("{:<7}|", Level::INFO), "INFO   |");
        assert_eq!(
            (Level::HEAVYDEBUG.to_string(), Level(12).to_string()),
            ("HEAVY".into(), "#12-Lev.".into())
        );
    }
}
