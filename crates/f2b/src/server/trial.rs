//! Tries the commands of a jail on what they are for, before a server gets them.
//!
//! A server that refuses one command in the middle of its configuration is of no use to anybody. Here a fault still has
//! a place in a file, and it concerns one jail.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileTypeExt;

use f2b_config::{Fault, Judge, TagUser};
use f2b_filter::{Filter, UseDns};
use f2b_jail::Increment;
use f2b_protocol::{Command, Value};
use f2b_types::str2seconds;
use nix::unistd::{AccessFlags, access};

use super::refusal::{Refusal, refusal};
use crate::client::Judges;

/// Who judges what a server would refuse.
pub(super) static JUDGES: Judges = Judges { all: &Trial::OF_ALL, running: &Trial::BUT_BACKENDS };

/// Judges by doing: compiles expressions, reads durations, opens log files.
#[derive(Debug)]
struct Trial {
    backends: bool,
}

impl Trial {
    /// Judges everything.
    const OF_ALL: Self = Self { backends: true };

    /// Leaves it to a server that runs what it can follow logs with: its log tells which jail can't be taken over.
    const BUT_BACKENDS: Self = Self { backends: false };
}

impl Judge for Trial {
    fn judge(&self, commands: &[Command]) -> Vec<Fault> {
        let mut filter = Filter::new("", 2000);
        let mut increment = Increment::default();
        let mut faults = Vec::new();
        for command in commands {
            if command.word(0) == Some("add") && !self.backends {
                continue;
            }
            if let Some(Refusal { option, text, message }) = refusal(command) {
                faults.push(Fault { option: option.into(), text, message });
                continue;
            }
            let (Some(option), Some(value)) = (command.word(2), command.0.get(3)) else { continue };
            let values: Vec<String> = match value {
                Value::List(values) => values.iter().map(Value::to_text).collect(),
                value => vec![value.to_text()],
            };
            for text in values {
                if let Err(message) = attempt(option, &text, &mut filter, &mut increment) {
                    let option = option.strip_prefix("add").unwrap_or(option).into();
                    faults.push(Fault { option, text, message });
                }
            }
        }
        faults
    }

    fn knows_tag(&self, user: TagUser, tag: &str) -> bool {
        match user {
            TagUser::Filter => {
                let opened = format!("<{}>", tag.trim_start_matches('/'));
                f2b_filter::expand_tags(&opened, UseDns::Warn) != opened
            }
            TagUser::Action => f2b_action::is_ban_tag(tag),
        }
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
        // Once it has compiled it has served; a file of 16 MiB can have a million of them.
        "addfailregex" => filter.add_failregex(value).map(|()| filter.del_failregex(0)).map_err(text),
        "addignoreregex" => filter.add_ignoreregex(value).map(|()| filter.del_ignoreregex(0)).map_err(text),
        "datepattern" => filter.set_date_pattern(value).map_err(text),
        "logtimezone" => filter.set_log_time_zone(Some(value)).map_err(text),
        "logencoding" => filter.set_log_encoding(value).map_err(text),
        "logformat" => crate::log_format::parse(value).map(|format| filter.set_log_format(format)),
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

/// Whether a log file can be read; a directory opens, but has no lines. A FIFO is not opened: its writers would take us for a
/// reader.
fn open(path: &str) -> Result<(), String> {
    let opened = match fs::metadata(path) {
        Ok(meta) if meta.file_type().is_fifo() => {
            access(path, AccessFlags::R_OK).map(|()| meta).map_err(io::Error::from)
        }
        _ => File::open(path).and_then(|file| file.metadata()),
    };
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
        let faults = Trial::OF_ALL.judge(&[Command::words(words.iter().copied())]);
        let seen = faults.iter().map(|fault| (fault.option.as_str(), fault.text.as_str()));
        assert_eq!(seen.collect::<Vec<_>>(), Vec::from_iter(expected), "{faults:?}");
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
        check(&["set", "j", "logformat", "docker-json"], None);
        check(&["set", "j", "logformat", "json[message=log.msg, time=ts]"], None);
        check(&["set", "j", "logformat", "json[msg=x]"], Some(("logformat", "json[msg=x]")));
        check(&["set", "j", "logformat", "xml"], Some(("logformat", "xml")));
        check(&["set", "j", "logformat", "json[time"], Some(("logformat", "json[time")));
        check(&["set", "j", "addlogpath", "/nowhere", "head"], Some(("logpath", "/nowhere")));
        check(&["set", "j", "addlogpath", "/", "head"], Some(("logpath", "/")));
        check(&["add", "j", "auto"], None);
        check(&["add", "j", "pollling"], Some(("backend", "pollling")));
        check(&["set", "j", "ignorecache", "max=3"], Some(("ignorecache", "max=3")));
        check(&["set", "j", "addignoreip", "::1", "url:ftp://x"], Some(("ignoreip", "url:ftp://x")));
    }

    #[test]
    fn of_several_expressions_the_wrong_ones_are_named() {
        let mut command = Command::words(["multi-set", "j", "addfailregex"]);
        command.0.push(Value::strings(["^a <HOST>$", "^b <HOST$", "(<HOST>"]));
        let faults: Vec<_> = Trial::OF_ALL.judge(&[command]).into_iter().map(|fault| fault.text).collect();
        assert_eq!(faults, ["^b <HOST$", "(<HOST>"]);
    }
}
