//! Which names the values of a configuration refer to.

use std::collections::{BTreeSet, HashSet};

use crate::merged::{Merged, Raw};
use crate::python::lower;
use crate::setting::Datum;

/// The names in `%(name)s` and `<name>`, wherever they stand. Those of sections, as in `%(section/name)s`, are among them.
#[derive(Debug, Default)]
pub(super) struct Mentions {
    /// In order, so that of equally near names a hint gives the same one each time.
    names: BTreeSet<String>,
    /// Names that are put together, `<rules-<mode>>`: what they start and end with.
    composed: HashSet<(String, String)>,
}

impl Mentions {
    pub(super) fn of<'a>(readings: impl Iterator<Item = &'a Merged>) -> Self {
        let mut mentions = Self::default();
        for merged in readings {
            let bodies = merged.sections.iter().map(|(_, body)| &body.options);
            for raw in std::iter::once(&merged.defaults).chain(bodies).flat_map(|options| options.iter()) {
                mentions.take(raw.1);
            }
        }
        mentions
    }

    pub(super) fn has(&self, name: &str) -> bool {
        let name = &*lower(name);
        let fits = |(start, end): &(String, String)| {
            name.len() >= start.len() + end.len() && name.starts_with(&**start) && name.ends_with(&**end)
        };
        self.names.contains(name) || self.composed.iter().any(fits)
    }

    /// All names that are mentioned as they are.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    fn take(&mut self, raw: &Raw) {
        let Datum::Text(text) = &raw.datum else { return };
        for (at, _) in text.match_indices("%(") {
            if let Some(length) = text[at..].find(")s") {
                self.add(&text[at + 2..at + length]);
            }
        }
        for (at, _) in text.match_indices('<') {
            if let Some(inner) = inner_of_tag(&text[at + 1..]) {
                self.add(inner);
            }
        }
    }

    fn add(&mut self, reference: &str) {
        for name in reference.split('/') {
            let name = lower(name);
            match (name.find('<'), name.rfind('>')) {
                // A tag in brackets of its own, as `<<address>>` in a mail, is every name and so none.
                (Some(0), Some(last)) if last + 1 == name.len() => {}
                (Some(first), Some(last)) if first < last => {
                    self.composed.insert((name[..first].to_owned(), name[last + 1..].to_owned()));
                }
                _ => drop(self.names.insert(name.into_owned())),
            }
        }
    }
}

/// What stands between a `<` and its `>`, tags within it and all; a blank ends the search.
fn inner_of_tag(text: &str) -> Option<&str> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '<' => depth += 1,
            '>' if depth == 0 => return Some(&text[..at]),
            '>' => depth -= 1,
            ' ' | '\n' | '\t' => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::parse::parse;
    use crate::source::Source;

    #[test]
    fn references_and_tags_mention_names() {
        let text = "[DEFAULT]\nd = %(one)s\n[a]\nx = <two> %(b/three)s <known/Four> <five-<six>/seven> <a b> %%(eight)s";
        let source = Rc::new(Source::new("x.conf", text));
        let merged = Merged::from(&parse(&source, text.len()).0);
        let mentions = Mentions::of([&merged].into_iter());
        for name in ["one", "two", "b", "three", "four", "FIVE-x", "six", "seven"] {
            assert!(mentions.has(name), "{name}");
        }
        for name in ["five", "nine", "a b", "x", "d"] {
            assert!(!mentions.has(name), "{name}");
        }
    }
}
