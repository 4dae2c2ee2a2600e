//! Paths with wildcards.
//!
//! Answers to `glob.glob` and `fnmatch`: names come in the order of the directory, hidden ones only where the pattern
//! starts with a dot, `**` is `*`. A path without wildcards is found even if it is a link to nowhere. The library sorts
//! names, so it matches single ones only.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use ::glob::Pattern;
use foldhash::fast::RandomState;

use crate::python::split_path;

/// What patterns have matched, each looked for once: many jails follow the same logs.
#[derive(Debug, Default)]
pub(crate) struct Globs(HashMap<String, Rc<Found>, RandomState>);

/// What a pattern has matched.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) paths: Vec<String>,
    /// Paths that are no text, as far as they can be shown.
    pub(crate) no_texts: Vec<String>,
}

impl Globs {
    /// The paths that match.
    pub(crate) fn glob(&mut self, pattern: &str) -> Rc<Found> {
        if let Some(found) = self.0.get(pattern) {
            return Rc::clone(found);
        }
        let found = Rc::new(Found::by(pattern));
        self.0.insert(pattern.to_owned(), Rc::clone(&found));
        found
    }
}

impl Found {
    fn by(pattern: &str) -> Self {
        let mut found = Self { paths: Vec::new(), no_texts: Vec::new() };
        for path in paths(pattern) {
            match path.into_os_string().into_string() {
                Ok(path) => found.paths.push(path),
                Err(path) => found.no_texts.push(path.to_string_lossy().into_owned()),
            }
        }
        found
    }
}

/// The paths that match, as far as they are texts.
pub(crate) fn glob(pattern: &str) -> Vec<String> {
    Found::by(pattern).paths
}

fn paths(pattern: &str) -> Vec<PathBuf> {
    let (directory, name) = split_path(pattern);
    if !has_wildcard(pattern) {
        // What ends in a slash must be a directory.
        let found =
            if name.is_empty() { Path::new(directory).is_dir() } else { is_there(Path::new(pattern)) };
        return if found { vec![pattern.into()] } else { Vec::new() };
    }
    if directory.is_empty() {
        return names_in(Path::new("."), name).map(PathBuf::from).collect();
    }
    let directories = if directory != pattern && has_wildcard(directory) {
        let mut found = paths(directory);
        found.retain(|path| path.is_dir());
        found
    } else {
        vec![directory.into()]
    };
    let mut found = Vec::new();
    for directory in directories {
        if has_wildcard(name) {
            found.extend(names_in(&directory, name).map(|name| directory.join(name)));
        } else {
            let path = directory.join(name);
            let matches = if name.is_empty() { directory.is_dir() } else { is_there(&path) };
            found.extend(matches.then_some(path));
        }
    }
    found
}

pub(crate) fn has_wildcard(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}

/// There is an entry, be it a link to nowhere.
fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

fn names_in(directory: &Path, pattern: &str) -> impl Iterator<Item = OsString> {
    let entries = name_pattern(pattern).and_then(|matching| Some((matching, fs::read_dir(directory).ok()?)));
    let hidden = pattern.starts_with('.');
    entries.into_iter().flat_map(move |(matching, entries)| {
        entries.flatten().map(|entry| entry.file_name()).filter(move |name| {
            let name = name.to_string_lossy();
            (hidden || !name.starts_with('.')) && matching.matches(&name)
        })
    })
}

/// What matches a name as `fnmatch.fnmatchcase` does. There is a pattern for every text; should the library find fault
/// with one, nothing matches.
fn name_pattern(pattern: &str) -> Option<Pattern> {
    let chars: Vec<char> = pattern.chars().collect();
    let mut text = String::new();
    let mut rest = chars.as_slice();
    while let [c, behind @ ..] = rest {
        rest = behind;
        match c {
            // To the library two of them are something else, and three are an error.
            '*' if behind.starts_with(&['*']) => {}
            '[' => match set(behind) {
                Some((set, behind)) => {
                    text += &set;
                    rest = behind;
                }
                None => text += "[[]",
            },
            c => text.push(*c),
        }
    }
    Pattern::new(&text).ok()
}

/// Reads a set behind its `[`: a bracket that comes first closes nothing, a set that is never closed is none.
fn set(text: &[char]) -> Option<(String, &[char])> {
    let first = usize::from(text.starts_with(&['!']));
    let end = text.iter().skip(first + 1).position(|c| *c == ']')? + first + 1;
    Some((written(text.get(..end)?), text.get(end + 1..)?))
}

/// Writes a set of these members. Both read them alike, but for a `!` behind nothing but empty ranges: Python drops those
/// and takes `[z-a!b]` for `[!b]`. If that `!` began a range, its hyphen becomes a member.
fn written(members: &[char]) -> String {
    let text = |members: &[char]| members.iter().collect::<String>();
    let mut rest = members;
    while let [first, '-', last, behind @ ..] = rest
        && first > last
        && !members.starts_with(&['!'])
    {
        rest = behind;
    }
    match rest {
        ['!', ..] if rest.len() == members.len() => format!("[{}]", text(members)),
        ['!'] => "?".into(),
        // As ranges of one, so that nothing is read together with what follows.
        ['!', '-', last, behind @ ..] => format!("[!---{last}-{last}{}]", text(behind)),
        ['!', behind @ ..] => format!("[!{}]", text(behind)),
        _ => format!("[{}]", text(members)),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::io::Write;
    use std::os::unix::ffi::OsStrExt;
    use std::process::{Command, Stdio};

    use serde_json::{Value as Json, json};

    use super::*;

    #[track_caller]
    fn check(pattern: &str, fitting: &[&str], others: &[&str]) {
        let pattern = name_pattern(pattern).expect("a pattern");
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
    fn empty_ranges_are_dropped_ahead_of_a_negation() {
        check("[z-a]", &[], &["z", "a", "-"]);
        check("[!z-a]", &["z", "-"], &[""]);
        check("[!- ]", &["a", "!"], &["-", " "]);
        check("[z-a!b]", &["a", "!"], &["b"]);
        check("[z-a!]", &["a", "!"], &["", "ab"]);
        check("[z-a!-b-d]", &["a", "c", "!"], &["-", "b", "d"]);
        check("[az-a!b]", &["a", "!", "b"], &["z", "-"]);
    }

    /// Every pattern on every name, as a text of zeros and ones for each pattern.
    const FNMATCH: &str = r#"
import fnmatch, json, sys
patterns, names = json.load(sys.stdin)
json.dump(["".join("01"[fnmatch.fnmatchcase(name, pattern)] for name in names) for pattern in patterns], sys.stdout)
"#;

    #[test]
    fn generated_patterns_match_as_in_python() {
        const PIECES: [&str; 24] = [
            "*", "*", "**", "?", "[", "[", "[", "[!", "]", "]", "]", "!", "-", "-", "^", "a", "b", "c", "z",
            "A", ".", "\\", "&", "é",
        ];
        const LETTERS: [&str; 13] = ["a", "b", "c", "z", "A", "-", "!", "^", "]", "[", ".", "\\", "é"];
        let mut state: u64 = std::env::var("F2B_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
        let mut generate = |pieces: &[&str], most: usize| {
            let mut random = |below: usize| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as usize % below
            };
            (0..random(most + 1)).map(|_| pieces[random(pieces.len())]).collect::<String>()
        };
        let patterns: Vec<_> = (0..2500)
            .flat_map(|_| [generate(&PIECES, 9), format!("[{}]", generate(&PIECES[10..], 9))])
            .collect();
        let longer = (0..100).map(|_| generate(&LETTERS, 5));
        let names: Vec<_> = LETTERS.map(String::from).into_iter().chain(longer).collect();
        let Some(theirs) = python(FNMATCH, &json!([patterns, names])) else { return };
        let theirs: Vec<String> = serde_json::from_str(&theirs).expect("an answer");
        assert_eq!(theirs.len(), patterns.len());
        for (text, theirs) in patterns.iter().zip(theirs) {
            let pattern = name_pattern(text).expect("a pattern");
            for (name, theirs) in names.iter().zip(theirs.chars()) {
                assert_eq!(pattern.matches(name), theirs == '1', "{text:?} on {name:?}, ours first");
            }
        }
    }

    /// What the script prints, fed with `input`; `None` without Python.
    fn python(script: &str, input: &Json) -> Option<String> {
        const PYTHON: &str = "/usr/bin/python3";
        if !Path::new(PYTHON).exists() {
            assert!(std::env::var_os("F2B_CI").is_none(), "{PYTHON} is missing");
            let test = std::thread::current();
            let _ =
                writeln!(std::io::stderr(), "skipped: {} needs {PYTHON}", test.name().unwrap_or("a test"));
            return None;
        }
        let mut command = Command::new(PYTHON);
        command.args(["-c", script]).env("PYTHONIOENCODING", "utf-8");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("Python runs");
        child.stdin.take().expect("a pipe").write_all(input.to_string().as_bytes()).expect("Python reads");
        let output = child.wait_with_output().expect("Python ends");
        assert!(output.status.success());
        Some(String::from_utf8(output.stdout).expect("a text"))
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

    #[test]
    fn a_name_that_is_no_text_is_found_and_told_apart() {
        let root = tempfile::tempdir().expect("a directory");
        for directory in [&b"d"[..], b"caf\xe9"] {
            let directory = root.path().join(OsStr::from_bytes(directory));
            fs::create_dir(&directory).expect("a directory");
            fs::write(directory.join("a.log"), "").expect("a file");
            fs::write(directory.join(OsStr::from_bytes(b"\xff.log")), "").expect("a file");
        }
        let path = |name: &str| format!("{}/{name}", root.path().display());
        let found = Found::by(&path("*/a.log"));
        assert_eq!(found.paths, [path("d/a.log")]);
        assert_eq!(found.no_texts, [path("caf\u{fffd}/a.log")]);
        let found = Found::by(&path("d/*.log"));
        assert_eq!((found.paths, found.no_texts), (vec![path("d/a.log")], vec![path("d/\u{fffd}.log")]));
        assert_eq!(glob(&path("*/*.log")), [path("d/a.log")]);
    }
}
