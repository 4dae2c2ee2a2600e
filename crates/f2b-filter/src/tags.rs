//! `<HOST>`, `<F-USER>...</F-USER>` and the other tags of a failregex, and what they expand to.
//!
//! The expansions are what users see in `get JAIL failregex` and in reports, so they are upstream's
//! (`failregex.Regex._resolveHostTag`, `ipdns.IPAddr`) to the letter.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::settings::UseDns;

macro_rules! ip4 {
    () => {
        r"(?:::f{4,6}:)?(?P<ip4>(?:\d{1,3}\.){3}\d{1,3})"
    };
}
macro_rules! ip6 {
    () => {
        r"(?P<ip6>(?:[0-9a-fA-F]{1,4}::?|:){1,7}(?:[0-9a-fA-F]{1,4}|(?<=:):))"
    };
}
macro_rules! dns {
    () => {
        r"(?P<dns>[\w\-.^_]*\w)"
    };
}
macro_rules! addr {
    () => {
        concat!(r"\[?(?:", ip4!(), "|", ip6!(), r")\]?")
    };
}
macro_rules! cidr {
    () => {
        r"(?P<cidr>\d+)"
    };
}

const HOST: &str = concat!("(?:", addr!(), "|", dns!(), ")");
const SUBNET: &str = concat!(r"\[?(?:", ip4!(), "|", ip6!(), ")(?:/", cidr!(), r")?\]?");

/// Puts the expressions in place of the tags of `regex`. Without DNS, `<HOST>` is an address only.
pub fn expand(regex: &str, use_dns: UseDns) -> String {
    let mut out = String::with_capacity(regex.len() * 2);
    let mut open = BTreeSet::new();
    let mut skipped = 0;
    let mut rest = regex;
    while let Some(at) = rest.find('<') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let Some(tag) = tag_at(from) else {
            out.push('<');
            rest = from.get(1..).unwrap_or("");
            continue;
        };
        out.push_str(&expansion(tag, use_dns, &mut open, &mut skipped));
        rest = from.get(tag.len()..).unwrap_or("");
    }
    out.push_str(rest);
    out
}

/// The tag at the start of `text`: `<NAME>`, `</NAME>` or `<NAME/>`.
fn tag_at(text: &str) -> Option<&str> {
    let inner = text.get(1..)?;
    let name = inner.strip_prefix('/').unwrap_or(inner);
    let end = name.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'))?;
    let (name, tail) = name.split_at(end);
    let tail = tail.strip_prefix('/').unwrap_or(tail).strip_prefix('>')?;
    (!name.is_empty()).then(|| text.get(..text.len() - tail.len())).flatten()
}

fn expansion<'t>(
    tag: &'t str,
    use_dns: UseDns,
    open: &mut BTreeSet<&'t str>,
    skipped: &mut usize,
) -> Cow<'t, str> {
    let name = tag.get(1..tag.len() - 1).unwrap_or("");
    let fixed = match name {
        "HOST" if use_dns == UseDns::No => addr!(),
        "HOST" => HOST,
        "IP4" | "F-IP4/" => ip4!(),
        "IP6" | "F-IP6/" => ip6!(),
        "ADDR" | "F-ADDR/" => addr!(),
        "CIDR" | "F-CIDR/" => cidr!(),
        "SUBNET" | "F-SUBNET/" => SUBNET,
        "DNS" | "F-DNS/" => dns!(),
        "F-ID/" => r"(?P<fid>\S+)",
        "F-PORT/" => r"(?P<fport>\w+)",
        "SKIPLINES" => {
            *skipped += 1;
            return format!(r"\n(?P<skiplines{}>(?:(?:.*\n)*?))", *skipped - 1).into();
        }
        _ => "",
    };
    if !fixed.is_empty() {
        return fixed.into();
    }
    if let Some(field) = name.strip_prefix("/F-").filter(|field| is_field(field)) {
        return if open.contains(field) { ")".into() } else { tag.into() };
    }
    match name.strip_prefix("F-").filter(|field| is_field(field)) {
        Some(field) => {
            open.insert(field);
            format!("(?P<{}>", group_of(field)).into()
        }
        None => tag.into(),
    }
}

fn is_field(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

/// The group that a field of that name is captured in.
pub fn group_of(field: &str) -> String {
    match field.to_lowercase().as_str() {
        "id" => "fid".into(),
        "port" => "fport".into(),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(regex: &str, expected: &str) {
        assert_eq!(expand(regex, UseDns::Warn), expected);
    }

    #[test]
    fn fields_become_named_groups() {
        check("<F-USER>.*</F-USER> x", "(?P<user>.*) x");
        check("<F-ID>a</F-ID><F-PORT/>", r"(?P<fid>a)(?P<fport>\w+)");
        check("<F-ALT_USER_1>a</F-ALT_USER_1>", "(?P<alt_user_1>a)");
    }

    #[test]
    fn what_is_no_tag_stays() {
        check("</F-USER> <x> <HOST <F-user> <", "</F-USER> <x> <HOST <F-user> <");
        check("<HOST/> <<CIDR>>", r"<HOST/> <(?P<cidr>\d+)>");
    }

    #[test]
    fn lines_to_skip_are_numbered() {
        check(
            "a<SKIPLINES>b<SKIPLINES>",
            r"a\n(?P<skiplines0>(?:(?:.*\n)*?))b\n(?P<skiplines1>(?:(?:.*\n)*?))",
        );
    }

    #[test]
    fn without_dns_a_host_is_an_address() {
        assert_eq!(expand("<HOST>", UseDns::No), addr!());
        assert_eq!(expand("<HOST>", UseDns::Raw), HOST);
    }
}
