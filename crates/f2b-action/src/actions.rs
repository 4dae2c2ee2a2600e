//! The actions of one jail, in the order of the configuration.
//!
//! Whatever fails in one action is reported and stops none of the others.
//!
//! When an action finds its environment broken and repairs it, it begins a new epoch: the bans from before are no longer
//! in effect in it. They are repeated one by one, when [`Actions::verify`] meets them.
//!
//! Upstream: the running half of `actions.Actions`. Its lines `[jail] Ban ...` are the business of who decides on
//! the ban; all others are written here.

mod change;

use std::collections::HashMap;

use f2b_protocol::Value;
use f2b_types::{Id, Level, Record, Ticket, Time};

use crate::action::Action;
use crate::command::Repair;
use crate::context::Context;
use crate::error::ActionError;
use crate::info::BanInfo;
use crate::run::Run;
use change::Reload;

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

    /// Makes sure that there is an action of this name.
    ///
    /// # Errors
    ///
    /// [`ActionError::Unknown`].
    pub fn find(&self, name: &str) -> Result<(), ActionError> {
        self.position(name).map(drop)
    }

    fn position(&self, name: &str) -> Result<usize, ActionError> {
        let index = self.actions.iter().position(|action| action.name() == name);
        index.ok_or_else(|| ActionError::Unknown(name.into()))
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
                let reason = run.reason(&error);
                run.error(|| format!("Failed to start jail '{}' action '{name}': {reason}", run.jail));
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
            match action.flush(run) {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    let (name, reason) = (action.name(), run.reason(&error));
                    let jail = run.jail;
                    run.error(|| format!("Failed to flush bans in jail '{jail}' action '{name}': {reason}"));
                    run.info(|| "No flush occurred, do consistency check".into());
                    if action.can_check() {
                        return repair_if_broken(run, action, repair);
                    }
                }
            }
            run.debug(|| "  Unban tickets each individually".into());
            one_by_one.push(action.name().to_owned());
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
                let reason = run.reason(&error);
                run.error(|| format!("Failed to stop jail '{}' action '{name}': {reason}", run.jail));
            }
            run.debug(|| format!("{}: action {} terminated", run.jail, action.name()));
        }
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
                let (name, reason) = (action.name(), run.reason(&error));
                run.error(|| {
                    format!("Failed to execute {what} jail '{jail}' action '{name}' info '{info}': {reason}")
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
