//! One action of a jail, of whatever kind.
//!
//! Upstream: what `actions.Actions` asks of an `action.ActionBase`, and skips where an object lacks the method.

use f2b_protocol::Value;
use f2b_types::Ticket;

use crate::command::{self, CommandAction, Repair};
use crate::error::ActionError;
use crate::info::BanInfo;
use crate::mail::{self, MailAction};
use crate::properties::METHODS;
use crate::python::PythonAction;
use crate::run::Run;
use crate::told::Arguments;

/// One action of a jail.
#[derive(Debug)]
pub(crate) enum Action {
    /// Runs commands.
    Command(Box<CommandAction>),
    /// Sends mails.
    Mail(MailAction),
    /// Is written in Python.
    Python(Box<PythonAction>),
}

impl Action {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Command(action) => action.name(),
            Self::Mail(action) => action.name(),
            Self::Python(action) => action.name(),
        }
    }

    /// The value of a property.
    pub(crate) fn get(&mut self, property: &str, run: &Run<'_>) -> Result<Value, ActionError> {
        match self {
            Self::Command(action) => action.get(property),
            Self::Mail(action) => action.get(property),
            Self::Python(action) => action.get(property, run),
        }
    }

    /// The names of all properties, in Python's order.
    pub(crate) fn properties(&mut self, run: &Run<'_>) -> Result<Vec<String>, ActionError> {
        let names = match self {
            Self::Command(action) => action.properties(),
            Self::Mail(action) => action.properties(),
            Self::Python(action) => return action.names(false, run),
        };
        Ok(names.into_iter().map(str::to_owned).collect())
    }

    /// The names of what it can do (`get J actionmethods A`).
    pub(crate) fn methods(&mut self, run: &Run<'_>) -> Result<Vec<String>, ActionError> {
        let names = match self {
            Self::Command(_) => METHODS,
            Self::Mail(action) => action.methods(),
            Self::Python(action) => return action.names(true, run),
        };
        Ok(names.iter().map(|name| (*name).to_owned()).collect())
    }

    /// Bans from before this epoch of the jail have to be repeated in this action.
    pub(crate) fn epoch(&self) -> u64 {
        match self {
            Self::Command(action) => action.epoch(),
            Self::Mail(_) | Self::Python(_) => 0,
        }
    }

    pub(crate) fn set(&mut self, property: &str, value: Value, run: &Run<'_>) -> Result<(), ActionError> {
        match self {
            Self::Command(action) => action.set(property, value, run.context),
            Self::Mail(action) => action.set(property, value),
            Self::Python(action) => action.tell(property, Some(&value), run).map(drop),
        }
    }

    /// Calls a method, with arguments in JSON if there are any, or sets a property; what comes of it.
    pub(crate) fn tell(
        &mut self,
        name: &str,
        value: Option<Value>,
        run: &mut Run<'_>,
    ) -> Result<Value, ActionError> {
        match self {
            Self::Command(_) if METHODS.contains(&name) => self.call(name, value.as_ref(), run),
            Self::Mail(mail) if mail.methods().contains(&name) => self.call(name, value.as_ref(), run),
            Self::Python(_) => self.call(name, value.as_ref(), run),
            _ => {
                self.set(name, value.ok_or(ActionError::NoValue)?, run)?;
                self.get(name, run)
            }
        }
    }

    /// Whether bans that come from the database are none of its business.
    pub(crate) fn skips(&self, ticket: &Ticket) -> bool {
        match self {
            Self::Command(action) => action.skips(ticket),
            Self::Mail(_) => ticket.restored,
            Self::Python(action) => action.skips(ticket),
        }
    }

    pub(crate) fn is_prolongable(&self) -> bool {
        match self {
            Self::Command(action) => action.is_prolongable(),
            Self::Mail(_) => false,
            Self::Python(action) => action.is_prolongable(),
        }
    }

    pub(crate) fn can_flush(&self) -> bool {
        match self {
            Self::Command(action) => action.can_flush(),
            Self::Mail(_) => false,
            Self::Python(action) => action.has("flush"),
        }
    }

    pub(crate) fn start(&mut self, run: &mut Run<'_>) -> Result<(), ActionError> {
        match self {
            Self::Command(action) => action.start(run),
            Self::Mail(action) => action.start(run),
            Self::Python(action) => action.start(run),
        }
    }

    pub(crate) fn stop(&mut self, run: &mut Run<'_>) -> Result<(), ActionError> {
        match self {
            Self::Command(action) => action.stop(run),
            Self::Mail(action) => action.stop(run),
            Self::Python(action) => action.stop(run),
        }
    }

    pub(crate) fn ban(&mut self, info: &BanInfo<'_>, run: &mut Run<'_>) -> Result<(), ActionError> {
        match self {
            Self::Command(action) => action.ban(info, run),
            Self::Mail(action) => action.ban(info, run),
            Self::Python(action) => action.about("ban", info, run),
        }
    }

    pub(crate) fn reban(&mut self, info: &BanInfo<'_>, run: &mut Run<'_>) -> Result<(), ActionError> {
        match self {
            Self::Command(action) => action.reban(info, run),
            Self::Mail(action) => action.ban(info, run),
            Self::Python(action) => action.about("reban", info, run),
        }
    }

    pub(crate) fn prolong(&mut self, info: &BanInfo<'_>, run: &mut Run<'_>) -> Result<(), ActionError> {
        match self {
            Self::Command(action) => action.prolong(info, run),
            Self::Mail(_) => Ok(()),
            Self::Python(action) => action.about("prolong", info, run),
        }
    }

    pub(crate) fn unban(&mut self, info: &BanInfo<'_>, run: &mut Run<'_>) -> Result<(), ActionError> {
        match self {
            Self::Command(action) => action.unban(info, run),
            Self::Mail(_) => Ok(()),
            Self::Python(action) => action.about("unban", info, run),
        }
    }

    /// Ends all bans at once; false if they have to be ended one by one nevertheless.
    pub(crate) fn flush(&mut self, run: &mut Run<'_>) -> Result<bool, ActionError> {
        match self {
            Self::Command(action) => action.flush(run).map(|()| true),
            Self::Mail(_) => Ok(true),
            Self::Python(action) => action.call("flush", run),
        }
    }

    pub(crate) fn reload(&mut self, run: &mut Run<'_>) -> Result<(), ActionError> {
        match self {
            Self::Command(action) => action.reload(run),
            Self::Mail(_) => Ok(()),
            Self::Python(action) => action.reload(run),
        }
    }

    /// Whether it can find out if its environment is in order.
    pub(crate) fn can_check(&self) -> bool {
        match self {
            Self::Command(_) => true,
            Self::Mail(_) => false,
            Self::Python(action) => action.has("consistencyCheck"),
        }
    }

    /// Asks whether its environment is in order, and lets it repair what is broken; false if something stays broken.
    pub(crate) fn check_consistency(
        &mut self,
        repair: Repair,
        run: &mut Run<'_>,
    ) -> Result<bool, ActionError> {
        match self {
            Self::Command(action) => action.check_consistency(repair, run),
            Self::Mail(_) => Ok(true),
            Self::Python(action) if action.has("consistencyCheck") => action.call("consistencyCheck", run),
            Self::Python(_) => Ok(true),
        }
    }

    /// Calls a method, with arguments in JSON if there are any, and gives what it returns.
    fn call(
        &mut self,
        method: &str,
        arguments: Option<&Value>,
        run: &mut Run<'_>,
    ) -> Result<Value, ActionError> {
        match self {
            Self::Command(action) => {
                let arguments = Arguments::parse(command::CLASS, method, arguments)?;
                action.call(method, &arguments, run)
            }
            Self::Mail(action) => {
                let arguments = Arguments::parse(mail::CLASS, method, arguments)?;
                action.call(method, &arguments, run)
            }
            Self::Python(action) => action.tell(method, arguments, run),
        }
    }
}
