//! Which options a reader asks for, of what type, and what it takes where they are missing.
//!
//! Answers to `configreader.ConfigReaderUnshared.getOptions` and `DefinitionInitConfigReader.convertOptions`.

use std::rc::Rc;

use f2b_types::{Level, is_on};

use crate::Error;
use crate::diagnostic::{Log, logger};
use crate::interpolate::{Scope, Vars, has_reference, no_section};
use crate::merged::Merged;
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

/// What a section has of `[DEFAULT]`, with the names, by the places in a template. What refers to other options is not
/// among it, since it can be something else in each section, nor is what has the wrong type, since each section says so.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inherited(Vec<(Rc<str>, Option<Setting>)>);

impl Inherited {
    pub(crate) fn new(merged: &Merged, template: &[Wanted]) -> Self {
        let inherited = |wanted: &Wanted| {
            let raw = merged.defaults.get(wanted.name)?;
            let is_plain = matches!(&raw.datum, Datum::Text(text) if !has_reference(text));
            let datum = wanted.kind.convert(&raw.datum).filter(|_| is_plain)?;
            Some(Setting { datum, origin: raw.origin.clone() })
        };
        Self(template.iter().map(|wanted| (wanted.name.into(), inherited(wanted))).collect())
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
        for (place, wanted) in self.template.iter().enumerate() {
            let (name, inherited) = match inherited.0.get(place) {
                Some((name, setting)) => (Rc::clone(name), setting.as_ref()),
                None => (wanted.name.into(), None),
            };
            if let Some(setting) = inherited
                && own.is_some_and(|own| !own.options.contains(&name))
            {
                options.insert(name, setting.clone());
                continue;
            }
            let Some(setting) = self.read_one(wanted, scope.as_mut(), log)? else { continue };
            let datum = wanted.kind.convert(&setting.datum).unwrap_or_else(|| {
                let (name, section, default) = (wanted.name, self.section, wanted.fallback.repr());
                let message =
                    format!("Wrong value for '{name}' in '{section}'. Using default one: '{default}'");
                log.say_at(Level::WARNING, logger::CONFIG, message, setting.place());
                wanted.fallback.datum()
            });
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
        let fallback = || Some(Setting { datum: wanted.fallback.datum(), origin: None });
        let Some(scope) = scope else {
            let message = no_section(self.section).to_string();
            log.say_at(Level::ERROR, logger::CONFIG, message, self.merged.first_place());
            return Ok(fallback());
        };
        match scope.get(wanted.name)? {
            Some(setting) => Ok(Some(setting)),
            None if matches!(wanted.fallback, Fallback::Unset) => Ok(None),
            None => {
                log.trace(Level::DEBUG, logger::CONFIG, || {
                    let (name, section, default) = (wanted.name, self.section, wanted.fallback.repr());
                    format!("'{name}' not defined in '{section}'. Using default one: {default}")
                });
                Ok(fallback())
            }
        }
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
