//! The actions of one jail, in the order of the configuration.
//!
//! Whatever fails in one action is reported and stops none of the others.
//!
//! When an action finds its environment broken and repairs it, it begins a new epoch: the bans from before are no longer
//! in effect in it. They are repeated one by one, when [`Actions::verify`] meets them.
//!
//! Upstream: the running half of `actions.Actions`. Its lines `[jail] Ban ...` are the business of who decides on
//! the ban; all others are written here.

use std::collections::HashMap;

use f2b_protocol::Value;
use f2b_types::{Id, Level, Record, Ticket, Time};

use crate::action::Action;
use crate::command::{CommandAction, Repair};
use crate::context::Context;
use crate::error::ActionError;
use crate::info::BanInfo;
use crate::mail::MailAction;
use crate::run::Run;

const LOGGER: &str = "actions";

/// Seconds between two checks of all actions for consistency.
const CHECK_INTERVAL: f64 = 3.0;

/// The actions of one jail.
#[derive(Debug)]
pub struct Actions {
    jail: String,
    actions: Vec<Action>,
    started: bool,
    epoch: u64,
    /// The epoch in which a ban was last put into effect, where that is not the first one.
    epochs: HashMap<Id, u64>,
    last_check: Option<Time>,
    reloading: Option<Reload>,
}

/// What a reload that goes on has asked for so far, by name.
#[derive(Debug, Default)]
struct Reload {
    kept: Vec<String>,
    new: Vec<String>,
}

/// Which actions something is done with.
type Chosen<'a> = &'a dyn Fn(&Action) -> bool;

impl Actions {
    /// No actions yet, of the jail of this name.
    pub fn new(jail: &str) -> Self {
        Self {
            jail: jail.to_owned(),
            actions: Vec::new(),
            started: false,
            epoch: 0,
            epochs: HashMap::new(),
            last_check: None,
            reloading: None,
        }
    }

    /// The names of the actions, in their order.
    pub fn names(&self) -> Vec<&str> {
        self.actions.iter().map(Action::name).collect()
    }

    /// The action of this name.
    ///
    /// # Errors
    ///
    /// [`ActionError::Unknown`].
    pub fn get(&self, name: &str) -> Result<&Action, ActionError> {
        self.position(name).map(|index| &self.actions[index])
    }

    fn position(&self, name: &str) -> Result<usize, ActionError> {
        let index = self.actions.iter().position(|action| action.name() == name);
        index.ok_or_else(|| ActionError::Unknown(name.into()))
    }

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

    /// The reload, if one is under way, has asked for this action.
    fn note_reloaded(&mut self, name: &str, was_there: bool) {
        if let Some(Reload { kept, new }) = &mut self.reloading {
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

    /// Sets a property of an action; [`Action::get`] then tells the value as it is kept.
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
        let index = self.position(action)?;
        self.actions[index].set(property, value, context)
    }

    /// Starts all actions, except for what starts on demand.
    pub fn start(&mut self, context: &Context<'_>) {
        self.started = true;
        self.start_actions(&|_| true, context);
    }

    fn start_actions(&mut self, chosen: Chosen<'_>, context: &Context<'_>) {
        self.for_each(chosen, context, |action, run| {
            if let Err(error) = action.start(run) {
                let name = action.name();
                run.error(|| format!("Failed to start jail '{}' action '{name}': {error}", run.jail));
            }
        });
    }

    /// Puts a new ban into effect.
    pub fn ban(&mut self, ticket: &Ticket, context: &Context<'_>) {
        self.for_ban("ban", ticket, &|action| !action.skips(ticket), context, Action::ban);
        self.note_epoch(ticket);
    }

    /// How often an action has repaired its environment. Bans from before may have got lost, and [`Actions::verify`] has
    /// to see who is banned and comes back, however soon.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Somebody who is banned was seen again: repeats the ban where it has got lost, and makes sure before that the
    /// actions are in order if `check` says so, which is for bans that are older than three seconds. True if it was
    /// repeated.
    pub fn verify(&mut self, ticket: &Ticket, check: bool, context: &Context<'_>) -> bool {
        let epoch = self.epochs.get(&ticket.id).copied().unwrap_or(0);
        let was_long_ago = self.last_check.is_none_or(|last| context.now > last + CHECK_INTERVAL);
        if check && epoch == self.epoch && was_long_ago {
            self.last_check = Some(context.now);
            self.check_consistency(context);
        }
        if epoch >= self.epoch {
            return false;
        }
        // The action that began the epoch may have been removed since.
        let affected = self.actions.iter().any(|action| action.epoch() > epoch);
        self.reban(ticket, &|action| !affected || action.epoch() > epoch, context)
    }

    /// Asks every action whether its environment is in order, and lets it repair what is broken.
    pub fn check_consistency(&mut self, context: &Context<'_>) {
        self.for_each(&|_| true, context, |action, run| repair_if_broken(run, action, Repair::Always));
    }

    /// Repeats a ban in some of the actions; true if none of them failed.
    fn reban(&mut self, ticket: &Ticket, chosen: Chosen<'_>, context: &Context<'_>) -> bool {
        let names: Vec<&str> =
            self.actions.iter().filter(|action| chosen(action)).map(Action::name).collect();
        let only = match names.as_slice() {
            [name] => format!(", action {}", Value::from(*name)),
            _ => String::new(),
        };
        self.log(context, Level::NOTICE, || format!("[{}] Reban {}{only}", self.jail, ticket.id));
        let done = self.for_ban("reban", ticket, chosen, context, |action, info, run| {
            debug_each(run, action, "reban", ticket);
            action.reban(info, run)
        });
        if done {
            self.note_epoch(ticket);
        }
        done
    }

    /// A ban has got longer: lets the actions know that have to do something about it.
    pub fn prolong(&mut self, ticket: &Ticket, context: &Context<'_>) {
        let chosen = |action: &Action| !action.skips(ticket) && action.is_prolongable();
        self.for_ban("ban", ticket, &chosen, context, Action::prolong);
    }

    /// Ends a ban.
    pub fn unban(&mut self, ticket: &Ticket, context: &Context<'_>) {
        self.unban_in(ticket, Some("Unban"), &|_| true, context);
    }

    fn unban_in(
        &mut self,
        ticket: &Ticket,
        announce: Option<&str>,
        chosen: Chosen<'_>,
        context: &Context<'_>,
    ) {
        if let Some(word) = announce {
            self.log(context, Level::NOTICE, || format!("[{}] {word} {}", self.jail, ticket.id));
            self.epochs.remove(&ticket.id);
        }
        self.for_ban("unban", ticket, chosen, context, |action, info, run| {
            debug_each(run, action, "unban", ticket);
            action.unban(info, run)
        });
    }

    /// Ends these bans, which are all there are: at once in the actions that can do so, one by one in the others.
    pub fn flush(&mut self, tickets: &[Ticket], context: &Context<'_>) {
        self.flush_in(tickets, Some("Unban"), &|_| true, context);
    }

    /// Takes these bans back, which are all there are, then stops the actions in reverse order and forgets them.
    pub fn stop(&mut self, tickets: &[Ticket], context: &Context<'_>) {
        self.flush_in(tickets, Some("Repeal Ban"), &|_| true, context);
        self.stop_actions(&|_| true, context);
        self.started = false;
    }

    /// `announce` says how each ban ends; nothing where only some actions are left out from now on.
    fn flush_in(
        &mut self,
        tickets: &[Ticket],
        announce: Option<&str>,
        chosen: Chosen<'_>,
        context: &Context<'_>,
    ) {
        let repair = if announce == Some("Unban") { Repair::Always } else { Repair::ForLastFlush };
        let mut one_by_one: Vec<String> = Vec::new();
        self.for_each(chosen, context, |action, run| {
            if !action.can_flush() {
                run.debug(|| "  Unban tickets each individually".into());
                return one_by_one.push(action.name().to_owned());
            }
            run.notice(|| format!("[{}] Flush ticket(s) with {}", run.jail, action.name()));
            if let Err(error) = action.flush(run) {
                let name = action.name();
                run.error(|| format!("Failed to flush bans in jail '{}' action '{name}': {error}", run.jail));
                run.info(|| "No flush occurred, do consistency check".into());
                repair_if_broken(run, action, repair);
            }
        });
        if announce == Some("Unban") && context.earlier.is_some() {
            // Whoever decided on it has told the database already.
            self.log(context, Level::DEBUG, || "  Flush jail in database".into());
        }
        for ticket in tickets {
            self.unban_in(ticket, announce, &|action| one_by_one.iter().any(|n| n == action.name()), context);
        }
        self.log(context, Level::DEBUG, || {
            let left = if announce.is_some() { 0 } else { context.counts.banned };
            format!("  Unbanned {}, {left} ticket(s) in {}", tickets.len(), Value::from(self.jail.as_str()))
        });
    }

    fn stop_actions(&mut self, chosen: Chosen<'_>, context: &Context<'_>) {
        for index in (0..self.actions.len()).rev() {
            if !chosen(&self.actions[index]) {
                continue;
            }
            let mut action = self.actions.remove(index);
            let mut run = Run { jail: &self.jail, context, epoch: &mut self.epoch };
            if let Err(error) = action.stop(&mut run) {
                let name = action.name();
                run.error(|| format!("Failed to stop jail '{}' action '{name}': {error}", run.jail));
            }
            run.debug(|| format!("{}: action {} terminated", run.jail, action.name()));
        }
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
        let Some(Reload { kept, new }) = self.reloading.take() else { return Ok(()) };
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

    /// Calls one of the methods that need no argument (`set J action A METHOD`), and gives what it returns.
    ///
    /// # Errors
    ///
    /// [`ActionError::Unknown`], [`ActionError::NoProperty`] for any other method, or what the action says.
    pub fn call(&mut self, action: &str, method: &str, context: &Context<'_>) -> Result<Value, ActionError> {
        let index = self.position(action)?;
        let mut run = Run { jail: &self.jail, context, epoch: &mut self.epoch };
        self.actions[index].call(method, &mut run)
    }

    fn note_epoch(&mut self, ticket: &Ticket) {
        if self.epoch > 0 {
            self.epochs.insert(ticket.id.clone(), self.epoch);
        }
    }

    fn log(&self, context: &Context<'_>, level: Level, text: impl FnOnce() -> String) {
        if context.log.enabled(level) {
            context.log.write(Record::new(level, LOGGER, text()));
        }
    }

    fn for_each(
        &mut self,
        chosen: Chosen<'_>,
        context: &Context<'_>,
        mut work: impl FnMut(&mut Action, &mut Run<'_>),
    ) {
        let mut run = Run { jail: &self.jail, context, epoch: &mut self.epoch };
        for action in self.actions.iter_mut().filter(|action| chosen(action)) {
            work(action, &mut run);
        }
    }

    /// Does the same for one ban in all the chosen actions; true if none of them failed.
    fn for_ban(
        &mut self,
        what: &str,
        ticket: &Ticket,
        chosen: Chosen<'_>,
        context: &Context<'_>,
        mut work: impl FnMut(&mut Action, &BanInfo<'_>, &mut Run<'_>) -> Result<(), ActionError>,
    ) -> bool {
        let jail = self.jail.clone();
        let info = BanInfo::new(ticket, context.jail(&jail));
        let mut done = true;
        self.for_each(chosen, context, |action, run| {
            if let Err(error) = work(action, &info, run) {
                done = false;
                let name = action.name();
                run.error(|| {
                    format!("Failed to execute {what} jail '{jail}' action '{name}' info '{info}': {error}")
                });
            }
        });
        done
    }
}

fn debug_each(run: &Run<'_>, action: &Action, what: &str, ticket: &Ticket) {
    let name = || Value::from(action.name());
    run.debug(|| format!("[{}] action {}: {what} {}", run.jail, name(), ticket.id));
}

fn repair_if_broken(run: &mut Run<'_>, action: &mut Action, repair: Repair) {
    if let Err(error) = action.check_consistency(repair, run) {
        run.error(|| format!("[{}] unhandled error in actions thread: {error}", run.jail));
    }
}
