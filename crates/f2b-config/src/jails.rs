//! All jails.
//!
//! Answers to `jailsreader.JailsReader`.
//!
//! Where there are many jails, two threads set up a part of them each. The second one reads the files for itself, so that
//! nothing is shared and nothing waits. What it sets up counts only if there is nothing wrong with it, and is set up once
//! more else: so what is said, and in which order, is the same as with one thread.

use std::rc::Rc;
use std::thread::{self, available_parallelism};

use f2b_types::{Level, is_on};

use crate::configurator::{Configurator, Request};
use crate::diagnostic::{Log, logger};
use crate::error::{Error, ErrorKind};
use crate::files::{Files, Reading};
use crate::jail::Jail;
use crate::merged::Merged;
use crate::python::repr;
use crate::stream::Stream;

/// With fewer jails that are on, a second thread is not worth it.
const MANY: usize = 24;

impl Configurator {
    pub(crate) fn read_jails(&mut self) -> Result<Reading, Error> {
        let jails = self.files.read(&self.base, "jail")?;
        if jails.complete {
            Ok(jails)
        } else {
            Err(Error::new(ErrorKind::Lookup, "Read jails configuration failed."))
        }
    }

    /// Reads all jails and sets them up, wrong ones among them. Upstream sets the first one up when it has read the last
    /// one, so what there is to say about setting up comes later, and nothing is said if a jail can't be read. To keep
    /// them all until then would take several times the memory.
    pub(crate) fn set_up_jails<S: Stream>(
        &mut self,
        jails: Reading,
        request: &Request<'_>,
    ) -> Result<SetUp<S>, Error> {
        let names: Vec<Rc<str>> = match &request.jail {
            Some(name) => vec![name.as_str().into()],
            None => jails.merged.section_names().filter(|name| &***name != "INCLUDES").cloned().collect(),
        };
        let (here, there) = names.split_at(middle(&names, &jails.merged, &self.files.log));
        let mut all = SetUp::new(self.files.log.from);
        let mut merged = Rc::unwrap_or_clone(jails.merged);
        thread::scope(|scope| {
            let second = (!there.is_empty()).then(|| {
                let (base, names) = (self.base.clone(), there.iter().map(ToString::to_string).collect());
                scope.spawn(|| set_up_apart(base, names, request))
            });
            self.add_jails(here, &mut merged, request, &mut all)?;
            match second.and_then(|second| second.join().ok().flatten()) {
                Some(rest) => all.append(rest),
                None => self.add_jails(there, &mut merged, request, &mut all)?,
            }
            Ok::<(), Error>(())
        })?;
        self.files.log.diagnostics.append(&mut all.log.diagnostics);
        all.failure.take().map_or(Ok(()), Err)?;
        all.ok = (request.ignore_wrong && all.any_sound) || !all.any_wrong;
        Ok(all)
    }

    fn add_jails<S: Stream>(
        &mut self,
        names: &[Rc<str>],
        merged: &mut Merged,
        request: &Request<'_>,
        all: &mut SetUp<S>,
    ) -> Result<(), Error> {
        for name in names {
            let mut jail = Jail::new(name, false);
            match jail.read(merged, &self.base, &[], &mut self.files) {
                Err(error) if request.spares_jails() => {
                    all.faulty = true;
                    jail.leave_out_for(error, &mut self.files.log);
                }
                Err(error) => return Err(error),
                Ok(false) => {
                    let skipping = if request.ignore_wrong { " Skipping..." } else { "" };
                    let message = format!("Errors in jail {}.{skipping}", repr(name));
                    let header = merged.sections.get(name).and_then(|body| body.header.as_ref());
                    let place = header.map(|header| header.place());
                    self.files.log.say_at(Level::ERROR, logger::JAILS, message, place);
                    all.any_wrong = true;
                }
                Ok(true) if jail.is_enabled() => all.any_sound = true,
                Ok(true) => continue,
            }
            if all.failure.is_none() {
                all.failure = all.add(jail, request).err();
            }
        }
        Ok(())
    }
}

/// How many of the jails to set up before those of the second thread: all, if only few are on, if there is no other
/// processor, and if somebody wants to hear of everything that happens.
fn middle(names: &[Rc<str>], merged: &Merged, log: &Log) -> usize {
    let is_on = |name: &str| {
        let raw = merged.own(name, "enabled").or_else(|| merged.defaults.get("enabled"));
        raw.is_some_and(|raw| is_on(&raw.datum.to_text()))
    };
    let on: Vec<usize> = (0..names.len()).filter(|index| is_on(&names[*index])).collect();
    let is_alone = on.len() < MANY || log.from < Level::WARNING;
    if is_alone || available_parallelism().is_ok_and(|threads| threads.get() < 2) {
        return names.len();
    }
    // The second thread has to read some files that are read here already.
    on[on.len() * 5 / 9]
}

/// Sets up jails in a thread of its own. `None` if there is anything wrong, or anything to say about the files.
fn set_up_apart<S: Stream>(base: String, names: Vec<String>, request: &Request<'_>) -> Option<SetUp<S>> {
    let mut reader = Configurator { base, files: Files::default() };
    reader.files.log.from = Level::WARNING;
    let mut merged = Rc::unwrap_or_clone(reader.read_jails().ok()?.merged);
    let mut all = SetUp::new(Level::WARNING);
    let names: Vec<Rc<str>> = names.into_iter().map(Rc::from).collect();
    reader.add_jails(&names, &mut merged, request, &mut all).ok()?;
    let is_sound = reader.files.log.diagnostics.is_empty() && all.failure.is_none() && !all.any_wrong;
    is_sound.then_some(all)
}

/// The jails as far as they are set up.
#[derive(Default)]
pub(crate) struct SetUp<S> {
    /// The whole is usable.
    pub(crate) ok: bool,
    /// A jail was left out that upstream would not have spared.
    pub(crate) faulty: bool,
    any_sound: bool,
    any_wrong: bool,
    pub(crate) commands: S,
    /// The names of those to start.
    pub(crate) started: Vec<String>,
    /// What there is to say about setting up.
    log: Log,
    /// The first error, at which setting up has ended.
    failure: Option<Error>,
}

impl<S: Stream> SetUp<S> {
    fn new(from: Level) -> Self {
        Self { log: Log { from, diagnostics: Vec::new() }, ..Self::default() }
    }

    fn add(&mut self, mut jail: Jail, request: &Request<'_>) -> Result<(), Error> {
        let log = &mut self.log;
        let commands = match jail.commands(request.allow_no_files, log) {
            Err(error) if request.spares_jails() => {
                self.faulty = true;
                vec![jail.leave_out_for(error, log)]
            }
            commands => commands?,
        };
        let judge = request.judge.filter(|_| jail.can_start());
        let faults = judge.map(|judge| judge.judge(&commands)).unwrap_or_default();
        match faults.into_iter().next() {
            None => commands.into_iter().for_each(|command| self.commands.push(command)),
            Some(fault) => {
                self.faulty = true;
                self.commands.push(jail.leave_out(fault, log)?);
            }
        }
        if jail.can_start() {
            self.started.push(jail.name);
        }
        Ok(())
    }

    /// Adds jails that come later.
    fn append(&mut self, mut later: Self) {
        self.faulty |= later.faulty;
        self.any_sound |= later.any_sound;
        self.any_wrong |= later.any_wrong;
        self.commands.append(later.commands);
        self.started.append(&mut later.started);
        if self.failure.is_none() {
            self.log.diagnostics.append(&mut later.log.diagnostics);
            self.failure = later.failure;
        }
    }
}
