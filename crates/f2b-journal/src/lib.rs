//! The journal of systemd as a source of lines.
//!
//! | step | module | upstream's counterpart |
//! |---|---|---|
//! | which files, by the parameters of the backend | [`Source`] | `FilterSystemd._getJournalArgs`, `_globJournalFiles` |
//! | open, match, seek, read, wait | [`Journal`] | `systemd.journal.Reader` |
//! | an entry to a line as syslog would have it | [`Entry::line`] | `FilterSystemd.formatJournalEntry` |
//! | the functions of the library | `sd` | |
//! | files that are cut short meanwhile | `cut` | |
//!
//! `libsystemd.so.0` is loaded when the first journal is opened. Neither building nor anything else needs it. Whatever is
//! unsafe about that stands in `sd` and `cut`.
//!
//! A [`Journal`] belongs to the thread that opened it, as its library demands; that it can't be sent elsewhere is checked by
//! the compiler.

mod cut;
mod entry;
mod error;
mod journal;
mod sd;
mod source;

pub use crate::entry::{Entry, EntryLine};
pub use crate::error::JournalError;
pub use crate::journal::{Journal, News, alternatives, is_valid_match, received};
pub use crate::sd::load;
pub use crate::source::{Broken, Source, SourceError};
