//! Where in a line a date may begin and end.
//!
//! Unless its pattern says otherwise, a date stands at word boundaries, or within two characters from the start of
//! the line for `{^LN-BEG}`. Whether a pattern says otherwise is seen from its text: an anchor or `**` at either end.

/// Where the expression of a template is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    /// Wherever the expression says.
    Free,
    /// At the start of a word.
    Word,
    /// At the start of the line.
    Line,
}

/// An expression with its bounds and what they mean.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bounded {
    pub(super) regex: String,
    /// It matches at the start or the end of a line only.
    pub(super) line_anchored: bool,
    /// The start of the line was asked for and the expression got it.
    pub(super) bound_to_line: bool,
}

/// Adds a group for the date, where there is none, and bounds to `regex`.
pub(super) fn bind(regex: &str, begin: Begin, word_end: bool) -> Bounded {
    let mut regex = crate::pytext::strip(regex).to_owned();
    let flags = take_global_flags(&mut regex);
    let bound_begin = begin != Begin::Free && !begins_by_itself(&regex);
    let bound_end = word_end && !ends_by_itself(&regex);
    if !has_group(&regex) {
        regex = grouped(&regex);
    }
    let bound_to_line = bound_begin && begin == Begin::Line;
    if bound_to_line {
        regex.insert_str(0, r"^(?:\W{0,2})?");
    } else if bound_begin {
        regex.insert_str(0, r"(?=^|\b|\W)");
    }
    if bound_end {
        regex.push_str(r"(?=\b|\W|$)");
    }
    let line_anchored = bound_to_line || begins_at_line(&regex) || ends_at_line(&regex);
    let regex = flags + &without_stars(&regex);
    Bounded { regex, line_anchored, bound_to_line }
}

/// Cuts the first `(?flags)` out of `regex`.
fn take_global_flags(regex: &mut String) -> String {
    let starts: Vec<_> = regex.match_indices("(?").map(|(at, _)| at).collect();
    for start in starts {
        let escaped = regex.get(..start).is_some_and(|before| before.ends_with('\\'));
        let Some(inner) = regex.get(start + 2..) else { continue };
        let letters = inner.bytes().take_while(u8::is_ascii_lowercase).count();
        if !escaped && letters > 0 && inner.get(letters..).is_some_and(|tail| tail.starts_with(')')) {
            let flags = start..start + 2 + letters + 1;
            return regex.drain(flags).collect();
        }
    }
    String::new()
}

/// Whether a parenthesis opens a group that captures. Named groups don't count, as upstream has it.
pub(super) fn has_group(regex: &str) -> bool {
    regex.match_indices('(').any(|(at, _)| {
        let (before, from) = regex.split_at(at);
        !before.ends_with("(?") && !before.ends_with('\\') && !from.starts_with("(?")
    })
}

/// Puts a group around everything between the anchors.
fn grouped(regex: &str) -> String {
    let behind_flags = skip_flags(regex);
    let anchor = behind_flags.strip_prefix('^').unwrap_or(behind_flags);
    let body = skip_flags(anchor);
    let front = regex.get(..regex.len() - body.len()).unwrap_or("");
    match body.strip_suffix('$') {
        Some(body) => format!("{front}({body})$"),
        None => format!("{front}({body})"),
    }
}

/// `text` without `(?word)` at its start.
fn skip_flags(text: &str) -> &str {
    let skipped = text.strip_prefix("(?").and_then(|inner| {
        let end = inner.find(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|end| *end > 0)?;
        inner.get(end..)?.strip_prefix(')')
    });
    skipped.unwrap_or(text)
}

/// An anchor or `**` at the start, maybe behind parentheses.
fn begins_by_itself(regex: &str) -> bool {
    let parentheses = regex.bytes().take_while(|b| *b == b'(').count();
    (0..=parentheses).filter_map(|count| regex.get(count..)).any(|rest| {
        [rest, skip_flags(rest)].into_iter().any(|rest| {
            let group = rest.strip_prefix("(?:").or(rest.strip_prefix('(')).unwrap_or("");
            rest.starts_with('^') || rest.trim_start_matches('(').starts_with("**") || group.starts_with('^')
        })
    })
}

/// An anchor, a boundary, a blank or `**` at the end.
fn ends_by_itself(regex: &str) -> bool {
    let ends = |tail: &str| regex.strip_suffix(tail).is_some_and(|before| !before.ends_with('\\'));
    let stars = regex.trim_end_matches(')').strip_suffix("**").is_some_and(|before| !before.ends_with('\\'));
    ends("$") || ends("$)") || ends(r"\b") || ends(r"\s") || stars
}

fn begins_at_line(regex: &str) -> bool {
    [regex, skip_flags(regex)].into_iter().any(|rest| {
        let group = rest.strip_prefix("(?:").or(rest.strip_prefix('(')).unwrap_or("");
        rest.starts_with('^') || group.strip_prefix('^').is_some_and(|tail| !tail.starts_with('|'))
    })
}

fn ends_at_line(regex: &str) -> bool {
    ["$", "$)"]
        .iter()
        .any(|tail| regex.strip_suffix(tail).is_some_and(|before| !before.ends_with(['\\', '|'])))
}

/// `regex` without the `**` that say it needs no bounds.
fn without_stars(regex: &str) -> String {
    let mut regex = regex.to_owned();
    let inner = skip_flags(regex.trim_start_matches('(')).trim_start_matches('(');
    let front = if inner.starts_with("**") { inner.len() } else { 0 };
    if front > 0 {
        let start = regex.len() - front;
        regex.replace_range(start..start + 2, "");
    }
    let end = regex.trim_end_matches(')').len();
    if let Some(before) = regex.get(..end).and_then(|body| body.strip_suffix("**"))
        && !before.ends_with('\\')
    {
        let start = before.len();
        regex.replace_range(start..start + 2, "");
    }
    regex
}

/// The pattern without the bounds that it asks for itself, to be set into another one.
pub(super) fn unbound(pattern: &str) -> &str {
    let pattern = pattern.strip_prefix("{UNB}").unwrap_or(pattern);
    let pattern = pattern.strip_prefix("{^LN-BEG}").unwrap_or(pattern);
    let pattern =
        [r"(^|\b|\W)", r"(?:^|\b|\W)"].iter().find_map(|open| pattern.strip_prefix(open)).unwrap_or(pattern);
    pattern.strip_suffix(r"(?=\b|\W|$)").unwrap_or(pattern)
}

/// `pattern` with `date` in place of each `{DATE}`, in any case, that is not behind a backslash.
pub(super) fn set_date(pattern: &str, date: &str) -> String {
    const TAG: &str = "{DATE}";
    let upper = pattern.to_ascii_uppercase();
    let mut out = String::new();
    let mut read = 0;
    for (at, _) in upper.match_indices(TAG) {
        let before = pattern.get(read..at).unwrap_or("");
        out.push_str(before);
        if pattern.get(..at).is_some_and(|before| before.ends_with('\\')) {
            out.push_str(pattern.get(at..at + TAG.len()).unwrap_or(""));
        } else {
            out.push_str(date);
        }
        read = at + TAG.len();
    }
    out.push_str(pattern.get(read..).unwrap_or(""));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(regex: &str, begin: Begin, expected: &str, line_anchored: bool) {
        let bounded = bind(regex, begin, begin != Begin::Free);
        assert_eq!((bounded.regex.as_str(), bounded.line_anchored), (expected, line_anchored));
    }

    #[test]
    fn a_date_stands_at_words() {
        check("a", Begin::Word, r"(?=^|\b|\W)(a)(?=\b|\W|$)", false);
        check("(?P<x>a)", Begin::Word, r"(?=^|\b|\W)((?P<x>a))(?=\b|\W|$)", false);
        check("(a)b", Begin::Word, r"(?=^|\b|\W)(a)b(?=\b|\W|$)", false);
        check("a", Begin::Line, r"^(?:\W{0,2})?(a)(?=\b|\W|$)", true);
        check("a", Begin::Free, "(a)", false);
    }

    #[test]
    fn anchors_and_stars_are_bounds() {
        check("^a", Begin::Word, r"^(a)(?=\b|\W|$)", true);
        check("(?:^|x)a$", Begin::Word, "((?:^|x)a)$", true);
        check("**a**", Begin::Word, "(a)", false);
        check(r"\s*a\s", Begin::Word, r"(?=^|\b|\W)(\s*a\s)", false);
        check(r"(?iu)^a", Begin::Line, r"(?iu)^(a)(?=\b|\W|$)", true);
    }

    #[test]
    fn bounds_come_off_again() {
        assert_eq!(unbound("{^LN-BEG}%Y"), "%Y");
        assert_eq!(unbound("{UNB}^"), "^");
        assert_eq!(unbound(r"(?:^|\b|\W)%Y(?=\b|\W|$)"), "%Y");
    }
}
