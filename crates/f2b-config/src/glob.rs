//! Paths with wildcards.
//!
//! Answers to `glob.glob` and `fnmatch`: names come in the order of the directory, hidden ones only where the pattern
//! starts with a dot, `**` is `*`. A path without wildcards is found even if it is a link to nowhere.

use std::fs;
use std::path::Path;

use crate::python::{join, split_path};

/// The paths that match.
pub(crate) fn glob(pattern: &str) -> Vec<String> {
    let (directory, name) = split_path(pattern);
    if !has_wildcard(pattern) {
        // What ends in a slash must be a directory.
        let found = if name.is_empty() { Path::new(directory).is_dir() } else { is_there(pattern) };
        return if found { vec![pattern.to_owned()] } else { Vec::new() };
    }
    if directory.is_empty() {
        return names_in(".", name);
    }
    let directories = if directory != pattern && has_wildcard(directory) {
        let mut found = glob(directory);
        found.retain(|path| Path::new(path).is_dir());
        found
    } else {
        vec![directory.to_owned()]
    };
    let mut found = Vec::new();
    for directory in directories {
        if has_wildcard(name) {
            found.extend(names_in(&directory, name).iter().map(|name| join(&directory, name)));
        } else {
            let path = join(&directory, name);
            let matches = if name.is_empty() { Path::new(&directory).is_dir() } else { is_there(&path) };
            found.extend(matches.then_some(path));
        }
    }
    found
}

fn has_wildcard(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}

/// There is an entry, be it a link to nowhere.
fn is_there(path: &str) -> bool {
    fs::symlink_metadata(path).is_ok()
}

fn names_in(directory: &str, pattern: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let pattern = Pattern::new(pattern);
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| (pattern.hidden || !name.starts_with('.')) && pattern.matches(name)).collect()
}

/// One part of a pattern for one character, or for any number of them.
enum Part {
    Any,
    One,
    Char(char),
    Set { negated: bool, ranges: Vec<(char, char)> },
}

struct Pattern {
    hidden: bool,
    parts: Vec<Part>,
}

impl Pattern {
    fn new(pattern: &str) -> Self {
        let chars: Vec<char> = pattern.chars().collect();
        let mut parts = Vec::new();
        let mut rest = chars.as_slice();
        while let [c, behind @ ..] = rest {
            rest = behind;
            parts.push(match c {
                '*' => Part::Any,
                '?' => Part::One,
                '[' => match set(behind) {
                    Some((part, behind)) => {
                        rest = behind;
                        part
                    }
                    None => Part::Char('['),
                },
                c => Part::Char(*c),
            });
        }
        Self { hidden: pattern.starts_with('.'), parts }
    }

    /// Only the last star met is ever tried again, which is enough and never takes long.
    fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let (mut part, mut at) = (0, 0);
        let mut star = None;
        loop {
            match self.parts.get(part) {
                None if at == name.len() => return true,
                Some(Part::Any) => {
                    star = Some((part, at));
                    part += 1;
                    continue;
                }
                Some(wanted) if name.get(at).is_some_and(|c| wanted.fits(*c)) => {
                    part += 1;
                    at += 1;
                    continue;
                }
                _ => {}
            }
            match star {
                Some((star_part, star_at)) if star_at < name.len() => {
                    star = Some((star_part, star_at + 1));
                    (part, at) = (star_part + 1, star_at + 1);
                }
                _ => return false,
            }
        }
    }
}

impl Part {
    fn fits(&self, c: char) -> bool {
        match self {
            Self::Any | Self::One => true,
            Self::Char(wanted) => *wanted == c,
            Self::Set { negated, ranges } => {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&c)) != *negated
            }
        }
    }
}

/// Reads a set behind its `[`: a bracket that comes first closes nothing, a set that is never closed is none.
fn set(text: &[char]) -> Option<(Part, &[char])> {
    let (negated, inner) = match text {
        ['!', inner @ ..] => (true, inner),
        inner => (false, inner),
    };
    let end = inner.iter().skip(1).position(|c| *c == ']')? + 1;
    let (mut members, behind) = (&inner[..end], &inner[end + 1..]);
    let mut ranges = Vec::new();
    while let [first, rest @ ..] = members {
        (members, _) = match rest {
            ['-', last, rest @ ..] => (rest, ranges.push((*first, *last))),
            rest => (rest, ranges.push((*first, *first))),
        };
    }
    Some((Part::Set { negated, ranges }, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, fitting: &[&str], others: &[&str]) {
        let pattern = Pattern::new(pattern);
        fitting.iter().for_each(|name| assert!(pattern.matches(name), "{name}"));
        others.iter().for_each(|name| assert!(!pattern.matches(name), "{name}"));
    }

    #[test]
    fn wildcards_match_as_in_python() {
        check("*.log", &["a.log", ".log"], &["a.log1", "log"]);
        check("proxy-host-*_access.log", &["proxy-host-1_access.log"], &["proxy-host-1_error.log"]);
        check("a?[0-9][!x]", &["ab1y", "aé0-"], &["ab1x", "aby", "abxy"]);
        check("[]-a]", &["]", "a", "^"], &["-", "b"]);
        check("[a-]", &["a", "-"], &["b"]);
        check("[a", &["[a"], &["a"]);
        check("*a*a*a*b", &["aaab", "xaxaxab"], &[&"a".repeat(1000)]);
    }

    #[test]
    fn paths_are_found_on_disk() {
        let root = tempfile::tempdir().expect("a directory");
        let path = |name: &str| format!("{}/{name}", root.path().display());
        fs::create_dir(path("d")).expect("a directory");
        for name in ["d/a.log", "d/.b.log", "c.log"] {
            fs::write(path(name), "").expect("a file");
        }
        std::os::unix::fs::symlink("/nowhere", path("link")).expect("a link");
        assert_eq!(glob(&path("*/*.log")), [path("d/a.log")]);
        assert_eq!(glob(&path("d/.*")), [path("d/.b.log")]);
        assert_eq!(glob(&path("*/a.log")), [path("d/a.log")]);
        assert_eq!(glob(&path("link")), [path("link")]);
        assert_eq!(glob(&path("d/")), [path("d/")]);
        assert_eq!(glob(&path("[d]/")), [path("d/")]);
        assert!(glob(&path("nothing")).is_empty() && glob("").is_empty());
    }
}
