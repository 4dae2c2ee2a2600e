//! `<name>` in values, resolved in rounds.
//!
//! Follows `helpers.substituteRecursiveTags` to the letter, for the words it has when a value leads back to itself: they
//! tell how often which tag was replaced by then.

use std::borrow::Cow;
use std::rc::Rc;

use memchr::{memchr, memchr3};

use crate::Error;
use crate::map::Map;
use crate::python::repr;
use crate::setting::{Datum, Options, Setting};
use crate::source::MAX_FILE;
use crate::tags::{Lookup, MAX_REPLACED, MAX_STEPS, open_text};

/// As [`crate::tags::substitute_tags`].
pub(crate) fn substitute_in_rounds(
    options: &Options,
    ignored: &[&str],
    lookup: &mut dyn Lookup,
) -> Result<Vec<(usize, Rc<str>)>, Error> {
    let mut resolved = options.clone();
    let open = options.iter().filter(|(name, setting)| open_text(name, setting, ignored).is_some());
    let mut open: Vec<_> = open.map(|(name, _)| (Rc::clone(name), Counts::default())).collect();
    let mut steps = 0;
    let mut again = true;
    while again {
        again = false;
        for (name, counts) in &mut open {
            let Some(setting) = resolved.get(name).cloned() else { continue };
            let text = setting.datum.to_text();
            let mut value = Substitution {
                name,
                setting: &setting,
                text: Cow::Borrowed(&text),
                counts,
                steps: &mut steps,
            };
            value.run(&resolved, ignored, lookup)?;
            if let Cow::Owned(replaced) = value.text
                && *replaced != *text
            {
                again |= find_tag(&replaced, 0).is_some();
                let datum = Datum::Text(replaced.into());
                resolved.insert(Rc::clone(name), Setting { datum, origin: setting.origin });
            }
        }
        open.retain(|(name, _)| {
            resolved.get(name).is_some_and(|setting| open_text(name, setting, ignored).is_some())
        });
    }
    let texts = resolved.iter().enumerate().filter_map(|(place, (_, setting))| match &setting.datum {
        Datum::Text(text) => Some((place, Rc::clone(text))),
        _ => None,
    });
    Ok(texts.collect())
}

/// How often each tag was replaced, in the order in which they were met.
#[derive(Debug, Default)]
struct Counts(Map<usize>);

impl Counts {
    fn of(&self, tag: &str) -> usize {
        self.0.get(tag).copied().unwrap_or_default()
    }

    fn add(&mut self, tag: &str) {
        match self.0.get_mut(tag) {
            Some(count) => *count += 1,
            None => self.0.insert(tag, 1),
        }
    }

    /// Python's `repr` of the dictionary.
    fn repr(&self) -> String {
        let entries: Vec<_> = self.0.iter().map(|(tag, count)| format!("{}: {count}", repr(tag))).collect();
        format!("{{{}}}", entries.join(", "))
    }
}

/// One value in the making.
struct Substitution<'a> {
    name: &'a str,
    setting: &'a Setting,
    /// Owned as soon as a tag in it was replaced.
    text: Cow<'a, str>,
    counts: &'a mut Counts,
    /// Replaced so far, in all values.
    steps: &'a mut usize,
}

impl Substitution<'_> {
    fn run(&mut self, options: &Options, ignored: &[&str], lookup: &mut dyn Lookup) -> Result<(), Error> {
        let mut from = 0;
        while let Some((start, end)) = find_tag(&self.text, from) {
            let tag = &self.text[start + 1..end - 1];
            if ignored.contains(&tag) {
                from = end;
                continue;
            }
            if tag == self.name || self.counts.of(tag) > MAX_REPLACED {
                return Err(self.leads_to_itself(tag));
            }
            match replacement(options, tag, lookup)? {
                None => from = end,
                Some(replacement) => {
                    self.replace(start, end, &replacement)?;
                    from = start;
                }
            }
        }
        Ok(())
    }

    /// Replaces the tag at `start..end` there and wherever else it stands behind it.
    fn replace(&mut self, start: usize, end: usize, replacement: &str) -> Result<(), Error> {
        let (text, pattern) = (&*self.text, &self.text[start..end]);
        let mut out = String::with_capacity(text.len() + replacement.len());
        let (mut kept, mut at) = (0, start);
        while let Some(open) = memchr(b'<', &text.as_bytes()[at..]).map(|n| at + n) {
            if text[open..].starts_with(pattern) {
                out.push_str(&text[kept..open]);
                out.push_str(replacement);
                (kept, at) = (open + pattern.len(), open + pattern.len());
            } else {
                at = open + 1;
            }
            if out.len() as u64 > MAX_FILE {
                return Err(self.grows(&pattern[1..pattern.len() - 1]));
            }
        }
        *self.steps += 1;
        if *self.steps > MAX_STEPS {
            return Err(self.grows(&pattern[1..pattern.len() - 1]));
        }
        out.push_str(&text[kept..]);
        self.counts.add(&text[start + 1..end - 1]);
        self.text = Cow::Owned(out);
        Ok(())
    }

    fn grows(&self, tag: &str) -> Error {
        let message = format!("properties grow beyond all bounds, fail tag: {}, found: {tag}", self.name);
        Error::value(message).at_place(self.setting.place())
    }

    fn leads_to_itself(&self, tag: &str) -> Error {
        let (name, counts, value) = (self.name, self.counts.repr(), &self.text);
        Error::value(format!(
            "properties contain self referencing definitions and cannot be resolved, fail tag: {name}, found: {tag} \
             in {counts}, value: {value}"
        ))
        .at_place(self.setting.place_of(&format!("<{tag}>")))
    }
}

fn replacement(options: &Options, tag: &str, lookup: &mut dyn Lookup) -> Result<Option<Rc<str>>, Error> {
    match options.get(tag).map(|setting| &setting.datum) {
        None | Some(Datum::None) => Ok(lookup.look_up(tag)?.1),
        Some(datum) => Ok(Some(datum.to_text())),
    }
}

/// The first `<name>` behind `from`, with its brackets: a name has neither a space nor a bracket in it.
pub(crate) fn find_tag(text: &str, from: usize) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut open = from + memchr(b'<', bytes.get(from..)?)?;
    loop {
        let end = open + 1 + memchr3(b' ', b'<', b'>', &bytes[open + 1..])?;
        open = match bytes[end] {
            b'<' => end,
            b'>' if end > open + 1 => return Some((open, end + 1)),
            _ => end + memchr(b'<', &bytes[end..])?,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_has_no_space_and_no_bracket_in_it() {
        assert_eq!(find_tag("a<b c><><<d\n>", 0), Some((9, 13)));
        assert_eq!(find_tag("<a>", 1), None);
        assert_eq!(find_tag("<a", 0), None);
    }
}
