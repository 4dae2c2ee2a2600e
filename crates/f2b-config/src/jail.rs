//! One jail: its options, its filter, its actions, and the commands that set it up.
//!
//! Answers to `jailreader.JailReader`.

use std::rc::Rc;

use f2b_protocol::{Command, Value};
use f2b_types::Level;

use crate::Error;
use crate::action::Action;
use crate::bracketed::{extract_options, split_with_options};
use crate::definition::{KNOWN, given};
use crate::diagnostic::{Log, logger};
use crate::document::Origin;
use crate::error::ErrorKind;
use crate::files::Files;
use crate::filter::{Filter, fill, set};
use crate::glob::{Globs, glob};
use crate::judge::Fault;
use crate::merged::{Merged, Raw};
use crate::nearest::nearest;
use crate::python::{exists, join, repr, split_path, stem, strip};
use crate::setting::{Datum, Options, Setting};
use crate::template::Fallback::{self, Unset};
use crate::template::Type::{Bool, Int, Text};
use crate::template::{Inherited, Query, Wanted, want};
use crate::words::split_words;

/// What is asked first, to know whether the jail is on and which filter it has.
const FIRST: &[Wanted] = &[
    want(Bool, "enabled", Fallback::Bool(false)),
    want(Text, "backend", Fallback::Text("auto")),
    want(Text, "filter", Fallback::Text("")),
];

/// The options of a jail.
pub(crate) const TEMPLATE: &[Wanted] = &[
    want(Bool, "enabled", Fallback::Bool(false)),
    want(Text, "backend", Fallback::Text("auto")),
    want(Int, "maxretry", Unset),
    want(Int, "maxmatches", Unset),
    want(Text, "findtime", Unset),
    want(Text, "bantime", Unset),
    want(Bool, "bantime.increment", Unset),
    want(Text, "bantime.factor", Unset),
    want(Text, "bantime.formula", Unset),
    want(Text, "bantime.multipliers", Unset),
    want(Text, "bantime.maxtime", Unset),
    want(Text, "bantime.rndtime", Unset),
    want(Bool, "bantime.overalljails", Unset),
    want(Text, "ignorecommand", Unset),
    want(Bool, "ignoreself", Unset),
    want(Text, "ignoreip", Unset),
    want(Text, "ignorecache", Unset),
    want(Text, "filter", Fallback::Text("")),
    want(Text, "logtimezone", Unset),
    want(Text, "logencoding", Unset),
    want(Text, "logformat", Unset),
    want(Text, "logpath", Unset),
    want(Bool, "skip_if_nologs", Fallback::Bool(false)),
    want(Bool, "systemd_if_nologs", Fallback::Bool(true)),
    want(Text, "action", Fallback::Text("")),
    want(Text, "usedns", Unset),
    want(Text, "prefregex", Unset),
    want(Text, "ignoreregex", Unset),
    want(Text, "failregex", Unset),
    want(Int, "maxlines", Unset),
    want(Text, "datepattern", Unset),
    want(Text, "journalmatch", Unset),
];

/// Options that become no command by themselves; those of a filter become commands in their own way.
const SILENT: &[&str] = &["action", "filter", "enabled", "backend", "skip_if_nologs", "systemd_if_nologs"];

/// A jail as far as it could be read.
#[derive(Debug)]
pub(crate) struct Jail {
    pub(crate) name: String,
    /// On, whatever `enabled` says.
    pub(crate) forced: bool,
    pub(crate) options: Rc<Options>,
    pub(crate) filter: Option<Filter>,
    pub(crate) actions: Vec<Action>,
    /// Why the jail can't be set up.
    config_error: Option<String>,
    /// It could be set up, but has nothing to watch.
    has_no_logs: bool,
}

impl Jail {
    pub(crate) fn new(name: &str, forced: bool) -> Self {
        Self {
            name: name.to_owned(),
            forced,
            options: Rc::default(),
            filter: None,
            actions: Vec::new(),
            config_error: None,
            has_no_logs: false,
        }
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.forced || self.options.get("enabled").is_some_and(|setting| setting.datum.is_true())
    }

    /// Nothing is known against starting it.
    pub(crate) fn can_start(&self) -> bool {
        self.config_error.is_none() && !self.has_no_logs
    }

    /// Reads the jail's section of `merged`, its filter and its actions; `extra` are options from the command line.
    /// Tells whether the jail is sound.
    pub(crate) fn read(
        &mut self,
        merged: &mut Merged,
        base: &str,
        extra: &[(String, String)],
        files: &mut Files,
    ) -> Result<bool, Error> {
        for (key, value) in [("fail2ban_version", f2b_types::COMPAT_VERSION), ("fail2ban_confpath", base)] {
            merged.set_default(key, value);
        }
        match self.read_all(merged, base, extra, files) {
            Ok(()) => Ok(true),
            Err(error) if error.kind == ErrorKind::Jail => {
                let message = error.message.clone();
                files.log.say_error(logger::JAIL, message.clone(), error);
                self.config_error = Some(message);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn read_all(
        &mut self,
        merged: &mut Merged,
        base: &str,
        extra: &[(String, String)],
        files: &mut Files,
    ) -> Result<(), Error> {
        let first = Query { merged, section: &self.name, template: FIRST };
        self.options = first.read_existing(&mut files.log)?.merged(&given(extra)).into();
        if !self.is_enabled() {
            return Ok(());
        }
        self.read_filter(merged, base, extra, files)?;
        // What the filter says is known by now, so the rest of the jail can refer to it.
        let all = Query { merged, section: &self.name, template: TEMPLATE };
        let inherited = merged.inherited.get_or_init(|| Inherited::new(merged, TEMPLATE));
        self.options = all.read_inheriting(inherited, &mut files.log)?.into();
        if let Some(filter) = &mut self.filter {
            filter.read_again(&self.options, &mut files.log)?;
        }
        self.read_actions(base, files)?;
        if self.actions.is_empty() {
            let message = format!("No actions were defined for {}", self.name);
            let place = self.options.get("action").and_then(Setting::place);
            let place = place.or_else(|| header(merged, &self.name).map(Origin::place));
            files.log.say_at(Level::WARNING, logger::JAIL, message, place);
        }
        Ok(())
    }

    fn read_filter(
        &mut self,
        merged: &mut Merged,
        base: &str,
        extra: &[(String, String)],
        files: &mut Files,
    ) -> Result<(), Error> {
        let Some(wanted) = self.options.get("filter").filter(|setting| setting.datum.is_true()).cloned()
        else {
            let message = format!("No filter set for jail {}", self.name);
            let place = header(merged, &self.name).map(Origin::place);
            files.log.say_at(Level::WARNING, logger::JAIL, message, place);
            return Ok(());
        };
        let text = wanted.datum.to_text();
        let (name, mut options) = extract_options(&text).map_err(|error| {
            Error::new(ErrorKind::Jail, format!("Invalid filter definition {}: {error}", repr(&text)))
                .at_place(wanted.place())
        })?;
        for (key, value) in extra {
            match options.iter_mut().find(|(other, _)| other == key) {
                Some((_, slot)) => slot.clone_from(value),
                None => options.push((key.clone(), value.clone())),
            }
        }
        let Some(mut filter) = Filter::open(files, base, &name, &options)? else {
            let error = Error::new(ErrorKind::Jail, format!("Unable to read the filter {}", repr(&name)));
            return Err(error.at_place(wanted.place_of(&name)).hint(unread(base, "filter.d", &name)));
        };
        let backend = self.options.get("backend").map(|setting| setting.datum.to_text()).unwrap_or_default();
        filter.apply_backend(&backend);
        // Kept even if it can't be resolved, for whoever looks for what is wrong with it.
        let filter = self.filter.insert(filter);
        let combined = filter.read(&self.options, &mut files.log)?;
        publish(&self.name, merged, combined);
        Ok(())
    }

    fn read_actions(&mut self, base: &str, files: &mut Files) -> Result<(), Error> {
        let Some(wanted) = self.options.get("action").cloned() else { return Ok(()) };
        let text = wanted.datum.to_text();
        for act in wanted_actions(&text) {
            let action = self.read_action(act, base, files).map_err(|error| {
                let error = error.at_place(wanted.place_of(act));
                if error.kind == ErrorKind::Jail {
                    return error;
                }
                files.log.trace(Level::DEBUG, logger::JAIL, || format!("Caught exception: {error}"));
                let message = format!("Error in action definition {}: {}", repr(act), error.repr());
                error.wrapped(ErrorKind::Value, message)
            })?;
            self.actions.push(action);
        }
        Ok(())
    }

    fn read_action(&self, act: &str, base: &str, files: &mut Files) -> Result<Action, Error> {
        let mut action = self.open_action(act, base, files)?;
        action.read(&self.options, &mut files.log)?;
        Ok(action)
    }

    /// One of the jail's [`wanted_actions`], without its options.
    pub(crate) fn open_action(&self, act: &str, base: &str, files: &mut Files) -> Result<Action, Error> {
        let (name, options) = extract_options(act).map_err(|error| {
            Error::new(ErrorKind::Jail, format!("Invalid action definition {}: {error}", repr(act)))
        })?;
        Action::open(files, base, (&name, &self.name), &options)?.ok_or_else(|| {
            let error = Error::new(ErrorKind::Jail, format!("Unable to read action {}", repr(&name)));
            error.hint(unread(base, "action.d", &name))
        })
    }

    /// The jail's options and what its filter makes of its own, where the filter wins (`getCombined`).
    pub(crate) fn combined(&mut self, log: &mut Log) -> Result<Options, Error> {
        match &mut self.filter {
            None => Ok((*self.options).clone()),
            Some(filter) => Ok(self.options.merged(&filter.definition.combined(&[], log)?)),
        }
    }

    /// The commands that set the jail up. Without `allow_no_files` it is an error that there is nothing to watch.
    pub(crate) fn commands(
        &mut self,
        allow_no_files: bool,
        globs: &mut Globs,
        log: &mut Log,
    ) -> Result<Vec<Command>, Error> {
        if let Some(error) = &self.config_error {
            return Ok(vec![self.skipped(error)]);
        }
        let mut stream = match &mut self.filter {
            Some(filter) => filter.commands(&self.name, log)?,
            None => Vec::new(),
        };
        fill(&mut stream, &self.options, &self.name)?;
        let mut backend = self.text_of("backend");
        let mut logs = Vec::new();
        for (name, setting) in self.options.iter() {
            match &**name {
                "logpath" if backend.starts_with("systemd") => {}
                "logpath" => {
                    logs = self.log_commands(setting, globs, &mut stream, log);
                    if logs.is_empty() {
                        match self.without_logs(&backend, allow_no_files) {
                            NoLogs::Error(message) => {
                                return Err(Error::value(message).at_place(setting.place()));
                            }
                            NoLogs::Watch(message) => self.warn(message, setting, log),
                            NoLogs::Journal(message) => {
                                self.warn(message, setting, log);
                                backend = "systemd".into();
                            }
                            NoLogs::Skip(message) => {
                                self.warn(message, setting, log);
                                let name = &self.name;
                                let message = format!("Jail '{name}' skipped, because of missing log files.");
                                self.warn(message.clone(), setting, log);
                                self.has_no_logs = true;
                                return Ok(vec![Command::words(["config-error", &message])]);
                            }
                        }
                    }
                }
                "ignoreip" => {
                    let mut command = Command::words(["set", &self.name, "addignoreip"]);
                    command.0.extend(split_words(&setting.datum.to_text()).map(Value::from));
                    stream.push(command);
                }
                name if is_silent(name) => {}
                name => stream.push(set(&self.name, name, setting)),
            }
        }
        stream.extend(logs);
        for action in &mut self.actions {
            stream.extend(action.commands(&self.name, log)?);
        }
        stream.insert(0, Command::words(["add", &self.name, &backend]));
        Ok(stream)
    }

    /// Takes note of a fault, which keeps the jail from being set up, and says so in the stream.
    pub(crate) fn leave_out(&mut self, fault: Fault, log: &mut Log) -> Result<Command, Error> {
        let Fault { option, text, message } = fault;
        let place = self.combined(log)?.get(&option).and_then(|setting| setting.place_of(&text));
        let message = format!("Jail {}: {message}", repr(&self.name));
        log.say_at(Level::ERROR, logger::JAIL, message.clone(), place);
        Ok(self.without(message, log))
    }

    /// Takes note of an error, at which upstream stops altogether.
    pub(crate) fn leave_out_for(&mut self, error: Error, log: &mut Log) -> Command {
        let message = error.to_string();
        log.say_error(logger::ROOT, format!("Failed during configuration: {message}"), error);
        self.without(message, log)
    }

    fn without(&mut self, message: String, log: &mut Log) -> Command {
        log.say(Level::ERROR, logger::JAILS, format!("Errors in jail {}. Skipping...", repr(&self.name)));
        let command = self.skipped(&message);
        self.config_error = Some(message);
        command
    }

    fn skipped(&self, error: &str) -> Command {
        let message = format!("Jail '{}' skipped, because of wrong configuration: {error}", self.name);
        Command::words(["config-error", &message])
    }

    fn text_of(&self, option: &str) -> String {
        self.options.get(option).map(|setting| setting.datum.to_text().to_string()).unwrap_or_default()
    }

    fn warn(&self, message: String, setting: &Setting, log: &mut Log) {
        log.say_at(Level::WARNING, logger::JAIL, message, setting.place());
    }

    /// The commands for the log files that are there; behind the path can stand where to start reading. What can't be named in
    /// one is told to the server, in the stream.
    fn log_commands(
        &self,
        setting: &Setting,
        globs: &mut Globs,
        stream: &mut Vec<Command>,
        log: &mut Log,
    ) -> Vec<Command> {
        let mut commands = Vec::new();
        for line in setting.datum.to_text().split('\n') {
            let (path, tail) = line.rsplit_once(' ').unwrap_or((line, "head"));
            let is_file = |file: &&String| {
                let is_file = exists(file);
                if !is_file {
                    let message = format!("File {file} is a dangling link, thus cannot be monitored");
                    log.say_at(Level::WARNING, logger::JAIL, message, setting.place_of(line));
                }
                is_file
            };
            let matching = globs.glob(path);
            let found: Vec<_> = matching.paths.iter().filter(is_file).collect();
            if let [first, others @ ..] = &*matching.no_texts {
                let more = if others.is_empty() { "" } else { &format!(" (like {} others)", others.len()) };
                let message =
                    format!("File {first}{more} cannot be monitored, its name is not UTF-8; rename it");
                stream.push(Command::words(["config-error", &format!("Jail '{}': {message}", self.name)]));
                log.say_at(Level::WARNING, logger::JAIL, message, setting.place_of(line));
            }
            if found.is_empty() && log.from <= Level::NOTICE {
                let message = format!("No file(s) found for glob {path}");
                log.say_at(Level::NOTICE, logger::JAIL, message, setting.place_of(line));
            }
            let add = |file: &String| Command::words(["set", &self.name, "addlogpath", file, tail]);
            commands.extend(found.into_iter().map(add));
        }
        commands
    }

    /// What to do where no log file is there.
    fn without_logs(&self, backend: &str, allow_no_files: bool) -> NoLogs {
        let message = format!("Have not found any log file for '{}' jail.", self.name);
        let is_true = |option: &str| self.options.get(option).is_some_and(|s| s.datum.is_true());
        let has_match = self.options.get("journalmatch").is_some_and(|s| s.datum != Datum::None);
        if backend.starts_with("auto") && is_true("systemd_if_nologs") && has_match {
            NoLogs::Journal(format!("{message} Jail will monitor systemd journal."))
        } else if is_true("skip_if_nologs") {
            NoLogs::Skip(message)
        } else if allow_no_files {
            NoLogs::Watch(message)
        } else {
            NoLogs::Error(message)
        }
    }
}

/// Makes what the filter says available to the jail's options as `known/name`.
fn publish(jail: &str, merged: &mut Merged, combined: &Options) {
    let Some(body) = merged.sections.get_mut(jail) else { return };
    let options = &mut Rc::make_mut(body).options;
    options.reserve(combined.len());
    let mut name = String::from(KNOWN);
    for (key, setting) in combined.iter() {
        if !key.starts_with(KNOWN) && &**key != "__name__" {
            let raw = Raw::new(setting.datum.clone(), setting.origin.clone());
            name.truncate(KNOWN.len());
            name.push_str(key);
            options.insert(&*name, raw);
        }
    }
}

/// The actions that the option `action` names, each with its brackets.
pub(crate) fn wanted_actions(text: &str) -> impl Iterator<Item = &str> {
    split_with_options(text).into_iter().map(strip).filter(|act| !act.is_empty())
}

/// Each with what to say about it.
enum NoLogs {
    Error(String),
    /// Go on without any.
    Watch(String),
    /// Watch the journal in their place.
    Journal(String),
    /// Leave the jail out.
    Skip(String),
}

fn is_silent(option: &str) -> bool {
    SILENT.contains(&option) || crate::filter::TEMPLATE.iter().any(|wanted| wanted.name == option)
}

fn header<'a>(merged: &'a Merged, section: &str) -> Option<&'a Origin> {
    merged.sections.get(section)?.header.as_deref()
}

/// What to do about a filter or an action that can't be read.
fn unread(base: &str, directory: &str, name: &str) -> String {
    let path = join(base, &join(directory, name));
    let names = glob(&join(base, &join(directory, "*.conf")));
    let names = names.iter().map(|path| split_path(stem(path)).1);
    let unread = format!("neither {path}.conf nor {path}.local can be read");
    match nearest(name, names) {
        Some(name) => format!("{unread}; did you mean `{name}`?"),
        None => unread,
    }
}
