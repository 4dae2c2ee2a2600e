//! All syntax errors and all wrong references, of which a reader names the first only.

use std::collections::HashSet;

use f2b_types::Level;

use crate::action;
use crate::definition::Definition;
use crate::diagnostic::{Log, logger};
use crate::error::Error;
use crate::files::Files;
use crate::interpolate::Vars;
use crate::jail::{Jail, TEMPLATE, wanted_actions};
use crate::merged::Merged;
use crate::parse::SyntaxError;
use crate::setting::Datum;

/// Every line that is wrong in any of the files, in place of what the readers have said of the first one in each.
pub(super) fn syntax(files: &mut Files) {
    let errors = std::mem::take(&mut files.syntax_errors);
    let places: Vec<_> = errors.iter().map(SyntaxError::place).collect();
    let named: HashSet<_> = places.iter().map(|place| &place.location).collect();
    files.log.diagnostics.retain(|diagnostic| !diagnostic.at.as_ref().is_some_and(|at| named.contains(at)));
    for (error, place) in errors.iter().zip(places.clone()) {
        files.log.say_hint(Level::ERROR, logger::ROOT, error.in_short(), Some(place), error.hint());
    }
}

/// Every reference of a jail, its filter and its actions that leads nowhere.
pub(super) fn references(jail: &Jail, merged: &Merged, base: &str, files: &mut Files) {
    let log = &mut files.log;
    let known = merged.own_keys(&jail.name).into_iter().filter(|key| !key.starts_with("known/"));
    let wanted = TEMPLATE.iter().map(|wanted| wanted.name.into());
    let vars = Vars::default();
    for key in known.chain(wanted) {
        // What the filter is to give is not there if it could not be read, which is an error already.
        let needs_filter = |text: &str| jail.filter.is_none() && text.contains("known/");
        let raw = super::raw(merged, &jail.name, &key).map(|raw| &raw.datum);
        if matches!(raw, Some(Datum::Text(text)) if text.contains('%') && !needs_filter(text)) {
            say(merged.get(&jail.name, &key, &vars).err(), log);
        }
    }
    if let Some(filter) = &jail.filter {
        in_definition(&filter.definition, |_| true, log);
    }
    // The jail has given up at the first action that is wrong.
    let Some(wanted) = jail.options.get("action") else { return };
    for act in wanted_actions(&wanted.datum.to_text()) {
        let opened = jail.open_action(act, base, files);
        let log = &mut files.log;
        match opened {
            Err(error) => say(Some(error.at_place(wanted.place_of(act))), log),
            Ok(mut action) => {
                // What is wrong is looked for option by option.
                let _ = action.read(&jail.options, &mut Log::default());
                if let Some(definition) = action.definition() {
                    in_definition(definition, |key| action::TEMPLATE.iter().any(|w| w.name == key), log);
                }
            }
        }
    }
}

/// Looks at `[Init]` and at those options of `[Definition]` that are read.
fn in_definition(definition: &Definition, is_read: impl Fn(&str) -> bool, log: &mut Log) {
    let [main, _] = definition.own_sections();
    for (section, key) in definition.own_keys().filter(|(section, key)| *section != main || is_read(key)) {
        say(definition.look_at(section, &key).err(), log);
    }
}

fn say(error: Option<Error>, log: &mut Log) {
    if let Some(error) = error {
        log.say_error(logger::ROOT, error.to_string(), error);
    }
}
