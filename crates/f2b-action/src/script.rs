//! What the shell gets: a script, and the values that a log line brought in as its arguments.
//!
//! A tag that stands for something captured from a log is never pasted into the command where it could mean anything
//! to the shell: the value becomes an argument of `sh -c`, the script begins with an assignment such as
//! `f2bV_matches=$0`, and `$f2bV_matches` takes the place of the tag. Such tags are replaced once, never recursively, and
//! the result is never kept.
//!
//! Upstream: `CommandAction.replaceDynamicTags` and `Utils.buildShellCmd`.

use std::fmt::{self, Write};

use f2b_protocol::Value;

use crate::families::Family;
use crate::info::TAGS;
use crate::names::{FixedNames, Names, host_tag};
use crate::tags::{needs_escape, replace_once};

/// A script for `/bin/sh -c` and its arguments `$0`, `$1`...
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Script {
    /// What is run.
    pub text: String,
    /// What the script refers to as `$0`, `$1`...
    pub args: Vec<String>,
}

impl Script {
    /// A script without arguments.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), args: Vec::new() }
    }

    /// Python's `repr` of what upstream hands to `subprocess.Popen`.
    pub fn repr(&self) -> String {
        if self.args.is_empty() {
            return Value::from(self.text.as_str()).to_string();
        }
        Value::strings(std::iter::once(&self.text).chain(&self.args)).to_string()
    }
}

/// Python's `str` of what upstream hands to `subprocess.Popen`, for the log.
impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.args.is_empty() { f.write_str(&self.text) } else { f.write_str(&self.repr()) }
    }
}

/// Answers to the tags of one ban.
pub trait TagSource {
    /// The value of `<name>`; `None` where there is no such tag.
    fn tag(&self, name: &str) -> Option<String>;

    /// What the filter captured as `name`, in lower case: `user` for `<F-USER>`.
    fn field(&self, name: &str) -> Option<String>;
}

/// What a command is about: a ban of the jail, or what a client says of one.
pub(crate) trait Subject: TagSource {
    /// The family, nothing for an id that is no address, and the empty one where nothing is known of it.
    fn family(&self) -> Family;

    /// Whether the ban comes from the database.
    fn is_restored(&self) -> bool;
}

/// The script that comes from `command` when the tags of `source` are filled in.
pub fn fill(command: &str, source: &dyn TagSource, names: &dyn Names) -> Script {
    let mut variables = Variables::default();
    let mut text = replace_once(command, |tag| match source.tag(tag.name) {
        Some(value) => Some(variables.escape(tag.name, value)),
        None => host_tag(tag.name, names),
    });
    if text.contains('<') {
        text = replace_once(&text, |tag| {
            let name = field_name(tag.name)?;
            let value = source.field(&name);
            Some(value.map_or_else(String::new, |value| variables.escape(&format!("F_{name}"), value)))
        });
    }
    variables.into_script(text)
}

/// Whether `<tag>` can be answered when an action runs: by the ban, by this machine or by what a filter captured.
pub fn is_ban_tag(tag: &str) -> bool {
    TAGS.contains(&tag) || host_tag(tag, &FixedNames::default()).is_some() || field_name(tag).is_some()
}

/// The group that `<F-NAME>` asks for; `None` for a tag of another form.
fn field_name(tag: &str) -> Option<String> {
    let name = tag.strip_prefix("F-")?;
    let valid = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    if name.is_empty() || !name.chars().all(valid) {
        return None;
    }
    Some(match name {
        "ID" => "fid".into(),
        "PORT" => "fport".into(),
        name => name.to_ascii_lowercase(),
    })
}

/// Shell variables and their values, in the order of their first use.
#[derive(Default)]
struct Variables(Vec<(String, String)>);

impl Variables {
    /// The value itself where it is harmless, else the variable that holds it.
    fn escape(&mut self, tag: &str, value: String) -> String {
        if !value.contains(needs_escape) {
            return value;
        }
        let name: String =
            tag.chars().map(|c| if c == '_' || c.is_alphanumeric() { c } else { '_' }).collect();
        let name = format!("f2bV_{name}");
        let reference = format!("${name}");
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some(variable) => variable.1 = value,
            None => self.0.push((name, value)),
        }
        reference
    }

    fn into_script(self, text: String) -> Script {
        if self.0.is_empty() {
            return Script::new(text);
        }
        let mut head = String::new();
        for (index, (name, _)) in self.0.iter().enumerate() {
            // Upstream writes `$10` too, which is `$1` and a zero to the shell.
            let written = if index < 10 {
                write!(head, "{name}=${index} ")
            } else {
                write!(head, "{name}=${{{index}}} ")
            };
            debug_assert!(written.is_ok());
        }
        Script { text: format!("{head}\n{text}"), args: self.0.into_iter().map(|(_, value)| value).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::FixedNames;

    struct Pairs(&'static [(&'static str, &'static str)]);

    impl TagSource for Pairs {
        fn tag(&self, name: &str) -> Option<String> {
            self.0.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).into())
        }

        fn field(&self, name: &str) -> Option<String> {
            self.tag(&format!("field {name}"))
        }
    }

    #[track_caller]
    fn check(command: &str, pairs: &'static [(&'static str, &'static str)], text: &str, args: &[&str]) {
        let script = fill(command, &Pairs(pairs), &FixedNames::default());
        assert_eq!((script.text.as_str(), script.args.as_slice()), (text, strings(args).as_slice()));
    }

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).into()).collect()
    }

    #[test]
    fn harmless_values_stand_in_the_command() {
        check("ban <ip> <time>", &[("ip", "192.0.2.1"), ("time", "1.5")], "ban 192.0.2.1 1.5", &[]);
        check("<br>|<sp>|<sh-hostname>", &[], "\n| |host", &[]);
        check("echo <HOST> <unknown>", &[], "echo <HOST> <unknown>", &[]);
    }

    #[test]
    fn other_values_become_variables() {
        check(
            "a <matches> b <matches> <jail.name>",
            &[("matches", "$(reboot)\n"), ("jail.name", "x;y")],
            "f2bV_matches=$0 f2bV_jail_name=$1 \na $f2bV_matches b $f2bV_matches $f2bV_jail_name",
            &["$(reboot)\n", "x;y"],
        );
    }

    #[test]
    fn captured_fields_are_found_by_their_tag() {
        check(
            "u=<F-USER> <F-ID> <F-PORT> <F-NONE>. <F-lower>",
            &[("field user", "a b"), ("field fid", "it's"), ("field fport", "22")],
            "f2bV_F_fid=$0 \nu=a b $f2bV_F_fid 22 . <F-lower>",
            &["it's"],
        );
    }

    #[test]
    fn a_value_is_never_read_again() {
        check(
            "<ip> <F-USER>",
            &[("ip", "<F-USER>"), ("field user", "<ip>")],
            "f2bV_ip=$0 f2bV_F_user=$1 \n$f2bV_ip $f2bV_F_user",
            &["<F-USER>", "<ip>"],
        );
    }

    #[test]
    fn from_the_tenth_variable_on_the_shell_needs_braces() {
        let command: String = (b'A'..=b'L').map(|c| format!("<F-{}>", char::from(c))).collect();
        struct Quotes;
        impl TagSource for Quotes {
            fn tag(&self, _: &str) -> Option<String> {
                None
            }
            fn field(&self, name: &str) -> Option<String> {
                Some(format!("'{name}"))
            }
        }
        let script = fill(&command, &Quotes, &FixedNames::default());
        assert!(script.text.contains("f2bV_F_j=$9 f2bV_F_k=${10} f2bV_F_l=${11} \n"), "{}", script.text);
        assert_eq!(script.args.len(), 12);
    }

    #[test]
    fn scripts_print_as_python_prints_them() {
        assert_eq!(Script::new("it's").to_string(), "it's");
        assert_eq!(Script::new("it's").repr(), "\"it's\"");
        let script = Script { text: "a=$0 \nb".into(), args: vec!["'".into()] };
        assert_eq!(script.to_string(), "['a=$0 \\nb', \"'\"]");
    }
}
