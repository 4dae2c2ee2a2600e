//! The action that runs commands: when it starts and stops, and for each ban.
//!
//! An action may be started once for everything or once for each family, at the start of the jail or on demand, and a
//! family is unbanned only after something in it was banned. When a command fails, the action's `actioncheck` is asked; if
//! that fails too, the action is repaired or restarted and the command is run a second time.
//!
//! Upstream: `action.CommandAction`.

use f2b_protocol::Value;
use f2b_types::{Level, Record, Ticket};

use crate::context::Context;
use crate::error::ActionError;
use crate::families::{Executed, Families, Family, HAS_ITEMS, Operation, STARTED};
use crate::info::BanInfo;
use crate::names::Names;
use crate::properties::{DEFAULT_TIMEOUT, Properties};
use crate::run::Run;
use crate::script::{Script, Subject, TagSource, fill};
use crate::tags::{escape, replace_static, resolve};
use crate::told::Arguments;

/// Upstream's class, and its logger.
pub(crate) const CLASS: &str = "CommandAction";
const LOGGER: &str = CLASS;

/// One action of a jail that runs commands.
#[derive(Debug)]
pub struct CommandAction {
    name: String,
    properties: Properties,
    families: Families,
    executed: Executed,
    /// Bans from before this epoch of the jail are no longer in effect.
    epoch: u64,
}

/// What is run for one ban.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    Ban,
    Reban,
    Prolong,
    Unban,
}

impl Command {
    fn tag(self) -> &'static str {
        match self {
            Self::Ban => "<actionban>",
            Self::Reban => "<actionreban>",
            Self::Prolong => "<actionprolong>",
            Self::Unban => "<actionunban>",
        }
    }

    fn failed(self, info: &dyn Subject) -> ActionError {
        let doing = match self {
            Self::Ban | Self::Reban => "banning",
            Self::Prolong => "prolonging",
            Self::Unban => "unbanning",
        };
        match info.tag("ip") {
            Some(ip) => ActionError::Ban { doing, ip },
            None => ActionError::NoKey("ip".into()),
        }
    }
}

/// The purpose that a broken environment would be repaired for; some are not worth it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repair {
    /// In any case.
    Always,
    /// Not for an unban, unless the action wants it so.
    ForUnban,
    /// Not for a flush at the end, unless the action wants it so.
    ForLastFlush,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sanity {
    Sane,
    Broken,
    NotRepaired,
}

impl CommandAction {
    pub(crate) fn new(name: &str, context: &Context<'_>) -> Self {
        if context.log.enabled(Level::DEBUG) {
            let text = "Created <class 'fail2ban.server.action.CommandAction'>";
            context.log.write(Record::new(Level::DEBUG, LOGGER, text));
        }
        Self {
            name: name.to_owned(),
            properties: Properties::new(),
            families: Families::default(),
            executed: Executed::default(),
            epoch: 0,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn get(&self, property: &str) -> Result<Value, ActionError> {
        match property {
            "banEpoch" => Ok(Value::Int(self.epoch.cast_signed())),
            name => {
                let missing = || ActionError::NoProperty { class: CLASS, name: name.into() };
                self.properties.get(name).cloned().ok_or_else(missing)
            }
        }
    }

    pub(crate) fn properties(&self) -> Vec<&str> {
        self.properties.names()
    }

    /// Bans from before this epoch of the jail have to be repeated in this action.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn set(
        &mut self,
        property: &str,
        value: Value,
        context: &Context<'_>,
    ) -> Result<(), ActionError> {
        let Some(value) = self.properties.set(property, value)? else { return Ok(()) };
        if context.log.enabled(Level::DEBUG) && !property.starts_with('_') {
            context.log.write(Record::new(Level::DEBUG, LOGGER, format!("  Set {property} = {value}")));
        }
        self.executed = Executed::default();
        Ok(())
    }

    /// Empties the commands, before a reload sets them anew.
    pub(crate) fn reset(&mut self) {
        self.properties.reset();
    }

    /// Whether bans that come from the database are none of its business.
    pub(crate) fn skips(&self, ticket: &Ticket) -> bool {
        ticket.restored && self.properties.is_true("norestored")
    }

    pub(crate) fn is_prolongable(&self) -> bool {
        self.has_text("actionprolong")
    }

    pub(crate) fn can_flush(&self) -> bool {
        self.properties.is_true("actionflush")
    }

    fn has_text(&self, property: &str) -> bool {
        let blank = |value: &Value| value.as_str().is_some_and(|text| text.chars().all(char::is_whitespace));
        self.properties.is_true(property) && !self.properties.get(property).is_some_and(blank)
    }

    pub(crate) fn start(&mut self, run: &mut Run<'_>) -> Result<(), ActionError> {
        self.start_family(None, false, run)
    }

    /// Starts for `family`, or for all families if there is none; with `force` also what starts on demand.
    fn start_family(&mut self, family: Family, force: bool, run: &mut Run<'_>) -> Result<(), ActionError> {
        let starts = force || (!self.starts_on_demand() && self.families.state(&family) == 0);
        if !starts {
            return Ok(());
        }
        let families = match family {
            Some(family) => vec![Some(family)],
            None => self.families_to_start(run.context.ipv6),
        };
        self.operate(Operation::Start, families, run)
    }

    pub(crate) fn ban(&mut self, info: &dyn Subject, run: &mut Run<'_>) -> Result<(), ActionError> {
        self.ban_by(Command::Ban, info, run)
    }

    /// Calls a method with arguments, and gives what it returns.
    pub(crate) fn call(
        &mut self,
        method: &str,
        arguments: &Arguments,
        run: &mut Run<'_>,
    ) -> Result<Value, ActionError> {
        let nothing = |result: Result<(), ActionError>| result.map(|()| Value::None);
        let done = |result: Result<(), ActionError>| result.map(|()| Value::Bool(true));
        match method {
            "ban" => nothing(self.ban(&arguments.info()?, run)),
            "reban" => nothing(self.reban(&arguments.info()?, run)),
            "prolong" => nothing(self.prolong(&arguments.info()?, run)),
            "unban" => nothing(self.unban(&arguments.info()?, run)),
            "start" => done(self.start(run)),
            "stop" => done(self.stop(run)),
            "flush" => done(self.flush(run)),
            "reload" => done(self.reload(run)),
            "consistencyCheck" => self.check_consistency(Repair::Always, run).map(Value::Bool),
            "invalidateBanEpoch" => {
                self.invalidate(run);
                Ok(Value::None)
            }
            "clearAllParams" => {
                self.reset();
                Ok(Value::None)
            }
            "executeCmd" => {
                let timeout = match arguments.get("timeout") {
                    Some(Value::Int(n)) => n.into(),
                    Some(Value::Float(x)) => x.into(),
                    _ => DEFAULT_TIMEOUT,
                };
                let script = Script::new(arguments.text("realCmd").unwrap_or_default());
                run.execute(&script, timeout).map(Value::Bool)
            }
            "escapeTag" => Ok(escape(&arguments.text("value").unwrap_or_default()).into()),
            "replaceTag" => {
                let (query, conditional) = (arguments.text("query"), arguments.text("conditional"));
                let (query, conditional) = (query.unwrap_or_default(), conditional.unwrap_or_default());
                let resolved = resolve(&arguments.info()?.into_tags(), &conditional)?;
                Ok(replace_static(&query, &resolved, &conditional, run.context.names)?.into())
            }
            "replaceDynamicTags" => {
                let command = arguments.text("realCmd").unwrap_or_default();
                let Script { text, args } = fill(&command, &arguments.info()?, run.context.names);
                Ok(match args.as_slice() {
                    [] => text.into(),
                    args => Value::strings(std::iter::once(&text).chain(args)),
                })
            }
            other => Err(ActionError::NoProperty { class: CLASS, name: other.into() }),
        }
    }

    pub(crate) fn reban(&mut self, info: &dyn Subject, run: &mut Run<'_>) -> Result<(), ActionError> {
        let command = if self.properties.is_true("actionreban") { Command::Reban } else { Command::Ban };
        self.ban_by(command, info, run)
    }

    fn ban_by(&mut self, command: Command, info: &dyn Subject, run: &mut Run<'_>) -> Result<(), ActionError> {
        let family = info.family();
        if self.starts_on_demand() && self.families.state(&family) == 0 {
            self.start_family(family.clone(), true, run)?;
        }
        self.process(command, info, run)?;
        self.families.set(&family, self.families.state(&family) | STARTED | HAS_ITEMS);
        Ok(())
    }

    pub(crate) fn prolong(&mut self, info: &dyn Subject, run: &mut Run<'_>) -> Result<(), ActionError> {
        self.process(Command::Prolong, info, run)
    }

    pub(crate) fn unban(&mut self, info: &dyn Subject, run: &mut Run<'_>) -> Result<(), ActionError> {
        if self.families.state(&info.family()) & HAS_ITEMS == 0 {
            return Ok(());
        }
        self.process(Command::Unban, info, run)
    }

    pub(crate) fn flush(&mut self, run: &mut Run<'_>) -> Result<(), ActionError> {
        let full = self.families.filter(|state| state & (STARTED | HAS_ITEMS) == STARTED | HAS_ITEMS);
        if full.is_empty() { Ok(()) } else { self.operate(Operation::Flush, full, run) }
    }

    pub(crate) fn stop(&mut self, run: &mut Run<'_>) -> Result<(), ActionError> {
        let started = self.families.filter(|state| state != 0);
        if started.is_empty() {
            return Ok(());
        }
        self.families = Families::default();
        self.operate(Operation::Stop, started, run)
    }

    fn stop_family(&mut self, family: &Family, run: &mut Run<'_>) -> Result<(), ActionError> {
        if family.is_none() {
            return self.stop(run);
        }
        if !self.families.knows(family) {
            return Ok(());
        }
        self.families.set(family, 0);
        self.operate(Operation::Stop, vec![family.clone()], run)
    }

    pub(crate) fn reload(&mut self, run: &mut Run<'_>) -> Result<(), ActionError> {
        let started = self.families.filter(|state| state != 0);
        self.operate(Operation::Reload, started, run)
    }

    /// Asks `actioncheck` for each started family, and repairs what is broken; false if something stays broken.
    pub(crate) fn check_consistency(
        &mut self,
        repair: Repair,
        run: &mut Run<'_>,
    ) -> Result<bool, ActionError> {
        let mut sane = true;
        if !self.properties.is_true("actioncheck") {
            return Ok(sane);
        }
        for family in self.families.filter(|state| state != 0) {
            if self.check(&family, repair, true, run)? == Sanity::Broken {
                self.families.set(&family, 0);
                self.executed.forget(Operation::Start, &family);
                sane = false;
            }
        }
        Ok(sane)
    }

    /// Bans from before now are no longer in effect in this action.
    pub(crate) fn invalidate(&mut self, run: &mut Run<'_>) {
        *run.epoch += 1;
        self.epoch = *run.epoch;
    }

    /// Asks `actioncheck`; if that fails, repairs or restarts the action and asks again (`_invariantCheck`).
    fn check(
        &mut self,
        family: &Family,
        repair: Repair,
        force_start: bool,
        run: &mut Run<'_>,
    ) -> Result<Sanity, ActionError> {
        let known = family.is_none() || self.families.knows(family);
        if !force_start && !known {
            return Ok(Sanity::Sane);
        }
        let timeout = self.properties.timeout();
        let check = self.operation_command("<actioncheck>", family, run)?;
        if check.is_empty() || run.execute(&Script::new(check.as_str()), timeout)? {
            return Ok(Sanity::Sane);
        }
        if !self.may_repair(repair, run) {
            return Ok(Sanity::NotRepaired);
        }
        run.log(Level::ERROR, LOGGER, || {
            "Invariant check failed. Trying to restore a sane environment".into()
        });
        self.invalidate(run);
        let unable =
            |run: &Run<'_>| run.log(Level::CRITICAL, LOGGER, || "Unable to restore environment".into());
        let command = self.operation_command("<actionrepair>", family, run)?;
        if command.is_empty() {
            // A stop that fails does not matter, if the start succeeds.
            match self.stop_family(family, run) {
                Ok(()) | Err(ActionError::Operation { .. }) => {}
                Err(error) => return Err(error),
            }
            let force = force_start || !self.starts_on_demand();
            self.start_family(family.clone(), force, run)?;
        } else if run.execute(&Script::new(command), timeout)? {
            self.families.set(family, STARTED);
        } else {
            self.families.set(family, 0);
            unable(run);
            return Ok(Sanity::Broken);
        }
        if self.families.state(family) != 0 && !run.execute(&Script::new(check), timeout)? {
            unable(run);
            return Ok(Sanity::Broken);
        }
        Ok(Sanity::Sane)
    }

    fn may_repair(&self, repair: Repair, run: &Run<'_>) -> bool {
        let impossible = match repair {
            Repair::Always => return true,
            Repair::ForUnban => (LOGGER, "Invariant check failed. Unban is impossible."),
            Repair::ForLastFlush => ("actions", "Invariant check failed. Flush is impossible."),
        };
        if self.properties.is_true("actionrepair_on_unban") {
            return true;
        }
        run.log(Level::ERROR, impossible.0, || impossible.1.into());
        false
    }

    /// Runs the command for one ban; when it fails, once more after a check (`_processCmd`).
    fn process(
        &mut self,
        command: Command,
        info: &dyn Subject,
        run: &mut Run<'_>,
    ) -> Result<(), ActionError> {
        let family = info.family();
        let unbans = command == Command::Unban;
        for attempt in 0..2 {
            if attempt > 0 && self.properties.is_true("actioncheck") {
                let repair = if unbans { Repair::ForUnban } else { Repair::Always };
                if self.check(&family, repair, !unbans, run)? != Sanity::Sane {
                    break;
                }
            }
            let text = self.static_command(command.tag(), &family, run.context.names)?;
            let script = fill(&text, info, run.context.names);
            if run.execute(&script, self.properties.timeout())? {
                return Ok(());
            }
        }
        Err(command.failed(info))
    }

    /// Runs the command of an operation for each of the families, but the same command only once
    /// (`_executeOperation`).
    fn operate(
        &mut self,
        operation: Operation,
        families: Vec<Family>,
        run: &mut Run<'_>,
    ) -> Result<(), ActionError> {
        let mut failed = None;
        for family in families {
            match self.operate_one(operation, &family, run) {
                Ok(true) => {}
                Ok(false) => failed = failed.or(Some(None)),
                Err(error) => failed = Some(Some(Box::new(error))),
            }
        }
        match failed {
            None => Ok(()),
            Some(reason) => Err(ActionError::Operation {
                doing: operation.doing(),
                jail: run.jail.to_owned(),
                action: self.name.clone(),
                reason,
            }),
        }
    }

    fn operate_one(
        &mut self,
        operation: Operation,
        family: &Family,
        run: &mut Run<'_>,
    ) -> Result<bool, ActionError> {
        let command = self.operation_command(operation.tag(), family, run)?;
        let mut done = true;
        if !command.is_empty() && !self.executed.for_another_family(operation, family, &command) {
            let empty = run.context.empty_ticket();
            let info = BanInfo::of_operation(&empty, family.as_deref(), run.context.jail(run.jail));
            let script = fill(&command, &info, run.context.names);
            done = run.execute(&script, self.properties.timeout())?;
        }
        if done {
            self.operated(operation, family);
        }
        if done && !command.is_empty() {
            self.executed.note(operation, family, command);
        } else {
            self.executed.forget(operation, family);
        }
        Ok(done)
    }

    /// What follows from an operation that succeeded.
    fn operated(&mut self, operation: Operation, family: &Family) {
        match operation {
            Operation::Start => {
                self.executed.forget(Operation::Stop, family);
                self.families.set(family, STARTED);
            }
            Operation::Stop => self.executed.forget(Operation::Start, family),
            Operation::Flush => {
                if self.families.state(family) != 0 {
                    self.families.set(family, self.families.state(family) & !HAS_ITEMS);
                }
            }
            Operation::Reload => {}
        }
    }

    fn static_command(&self, tag: &str, family: &Family, names: &dyn Names) -> Result<String, ActionError> {
        self.properties.command(tag, family.as_deref(), self.epoch, names)
    }

    /// The command of an operation, with the name of the family filled in.
    fn operation_command(&self, tag: &str, family: &Family, run: &Run<'_>) -> Result<String, ActionError> {
        let command = self.static_command(tag, family, run.context.names)?;
        let Some(family) = family.as_deref().filter(|family| !family.is_empty()) else { return Ok(command) };
        if !command.contains('<') {
            return Ok(command);
        }
        let script = fill(&command, &FamilyOnly(family), run.context.names);
        if script.args.is_empty() { Ok(script.text) } else { Err(ActionError::Family(family.to_owned())) }
    }

    /// Whether the start waits for the first ban of each family.
    fn starts_on_demand(&self) -> bool {
        match self.properties.get("actionstart_on_demand") {
            None | Some(Value::None) => self.properties.has_conditions(),
            Some(_) => self.properties.is_true("actionstart_on_demand"),
        }
    }

    /// The families that a start is for.
    fn families_to_start(&self, ipv6: bool) -> Vec<Family> {
        let named = |text: &str| Some(text.to_owned());
        if self.properties.is_true("families") {
            return match self.properties.get("families") {
                Some(Value::List(names) | Value::Tuple(names) | Value::Set(names)) => {
                    names.iter().map(|name| Some(name.to_text())).collect()
                }
                other => {
                    let text = other.map(Value::to_text).unwrap_or_default();
                    let words = text.split(|c: char| c == ',' || c.is_whitespace());
                    words.filter(|word| !word.is_empty()).map(named).collect()
                }
            };
        }
        match (self.properties.has_conditions(), ipv6) {
            (true, true) => vec![named("inet4"), named("inet6")],
            (true, false) => vec![named("inet4")],
            (false, _) => vec![named("")],
        }
    }
}

/// Knows no other tag than `<family>`.
struct FamilyOnly<'a>(&'a str);

impl TagSource for FamilyOnly<'_> {
    fn tag(&self, name: &str) -> Option<String> {
        (name == "family").then(|| self.0.to_owned())
    }

    fn field(&self, _: &str) -> Option<String> {
        None
    }
}
