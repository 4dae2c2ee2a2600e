//! What is wrong with a pattern, in the words of Python's `re.error`.

use std::error::Error;
use std::fmt;

/// A pattern that Python refuses, or one that is too much for the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DialectError {
    /// What is wrong, without the place.
    pub message: String,
    /// The character of the pattern at which it went wrong.
    pub position: Option<usize>,
    /// The pattern.
    pub pattern: String,
}

impl DialectError {
    pub(crate) fn new(message: impl Into<String>, position: Option<usize>, pattern: &str) -> Self {
        Self { message: message.into(), position, pattern: pattern.into() }
    }
}

/// Prints what Python's `str()` of the exception gives; line and column appear when the pattern has several lines.
impl fmt::Display for DialectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let Some(position) = self.position else { return Ok(()) };
        write!(f, " at position {position}")?;
        if self.pattern.contains('\n') {
            let before: Vec<char> = self.pattern.chars().take(position).collect();
            let line = before.iter().filter(|c| **c == '\n').count() + 1;
            let column = before.iter().rev().take_while(|c| **c != '\n').count() + 1;
            write!(f, " (line {line}, column {column})")?;
        }
        Ok(())
    }
}

impl Error for DialectError {}
