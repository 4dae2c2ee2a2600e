//! What the server refuses of a jail's commands, told beforehand: a test of the configuration and the server itself have to
//! agree.

use f2b_protocol::{Command, Exception, Value};

use super::jail_options::ignore_cache;
use super::options::list_of;
use super::words::Words;

/// A command that the server would refuse.
pub(crate) struct Refusal {
    /// The option that has become the command.
    pub(crate) option: &'static str,
    /// The part of its value that is wrong.
    pub(crate) text: String,
    /// Why.
    pub(crate) message: String,
}

/// A backend that can't follow a jail.
pub(super) enum BackendError {
    /// The name is known, but this version has no such backend.
    Missing(&'static str),
    /// No such backend.
    Unknown(String),
}

/// The backend of that name, parameters in brackets and all.
pub(super) fn backend_named(backend: &str) -> Result<&'static str, BackendError> {
    let wanted = backend.split('[').next().unwrap_or_default().trim().to_lowercase();
    match wanted.as_str() {
        "auto" | "pyinotify" => Ok("pyinotify"),
        "polling" => Ok("polling"),
        "systemd" => Err(BackendError::Missing("systemd")),
        _ => {
            let known = "['pyinotify', 'polling', 'systemd'] or 'auto'";
            Err(BackendError::Unknown(format!("Unknown backend {wanted}. Must be among {known}")))
        }
    }
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
                BackendError::Missing(name) => format!("the backend '{name}' is not part of this version"),
                BackendError::Unknown(message) => message,
            };
            Some(Refusal { option: "backend", text: backend.into(), message })
        }
        ("set", "ignorecache") => {
            let text = words.first().map(Value::to_text).unwrap_or_default();
            ignore_cache(Words::new(words)).err().map(|error| refused("ignorecache", text, error))
        }
        ("set", "addignoreip") => words.iter().find_map(|word| {
            let entry = word.as_str()?;
            list_of(entry).err().map(|error| refused("ignoreip", entry.into(), error))
        }),
        _ => None,
    }
}
