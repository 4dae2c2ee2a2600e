//! Files with a `[Definition]` and an `[Init]`: filters and actions.
//!
//! Answers to `configreader.DefinitionInitConfigReader`. Values come, in this order, from the brackets in the jail, from
//! the jail's own options, from `[Definition]`, and from `[Init]`. The reading happens in two steps, as upstream's does:
//! [`Definition::read`] interpolates `%(x)s`, [`Definition::combined`] then resolves `<x>` and converts types.

use std::rc::Rc;

use crate::Error;
use crate::diagnostic::Log;
use crate::error::ErrorKind;
use crate::files::Files;
use crate::interpolate::Vars;
use crate::map::Map;
use crate::merged::{Merged, split_condition};
use crate::setting::{Datum, Options, Setting};
use crate::tags::{Lookup, substitute_tags};
use crate::template::{Query, Wanted, convert};

const DEFINITION: &str = "Definition";
const INIT: &str = "Init";

/// A filter or an action that a jail uses.
#[derive(Debug)]
pub(crate) struct Definition {
    merged: Rc<Merged>,
    template: &'static [Wanted],
    /// What the brackets say, and from the first [`Definition::read`] on what `[Init]` adds.
    pub(crate) init: Rc<Options>,
    options: Options,
    /// What goes before the file's own values.
    vars: Vars,
    /// Options looked up for a tag; they stay as they were at first, whatever is read later.
    looked_up: Map<Option<Rc<str>>>,
}

impl Definition {
    pub(crate) fn new(merged: Rc<Merged>, template: &'static [Wanted], init: Options) -> Self {
        Self {
            merged,
            template,
            init: init.into(),
            options: Options::default(),
            vars: Vars::default(),
            looked_up: Map::default(),
        }
    }

    /// Reads the options of the template, where what `jail` says wins; with `all`, the others of `[Definition]` too.
    pub(crate) fn read(&mut self, jail: &Rc<Options>, all: bool, log: &mut Log) -> Result<(), Error> {
        let given = [&Rc::clone(&self.init), jail];
        self.vars = Vars::new(given);
        let query = Query { merged: &self.merged, section: DEFINITION, template: self.template };
        let is_given = |name: &str| given.iter().any(|layer| layer.contains(name));
        self.options = query.read_texts(is_given, &self.vars, log)?;
        self.read_init(given)?;
        if all {
            for key in self.merged.own_keys(DEFINITION) {
                if &*key != "__name__" && !self.options.contains(&key) {
                    let setting = self.merged.get(DEFINITION, &key, &Vars::default())?;
                    self.options.insert(key, setting);
                }
            }
        }
        Ok(())
    }

    /// Adds `[Init]` to what the brackets say; its own values stay reachable as `known/name`.
    fn read_init(&mut self, given: [&Rc<Options>; 2]) -> Result<(), Error> {
        let init = Rc::make_mut(&mut self.init);
        for key in self.merged.own_keys(INIT).into_iter().filter(|key| &**key != "__name__") {
            let place = || Some(self.merged.own(INIT, &key)?.origin.as_ref()?.place());
            let get = || {
                let setting = self.merged.get(INIT, &key, &Vars::default());
                setting.map_err(|error| error.at_place(place()))
            };
            let mut own = None;
            if !key.starts_with("known/") {
                let setting = get()?;
                init.insert(format!("known/{key}"), setting.clone());
                own = Some(setting);
            }
            if init.contains(&key) {
                continue;
            }
            // What the jail says of an option holds for its conditional variants too.
            let is_given = |base: &str| given.iter().find_map(|layer| layer.get(base));
            let wanted = split_condition(&key).and_then(|(base, _)| is_given(base)).cloned();
            let setting = match wanted.filter(|s| s.datum != Datum::None).or(own) {
                Some(setting) => setting,
                None => get()?,
            };
            init.insert(key, setting);
        }
        Ok(())
    }

    /// All options with tags resolved and types converted; options in `ignored` are left as they are, and so are those
    /// that have conditional variants.
    pub(crate) fn combined(&mut self, ignored: &[&str], log: &mut Log) -> Result<Options, Error> {
        let mut options = self.options.merged(&self.init);
        let conditional = options.keys().filter_map(|key| split_condition(key)).map(|(base, _)| base);
        let ignored: Vec<&str> = ignored.iter().copied().chain(conditional).collect();
        for (place, text) in substitute_tags(&options, &ignored, self)? {
            options.at(place).datum = Datum::Text(text);
        }
        convert(&mut options, self.template, log);
        Ok(options)
    }

    /// The file itself sets the option in `[Definition]`.
    pub(crate) fn defines(&self, key: &str) -> bool {
        self.merged.own(DEFINITION, key).is_some()
    }

    /// The option as the file has it, whatever is given.
    pub(crate) fn get(&self, key: &str) -> Option<Setting> {
        self.merged.get(DEFINITION, key, &Vars::default()).ok()
    }
}

/// Any option of the file can stand for a tag (`getCombOption`).
impl Lookup for Definition {
    fn look_up(&mut self, tag: &str) -> Result<(usize, Option<Rc<str>>), Error> {
        if let Some((index, found)) = self.looked_up.find(tag) {
            return Ok((index, found.clone()));
        }
        let found = match self.merged.get_extended(DEFINITION, tag, &self.vars) {
            Ok(setting) => {
                setting.filter(|setting| setting.datum != Datum::None).map(|setting| setting.datum.to_text())
            }
            Err(error) if error.kind == ErrorKind::Value => None,
            Err(error) => return Err(error),
        };
        let index = self.looked_up.len();
        self.looked_up.insert(tag, found.clone());
        Ok((index, found))
    }
}

/// The options that brackets give.
pub(crate) fn given(values: &[(String, String)]) -> Options {
    let mut options = Options::default();
    for (key, value) in values {
        options.insert(key.as_str(), Setting::text(value));
    }
    options
}

/// Reads the files of a definition such as `filter.d/sshd`; `None` where upstream can't.
pub(crate) fn read_definition(
    files: &mut Files,
    base: &str,
    name: &str,
) -> Result<Option<Rc<Merged>>, Error> {
    let reading = files.read(base, name)?;
    Ok(reading.complete.then_some(reading.merged))
}
