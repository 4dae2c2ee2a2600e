//! Where the options of a jail come from: the value in force, the place that says so, and what it overrides.

use std::collections::HashSet;
use std::path::Path;
use std::rc::Rc;

use f2b_protocol::Value;
use f2b_types::Level;

use crate::action::Action;
use crate::bracketed::extract_options;
use crate::configurator::Configurator;
use crate::definition::Definition;
use crate::diagnostic::Diagnostic;
use crate::document::Origin;
use crate::error::{Error, ErrorKind};
use crate::interpolate::Vars;
use crate::jail::{Jail, wanted_actions};
use crate::merged::{Merged, Raw};
use crate::nearest::did_you_mean;
use crate::parse::DEFAULT;
use crate::python::{lower, repr};
use crate::setting::{Datum, Setting};
use crate::source::Location;

/// Of what is written no more is shown.
const MAX_TEXT: usize = 2000;
/// References that are followed for one option.
const MAX_REFERENCES: usize = 100;

/// One option of a jail, of its filter or of one of its actions.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// `maxretry`, `filter[sshd].mode`, `action[iptables].actionban`.
    pub name: String,
    /// What it comes to, with all references resolved.
    pub value: Value,
    /// Who says so, the one in force first and those that it overrides behind it; nobody, where it is fail2ban's own default.
    pub layers: Vec<Layer>,
    /// The options that the value refers to, and those that these refer to, each with who sets it.
    pub through: Vec<(String, Layer)>,
}

/// A place that sets an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The section there, or where brackets are, the option that has them.
    pub section: String,
    /// Where the option stands; none for what the program sets by itself.
    pub at: Option<Location>,
    /// As written, references and all.
    pub text: String,
}

/// An explanation, and what there was to say on the way.
pub type Explanation = (Result<Vec<Explained>, Error>, Vec<Diagnostic>);

/// Explains `jail` or `jail.option`; of an option of a filter or an action the last part of the name will do. The jail is read
/// as if it were enabled.
///
/// # Errors
///
/// That there is no such jail or option, or that the files can't be read.
pub fn explain(root: &Path, what: &str) -> Explanation {
    let mut configurator = Configurator::heard_from(root, Level::WARNING);
    let explained = read(&mut configurator, what);
    (explained, configurator.take_diagnostics())
}

fn read(configurator: &mut Configurator, what: &str) -> Result<Vec<Explained>, Error> {
    let reading = configurator.files.read(&configurator.base, "jail")?;
    if !reading.complete {
        return Err(Error::new(ErrorKind::Lookup, "Read jails configuration failed."));
    }
    let names: Vec<_> =
        reading.merged.section_names().filter(|name| &***name != "INCLUDES").cloned().collect();
    // Both names and options may have dots in them; the longest name wins.
    let starts =
        |name: &str| what.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    let Some(name) = names.iter().filter(|name| starts(name)).max_by_key(|name| name.len()) else {
        let jail = what.split('.').next().unwrap_or_default();
        let error = Error::new(ErrorKind::Value, format!("There is no jail {}", repr(jail)));
        return Err(with_hint(error, did_you_mean(jail, names.iter().map(|name| &**name))));
    };
    let option = what[name.len()..].strip_prefix('.');
    let mut merged = Rc::unwrap_or_clone(reading.merged);
    let written = merged.clone();
    let mut jail = Jail::new(name, true);
    if !jail.read(&mut merged, &configurator.base, &[], &mut configurator.files)? {
        return Err(Error::new(ErrorKind::Jail, format!("Errors in jail {}", repr(name))));
    }
    let all = options_of(&mut jail, &written, configurator)?;
    let Some(option) = option else { return Ok(all) };
    // What only other options refer to is explained when somebody asks for it.
    if let Ok(setting) = merged.get(name, option, &Vars::default())
        && !jail.options.contains(option)
    {
        let layers = layers(&written, name, option);
        let value = Value::from(&setting.datum);
        return Ok(vec![Explained {
            name: option.to_owned(),
            value,
            layers,
            through: through(&written, name, option),
        }]);
    }
    let is_asked = |name: &str| name == option || name.split_once("].").is_some_and(|(_, key)| key == option);
    let known: Vec<String> = all.iter().map(|explained| explained.name.clone()).collect();
    let found: Vec<_> = all.into_iter().filter(|explained| is_asked(&explained.name)).collect();
    if found.is_empty() {
        let error =
            Error::new(ErrorKind::Value, format!("The jail {} has no option {}", repr(name), repr(option)));
        return Err(with_hint(error, did_you_mean(option, known.iter().map(String::as_str))));
    }
    Ok(found)
}

fn with_hint(error: Error, hint: Option<String>) -> Error {
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn options_of(
    jail: &mut Jail,
    written: &Merged,
    configurator: &mut Configurator,
) -> Result<Vec<Explained>, Error> {
    let mut all = Vec::new();
    let brackets = |option: &str| {
        let text = jail.options.get(option).map(|setting| setting.datum.to_text())?;
        let given = wanted_actions(&text).filter_map(|text| extract_options(text).ok());
        let given = given.flat_map(|(_, given)| given).map(|(key, _)| key).collect();
        let layer = layers(written, &jail.name, option).into_iter().next()?;
        Some(Brackets { layer, given, through: through(written, &jail.name, option) })
    };
    let (by_filter, by_action) = (brackets("filter"), brackets("action"));
    for (key, setting) in jail.options.iter() {
        let layers = layers(written, &jail.name, key);
        let (value, through) = (Value::from(&setting.datum), through(written, &jail.name, key));
        all.push(Explained { name: key.to_string(), value, layers, through });
    }
    let log = &mut configurator.files.log;
    if let Some(filter) = &mut jail.filter {
        let name = jail.options.get("filter").map(|setting| setting.datum.to_text()).unwrap_or_default();
        let combined = filter.definition.combined(&[], log)?;
        let is_new = |key: &str| !jail.options.contains(key);
        let entries = combined.iter().filter(|(key, _)| is_new(key));
        of_definition(("filter", &name), Some(&filter.definition), entries, by_filter.as_ref(), &mut all);
    }
    for action in &mut jail.actions {
        match action {
            Action::Shell { name, definition } => {
                let combined = definition.combined(crate::action::IGNORED, log)?;
                of_definition(
                    ("action", name),
                    Some(definition),
                    combined.iter(),
                    by_action.as_ref(),
                    &mut all,
                );
            }
            Action::Program { name, given, .. } => {
                of_definition(("action", name), None, given.iter(), by_action.as_ref(), &mut all);
            }
        }
    }
    Ok(all)
}

fn of_definition<'a>(
    (kind, name): (&str, &str),
    definition: Option<&Definition>,
    entries: impl Iterator<Item = (&'a Rc<str>, &'a Setting)>,
    brackets: Option<&Brackets>,
    all: &mut Vec<Explained>,
) {
    // What brackets say of the filter's own options stands behind its name already.
    let name = name.split('[').next().unwrap_or_default();
    for (key, setting) in entries.filter(|(key, _)| !key.starts_with("known/")) {
        let mut layers = definition.map(|definition| definition.layers(key)).unwrap_or_default();
        let from_file = setting.origin.as_ref().is_some_and(|origin| {
            layers.iter().any(|layer| layer.at.as_ref() == Some(&origin.place().location))
        });
        if !from_file {
            let own = setting.origin.as_ref().map(|origin| layer_at("jail", origin));
            let given = || brackets.filter(|brackets| brackets.given.contains(&**key));
            let by_brackets =
                given().map(|brackets| Layer { section: kind.into(), ..brackets.layer.clone() });
            // Neither a file nor brackets: the program has put it there.
            let by_program = || Layer { section: kind.into(), at: None, text: text_of(&setting.datum) };
            layers.insert(0, own.or(by_brackets).unwrap_or_else(by_program));
        }
        let references = brackets.filter(|brackets| !from_file && brackets.given.contains(&**key));
        let references = references.into_iter().flat_map(|brackets| brackets.through.iter());
        let through = references.filter(|(name, _)| name == &**key).cloned().collect();
        let value = Value::from(&setting.datum);
        all.push(Explained { name: format!("{kind}[{name}].{key}"), value, layers, through });
    }
}

/// What the brackets of a jail's filter or actions say.
struct Brackets {
    /// The option that has them.
    layer: Layer,
    /// The names in them.
    given: HashSet<String>,
    /// What their text refers to.
    through: Vec<(String, Layer)>,
}

impl Definition {
    /// Who sets an option of the file, the one in force first.
    fn layers(&self, key: &str) -> Vec<Layer> {
        let own = self.own_sections().into_iter().flat_map(|section| own_layers(self.files(), section, key));
        own.chain(default_layers(self.files(), key)).collect()
    }
}

/// Who sets an option in a section or, for all sections, in `[DEFAULT]`.
fn layers(merged: &Merged, section: &str, key: &str) -> Vec<Layer> {
    own_layers(merged, section, key).chain(default_layers(merged, key)).collect()
}

fn own_layers(merged: &Merged, section: &str, key: &str) -> impl Iterator<Item = Layer> {
    std::iter::successors(merged.own(section, key), |raw| raw.below.as_deref())
        .map(move |raw| layer(section, raw))
}

fn default_layers(merged: &Merged, key: &str) -> impl Iterator<Item = Layer> {
    std::iter::successors(merged.defaults.get(key), |raw| raw.below.as_deref()).map(|raw| layer(DEFAULT, raw))
}

fn layer(section: &str, raw: &Raw) -> Layer {
    match &raw.origin {
        Some(origin) => layer_at(section, origin),
        None => Layer { section: section.into(), at: None, text: text_of(&raw.datum) },
    }
}

/// The options that an option refers to by `%(name)s`, directly or through others, each once and with who sets it.
fn through(merged: &Merged, section: &str, key: &str) -> Vec<(String, Layer)> {
    let mut found: Vec<(String, Layer)> = Vec::new();
    let mut texts: Vec<String> =
        layers(merged, section, key).into_iter().take(1).map(|layer| layer.text).collect();
    while let Some(text) = texts.pop() {
        for (start, _) in text.match_indices("%(") {
            let Some(length) = text[start..].find(")s") else { continue };
            let reference = lower(&text[start + 2..start + length]).into_owned();
            if found.len() == MAX_REFERENCES || found.iter().any(|(known, _)| *known == reference) {
                continue;
            }
            let (place, name) = match reference.split_once('/') {
                // What it overrides is told already.
                Some(("known", name)) if name == key => continue,
                Some(("known" | "default", name)) => (section, name),
                Some((other, name)) => (other, name),
                None => (section, &*reference),
            };
            if let Some(layer) = layers(merged, place, name).into_iter().next() {
                texts.push(layer.text.clone());
                found.push((reference, layer));
            }
        }
    }
    found
}

fn layer_at(section: &str, origin: &Origin) -> Layer {
    let text = origin.text();
    let shown = match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    };
    Layer { section: section.into(), at: Some(origin.place().location), text: shown }
}

fn text_of(datum: &Datum) -> String {
    datum.to_text().to_string()
}
