//! What can go wrong with the database.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// A database that can't be opened, read or written.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// The directory of the file is not there and can't be created.
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file can't be opened, or is no database and can't be replaced by one.
    Open {
        /// The file.
        filename: String,
        /// What SQLite says.
        error: rusqlite::Error,
    },
    /// A damaged or outdated file can't be put aside.
    Backup {
        /// The file.
        filename: String,
        /// Why.
        error: io::Error,
    },
    /// The file was written by a later release.
    Future {
        /// The file.
        filename: String,
        /// The version of its schema.
        version: i64,
    },
    /// The database is open, but something can't be read or written.
    Query {
        /// What was to be done.
        doing: &'static str,
        /// What SQLite says.
        error: rusqlite::Error,
    },
}

impl StoreError {
    /// Somebody else has locked the file: the same may work a little later.
    pub fn is_busy(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
        let (Self::Query { error, .. } | Self::Open { error, .. }) = self else { return false };
        matches!(error.sqlite_error_code(), Some(DatabaseBusy | DatabaseLocked))
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Open { filename, error } => write!(f, "{filename}: {}", message(error)),
            Self::Backup { filename, error } => write!(f, "{filename}: no backup: {error}"),
            Self::Future { filename, version } => write!(
                f,
                "{filename}: Attempt to travel to future version of database ...how did you get here?? \
                 (version {version})"
            ),
            Self::Query { doing, error } => write!(f, "database: {doing}: {}", message(error)),
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Directory { error, .. } | Self::Backup { error, .. } => Some(error),
            Self::Open { error, .. } | Self::Query { error, .. } => Some(error),
            Self::Future { .. } => None,
        }
    }
}

/// SQLite's own words, which are those that Python prints.
pub(crate) fn message(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        error => error.to_string(),
    }
}

/// Adds to an error what was to be done.
pub(crate) trait Doing<T> {
    fn doing(self, what: &'static str) -> Result<T, StoreError>;
}

impl<T> Doing<T> for rusqlite::Result<T> {
    fn doing(self, what: &'static str) -> Result<T, StoreError> {
        self.map_err(|error| StoreError::Query { doing: what, error })
    }
}
