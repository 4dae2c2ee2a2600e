//! Actions, and the commands that their options become.
//!
//! Answers to `actionreader.ActionReader`.

use std::rc::Rc;

use f2b_protocol::{Command, Value};

use crate::Error;
use crate::definition::{Definition, given, read_definition};
use crate::diagnostic::Log;
use crate::files::Files;
use crate::python::{absolute, join, stem};
use crate::setting::{Options, Setting};
use crate::template::Fallback::Unset;
use crate::template::Type::{Bool, Text};
use crate::template::{Wanted, want};

/// The options of an action.
pub(crate) const TEMPLATE: &[Wanted] = &[
    want(Text, "actionstart", Unset),
    want(Bool, "actionstart_on_demand", Unset),
    want(Text, "actionstop", Unset),
    want(Text, "actionflush", Unset),
    want(Text, "actionreload", Unset),
    want(Text, "actioncheck", Unset),
    want(Text, "actionrepair", Unset),
    want(Bool, "actionrepair_on_unban", Unset),
    want(Text, "actionban", Unset),
    want(Text, "actionprolong", Unset),
    want(Text, "actionreban", Unset),
    want(Text, "actionunban", Unset),
    want(Bool, "norestored", Unset),
];

/// Tags that only a ban can fill in, even where an option has the same name.
pub(crate) const IGNORED: &[&str] = &["matches", "ipmatches", "ipjailmatches", "timeout", "bantime"];

/// An action as one jail uses it.
#[derive(Debug)]
pub(crate) enum Action {
    /// Shell commands, from `action.d/name.conf`.
    Shell { name: String, definition: Box<Definition> },
    /// A program of its own, named in the configuration with its extension.
    Program {
        name: String,
        /// What the brackets say.
        given: Options,
        /// The command that adds it.
        add: Command,
    },
}

impl Action {
    /// Reads the action `file` for `jail` with what the brackets say; `None` where there is no such action.
    pub(crate) fn open(
        files: &mut Files,
        base: &str,
        (file, jail): (&str, &str),
        values: &[(String, String)],
    ) -> Result<Option<Self>, Error> {
        if file.ends_with(".py") {
            let add = add_program(base, (file, jail), values);
            let name = add.word(3).unwrap_or_default().to_owned();
            return Ok(Some(Self::Program { name, given: given(values), add }));
        }
        let mut init = given(values);
        let name = take_names(&mut init, file, jail);
        let texts = read_definition(files, base, &join("action.d", &absolute(file)))?;
        Ok(texts.map(|texts| {
            let definition = Box::new(Definition::new(texts, TEMPLATE, init));
            Self::Shell { name, definition }
        }))
    }

    /// Reads the options, where those of the jail win.
    pub(crate) fn read(&mut self, jail: &Rc<Options>, log: &mut Log) -> Result<(), Error> {
        match self {
            Self::Shell { definition, .. } => definition.read(jail, false, log),
            Self::Program { .. } => Ok(()),
        }
    }

    /// The files behind it; a program has none.
    pub(crate) fn definition(&self) -> Option<&Definition> {
        match self {
            Self::Shell { definition, .. } => Some(definition),
            Self::Program { .. } => None,
        }
    }

    /// The commands for `jail`.
    pub(crate) fn commands(&mut self, jail: &str, log: &mut Log) -> Result<Vec<Command>, Error> {
        let (name, definition) = match self {
            Self::Program { add, .. } => return Ok(vec![add.clone()]),
            Self::Shell { name, definition } => (name, definition),
        };
        let resolved = definition.resolved(IGNORED, log)?;
        let is_known = |name: &str| TEMPLATE.iter().any(|wanted| wanted.name == name);
        // Everything else is handed over as given, its tags unresolved: the action resolves them when it runs.
        let given = definition.init.iter().filter(|(name, _)| !is_known(name) && !name.starts_with("known/"));
        let given = given.map(|(name, setting)| (&**name, Value::from(&setting.datum)));
        let settings: Vec<_> = resolved
            .into_iter()
            .chain(given)
            .map(|(name, value)| Value::List(vec![name.into(), value]))
            .collect();
        let name = name.as_str();
        let add = Command::words(["set", jail, "addaction", name]);
        let set = vec!["multi-set".into(), jail.into(), "action".into(), name.into(), Value::List(settings)];
        Ok(vec![add, Command(set)])
    }
}

/// Sees to it that `name` and `actname` are given: the jail's name, and one that tells apart the actions of the jail.
fn take_names(init: &mut Options, file: &str, jail: &str) -> String {
    let mut text_of = |key: &str, default: String| match init.get(key) {
        Some(setting) => setting.datum.to_text().to_string(),
        None => {
            init.insert(key, Setting::text(&default));
            default
        }
    };
    let name = text_of("name", jail.to_owned());
    let suffix = match name.strip_prefix(jail) {
        Some(rest) => rest.to_owned(),
        None => format!("-{name}"),
    };
    text_of("actname", format!("{file}{suffix}"))
}

fn add_program(base: &str, (file, jail): (&str, &str), values: &[(String, String)]) -> Command {
    let named = values.iter().find(|(key, _)| key == "actname").map(|(_, value)| value.as_str());
    let path = join(&join(base, "action.d"), file);
    let rest: Vec<_> = values.iter().filter(|(key, _)| key != "actname").collect();
    Command::words(["set", jail, "addaction", named.unwrap_or(stem(file)), &path, &json(&rest)])
}

/// `json.dumps` of a dictionary of texts.
fn json(entries: &[&(String, String)]) -> String {
    let entries: Vec<_> =
        entries.iter().map(|(k, v)| format!("{}: {}", json_text(k), json_text(v))).collect();
    format!("{{{}}}", entries.join(", "))
}

fn json_text(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(c),
            c => {
                let mut units = [0; 2];
                c.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
            }
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values: &[(&str, &str)], expected: &str) {
        let values: Vec<_> = values.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let command = add_program("/etc/fail2ban", ("smtp.py", "sshd"), &values);
        assert_eq!(command.to_string(), expected);
    }

    #[test]
    fn a_program_gets_its_options_as_json() {
        check(&[], "['set', 'sshd', 'addaction', 'smtp', '/etc/fail2ban/action.d/smtp.py', '{}']");
        check(
            &[("a", "\"x\\\n\u{7f}é😀"), ("actname", "mail"), ("b", "1")],
            r#"['set', 'sshd', 'addaction', 'mail', '/etc/fail2ban/action.d/smtp.py', '{"a": "\\"x\\\\\\n\\u007f\\u00e9\\ud83d\\ude00", "b": "1"}']"#,
        );
    }

    #[test]
    fn the_actions_of_a_jail_have_names_of_their_own() {
        let name = |values: &[(&str, &str)]| {
            let values: Vec<_> = values.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            take_names(&mut given(&values), "iptables", "sshd")
        };
        assert_eq!(name(&[]), "iptables");
        assert_eq!(name(&[("name", "sshd-ddos")]), "iptables-ddos");
        assert_eq!(name(&[("name", "x")]), "iptables-x");
        assert_eq!(name(&[("name", "x"), ("actname", "y")]), "y");
    }
}
