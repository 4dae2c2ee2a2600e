//! The options that concern nobody but one jail: how they are set, and what they tell.
//!
//! Upstream: the setters and getters of `filter.Filter`, `actions.Actions` and `jail.Jail`, and the order in which
//! `transmitter.py` finds fault with a command: the option, its words, the jail, the value.

use f2b_config::extract_options;
use f2b_protocol::Value;
use f2b_types::{Id, Level, Number, Record, int};

use super::errors::{general, key_error, lookup_error, no_text, regex_error, value_error};
use super::jails::Running;
use super::transmitter::Result;
use super::words::{Words, seconds};

/// Options that can be set and, under the same name, asked for.
const PLAIN: &[&str] = &[
    "ignoreself",
    "ignorecommand",
    "ignorecache",
    "logencoding",
    "logformat",
    "prefregex",
    "usedns",
    "findtime",
    "datepattern",
    "logtimezone",
    "bantime",
];

/// Such options whose values are whole numbers.
const WHOLE_NUMBERS: &[&str] = &["maxmatches", "maxretry", "maxlines"];

/// What adds to a list, what takes away from it, and what the list is called.
const LISTS: &[(&str, &str, &str)] = &[
    ("addignoreip", "delignoreip", "ignoreip"),
    ("addlogpath", "dellogpath", "logpath"),
    ("addjournalmatch", "deljournalmatch", "journalmatch"),
    ("addfailregex", "delfailregex", "failregex"),
    ("addignoreregex", "delignoreregex", "ignoreregex"),
];

/// What `get` calls the option that `set` calls `option`.
pub(super) fn readable(option: &str) -> &str {
    let list = LISTS.iter().find(|(add, delete, _)| *add == option || *delete == option);
    list.map_or(option, |(_, _, name)| name)
}

/// Refuses what `set` does not know, and words that are missing or wrong whatever the jail is.
pub(super) fn check_settable(option: &str, mut words: Words<'_>) -> Result<()> {
    match option {
        "addignoreip" | "addjournalmatch" | "deljournalmatch" => {}
        "idle" => {
            if !matches!(words.next_text()?.as_str(), "on" | "off") {
                return Err(general("Invalid idle option, must be 'on' or 'off'"));
            }
        }
        "addlogpath" => {
            words.next_value()?;
            match words.texts().as_slice() {
                [] => {}
                [word] if matches!(word.to_lowercase().as_str(), "head" | "tail") => {}
                [_] => return Err(value_error("File option must be 'head' or 'tail'")),
                _ => return Err(value_error("Only one file can be added at a time")),
            }
        }
        "delfailregex" | "delignoreregex" => drop(words.next_int()?),
        "ignorecache" => drop(cache_options(words)?),
        option if WHOLE_NUMBERS.contains(&option) => drop(words.next_int()?),
        option if PLAIN.contains(&option) || readable(option) != option => {
            words.next_value()?;
        }
        option if option.starts_with("bantime.") => drop(words.next_value()?),
        option => {
            let option = Value::from(option);
            return Err(general(format!("Invalid command {option} (no set action or not yet implemented)")));
        }
    }
    Ok(())
}

/// Refuses what `get` does not know.
pub(super) fn check_readable(option: &str) -> Result<()> {
    let known = matches!(option, "banned" | "banip")
        || PLAIN.contains(&option)
        || WHOLE_NUMBERS.contains(&option)
        || LISTS.iter().any(|(_, _, name)| *name == option)
        || option.starts_with("bantime.");
    if known { Ok(()) } else { Err(general("Invalid command (no get action or not yet implemented)")) }
}

impl Running {
    /// Sets an option; answers what is to be logged, besides what the filter says itself.
    pub(super) fn set(&mut self, option: &str, mut words: Words<'_>) -> Result<Vec<Record>> {
        let filter = &mut self.filter;
        self.changed = true;
        let mut records = Vec::new();
        let mut say = |logger, message: String| records.push(Record::new(Level::INFO, logger, message));
        match option {
            "ignoreself" => self.jail.ignore.ignore_self = is_true(words.next_value()?),
            "ignorecommand" => {
                self.ignore_command = words.next_value()?.clone();
                self.jail.asks_command = matches!(&self.ignore_command, Value::Str(text) if !text.is_empty());
            }
            "ignorecache" => self.ignore_cache = ignore_cache(words)?,
            "logencoding" => {
                let encoding = words.next_str("lower")?;
                filter.set_log_encoding(encoding).map_err(|error| lookup_error(error.to_string()))?;
            }
            "logformat" => {
                let text = words.next_text()?;
                filter.set_log_format(crate::log_format::parse(&text).map_err(value_error)?);
                say("filter", format!("  logformat: {text}"));
            }
            "prefregex" => {
                filter.set_prefregex(words.next_plain()?).map_err(|error| regex_error(error.to_string()))?
            }
            "delfailregex" => filter.del_failregex(words.next_int()?),
            "delignoreregex" => filter.del_ignoreregex(words.next_int()?),
            "usedns" => match words.clone().next_value()? {
                Value::Bool(yes) => filter.set_use_dns(if *yes { "yes" } else { "no" }),
                _ => filter.set_use_dns(words.next_str("lower")?),
            },
            "findtime" => {
                let seconds = words.next_seconds()?;
                self.jail.fails.max_time = seconds.as_f64();
                filter.set_find_time(seconds);
            }
            "datepattern" => match words.next_value()? {
                Value::None => filter.disable_date_detector(),
                Value::List(patterns) | Value::Tuple(patterns) => {
                    let patterns: Vec<String> = patterns.iter().map(Value::to_text).collect();
                    filter.set_date_pattern(&patterns.join("\n")).map_err(value_error_of)?;
                }
                Value::Str(pattern) => filter.set_date_pattern(pattern).map_err(value_error_of)?,
                other => return Err(no_text(other)),
            },
            "logtimezone" => match words.next_value()? {
                Value::None => filter.set_log_time_zone(None).map_err(value_error_of)?,
                zone => filter.set_log_time_zone(Some(&zone.to_text())).map_err(value_error_of)?,
            },
            "maxmatches" => self.jail.fails.max_matches = words.next_int()?,
            "maxretry" => {
                self.jail.fails.max_retry = words.next_int()?;
                say("filter", format!("  maxRetry: {}", self.jail.fails.max_retry));
            }
            "maxlines" => filter.set_max_lines(words.next_int()?).map_err(value_error_of)?,
            "bantime" => {
                let seconds = words.next_seconds()?;
                self.jail.bans.set_ban_time(seconds.as_i64() as f64);
                say("actions", format!("  banTime: {seconds}"));
            }
            _ => {
                if let Some(extra) = option.strip_prefix("bantime.") {
                    return self.set_ban_time_extra(extra, words.next_value()?);
                }
            }
        }
        Ok(records)
    }

    /// Sets `bantime.<extra>`; an empty value takes it back.
    fn set_ban_time_extra(&mut self, extra: &str, value: &Value) -> Result<Vec<Record>> {
        let given = match value {
            Value::Str(text) if text.is_empty() => Value::None,
            value => value.clone(),
        };
        let text = match (extra, &given) {
            ("increment", value) => if is_true(value) { "true" } else { "" }.into(),
            (_, Value::None) => String::new(),
            (_, value) => value.to_text(),
        };
        let result = self.jail.increment.set(extra, &text);
        result.map_err(|error| value_error(error.to_string()))?;
        let kept = match extra {
            "increment" => Value::Bool(self.jail.increment.enabled),
            "maxtime" => self.jail.increment.max_time_option().map_or(Value::None, Number::into),
            "rndtime" => self.jail.increment.random_time_option().map_or(Value::None, Number::into),
            _ => given.clone(),
        };
        self.ban_time_extra.retain(|(name, _)| name != extra);
        self.ban_time_extra.push((extra.into(), kept));
        let message = format!("Set banTime.{extra} = {}", given.to_text());
        let mut records = vec![Record::new(Level::INFO, "jail", message)];
        if extra == "increment" && self.jail.increment.enabled && !self.jail.has_database {
            let message = "ban time increment is not available as long jail database is not set";
            records.push(Record::new(Level::WARNING, "jail", message));
        }
        Ok(records)
    }

    /// What an option tells; `None` for one that isn't known.
    pub(super) fn get(&self, option: &str) -> Option<Value> {
        let filter = &self.filter;
        let text = |text: &str| Value::Str(text.into());
        Some(match option {
            "idle" => self.idle.into(),
            "ignoreself" => self.jail.ignore.ignore_self.into(),
            "ignoreip" => Value::strings(self.jail.ignore.iter().map(Id::to_string)),
            "ignorecommand" => self.ignore_command.clone(),
            "ignorecache" => self.ignore_cache.clone(),
            "logpath" => Value::strings(self.files.iter().map(|file| file.path.as_str())),
            "logencoding" => text(filter.log_encoding().name()),
            "logformat" => filter.log_format().map_or(Value::None, |format| text(&format.to_string())),
            "journalmatch" => {
                let matches = self.journal.iter().flat_map(|journal| &journal.matches);
                Value::List(matches.map(|words| Value::strings(words.iter().map(String::as_str))).collect())
            }
            "prefregex" => text(filter.prefregex().unwrap_or_default()),
            "failregex" => Value::strings(filter.failregex()),
            "ignoreregex" => Value::strings(filter.ignoreregex()),
            "usedns" => text(&filter.use_dns().to_string()),
            "findtime" => filter.find_time().into(),
            "datepattern" => match filter.date_pattern() {
                Some((pattern, name)) => {
                    Value::Tuple(vec![pattern.map_or(Value::None, Value::from), Value::from(name)])
                }
                None => Value::None,
            },
            "logtimezone" => filter.log_time_zone().map_or(Value::None, text),
            "maxmatches" => Value::Int(self.jail.fails.max_matches),
            "maxretry" => Value::Int(self.jail.fails.max_retry),
            "maxlines" => Value::Int(filter.max_lines() as i64),
            "bantime" => Value::Int(self.jail.bans.ban_time as i64),
            _ => {
                let extra = option.strip_prefix("bantime.")?;
                let kept = self.ban_time_extra.iter().find(|(name, _)| name == extra);
                kept.map_or(Value::None, |(_, value)| value.clone())
            }
        })
    }
}

/// Python's idea of a switch (`helpers._as_bool`).
fn is_true(value: &Value) -> bool {
    match value {
        Value::Bool(b) => *b,
        Value::Str(text) => f2b_types::is_on(text),
        Value::None => false,
        Value::Int(n) => *n != 0,
        Value::Float(x) => *x != 0.0,
        Value::Bytes(bytes) => !bytes.is_empty(),
        Value::Dict(entries) => !entries.is_empty(),
        other => other.as_items().is_none_or(|items| !items.is_empty()),
    }
}

/// The options in `key="<ip>",max-count=100,max-time=5m`.
fn cache_options(mut words: Words<'_>) -> Result<Vec<(String, String)>> {
    let text = words.next_plain()?;
    match extract_options(&format!("cache[{text}]")) {
        Ok((_, options)) => Ok(options),
        Err(error) => Err(value_error(error.to_string())),
    }
}

/// `[key, number of entries, seconds]`, or nothing without options.
pub(super) fn ignore_cache(words: Words<'_>) -> Result<Value> {
    let options = cache_options(words)?;
    if options.is_empty() {
        return Ok(Value::None);
    }
    let option =
        |name: &str| options.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let key = option("key").ok_or_else(|| key_error("key"))?;
    let count = option("max-count").map_or(Ok(100), |text| {
        let wrong = || value_error(format!("invalid literal for int() with base 10: {}", Value::from(text)));
        int(text).ok_or_else(wrong)
    })?;
    let time = option("max-time").map_or(Ok(Number::Int(300)), seconds)?;
    Ok(Value::List(vec![key.into(), count.into(), time.into()]))
}

fn value_error_of(error: impl std::fmt::Display) -> f2b_protocol::Exception {
    value_error(error.to_string())
}
