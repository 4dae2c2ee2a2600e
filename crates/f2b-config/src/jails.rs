//! All jails.
//!
//! Answers to `jailsreader.JailsReader`.

use std::rc::Rc;

use f2b_types::Level;

use crate::configurator::{Configurator, Request};
use crate::diagnostic::{Log, logger};
use crate::error::{Error, ErrorKind};
use crate::files::Reading;
use crate::glob::Globs;
use crate::jail::Jail;
use crate::merged::Merged;
use crate::python::repr;
use crate::stream::Stream;

impl Configurator {
    pub(crate) fn read_jails(&mut self) -> Result<Reading, Error> {
        let jails = self.files.read(&self.base, "jail")?;
        if jails.complete {
            Ok(jails)
        } else {
            Err(Error::new(ErrorKind::Lookup, "Read jails configuration failed."))
        }
    }

    /// Reads all jails and sets them up, wrong ones among them; their commands go behind those of the `stream`.
    ///
    /// Upstream sets the first one up when it has read the last one, so what there is to say about setting up comes later,
    /// and nothing is said if a jail can't be read. To keep them all until then would take several times the memory.
    pub(crate) fn set_up_jails<S: Stream>(
        &mut self,
        jails: Reading,
        stream: S,
        request: &Request<'_>,
    ) -> Result<SetUp<S>, Error> {
        let names: Vec<Rc<str>> = match &request.jail {
            Some(name) => vec![name.as_str().into()],
            None => jails.merged.section_names().filter(|name| &***name != "INCLUDES").cloned().collect(),
        };
        let log = Log { from: self.files.log.from, diagnostics: Vec::new() };
        let mut all = SetUp { stream, log, ..SetUp::default() };
        let mut merged = Rc::unwrap_or_clone(jails.merged);
        for name in &names {
            self.add_jail(name, &mut merged, request, &mut all)?;
        }
        self.files.log.diagnostics.append(&mut all.log.diagnostics);
        all.failure.take().map_or(Ok(()), Err)?;
        all.ok = (request.ignore_wrong && all.any_sound) || !all.any_wrong;
        Ok(all)
    }

    fn add_jail<S: Stream>(
        &mut self,
        name: &str,
        merged: &mut Merged,
        request: &Request<'_>,
        all: &mut SetUp<S>,
    ) -> Result<(), Error> {
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
            Ok(true) => return Ok(()),
        }
        if all.failure.is_none() {
            all.failure = all.add(jail, request).err();
        }
        Ok(())
    }
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
    /// The commands so far.
    pub(crate) stream: S,
    /// The names of those to start.
    pub(crate) started: Vec<String>,
    globs: Globs,
    /// What there is to say about setting up.
    log: Log,
    /// The first error, at which setting up has ended.
    failure: Option<Error>,
}

impl<S: Stream> SetUp<S> {
    fn add(&mut self, mut jail: Jail, request: &Request<'_>) -> Result<(), Error> {
        let log = &mut self.log;
        let commands = match jail.commands(request.allow_no_files, &mut self.globs, log) {
            Err(error) if request.spares_jails() => {
                self.faulty = true;
                vec![jail.leave_out_for(error, log)]
            }
            commands => commands?,
        };
        let judge = request.judge.filter(|_| jail.can_start());
        let faults = judge.map(|judge| judge.judge(&commands)).unwrap_or_default();
        match faults.into_iter().next() {
            None => commands.into_iter().for_each(|command| self.stream.push(command)),
            Some(fault) => {
                self.faulty = true;
                self.stream.push(jail.leave_out(fault, log)?);
            }
        }
        if jail.can_start() {
            self.started.push(jail.name);
        }
        Ok(())
    }
}
