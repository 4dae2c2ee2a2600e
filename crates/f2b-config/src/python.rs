//! What Python's own functions do with texts, numbers and paths, where configuration depends on the very details.
//!
//! Answers to `str.isspace`, `str.lower`, `repr`, `int` and `os.path`.

use std::borrow::Cow;
use std::path::Path;

use f2b_protocol::Value;

/// `str.isspace`: Unicode's white space and four separators of ASCII.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

/// `\w` of a regular expression.
pub(crate) fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// `str.strip`.
pub(crate) fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// `str.lower`, by which option names are compared.
pub(crate) fn lower(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase()) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.to_lowercase())
    }
}

/// `repr` of a text.
pub(crate) fn repr(text: &str) -> String {
    Value::from(text).to_string()
}

/// `repr` of a list of texts.
pub(crate) fn repr_list<T: AsRef<str>>(texts: &[T]) -> String {
    Value::strings(texts.iter().map(AsRef::as_ref)).to_string()
}

/// `int(text)`; `None` where Python raises, and for numbers beyond 64 bits.
pub(crate) fn parse_int(text: &str) -> Option<i64> {
    let text = strip(text);
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let well_formed = !digits.is_empty()
        && digits.split('_').all(|s| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit()));
    if well_formed { text.replace('_', "").parse().ok() } else { None }
}

/// `os.path.join` of two parts.
pub(crate) fn join(directory: &str, name: &str) -> String {
    if name.starts_with('/') || directory.is_empty() {
        name.to_owned()
    } else if directory.ends_with('/') {
        [directory, name].concat()
    } else {
        [directory, "/", name].concat()
    }
}

/// `os.path.split`: the slashes between the parts belong to neither, unless there is nothing before them.
pub(crate) fn split_path(path: &str) -> (&str, &str) {
    let (head, tail) = path.split_at(path.rfind('/').map_or(0, |slash| slash + 1));
    let trimmed = head.trim_end_matches('/');
    (if trimmed.is_empty() { head } else { trimmed }, tail)
}

/// `os.path.splitext(path)[0]`: the path without its last extension; dots that lead a name open none.
pub(crate) fn stem(path: &str) -> &str {
    let start = path.rfind('/').map_or(0, |slash| slash + 1);
    let name = &path[start..];
    let visible = name.trim_start_matches('.');
    match visible.rfind('.') {
        Some(dot) => &path[..start + (name.len() - visible.len()) + dot],
        None => path,
    }
}

/// `os.path.abspath` for a name that starts with `./`, which is how a name next to the current directory is written.
pub(crate) fn absolute(name: &str) -> String {
    if !name.starts_with("./") {
        return name.to_owned();
    }
    let mut parts: Vec<String> = Vec::new();
    let directory = std::env::current_dir().unwrap_or_default();
    for part in directory.join(name).to_string_lossy().split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part.to_owned()),
        }
    }
    format!("/{}", parts.join("/"))
}

/// `os.path.exists`: there is something behind all links.
pub(crate) fn exists(path: &str) -> bool {
    Path::new(path).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_read_as_python_reads_them() {
        for (text, number) in [
            ("5", Some(5)),
            (" +1_000\n", Some(1000)),
            ("-0", Some(0)),
            ("007", Some(7)),
            ("", None),
            ("_1", None),
            ("1__0", None),
            ("5.0", None),
            ("1d", None),
            ("99999999999999999999", None),
            ("٣", None),
        ] {
            assert_eq!(parse_int(text), number, "{text:?}");
        }
    }

    #[test]
    fn paths_fall_apart_as_in_python() {
        assert_eq!(split_path("/a/b"), ("/a", "b"));
        assert_eq!(split_path("//b"), ("//", "b"));
        assert_eq!(split_path("b"), ("", "b"));
        assert_eq!(split_path("a//"), ("a", ""));
        assert_eq!(stem("/a.d/jail.conf"), "/a.d/jail");
        assert_eq!(stem("/a.d/jail"), "/a.d/jail");
        assert_eq!(stem("..x.conf"), "..x");
        assert_eq!(stem(".conf"), ".conf");
        assert_eq!((&*join("/a", "b"), &*join("/a", "/b"), &*join("", "b")), ("/a/b", "/b", "b"));
    }

    #[test]
    fn space_and_case_follow_unicode() {
        assert_eq!(strip("\u{a0}\u{1f} x\u{85}"), "x");
        assert_eq!(strip("\u{feff}x"), "\u{feff}x");
        assert_eq!((lower("Ab-C"), lower("ÄB")), ("ab-c".into(), "äb".into()));
    }
}
