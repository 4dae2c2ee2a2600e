//! What `set` and `get` change and tell: options of the server, of a jail, of an action.

use std::path::Path;

use f2b_action::METHODS;
use f2b_protocol::Value;
use f2b_types::{Id, Level, Log, Number};

use super::core::Core;
use super::database::Ask;
use super::errors::{general, lookup_error, os_error, regex_error, too_short, value_error};
use super::jails::{Running, WatchedFile};
use super::log_file;
use super::transmitter::{Answer, Outcome, Result, Words};
use super::worker::{Change, Work};

impl Core {
    /// Sets an option of the server; `None` if `name` is none.
    pub(super) fn set_server_option(&mut self, name: &str, mut words: Words<'_>) -> Result<Option<Value>> {
        match name {
            "loglevel" => {
                let text = words.next_text()?.to_uppercase();
                let level: Level = text.parse().map_err(|error: String| value_error(error))?;
                self.logger.set_level(level);
                for running in &mut self.jails {
                    running.jail.log_level = level;
                }
                self.options.loglevel = text;
            }
            "logtarget" => self.set_log_target(&words.next_text()?)?,
            "syslogsocket" => {
                self.options.syslogsocket = words.next_text()?;
                if self.options.logtarget == "SYSLOG" {
                    self.set_log_target("SYSLOG")?;
                }
            }
            "allowipv6" => return words.next_value().cloned().map(Some),
            "thread" => {
                self.options.thread = words.next_value()?.clone();
                return Ok(Some(Value::None));
            }
            "dbfile" => self.set_database(&words.next_text()?)?,
            "dbmaxmatches" => {
                let lines = words.next_int()?;
                if self.database.is_some() {
                    self.options.dbmaxmatches = lines;
                    self.tell_database(Ask::SetMaxMatches(usize::try_from(lines).unwrap_or(0)));
                }
            }
            "dbpurgeage" => {
                let age = words.next_seconds()?;
                if self.database.is_some() {
                    self.options.dbpurgeage = age;
                    self.tell_database(Ask::SetPurgeAge(age));
                }
            }
            _ => return Ok(None),
        }
        Ok(self.get_server_option(name))
    }

    fn set_log_target(&mut self, target: &str) -> Result<()> {
        if self.options.logtarget == target && target != "SYSLOG" {
            return Ok(());
        }
        if let Err(error) = self.logger.set_target(target, &self.options.syslogsocket) {
            self.log(Level::ERROR, "server", error.to_string());
            let previous = format!("Logging to previous target '{}'", self.options.logtarget);
            self.log(Level::INFO, "server", previous);
            return Err(general("Failed to change log target"));
        }
        self.options.logtarget = target.into();
        self.log(Level::INFO, "server", format!("Start Fail2ban v{}", f2b_types::VERSION));
        let message = format!("Changed logging target to {target} for Fail2ban v{}", f2b_types::VERSION);
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
        name: &str,
        option: &str,
        mut words: Words<'_>,
        multiple: bool,
    ) -> Result<Value> {
        match option {
            "idle" => {
                let idle = match words.next_text()?.as_str() {
                    "on" => true,
                    "off" => false,
                    _ => return Err(general("Invalid idle option, must be 'on' or 'off'")),
                };
                self.set_idle(name, idle)?;
            }
            "addignoreip" => {
                let texts = words.texts();
                for text in texts.into_iter().filter(|text| !text.is_empty()) {
                    if !self.jail(name)?.jail.ignore.add(Id::parse(&text)) {
                        let message = format!("  Ignore duplicate '{text}', already in ignore list");
                        self.log(Level::MSG, "filter", message);
                    }
                }
                self.look_up_ignored(name);
            }
            "delignoreip" => {
                let text = words.next_text()?;
                if !self.jail(name)?.jail.ignore.remove(&Id::parse(&text)) {
                    return Err(value_error("list.remove(x): x not in list"));
                }
            }
            "addlogpath" => self.add_log_path(name, words)?,
            "dellogpath" => {
                let path = words.next_text()?;
                let running = self.jail(name)?;
                let before = running.files.len();
                running.files.retain(|file| file.path != path);
                running.changed = true;
                if running.files.len() < before {
                    self.log(Level::INFO, "filter", format!("Removed logfile: '{path}'"));
                }
            }
            "addfailregex" | "addignoreregex" => {
                self.add_regexes(name, option, words, multiple)?;
                if multiple {
                    return Ok(Value::Bool(true));
                }
            }
            _ => {
                let result = self.jail(name)?.set(option, words);
                self.log_filter(name);
                if let Some((logger, message)) = result? {
                    self.log(Level::INFO, logger, message);
                }
            }
        }
        let shown = match option {
            "addignoreip" | "delignoreip" => "ignoreip",
            "addlogpath" | "dellogpath" => "logpath",
            "addfailregex" | "delfailregex" => "failregex",
            "addignoreregex" | "delignoreregex" => "ignoreregex",
            "addjournalmatch" | "deljournalmatch" => "journalmatch",
            other => other,
        };
        self.get_jail_option(name, shown, Words::new(&[]))
    }

    fn add_regexes(&mut self, name: &str, option: &str, mut words: Words<'_>, multiple: bool) -> Result<()> {
        let value = words.next_value()?;
        let regexes: Vec<String> = match value.as_items() {
            Some(items) if multiple => items.iter().map(Value::to_text).collect(),
            _ => vec![value.to_text()],
        };
        for regex in regexes {
            let filter = &mut self.jail(name)?.filter;
            let result = match option {
                "addfailregex" => filter.add_failregex(&regex),
                _ => filter.add_ignoreregex(&regex),
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
        let path = words.next_text()?;
        let tail = match words.texts().as_slice() {
            [] => false,
            [word] if word.eq_ignore_ascii_case("tail") => true,
            [word] if word.eq_ignore_ascii_case("head") => false,
            [_] => return Err(value_error("File option must be 'head' or 'tail'")),
            _ => return Err(value_error("Only one file can be added at a time")),
        };
        let running = self.jail(name)?;
        if running.files.iter().any(|file| file.path == path) {
            if !running.keeps_file(&path) {
                self.log(Level::ERROR, "filter", format!("{path} already exists"));
            }
            return Ok(());
        }
        let fail = |error: std::io::Error| os_error(&error, &path);
        let hash = log_file::first_line_hash(Path::new(&path)).map_err(fail)?;
        let size = std::fs::metadata(&path).map_err(fail)?.len();
        let known = self.database.clone().and_then(|database| {
            let (jail, path, hash) = (name.to_owned(), path.clone(), hash.clone());
            let position = if tail { size } else { 0 };
            database.ask(|answer| Ask::AddLog { jail, path, position, hash, answer }).flatten()
        });
        let position = if tail { size } else { known.unwrap_or(0) };
        let message = format!("Added logfile: '{path}' (pos = {position}, hash = {hash})");
        self.log(Level::INFO, "filter", message);
        let running = self.jail(name)?;
        running.files.push(WatchedFile { path, position, hash, tail });
        running.changed = true;
        Ok(())
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
            "banned" => Ok(running.banned(&words.ids())),
            "banip" => {
                let with_time = words.next_text().is_ok_and(|word| word == "--with-time");
                Ok(running.ban_list(with_time, &zone))
            }
            _ => running
                .get(option)
                .ok_or_else(|| general("Invalid command (no get action or not yet implemented)")),
        }
    }

    /// `addaction NAME`, `delaction NAME`, `action NAME PROPERTY VALUE`, `action NAME [[PROPERTY, VALUE], ...]`
    pub(super) fn change_action(
        &mut self,
        name: &str,
        option: &str,
        mut words: Words<'_>,
        answer: Answer<'_>,
    ) -> Result<Outcome> {
        let action = words.next_text()?;
        if option == "addaction" && words.len() > 0 {
            let message = format!(
                "Action '{action}' of jail '{name}' is a Python action, which this version does not run"
            );
            self.jail(name)?;
            self.log(Level::ERROR, "actions", message);
            return Ok(action.into());
        }
        let change = match option {
            "addaction" => Change::Add(action),
            "delaction" => Change::Delete(action),
            _ => match words.next_value()? {
                Value::List(properties) => Change::Set { action, properties: pairs(properties)? },
                property => {
                    let property = property.to_text();
                    match METHODS.contains(&property.as_str()) {
                        true => Change::Call { action, method: property },
                        false => Change::SetOne { action, property, value: words.next_value()?.clone() },
                    }
                }
            },
        };
        self.hand_over(name, change, answer)
    }

    /// `actions`, `action NAME PROPERTY`, `actionproperties NAME`, `actionmethods NAME`
    pub(super) fn ask_action(
        &mut self,
        name: &str,
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
        self.hand_over(name, change, answer)
    }

    fn hand_over(&mut self, name: &str, change: Change, answer: Answer<'_>) -> Result<Outcome> {
        self.jail(name)?.send(Work::Change { change, answer: answer.cloned() });
        Ok(if answer.is_some() { Outcome::Later } else { Value::None.into() })
    }
}

/// `[[name, value], ...]`
fn pairs(properties: &[Value]) -> Result<Vec<(String, Value)>> {
    let pair = |property: &Value| match property.as_items() {
        Some([name, value]) => Ok((name.to_text(), value.clone())),
        _ => Err(too_short()),
    };
    properties.iter().map(pair).collect()
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Bool(b) => *b,
        Value::Int(n) => *n != 0,
        other => matches!(other.to_text().to_lowercase().as_str(), "1" | "on" | "true" | "yes"),
    }
}

impl Running {
    /// Sets an option that concerns nobody but the jail; answers what is to be logged, and by whom.
    fn set(&mut self, option: &str, mut words: Words<'_>) -> Result<Option<(&'static str, String)>> {
        let filter = &mut self.filter;
        self.changed = true;
        let mut message = None;
        match option {
            "ignoreself" => self.jail.ignore.ignore_self = is_true(words.next_value()?),
            "ignorecommand" => self.ignore_command = Some(words.next_text()?),
            "ignorecache" => self.ignore_cache = Some(words.next_value()?.clone()),
            "logencoding" => {
                let name = words.next_text()?;
                filter.set_log_encoding(&name).map_err(|error| lookup_error(error.to_string()))?;
                message = Some(("filter", format!("  encoding: {}", filter.log_encoding().name())));
            }
            "prefregex" => {
                filter.set_prefregex(&words.next_text()?).map_err(|error| regex_error(error.to_string()))?
            }
            "delfailregex" => filter.del_failregex(words.next_int()?),
            "delignoreregex" => filter.del_ignoreregex(words.next_int()?),
            "usedns" => filter.set_use_dns(&words.next_text()?),
            "findtime" => {
                let seconds = words.next_seconds()?;
                self.jail.fails.max_time = seconds.as_f64();
                filter.set_find_time(seconds);
                message = Some(("filter", format!("  findtime: {seconds}")));
            }
            "datepattern" => filter.set_date_pattern(&words.next_text()?).map_err(value_error_of)?,
            "logtimezone" => filter.set_log_time_zone(Some(&words.next_text()?)).map_err(value_error_of)?,
            "maxmatches" => self.jail.fails.max_matches = usize::try_from(words.next_int()?).unwrap_or(0),
            "maxretry" => {
                self.jail.fails.max_retry = words.next_int()?;
                message = Some(("filter", format!("  maxRetry: {}", self.jail.fails.max_retry)));
            }
            "maxlines" => {
                let lines = words.next_int()?;
                filter.set_max_lines(lines).map_err(value_error_of)?;
                message = Some(("filter", format!("  maxLines: {lines}")));
            }
            "bantime" => {
                let seconds = words.next_seconds()?;
                self.jail.bans.set_ban_time(seconds.as_i64() as f64);
                message = Some(("actions", format!("  banTime: {seconds}")));
            }
            "addjournalmatch" => self.journal_match.push(Value::strings(words.texts())),
            "deljournalmatch" => {
                let gone = Value::strings(words.texts());
                self.journal_match.retain(|known| *known != gone);
            }
            _ => match option.strip_prefix("bantime.") {
                Some(extra) => {
                    let value = words.next_text()?;
                    message = Some(("jail", format!("Set banTime.{extra} = {value}")));
                    let result = self.jail.increment.set(extra, &value);
                    result.map_err(|error| value_error(error.to_string()))?;
                }
                None => {
                    let shown = Value::from(option);
                    let message = format!("Invalid command {shown} (no set action or not yet implemented)");
                    return Err(general(message));
                }
            },
        }
        Ok(message)
    }

    fn get(&self, option: &str) -> Option<Value> {
        let filter = &self.filter;
        let text = |text: &str| Value::Str(text.into());
        Some(match option {
            "idle" => self.idle.into(),
            "ignoreself" => self.jail.ignore.ignore_self.into(),
            "ignoreip" => Value::strings(self.jail.ignore.iter().map(Id::to_string)),
            "ignorecommand" => self.ignore_command.as_deref().map_or(Value::Bool(false), text),
            "ignorecache" => self.ignore_cache.clone().unwrap_or(Value::None),
            "logpath" => Value::strings(self.files.iter().map(|file| file.path.as_str())),
            "logencoding" => text(filter.log_encoding().name()),
            "journalmatch" => Value::List(self.journal_match.clone()),
            "prefregex" => text(filter.prefregex().unwrap_or_default()),
            "failregex" => Value::strings(filter.failregex()),
            "ignoreregex" => Value::strings(filter.ignoreregex()),
            "usedns" => text(&filter.use_dns().to_string()),
            "findtime" => filter.find_time().into(),
            "datepattern" => match filter.date_pattern() {
                Some((pattern, name)) => {
                    Value::Tuple(vec![pattern.map_or(Value::None, Value::Str), Value::Str(name)])
                }
                None => Value::None,
            },
            "logtimezone" => filter.log_time_zone().map_or(Value::None, text),
            "maxmatches" => Value::Int(self.jail.fails.max_matches as i64),
            "maxretry" => Value::Int(self.jail.fails.max_retry),
            "maxlines" => Value::Int(filter.max_lines() as i64),
            "bantime" => Value::Int(self.jail.bans.ban_time as i64),
            _ => return option.strip_prefix("bantime.").map(|extra| self.get_increment(extra)),
        })
    }

    fn get_increment(&self, extra: &str) -> Value {
        let increment = &self.jail.increment;
        match extra {
            "increment" => increment.enabled.into(),
            "maxtime" => increment.max_time_option().map_or(Value::None, Number::into),
            "rndtime" => increment.random_time_option().map_or(Value::None, Number::into),
            other => increment.text_option(other).map_or(Value::None, Value::from),
        }
    }
}

fn value_error_of(error: impl std::fmt::Display) -> f2b_protocol::Exception {
    value_error(error.to_string())
}
