//! Commands and what they do, word for word as `transmitter.py` takes them.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use f2b_jail::{Event, Names};
use f2b_protocol::{Command, Exception, Reply, Value};
use f2b_types::{Level, Log, VERSION};

use super::Unbanning;
use super::core::Core;
use super::errors::{general, shown, type_error, type_name, value_error};
use super::jail_options::check_readable;
use super::words::{Words, id};
use super::worker::LastAnswer;
use crate::memory;

/// The level at which commands are told.
const COMMAND: Level = Level::HEAVYDEBUG;

/// What became of a command.
pub(super) enum Outcome {
    /// It is done, with this value.
    Done(Value),
    /// The client's answer comes later, from whoever finishes the command.
    Later,
}

impl<T: Into<Value>> From<T> for Outcome {
    fn from(value: T) -> Self {
        Self::Done(value.into())
    }
}

/// Where the answer goes; nowhere for a command of a stream.
pub(super) type Answer<'a> = Option<&'a SyncSender<Reply>>;

/// The outcome, or the exception that the client gets to see.
pub(super) type Result<T> = std::result::Result<T, Exception>;

/// The jail that a command of a stream is about.
fn jail_of(command: &Command) -> Option<&str> {
    match command.word(0)? {
        "add" | "start" => command.word(1),
        "set" | "multi-set" if command.0.len() > 3 => command.word(1),
        _ => None,
    }
}

/// Answers a client, unless that is done later.
pub(super) fn reply(outcome: Result<Outcome>, answer: &SyncSender<Reply>) {
    // A client that has gone away does not get its answer.
    let _ = match outcome {
        Ok(Outcome::Later) => return,
        Ok(Outcome::Done(value)) => answer.send(Ok(value)),
        Err(exception) => answer.send(Err(exception)),
    };
}

impl Core {
    /// Executes a command of a client and answers it, now or later.
    pub(super) fn transmit(&mut self, command: &Command, answer: SyncSender<Reply>) {
        if self.logger.enabled(COMMAND) {
            self.log(COMMAND, "transmitter", format!("Command: {command}"));
        }
        reply(self.execute(command, Some(&answer)), &answer);
    }

    fn execute(&mut self, command: &Command, answer: Answer<'_>) -> Result<Outcome> {
        let mut words = Words::new(&command.0);
        let name = words.next_text()?;
        match name.as_str() {
            "ping" => Ok("pong".into()),
            "add" => self.add(words),
            "set" => self.set(words, false, answer),
            "multi-set" => self.set(words, true, answer),
            "get" => self.get(words, answer),
            "start" => self.start_jail(words.next_jail()?).map(|()| Value::None.into()),
            "stop" => self.stop(words),
            "reload" => self.reload(words, answer),
            "unban" if words.len() > 0 => self.unban_everywhere(words, answer),
            "banned" => Ok(self.banned(&words.ids()?).into()),
            "status" => self.status(words, answer),
            "stats" | "statistic" | "statistics" => Ok(self.statistics().into()),
            "echo" => Ok(Value::List(words.values().to_vec()).into()),
            "version" => Ok(VERSION.into()),
            "flushlogs" => Ok(self.flush_logs().into()),
            "server-status" => {
                self.log(Level::DEBUG, "transmitter", "Status: ready");
                Ok("Server ready".into())
            }
            "server-stream" => {
                let stream = words.next_value()?;
                self.execute_all(stream)?;
                memory::give_back();
                Ok(Value::None.into())
            }
            "sleep" => {
                let seconds = words.next_float()?;
                if seconds.is_nan() {
                    return Err(value_error("Invalid value NaN (not a number)"));
                }
                let until = std::time::Instant::now() + Duration::from_secs_f64(seconds.clamp(0.0, 3600.0));
                self.pump_until(|core| core.quitting || std::time::Instant::now() >= until);
                Ok(Value::None.into())
            }
            "config-error" => {
                self.log(Level::ERROR, "transmitter", words.next_text()?);
                Ok(Value::None.into())
            }
            _ => Err(general("Invalid command")),
        }
    }

    /// Executes the commands of a stream. A jail with a command that fails is left out, the others are set up; the first
    /// failure is the answer. (Upstream stops at it, and has no jail at all.)
    fn execute_all(&mut self, stream: &Value) -> Result<()> {
        let mut left_out: Vec<String> = Vec::new();
        let mut first = Ok(());
        let commands = stream
            .as_items()
            .ok_or_else(|| type_error(format!("'{}' object is not iterable", type_name(stream))))?;
        for command in commands {
            let words = command.as_items().ok_or_else(|| general("Invalid command"))?;
            let command = Command(words.to_vec());
            let jail = jail_of(&command);
            if jail.is_some_and(|jail| left_out.iter().any(|name| name == jail)) {
                continue;
            }
            let Err(exception) = self.execute(&command, None) else { continue };
            if jail.is_some_and(|jail| self.is_set_up(jail)) {
                // Nothing that runs comes to harm by a command which it never was to obey.
                return Err(exception);
            }
            let message = format!("Command {command} has failed. Received {}", shown(&exception));
            self.log(Level::ERROR, "transmitter", message);
            if let Some(jail) = jail {
                self.log(
                    Level::ERROR,
                    "transmitter",
                    format!("Jail '{jail}' skipped, because of wrong configuration"),
                );
                self.abandon(jail);
                left_out.push(jail.into());
            }
            if first.is_ok() {
                first = Err(exception);
            }
        }
        first
    }

    fn add(&mut self, mut words: Words<'_>) -> Result<Outcome> {
        let name = words.next_plain()?;
        if name == "--all" {
            return Err(general("Reserved name '--all'"));
        }
        let backend = if words.len() > 0 { words.next_plain()? } else { "auto" };
        self.add_jail(name, backend)?;
        Ok(name.into())
    }

    fn stop(&mut self, mut words: Words<'_>) -> Result<Outcome> {
        if words.len() == 0 {
            self.quit();
        } else {
            match words.next_jail()? {
                "--all" => self.stop_all_jails(),
                name => self.stop_jail(name)?,
            }
        }
        Ok(Value::None.into())
    }

    /// `['reload', JAIL or '--all', [options], [[command], ...]]`
    fn reload(&mut self, mut words: Words<'_>, answer: Answer<'_>) -> Result<Outcome> {
        let missing = match words.len() {
            0 => Some("2 required positional arguments: 'name' and 'opts'"),
            1 => Some("1 required positional argument: 'opts'"),
            _ => None,
        };
        if let Some(missing) = missing {
            return Err(type_error(format!("Server.reloadJails() missing {missing}")));
        }
        let name = words.next_text()?;
        let options = words.next_value()?.as_items().unwrap_or_default();
        let options: Vec<String> = options.iter().map(Value::to_text).collect();
        let stream = words.next_value()?;
        self.check_backends(&name, stream)?;
        self.begin_reload(&name, &options)?;
        let result = self.execute_all(stream).map(|()| "OK".into());
        let Some(answer) = answer else {
            self.end_reload(None);
            return result.map(Outcome::Done);
        };
        // The actions have their part in it, each jail in its own time.
        self.end_reload(Some(Arc::new(LastAnswer::new(answer, result))));
        Ok(Outcome::Later)
    }

    fn unban_everywhere(&mut self, words: Words<'_>, answer: Answer<'_>) -> Result<Outcome> {
        let all = words.texts() == ["--all"];
        let ids = if all { None } else { Some(words.ids()?) };
        let unbanning = Unbanning { jail: None, ids, names: Names::new(), report_absent: false };
        self.find_and_unban(unbanning, answer)
    }

    fn set(&mut self, mut words: Words<'_>, multiple: bool, answer: Answer<'_>) -> Result<Outcome> {
        let mut name = words;
        if let Some(text) = words.next_value()?.as_str()
            && let Some(value) = self.set_server_option(text, words)?
        {
            return Ok(value.into());
        }
        let option = words.next_str("startswith")?;
        match option {
            "attempt" if words.len() == 0 => {
                self.jail(name.next_jail()?)?;
                let missing = "Filter.addAttempt() missing 1 required positional argument: 'ip'";
                Err(type_error(missing))
            }
            "attempt" => {
                let id = id(words.next_plain()?)?;
                let lines = words.texts();
                self.step_with_answer(name.next_jail()?, answer, |token| Event::Attempt { id, lines, token })
            }
            "banip" => {
                let ids = words.strict_ids()?;
                self.step_with_answer(name.next_jail()?, answer, |token| Event::Ban { ids, token })
            }
            "unbanip" => {
                let mut rest = words;
                let report_absent = rest.next_text()? == "--report-absent";
                let ids = if report_absent { rest.ids()? } else { words.ids()? };
                let jail = Some(name.next_jail()?.to_owned());
                let unbanning = Unbanning { jail, ids: Some(ids), names: Names::new(), report_absent };
                self.find_and_unban(unbanning, answer)
            }
            "addaction" | "delaction" | "action" => self.change_action(name, option, words, answer),
            _ => self.set_jail_option(name, option, words, multiple).map(Outcome::Done),
        }
    }

    fn get(&mut self, mut words: Words<'_>, answer: Answer<'_>) -> Result<Outcome> {
        let mut name = words;
        if let Some(text) = words.next_value()?.as_str()
            && let Some(value) = self.get_server_option(text)
        {
            return Ok(value.into());
        }
        let option = words.next_str("startswith")?;
        match option {
            "action" | "actions" | "actionproperties" | "actionmethods" => {
                self.ask_action(name, option, words, answer)
            }
            _ => {
                check_readable(option)?;
                self.get_jail_option(name.next_jail()?, option, words).map(Outcome::Done)
            }
        }
    }

    fn status(&mut self, mut words: Words<'_>, answer: Answer<'_>) -> Result<Outcome> {
        match words.len() {
            0 => Ok(self.status_of_server().into()),
            1 | 2 => {
                let name = words.next_jail()?;
                let flavor = if words.len() > 0 { words.next_text()? } else { "basic".into() };
                if let Some(answer) = answer.filter(|_| flavor == "cymru") {
                    let jail = (name != "--all").then_some(name);
                    return self.status_by_cymru(jail, answer).map(|()| Outcome::Later);
                }
                match name {
                    "--all" => Ok(self.status_of_all(&flavor).into()),
                    name => Ok(self.status_of_jail(name, &flavor)?.into()),
                }
            }
            _ => Err(general("Invalid command (no status)")),
        }
    }
}
