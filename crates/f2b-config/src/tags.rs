//! `<name>` in values, resolved before any command is sent.
//!
//! Answers to `helpers.substituteRecursiveTags`. A tag that is no option stays as it is: it is a shell's redirection, a
//! `<HOST>` of a filter or something that only a ban can fill in.
//!
//! Upstream replaces in rounds until nothing changes. Tags never overlap, so whatever the order in which they are
//! replaced, the same text comes out: here each value is read once, and tags within tags from the inside out. Only how
//! upstream gives up depends on its rounds, so a value that could make it do so is left to [`substitute_in_rounds`].

use std::rc::Rc;

use memchr::{memchr, memrchr3};

use crate::Error;
use crate::rounds::substitute_in_rounds;
use crate::setting::{Datum, Options, Setting};
use crate::source::MAX_FILE;

/// How often one tag is replaced within one value.
pub(crate) const MAX_REPLACED: usize = 25;
/// How many tags are replaced in all values together. The stock filters and actions have some hundreds.
pub(crate) const MAX_STEPS: usize = 200_000;

/// Gives an option that is not among those to resolve, and its number among all tags that were looked up.
pub(crate) trait Lookup {
    fn look_up(&mut self, tag: &str) -> Result<(usize, Option<Rc<str>>), Error>;
}

/// Replaces the tags in all `options` by options until none is left that is one; what comes out are the texts that are
/// new, with the places of the options. Tags in `ignored` are neither replaced nor are their values looked into.
///
/// # Errors
///
/// Where a value leads back to itself.
pub(crate) fn substitute_tags(
    options: &Options,
    ignored: &[&str],
    lookup: &mut dyn Lookup,
) -> Result<Vec<(usize, Rc<str>)>, Error> {
    let mut resolved = Vec::new();
    let all = resolve_tags(options, ignored, lookup, &mut |_| false, |number, text, _| {
        let is_new = matches!(options.at(number), Setting { datum: Datum::Text(old), .. } if **old != *text);
        resolved.extend(is_new.then(|| (number, text.into())));
    });
    match all {
        Some(()) => Ok(resolved),
        None => substitute_in_rounds(options, ignored, lookup),
    }
}

/// A tag that has been left out of a text: where it stood and what it was called.
pub(crate) type Hole = (usize, Rc<str>);

/// As [`substitute_tags`], for whoever wants to fill in some tags later: those for which `is_left_out` answers yes are
/// taken out of the texts. `take` gets the number of each option that had to be resolved, its text and what was left out.
///
/// `None` where upstream may give up, and where what is left out would be part of the name of a tag.
pub(crate) fn resolve_tags(
    options: &Options,
    ignored: &[&str],
    lookup: &mut dyn Lookup,
    is_left_out: &mut dyn FnMut(&str) -> bool,
    mut take: impl FnMut(usize, &str, &[Hole]),
) -> Option<()> {
    let uses = vec![Uses::default(); options.len()];
    let mut resolver = Resolver { options, ignored, lookup, is_left_out, uses, steps: 0, holes: Vec::new() };
    // Room enough for nearly all values, none of which then has to move as it grows.
    let (mut value, mut pending) = (String::with_capacity(4096), Vec::with_capacity(8));
    for (number, (name, setting)) in options.iter().enumerate() {
        let Some(text) = open_text(name, setting, ignored) else { continue };
        value.clear();
        resolver.holes.clear();
        pending.push((Rc::clone(text), 0));
        resolver.resolve(number, &mut pending, &mut value)?;
        take(number, &value, &resolver.holes);
    }
    Some(())
}

/// The text of a value that has to be resolved.
pub(crate) fn open_text<'a>(name: &str, setting: &'a Setting, ignored: &[&str]) -> Option<&'a Rc<str>> {
    let Datum::Text(text) = &setting.datum else { return None };
    (memchr(b'<', text.as_bytes()).is_some() && !ignored.contains(&name)).then_some(text)
}

struct Resolver<'a> {
    options: &'a Options,
    ignored: &'a [&'a str],
    lookup: &'a mut dyn Lookup,
    is_left_out: &'a mut dyn FnMut(&str) -> bool,
    /// Of the options, in their order, and behind them of what was looked up.
    uses: Vec<Uses>,
    /// Replaced so far, in all values.
    steps: usize,
    /// What was left out of the value in the making.
    holes: Vec<Hole>,
}

/// What stands for a tag.
enum Replacement {
    /// It is no tag.
    Itself,
    Text(Rc<str>),
    LeftOut(Rc<str>),
}

/// The number of the value in which a tag was replaced last, and how often it was.
#[derive(Clone, Default)]
struct Uses {
    value: usize,
    count: usize,
}

impl Resolver<'_> {
    /// Appends the value with this number to `out`; `pending` are the texts that are still to be read, each from some
    /// place on, the innermost replacement last. `None` as for [`resolve_tags`]: upstream replaces no tag more often than
    /// it is replaced here.
    fn resolve(&mut self, value: usize, pending: &mut Vec<(Rc<str>, usize)>, out: &mut String) -> Option<()> {
        while let Some((text, at)) = pending.last_mut() {
            let rest = &text[*at..];
            let Some(close) = memchr(b'>', rest.as_bytes()) else {
                out.push_str(rest);
                pending.pop();
                continue;
            };
            out.push_str(&rest[..close]);
            *at += close + 1;
            if out.len() as u64 > MAX_FILE {
                return None;
            }
            let Some(open) = open_tag(out) else {
                out.push('>');
                continue;
            };
            if self.holes.last().is_some_and(|(at, _)| *at > open) {
                return None;
            }
            match self.replace(value, &out[open + 1..])? {
                Replacement::Itself => out.push('>'),
                Replacement::Text(replacement) => {
                    out.truncate(open);
                    pending.push((replacement, 0));
                }
                Replacement::LeftOut(tag) => {
                    out.truncate(open);
                    self.holes.push((open, tag));
                }
            }
        }
        Some(())
    }

    /// What stands for `tag` in a value.
    fn replace(&mut self, value: usize, tag: &str) -> Option<Replacement> {
        if self.ignored.contains(&tag) {
            return Some(Replacement::Itself);
        }
        let is_left_out = (self.is_left_out)(tag);
        let option = self.options.find(tag).filter(|(_, setting)| setting.datum != Datum::None);
        let (index, replacement) = match option {
            Some((index, setting)) => (index, setting.datum.to_text()),
            None => match self.lookup.look_up(tag).ok()? {
                (index, Some(text)) => (self.options.len() + index, text),
                (_, None) => return Some(Replacement::Itself),
            },
        };
        if index >= self.uses.len() {
            self.uses.resize(index + 1, Uses::default());
        }
        let uses = &mut self.uses[index];
        uses.count = if uses.value == value { uses.count + 1 } else { 1 };
        uses.value = value;
        self.steps += 1;
        let goes_on = index != value && uses.count <= MAX_REPLACED && self.steps <= MAX_STEPS;
        goes_on.then(|| {
            if is_left_out { Replacement::LeftOut(tag.into()) } else { Replacement::Text(replacement) }
        })
    }
}

/// Where the tag starts that a bracket behind `text` would close: a name has neither a space nor a bracket in it.
fn open_tag(text: &str) -> Option<usize> {
    let open = memrchr3(b' ', b'<', b'>', text.as_bytes())?;
    (text.as_bytes()[open] == b'<' && open + 1 < text.len()).then_some(open)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Knows `more`, and nothing else.
    struct More;

    impl Lookup for More {
        fn look_up(&mut self, tag: &str) -> Result<(usize, Option<Rc<str>>), Error> {
            Ok((0, (tag == "more").then(|| "M<b>".into())))
        }
    }

    fn options(texts: &[(&str, &str)]) -> Options {
        let mut map = Options::default();
        for (key, text) in texts {
            map.insert(*key, Setting::text(text));
        }
        map
    }

    fn apply(mut options: Options, changed: Vec<(usize, Rc<str>)>) -> String {
        for (place, text) in changed {
            options.at_mut(place).datum = Datum::Text(text);
        }
        let entries: Vec<_> = options.iter().map(|(k, v)| format!("{k}={}", v.datum.to_text())).collect();
        entries.join(" ")
    }

    fn substitute(texts: &[(&str, &str)], ignored: &[&str]) -> Result<String, Error> {
        let options = options(texts);
        let changed = substitute_tags(&options, ignored, &mut More)?;
        Ok(apply(options, changed))
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
    fn what_is_resolved_in_one_go_comes_out_of_the_rounds_alike() {
        const PIECES: [&str; 13] =
            ["<a>", "<b>", "<c>", "<d>", "<d>", "<more>", "<nope>", "<", ">", "b", "d", " ", ""];
        let mut rng = fastrand::Rng::with_seed(1);
        let mut resolved = 0;
        for _ in 0..20_000 {
            let mut text =
                || (0..rng.usize(..6)).map(|_| PIECES[rng.usize(..PIECES.len())]).collect::<String>();
            let (a, b, c, d) = (text(), text(), text(), text());
            let options = options(&[("a", &a), ("b", &b), ("c", &c), ("d", &d)]);
            let ignored: &[&str] = if rng.bool() { &["b"] } else { &[] };
            let mut changed = Vec::new();
            let take = |number, text: &str, _: &[Hole]| changed.push((number, text.into()));
            if resolve_tags(&options, ignored, &mut More, &mut |_| false, take).is_none() {
                continue;
            }
            let in_rounds = substitute_in_rounds(&options, ignored, &mut More).expect("no error either");
            assert_eq!(apply(options.clone(), changed), apply(options.clone(), in_rounds), "{options:?}");
            resolved += 1;
        }
        assert!(resolved > 2_000, "{resolved}");
    }
}
