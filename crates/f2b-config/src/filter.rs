//! Filters, and the commands that their options become.
//!
//! Answers to `filterreader.FilterReader`.

use std::rc::Rc;

use f2b_protocol::{Command, Value};

use crate::Error;
use crate::definition::{Definition, Texts, given, read_definition};
use crate::diagnostic::Log;
use crate::files::Files;
use crate::python::{absolute, join};
use crate::setting::{Datum, Options, Setting};
use crate::template::Fallback::Unset;
use crate::template::Type::{Int, Text};
use crate::template::{Wanted, want};
use crate::words::shell_words;

/// The options of a filter, which a jail can set as well.
pub(crate) const TEMPLATE: &[Wanted] = &[
    want(Text, "usedns", Unset),
    want(Text, "prefregex", Unset),
    want(Text, "ignoreregex", Unset),
    want(Text, "failregex", Unset),
    want(Int, "maxlines", Unset),
    want(Text, "datepattern", Unset),
    want(Text, "journalmatch", Unset),
];

/// A filter as one jail uses it.
#[derive(Debug)]
pub(crate) struct Filter {
    pub(crate) definition: Definition,
    /// What it has come to, as long as that holds.
    combined: Option<Options>,
    /// There was nothing to say about that.
    is_silent: bool,
}

impl Filter {
    /// Reads `filter.d/name`; `None` where there is no such filter.
    pub(crate) fn open(
        files: &mut Files,
        base: &str,
        name: &str,
        options: &[(String, String)],
    ) -> Result<Option<Self>, Error> {
        let texts = read_definition(files, base, &join("filter.d", &absolute(name)))?;
        Ok(texts.map(|texts| Self::new(Definition::new(texts, TEMPLATE, given(options)))))
    }

    /// Reads a file that lies anywhere.
    pub(crate) fn open_file(
        files: &mut Files,
        path: &str,
        options: &[(String, String)],
    ) -> Result<Option<Self>, Error> {
        let reading = files.read_file(path)?;
        let texts = Rc::new(Texts::new(reading.merged));
        let definition = Definition::new(texts, TEMPLATE, given(options));
        Ok(reading.complete.then(|| Self::new(definition)))
    }

    fn new(definition: Definition) -> Self {
        Self { definition, combined: None, is_silent: false }
    }

    /// Reads all options, before the jail's own are known, and tells what they come to.
    pub(crate) fn read(&mut self, jail: &Rc<Options>, log: &mut Log) -> Result<&Options, Error> {
        let said = log.diagnostics.len();
        self.definition.read(jail, true, log)?;
        let combined = self.combined.insert(self.definition.combined(&[], log)?);
        // What there was to say is said once more with the second reading.
        self.is_silent = log.diagnostics.len() == said;
        Ok(combined)
    }

    /// Reads the options once more, now that the jail's own are known.
    pub(crate) fn read_again(&mut self, jail: &Rc<Options>, log: &mut Log) -> Result<(), Error> {
        if self.is_silent && self.definition.stays(jail) {
            return Ok(());
        }
        self.combined = None;
        self.definition.read(jail, false, log)
    }

    /// Sets `logtype` by the backend, unless something else has set it (`applyAutoOptions`).
    pub(crate) fn apply_backend(&mut self, backend: &str) {
        let is_given = self.definition.init.get("logtype").is_some_and(|setting| setting.datum.is_true());
        if !is_given && !self.definition.defines("logtype") {
            let logtype = if backend.starts_with("systemd") { "journal" } else { "file" };
            Rc::make_mut(&mut self.definition.init).insert("logtype", Setting::text(logtype));
        }
    }

    /// The commands for `jail`.
    pub(crate) fn commands(&mut self, jail: &str, log: &mut Log) -> Result<Vec<Command>, Error> {
        let mut stream = Vec::new();
        match &self.combined {
            Some(combined) => fill(&mut stream, combined, jail)?,
            None => fill(&mut stream, &self.definition.combined(&[], log)?, jail)?,
        }
        Ok(stream)
    }
}

/// Adds the commands for those of the options that are a filter's (`_fillStream`). `usedns`, `maxlines` and `prefregex`
/// go before everything that is in the stream already, because the expressions depend on them.
pub(crate) fn fill(stream: &mut Vec<Command>, options: &Options, jail: &str) -> Result<(), Error> {
    let mut first = 0;
    for (name, setting) in options.iter().filter(|(_, setting)| setting.datum != Datum::None) {
        match &**name {
            "failregex" | "ignoreregex" => {
                let text = setting.datum.to_text();
                let lines: Vec<_> = text.split('\n').filter(|line| !line.is_empty()).collect();
                let add = format!("add{name}");
                match lines.as_slice() {
                    [] => {}
                    [one] => stream.push(Command::words(["set", jail, &add, one])),
                    _ => {
                        let words = vec!["multi-set".into(), jail.into(), add.into(), Value::strings(lines)];
                        stream.push(Command(words));
                    }
                }
            }
            "usedns" | "maxlines" | "prefregex" => {
                let at = if &**name == "usedns" { 0 } else { first };
                stream.insert(at.min(stream.len()), set(jail, name, setting));
                first += 1;
            }
            "datepattern" => stream.push(set(jail, name, setting)),
            "journalmatch" => fill_journal_matches(stream, setting, jail)?,
            _ => {}
        }
    }
    Ok(())
}

fn fill_journal_matches(stream: &mut Vec<Command>, setting: &Setting, jail: &str) -> Result<(), Error> {
    for line in setting.datum.to_text().split('\n').filter(|line| !line.is_empty()) {
        let words =
            shell_words(line).map_err(|message| Error::value(message).at_place(setting.place_of(line)))?;
        let mut command = Command::words(["set", jail, "addjournalmatch"]);
        command.0.extend(words.into_iter().map(Value::from));
        stream.push(command);
    }
    Ok(())
}

/// `set jail name value`.
pub(crate) fn set(jail: &str, name: &str, setting: &Setting) -> Command {
    Command(vec!["set".into(), jail.into(), name.into(), Value::from(&setting.datum)])
}
