//! Options and sections that nothing reads: slips of the pen, mostly.
//!
//! An option is read if a reader asks for it, or if some value refers to it. `[DEFAULT]` of the jails and `[Init]` of
//! filters and actions are stores of values that may wait for somebody to use them, so that there only the likeness to a
//! name that is read makes a slip. Switches that are neither on nor off are looked at too: they are read, but as what?

use std::rc::Rc;

use f2b_types::Level;

use super::mentions::Mentions;
use crate::action;
use crate::bracketed::extract_options;
use crate::configurator::{EARLY, MAIN, THREAD};
use crate::diagnostic::{Log, logger};
use crate::document::Origin;
use crate::files::{Files, Reading};
use crate::filter;
use crate::jail::{self, Jail, wanted_actions};
use crate::map::Map;
use crate::merged::{Body, KNOWN as KNOWN_SECTION, Raw, split_condition};
use crate::nearest::{did_you_mean, nearest};
use crate::setting::Datum;
use crate::template::{Type, Wanted};

/// What reads a file.
struct Reader {
    /// Section by section; none where any section will do.
    sections: &'static [(&'static str, &'static [&'static [Wanted]])],
    /// What is asked for in all sections that are not listed.
    other: Option<&'static [&'static [Wanted]]>,
}

const MAIN_READER: Reader =
    Reader { sections: &[("Definition", &[MAIN, EARLY]), ("Thread", &[THREAD])], other: None };
const JAIL_READER: Reader = Reader { sections: &[], other: Some(&[jail::TEMPLATE]) };
const FILTER_READER: Reader =
    Reader { sections: &[("Definition", &[filter::TEMPLATE]), ("Init", &[filter::TEMPLATE])], other: None };
const ACTION_READER: Reader =
    Reader { sections: &[("Definition", &[action::TEMPLATE]), ("Init", &[action::TEMPLATE])], other: None };

/// What the readers ask for beside their templates: set by the program itself or handed over to the server as it is.
const ALSO_READ: &[&str] =
    &["timeout", "name", "actname", "logtype", "__name__", "fail2ban_version", "fail2ban_confpath"];

/// Looks through everything that was read, and through the brackets of the jails that are on.
pub(super) fn check(files: &mut Files, jails: &[Jail]) {
    let mut readings: Vec<(String, Reading)> =
        files.readings().map(|(name, reading)| (name.into(), reading.clone())).collect();
    readings.sort_by(|a, b| a.0.cmp(&b.0));
    let mentions = Mentions::of(readings.iter().map(|(_, reading)| &*reading.merged));
    let mut found = Vec::new();
    for (name, reading) in &readings {
        let reader = match name.split('/').next() {
            Some("fail2ban") => MAIN_READER,
            Some("jail") => JAIL_READER,
            Some("filter.d") => FILTER_READER,
            _ => ACTION_READER,
        };
        let mut check = Check { reader, mentions: &mentions, found: &mut found };
        for (section, body) in
            reading.merged.sections.iter().filter(|(name, _)| !name.starts_with(KNOWN_SECTION))
        {
            check.section(section, body);
        }
        check.options(&reading.merged.defaults, &check.names(None), true);
    }
    for Unread { origin, message, hint } in found {
        files.log.say_hint(Level::WARNING, logger::ROOT, message, Some(origin.place()), hint);
    }
    for jail in jails {
        in_brackets(jail, &mentions, &mut files.log);
    }
}

/// Options in brackets that come near to one that is read. Others may be there for an action that does without: the stock
/// configuration gives a port to actions that ask for none.
fn in_brackets(jail: &Jail, mentions: &Mentions, log: &mut Log) {
    let templates = filter::TEMPLATE.iter().chain(action::TEMPLATE).map(|wanted| wanted.name);
    let read: Vec<&str> = templates.chain(ALSO_READ.iter().copied()).collect();
    for option in ["filter", "action"] {
        let Some(setting) = jail.options.get(option) else { continue };
        for text in wanted_actions(&setting.datum.to_text())
            .filter(|text| !text.split('[').next().is_some_and(|name| name.ends_with(".py")))
        {
            for (key, _) in extract_options(text).map(|(_, given)| given).unwrap_or_default() {
                let name = split_condition(&key).map_or(&*key, |(name, _)| name);
                if read.contains(&name) || mentions.has(name) {
                    continue;
                }
                if let Some(meant) = nearest(name, read.iter().copied().chain(mentions.names())) {
                    let message = format!("nothing reads the option `{name}` in the brackets of `{option}`");
                    let hint = Some(format!("did you mean `{meant}`?"));
                    log.say_hint(
                        Level::WARNING,
                        logger::ROOT,
                        message,
                        setting.place_of(&format!("{key}=")),
                        hint,
                    );
                }
            }
        }
    }
}

/// Values of a switch that are neither on nor off, and so are off.
pub(super) fn switches(files: &mut Files) {
    const KNOWN: &[&str] = &["1", "on", "true", "yes", "0", "off", "false", "no", ""];
    let Some(merged) =
        files.readings().find(|(name, _)| *name == "jail").map(|(_, reading)| Rc::clone(&reading.merged))
    else {
        return;
    };
    let sections = merged
        .sections
        .iter()
        .filter(|(name, _)| !name.starts_with(KNOWN_SECTION))
        .map(|(_, body)| &body.options);
    for options in std::iter::once(&merged.defaults).chain(sections) {
        for wanted in jail::TEMPLATE.iter().filter(|wanted| wanted.kind == Type::Bool) {
            let Some(Raw { datum: Datum::Text(text), origin: Some(origin), .. }) = options.get(wanted.name)
            else {
                continue;
            };
            if !text.contains('%') && !KNOWN.contains(&text.to_lowercase().as_str()) {
                let message = format!("`{}` is neither on nor off, and so it is off", wanted.name);
                let hint = did_you_mean(text, KNOWN.iter().copied());
                files.log.say_hint(Level::WARNING, logger::ROOT, message, Some(origin.place_of(0)), hint);
            }
        }
    }
}

struct Unread {
    origin: Rc<Origin>,
    message: String,
    hint: Option<String>,
}

struct Check<'a> {
    reader: Reader,
    mentions: &'a Mentions,
    found: &'a mut Vec<Unread>,
}

impl Check<'_> {
    fn section(&mut self, section: &str, body: &Body) {
        if section == "INCLUDES" {
            return self.options(&body.options, &["before", "after"], false);
        }
        let names = self.names(Some(section));
        if names.is_empty() {
            if !self.mentions.has(section) {
                let known = self.reader.sections.iter().map(|(name, _)| *name).chain(["INCLUDES", "DEFAULT"]);
                let hint = did_you_mean(section, known);
                self.say(body.header.as_ref(), format!("nothing reads the section `{section}`"), hint);
            }
            return;
        }
        self.options(&body.options, &names, section == "Init");
    }

    /// What is asked for in a section, or in any for `[DEFAULT]`.
    fn names(&self, section: Option<&str>) -> Vec<&'static str> {
        let listed =
            self.reader.sections.iter().filter(|(name, _)| section.is_none_or(|section| *name == section));
        let templates = listed.flat_map(|(_, templates)| templates.iter());
        let other = self.reader.other.iter().flat_map(|templates| templates.iter());
        templates.chain(other).flat_map(|template| template.iter()).map(|wanted| wanted.name).collect()
    }

    /// Options of which some are read; the others of a `store` may be there for later.
    fn options(&mut self, options: &Map<Raw>, names: &[&str], store: bool) {
        for (key, raw) in options.iter().filter(|(key, _)| !key.starts_with("known/")) {
            let name = split_condition(key).map_or(&**key, |(name, _)| name);
            if names.contains(&name) || ALSO_READ.contains(&name) || self.mentions.has(name) {
                continue;
            }
            let candidates = names.iter().copied().chain(self.mentions.names());
            // Of a family such as `action_mw` and `action_mwl` one may wait while the other is used.
            let is_family = |meant: &&str| store && (name.starts_with(*meant) || meant.starts_with(name));
            let meant = nearest(name, candidates).filter(|meant| !is_family(meant));
            if !store || meant.is_some() {
                let hint = meant.map(|name| format!("did you mean `{name}`?"));
                self.say(raw.origin.as_ref(), format!("nothing reads the option `{name}`"), hint);
            }
        }
    }

    fn say(&mut self, origin: Option<&Rc<Origin>>, message: String, hint: Option<String>) {
        self.found.extend(origin.map(|origin| Unread { origin: Rc::clone(origin), message, hint }));
    }
}
