//! The dialect against Python itself: the same patterns over the same texts, groups and errors compared.
//!
//! Known and left out: of a group that is repeated around something that may be empty, `(a*)*`, Python reports the last
//! empty round and the engine the last that consumed something.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::pattern::{Pattern, Search, Subject};

const PYTHON: &str = "/usr/bin/python3";

/// Reads `flag pattern text` in hexadecimal, answers what `re` makes of it, places in bytes.
const ORACLE: &str = r#"
import re, sys, warnings
warnings.simplefilter("ignore")
for line in sys.stdin:
    multi, pattern, text = (bytes.fromhex(x).decode() for x in line.rstrip("\n").split(" "))
    try:
        m = re.compile(pattern, re.M if multi else 0).search(text)
    except (re.error, OverflowError) as e:
        print("E", ascii(str(e)))
        continue
    except RecursionError:
        print("E deep")
        continue
    if m is None:
        print("N")
        continue
    at = lambda i: len(text[:i].encode())
    print("M", *("-" if a < 0 else "%d:%d" % (at(a), at(b)) for a, b in m.regs))
"#;

/// Patterns that say something about each feature, good and bad.
const PATTERNS: &[&str] = &[
    "",
    "a",
    "a|b|",
    "^.*$",
    "(?m)^b$",
    "(?s)a.b",
    "(?x) a # comment\n b",
    "(?i)STRASSE|É",
    "(?i:a)b",
    "(?-i:a)b",
    "(?i)a(?-i:b)c",
    "((?i)a)b",
    "a(?i)b",
    r"\bfoo\b",
    r"\Bo\b",
    r"\w+\W\w+",
    r"[\w.-]+",
    r"[^\W\d]+",
    r"[\s\S]{2}",
    r"\s+$",
    r"\d{1,3}(?:\.\d{1,3}){3}",
    r"(?a)\w+\b",
    "[[a]+",
    "[a&&b]+",
    "[a--b]",
    "[a~~b]",
    "[]a]+",
    "[^]a]+",
    r"[\]\-]+",
    "[a-c-e]+",
    r"[\d-z]",
    "a{,2}b",
    "a{2,}",
    "a{2}{3}",
    "a{}b",
    "a{x}",
    "a{1,2",
    "{a}",
    "a**",
    "*a",
    "(*a)",
    "(?:)*",
    "^*",
    r"\b+",
    "(?:^)*a",
    "(?=a)*a",
    "(?:a|b)??c",
    "a*?b",
    "a++b",
    "(?>a+)ab",
    "a{1,2}+b",
    "(a)|b",
    "(a)?b",
    r"(a)\1",
    r"(a|b)(?P<n>c)?\2?",
    "(?P<n>a|b)x(?P=n)",
    "(?P<n>a)(?P<n>b)",
    "(?P<1>a)",
    "(?P<n-m>a)",
    "(?P<n",
    "(?P<>a)",
    "(?P=n)",
    "(?P>n)",
    r"(a\1)",
    r"\2(a)",
    r"(a)(?(1)b|c)",
    r"(a)?(?(1)b|c)",
    r"(a)?(?(1)b)c",
    r"(a)?(?(1)|c)d",
    "(?P<x>a)?b(?(x)c|d)",
    "(?(2)a|b)",
    "(?(x)a|b)",
    "(?(0)a|b)",
    "(a)(?(1)b|c|d)",
    "a(?=b)",
    "a(?!b)",
    "(?<=a)b",
    "(?<!a)b",
    "(?<=a|bc)d",
    "(?<=a+)d",
    r"(?<=(a)\1)b",
    "(?<=^a)b",
    r"(?<=\baudit\()\d",
    "(?<a>b)",
    "(?<",
    "(?",
    "(?:a",
    "(a",
    "a)",
    "[a",
    "[",
    "[z-a]",
    "a\\",
    r"\q",
    r"[\q]",
    r"\x4",
    r"\x41",
    "\\u00e9",
    "\\U0001F600",
    "\\U00110000",
    r"\101",
    r"\08",
    r"\777",
    r"\0",
    r"[\1]",
    r"[\8]",
    r"[\b]",
    r"\Z",
    r"a\Z",
    r"\Aa",
    "(?#comment)a",
    "(?#comment",
    "(?z)a",
    "(?i",
    "(?i-:a)",
    "(?i-i:a)",
    "(?-u:a)",
    "(?L)a",
    "(?au)a",
    r"a\ b\/\-\_\<\>\é",
    "é+",
    "[à-ü]+",
    "(?:a*)*b",
    "(?:a*)+b",
    "(a|ab)(c|bcd)(d*)",
    "(?:(a)|(b))*",
    "(?:(a)|b)*",
    "x*",
    "(?:x*)*",
    "(?:x?){3}",
    "a.{1,3}?c",
    "\n",
    r"a\nb$",
    "a$\n",
    "(?m)a$\n",
    r"(?P<h>(?:\d{1,3}\.){3}\d{1,3}|(?:[0-9a-fA-F]{1,4}::?|:){1,7}(?:[0-9a-fA-F]{1,4}|(?<=:):))",
    r"(?:[a:]::?|:)(?:a|(?<=:):)",
    r"(?:a|:)(?:a|(?<=:):)",
    r"(?i)(?:k)(?<=k)x",
    r"(?P<s>[-/.])(\d)(?P=s)",
    r"(?i)(\d)?([-/])(?P<d>\d)\2(\d?)(x)?",
    r"([-/])(\d)\1\2|a",
    r"(?:([-/])\d\1)+",
    r"([-/])\d\1(?(3)x|y)(b)(c)",
    r"(?=^|\b|\W)(\d+)(?=\b|\W|$)",
    r"((?:^|(?P<sq>(?<=^\[))|(?P<se>(?<=\baudit\()))\d+\b(?:\.\d{3,6})?)(?:(?(se)(?=:\d+\)))|(?(sq)(?=\])))",
];

const TEXTS: &[&str] = &[
    "",
    "a",
    "b",
    "ab",
    "aab",
    "abc",
    "aaabbb ccc",
    "a\n",
    "a\nb\n",
    "x\nb\ny",
    "abcd",
    "aXbxc",
    "foo bar.foo-baz_9",
    "bxa axa aa",
    " \t\u{1c}\u{85}\n",
    "[a] ]-[ {a} a{x} a{}b",
    "&& -- ~~",
    "Straße STRASSE é É ÀÈü",
    "x\u{301}y² ٣٤ 四",
    "\u{8}\u{1}\0",
    "A a b/-_<>é",
    "192.0.2.1 ::1 2001:db8::1 a:::",
    "[1234567890] audit(1234567890.123:456): 77",
    "1-2/3-4-5 6/7/7/8",
    "-1-2-2-x é-1-1-ybc",
    "Kx kx \u{212a}x",
    "\u{1F600}",
];

fn hex(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        write!(out, "{byte:02x}").unwrap();
    }
    out
}

fn ours(pattern: &str, multi: bool, text: &str) -> String {
    let pattern = match Pattern::new(pattern, multi) {
        Ok(pattern) => pattern,
        Err(error) => return format!("E {}", ascii(&error.to_string())),
    };
    match pattern.search(Subject::new(text)) {
        Search::Missed => "N".into(),
        Search::Exhausted => "exhausted".into(),
        Search::Found(spans) => {
            let mut out = String::from("M");
            for group in 0..=pattern.groups() {
                match spans.get(group) {
                    Some(span) => write!(out, " {}:{}", span.start, span.end).unwrap(),
                    None => out.push_str(" -"),
                }
            }
            out
        }
    }
}

/// Python's `ascii()`.
fn ascii(text: &str) -> String {
    let mut out = String::new();
    for c in crate::pytext::repr(text).chars() {
        match u32::from(c) {
            0..=0x7f => out.push(c),
            code @ 0x80..=0xff => write!(out, "\\x{code:02x}").unwrap(),
            code @ 0x100..=0xffff => write!(out, "\\u{code:04x}").unwrap(),
            code => write!(out, "\\U{code:08x}").unwrap(),
        }
    }
    out
}

/// Asks Python for all cases at once; `None` where there is no Python.
fn python(cases: &[(bool, String, &str)]) -> Option<Vec<String>> {
    if !Path::new(PYTHON).exists() {
        assert!(std::env::var_os("F2B_CI").is_none(), "{PYTHON} is missing");
        let test = std::thread::current();
        let _ = writeln!(std::io::stderr(), "skipped: {} needs {PYTHON}", test.name().unwrap_or("a test"));
        return None;
    }
    let mut child = Command::new(PYTHON)
        .args(["-c", ORACLE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = String::new();
    for (multi, pattern, text) in cases {
        let flag = if *multi { "6d" } else { "" };
        writeln!(input, "{flag} {} {}", hex(pattern), hex(text)).unwrap();
    }
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Some(String::from_utf8(output.stdout).unwrap().lines().map(Into::into).collect())
}

fn compare(cases: &[(bool, String, &str)]) -> Vec<String> {
    let Some(theirs) = python(cases) else { return Vec::new() };
    assert_eq!(theirs.len(), cases.len());
    let mut differences = Vec::new();
    for ((multi, pattern, text), theirs) in cases.iter().zip(theirs) {
        let ours = ours(pattern, *multi, text);
        if ours != theirs {
            differences
                .push(format!("{pattern:?} multi={multi} on {text:?}\n  ours   {ours}\n  python {theirs}"));
        }
    }
    differences
}

#[test]
fn patterns_match_and_fail_as_in_python() {
    let mut cases = Vec::new();
    for pattern in PATTERNS {
        for text in TEXTS {
            cases.push((false, (*pattern).to_owned(), *text));
            cases.push((true, (*pattern).to_owned(), *text));
        }
    }
    let differences = compare(&cases);
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

/// Pieces that random patterns are put together from.
const PIECES: &[&str] = &[
    "a", "b", "c", ".", "^", "$", r"\b", r"\B", r"\w", r"\W", r"\s", r"\d", r"\Z", r"\A", "[ab]", "[^a]",
    "(", ")", "(?:", "(?=", "(?!", "(?<=", "(?<!", "(?i:", "(?s:", "(?m:", "(?>", "|", "*", "+", "?",
    "{1,2}", "*?", "+?", "*+", r"\1", r"\2", "(?(1)", "(?P<n>", "(?P=n)", " ", "\\n", "é", "{", "[", "-",
    "]",
];

#[test]
fn random_patterns_match_and_fail_as_in_python() {
    let mut state: u64 = std::env::var("F2B_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut cases = Vec::new();
    for _ in 0..2000 {
        let mut pattern = String::new();
        let mut open = 0_usize;
        for _ in 0..1 + random(9) {
            let piece = PIECES[random(PIECES.len())];
            open = match piece {
                ")" if open == 0 => continue,
                ")" => open - 1,
                piece if piece.starts_with('(') && !piece.ends_with(')') => open + 1,
                "(?(1)" => open + 1,
                _ => open,
            };
            pattern.push_str(piece);
        }
        pattern.push_str(&")".repeat(open));
        for text in ["ab\n", "aab c", "ba é\nabc\n", "bacaéa"] {
            cases.push((false, pattern.clone(), text));
        }
    }
    let differences = compare(&cases);
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}
