//! A journal that can't be opened or read.

use std::fmt;
use std::io;

/// What a function of the library has answered.
#[derive(Debug)]
#[non_exhaustive]
pub enum JournalError {
    /// There is no such library on this machine, or not all of it.
    NoLibrary(String),
    /// Parameters that the library refuses; prints as Python's `ValueError`.
    Invalid(&'static str),
    /// A file became shorter while it was read. The journal has to be opened anew.
    CutShort,
    /// Anything else.
    System(io::Error),
}

impl JournalError {
    /// Whether it is what a file holds that keeps it from being read.
    pub fn is_of_content(&self) -> bool {
        match self {
            Self::NoLibrary(_) | Self::Invalid(_) => false,
            Self::CutShort => true,
            Self::System(error) => {
                !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
            }
        }
    }

    /// What the negative `result` of a function means; `invalid` is said of parameters that it refuses.
    pub(crate) fn of(result: i32, invalid: &'static str) -> Self {
        match nix::errno::Errno::from_raw(-result) {
            nix::errno::Errno::EINVAL => Self::Invalid(invalid),
            errno => Self::System(errno.into()),
        }
    }
}

/// As Python prints it.
impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLibrary(reason) => f.write_str(reason),
            Self::Invalid(text) => f.write_str(text),
            Self::CutShort => f.write_str("a journal file was cut short while it was read"),
            Self::System(error) => match error.raw_os_error() {
                Some(number) => {
                    write!(f, "[Errno {number}] {}", nix::errno::Errno::from_raw(number).desc())
                }
                None => error.fmt(f),
            },
        }
    }
}

impl std::error::Error for JournalError {}
