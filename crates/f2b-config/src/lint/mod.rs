//! Everything that is wrong or odd with a configuration, at once.
//!
//! A server stops at the first error, and of what is merely odd it says nothing. Here each file, jail, filter and action is
//! looked at by itself, so that one fault hides no other; and what fail2ban lets through in silence is named too.
//!
//! | what | where |
//! |---|---|
//! | syntax, references, numbers, missing filters and actions | the readers themselves, and [`faults`] |
//! | expressions, durations, log files | [`Judge`] |
//! | options and sections that nothing reads | [`unread`] |
//! | tags that stand for nothing | [`unresolved`] |

mod faults;
mod mentions;
mod unread;
mod unresolved;

use std::path::Path;
use std::rc::Rc;

use f2b_types::Level;

use crate::configurator::Configurator;
use crate::diagnostic::{Diagnostic, Log, logger};
use crate::error::{Error, ErrorKind};
use crate::glob::Globs;
use crate::jail::Jail;
use crate::judge::Judge;
use crate::merged::Merged;
use crate::setting::Options;

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// In the order of files and lines; what stands nowhere comes first. Errors have the level ERROR or more, everything
    /// else is a warning.
    pub problems: Vec<Diagnostic>,
    /// The jails that have errors.
    pub broken: Vec<String>,
}

impl Report {
    /// How many errors there are.
    pub fn errors(&self) -> usize {
        self.problems.iter().filter(|problem| problem.is_error()).count()
    }

    /// How many warnings there are.
    pub fn warnings(&self) -> usize {
        self.problems.len() - self.errors()
    }
}

/// Looks through the configuration under `root`.
pub fn check(root: &Path, judge: &dyn Judge) -> Report {
    let mut configurator = Configurator::heard_from(root, Level::TRACEDEBUG);
    main(&mut configurator);
    let (jails, broken) = jails(&mut configurator, judge);
    let Configurator { files, .. } = &mut configurator;
    faults::syntax(files);
    unread::check(files, &jails);
    unread::switches(files);
    for jail in &jails {
        unresolved::check(jail, judge, &mut files.log);
    }
    Report { problems: problems(configurator.take_diagnostics()), broken }
}

fn main(configurator: &mut Configurator) {
    let main = configurator.read_main();
    if let Err(error) = main.and_then(|main| configurator.main_commands(&main, &[])) {
        configurator.files.log.say_error(logger::ROOT, error.to_string(), error);
    }
}

/// Reads every jail that is on, as far as it goes, and tells which have errors.
fn jails(configurator: &mut Configurator, judge: &dyn Judge) -> (Vec<Jail>, Vec<String>) {
    let reading = match configurator.files.read(&configurator.base, "jail") {
        Ok(reading) if reading.complete => reading,
        Ok(_) => {
            let error = Error::new(ErrorKind::Lookup, "Read jails configuration failed.");
            configurator.files.log.say_error(logger::ROOT, error.to_string(), error);
            return (Vec::new(), Vec::new());
        }
        Err(error) => {
            configurator.files.log.say_error(logger::ROOT, error.to_string(), error);
            return (Vec::new(), Vec::new());
        }
    };
    let names: Vec<Rc<str>> =
        reading.merged.section_names().filter(|name| &***name != "INCLUDES").cloned().collect();
    let mut merged = Rc::unwrap_or_clone(reading.merged);
    let (mut jails, mut broken, mut globs) = (Vec::new(), Vec::new(), Globs::default());
    let errors = |log: &Log| log.diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count();
    for name in &names {
        let before = errors(&configurator.files.log);
        let mut jail = Jail::new(name, false);
        let read = jail.read(&mut merged, &configurator.base, &[], &mut configurator.files);
        if let Err(error) = read {
            configurator.files.log.say_error(logger::ROOT, error.to_string(), error);
        }
        if jail.is_enabled() {
            faults::references(&jail, &merged, &configurator.base, &mut configurator.files);
            judge_jail(&mut jail, judge, &mut globs, &mut configurator.files.log);
            jails.push(jail);
        }
        if errors(&configurator.files.log) > before {
            broken.push(name.to_string());
        }
    }
    (jails, broken)
}

fn judge_jail(jail: &mut Jail, judge: &dyn Judge, globs: &mut Globs, log: &mut Log) {
    if !jail.can_start() {
        return;
    }
    let commands = match jail.commands(false, globs, log) {
        // Without a log file the rest can still be judged.
        Err(error) if error.kind == ErrorKind::Value => {
            log.say_error(logger::ROOT, error.to_string(), error);
            jail.commands(true, globs, &mut Log::default())
        }
        commands => commands,
    };
    let faults = commands.map(|commands| judge.judge(&commands)).unwrap_or_default();
    let options = jail.combined(&mut Log::default()).unwrap_or_else(|_| Options::default());
    for fault in faults {
        let place = options.get(&fault.option).and_then(|setting| setting.place_of(&fault.text));
        log.say_at(Level::ERROR, logger::JAIL, fault.message, place);
    }
}

/// Sorts what was said, without what says the same again or only that something else has gone wrong.
fn problems(mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    diagnostics.retain(is_problem);
    // Errors first, so that a warning about the same place can be left out.
    diagnostics.sort_by(|a, b| (&a.at, !a.is_error()).cmp(&(&b.at, !b.is_error())));
    let mut problems: Vec<Diagnostic> = Vec::new();
    for diagnostic in diagnostics {
        let same_place = problems.iter().rev().take_while(|other| other.at == diagnostic.at);
        let says_it = |other: &Diagnostic| {
            let covers = diagnostic.at.is_some() && other.is_error() && !diagnostic.is_error();
            covers || other.record.message.ends_with(&diagnostic.record.message)
        };
        if !same_place.into_iter().any(says_it) {
            problems.push(diagnostic);
        }
    }
    problems
}

/// Whether something is a problem by itself, rather than a note or the consequence of another problem.
fn is_problem(diagnostic: &Diagnostic) -> bool {
    let record = &diagnostic.record;
    match record.logger.as_ref() {
        logger::JAILS => false,
        logger::JAIL => record.level >= Level::NOTICE,
        // The reader of filters and actions says so before the jail says it with a place.
        logger::CONFIG if record.message.starts_with("Found no accessible config files") => false,
        // The stock configuration includes files that are there for the user to add.
        logger::INCLUDES if record.level < Level::WARNING => {
            diagnostic.at.is_some() && !record.message.contains(".local' is left out")
        }
        _ => record.level >= Level::WARNING,
    }
}

/// The values that options have in a section, its own and those of `[DEFAULT]`.
fn raw<'a>(merged: &'a Merged, section: &str, key: &str) -> Option<&'a crate::merged::Raw> {
    merged.own(section, key).or_else(|| merged.defaults.get(key))
}
