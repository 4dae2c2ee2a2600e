//! Tags that are left when everything is resolved and that mean nothing to whoever gets them: a shell would take them for
//! redirections. In quotes, as in the text of a mail, and in an expression they are characters, which may be meant, so that
//! there only the likeness to a tag makes a slip.

use f2b_types::Level;

use crate::action::Action;
use crate::diagnostic::{Log, logger};
use crate::jail::Jail;
use crate::judge::{Judge, TagUser};
use crate::nearest::did_you_mean;
use crate::rounds::find_tag;
use crate::setting::Options;

/// What a slip in an expression was probably meant to be.
const FILTER_TAGS: &[&str] =
    &["HOST", "ADDR", "IP4", "IP6", "DNS", "CIDR", "SUBNET", "SKIPLINES", "F-ID", "F-USER"];

/// Looks at the expressions and the commands of a jail.
pub(super) fn check(jail: &Jail, judge: &dyn Judge, log: &mut Log) {
    if let Some(filter) = &jail.filter
        && let Ok(options) = filter.definition.peek(&[])
    {
        let known = |tag: &str| judge.knows_tag(TagUser::Filter, tag);
        let own: Vec<_> = filter.definition.own_keys().map(|(_, key)| key).collect();
        let names: Vec<&str> = FILTER_TAGS.iter().copied().chain(own.iter().map(|key| &**key)).collect();
        for option in ["prefregex", "failregex", "ignoreregex"] {
            in_option(TagUser::Filter, (&options, option), &known, &names, log);
        }
    }
    for definition in jail.actions.iter().filter_map(Action::definition) {
        let Ok(options) = definition.peek(crate::action::IGNORED) else { continue };
        let known = |tag: &str| options.contains(tag) || judge.knows_tag(TagUser::Action, tag);
        let names: Vec<&str> =
            options.keys().map(|key| &**key).chain(["ip", "failures", "matches", "bantime"]).collect();
        for wanted in crate::action::TEMPLATE {
            in_option(TagUser::Action, (&options, wanted.name), &known, &names, log);
        }
    }
}

fn in_option(
    user: TagUser,
    (options, option): (&Options, &str),
    known: &dyn Fn(&str) -> bool,
    names: &[&str],
    log: &mut Log,
) {
    let Some(setting) = options.get(option) else { return };
    let text = setting.datum.to_text();
    let mut from = 0;
    let mut seen = Vec::new();
    while let Some((start, end)) = find_tag(&text, from) {
        let tag = &text[start + 1..end - 1];
        from = end;
        // `(?P<name>` of an expression is none, and neither is `1 <file 2>other` of a command.
        let is_group = text[..start].ends_with("(?P");
        let is_name = tag.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c));
        if is_group || !is_name || known(tag) || seen.contains(&tag) {
            continue;
        }
        seen.push(tag);
        let hint = did_you_mean(tag, names.iter().copied());
        if hint.is_none() && (user == TagUser::Filter || is_quoted(&text[..start])) {
            continue;
        }
        let message = format!("the tag `<{tag}>` in `{option}` stands for nothing");
        log.say_hint(Level::WARNING, logger::ROOT, message, setting.place_of(&format!("<{tag}>")), hint);
    }
}

/// Whether quotes are open at the end of a part of a shell command.
fn is_quoted(before: &str) -> bool {
    let mut quote = None;
    let mut chars = before.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => drop(chars.next()),
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            _ => {}
        }
    }
    quote.is_some()
}
