//! Replies as people read them.
//!
//! Which text a value becomes depends on the command that it answers (`beautifier.Beautifier`). A value that does not
//! fit its command is no error of the user: then what is done so far and the value are printed side by side, as Python
//! would write them.

mod exception;
mod python;
mod stats;
mod status;

use f2b_protocol::{Exception, Value};
use f2b_types::Level;

pub(crate) use self::exception::args as exception_args;
use self::python::{Broken, Text, items, join, plus, sequence, text_or};

/// A reply that does not fit its command.
#[derive(Debug, Clone, PartialEq)]
pub struct Unfit {
    /// What is printed all the same.
    pub text: String,
}

/// How the terminal takes letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    /// Tables have lines of `|` and `-`.
    Ascii,
    /// Tables have real lines.
    Utf8,
}

impl Charset {
    /// The character set that the locale asks for, as Python sees it: UTF-8 unless a locale names another.
    pub fn from_locale(variable: impl Fn(&str) -> Option<String>) -> Self {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .into_iter()
            .find_map(|name| variable(name).filter(|v| !v.is_empty()));
        let Some(locale) = locale else { return Self::Utf8 };
        let codeset =
            locale.split('@').next().and_then(|locale| locale.split_once('.')).map(|(_, codeset)| codeset);
        match codeset {
            Some(codeset) if codeset.replace('-', "").eq_ignore_ascii_case("utf8") => Self::Utf8,
            None if matches!(locale.as_str(), "C" | "POSIX") => Self::Utf8,
            _ => Self::Ascii,
        }
    }
}

/// The text for the `response` to a `command`.
///
/// # Errors
///
/// [`Unfit`] where the response does not have the shape that the command calls for.
pub fn beautify(command: &[Value], response: &Value, charset: Charset) -> Result<String, Unfit> {
    render(command, response, charset).map_err(|Broken(so_far)| Unfit { text: format!("{so_far}{response}") })
}

/// The text for an `exception` in answer to a command (`Beautifier.beautifyError`).
pub fn beautify_error(exception: &Exception) -> String {
    let first = || exception.args.first().map(Value::to_text).unwrap_or_default();
    match (exception.module.as_str(), exception.class.as_str()) {
        ("fail2ban.exceptions", "UnknownJailException") => {
            format!("Sorry but the jail '{}' does not exist", first())
        }
        ("fail2ban.exceptions", "DuplicateJailException") => format!("The jail '{}' already exists", first()),
        ("builtins", "IndexError") => "Sorry but the command is invalid".into(),
        _ => exception::text(exception),
    }
}

fn render(command: &[Value], response: &Value, charset: Charset) -> Result<String, Broken> {
    let word = |index: usize| command.get(index).and_then(Value::as_str).unwrap_or_default();
    let unchanged = || Ok(response.to_text());
    // What upstream has at hand when it fails before it wrote anything.
    let untouched = || Broken(response.clone());
    match word(0) {
        "ping" => plus("Server replied: ", response).ok_or_else(untouched),
        "start" => Ok("Jail started".into()),
        "stop" if *response == Value::None && command.len() == 1 => Ok("Shutdown successful".into()),
        "stop" if *response == Value::None => Ok("Jail stopped".into()),
        "version" | "stop" => unchanged(),
        "add" => plus("Added jail ", response).ok_or_else(untouched),
        "flushlogs" => plus("logs: ", response).ok_or_else(untouched),
        "echo" => join(" ", response).ok_or_else(untouched),
        "status" => status::render(command, response),
        "stats" | "statistics" => stats::render(response, charset).ok_or_else(untouched),
        _ => match command.len() {
            0 | 1 => unchanged(),
            _ => render_option(command, response).unwrap_or_else(unchanged),
        },
    }
}

/// The options of the server, told by the second word; `None` for what is printed as it is.
fn render_option(command: &[Value], response: &Value) -> Option<Text> {
    let disabled = || Ok("Database currently disabled".into());
    let below = |head: &str| plus(&format!("{head}`- "), response).ok_or_else(|| Broken(head.into()));
    Some(match command.get(1).and_then(Value::as_str) {
        Some("syslogsocket") => below("Current syslog socket is:\n"),
        Some("logtarget") => below("Current logging target is:\n"),
        Some("loglevel") => Ok(format!("Current logging level is {}", level_name(response))),
        Some("dbfile" | "dbpurgeage") if *response == Value::None => disabled(),
        Some("dbfile") => below("Current database file is:\n"),
        Some("dbpurgeage") => {
            let head = "Current database purge age is:\n";
            match response {
                Value::Int(n) => Ok(format!("{head}`- {n}seconds")),
                Value::Bool(b) => Ok(format!("{head}`- {}seconds", u8::from(*b))),
                Value::Float(x) if x.is_finite() => Ok(format!("{head}`- {:.0}seconds", x.trunc())),
                _ => Err(Broken(head.into())),
            }
        }
        _ => return render_jail_option(command, response),
    })
}

/// The options of a jail, told by the third word.
fn render_jail_option(command: &[Value], response: &Value) -> Option<Text> {
    let untouched = || Broken(response.clone());
    let jail = command.get(1)?.to_text();
    let list = |none: &str, head: &str, line: fn(usize, &Value) -> Option<String>| {
        text_or(none, response).unwrap_or_else(|| tree(head, response, line))
    };
    Some(match command.get(2)?.as_str()? {
        "logpath" | "addlogpath" | "dellogpath" => {
            list("No file is currently monitored", "Current monitored log file(s):\n", |_, path| {
                plus("", path)
            })
        }
        "logencoding" => {
            let head = "Current log encoding is set to:\n";
            plus(head, response).ok_or_else(|| Broken(head.into()))
        }
        "journalmatch" | "addjournalmatch" | "deljournalmatch" => {
            let head = "Current match filter:\n";
            text_or("No journal match filter set", response).unwrap_or_else(|| {
                let matches = items(response).and_then(|matches| {
                    matches.iter().map(|words| join(" ", words)).collect::<Option<Vec<_>>>()
                });
                matches.map(|m| format!("{head}{}", m.join(" + "))).ok_or_else(|| Broken(head.into()))
            })
        }
        "datepattern" => date_pattern(response),
        "ignoreip" | "addignoreip" | "delignoreip" => {
            list("No IP address/network is ignored", "These IP addresses/networks are ignored:\n", |_, ip| {
                Some(ip.to_text())
            })
        }
        "failregex" | "addfailregex" | "delfailregex" | "ignoreregex" | "addignoreregex"
        | "delignoreregex" => list(
            "No regular expression is defined",
            "The following regular expression are defined:\n",
            |index, regex| plus(&format!("[{index}]: "), regex),
        ),
        "actions" => names(
            &format!("No actions for jail {jail}"),
            &format!("The jail {jail} has the following actions:\n"),
            response,
        ),
        kind @ ("actionproperties" | "actionmethods") => {
            let what = kind.trim_start_matches("action");
            let Some(action) = command.get(3).map(Value::to_text) else { return Some(Err(untouched())) };
            names(
                &format!("No {what} for jail {jail} action {action}"),
                &format!("The jail {jail} action {action} has the following {what}:\n"),
                response,
            )
        }
        "banip" if command.first().and_then(Value::as_str) == Some("get") => match response {
            Value::List(_) => {
                let separator = match command.get(3).map(Value::as_str) {
                    None => " ",
                    Some(Some("--with-time")) => "\n",
                    Some(Some(separator)) => separator,
                    Some(None) => return Some(Err(untouched())),
                };
                join(separator, response).ok_or_else(untouched)
            }
            _ => return None,
        },
        _ => return None,
    })
}

/// A line for each element below a head; the last branch differs.
fn tree(head: &str, response: &Value, line: fn(usize, &Value) -> Option<String>) -> Text {
    let items = sequence(response).ok_or_else(|| Broken(head.into()))?;
    let mut text = String::from(head);
    for (index, item) in items.iter().enumerate() {
        let is_last = index + 1 == items.len();
        let line = line(index, item).ok_or_else(|| Broken(text.as_str().into()))?;
        text += if is_last { "`- " } else { "|- " };
        text += &line;
        text += if is_last { "" } else { "\n" };
    }
    Ok(text)
}

fn names(none: &str, head: &str, response: &Value) -> Text {
    text_or(none, response).unwrap_or_else(|| {
        join(", ", response).map(|names| format!("{head}{names}")).ok_or_else(|| Broken(head.into()))
    })
}

fn date_pattern(response: &Value) -> Text {
    let head = "Current date pattern set to: ";
    let pair = items(response).unwrap_or_default();
    match (response, pair.as_slice()) {
        (Value::None, _) => Ok(format!("{head}Not set/required")),
        (_, [Value::None, name, ..]) => Ok(format!("{head}{}", name.to_text())),
        (Value::Tuple(_), [pattern, name]) => Ok(format!("{head}{} ({})", pattern.to_text(), name.to_text())),
        _ => Err(Broken(head.into())),
    }
}

/// Levels have names or numbers; either prints as a Python literal. Upstream has short names for all that Python has no
/// name for (`fail2ban/__init__.py`).
fn level_name(response: &Value) -> String {
    let level = match response {
        Value::Int(n) => *n,
        Value::Bool(b) => (*b).into(),
        other => return other.to_string(),
    };
    let name = match level {
        0 => "NOTSET".into(),
        5 => "HEAVY".into(),
        7 => "TRACE".into(),
        18 => "MSG".into(),
        10 | 20 | 25 | 30 | 40 | 50 => Level(level as u8).to_string(),
        1..50 => format!("#{level:02}-Lev."),
        _ => format!("Level {level}"),
    };
    Value::from(name).to_string()
}

#[cfg(test)]
mod tests;
