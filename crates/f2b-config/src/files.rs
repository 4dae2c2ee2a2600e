//! Which files belong together, and reading each once.
//!
//! Answers to `configparserinc._getIncludes`, `_expandConfFilesWithLocal` and `configreader.ConfigReaderUnshared.read`.
//! For a name such as `jail` these are, as far as they exist and each with what it includes around it: `jail.conf`,
//! `jail.d/*.conf`, `jail.local`, `jail.d/*.local`. A file that is included brings its own `.local` along. An included
//! file that does not exist is left out without a word, which the stock configuration makes use of.

use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;

use f2b_types::Level;
use foldhash::fast::RandomState;

use crate::Error;
use crate::definition::Texts;
use crate::diagnostic::{Log, logger};
use crate::glob::{glob, has_wildcard};
use crate::interpolate::Vars;
use crate::listing::Listings;
use crate::merged::Merged;
use crate::parse::{SyntaxError, SyntaxErrorKind, parse};
use crate::python::{exists, join, repr, repr_list, split_path, stem};
use crate::source::{ReadError, Source};

/// Includes within includes; upstream ends somewhere below 500, by Python's own limit.
const MAX_DEPTH: usize = 100;
/// Files in one list, where each counts as often as it is included.
const MAX_FILES: usize = 10_000;

/// A configuration under one name, all its files merged, and whether all of them could be read.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    pub(crate) merged: Rc<Merged>,
    pub(crate) complete: bool,
}

/// Everything read so far, and what there was to say about it.
#[derive(Debug, Default)]
pub(crate) struct Files {
    pub(crate) log: Log,
    listings: Listings,
    /// Each file comes in here.
    buffer: Vec<u8>,
    /// All that is wrong in files that were not accepted, line by line.
    pub(crate) syntax_errors: Vec<SyntaxError>,
    /// By name, for instance `filter.d/sshd`.
    readings: HashMap<String, Reading, RandomState>,
    /// What those come down to that are filters or actions.
    pub(crate) definitions: HashMap<String, Rc<Texts>, RandomState>,
    /// By path; or else why there is none.
    layers: HashMap<String, Result<Rc<Merged>, String>, RandomState>,
    /// By the paths that were asked for: those and all they include, in order.
    lists: HashMap<String, Rc<[Rc<str>]>, RandomState>,
}

impl Files {
    /// Reads what belongs to `name` under the directory `base`, once.
    pub(crate) fn read(&mut self, base: &str, name: &str) -> Result<Reading, Error> {
        if let Some(reading) = self.readings.get(name) {
            return Ok(reading.clone());
        }
        self.log.trace(Level::INFO, logger::CONFIG, || format!("Loading configs for {name} under {base} "));
        if !self.listings.has_listed(base) && !exists(base) {
            let message = format!("Base configuration directory {base} does not exist ");
            return Err(Error::value(message));
        }
        let reading = self.read_layers(base, name)?;
        self.readings.insert(name.to_owned(), reading.clone());
        Ok(reading)
    }

    /// Reads one file and what it includes.
    pub(crate) fn read_file(&mut self, path: &str) -> Result<Reading, Error> {
        let mut merged = Merged::default();
        let read = self.merge(&mut merged, vec![path.to_owned()])?;
        Ok(Reading { merged: Rc::new(merged), complete: !read.is_empty() })
    }

    /// What was read by name.
    pub(crate) fn readings(&self) -> impl Iterator<Item = (&str, &Reading)> {
        self.readings.iter().map(|(name, reading)| (name.as_str(), reading))
    }

    fn read_layers(&mut self, base: &str, name: &str) -> Result<Reading, Error> {
        self.log.trace(Level::DEBUG, logger::CONFIG, || format!("Reading configs for {name} under {base} "));
        let mut merged = Merged::default();
        let mut complete = false;
        let paths = self.layer_paths(&join(base, name));
        if paths.is_empty() {
            let message = format!("Found no accessible config files for {} under {base}", repr(name));
            self.log.say(Level::ERROR, logger::CONFIG, message);
        } else {
            self.log.trace(Level::DEBUG, logger::CONFIG, || {
                format!("Reading config files: {}", paths.join(", "))
            });
            let read = self.merge(&mut merged, paths.clone())?;
            let missed: Vec<_> =
                paths.into_iter().filter(|path| !read.iter().any(|other| **other == **path)).collect();
            complete = missed.is_empty();
            if !complete {
                let message = format!("Could not read config files: {}", missed.join(", "));
                let reasons = missed.iter().filter_map(|path| self.layers.get(path)?.as_ref().err().cloned());
                let reasons: Vec<_> = reasons.collect();
                let error = Error::config(&*message).hint(reasons.join("; "));
                self.log.say_error(logger::CONFIG, message, error);
            }
        }
        Ok(Reading { merged: Rc::new(merged), complete })
    }

    /// Merges files with their includes and tells which could be read.
    fn merge(&mut self, merged: &mut Merged, paths: Vec<String>) -> Result<Vec<Rc<str>>, Error> {
        let list = self.with_includes(paths, &[])?;
        if list.is_empty() {
            return Ok(Vec::new());
        }
        self.log.trace(Level::INFO, logger::INCLUDES, || format!("  Loading files: {}", repr_list(&list)));
        let mut read = Vec::new();
        for path in list.iter() {
            // What can't be read has been left out of the list.
            if let Some(layer) = self.layer(path)? {
                merged.overlay(&layer);
                read.push(Rc::clone(path));
            }
        }
        Ok(read)
    }

    /// The files, each between those that it includes before and after itself. `including` are the files that lead
    /// here: none of them is included again.
    fn with_includes(&mut self, paths: Vec<String>, including: &[&str]) -> Result<Rc<[Rc<str>]>, Error> {
        let paths = self.with_locals(paths);
        let key = paths.join("\u{1}");
        // Upstream remembers lists whoever includes them, so a circle may look different the second time.
        if let Some(list) = self.lists.get(&key) {
            return Ok(Rc::clone(list));
        }
        let mut list = Vec::new();
        for path in &paths {
            list.extend(self.around(path, including)?);
            if list.len() > MAX_FILES {
                return Err(Error::config(format!("{path} includes too many files")));
            }
        }
        let list: Rc<[Rc<str>]> = list.into();
        self.lists.insert(key, Rc::clone(&list));
        Ok(list)
    }

    fn around(&mut self, path: &str, including: &[&str]) -> Result<Vec<Rc<str>>, Error> {
        let Some(layer) = self.layer(path)? else { return Ok(Vec::new()) };
        let mut list = self.included(&layer, "before", path, including)?;
        list.push(path.into());
        list.extend(self.included(&layer, "after", path, including)?);
        Ok(list)
    }

    fn included(
        &mut self,
        layer: &Merged,
        option: &str,
        path: &str,
        including: &[&str],
    ) -> Result<Vec<Rc<str>>, Error> {
        const SECTION: &str = "INCLUDES";
        let is_set = layer.own(SECTION, option).is_some() || layer.defaults.contains(option);
        if !layer.has_section(SECTION) || !is_set {
            return Ok(Vec::new());
        }
        let setting = layer.get(SECTION, option, &Vars::default())?;
        let mut chain = including.to_vec();
        chain.push(path);
        if chain.len() > MAX_DEPTH {
            let message = format!("{path} is included through more than {MAX_DEPTH} files");
            return Err(Error::config(message).at_place(setting.place()));
        }
        let mut list = Vec::new();
        for name in setting.datum.to_text().split('\n') {
            let included = join(split_path(path).0, name);
            if including.contains(&&*included) {
                if self.log.from <= Level::TRACEDEBUG {
                    let message =
                        format!("Included file {} includes this one in turn, it is read once", repr(name));
                    self.log.say_at(Log::OWN, logger::INCLUDES, message, setting.place_of(name));
                }
                continue;
            }
            let found = self.with_includes(vec![included], &chain)?;
            if found.is_empty() && self.log.from <= Level::TRACEDEBUG {
                let message = format!("Included file {} is left out, it can't be read", repr(name));
                self.log.say_at(Log::OWN, logger::INCLUDES, message, setting.place_of(name));
            }
            list.extend(found.iter().cloned());
            if list.len() > MAX_FILES {
                let message = format!("{path} includes too many files");
                return Err(Error::config(message).at_place(setting.place()));
            }
        }
        Ok(list)
    }

    /// One file by itself; `None` if it can't be opened or is no text.
    fn layer(&mut self, path: &str) -> Result<Option<Rc<Merged>>, Error> {
        if let Some(layer) = self.layers.get(path) {
            self.log.trace(Level::TRACEDEBUG, logger::INCLUDES, || format!("    Shared file: {path}"));
            return Ok(layer.as_ref().ok().cloned());
        }
        self.log.trace(Level::INFO, logger::INCLUDES, || format!("  Loading files: [{}]", repr(path)));
        self.log.trace(Level::TRACEDEBUG, logger::INCLUDES, || format!("    Reading file: {path}"));
        if path.contains('\0') {
            return Err(Error::value("embedded null byte"));
        }
        let layer = match Source::read(path, self.listings.is_plain(path), &mut self.buffer) {
            Ok(source) => Ok(self.parse(&Rc::new(source), usize::MAX)?),
            Err(ReadError::Unreadable(error)) => Err(error.to_string()),
            Err(ReadError::TooLarge) => {
                return Err(Error::config(format!("{} is larger than 16 MiB", repr(path))));
            }
            Err(ReadError::NotText(bad)) => {
                // Python parses while it decodes, so an error in a line further up comes first.
                self.parse(&bad.source, bad.parsed)?;
                let message = format!("Error decoding config file '{path}': {}", bad.message);
                self.log.say_at(Level::ERROR, logger::INCLUDES, message, Some(bad.source.place(bad.bad)));
                Err(bad.message)
            }
        };
        let found = layer.as_ref().ok().cloned();
        self.layers.insert(path.to_owned(), layer);
        Ok(found)
    }

    /// The files under a path without extension, as far as there are any.
    fn layer_paths(&mut self, basename: &str) -> Vec<String> {
        let directory = [basename, ".d"].concat();
        let has_directory = has_wildcard(basename) || self.listings.may_exist(&directory);
        let beside = if has_directory { glob(&format!("{directory}/*")) } else { Vec::new() };
        let mut paths = Vec::new();
        for extension in [".conf", ".local"] {
            let path = [basename, extension].concat();
            paths.extend(self.listings.exists(&path).then_some(path));
            let own = beside.iter().filter(|path| path.ends_with(extension) && exists(path));
            let mut own: Vec<_> = own.cloned().collect();
            own.sort();
            paths.append(&mut own);
        }
        paths
    }

    /// Puts the `.local` of each file behind it, unless it has a place of its own.
    fn with_locals(&mut self, paths: Vec<String>) -> Vec<String> {
        let mut all = Vec::with_capacity(paths.len());
        for path in &paths {
            let local = [stem(path), ".local"].concat();
            let is_there = self.listings.may_exist(&local) && Path::new(&local).is_file();
            let add = is_there && !paths.contains(&local);
            all.push(path.clone());
            all.extend(add.then_some(local));
        }
        all
    }

    fn parse(&mut self, source: &Rc<Source>, limit: usize) -> Result<Rc<Merged>, Error> {
        let (document, errors) = parse(source, limit.min(source.text.len()));
        // Of a file that is read in part, Python has not come to the end where it speaks of lines that are no options.
        let in_part = limit < source.text.len();
        match errors.first() {
            Some(first) if !(in_part && matches!(first.kind, SyntaxErrorKind::NoOption)) => {
                let error = not_accepted(first, &errors);
                self.syntax_errors.extend(errors);
                Err(error)
            }
            _ => Ok(Rc::new(Merged::from(&document))),
        }
    }
}

/// Upstream's exception for a file with syntax errors: it names the first one, but all lines that are no options.
fn not_accepted(first: &SyntaxError, all: &[SyntaxError]) -> Error {
    let mut error = Error::from(first);
    if matches!(first.kind, SyntaxErrorKind::NoOption) {
        all.iter().skip(1).for_each(|other| error.message += &other.item());
    }
    error
}
