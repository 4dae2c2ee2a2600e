//! What goes into the log: a level, who says it, and the text.

use std::fmt;
use std::str::FromStr;

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
    /// Notes that belong between DEBUG and INFO (`logging.MSG`, printed as INFO).
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

const NAMES: &[(&str, Level)] = &[
    ("CRITICAL", Level::CRITICAL),
    ("ERROR", Level::ERROR),
    ("WARNING", Level::WARNING),
    ("NOTICE", Level::NOTICE),
    ("INFO", Level::INFO),
    ("MSG", Level::MSG),
    ("DEBUG", Level::DEBUG),
    ("TRACEDEBUG", Level::TRACEDEBUG),
    ("HEAVYDEBUG", Level::HEAVYDEBUG),
];

/// The name by which the level stands in a log line; `Level 12` for a number without a name.
impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::MSG {
            return f.pad("INFO");
        }
        match NAMES.iter().find(|(_, level)| level == self) {
            Some((name, _)) => f.pad(name),
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
        let known = NAMES.iter().find(|(name, _)| *name == upper).map(|(_, level)| *level);
        known
            .or(match upper.as_str() {
                "FATAL" => Some(Self::CRITICAL),
                "WARN" => Some(Self::WARNING),
                "NOTSET" => Some(Self(0)),
                _ => None,
            })
            .ok_or_else(|| format!("Invalid log level {text:?}"))
    }
}

/// One message for the log, not yet bound to a time or a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// How much it matters.
    pub level: Level,
    /// Who says it, with upstream's module name: `filter`, `actions`, `server`.
    pub logger: &'static str,
    /// The text, without a line end.
    pub message: String,
}

impl Record {
    /// A message of `logger` at `level`.
    pub fn new(level: Level, logger: &'static str, message: impl Into<String>) -> Self {
        Self { level, logger, message: message.into() }
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
    }
}
