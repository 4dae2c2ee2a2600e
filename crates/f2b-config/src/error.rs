//! What stops a part of the reading.
//!
//! Upstream stops by exceptions. Here they are values that keep the class, because some classes are caught where others
//! pass, and because the words of one message depend on the `repr` of another exception.

use std::error;
use std::fmt;

use crate::python::repr;
use crate::source::{Location, Place};

/// Which of upstream's exceptions an [`Error`] stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// `configparser.Error` and its kind: syntax, interpolation, a missing section or option.
    Config,
    /// `JailDefError`: the jail is left out, the others are read on.
    Jail,
    /// `LookupError`: a main file could not be read.
    Lookup,
    /// `TypeError`: a value that is no text stands where one is interpolated.
    Type,
    /// `ValueError`.
    Value,
}

/// Why reading stopped, in upstream's words, and where the cause stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
    pub(crate) place: Option<Box<Place>>,
    pub(crate) hint: Option<Box<str>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), place: None, hint: None }
    }

    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    pub(crate) fn value(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Value, message)
    }

    /// The cause stands at `place`, unless a nearer cause is known already.
    pub(crate) fn at_place(mut self, place: Option<Place>) -> Self {
        self.place = self.place.or(place.map(Box::new));
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into().into_boxed_str());
        self
    }

    /// Another error that this one caused: it has the same place and hint.
    pub(crate) fn wrapped(self, kind: ErrorKind, message: String) -> Self {
        Self { kind, message, ..self }
    }

    /// The class of the exception.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Where the cause stands.
    pub fn at(&self) -> Option<&Location> {
        self.place.as_ref().map(|place| &place.location)
    }

    /// Python's `repr` of the exception.
    pub(crate) fn repr(&self) -> String {
        let class = match self.kind {
            ErrorKind::Config => return self.message.clone(),
            ErrorKind::Jail => "JailDefError",
            ErrorKind::Lookup => "LookupError",
            ErrorKind::Type => "TypeError",
            ErrorKind::Value => "ValueError",
        };
        format!("{class}({})", repr(&self.message))
    }
}

/// Prints the message alone, as `str()` of the exception does.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl error::Error for Error {}
