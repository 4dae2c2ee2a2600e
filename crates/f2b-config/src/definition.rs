//! Files with a `[Definition]` and an `[Init]`: filters and actions.
//!
//! Answers to `configreader.DefinitionInitConfigReader`. Values come, in this order, from the brackets in the jail, from
//! the jail's own options, from `[Definition]`, and from `[Init]`. The reading happens in two steps, as upstream's does:
//! [`Definition::read`] interpolates `%(x)s`, [`Definition::combined`] then resolves `<x>` and converts types.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use f2b_protocol::Value;

use crate::Error;
use crate::diagnostic::Log;
use crate::error::ErrorKind;
use crate::files::Files;
use crate::interpolate::Vars;
use crate::map::Map;
use crate::merged::{Merged, Raw, split_condition};
use crate::pattern::{Given, Pattern};
use crate::python::lower;
use crate::setting::{Datum, Options, Setting};
use crate::shared::Shared;
use crate::tags::{Lookup, substitute_tags};
use crate::template::{Query, Wanted, convert};

const DEFINITION: &str = "Definition";
const INIT: &str = "Init";
/// So many ways to use the same action are remembered.
const MAX_PATTERNS: usize = 8;

/// What the files of a filter or an action say, to whatever jail.
#[derive(Debug)]
pub(crate) struct Texts {
    merged: Rc<Merged>,
    init: Vec<InitOption>,
    /// Another jail has used them already.
    is_reused: Cell<bool>,
    /// Of use from then on.
    shared: OnceCell<Option<Shared>>,
    /// For jails that give different options.
    patterns: RefCell<Vec<Pattern>>,
}

/// An option of `[Init]`, which is interpolated without regard to what is given.
#[derive(Debug)]
struct InitOption {
    key: Rc<str>,
    /// The name under which it stays reachable, unless it is such a name already.
    known: Option<Rc<str>>,
    value: Result<Setting, Error>,
}

impl Texts {
    pub(crate) fn new(merged: Rc<Merged>) -> Self {
        let read = |key: Rc<str>| {
            let place = || Some(merged.own(INIT, &key)?.origin.as_ref()?.place());
            let value = merged.get(INIT, &key, &Vars::default()).map_err(|error| error.at_place(place()));
            InitOption { known: (!key.starts_with(KNOWN)).then(|| [KNOWN, &key].concat().into()), key, value }
        };
        let init = merged.own_keys(INIT).into_iter().filter(|key| &**key != "__name__").map(read).collect();
        Self {
            merged,
            init,
            is_reused: Cell::default(),
            shared: OnceCell::new(),
            patterns: RefCell::default(),
        }
    }

    /// Whether an option of the files refers to one of the jail or to one that is given, or is one of the jail.
    fn speak_of(&self, jail: &Options, given: &Options) -> bool {
        let bodies = self.merged.sections.iter().map(|(_, body)| &body.options);
        let own = self.merged.sections.get(DEFINITION).map(|body| &body.options);
        let is_given = |name: &str| jail.contains(name) || given.contains(name);
        let refers = |raw: &Raw| raw.references().any(|name| name.is_none_or(|name| is_given(&lower(name))));
        own.into_iter().chain([&self.merged.defaults]).flat_map(Map::keys).any(|key| jail.contains(key))
            || bodies.chain([&self.merged.defaults]).flat_map(Map::iter).any(|(_, raw)| refers(raw))
    }

    /// What these come to with what is given, if others have that too.
    fn shared(&self, template: &[Wanted], given: [&Options; 2]) -> Option<&Shared> {
        if !self.is_reused.get() {
            return None;
        }
        let shared = self.shared.get_or_init(|| Shared::new(&self.merged, DEFINITION, template));
        shared.as_ref().filter(|shared| shared.holds_for(given))
    }
}

/// What a name begins with under which an option stays reachable, whatever goes before it.
pub(crate) const KNOWN: &str = "known/";

/// A filter or an action that a jail uses.
#[derive(Debug)]
pub(crate) struct Definition {
    texts: Rc<Texts>,
    template: &'static [Wanted],
    /// What the brackets say, and from the first [`Definition::read`] on what `[Init]` adds.
    pub(crate) init: Rc<Options>,
    /// Shared with the other jails, if the files come to the same for them.
    options: Rc<Options>,
    /// What the brackets say.
    brackets: Rc<Options>,
    /// What goes before the file's own values.
    vars: Vars,
    /// None of that matters to [`Texts::shared`].
    is_shared: bool,
    /// What a jail says, if it is yet to be read.
    pending: Option<Rc<Options>>,
    /// Options looked up for a tag; they stay as they were at first, whatever is read later.
    looked_up: Map<Option<Rc<str>>>,
}

impl Definition {
    pub(crate) fn new(texts: Rc<Texts>, template: &'static [Wanted], init: Options) -> Self {
        let init = Rc::new(init);
        Self {
            texts,
            template,
            init: Rc::clone(&init),
            options: Rc::default(),
            brackets: init,
            vars: Vars::default(),
            is_shared: false,
            pending: None,
            looked_up: Map::default(),
        }
    }

    /// Reads the options of the template, where what `jail` says wins; with `all`, the others of `[Definition]` too.
    pub(crate) fn read(&mut self, jail: &Rc<Options>, all: bool, log: &mut Log) -> Result<(), Error> {
        let given = [&Rc::clone(&self.init), jail];
        self.brackets = Rc::clone(given[0]);
        self.vars = Vars::new(given);
        let shared = self.texts.shared(self.template, given.map(|layer| &**layer));
        self.is_shared = shared.is_some();
        self.options = match shared {
            Some(shared) => Rc::clone(&shared.options),
            None => {
                let query =
                    Query { merged: &self.texts.merged, section: DEFINITION, template: self.template };
                let is_given = |name: &str| given.iter().any(|layer| layer.contains(name));
                query.read_texts(is_given, &self.vars, log)?.into()
            }
        };
        self.read_init(given)?;
        if all {
            for key in self.texts.merged.own_keys(DEFINITION) {
                if &*key != "__name__" && !self.options.contains(&key) {
                    let setting = self.texts.merged.get(DEFINITION, &key, &Vars::default())?;
                    Rc::make_mut(&mut self.options).insert(key, setting);
                }
            }
        }
        Ok(())
    }

    /// Whether the options of the template stay what they are, now that `jail` says more, because the files speak of
    /// nothing of that. Then it is read as soon as somebody asks for all options.
    pub(crate) fn stays(&mut self, jail: &Rc<Options>) -> bool {
        // What `[Init]` says of the template counts as given from the second reading on.
        let is_given = self.template.iter().any(|wanted| self.init.contains(wanted.name));
        let stays = !is_given && !self.texts.speak_of(jail, &self.init);
        self.pending = stays.then(|| Rc::clone(jail));
        stays
    }

    /// Adds `[Init]` to what the brackets say; its own values stay reachable as `known/name`.
    fn read_init(&mut self, given: [&Rc<Options>; 2]) -> Result<(), Error> {
        if self.texts.init.is_empty() {
            return Ok(());
        }
        let mut init = Options::with_capacity(self.init.len() + 2 * self.texts.init.len());
        init.update(&self.init);
        for InitOption { key, known, value } in &self.texts.init {
            let value = || value.as_ref().map_err(Error::clone);
            if let Some(known) = known {
                init.insert(Rc::clone(known), value()?.clone());
            }
            if init.contains(key) {
                continue;
            }
            // What the jail says of an option holds for its conditional variants too.
            let is_given = |base: &str| given.iter().find_map(|layer| layer.get(base));
            let wanted = split_condition(key).and_then(|(base, _)| is_given(base));
            let setting = match wanted.filter(|setting| setting.datum != Datum::None) {
                Some(setting) => setting,
                None => value()?,
            };
            init.insert(Rc::clone(key), setting.clone());
        }
        self.init = init.into();
        Ok(())
    }

    /// All options with tags resolved and types converted; options in `ignored` are left as they are, and so are those
    /// that have conditional variants.
    pub(crate) fn combined(&mut self, ignored: &[&str], log: &mut Log) -> Result<Options, Error> {
        if let Some(jail) = self.pending.take() {
            self.read(&jail, false, log)?;
        }
        let mut options = self.options.merged(&self.init);
        let ignored = all_ignored(&options, ignored);
        for (place, text) in substitute_tags(&options, &ignored, self)? {
            options.at_mut(place).datum = Datum::Text(text);
        }
        convert(&mut options, self.template, log);
        Ok(options)
    }

    /// The options of the template out of [`Definition::combined`], in its order.
    pub(crate) fn resolved(
        &mut self,
        ignored: &[&str],
        log: &mut Log,
    ) -> Result<Vec<(&'static str, Value)>, Error> {
        if self.is_shared
            && let Some(filled) = self.filled(ignored, log)
        {
            return Ok(filled);
        }
        let combined = self.combined(ignored, log)?;
        let wanted = |name: &str| self.template.iter().find(|wanted| wanted.name == name);
        let options =
            combined.iter().filter_map(|(name, setting)| Some((wanted(name)?.name, (&setting.datum).into())));
        Ok(options.collect())
    }

    /// As [`Definition::resolved`], from what the same files came to for another jail; `None` where that differs.
    fn filled(&mut self, ignored: &[&str], log: &mut Log) -> Option<Vec<(&'static str, Value)>> {
        let texts = Rc::clone(&self.texts);
        let (brackets, vars) = (Rc::clone(&self.brackets), self.vars.clone());
        let given = Given { brackets: &brackets, vars: &vars };
        let is_own = |key: &str| self.template.iter().any(|wanted| wanted.name == key);
        // What is given for an option holds for its conditional variants, which are no tags.
        let is_given = |base: &str| brackets.contains(base) || vars.get(&lower(base)).is_some();
        let is_variant = |key: &str| split_condition(key).is_some_and(|(base, _)| is_given(base));
        if texts.init.iter().any(|option| is_own(&option.key) || is_variant(&option.key))
            || brackets.keys().any(|key| is_own(key) || key.contains('?'))
        {
            return None;
        }
        let mut patterns = texts.patterns.borrow_mut();
        if let Some(pattern) = patterns.iter().find(|pattern| pattern.holds_for(given)) {
            return Some(pattern.fill(given, log));
        }
        if patterns.len() == MAX_PATTERNS {
            return None;
        }
        let options = self.options.merged(&self.init);
        let ignored = all_ignored(&options, ignored);
        let pattern = Pattern::new(&options, self.template, &ignored, given, self)?;
        let filled = pattern.fill(given, log);
        patterns.push(pattern);
        Some(filled)
    }

    /// As [`Definition::combined`] for somebody who only wants to look.
    pub(crate) fn peek(&self, ignored: &[&str]) -> Result<Options, Error> {
        let mut copy = Self {
            texts: Rc::clone(&self.texts),
            template: self.template,
            init: Rc::clone(&self.init),
            options: Rc::clone(&self.options),
            brackets: Rc::clone(&self.brackets),
            vars: self.vars.clone(),
            is_shared: self.is_shared,
            pending: self.pending.clone(),
            looked_up: Map::default(),
        };
        copy.combined(ignored, &mut Log::default())
    }

    /// All its files, merged.
    pub(crate) fn files(&self) -> &Merged {
        &self.texts.merged
    }

    /// The sections that are read, the one that wins first.
    pub(crate) fn own_sections(&self) -> [&'static str; 2] {
        [DEFINITION, INIT]
    }

    /// The sections that are read, with the options that the file itself sets in them.
    pub(crate) fn own_keys(&self) -> impl Iterator<Item = (&'static str, Rc<str>)> {
        [DEFINITION, INIT].into_iter().flat_map(|section| {
            self.texts.merged.own_keys(section).into_iter().map(move |key| (section, key))
        })
    }

    /// The value of an option as it is read: what is given beside the file counts in `[Definition]` only.
    pub(crate) fn look_at(&self, section: &str, key: &str) -> Result<Setting, Error> {
        let none = Vars::default();
        let vars = if section == DEFINITION { &self.vars } else { &none };
        self.texts.merged.get(section, key, vars)
    }

    /// The file itself sets the option in `[Definition]`.
    pub(crate) fn defines(&self, key: &str) -> bool {
        self.texts.merged.own(DEFINITION, key).is_some()
    }

    /// The option as the file has it, whatever is given.
    pub(crate) fn get(&self, key: &str) -> Option<Setting> {
        self.texts.merged.get(DEFINITION, key, &Vars::default()).ok()
    }
}

/// Any option of the file can stand for a tag (`getCombOption`).
impl Lookup for Definition {
    fn look_up(&mut self, tag: &str) -> Result<(usize, Option<Rc<str>>), Error> {
        if let Some((index, found)) = self.looked_up.find(tag) {
            return Ok((index, found.clone()));
        }
        let find = || match self.texts.merged.get_extended(DEFINITION, tag, &self.vars) {
            Ok(setting) => Ok(setting
                .filter(|setting| setting.datum != Datum::None)
                .map(|setting| setting.datum.to_text())),
            Err(error) if error.kind == ErrorKind::Value => Ok(None),
            Err(error) => Err(error),
        };
        let shared = self.texts.shared.get().and_then(Option::as_ref).filter(|_| self.is_shared);
        let (tag, found) = match shared.filter(|_| self.vars.get(&lower(tag)).is_none()) {
            Some(shared) => shared.look_up(tag, find)?,
            None => (tag.into(), find()?),
        };
        let index = self.looked_up.len();
        if index == 0 {
            self.looked_up = Map::with_capacity(16);
        }
        self.looked_up.insert(tag, found.clone());
        Ok((index, found))
    }
}

/// Options that have conditional variants are ignored as well.
fn all_ignored<'a>(options: &'a Options, ignored: &[&'a str]) -> Vec<&'a str> {
    let conditional = options.keys().filter_map(|key| split_condition(key)).map(|(base, _)| base);
    ignored.iter().copied().chain(conditional).collect()
}

/// The options that brackets give.
pub(crate) fn given(values: &[(String, String)]) -> Options {
    let mut options = Options::with_capacity(values.len());
    for (key, value) in values {
        options.insert(key.as_str(), Setting::text(value));
    }
    options
}

/// Reads the files of a definition such as `filter.d/sshd`; `None` where upstream can't.
pub(crate) fn read_definition(files: &mut Files, base: &str, name: &str) -> Result<Option<Rc<Texts>>, Error> {
    if let Some(texts) = files.definitions.get(name) {
        texts.is_reused.set(true);
        return Ok(Some(Rc::clone(texts)));
    }
    let reading = files.read(base, name)?;
    let texts = reading.complete.then(|| Rc::new(Texts::new(reading.merged)));
    files.definitions.extend(texts.iter().map(|texts| (name.to_owned(), Rc::clone(texts))));
    Ok(texts)
}
