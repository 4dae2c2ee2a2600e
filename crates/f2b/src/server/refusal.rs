//! What the server refuses of a jail's commands, told beforehand: a test of the configuration and the server itself have to
//! agree.

use std::thread;
use std::time::Duration;

use f2b_config::{NamedValues, extract_options};
use f2b_journal::{Broken, Journal, JournalError, Source, SourceError};
use f2b_protocol::{Command, Exception, Value};

use super::errors::{journal_error, type_error, value_error};
use super::jail_options::ignore_cache;
use super::options::{action_settings, list_of};
use super::words::{Words, id};

/// How often a journal is opened before it is certain that it can't be, and the pause in between.
const TRIES: usize = 15;
const PAUSE: Duration = Duration::from_millis(20);

/// A command that the server would refuse.
pub(crate) struct Refusal {
    /// The option that has become the command.
    pub(crate) option: &'static str,
    /// The part of its value that is wrong.
    pub(crate) text: String,
    /// Why.
    pub(crate) message: String,
}

/// What follows the logs of a jail.
pub(super) struct Backend {
    pub(super) name: &'static str,
    /// Its parameters.
    pub(super) options: NamedValues,
    /// Where the journal is, if it follows that.
    pub(super) journal: Option<Source>,
}

/// A backend that can't follow a jail.
pub(super) enum BackendError {
    /// What it needs is not on this machine; the text says what that is.
    Missing(&'static str, String),
    /// No such backend.
    Unknown(String),
    /// Its parameters are wrong.
    Unusable(Exception),
}

/// The backend of that name, parameters in brackets and all.
pub(super) fn backend_named(backend: &str) -> Result<Backend, BackendError> {
    let (wanted, options) =
        extract_options(backend).map_err(|error| BackendError::Unusable(value_error(error.to_string())))?;
    let wanted = wanted.to_lowercase();
    let (name, journal) = match wanted.as_str() {
        "auto" | "pyinotify" => ("pyinotify", without_parameters("FilterPyinotify", &options)?),
        "polling" => ("polling", without_parameters("FilterPoll", &options)?),
        "systemd" => ("systemd", Some(journal_of(&options)?)),
        _ => {
            let known = "['pyinotify', 'polling', 'systemd'] or 'auto'";
            return Err(BackendError::Unknown(format!("Unknown backend {wanted}. Must be among {known}")));
        }
    };
    Ok(Backend { name, options, journal })
}

/// What follows files takes no parameters.
fn without_parameters(class: &str, options: &NamedValues) -> Result<Option<Source>, BackendError> {
    let Some((name, _)) = options.first() else { return Ok(None) };
    let name = Value::from(name.as_str());
    let message = format!("{class}.__init__() got an unexpected keyword argument {name}");
    Err(BackendError::Unusable(type_error(message)))
}

/// The journal by the parameters of the backend, once it could be opened, or for as long as there are files.
fn journal_of(options: &NamedValues) -> Result<Source, BackendError> {
    f2b_journal::load().map_err(|error| BackendError::Missing("systemd", error.to_string()))?;
    let source = Source::parse(options).map_err(|error| {
        let message = error.to_string();
        BackendError::Unusable(match error {
            SourceError::UnknownParameter(_) => type_error(message),
            _ => value_error(message),
        })
    })?;
    match open(&source) {
        Ok(_) => Ok(source),
        // It is broken. Another one is going to take its place, and the reader waits for that.
        Err(error) if error.is_of_content() && source.finds_files() => Ok(source),
        Err(error) => Err(BackendError::Unusable(journal_error(&error))),
    }
}

/// Opens a journal. A file that is being begun, or rotated, can't be opened for a moment.
fn open(source: &Source) -> Result<Journal, JournalError> {
    for _ in 0..TRIES {
        if let Ok(journal) = Journal::follow(source, None, Broken::Refused) {
            return Ok(journal);
        }
        thread::sleep(PAUSE);
    }
    Journal::follow(source, None, Broken::LeftOutAfter(Duration::ZERO))
}

/// Why the server would refuse a command, if it would for another reason than what an expression, a duration or a file
/// is like.
pub(crate) fn refusal(command: &Command) -> Option<Refusal> {
    let words = command.0.get(3..).unwrap_or_default();
    let refused = |option, text: String, error: Exception| {
        let message = error.args.first().map(Value::to_text).unwrap_or_default();
        Refusal { option, text, message: format!("{option}: {message}") }
    };
    match (command.word(0)?, command.word(2)?) {
        ("add", backend) => {
            let message = match backend_named(backend).err()? {
                BackendError::Missing(name, reason) => {
                    format!("the backend '{name}' can't be used: {reason}")
                }
                BackendError::Unknown(message) => message,
                BackendError::Unusable(exception) => {
                    exception.args.last().map(Value::to_text).unwrap_or_default()
                }
            };
            Some(Refusal { option: "backend", text: backend.into(), message })
        }
        ("set", "ignorecache") => {
            let text = words.first().map(Value::to_text).unwrap_or_default();
            ignore_cache(Words::new(words)).err().map(|error| refused("ignorecache", text, error))
        }
        ("set", "addignoreip") => words.iter().find_map(|word| {
            let entry = word.as_str()?;
            let known = list_of(entry).and_then(|list| list.map_or_else(|| id(entry).map(drop), |_| Ok(())));
            known.err().map(|error| refused("ignoreip", entry.into(), error))
        }),
        ("multi-set", "action") => {
            let name = words.first().map(Value::to_text).unwrap_or_default();
            let settings = words.get(1).and_then(Value::as_items)?;
            action_settings(settings).err().map(|error| refused("action", name, error))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_that_follows_files_takes_no_parameters() {
        for (backend, class) in [
            ("polling[x=1, y=2]", "FilterPoll"),
            ("pyinotify[x=1]", "FilterPyinotify"),
            ("Auto[x=1]", "FilterPyinotify"),
        ] {
            let Err(BackendError::Unusable(error)) = backend_named(backend) else { panic!("{backend}") };
            let message = format!("{class}.__init__() got an unexpected keyword argument 'x'");
            assert_eq!(error, type_error(message), "{backend}");
        }
        for backend in ["polling[]", "pyinotify", "auto[]"] {
            assert!(backend_named(backend).is_ok_and(|backend| backend.journal.is_none()), "{backend}");
        }
    }
}
