//! `%(name)s` in values.
//!
//! Answers to `configparser.BasicInterpolation` with fail2ban's additions (`configparserinc.BasicInterpolationWithName`,
//! `_map_section_options`, `get_ex`): `%(__name__)s` is the section, `%(section/name)s` an option of another section,
//! `%(known/name)s` the value that a later file has overridden, `%(default/name)s` an option of `[DEFAULT]`.
//!
//! Names are looked up in lower case, but the name of another section is matched as written. So a section with a
//! capital letter can't be referred to, and neither can `[DEFAULT]` under its own name; `%(default/x)s` can.

use std::borrow::Cow;
use std::mem;
use std::rc::Rc;

use memchr::{memchr, memchr_iter};

use crate::Error;
use crate::document::Origin;
use crate::error::ErrorKind;
use crate::merged::{Body, KNOWN, Merged, Raw};
use crate::parse::DEFAULT;
use crate::python::{is_space, is_word, lower, repr};
use crate::setting::{Datum, Options, Setting};
use crate::source::MAX_FILE;

/// References in references in references: Python's limit.
const MAX_DEPTH: usize = 10;
/// By how much a value usually grows at most.
const USUAL: usize = 256;
/// References in all, for one value.
const MAX_STEPS: usize = 100_000;

/// Values that go before those of the files when one is interpolated (`vars` of `configparser.get`), the strongest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Vars(Vec<Rc<Options>>);

impl Vars {
    pub(crate) fn new<const N: usize>(layers: [&Rc<Options>; N]) -> Self {
        Self(layers.into_iter().map(in_lower_case).collect())
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Setting> {
        self.0.iter().find_map(|layer| layer.get(key))
    }
}

/// The options under their names in lower case.
fn in_lower_case(options: &Rc<Options>) -> Rc<Options> {
    if options.keys().all(|key| matches!(lower(key), Cow::Borrowed(_))) {
        return Rc::clone(options);
    }
    let mut vars = Options::default();
    for (key, setting) in options.iter() {
        vars.insert(&*lower(key), setting.clone());
    }
    Rc::new(vars)
}

impl Merged {
    /// The value of an option with all references resolved (`RawConfigParser.get`).
    pub(crate) fn get(&self, section: &str, option: &str, vars: &Vars) -> Result<Setting, Error> {
        let mut scope = self.scope(section, vars).ok_or_else(|| no_section(section))?;
        scope.get(option)?.ok_or_else(|| {
            Error::config(format!("No option {} in section: {}", repr(&lower(option)), repr(section)))
        })
    }

    /// As [`Merged::get`], where `known/name` and `section/name` are understood too (`get_ex`). `None` if there is no such
    /// option.
    pub(crate) fn get_extended(
        &self,
        section: &str,
        option: &str,
        vars: &Vars,
    ) -> Result<Option<Setting>, Error> {
        let plain = |name: &str| !name.contains(|c| c == '>' || is_space(c));
        if let Some((prefix, name)) = split_reference(option).filter(|(_, name)| plain(name)) {
            let known = format!("{KNOWN}{section}");
            let sections: &[&str] = match &*lower(prefix) {
                "known" => &[&known, section],
                "default" => &[DEFAULT],
                _ => &[prefix],
            };
            for section in sections {
                let none = Vars::default();
                let Some(mut scope) = self.scope(section, &none) else { continue };
                if let Some(setting) = scope.get(name)? {
                    return Ok(Some(setting));
                }
            }
        }
        let Some(mut scope) = self.scope(section, vars) else { return Ok(None) };
        scope.get(option)
    }

    /// Where the options of a section are looked up; `None` if there is no such section.
    pub(crate) fn scope<'a>(&'a self, section: &'a str, vars: &'a Vars) -> Option<Scope<'a>> {
        let body = self.sections.get(section).map(|body| &**body);
        let scope = Scope {
            merged: self,
            section,
            body,
            vars,
            option: "".into(),
            referred: Vec::new(),
            steps: 0,
            expanded: String::new(),
        };
        (body.is_some() || section == DEFAULT).then_some(scope)
    }
}

/// Upstream's exception for it.
pub(crate) fn no_section(section: &str) -> Error {
    Error::config(format!("No section: {}", repr(section)))
}

/// `section` and `name` of a reference `section/name`.
fn split_reference(reference: &str) -> Option<(&str, &str)> {
    let slash = memchr(b'/', reference.as_bytes())?;
    let (prefix, name) = (&reference[..slash], &reference[slash + 1..]);
    let well_formed = prefix.chars().all(|c| c == '-' || is_word(c)) && !prefix.is_empty();
    (well_formed && !name.is_empty()).then_some((prefix, name))
}

/// Whether a value has to be interpolated.
pub(crate) fn has_reference(text: &str) -> bool {
    memchr(b'%', text.as_bytes()).is_some()
}

fn not_iterable(datum: &Datum) -> Error {
    Error::new(ErrorKind::Type, format!("argument of type '{}' is not iterable", datum.type_name()))
}

/// What a name stands for.
struct Found<'a> {
    datum: Datum,
    origin: Option<&'a Rc<Origin>>,
    /// Offsets in the value are offsets in the file's text.
    raw: bool,
    /// There may be references in it.
    refers: bool,
}

/// Where names are looked up while the options of a section are resolved.
pub(crate) struct Scope<'a> {
    merged: &'a Merged,
    section: &'a str,
    body: Option<&'a Body>,
    vars: &'a Vars,
    /// The option that is being resolved.
    option: Cow<'a, str>,
    /// Options of other sections that the value, or one that refers to it, names as written.
    referred: Vec<(String, &'a Raw)>,
    steps: usize,
    /// Where values grow until their length is known.
    expanded: String,
}

impl<'a> Scope<'a> {
    /// The value of an option with all references resolved; `None` if there is no such option.
    pub(crate) fn get(&mut self, option: &'a str) -> Result<Option<Setting>, Error> {
        self.option = lower(option);
        self.referred.clear();
        self.steps = 0;
        let Some(found) = self.find(&self.option) else { return Ok(None) };
        let datum = match &found.datum {
            Datum::None => Datum::None,
            Datum::Text(text) if !found.refers => Datum::Text(Rc::clone(text)),
            Datum::Text(text) => {
                let mut out = mem::take(&mut self.expanded);
                out.clear();
                out.reserve(text.len() + USUAL);
                self.expand(text, &found, 1, &mut out)?;
                let datum = Datum::from(&*out);
                self.expanded = out;
                datum
            }
            other => return Err(not_iterable(other)),
        };
        Ok(Some(Setting { datum, origin: found.origin.cloned() }))
    }

    fn find(&self, name: &str) -> Option<Found<'a>> {
        let from_file = |raw: &'a Raw| Found {
            datum: raw.datum.clone(),
            origin: raw.origin.as_ref(),
            raw: true,
            refers: raw.refers,
        };
        if let Some((_, raw)) = self.referred.iter().rev().find(|(key, _)| key == name) {
            return Some(from_file(raw));
        }
        if let Some(setting) = self.vars.get(name) {
            // What is given counts as a text, whatever it was converted to.
            let datum = match &setting.datum {
                Datum::None => Datum::None,
                datum => Datum::Text(datum.to_text()),
            };
            let refers = matches!(&datum, Datum::Text(text) if has_reference(text));
            return Some(Found { datum, origin: setting.origin.as_ref(), raw: false, refers });
        }
        self.own(name).map(from_file)
    }

    fn own(&self, name: &str) -> Option<&'a Raw> {
        self.body.and_then(|body| body.options.get(name)).or_else(|| self.merged.defaults.get(name))
    }

    /// Appends the value `text`, found as `found`, with its references resolved.
    fn expand(&mut self, text: &str, found: &Found<'_>, depth: usize, out: &mut String) -> Result<(), Error> {
        let place = |offset: usize| found.origin.map(|o| o.place_of(if found.raw { offset } else { 0 }));
        if depth > MAX_DEPTH {
            return Err(self.too_deep(text).at_place(place(0)));
        }
        let outer = self.referred.len();
        self.refer(text);
        let mut rest = text;
        while let Some(percent) = memchr(b'%', rest.as_bytes()) {
            let offset = text.len() - rest.len() + percent;
            let (before, reference) = rest.split_at(percent);
            out.push_str(before);
            if let Some(behind) = reference.strip_prefix("%%") {
                out.push('%');
                rest = behind;
                continue;
            }
            let (name, behind) = self.reference(reference).map_err(|error| error.at_place(place(offset)))?;
            self.append(&name, text, depth, out).map_err(|error| error.at_place(place(offset)))?;
            rest = behind;
        }
        out.push_str(rest);
        self.referred.truncate(outer);
        Ok(())
    }

    /// Appends what `name` stands for; `text` is the value that refers to it.
    fn append(&mut self, name: &str, text: &str, depth: usize, out: &mut String) -> Result<(), Error> {
        self.steps += 1;
        if self.steps > MAX_STEPS || out.len() as u64 > MAX_FILE {
            let option = repr(&self.option);
            return Err(Error::config(format!(
                "Too much to substitute: option {option} in section {}",
                repr(self.section)
            )));
        }
        if name == "__name__" {
            out.push_str(self.section);
            return Ok(());
        }
        let found = self.find(name).ok_or_else(|| self.missing(name, text))?;
        match &found.datum {
            Datum::Text(value) if found.refers => self.expand(value, &found, depth + 1, out),
            Datum::Text(value) => {
                out.push_str(value);
                Ok(())
            }
            other => Err(not_iterable(other)),
        }
    }

    /// The name between `%(` and `)s`, and what follows.
    fn reference<'t>(&self, text: &'t str) -> Result<(Cow<'t, str>, &'t str), Error> {
        let fail = |message: String| Error::config(message).hint("a percent sign by itself is written %%");
        let Some(inner) = text.strip_prefix("%(") else {
            return Err(fail(format!("'%' must be followed by '%' or '(', found: {}", repr(text))));
        };
        let close = memchr(b')', inner.as_bytes()).filter(|close| *close > 0);
        let parts = close.and_then(|close| Some((&inner[..close], inner[close + 1..].strip_prefix('s')?)));
        let Some((name, behind)) = parts else {
            return Err(fail(format!("bad interpolation variable reference {}", repr(text))));
        };
        Ok((lower(name), behind))
    }

    /// Makes the options of other sections that `text` refers to available under the names it gives them.
    fn refer(&mut self, text: &str) {
        if memchr(b'/', text.as_bytes()).is_none() {
            return;
        }
        let opening = |percent: &usize| text[*percent..].starts_with("%(");
        let mut close = 0;
        for percent in memchr_iter(b'%', text.as_bytes()).filter(opening) {
            let start = percent + 2;
            if close < start {
                let Some(length) = text[start..].find(')') else { break };
                close = start + length;
            }
            let reference = &text[start..close];
            let Some((prefix, name)) = split_reference(reference).filter(|_| text[close..].starts_with(")s"))
            else {
                continue;
            };
            let is_there = self.referred.iter().any(|(key, _)| key == reference)
                || self.vars.get(reference).is_some()
                || self.own(reference).is_some();
            if is_there {
                continue;
            }
            if let Some(raw) = self.other(prefix, name) {
                self.referred.push((reference.to_owned(), raw));
            }
        }
    }

    fn other(&self, prefix: &str, name: &str) -> Option<&'a Raw> {
        let default = || self.merged.defaults.get(name);
        match &*lower(prefix) {
            "default" => default(),
            "known" => self.merged.own(&format!("{KNOWN}{}", self.section), name).or_else(default),
            _ => {
                let body = self.merged.sections.get(prefix)?;
                body.options.get(name).or_else(default)
            }
        }
    }

    /// The value of the option in the files, or else `text`.
    fn raw_value(&self, text: &str) -> String {
        match self.own(&self.option).map(|raw| &raw.datum) {
            Some(Datum::Text(text)) => repr(text),
            Some(other) => other.to_text().to_string(),
            None => repr(text),
        }
    }

    fn missing(&self, name: &str, text: &str) -> Error {
        Error::config(format!(
            "Bad value substitution: option {} in section {} contains an interpolation key {} which is not a valid \
             option name. Raw value: {}",
            repr(&self.option),
            repr(self.section),
            repr(name),
            self.raw_value(text)
        ))
    }

    fn too_deep(&self, text: &str) -> Error {
        Error::config(format!(
            "Recursion limit exceeded in value substitution: option {} in section {} contains an interpolation key \
             which cannot be substituted in {MAX_DEPTH} steps. Raw value: {}",
            repr(&self.option),
            repr(self.section),
            self.raw_value(text)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse;
    use crate::source::Source;

    fn merged(layers: &[&str]) -> Merged {
        let mut merged = Merged::default();
        for text in layers {
            let source = Rc::new(Source::new("x.conf", *text));
            merged.overlay(&Merged::from(&parse(&source, text.len()).0));
        }
        merged
    }

    fn get(layers: &[&str], option: &str) -> Result<String, Error> {
        let mut given = Options::default();
        given.insert("Given", Setting::text("%(__name__)s!"));
        let (merged, vars) = (merged(layers), Vars::new([&given.into()]));
        let setting =
            merged.get_extended("a", option, &vars)?.map_or_else(|| merged.get("a", option, &vars), Ok);
        setting.map(|setting| setting.datum.to_text().to_string())
    }

    #[track_caller]
    fn check(layers: &[&str], option: &str, expected: &str) {
        assert_eq!(get(layers, option).map_err(|e| e.to_string()), Ok(expected.into()));
    }

    #[test]
    fn references_are_looked_up_in_given_own_and_default_options() {
        check(&["[DEFAULT]\nd=4\n[a]\nx=1%%%(y)s%(D)s\ny=2%(z)s\nz=3"], "x", "1%234");
        check(&["[a]\nx=%(given)s"], "x", "a!");
        check(&["[a]\nx=1"], "X", "1");
    }

    #[test]
    fn references_reach_into_other_sections() {
        check(&["[DEFAULT]\nd=4\n[b]\ny=%(d)s\n[a]\nx=%(b/y)s%(default/d)s%(b/d)s"], "x", "444");
        check(&["[a]\nx=1", "[a]\nx=%(known/x)s 2"], "x", "1 2");
        check(&["[a]\nx=1", "[a]\nx=%(known/x)s 2"], "known/x", "1");
        check(&["[DEFAULT]\nx=1\n[a]\nx=%(known/x)s 2"], "x", "1 2");
        check(&["[b]\nx=1\n[a]\ny=1"], "b/x", "1");
    }

    #[track_caller]
    fn check_error(layers: &[&str], message: &str, at: &str) {
        let error = get(layers, "x").expect_err("an error");
        let location = error.at().map(ToString::to_string).unwrap_or_default();
        assert_eq!((&*error.to_string(), &*location), (message, at));
    }

    #[test]
    fn errors_name_the_reference_and_its_place() {
        check_error(
            &["[a]\nx = 1\n  %(nope)s"],
            "Bad value substitution: option 'x' in section 'a' contains an interpolation key 'nope' which is not a \
             valid option name. Raw value: '1\\n%(nope)s'",
            "x.conf:3:3",
        );
        check_error(&["[a]\nx=%(y)s\ny=50%"], "'%' must be followed by '%' or '(', found: '%'", "x.conf:3:5");
        check_error(&["[a]\nx=%(y"], "bad interpolation variable reference '%(y'", "x.conf:2:3");
        check_error(
            &["[a]\nx=%(x)s"],
            "Recursion limit exceeded in value substitution: option 'x' in section 'a' contains an interpolation key \
             which cannot be substituted in 10 steps. Raw value: '%(x)s'",
            "x.conf:2:3",
        );
        check_error(&["[b]\nx=1"], "No section: 'a'", "");
        check_error(
            &["[Big]\ny=1\n[a]\nx=%(Big/y)s"],
            "Bad value substitution: option 'x' in section 'a' contains an interpolation key 'big/y' which is not a \
             valid option name. Raw value: '%(Big/y)s'",
            "x.conf:4:3",
        );
    }

    #[test]
    fn a_value_that_explodes_is_stopped() {
        let level = |i: usize| format!("\nx{i}={}", format!("%(x{})s", i + 1).repeat(100));
        let levels: String = (0..8).map(level).collect();
        let text = format!("[a]\nx=%(x0)s{levels}\nx8=1");
        let error = get(&[&text], "x").expect_err("an error");
        assert!(error.to_string().starts_with("Too much to substitute"), "{error}");
    }
}
