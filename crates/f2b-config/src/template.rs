//! Which options a reader asks for, of what type, and what it takes where they are missing.
//!
//! Answers to `configreader.ConfigReaderUnshared.getOptions` and `DefinitionInitConfigReader.convertOptions`.

use std::rc::Rc;

use f2b_types::{Level, is_on};

use crate::Error;
use crate::diagnostic::{Log, logger};
use crate::interpolate::{Scope, Vars, has_reference, no_section};
use crate::map::Map;
use crate::merged::{Merged, Raw};
use crate::python::{parse_int, repr};
use crate::setting::{Datum, Options, Setting};

/// The type that an option is converted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Text,
    Int,
    Bool,
}

impl Type {
    fn name(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Int => "int",
            Self::Bool => "bool",
        }
    }

    /// The value in this type; `None` for a text that is no number.
    fn convert(self, datum: &Datum) -> Option<Datum> {
        match (self, datum) {
            (Self::Int, Datum::Text(text)) => parse_int(text).map(Datum::Int),
            (Self::Int, Datum::Bool(b)) => Some(Datum::Int(i64::from(*b))),
            (Self::Bool, Datum::Text(text)) => Some(Datum::Bool(is_on(text))),
            (Self::Bool, datum) => Some(Datum::Bool(datum.is_true())),
            (_, datum) => Some(datum.clone()),
        }
    }
}

/// What to take for an option that is not set.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fallback {
    /// The option stays unset.
    Unset,
    Text(&'static str),
    Bool(bool),
}

impl Fallback {
    fn datum(self) -> Datum {
        match self {
            Self::Unset => Datum::None,
            Self::Text(text) => text.into(),
            Self::Bool(b) => Datum::Bool(b),
        }
    }

    fn repr(self) -> String {
        match self {
            Self::Text(text) => repr(text),
            other => other.datum().to_text().to_string(),
        }
    }
}

/// One option that a reader asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) kind: Type,
    pub(crate) name: &'static str,
    pub(crate) fallback: Fallback,
}

/// A line of a template, short enough to keep the templates tables.
pub(crate) const fn want(kind: Type, name: &'static str, fallback: Fallback) -> Wanted {
    Wanted { kind, name, fallback }
}

/// What sections that don't set the options of a template have in their place, with the names, in the template's order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inherited(Map<FromDefault>);

/// What a section has of `[DEFAULT]`.
#[derive(Debug, Clone)]
enum FromDefault {
    Unset,
    Set(Setting),
    /// It refers to other options, which can be something else in each section, or has the wrong type, which each section
    /// says.
    Unsettled,
}

impl Inherited {
    pub(crate) fn new(merged: &Merged, template: &[Wanted]) -> Self {
        let inherited = |wanted: &Wanted| {
            let Some(raw) = merged.defaults.get(wanted.name) else { return FromDefault::Unset };
            let is_plain = matches!(&raw.datum, Datum::Text(text) if !has_reference(text));
            match wanted.kind.convert(&raw.datum).filter(|_| is_plain) {
                Some(datum) => FromDefault::Set(Setting { datum, origin: raw.origin.clone() }),
                None => FromDefault::Unsettled,
            }
        };
        let mut all = Map::with_capacity(template.len());
        template.iter().for_each(|wanted| all.insert(wanted.name, inherited(wanted)));
        Self(all)
    }

    /// By the places in the template, the name and what a section with these options of its own has, if it is known.
    fn of(&self, own: &Map<Raw>) -> Vec<(&Rc<str>, Option<&FromDefault>)> {
        let mut all: Vec<_> = self.0.iter().map(|(name, default)| (name, Some(default))).collect();
        for (place, _) in own.keys().filter_map(|key| self.0.find(key)) {
            all[place].1 = None;
        }
        all
    }
}

/// A section to read a template's options from.
pub(crate) struct Query<'a> {
    pub(crate) merged: &'a Merged,
    pub(crate) section: &'a str,
    pub(crate) template: &'a [Wanted],
}

impl Query<'_> {
    /// All options in their types. That the section does not exist is an error.
    pub(crate) fn read_existing(&self, log: &mut Log) -> Result<Options, Error> {
        if !self.merged.has_section(self.section) {
            return Err(no_section(self.section));
        }
        self.read(log)
    }

    /// All options in their types.
    pub(crate) fn read(&self, log: &mut Log) -> Result<Options, Error> {
        self.read_inheriting(&Inherited::default(), log)
    }

    /// The same, where it is known already what the section has of `[DEFAULT]`.
    pub(crate) fn read_inheriting(&self, inherited: &Inherited, log: &mut Log) -> Result<Options, Error> {
        let mut options = Options::with_capacity(self.template.len());
        let vars = Vars::default();
        let mut scope = self.merged.scope(self.section, &vars);
        let own = self.merged.sections.get(self.section);
        let known = own.map(|own| inherited.of(&own.options)).unwrap_or_default();
        for (place, wanted) in self.template.iter().enumerate() {
            let (name, default) = known.get(place).copied().unzip();
            let found = match default.flatten() {
                Some(FromDefault::Set(setting)) => {
                    options.insert(name.map_or_else(|| wanted.name.into(), Rc::clone), setting.clone());
                    continue;
                }
                Some(FromDefault::Unset) => self.missing(wanted, log),
                Some(FromDefault::Unsettled) | None => self.read_one(wanted, scope.as_mut(), log)?,
            };
            let Some(setting) = found else { continue };
            let datum = wanted.kind.convert(&setting.datum).unwrap_or_else(|| {
                let (name, section, default) = (wanted.name, self.section, wanted.fallback.repr());
                let message =
                    format!("Wrong value for '{name}' in '{section}'. Using default one: '{default}'");
                log.say_at(Level::WARNING, logger::CONFIG, message, setting.place());
                wanted.fallback.datum()
            });
            let name = name.map_or_else(|| wanted.name.into(), Rc::clone);
            options.insert(name, Setting { datum, origin: setting.origin });
        }
        Ok(options)
    }

    /// The options that are not `given` already, as texts.
    pub(crate) fn read_texts(
        &self,
        given: impl Fn(&str) -> bool,
        vars: &Vars,
        log: &mut Log,
    ) -> Result<Options, Error> {
        let mut options = Options::with_capacity(self.template.len());
        let mut scope = self.merged.scope(self.section, vars);
        for wanted in self.template.iter().filter(|wanted| !given(wanted.name)) {
            if let Some(setting) = self.read_one(wanted, scope.as_mut(), log)? {
                options.insert(wanted.name, setting);
            }
        }
        Ok(options)
    }

    fn read_one<'a>(
        &self,
        wanted: &'a Wanted,
        scope: Option<&mut Scope<'a>>,
        log: &mut Log,
    ) -> Result<Option<Setting>, Error> {
        let Some(scope) = scope else {
            let message = no_section(self.section).to_string();
            log.say_at(Level::ERROR, logger::CONFIG, message, self.merged.first_place());
            return Ok(Some(Setting { datum: wanted.fallback.datum(), origin: None }));
        };
        Ok(scope.get(wanted.name)?.or_else(|| self.missing(wanted, log)))
    }

    /// What there is of an option that is set nowhere.
    fn missing(&self, wanted: &Wanted, log: &mut Log) -> Option<Setting> {
        if matches!(wanted.fallback, Fallback::Unset) {
            return None;
        }
        log.trace(Level::DEBUG, logger::CONFIG, || {
            let (name, section, default) = (wanted.name, self.section, wanted.fallback.repr());
            format!("'{name}' not defined in '{section}'. Using default one: {default}")
        });
        Some(Setting { datum: wanted.fallback.datum(), origin: None })
    }
}

/// Converts options that were read as texts, after everything in them is resolved.
pub(crate) fn convert(options: &mut Options, template: &[Wanted], log: &mut Log) {
    for wanted in template.iter().filter(|wanted| wanted.kind != Type::Text) {
        if let Some(setting) = options.get_mut(wanted.name) {
            setting.datum = converted(wanted, setting, log);
        }
    }
}

/// The value of one of them in its type.
pub(crate) fn converted(wanted: &Wanted, setting: &Setting, log: &mut Log) -> Datum {
    if setting.datum == Datum::None {
        return Datum::None;
    }
    wanted.kind.convert(&setting.datum).unwrap_or_else(|| {
        let (kind, value) = (wanted.kind.name(), repr(&setting.datum.to_text()));
        let (name, default) = (repr(wanted.name), wanted.fallback.repr());
        let message = format!("Wrong {kind} value {value} for {name}. Using default one: {default}");
        log.say_at(Level::WARNING, logger::CONFIG, message, setting.place());
        wanted.fallback.datum()
    })
}
