//! `<name>` in values, resolved before any command is sent.
//!
//! Answers to `helpers.substituteRecursiveTags`. A tag that is no option stays as it is: it is a shell's redirection, a
//! `<HOST>` of a filter or something that only a ban can fill in.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::Error;
use crate::python::repr;
use crate::setting::{Datum, Options, Setting};
use crate::source::MAX_FILE;

/// How often one tag is replaced within one value.
const MAX_REPLACED: usize = 25;

/// Gives an option that is not among those to resolve.
pub(crate) trait Lookup {
    fn look_up(&mut self, tag: &str) -> Result<Option<Rc<str>>, Error>;
}

/// Replaces the tags in all `options` by options, again and again until none is left that is one. Tags in `ignored`
/// are neither replaced nor are their values looked into.
///
/// # Errors
///
/// Where a value leads back to itself.
pub(crate) fn substitute_tags(
    options: &Options,
    ignored: &HashSet<String>,
    lookup: &mut dyn Lookup,
) -> Result<Options, Error> {
    let mut resolved = options.clone();
    let mut done: HashSet<Rc<str>> = HashSet::new();
    let mut counts: HashMap<Rc<str>, Counts> = HashMap::new();
    loop {
        let mut again = false;
        for name in options.keys().filter(|name| !ignored.contains(&***name)) {
            if done.contains(name) {
                continue;
            }
            let Some(setting) = resolved.get(name).cloned() else { continue };
            let original = setting.datum.to_text();
            if !original.contains('<') {
                done.insert(Rc::clone(name));
                continue;
            }
            let counted = counts.remove(name).unwrap_or_default();
            let mut value =
                Substitution { name, setting: &setting, text: original.to_string(), counts: counted };
            value.run(&resolved, ignored, lookup)?;
            let Substitution { text, counts: counted, .. } = value;
            if !text.contains('<') {
                done.insert(Rc::clone(name));
            }
            if *text != *original {
                if find_tag(&text, 0).is_some() {
                    counts.insert(Rc::clone(name), counted);
                    again = true;
                }
                let datum = Datum::Text(text.into());
                resolved.insert(Rc::clone(name), Setting { datum, origin: setting.origin });
            } else if !counted.0.is_empty() {
                counts.insert(Rc::clone(name), counted);
            }
        }
        if !again {
            return Ok(resolved);
        }
    }
}

/// How often each tag was replaced, in the order in which they were met.
#[derive(Default)]
struct Counts(Vec<(String, usize)>);

impl Counts {
    fn of(&self, tag: &str) -> usize {
        self.0.iter().find(|(name, _)| name == tag).map_or(0, |(_, count)| *count)
    }

    fn add(&mut self, tag: &str) {
        match self.0.iter_mut().find(|(name, _)| name == tag) {
            Some((_, count)) => *count += 1,
            None => self.0.push((tag.to_owned(), 1)),
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
    text: String,
    counts: Counts,
}

impl Substitution<'_> {
    fn run(
        &mut self,
        options: &Options,
        ignored: &HashSet<String>,
        lookup: &mut dyn Lookup,
    ) -> Result<(), Error> {
        let mut from = 0;
        while let Some((start, end)) = find_tag(&self.text, from) {
            let tag = self.text[start + 1..end - 1].to_owned();
            if ignored.contains(&tag) {
                from = end;
                continue;
            }
            if tag == self.name || self.counts.of(&tag) > MAX_REPLACED {
                return Err(self.leads_to_itself(&tag));
            }
            match replacement(options, &tag, lookup)? {
                None => from = end,
                Some(replacement) => {
                    self.replace(start, &tag, &replacement)?;
                    from = start;
                }
            }
        }
        Ok(())
    }

    /// Replaces the tag wherever it stands, for the first time at `start`.
    fn replace(&mut self, start: usize, tag: &str, replacement: &str) -> Result<(), Error> {
        let pattern = format!("<{tag}>");
        let mut out = String::with_capacity(self.text.len() + replacement.len());
        let (before, mut rest) = self.text.split_at(start);
        out.push_str(before);
        while let Some(open) = rest.find('<') {
            let (before, from_open) = rest.split_at(open);
            out.push_str(before);
            match from_open.strip_prefix(pattern.as_str()) {
                Some(behind) => {
                    out.push_str(replacement);
                    rest = behind;
                }
                None => {
                    out.push('<');
                    rest = &from_open[1..];
                }
            }
            if out.len() as u64 > MAX_FILE {
                let message =
                    format!("properties grow beyond all bounds, fail tag: {}, found: {tag}", self.name);
                return Err(Error::value(message).at_place(self.setting.place()));
            }
        }
        out.push_str(rest);
        self.text = out;
        self.counts.add(tag);
        Ok(())
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
        None | Some(Datum::None) => lookup.look_up(tag),
        Some(datum) => Ok(Some(datum.to_text())),
    }
}

/// The first `<name>` behind `from`, with its brackets: a name has neither a space nor a bracket in it.
fn find_tag(text: &str, from: usize) -> Option<(usize, usize)> {
    let mut open = from + text.get(from..)?.find('<')?;
    loop {
        let end = open + 1 + text[open + 1..].find([' ', '<', '>'])?;
        open = match text.as_bytes()[end] {
            b'<' => end,
            b'>' if end > open + 1 => return Some((open, end + 1)),
            _ => end + text[end..].find('<')?,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Knows `more`, and nothing else.
    struct More;

    impl Lookup for More {
        fn look_up(&mut self, tag: &str) -> Result<Option<Rc<str>>, Error> {
            Ok((tag == "more").then(|| "M<b>".into()))
        }
    }

    fn substitute(options: &[(&str, &str)], ignored: &[&str]) -> Result<String, Error> {
        let mut map = Options::default();
        for (key, value) in options {
            map.insert(*key, Setting::text(value));
        }
        let ignored = ignored.iter().map(|tag| (*tag).to_owned()).collect();
        let resolved = substitute_tags(&map, &ignored, &mut More)?;
        let entries: Vec<_> = resolved.iter().map(|(k, v)| format!("{k}={}", v.datum.to_text())).collect();
        Ok(entries.join(" "))
    }

    #[track_caller]
    fn check(options: &[(&str, &str)], ignored: &[&str], expected: &str) {
        assert_eq!(substitute(options, ignored).map_err(|e| e.to_string()), Ok(expected.into()));
    }

    #[test]
    fn tags_are_replaced_until_none_is_left() {
        check(&[("a", "<b>"), ("b", "<c>"), ("c", "1")], &[], "a=1 b=1 c=1");
        check(&[("a", "<<x>_z>"), ("x", "y"), ("y_z", "1")], &[], "a=1 x=y y_z=1");
        check(&[("a", "<HOST> < b <b>"), ("b", "2")], &[], "a=<HOST> < b 2 b=2");
        check(&[("a", "<more>"), ("b", "2")], &[], "a=M2 b=2");
        check(&[("a", "<b><c>"), ("b", "<c>"), ("c", "1")], &["b"], "a=<b>1 b=<c> c=1");
    }

    #[test]
    fn a_value_that_leads_to_itself_is_an_error() {
        let error = |options: &[(&str, &str)]| substitute(options, &[]).expect_err("an error").to_string();
        assert_eq!(
            error(&[("a", "<b>"), ("b", "x<a>")]),
            "properties contain self referencing definitions and cannot be resolved, fail tag: a, found: a in {'b': \
             1}, value: x<a>"
        );
        assert!(
            error(&[("a", "<b>"), ("b", "<c>"), ("c", "<b>")]).contains("fail tag: a, found: b in {'b': 26")
        );
        let mut doubling: Vec<(String, String)> =
            (0..64).map(|i| (format!("t{i}"), format!("<t{}><t{}>", i + 1, i + 1))).collect();
        doubling.push(("t64".into(), "0123456789".into()));
        let doubling: Vec<_> = doubling.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert!(error(&doubling).starts_with("properties grow beyond all bounds"));
    }

    #[test]
    fn a_tag_has_no_space_and_no_bracket_in_it() {
        assert_eq!(find_tag("a<b c><><<d\n>", 0), Some((9, 13)));
        assert_eq!(find_tag("<a>", 1), None);
        assert_eq!(find_tag("<a", 0), None);
    }
}
