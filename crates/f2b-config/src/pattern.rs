//! What an action comes to for all jails that give it the same options, each with values of its own.
//!
//! Nearly every jail has the same action, and differs from the others in a name and a port. So the tags of the action's
//! files are resolved once, those that lead to a plain value of the jail are left out, and each jail fills them in. That
//! holds for a jail for which every tag that was met leads to where it led to at first.

use std::rc::Rc;

use f2b_protocol::Value;

use crate::diagnostic::Log;
use crate::interpolate::Vars;
use crate::map::Map;
use crate::python::lower;
use crate::setting::{Datum, Options, Setting};
use crate::tags::{Hole, Lookup, resolve_tags};
use crate::template::{Type, Wanted, converted};

/// Values that are longer are no names and ports: with them, a text could grow beyond its bounds.
const MAX_PLAIN: usize = 4096;

/// What a jail gives an action.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Given<'a> {
    /// What the brackets say.
    pub(crate) brackets: &'a Options,
    /// That and the jail's own options, by names in lower case.
    pub(crate) vars: &'a Vars,
}

/// The options of a template, resolved but for what jails give.
#[derive(Debug)]
pub(crate) struct Pattern {
    met: Map<Tag>,
    /// What the brackets say that is not plain, whether there is a tag for it or not.
    given: Vec<(Rc<str>, Datum)>,
    options: Vec<(&'static Wanted, Setting, Vec<Hole>)>,
}

/// What a tag leads to.
#[derive(Debug, PartialEq)]
struct Tag {
    /// It is an option of `[Init]` or given in brackets; else it is looked up in the files, and the jail goes before them.
    is_option: bool,
    standing: Standing,
}

#[derive(Debug, PartialEq)]
enum Standing {
    /// A value of the jail that has nothing in it to resolve.
    Plain,
    /// Another value of the jail, or none.
    Fixed(Option<Datum>),
}

impl Standing {
    fn of(given: Option<&Setting>) -> Self {
        match given.map(|setting| &setting.datum) {
            Some(datum) if is_plain(datum) => Self::Plain,
            datum => Self::Fixed(datum.cloned()),
        }
    }
}

fn is_plain(datum: &Datum) -> bool {
    match datum {
        Datum::Text(text) => text.len() <= MAX_PLAIN && !text.contains(['<', '>', '%']),
        Datum::Int(_) | Datum::Bool(_) => true,
        Datum::None => false,
    }
}

impl<'a> Given<'a> {
    fn get(&self, tag: &str, is_option: bool) -> Option<&'a Setting> {
        if is_option { self.brackets.get(tag) } else { self.vars.get(&lower(tag)) }
    }

    /// What the brackets say that is not plain.
    fn special(&self) -> impl Iterator<Item = (&'a Rc<str>, &'a Datum)> + use<'a> {
        let given = self.brackets.iter().map(|(name, setting)| (name, &setting.datum));
        given.filter(|(_, datum)| !is_plain(datum))
    }
}

impl Pattern {
    /// Resolves the `options`, in which those of `template` come first; `None` if they don't resolve without fail.
    pub(crate) fn new(
        options: &Options,
        template: &'static [Wanted],
        ignored: &[&str],
        given: Given<'_>,
        lookup: &mut dyn Lookup,
    ) -> Option<Self> {
        let mut met = Map::default();
        let mut is_left_out = |tag: &str| {
            let is_option = options.get(tag).is_some_and(|setting| setting.datum != Datum::None);
            let standing = Standing::of(given.get(tag, is_option));
            let is_plain = standing == Standing::Plain;
            met.insert(tag, Tag { is_option, standing });
            is_plain
        };
        let mut resolved = Map::default();
        resolve_tags(options, ignored, lookup, &mut is_left_out, |number, text, holes| {
            resolved.insert(options.key_at(number), (Datum::from(text), holes.to_vec()));
        })?;
        let read = |wanted: &'static Wanted| {
            let Setting { datum, origin } = options.get(wanted.name)?.clone();
            let (datum, holes) = resolved.get(wanted.name).cloned().unwrap_or((datum, Vec::new()));
            Some((wanted, Setting { datum, origin }, holes))
        };
        let special = given.special().map(|(name, datum)| (Rc::clone(name), datum.clone())).collect();
        Some(Self { options: template.iter().filter_map(read).collect(), met, given: special })
    }

    /// Whether every tag leads for this jail to where it led to before.
    pub(crate) fn holds_for(&self, given: Given<'_>) -> bool {
        let is_same = |(name, tag): (&Rc<str>, &Tag)| match (&tag.standing, given.get(name, tag.is_option)) {
            (Standing::Plain, Some(setting)) => is_plain(&setting.datum),
            (Standing::Fixed(datum), setting) => datum.as_ref() == setting.map(|setting| &setting.datum),
            (Standing::Plain, None) => false,
        };
        let special = self.given.iter().map(|(name, datum)| (name, datum));
        special.eq(given.special()) && self.met.iter().all(is_same)
    }

    /// The options for a jail for which it holds, in their types.
    pub(crate) fn fill(&self, given: Given<'_>, log: &mut Log) -> Vec<(&'static str, Value)> {
        let fill = |(wanted, setting, holes): &(&'static Wanted, Setting, Vec<Hole>)| {
            let text = match &setting.datum {
                Datum::Text(text) => self.filled(text, holes, given),
                datum => return (wanted.name, Value::from(datum)),
            };
            let value = match wanted.kind {
                Type::Text => Value::from(text),
                _ => {
                    let setting = Setting { datum: Datum::from(&*text), origin: setting.origin.clone() };
                    Value::from(&converted(wanted, &setting, log))
                }
            };
            (wanted.name, value)
        };
        self.options.iter().map(fill).collect()
    }

    fn filled(&self, text: &str, holes: &[Hole], given: Given<'_>) -> String {
        let mut out = String::with_capacity(text.len() + 16 * holes.len());
        let mut from = 0;
        for (at, tag) in holes {
            out.push_str(&text[from..*at]);
            let is_option = self.met.get(tag).is_some_and(|tag| tag.is_option);
            if let Some(setting) = given.get(tag, is_option) {
                out.push_str(&setting.datum.to_text());
            }
            from = *at;
        }
        out.push_str(&text[from..]);
        out
    }
}
