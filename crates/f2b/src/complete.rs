//! Completion of command lines in a shell.
//!
//! The shells know nothing: their scripts (`f2b-client --shell-completion bash`) hand over the words that are typed so far
//! (`f2b-client --shell-words -- PROGRAM WORD...`), and print what comes back. What can come next is told by the list of
//! commands that `-h` prints ([`grammar`]); jails, actions and banned addresses are asked of the server, filters and jails
//! that it does not know are looked up in the configuration.

mod grammar;

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use f2b_config::RulesReader;
use f2b_protocol::{Command, Value};

use self::grammar::{Next, Slot};
use crate::client::Connection;
use crate::cmdline::{self, CmdLine};

/// A server that takes longer to answer is not worth waiting for.
const PATIENCE: Duration = Duration::from_millis(500);
/// More is of no use to anybody.
const MAX_CANDIDATES: usize = 10_000;

/// The script for a shell; `None` for one that has none.
pub(crate) fn script(shell: &str) -> Option<&'static str> {
    match shell {
        "bash" => Some(include_str!("complete/f2b.bash")),
        "zsh" => Some(include_str!("complete/f2b.zsh")),
        "fish" => Some(include_str!("complete/f2b.fish")),
        _ => None,
    }
}

/// What the last of the words can become: `words` are those of a command line, the name of its program first. Nothing
/// for a file, which shells know better.
pub(crate) fn candidates(words: &[String]) -> Vec<String> {
    let [program, words @ .., last] = words else { return Vec::new() };
    let program = cmdline::program_name(Path::new(program));
    let mut found =
        if program.ends_with("regex") { of_regex(words, last) } else { of_client(&program, words, last) };
    found.retain(|candidate| candidate.starts_with(last.as_str()) && !candidate.contains(char::is_control));
    found.sort();
    found.dedup();
    found.truncate(MAX_CANDIDATES);
    found
}

fn of_regex(words: &[String], last: &str) -> Vec<String> {
    if last.starts_with('-') {
        return crate::regex::spellings().map(String::from).collect();
    }
    let root = given(words, &["-c", "--config"]).unwrap_or(cmdline::DEFAULT_ROOT);
    let args = words.iter().filter(|word| !word.starts_with('-')).count();
    // The log comes first.
    if args == 0 { Vec::new() } else { [filters(Path::new(root)), jails_in(Path::new(root))].concat() }
}

/// The value of one of the options, if it is given.
fn given<'a>(words: &'a [String], names: &[&str]) -> Option<&'a str> {
    let at = words.iter().position(|word| names.contains(&word.as_str()))?;
    words.get(at + 1).map(String::as_str)
}

fn of_client(program: &str, words: &[String], last: &str) -> Vec<String> {
    let argv: Vec<OsString> =
        [program].into_iter().chain(words.iter().map(String::as_str)).map(Into::into).collect();
    let line = match cmdline::parse(&argv) {
        Ok(line) => line,
        // What is missing is the value of an option.
        Err(_) => return of_option(words),
    };
    if line.args.is_empty() && last.starts_with('-') {
        return cmdline::options().map(String::from).collect();
    }
    if line.is_server() {
        return Vec::new();
    }
    let source = Source { line: &line };
    let mut found = Vec::new();
    for next in grammar::next(&line.args) {
        match next {
            Next::Word(word) => found.push(word.to_owned()),
            Next::Slot(slot) => found.extend(source.values(slot)),
        }
    }
    found
}

fn of_option(words: &[String]) -> Vec<String> {
    let root = given(words, &["-c", "--conf"]).unwrap_or(cmdline::DEFAULT_ROOT);
    match words.last().map(String::as_str) {
        Some("--explain") => jails_in(Path::new(root)),
        Some("--loglevel") => owned(LEVELS),
        Some("--logtarget") => owned(TARGETS),
        Some("--syslogsocket") => owned(&["auto"]),
        Some("--shell-completion") => owned(&["bash", "zsh", "fish"]),
        _ => Vec::new(),
    }
}

const LEVELS: &[&str] =
    &["CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG", "TRACEDEBUG", "HEAVYDEBUG"];
const TARGETS: &[&str] = &["STDOUT", "STDERR", "SYSLOG", "SYSTEMD-JOURNAL", "SYSOUT"];

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

/// The names of the filters in a configuration directory.
fn filters(root: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(root.join("filter.d")) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let stem = |name: String| {
        let stem = name.strip_suffix(".conf").or_else(|| name.strip_suffix(".local"))?;
        Some(stem.to_owned())
    };
    names.filter_map(stem).collect()
}

/// The jails of a configuration, whether they are on or not.
fn jails_in(root: &Path) -> Vec<String> {
    RulesReader::new().jails(root).unwrap_or_default()
}

/// Where the values of a command's slots come from.
struct Source<'a> {
    line: &'a CmdLine,
}

impl Source<'_> {
    fn values(&self, slot: Slot) -> Vec<String> {
        let word = |index: usize| self.line.args.get(index).map_or("", String::as_str);
        let of_jail = |what: &str| texts(&self.ask(&["get", word(1), what]));
        match slot {
            Slot::Jail => self.jails(word(0)),
            Slot::Action => words_of(&self.ask(&["get", word(1), "actions"])),
            Slot::Property => words_of(&self.ask(&["get", word(1), "actionproperties", word(3)])),
            Slot::Method => words_of(&self.ask(&["get", word(1), "actionmethods", word(3)])),
            Slot::Level => owned(LEVELS),
            Slot::Target => owned(TARGETS),
            Slot::Flavor => owned(&["basic", "cymru", "short", "stats"]),
            Slot::Backend => owned(&["auto", "polling", "pyinotify", "systemd"]),
            Slot::Value if word(2) == "usedns" => owned(&["yes", "warn", "no", "raw"]),
            Slot::Address => match (word(0), word(2)) {
                ("unban" | "banned", _) => self.banned(),
                ("set", "unbanip") | ("get", "banned") => of_jail("banned"),
                ("set", "delignoreip") => of_jail("ignoreip"),
                _ => Vec::new(),
            },
            Slot::File if word(2) == "dellogpath" => of_jail("logpath"),
            Slot::Value | Slot::File | Slot::Other => Vec::new(),
        }
    }

    /// Those of the server; a reload and a restart can bring others.
    fn jails(&self, command: &str) -> Vec<String> {
        let status = self.ask(&["status"]);
        let list = pairs(&status).find(|(name, _)| *name == "Jail list").and_then(|(_, list)| list.as_str());
        let mut jails: Vec<String> =
            list.into_iter().flat_map(|list| list.split(", ")).map(String::from).collect();
        if matches!(command, "reload" | "restart") {
            jails.extend(jails_in(&self.line.root));
        }
        jails.retain(|jail| !jail.is_empty());
        jails
    }

    /// All banned addresses of all jails.
    fn banned(&self) -> Vec<String> {
        let Value::List(jails) = self.ask(&["banned"]) else { return Vec::new() };
        let bans = |jail: &Value| match jail {
            Value::Dict(entries) => entries.iter().flat_map(|(_, bans)| texts(bans)).collect(),
            _ => Vec::new(),
        };
        jails.iter().flat_map(bans).collect()
    }

    /// What the server answers, or nothing.
    fn ask(&self, words: &[&str]) -> Value {
        let socket = match &self.line.socket {
            Some(socket) => Some(socket.clone()),
            None => f2b_config::early_options(&self.line.root).ok().map(|early| early.socket.into()),
        };
        let answer = socket.and_then(|socket| {
            let mut connection = Connection::open(&socket, Some(PATIENCE)).ok()?;
            connection.send(&Command::words(words.iter().copied())).ok()?.ok()
        });
        answer.unwrap_or(Value::None)
    }
}

/// The entries of a tree such as `status` answers with.
fn pairs(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let items = if let Value::List(items) = value { items.as_slice() } else { &[] };
    items.iter().filter_map(|item| match item {
        Value::Tuple(pair) => Some((pair.first()?.as_str()?, pair.get(1)?)),
        _ => None,
    })
}

/// The texts in a list.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::List(items) | Value::Tuple(items) => {
            items.iter().filter_map(Value::as_str).map(String::from).collect()
        }
        _ => Vec::new(),
    }
}

/// The names in a list.
fn words_of(value: &Value) -> Vec<String> {
    let mut words = texts(value);
    words.retain(|word| !word.contains(' '));
    words
}
