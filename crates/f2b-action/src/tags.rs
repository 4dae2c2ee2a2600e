//! Tags in commands: where they stand, and the replacement of those that the configuration fixes.
//!
//! A tag is `<name>` without blanks or angle brackets inside. Static tags are the action's own properties; they may name
//! each other, also in parts (`<<family>_set>`), so they are replaced again and again until nothing changes. Nothing that
//! comes from a log line ever passes through here: see [`crate::script`] for that.
//!
//! Upstream: `helpers.substituteRecursiveTags` and `CommandAction.replaceTag`.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt;

use f2b_protocol::Value;

use crate::names::{Names, host_tag};

/// How often one tag may be replaced in the value of another.
const MAX_REPLACEMENTS: i64 = 25;

/// Longer values than this are refused: the kernel takes no command of this size, and tags that name each other twice
/// grow without bound otherwise.
const MAX_LEN: usize = 1 << 20;

/// Properties whose text is escaped where a command names them.
const ESCAPED: &[&str] = &["matches", "ipmatches", "ipjailmatches"];

/// Properties that can't be resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TagError {
    /// A property that names itself, at once or in a circle.
    SelfReference {
        /// The property.
        tag: String,
        /// The tag in it that leads back.
        found: String,
        /// How often each tag was replaced so far, as Python prints a dictionary.
        replaced: String,
        /// The text at that point.
        value: String,
    },
    /// A command that still changes after all replacements that are allowed.
    Endless {
        /// The command at that point.
        query: String,
    },
    /// A text that outgrows what a command can hold.
    TooLong {
        /// The property or command.
        tag: String,
    },
}

impl fmt::Display for TagError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SelfReference { tag, found, replaced, value } => write!(
                f,
                "properties contain self referencing definitions and cannot be resolved, \
                 fail tag: {tag}, found: {found} in {replaced}, value: {value}"
            ),
            Self::Endless { query } => write!(
                f,
                "unexpected too long replacement interpolation, \
                 possible self referencing definitions in query: {query}"
            ),
            Self::TooLong { tag } => write!(f, "the replacement of {tag} is too long"),
        }
    }
}

impl Error for TagError {}

/// A tag in a text: `text[start..end]` is `<name>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag<'a> {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) name: &'a str,
}

/// The first tag at or behind the byte `from`.
pub(crate) fn find_tag(text: &str, from: usize) -> Option<Tag<'_>> {
    let mut at = from;
    loop {
        let start = at + text.get(at..)?.find('<')?;
        let name_start = start + 1;
        let stop = name_start + text.get(name_start..)?.find([' ', '<', '>'])?;
        let name = text.get(name_start..stop)?;
        if text[stop..].starts_with('>') && !name.is_empty() {
            return Some(Tag { start, end: stop + 1, name });
        }
        at = stop;
    }
}

/// The text with each tag, from left to right and only once, replaced by what `replacement` gives for it; a tag without
/// replacement stays.
pub(crate) fn replace_once(text: &str, mut replacement: impl FnMut(Tag<'_>) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    while let Some(tag) = find_tag(text, done) {
        out.push_str(&text[done..tag.start]);
        match replacement(tag) {
            Some(value) => out.push_str(&value),
            None => out.push_str(&text[tag.start..tag.end]),
        }
        done = tag.end;
    }
    out.push_str(&text[done..]);
    out
}

/// Properties by name, all as text.
pub(crate) type Tags = BTreeMap<String, String>;

/// The properties with the tags in their values replaced by each other's values. Where `conditional` is given
/// (`family=inet6`), the property `name?family=inet6` stands in for `name`.
pub(crate) fn resolve(properties: &Tags, conditional: &str) -> Result<Tags, TagError> {
    let mut tags = properties.clone();
    let mut settled = BTreeSet::new();
    let mut counts: BTreeMap<&str, Counts> = BTreeMap::new();
    loop {
        let mut again = false;
        for tag in properties.keys().map(String::as_str) {
            if ESCAPED.contains(&tag) || settled.contains(tag) {
                continue;
            }
            let mut replaced = counts.get(tag).cloned().unwrap_or_default();
            let value = resolve_one(&tags, tag, conditional, &mut replaced)?;
            if !value.contains('<') {
                settled.insert(tag);
            }
            if tags.get(tag) == Some(&value) {
                continue;
            }
            if find_tag(&value, 0).is_some() {
                counts.insert(tag, replaced);
                again = true;
            }
            tags.insert(tag.to_owned(), value);
        }
        if !again {
            return Ok(tags);
        }
    }
}

/// How often each tag was replaced, in the order of the first replacement.
type Counts = Vec<(String, i64)>;

fn resolve_one(tags: &Tags, tag: &str, conditional: &str, replaced: &mut Counts) -> Result<String, TagError> {
    let mut value = tags.get(tag).cloned().unwrap_or_default();
    let mut from = 0;
    while let Some(found) = find_tag(&value, from) {
        let (start, end, name) = (found.start, found.end, found.name.to_owned());
        if ESCAPED.contains(&name.as_str()) {
            from = end;
            continue;
        }
        let count = replaced.iter().find(|(n, _)| *n == name).map_or(0, |(_, n)| *n);
        if name == tag || count > MAX_REPLACEMENTS {
            let replaced = replaced.iter().map(|(n, c)| (n.as_str().into(), (*c).into())).collect();
            let replaced = Value::Dict(replaced).to_string();
            return Err(TagError::SelfReference { tag: tag.into(), found: name, replaced, value });
        }
        let Some(replacement) = lookup(tags, &name, conditional) else {
            from = end;
            continue;
        };
        value = value.replace(&format!("<{name}>"), replacement);
        if value.len() > MAX_LEN {
            return Err(TagError::TooLong { tag: tag.into() });
        }
        match replaced.iter_mut().find(|(n, _)| *n == name) {
            Some((_, n)) => *n += 1,
            None => replaced.push((name, 1)),
        }
        from = start;
    }
    Ok(value)
}

fn lookup<'a>(tags: &'a Tags, name: &str, conditional: &str) -> Option<&'a String> {
    let special = if conditional.is_empty() { None } else { tags.get(&format!("{name}?{conditional}")) };
    special.or_else(|| tags.get(name))
}

/// The command `query` with the resolved properties in place of its tags. Tags of other names stay, but for
/// `<br>`, `<sp>` and the names of this host.
pub(crate) fn replace_static(
    query: &str,
    resolved: &Tags,
    conditional: &str,
    names: &dyn Names,
) -> Result<String, TagError> {
    let mut query = query.to_owned();
    for _ in 0..=MAX_REPLACEMENTS {
        let value = replace_once(&query, |tag| match lookup(resolved, tag.name, conditional) {
            Some(value) if ESCAPED.contains(&tag.name) => Some(escape(value)),
            Some(value) => Some(value.clone()),
            None => host_tag(tag.name, names),
        });
        if value == query || !value.contains('<') {
            return Ok(value);
        }
        if value.len() > MAX_LEN {
            return Err(TagError::TooLong { tag: query });
        }
        query = value;
    }
    Err(TagError::Endless { query })
}

/// The characters that could leave a shell word, and so force a value into a variable.
pub(crate) fn needs_escape(c: char) -> bool {
    matches!(
        c,
        '\\' | '#'
            | '&'
            | ';'
            | '`'
            | '|'
            | '*'
            | '?'
            | '~'
            | '<'
            | '>'
            | '^'
            | '('
            | ')'
            | '['
            | ']'
            | '{'
            | '}'
            | '$'
            | '\''
            | '"'
            | '\n'
            | '\r'
    )
}

/// A backslash in front of each such character (`CommandAction.escapeTag`).
pub(crate) fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        if needs_escape(c) {
            out.push('\\');
        }
        out.push(match c {
            '\n' => 'n',
            '\r' => 'r',
            c => c,
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::FixedNames;

    fn tags(pairs: &[(&str, &str)]) -> Tags {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    #[track_caller]
    fn check(pairs: &[(&str, &str)], conditional: &str, query: &str, expected: &str) {
        let resolved = resolve(&tags(pairs), conditional).expect("resolvable");
        let names = FixedNames::default();
        assert_eq!(replace_static(query, &resolved, conditional, &names).as_deref(), Ok(expected));
    }

    #[track_caller]
    fn check_error(pairs: &[(&str, &str)], expected: &str) {
        assert_eq!(resolve(&tags(pairs), "").map_err(|e| e.to_string()), Err(expected.into()));
    }

    #[test]
    fn tags_have_no_blanks_and_no_brackets_inside() {
        let found = |text| find_tag(text, 0).map(|tag| tag.name);
        assert_eq!(found("a <b> c"), Some("b"));
        assert_eq!(found("a << b <> <c"), None);
        assert_eq!(found("<<x>>"), Some("x"));
        assert_eq!(found("<a b><c\nd>"), Some("c\nd"));
        assert_eq!(found("ä<ö>ü"), Some("ö"));
    }

    #[test]
    fn properties_are_replaced_by_each_other() {
        check(&[("a", "3"), ("b", "<a>_3")], "", "<b>", "3_3");
        check(&[("a", "<b>"), ("b", "<c>"), ("c", "x")], "", "<a>-<c>", "x-x");
        check(&[("a", "inner"), ("x-inner", "deep")], "", "<x-<a>>", "deep");
        check(&[("k", "a"), ("v", "<x-<k>>"), ("x-a", "1")], "", "<v>", "1");
    }

    #[test]
    fn unknown_tags_stay() {
        check(&[("a", "x <ip> <HOST>")], "", "<a> <stdin>", "x <ip> <HOST> <stdin>");
    }

    #[test]
    fn a_family_has_its_own_values() {
        let pairs = [("t", "ip"), ("t?family=inet6", "ip6"), ("cmd", "set <t>")];
        check(&pairs, "", "<cmd>", "set ip");
        check(&pairs, "family=inet4", "<cmd>", "set ip");
        check(&pairs, "family=inet6", "<cmd>", "set ip6");
    }

    #[test]
    fn line_ends_and_host_names_are_known_everywhere() {
        check(&[("a", "<br>b")], "", "x<sp><a> <sh-hostname> <fq-hostname>", "x \nb host host.example.org");
    }

    #[test]
    fn circles_are_errors() {
        check_error(
            &[("A", "<A>")],
            "properties contain self referencing definitions and cannot be resolved, \
             fail tag: A, found: A in {}, value: <A>",
        );
        check_error(
            &[("A", "<B>"), ("B", "<A>")],
            "properties contain self referencing definitions and cannot be resolved, \
             fail tag: A, found: A in {'B': 1}, value: <A>",
        );
        assert!(resolve(&tags(&[("A", "to=<B> fromip=<IP>"), ("C", "<B>"), ("B", "<C>")]), "").is_err());
    }

    #[test]
    fn growth_is_bounded() {
        let names: Vec<String> = (0..30).map(|n| format!("t{n:02}")).collect();
        let mut all = Tags::new();
        for pair in names.windows(2) {
            all.insert(pair[0].clone(), format!("<{0}><{0}><{0}>", pair[1]));
        }
        all.insert(names[29].clone(), "x".into());
        assert!(matches!(resolve(&all, ""), Err(TagError::TooLong { .. })));
    }

    #[test]
    fn escaping_puts_backslashes() {
        check(&[("matches", "a'b\n$(x)")], "", "<matches>", "a\\'b\\n\\$\\(x\\)");
    }
}
