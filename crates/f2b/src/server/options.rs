//! What `set` and `get` change and tell: options of the server, of a jail, of an action.

use std::path::Path;

use f2b_config::extract_options;
use f2b_jail::ListSource;
use f2b_protocol::Value;
use f2b_types::{Id, Level, Log, Number};

use super::core::Core;
use super::database::Ask;
use super::errors::{
    attribute_error, general, key_error, no_text, os_error, regex_error, too_short, value_error,
};
use super::fifo;
use super::jail_options::{check_settable, readable};
use super::jails::WatchedFile;
use super::reader::Watch;
use super::tail::{self, Place};
use super::transmitter::{Answer, Outcome, Result};
use super::words::{Words, id, seconds};
use super::worker::{Change, Work};
use crate::logging::syslog_socket;

impl Core {
    /// Sets an option of the server; `None` if `name` is none.
    pub(super) fn set_server_option(&mut self, name: &str, mut words: Words<'_>) -> Result<Option<Value>> {
        match name {
            "loglevel" => {
                let text = words.next_str("upper")?.to_uppercase();
                let wrong = || value_error(format!("Invalid log level {}", Value::from(text.as_str())));
                let level: Level = text.parse().map_err(|_| wrong())?;
                self.logger.set_level(level);
                for running in &mut self.jails {
                    running.jail.log_level = level;
                }
                self.options.loglevel = text;
            }
            "logtarget" => self.set_log_target(words.next_plain()?)?,
            "syslogsocket" => {
                let socket = words.next_plain()?;
                let is_new = self.options.syslogsocket != socket;
                self.options.syslogsocket = socket.into();
                if is_new && self.options.logtarget == "SYSLOG" {
                    self.set_log_target("SYSLOG")?;
                }
            }
            "allowipv6" => {
                let value = words.next_value()?.clone();
                let meaning = self.ipv6.set(&value);
                self.log(Level::DEBUG, "ipdns", format!("IPv6 is {meaning}"));
                return Ok(Some(value));
            }
            "thread" => {
                self.set_thread_options(words.next_value()?)?;
                return Ok(Some(Value::None));
            }
            "dbfile" => self.set_database(&words.next_text()?)?,
            "dbmaxmatches" | "dbpurgeage" if self.database.is_none() => {
                let message = format!("{name} setting was not in effect since no db yet");
                self.log(Level::MSG, "transmitter", message);
            }
            "dbmaxmatches" => {
                let lines = words.next_int()?;
                self.options.dbmaxmatches = lines;
                self.tell_database(Ask::SetMaxMatches(lines));
            }
            "dbpurgeage" => {
                let age = words.next_seconds()?;
                self.options.dbpurgeage = age;
                self.tell_database(Ask::SetPurgeAge(age));
            }
            _ => return Ok(None),
        }
        Ok(self.get_server_option(name))
    }

    fn set_thread_options(&mut self, options: &Value) -> Result<()> {
        let Value::Dict(options) = options else { return Err(attribute_error(options, "items")) };
        for (option, value) in options {
            if option.as_str() != Some("stacksize") {
                return Err(key_error(format!("unknown option {option}")));
            }
            let size = Words::new(std::slice::from_ref(value)).next_int()?;
            self.options.thread = Value::Dict(vec![(option.clone(), size.into())]);
        }
        Ok(())
    }

    fn set_log_target(&mut self, target: &str) -> Result<()> {
        let (name, _) = extract_options(target).map_err(|error| value_error(error.to_string()))?;
        if self.options.logtarget == name && name != "SYSLOG" {
            return Ok(());
        }
        self.options.syslogsocket = syslog_socket(&name, &self.options.syslogsocket).into();
        if let Err(error) = self.logger.set_target(target, &self.options.syslogsocket) {
            self.log(Level::ERROR, "server", error.to_string());
            let previous = format!("Logging to previous target '{}'", self.options.logtarget);
            self.log(Level::INFO, "server", previous);
            return Err(general("Failed to change log target"));
        }
        self.log(Level::INFO, "server", format!("Start Fail2ban v{}", f2b_types::VERSION));
        let shown = match &*name {
            "SYSLOG" => format!("SYSLOG ({})", self.options.syslogsocket),
            name => name.to_owned(),
        };
        let message = format!("Changed logging target to {shown} for Fail2ban v{}", f2b_types::VERSION);
        self.options.logtarget = name;
        self.log(Level::INFO, "server", message);
        Ok(())
    }

    /// The value of an option of the server; `None` if `name` is none.
    pub(super) fn get_server_option(&self, name: &str) -> Option<Value> {
        let with_database = |value: Value| if self.database.is_some() { value } else { Value::None };
        Some(match name {
            "loglevel" => self.options.loglevel.as_str().into(),
            "logtarget" => self.options.logtarget.as_str().into(),
            "syslogsocket" => self.options.syslogsocket.as_str().into(),
            "thread" => self.options.thread.clone(),
            "dbfile" => {
                self.database.as_ref().map_or(Value::None, |database| database.filename.as_str().into())
            }
            "dbmaxmatches" => with_database(self.options.dbmaxmatches.into()),
            "dbpurgeage" => with_database(self.options.dbpurgeage.into()),
            _ => return None,
        })
    }

    /// Sets an option of a jail and tells its value.
    pub(super) fn set_jail_option(
        &mut self,
        mut name: Words<'_>,
        option: &str,
        mut words: Words<'_>,
        multiple: bool,
    ) -> Result<Value> {
        check_settable(option, words)?;
        let name = name.next_jail()?;
        self.jail(name)?;
        match option {
            "idle" => self.set_idle(name, words.next_text()? == "on")?,
            "addignoreip" => self.add_ignored(name, words)?,
            "delignoreip" => {
                let text = words.next_plain()?;
                let id = match list_of(text)? {
                    Some(list) => Id::raw(list.as_str()),
                    None => Id::parse(text),
                };
                self.log(Level::DEBUG, "filter", format!("  Remove {} from ignore list", Value::from(text)));
                if !self.jail(name)?.jail.ignore.remove(&id) {
                    return Err(value_error("list.remove(x): x not in list"));
                }
                self.look_up_ignored(name);
            }
            "addlogpath" => self.add_log_path(name, words)?,
            "dellogpath" => {
                let path = words.next_plain()?;
                let running = self.jail(name)?;
                let before = running.files.len();
                running.files.retain(|file| file.path != path);
                running.changed = true;
                let (key, started) = (running.key, running.started);
                if running.files.len() < before {
                    self.log_removed(path);
                    if started {
                        // The database has to know the place in it before somebody adds it again.
                        self.ship_changes();
                        self.tell_and_wait(key, Watch::Settle(key));
                    }
                }
            }
            "addjournalmatch" => self.add_journal_match(name, &words.texts())?,
            "deljournalmatch" => self.del_journal_match(name, words.texts())?,
            "addfailregex" | "addignoreregex" => {
                self.add_regexes(name, option, words, multiple)?;
                if multiple {
                    return Ok(Value::Bool(true));
                }
            }
            _ => {
                if let ("prefregex", [regex, ..]) = (option, words.values()) {
                    self.log(Level::DEBUG, "server", format!("  prefregex: {regex}"));
                }
                let result = self.jail(name)?.set(option, words);
                self.log_filter(name);
                for record in result? {
                    self.logger.write(record);
                }
            }
        }
        self.get_jail_option(name, readable(option), Words::new(&[]))
    }

    /// `addignoreip IP ...`
    fn add_ignored(&mut self, name: &str, words: Words<'_>) -> Result<()> {
        for word in words.values() {
            let text = text_of(word)?;
            let ignore = &mut self.jail(name)?.jail.ignore;
            let (shown, is_new) = match list_of(text)? {
                _ if text.is_empty() => continue,
                Some(list) => (list.to_string(), ignore.add_list(list)),
                None => {
                    let id = id(text)?;
                    (id.to_string(), ignore.add(id))
                }
            };
            let id = Value::from(shown);
            if is_new {
                self.log(Level::DEBUG, "filter", format!("  Add {id} to ignore list ({word})"));
            } else {
                let message = format!("  Ignore duplicate {id} ({word}), already in ignore list");
                self.log(Level::MSG, "filter", message);
            }
        }
        self.look_up_ignored(name);
        Ok(())
    }

    fn add_regexes(&mut self, name: &str, option: &str, mut words: Words<'_>, multiple: bool) -> Result<()> {
        let value = words.next_value()?;
        let regexes = match value.as_items() {
            Some(items) if multiple => items,
            _ => std::slice::from_ref(value),
        };
        for regex in regexes {
            self.log(Level::DEBUG, "server", format!("  {}: {regex}", readable(option)));
            let filter = &mut self.jail(name)?.filter;
            let regex = text_of(regex)?;
            let result = match option {
                "addfailregex" => filter.add_failregex(regex),
                _ => filter.add_ignoreregex(regex),
            };
            self.jail(name)?.changed = true;
            self.log_filter(name);
            result.map_err(|error| regex_error(error.to_string()))?;
        }
        Ok(())
    }

    /// Logs what the filter of a jail has to say about its new settings.
    fn log_filter(&mut self, name: &str) {
        let records = self.jail(name).map(|running| running.filter.take_records()).unwrap_or_default();
        for record in records {
            self.logger.write(record);
        }
    }

    /// `addlogpath FILE [head|tail]`
    fn add_log_path(&mut self, name: &str, mut words: Words<'_>) -> Result<()> {
        let path = words.next_plain()?.to_owned();
        let tail = words.texts().first().is_some_and(|word| word.eq_ignore_ascii_case("tail"));
        let running = self.jail(name)?;
        if running.journal.is_some() {
            return Ok(());
        }
        if running.files.iter().any(|file| file.path == path) {
            if !running.keeps_file(&path) {
                self.log(Level::ERROR, "filter", format!("{path} already exists"));
            }
            return Ok(());
        }
        let fail = |error: std::io::Error| os_error(&error, &path);
        let hash = tail::first_line_hash(Path::new(&path)).map_err(fail)?;
        let size = std::fs::metadata(&path).map_err(fail)?.len();
        // There is no place in a FIFO.
        let database = self.database.clone().filter(|_| !fifo::is_fifo(Path::new(&path)));
        let known = database.and_then(|database| {
            let (jail, path, hash) = (name.to_owned(), path.clone(), Some(hash.clone()));
            let position = Number::Int(if tail { size as i64 } else { 0 });
            database.ask(|answer| Ask::AddLog { jail, path, position, hash, answer }).flatten()
        });
        let known = known.filter(|_| !tail).and_then(|known| {
            let position = u64::try_from(known.position.as_i64()).ok()?;
            let place = Place { position, hash: known.md5.unwrap_or_else(|| hash.clone()) };
            Some((place, known.at, known.old))
        });
        let (place, read, old) = known.unwrap_or_else(|| {
            (Place { position: if tail { size } else { 0 }, hash: hash.clone() }, None, Vec::new())
        });
        // Of another file the reader looks for what is left of it.
        let position = if place.hash == hash { place.position } else { 0 };
        let name_of_file = Value::from(path.as_str());
        let message = format!("Added logfile: {name_of_file} (pos = {position}, hash = {hash})");
        self.log(Level::INFO, "filter", message);
        let running = self.jail(name)?;
        running.files.push(WatchedFile { path, place, read, old, tail });
        running.changed = true;
        Ok(())
    }

    /// Says that a jail reads a file no longer.
    pub(super) fn log_removed(&self, path: &str) {
        self.log(Level::INFO, "filter", format!("Removed logfile: {}", Value::from(path)));
    }

    /// The value of an option of a jail.
    pub(super) fn get_jail_option(
        &mut self,
        name: &str,
        option: &str,
        mut words: Words<'_>,
    ) -> Result<Value> {
        let zone = self.zone.clone();
        let running = self.jail(name)?;
        match option {
            "banned" => Ok(running.banned(&words.ids()?)),
            "banip" => {
                let with_time = words.next_text().is_ok_and(|word| word == "--with-time");
                Ok(running.ban_list(with_time, &zone))
            }
            _ => running
                .get(option)
                .ok_or_else(|| general("Invalid command (no get action or not yet implemented)")),
        }
    }

    /// `addaction NAME [FILE OPTIONS]`, `delaction NAME`, `action NAME PROPERTY VALUE`, `action NAME [[PROPERTY, VALUE], ...]`
    pub(super) fn change_action(
        &mut self,
        mut name: Words<'_>,
        option: &str,
        mut words: Words<'_>,
        answer: Answer<'_>,
    ) -> Result<Outcome> {
        let action = words.next_plain()?.to_owned();
        let name = name.next_jail()?;
        self.jail(name)?;
        if option == "addaction" && words.len() > 0 {
            let (file, options) = (words.next_text()?, words.next_text()?);
            let change = match Path::new(&file).file_name().is_some_and(|name| name == "smtp.py") {
                true => Change::AddMail(action, options),
                false => Change::AddPython(action, file, options),
            };
            return self.hand_over(name, change, answer);
        }
        let change = match option {
            "addaction" => Change::Add(action),
            "delaction" => Change::Delete(action),
            _ => match change_of(&action, words) {
                Ok(change) => change,
                // In a stream the action is there already, and what is wrong with its jail is to be known now.
                Err(exception) if answer.is_none() => return Err(exception),
                Err(exception) => Change::Refuse { action, exception },
            },
        };
        self.hand_over(name, change, answer)
    }

    /// `actions`, `action NAME PROPERTY`, `actionproperties NAME`, `actionmethods NAME`
    pub(super) fn ask_action(
        &mut self,
        mut name: Words<'_>,
        option: &str,
        mut words: Words<'_>,
        answer: Answer<'_>,
    ) -> Result<Outcome> {
        let change = match option {
            "actions" => Change::Names,
            "actionproperties" => Change::Properties(words.next_text()?),
            "actionmethods" => Change::Methods(words.next_text()?),
            _ => Change::Get { action: words.next_text()?, property: words.next_text()? },
        };
        self.hand_over(name.next_jail()?, change, answer)
    }

    fn hand_over(&mut self, name: &str, change: Change, answer: Answer<'_>) -> Result<Outcome> {
        self.jail(name)?.send(Work::Change { change, answer: answer.cloned() });
        Ok(if answer.is_some() { Outcome::Later } else { Value::None.into() })
    }
}

/// A text that Python would search by an expression.
fn text_of(value: &Value) -> Result<&str> {
    value.as_str().ok_or_else(|| no_text(value))
}

/// The list that an entry of `ignoreip` names, if it does.
pub(super) fn list_of(entry: &str) -> Result<Option<ListSource>> {
    ListSource::parse(entry).map_err(|error| value_error(format!("{entry}: {error}")))
}

/// What is to become of the properties of an action: `PROPERTY VALUE`, `METHOD [ARGUMENTS]` or `[[PROPERTY, VALUE], ...]`.
fn change_of(action: &str, mut words: Words<'_>) -> Result<Change> {
    let action = action.to_owned();
    Ok(match words.next_value()? {
        Value::List(properties) => Change::Set { action, properties: action_settings(properties)? },
        name => Change::Tell { action, name: name.to_text(), value: words.next_value().ok().cloned() },
    })
}

/// The properties that the configuration gives an action, if it can take them.
pub(super) fn action_settings(properties: &[Value]) -> Result<Vec<(String, Value)>> {
    let properties = pairs(properties)?;
    for (_, timeout) in properties.iter().filter(|(name, _)| name == "timeout") {
        timeout.as_str().map_or(Ok(()), |text| seconds(text).map(drop))?;
    }
    Ok(properties)
}

/// `[[name, value], ...]`
fn pairs(properties: &[Value]) -> Result<Vec<(String, Value)>> {
    let pair = |property: &Value| match property.as_items() {
        Some([name, value]) => Ok((name.to_text(), value.clone())),
        _ => Err(too_short()),
    };
    properties.iter().map(pair).collect()
}
