//! A `failregex`, `ignoreregex` or `prefregex`: tags expanded, compiled, and what its groups say of a line.
//!
//! Upstream: `failregex.Regex` and `FailRegex`.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use crate::dialect::DialectError;
use crate::fields::{Field, Fields, name_of};
use crate::pattern::{Pattern, Search, Spans, Subject};
use crate::pytext::is_space;
use crate::settings::UseDns;
use crate::tags;

/// Groups that can name who failed, in the order in which they are asked.
pub(crate) const ID_GROUPS: [&str; 4] = ["fid", "ip4", "ip6", "dns"];

/// An expression that can't be used (`RegexException`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegexError {
    /// Nothing but blanks.
    Empty,
    /// It isn't a regular expression.
    Syntax {
        /// The expression with its tags expanded.
        regex: String,
        /// What is wrong with it.
        cause: DialectError,
    },
    /// Nothing in it says who failed.
    NoId {
        /// The expression with its tags expanded.
        regex: String,
    },
}

/// Prints upstream's text.
impl fmt::Display for RegexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Cannot add empty regex"),
            Self::Syntax { regex, cause } => {
                write!(f, "Unable to compile regular expression '{regex}':\n{cause}")
            }
            Self::NoId { regex } => write!(f, "No failure-id group in '{regex}'"),
        }
    }
}

impl Error for RegexError {}

/// How an expression is to be read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    pub(crate) multi_line: bool,
    pub(crate) use_dns: UseDns,
}

/// A compiled expression.
#[derive(Debug)]
pub(crate) struct Regex {
    text: String,
    pattern: Pattern,
    /// The names of the groups and their numbers.
    names: Vec<(&'static str, usize)>,
    /// `alt_user_1` and the field `user` that it stands in for where that is empty, sorted.
    alternatives: Vec<(&'static str, &'static str)>,
    /// `tuple_id_1` and the field `fid` that it is appended to, sorted.
    tuples: Vec<(&'static str, &'static str)>,
    skip_groups: Vec<usize>,
}

impl Regex {
    pub(crate) fn new(regex: &str, options: Options) -> Result<Self, RegexError> {
        let expanded = tags::expand(regex, options.use_dns);
        if expanded.trim_start_matches(is_space).is_empty() {
            return Err(RegexError::Empty);
        }
        let text = scope_flags(&expanded);
        let pattern = match Pattern::new(&text, options.multi_line) {
            Ok(pattern) => pattern,
            Err(cause) => return Err(RegexError::Syntax { regex: text, cause }),
        };
        let compound = |prefix: &str| {
            let mut names: Vec<_> = pattern
                .names()
                .iter()
                .filter_map(|(name, _)| Some((name_of(name), name_of(&compound_target(name, prefix)?))))
                .collect();
            names.sort();
            names
        };
        let skip_groups = (0..).map_while(|n| pattern.group(&format!("skiplines{n}"))).collect();
        let names = pattern.names().iter().map(|(name, index)| (name_of(name), *index)).collect();
        Ok(Self {
            names,
            alternatives: compound("alt_"),
            tuples: compound("tuple_"),
            skip_groups,
            text,
            pattern,
        })
    }

    /// An expression that has to say who failed, unless `prefix` does.
    pub(crate) fn new_fail(regex: &str, prefix: Option<&Self>, options: Options) -> Result<Self, RegexError> {
        let regex = Self::new(regex, options)?;
        match regex.names_id() || prefix.is_some_and(Self::names_id) {
            true => Ok(regex),
            false => Err(RegexError::NoId { regex: regex.text }),
        }
    }

    fn names_id(&self) -> bool {
        ID_GROUPS.iter().chain(&["mlfid"]).any(|name| self.pattern.group(name).is_some())
    }

    /// The expression in effect, tags expanded.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn search(&self, subject: Subject<'_>) -> Search {
        self.pattern.search(subject)
    }

    /// Whether there is a match. A [`Search::Found`] has no places.
    pub(crate) fn test(&self, subject: Subject<'_>) -> Search {
        self.pattern.test(subject)
    }

    pub(crate) fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// The named groups of a match in `text`, alternatives merged and tuples put together.
    pub(crate) fn groups(&self, text: &str, spans: &Spans) -> Fields {
        self.groups_without(None, text, spans)
    }

    /// The same without one of the groups, unless others are put together to it.
    pub(crate) fn groups_without(&self, left_out: Option<&str>, text: &str, spans: &Spans) -> Fields {
        let wanted = self.names.iter().filter(|(name, _)| Some(*name) != left_out);
        let captured = wanted.map(|(name, index)| {
            let value = spans.get(*index).and_then(|span| text.get(span));
            (*name, value.map_or(Field::None, |value| Field::Text(value.into())))
        });
        let mut fields: Fields = captured.collect();
        for (name, target) in &self.alternatives {
            if let Some(value) = fields.get(name).filter(|value| value.is_true()).cloned()
                && !fields.is_true(target)
            {
                fields.set(target, value);
            }
        }
        for (name, target) in &self.tuples {
            let value = fields.text(name).map(Into::into);
            let mut parts = match fields.get(target) {
                Some(Field::Tuple(parts)) => parts.clone(),
                Some(Field::Text(text)) => vec![Some(text.clone())],
                _ => vec![None],
            };
            parts.push(value);
            fields.set(target, Field::Tuple(parts));
        }
        fields
    }

    /// What the group `content` says, as [`Self::groups`] would have it.
    pub(crate) fn content<'t>(&self, text: &'t str, spans: &Spans) -> Option<Cow<'t, str>> {
        let is_put_together =
            self.alternatives.iter().chain(&self.tuples).any(|(_, target)| *target == "content");
        if is_put_together {
            return self.groups(text, spans).text("content").map(|content| content.to_owned().into());
        }
        let (_, index) = self.names.iter().find(|(name, _)| *name == "content")?;
        text.get(spans.get(*index)?).map(Cow::Borrowed)
    }

    /// Whether the linear engine does it.
    pub(crate) fn is_linear(&self) -> bool {
        self.pattern.is_linear()
    }

    /// What `<SKIPLINES>` skipped.
    pub(crate) fn skipped(&self, text: &str, spans: &Spans) -> String {
        self.skip_groups.iter().filter_map(|group| text.get(spans.get(*group)?)).collect()
    }
}

/// The field that `alt_user_1` (with the prefix `alt_`) contributes to: `user`.
fn compound_target(name: &str, prefix: &str) -> Option<String> {
    let rest = name.strip_prefix(prefix).filter(|_| name.chars().count() > "alt_".len())?;
    let bare = match rest.rsplit_once('_') {
        Some((bare, number)) if !number.is_empty() && number.chars().all(char::is_numeric) => bare,
        _ => rest,
    };
    Some(tags::group_of(bare))
}

/// Rewrites flags that stand first in a group, `((?i)x)` or `(?:(?i)x)`, to flags of that group: `(?i:x)`. Python
/// takes flags for the whole expression at its very start only, and older filters have them elsewhere.
fn scope_flags(regex: &str) -> String {
    let mut out = String::with_capacity(regex.len());
    let mut rest = regex;
    while let Some(at) = rest.find('(') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let escaped = out.ends_with('\\');
        match flags_of_group(from).filter(|_| !escaped) {
            Some(flags) => {
                let read = if from.starts_with("(?:") { 3 } else { 1 } + "(?)".len() + flags.len();
                out.push_str("(?");
                out.push_str(flags);
                out.push(':');
                rest = from.get(read..).unwrap_or("");
            }
            None => {
                out.push('(');
                rest = from.get(1..).unwrap_or("");
            }
        }
    }
    out.push_str(rest);
    out
}

/// The flags in `((?flags)` or `(?:(?flags)` at the start of `text`.
fn flags_of_group(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("(?:").filter(|inner| inner.starts_with("(?")).or(text.strip_prefix('('))?;
    let (flags, _) = inner.strip_prefix("(?")?.split_once(')')?;
    (!flags.is_empty() && flags.bytes().all(|b| b.is_ascii_lowercase())).then_some(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(regex: &str, line: &str, expected: &str) {
        let regex = Regex::new(regex, Options::default()).unwrap();
        let Search::Found(spans) = regex.search(Subject::new(line)) else { panic!("no match") };
        let fields: Vec<_> =
            regex.groups(line, &spans).iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(fields.join(" "), expected);
    }

    #[test]
    fn fields_come_in_the_order_of_the_expression() {
        check(
            "<F-USER>.*?</F-USER> from <HOST>$",
            "root from 192.0.2.1",
            "user='root' ip4='192.0.2.1' ip6=None dns=None",
        );
    }

    #[test]
    fn alternatives_fill_what_is_empty() {
        check(
            "(?:u<F-USER>x</F-USER>|v<F-ALT_USER>y</F-ALT_USER>|w<F-ALT_USER_1>z</F-ALT_USER_1>)",
            "wz",
            "user='z' alt_user=None alt_user_1='z'",
        );
        check("<F-ALT_HOST>a</F-ALT_HOST>", "a", "alt_host='a' host='a'");
    }

    #[test]
    fn tuples_are_put_together() {
        check(
            "<F-ID>a</F-ID><F-TUPLE_ID>b</F-TUPLE_ID><F-TUPLE_ID_2>c</F-TUPLE_ID_2>",
            "abc",
            "fid=('a', 'b', 'c') tuple_id='b' tuple_id_2='c'",
        );
        check("<F-TUPLE_X>b</F-TUPLE_X>", "b", "tuple_x='b' x=(None, 'b')");
    }

    #[test]
    fn flags_move_into_their_group() {
        assert_eq!(scope_flags(r"^((?i)a)(?:(?sm)b)\((?i)c) (?i)d"), r"^(?i:a)(?sm:b)\((?i)c) (?i)d");
        assert_eq!(scope_flags("((?i)a)é"), "(?i:a)é");
    }

    #[test]
    fn errors_are_upstreams() {
        let error = |regex: &str| Regex::new_fail(regex, None, Options::default()).unwrap_err().to_string();
        assert_eq!(error(" "), "Cannot add empty regex");
        assert_eq!(error("a"), "No failure-id group in 'a'");
        assert_eq!(
            error("a("),
            "Unable to compile regular expression 'a(':\nmissing ), unterminated subpattern at position 1"
        );
    }
}
