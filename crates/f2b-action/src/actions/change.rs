//! How actions are added, changed and asked while a jail is set up, lives and reloads.
//!
//! Upstream: `actions.Actions.add` and `reload`, and what `transmitter.py` does with an action.

use f2b_protocol::Value;
use f2b_types::Ticket;

use super::Actions;
use crate::action::Action;
use crate::command::CommandAction;
use crate::context::Context;
use crate::error::ActionError;
use crate::mail::MailAction;
use crate::python::{Outside, PythonAction, Source};
use crate::run::Run;

/// What a reload that goes on has asked for so far, by name.
#[derive(Debug, Default)]
pub(super) struct Reload {
    kept: Vec<String>,
    new: Vec<String>,
    /// Those whose name belongs to a new one already.
    replaced: Vec<Action>,
}

impl Actions {
    /// Adds an action that runs commands. During a reload one that is there already is kept, with its commands emptied.
    ///
    /// # Errors
    ///
    /// [`ActionError::Exists`].
    pub fn add(&mut self, name: &str, context: &Context<'_>) -> Result<(), ActionError> {
        match self.position(name).ok().map(|index| &mut self.actions[index]) {
            None => self.actions.push(Action::Command(Box::new(CommandAction::new(name, context)))),
            Some(Action::Command(known)) if self.reloading.is_some() => {
                known.reset();
                self.note_reloaded(name, true);
                return Ok(());
            }
            Some(_) => return Err(ActionError::Exists(name.into())),
        }
        self.note_reloaded(name, false);
        Ok(())
    }

    /// Adds an action that sends mails, with its options as an object in JSON. During a reload one that is there already
    /// is kept, with these options.
    ///
    /// # Errors
    ///
    /// [`ActionError::Exists`], [`ActionError::Options`] or [`ActionError::Argument`].
    pub fn add_mail(&mut self, name: &str, options: &str) -> Result<(), ActionError> {
        let known = self.position(name).ok();
        match known.map(|index| &mut self.actions[index]) {
            None => self.actions.push(Action::Mail(MailAction::new(name, options)?)),
            Some(Action::Mail(mail)) if self.reloading.is_some() => *mail = MailAction::new(name, options)?,
            Some(_) => return Err(ActionError::Exists(name.into())),
        }
        self.note_reloaded(name, known.is_some());
        Ok(())
    }

    /// Adds the action that is written in Python in `file`, with the arguments of its class as an object in JSON;
    /// `outside` is whom it reaches, also between two calls. During a reload one that is there already is kept if it can take the new
    /// arguments or nothing has changed. Otherwise it is replaced, once the new one is made.
    ///
    /// # Errors
    ///
    /// [`ActionError::Exists`], [`ActionError::Child`], or what the file raises.
    pub fn add_python(
        &mut self,
        name: &str,
        (file, options): (&str, &str),
        outside: &Outside,
        context: &Context<'_>,
    ) -> Result<(), ActionError> {
        let source = Source::new(file, options);
        let known = self.position(name).ok();
        if let Some(index) = known {
            if self.reloading.is_none() || !matches!(self.actions[index], Action::Python(_)) {
                return Err(ActionError::Exists(name.into()));
            }
            // Whatever goes wrong from here on, the old one is better than none.
            self.note_reloaded(name, true);
            let run = Run { jail: &self.jail, context, epoch: &mut self.epoch };
            if let Action::Python(action) = &mut self.actions[index]
                && action.takes_over(&source, &run)?
            {
                return Ok(());
            }
        }
        let run = Run { jail: &self.jail, context, epoch: &mut self.epoch };
        let action = Action::Python(Box::new(PythonAction::new(name, source, outside, &run)?));
        let old = match known {
            Some(index) => Some(std::mem::replace(&mut self.actions[index], action)),
            None => {
                self.actions.push(action);
                None
            }
        };
        if let Some(Reload { kept, replaced, .. }) = &mut self.reloading {
            kept.retain(|known| known != name);
            replaced.extend(old);
        }
        self.note_reloaded(name, false);
        Ok(())
    }

    /// The reload, if one is under way, has asked for this action.
    fn note_reloaded(&mut self, name: &str, was_there: bool) {
        if let Some(Reload { kept, new, .. }) = &mut self.reloading {
            if was_there { kept } else { new }.push(name.to_owned());
        }
    }

    /// Forgets an action, without running any of its commands.
    ///
    /// # Errors
    ///
    /// [`ActionError::Unknown`].
    pub fn delete(&mut self, name: &str) -> Result<(), ActionError> {
        let index = self.position(name)?;
        self.actions.remove(index);
        Ok(())
    }

    /// Sets a property of an action.
    ///
    /// # Errors
    ///
    /// [`ActionError::Unknown`], [`ActionError::NotSettable`] or [`ActionError::Timeout`].
    pub fn set(
        &mut self,
        action: &str,
        property: &str,
        value: Value,
        context: &Context<'_>,
    ) -> Result<(), ActionError> {
        self.one(action, context, |action, run| action.set(property, value, run))
    }

    /// Calls a method of an action, or sets a property (`set J action A NAME [VALUE]`); what comes of it.
    ///
    /// # Errors
    ///
    /// As of [`Actions::set`], [`ActionError::NoValue`], or what the action says.
    pub fn tell(
        &mut self,
        action: &str,
        name: &str,
        value: Option<Value>,
        context: &Context<'_>,
    ) -> Result<Value, ActionError> {
        self.one(action, context, |action, run| action.tell(name, value, run))
    }

    /// The value of a property, as it is kept.
    ///
    /// # Errors
    ///
    /// [`ActionError::Unknown`] or [`ActionError::NoProperty`].
    pub fn property(
        &mut self,
        action: &str,
        name: &str,
        context: &Context<'_>,
    ) -> Result<Value, ActionError> {
        self.one(action, context, |action, run| action.get(name, run))
    }

    /// The names of all properties of an action, in Python's order.
    ///
    /// # Errors
    ///
    /// [`ActionError::Unknown`].
    pub fn properties(&mut self, action: &str, context: &Context<'_>) -> Result<Vec<String>, ActionError> {
        self.one(action, context, |action, run| action.properties(run))
    }

    /// The names of what an action can do.
    ///
    /// # Errors
    ///
    /// [`ActionError::Unknown`].
    pub fn methods(&mut self, action: &str, context: &Context<'_>) -> Result<Vec<String>, ActionError> {
        self.one(action, context, |action, run| action.methods(run))
    }

    fn one<T>(
        &mut self,
        name: &str,
        context: &Context<'_>,
        work: impl FnOnce(&mut Action, &mut Run<'_>) -> Result<T, ActionError>,
    ) -> Result<T, ActionError> {
        let index = self.position(name)?;
        let mut run = Run { jail: &self.jail, context, epoch: &mut self.epoch };
        work(&mut self.actions[index], &mut run)
    }

    /// A reload begins: what is not added again until its end is not wanted any more.
    pub fn begin_reload(&mut self) {
        self.reloading = Some(Reload::default());
    }

    /// A reload has ended: reloads the actions that stay, takes the bans `tickets` back in those that are gone before they
    /// stop, and starts those that are new and gives them the bans.
    ///
    /// (Upstream throws actions that are new in a reload away again; nobody can want that.)
    ///
    /// # Errors
    ///
    /// The first [`ActionError`] of a reload that failed; everything else is done nevertheless.
    pub fn end_reload(&mut self, tickets: &[Ticket], context: &Context<'_>) -> Result<(), ActionError> {
        let Some(Reload { kept, new, replaced }) = self.reloading.take() else { return Ok(()) };
        let within = |names: &[String], action: &Action| names.iter().any(|name| name == action.name());
        let mut result = Ok(());
        self.for_each(&|action| within(&kept, action), context, |action, run| {
            result = std::mem::replace(&mut result, Ok(())).and(action.reload(run));
        });
        let gone = |action: &Action| !within(&kept, action) && !within(&new, action);
        if self.actions.iter().any(gone) {
            self.flush_in(tickets, None, &gone, context);
            self.stop_actions(&gone, context);
        }
        if !replaced.is_empty() {
            let current = std::mem::replace(&mut self.actions, replaced);
            self.flush_in(tickets, None, &|_| true, context);
            self.stop_actions(&|_| true, context);
            self.actions = current;
        }
        if self.started && !new.is_empty() {
            self.start_actions(&|action| within(&new, action), context);
            // A new action knows of no ban yet.
            for ticket in tickets {
                let chosen = |action: &Action| within(&new, action) && !action.skips(ticket);
                self.for_ban("ban", ticket, &chosen, context, Action::ban);
            }
        }
        result
    }
}
