//! Tries the commands of a jail on what they are for, before a server gets them.
//!
//! A server that refuses one command in the middle of its configuration is of no use to anybody. Here a fault still has
//! a place in a file, and it concerns one jail.

use std::fs::File;

use f2b_config::{Fault, Judge};
use f2b_filter::Filter;
use f2b_jail::Increment;
use f2b_protocol::{Command, Value};
use f2b_types::str2seconds;

/// Judges by doing: compiles expressions, reads durations, opens log files.
#[derive(Debug)]
pub(super) struct Trial;

impl Judge for Trial {
    fn judge(&self, commands: &[Command]) -> Option<Fault> {
        let mut filter = Filter::new("", 2000);
        let mut increment = Increment::default();
        commands.iter().find_map(|command| {
            let option = command.word(2)?;
            let values: Vec<String> = match command.0.get(3)? {
                Value::List(values) => values.iter().map(Value::to_text).collect(),
                value => vec![value.to_text()],
            };
            values.into_iter().find_map(|value| {
                let message = attempt(option, &value, &mut filter, &mut increment).err()?;
                let option = option.strip_prefix("add").unwrap_or(option);
                Some(Fault { option: option.into(), text: value, message })
            })
        })
    }
}

/// Does what the command would do; what is wrong comes back in the words of whoever refused it.
fn attempt(option: &str, value: &str, filter: &mut Filter, increment: &mut Increment) -> Result<(), String> {
    match option {
        "usedns" => {
            filter.set_use_dns(value);
            Ok(())
        }
        "maxlines" => {
            let lines = value.parse().map_err(|_| format!("maxlines must be an integer, not '{value}'"))?;
            filter.set_max_lines(lines).map_err(text)
        }
        "prefregex" => filter.set_prefregex(value).map_err(text),
        "addfailregex" => filter.add_failregex(value).map_err(text),
        "addignoreregex" => filter.add_ignoreregex(value).map_err(text),
        "datepattern" => filter.set_date_pattern(value).map_err(text),
        "logtimezone" => filter.set_log_time_zone(Some(value)).map_err(text),
        "logencoding" => filter.set_log_encoding(value).map_err(text),
        "findtime" | "bantime" => str2seconds(value).map(drop).map_err(|error| format!("{option}: {error}")),
        "addlogpath" => open(value),
        _ => match option.strip_prefix("bantime.") {
            Some(extra) => increment.set(extra, value).map_err(|error| format!("{option}: {error}")),
            None => Ok(()),
        },
    }
}

fn text(error: impl std::error::Error) -> String {
    error.to_string()
}

/// Whether a log file can be read; a directory opens, but has no lines.
fn open(path: &str) -> Result<(), String> {
    let opened = File::open(path).and_then(|file| file.metadata());
    match opened {
        Ok(meta) if meta.is_dir() => Err(format!("Unable to open {path}: it is a directory")),
        Ok(_) => Ok(()),
        Err(error) => Err(format!("Unable to open {path}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(words: &[&str], expected: Option<(&str, &str)>) {
        let fault = Trial.judge(&[Command::words(words.iter().copied())]);
        let seen = fault.as_ref().map(|fault| (fault.option.as_str(), fault.text.as_str()));
        assert_eq!(seen, expected, "{fault:?}");
    }

    #[test]
    fn what_a_server_would_refuse_is_a_fault() {
        check(&["set", "j", "addfailregex", "^from <HOST>$"], None);
        check(&["set", "j", "addfailregex", "^from (<HOST>$"], Some(("failregex", "^from (<HOST>$")));
        check(&["set", "j", "addfailregex", "^nobody$"], Some(("failregex", "^nobody$")));
        check(&["set", "j", "addignoreregex", "*"], Some(("ignoreregex", "*")));
        check(&["set", "j", "bantime", "10m"], None);
        check(&["set", "j", "bantime", "soon"], Some(("bantime", "soon")));
        check(&["set", "j", "bantime.rndtime", "x"], Some(("bantime.rndtime", "x")));
        check(&["set", "j", "logencoding", "klingon"], Some(("logencoding", "klingon")));
        check(&["set", "j", "addlogpath", "/nowhere", "head"], Some(("logpath", "/nowhere")));
        check(&["set", "j", "addlogpath", "/", "head"], Some(("logpath", "/")));
        check(&["add", "j", "auto"], None);
    }

    #[test]
    fn of_several_expressions_the_wrong_one_is_named() {
        let mut command = Command::words(["multi-set", "j", "addfailregex"]);
        command.0.push(Value::strings(["^a <HOST>$", "^b <HOST$", "(<HOST>"]));
        let fault = Trial.judge(&[command]).map(|fault| fault.text);
        assert_eq!(fault.as_deref(), Some("^b <HOST$"));
    }
}
