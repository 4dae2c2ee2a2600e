//! What can go wrong with an action.

use std::error::Error;
use std::fmt;

use f2b_protocol::{Exception, Value};
use f2b_types::DurationError;

use crate::smtp::MailError;
use crate::tags::TagError;

/// An action that could not be found, set or carried out. Prints the text of upstream's exception.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ActionError {
    /// There is an action of this name.
    Exists(String),
    /// There is no action of this name.
    Unknown(String),
    /// An action has no such property.
    NoProperty {
        /// What upstream calls this kind of action.
        class: &'static str,
        /// The property.
        name: String,
    },
    /// What bears this name is no property that could be set.
    NotSettable(String),
    /// The options of a new action are not what its kind takes.
    Options(String),
    /// A new action has no option of this name.
    Argument(String),
    /// A mail could not be sent.
    Mail(MailError),
    /// An action written in Python raised an exception.
    Raised(Box<Raised>),
    /// The process of an action written in Python can't be started, or is of no use any more.
    Child {
        /// What was to be done: `ban`, `start`.
        doing: String,
        /// Why it was not.
        reason: String,
    },
    /// A call whose arguments are not those of the method.
    Call(String),
    /// What a client tells of a ban lacks this entry.
    NoKey(String),
    /// A property needs a value to be set to.
    NoValue,
    /// A timeout that is no duration.
    Timeout(DurationError),
    /// The properties can't be resolved.
    Tags(TagError),
    /// A family whose name would have to be quoted in a command.
    Family(String),
    /// A command with a NUL, which no process can be given.
    Nul,
    /// The command for one ban failed.
    Ban {
        /// What was to be done: `banning`, `unbanning`, `prolonging`.
        doing: &'static str,
        /// Whom.
        ip: String,
    },
    /// A command of the action as a whole failed.
    Operation {
        /// What was to be done: `starting`, `stopping`, `flushing`, `reloading`.
        doing: &'static str,
        /// The jail.
        jail: String,
        /// The action.
        action: String,
        /// Why, unless it was the script.
        reason: Option<Box<ActionError>>,
    },
}

/// An exception of an action written in Python.
#[derive(Debug, Clone, PartialEq)]
pub struct Raised {
    /// The exception, as a client gets it.
    pub exception: Exception,
    /// Its text, Python's `str`.
    pub text: String,
    /// The way to the place where it was raised, Python's traceback.
    pub trace: String,
}

impl ActionError {
    /// Where in an action written in Python it happened, for whoever looks for the fault.
    pub fn trace(&self) -> Option<&str> {
        match self {
            Self::Raised(raised) => Some(&raised.trace),
            _ => None,
        }
    }

    /// The exception that upstream raises.
    pub fn to_exception(&self) -> Exception {
        let class = match self {
            Self::Raised(raised) => return raised.exception.clone(),
            Self::NoValue => "IndexError",
            Self::Unknown(_) | Self::NoKey(_) => "KeyError",
            Self::NoProperty { .. } | Self::NotSettable(_) => "AttributeError",
            Self::Family(_) | Self::Argument(_) | Self::Call(_) => "TypeError",
            Self::Exists(_) | Self::Options(_) | Self::Timeout(_) | Self::Tags(_) | Self::Nul => "ValueError",
            Self::Ban { .. } | Self::Operation { .. } | Self::Mail(_) | Self::Child { .. } => "RuntimeError",
        };
        Exception::new("builtins", class, self.to_string())
    }
}

impl fmt::Display for ActionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists(name) => write!(f, "Action {name} already exists"),
            Self::Unknown(name) => write!(f, "Invalid Action name: {name}"),
            Self::NoProperty { class, name } => write!(f, "'{class}' object has no attribute '{name}'"),
            Self::Options(text) | Self::Call(text) | Self::NoKey(text) => f.write_str(text),
            Self::Argument(name) => {
                write!(f, "SMTPAction.__init__() got an unexpected keyword argument '{name}'")
            }
            Self::Mail(error) => error.fmt(f),
            Self::Raised(raised) => f.write_str(&raised.text),
            Self::Child { doing, reason } => write!(f, "{doing}: {reason}"),
            Self::NoValue => f.write_str("list index out of range"),
            Self::NotSettable(name) => write!(f, "can't set attribute '{name}'"),
            Self::Timeout(error) => error.fmt(f),
            Self::Tags(error) => error.fmt(f),
            Self::Family(name) => {
                write!(f, "the family {} can't stand in a command", Value::from(name.as_str()))
            }
            Self::Nul => f.write_str("embedded null byte"),
            Self::Ban { doing, ip } => write!(f, "Error {doing} {ip}"),
            Self::Operation { doing, jail, action, reason } => {
                let jail = Value::from(jail.as_str());
                write!(f, "Error {doing} action Jail({jail})/{action}: ")?;
                match reason {
                    None => f.write_str("'Script error'"),
                    Some(reason) => reason.to_exception().fmt(f),
                }
            }
        }
    }
}

impl Error for ActionError {}

impl From<TagError> for ActionError {
    fn from(error: TagError) -> Self {
        Self::Tags(error)
    }
}

impl From<DurationError> for ActionError {
    fn from(error: DurationError) -> Self {
        Self::Timeout(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_as_upstream_writes_them() {
        let error = |reason| ActionError::Operation {
            doing: "starting",
            jail: "sshd".into(),
            action: "iptables".into(),
            reason,
        };
        assert_eq!(error(None).to_string(), "Error starting action Jail('sshd')/iptables: 'Script error'");
        assert_eq!(
            error(Some(Box::new(ActionError::Nul))).to_string(),
            "Error starting action Jail('sshd')/iptables: ValueError('embedded null byte')"
        );
        assert_eq!(
            ActionError::Unknown("x".into()).to_exception().to_string(),
            "KeyError('Invalid Action name: x')"
        );
    }
}
