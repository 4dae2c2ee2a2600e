//! Settings that are words.

use std::fmt;

/// What to do with a host name in a line (`usedns`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UseDns {
    /// Resolve it.
    Yes,
    /// Resolve it and warn.
    #[default]
    Warn,
    /// Expect addresses only.
    No,
    /// Take it as it is.
    Raw,
}

impl UseDns {
    /// Reads a word in any case; `None` for an unknown one, in whose place upstream takes `no`.
    pub fn parse(word: &str) -> Option<Self> {
        match word.to_lowercase().as_str() {
            "yes" => Some(Self::Yes),
            "warn" => Some(Self::Warn),
            "no" => Some(Self::No),
            "raw" => Some(Self::Raw),
            _ => None,
        }
    }
}

impl fmt::Display for UseDns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Yes => "yes",
            Self::Warn => "warn",
            Self::No => "no",
            Self::Raw => "raw",
        })
    }
}
