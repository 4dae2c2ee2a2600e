//! Layers of files on top of each other, values as written.
//!
//! Answers to the merging half of `configparserinc.SafeConfigParserWithIncludes.read`: options of later files win, a
//! conditional section `[Init?family=inet6]` becomes options `name?family=inet6` of `[Init]`, and what a later file
//! overrides stays reachable in a section `KNOWN/name`.

use std::cell::OnceCell;
use std::rc::Rc;

use memchr::{memchr, memchr_iter};
use smallvec::SmallVec;

use crate::document::{Document, Origin};
use crate::interpolate::has_reference;
use crate::map::Map;
use crate::parse::DEFAULT;
use crate::python::is_word;
use crate::setting::Datum;
use crate::source::Place;
use crate::template::Inherited;

/// What an option is in the files: usually a text. `known/` options that a filter hands to its jail are resolved values
/// of other types too, and Python stumbles over those only when it interpolates them.
#[derive(Debug, Clone)]
pub(crate) struct Raw {
    pub(crate) datum: Datum,
    pub(crate) origin: Option<Rc<Origin>>,
    /// What it has overridden.
    pub(crate) below: Option<Rc<Raw>>,
    /// There may be references in it.
    pub(crate) refers: bool,
}

impl Raw {
    pub(crate) fn new(datum: Datum, origin: Option<Rc<Origin>>) -> Self {
        let refers = matches!(&datum, Datum::Text(text) if has_reference(text));
        Self { datum, origin, below: None, refers }
    }

    /// The names in its references; `None` where one is not closed.
    pub(crate) fn references(&self) -> impl Iterator<Item = Option<&str>> {
        let text = match &self.datum {
            Datum::Text(text) if self.refers => text,
            _ => "",
        };
        references(text)
    }
}

/// The options of one section with the place of its header.
#[derive(Debug, Clone, Default)]
pub(crate) struct Body {
    pub(crate) options: Map<Raw>,
    pub(crate) header: Option<Rc<Origin>>,
}

/// All sections of some files.
#[derive(Debug, Clone, Default)]
pub(crate) struct Merged {
    pub(crate) defaults: Map<Raw>,
    /// What jails make of the defaults, while these stay as they are.
    pub(crate) inherited: OnceCell<Inherited>,
    /// Shared with the layers, and between them.
    pub(crate) sections: Map<Rc<Body>>,
}

/// What overridden options are kept under.
pub(crate) const KNOWN: &str = "KNOWN/";

impl From<&Document> for Merged {
    fn from(document: &Document) -> Self {
        let mut merged = Self::default();
        for section in &document.sections {
            let name = section.span.clone();
            let header = Origin { source: Rc::clone(&document.source), name, lines: SmallVec::new() };
            let options = section.options.iter().map(|option| {
                let datum = Datum::Text(option.origin.value().into());
                (Rc::clone(&option.key), Raw::new(datum, Some(Rc::clone(&option.origin))))
            });
            if &*section.name == DEFAULT {
                options.for_each(|(key, raw)| merged.defaults.insert(key, raw));
                continue;
            }
            let mut body = Body { options: Map::with_capacity(options.len()), header: Some(Rc::new(header)) };
            options.for_each(|(key, raw)| body.options.insert(key, raw));
            merged.sections.insert(Rc::clone(&section.name), body.into());
        }
        merged
    }
}

impl Merged {
    /// Puts one more file on top.
    pub(crate) fn overlay(&mut self, layer: &Self) {
        put_on_top(&mut self.defaults, &layer.defaults);
        self.inherited.take();
        for (name, body) in layer.sections.iter() {
            match split_condition(name) {
                None => self.overlay_section(name, body),
                Some((name, condition)) => {
                    let mut conditional = Body { options: Map::default(), header: body.header.clone() };
                    for (key, raw) in body.options.iter() {
                        conditional.options.insert(format!("{key}{condition}"), raw.clone());
                    }
                    self.overlay_section(name, &conditional.into());
                }
            }
        }
    }

    /// Sets an option of `[DEFAULT]` that is in no file.
    pub(crate) fn set_default(&mut self, key: &str, value: &str) {
        let value = Datum::from(value);
        if self.defaults.get(key).is_none_or(|raw| raw.origin.is_some() || raw.datum != value) {
            self.defaults.insert(key, Raw::new(value, None));
            self.inherited.take();
        }
    }

    fn overlay_section(&mut self, name: &str, layer: &Rc<Body>) {
        let Some(below) = self.sections.get_mut(name) else {
            self.sections.insert(name, Rc::clone(layer));
            return;
        };
        let below = Rc::make_mut(below);
        let mut known = Map::default();
        for (key, raw) in below.options.iter().filter(|(key, _)| layer.options.contains(key)) {
            known.insert(Rc::clone(key), raw.clone());
        }
        put_on_top(&mut below.options, &layer.options);
        let kept = format!("{KNOWN}{name}");
        match self.sections.get_mut(&kept) {
            Some(body) => Rc::make_mut(body).options.update(&known),
            None => self.sections.insert(kept, Rc::new(Body { options: known, header: None })),
        }
    }

    /// The names of the sections, without what is kept of overridden ones (`ConfigReader.sections`).
    pub(crate) fn section_names(&self) -> impl Iterator<Item = &Rc<str>> {
        self.sections.keys().filter(|name| !name.starts_with(KNOWN))
    }

    /// Where the first section starts, for messages about what is missing.
    pub(crate) fn first_place(&self) -> Option<Place> {
        let mut headers = self.sections.iter().filter_map(|(_, body)| body.header.as_ref());
        headers.next().map(|header| header.place())
    }

    pub(crate) fn has_section(&self, name: &str) -> bool {
        self.sections.contains(name)
    }

    /// The section's own option, not one of `[DEFAULT]`.
    pub(crate) fn own(&self, section: &str, key: &str) -> Option<&Raw> {
        self.sections.get(section)?.options.get(key)
    }

    /// The names of the section's own options.
    pub(crate) fn own_keys(&self, section: &str) -> Vec<Rc<str>> {
        let body = self.sections.get(section);
        body.map(|body| body.options.keys().cloned().collect()).unwrap_or_default()
    }
}

fn put_on_top(options: &mut Map<Raw>, layer: &Map<Raw>) {
    options.reserve(layer.len());
    for (key, raw) in layer.iter() {
        // A file can be read twice, around what it includes.
        let is_same = |below: &&Raw| match (&below.origin, &raw.origin) {
            (Some(one), Some(other)) => Rc::ptr_eq(one, other),
            _ => false,
        };
        let below = options.get(key).filter(|below| !is_same(below)).cloned().map(Rc::new);
        options.insert(Rc::clone(key), Raw { below, ..raw.clone() });
    }
}

/// The names in the references `%(name)s` of a text; `None` where one is not closed.
fn references(text: &str) -> impl Iterator<Item = Option<&str>> {
    let opened = memchr_iter(b'%', text.as_bytes()).filter_map(|at| text[at + 1..].strip_prefix('('));
    opened.map(|behind| behind.split_once(')').map(|(name, _)| name))
}

/// `name` and `?condition` of a conditional section or option.
pub(crate) fn split_condition(name: &str) -> Option<(&str, &str)> {
    let (base, condition) = name.split_at(memchr(b'?', name.as_bytes())?);
    let well_formed = !base.is_empty() && base.chars().all(is_word) && condition.len() > 1;
    (well_formed && !condition.contains('\n')).then_some((base, condition))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse;
    use crate::source::Source;

    #[track_caller]
    fn check(layers: &[&str], expected: &str) {
        let mut merged = Merged::default();
        for text in layers {
            let source = Rc::new(Source::new("x.conf", *text));
            merged.overlay(&Merged::from(&parse(&source, text.len()).0));
        }
        let list = |options: &Map<Raw>| -> String {
            options.iter().map(|(key, raw)| format!(" {key}={}", raw.datum.to_text())).collect()
        };
        let sections = merged.sections.iter().map(|(name, body)| format!("[{name}]{}", list(&body.options)));
        assert_eq!(format!("{}{}", list(&merged.defaults), sections.collect::<String>()), expected);
    }

    #[test]
    fn later_layers_win_and_earlier_values_stay_known() {
        check(&["[a]\nx=1\ny=2", "[DEFAULT]\nd=1\n[a]\nz=3\nx=4"], " d=1[a] x=4 y=2 z=3[KNOWN/a] x=1");
        check(&["[a]\nx=1", "[a]\nx=2", "[a]\nx=3"], "[a] x=3[KNOWN/a] x=2");
        check(&["[a]\nx=1", "[a]\ny=2", "[b]\ny=2"], "[a] x=1 y=2[KNOWN/a][b] y=2");
    }

    #[test]
    fn conditional_sections_become_conditional_options() {
        check(&["[Init]\nx=1\n[Init?family=inet6]\nx=2"], "[Init] x=1 x?family=inet6=2[KNOWN/Init]");
        check(&["[Init?family=inet6]\nx=2"], "[Init] x?family=inet6=2");
        check(&["[a-b?c]\nx=2"], "[a-b?c] x=2");
    }
}
