//! What the files of a filter or an action come to for all jails that give them nothing they speak of.
//!
//! An action is used by nearly every jail, and what the jails give it are mostly tags. So its options are interpolated
//! once, as long as no reference in them can lead to a value that is given.

use std::cell::RefCell;
use std::rc::Rc;

use crate::Error;
use crate::diagnostic::Log;
use crate::interpolate::Vars;
use crate::map::Map;
use crate::merged::Merged;
use crate::python::lower;
use crate::setting::Options;
use crate::template::{Query, Wanted};

/// Options of the files alone, interpolated.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The names in lower case that are set in the section, or referred to anywhere in the files.
    mentioned: Map<()>,
    /// Those of the template.
    pub(crate) options: Rc<Options>,
    looked_up: RefCell<Map<Option<Rc<str>>>>,
}

impl Shared {
    /// `None` if there is anything wrong; each jail then has to meet it by itself.
    pub(crate) fn new(merged: &Merged, section: &str, template: &[Wanted]) -> Option<Self> {
        if !merged.has_section(section) {
            return None;
        }
        let query = Query { merged, section, template };
        let options = query.read_texts(|_| false, &Vars::default(), &mut Log::default()).ok()?.into();
        Some(Self { mentioned: mentioned(merged, section)?, options, looked_up: RefCell::default() })
    }

    /// Whether nothing in the files depends on what is given; [`Vars`] are found by their names in lower case.
    pub(crate) fn holds_for(&self, given: [&Options; 2]) -> bool {
        given.iter().flat_map(|layer| layer.keys()).all(|key| !self.mentioned.contains(&lower(key)))
    }

    /// The tag, and the value of an option for it, by which it was looked up before or else is found now.
    pub(crate) fn look_up(
        &self,
        tag: &str,
        find: impl FnOnce() -> Result<Option<Rc<str>>, Error>,
    ) -> Result<(Rc<str>, Option<Rc<str>>), Error> {
        if let Some((tag, found)) = self.looked_up.borrow().entry(tag) {
            return Ok((Rc::clone(tag), found.clone()));
        }
        let (tag, found): (Rc<str>, _) = (tag.into(), find()?);
        self.looked_up.borrow_mut().insert(Rc::clone(&tag), found.clone());
        Ok((tag, found))
    }
}

/// `None` where a reference is not closed, so that it is hard to tell what it refers to.
fn mentioned(merged: &Merged, section: &str) -> Option<Map<()>> {
    let mut names = Map::default();
    let own = merged.sections.get(section).map(|body| &body.options);
    for key in own.into_iter().chain([&merged.defaults]).flat_map(Map::keys) {
        names.insert(&*lower(key), ());
    }
    let sections = merged.sections.iter().map(|(_, body)| &body.options);
    for (_, raw) in sections.chain([&merged.defaults]).flat_map(Map::iter) {
        for name in raw.references() {
            names.insert(&*lower(name?), ());
        }
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse;
    use crate::setting::Setting;
    use crate::source::Source;

    #[track_caller]
    fn check(text: &str, given: &str, expected: Option<bool>) {
        let source = Rc::new(Source::new("x.conf", text));
        let merged = Merged::from(&parse(&source, text.len()).0);
        let mut options = Options::default();
        options.insert(given, Setting::text("1"));
        let shared = Shared::new(&merged, "Definition", &[]);
        assert_eq!(shared.map(|shared| shared.holds_for([&Options::default(), &options])), expected);
    }

    #[test]
    fn what_the_files_speak_of_is_for_each_jail_to_say() {
        let text = "[DEFAULT]\nd=1\n[Definition]\na=%(b)s <c>\n[Init]\nc=%(known/E)s";
        for name in ["a", "B", "d", "known/e"] {
            check(text, name, Some(false));
        }
        check(text, "c", Some(true));
        check("[Definition]\na=%(b", "c", None);
        check("[Init]\na=1", "c", None);
    }
}
