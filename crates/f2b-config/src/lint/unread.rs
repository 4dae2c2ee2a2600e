//! Options and sections that nothing reads: slips of the pen, mostly.
//!
//! An option is read if a reader asks for it, or if some value refers to it. `[DEFAULT]` of the jails and `[Init]` of
//! filters and actions are stores of values that may wait for somebody to use them, so that there only the likeness to a
//! name that is read makes a slip.

use std::rc::Rc;

use f2b_types::Level;

use super::mentions::Mentions;
use crate::action;
use crate::configurator::{EARLY, MAIN, THREAD};
use crate::diagnostic::logger;
use crate::document::Origin;
use crate::files::{Files, Reading};
use crate::filter;
use crate::jail;
use crate::map::Map;
use crate::merged::{Body, KNOWN, Raw, split_condition};
use crate::nearest::{did_you_mean, nearest};
use crate::template::Wanted;

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

/// Looks through everything that was read.
pub(super) fn check(files: &mut Files) {
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
        for (section, body) in reading.merged.sections.iter().filter(|(name, _)| !name.starts_with(KNOWN)) {
            check.section(section, body);
        }
        check.options(&reading.merged.defaults, &check.names(None), true);
    }
    for Unread { origin, message, hint } in found {
        files.log.say_hint(Level::WARNING, logger::ROOT, message, Some(origin.place()), hint);
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
            let meant = nearest(name, names.iter().copied());
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
