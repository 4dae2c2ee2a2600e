//! The dialect against Python itself: the same patterns over the same texts, groups and errors compared.
//!
//! Known and left out: of a group that is repeated around something that may be empty, `(a*)*`, Python reports the last
//! empty round and the engine the last that consumed something. Where it backtracks, the engine does not end such a
//! repetition with an empty round, but tries the branches behind.

use std::fmt::Write as _;

use super::ast::{Greed, Node};
use super::generate::{generate, mutate};
use super::{Parsed, parse};
use crate::oracle::{Random, ascii, hex, python_prints, seed};
use crate::pattern::{Pattern, Search, Subject};

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
    except SystemError:
        print("?")
        continue
    if m is None:
        print("N")
        continue
    at = lambda i: len(text[:i].encode())
    print("M", *("-" if a < 0 else "%d:%d" % (at(a), at(b)) for a, b in m.regs))
"#;

/// Prints the categories of every character in which Python and the engine may agree (`w`, `s`, `d` as bits), and `-`
/// for those that its Unicode tables don't know; then the characters that have a case, each with its equals.
const CHARACTERS: &str = r#"
import re, unicodedata
known = [c for c in map(chr, range(0x110000)) if not 0xd800 <= ord(c) < 0xe000]
bit = lambda c: sum(n for n, r in ((1, r"\w"), (2, r"\s"), (4, r"\d")) if re.match(r, c))
print("".join("-" if unicodedata.category(c) == "Cn" else str(bit(c)) for c in known))
cased = [c for c in known if c.lower() != c or c.upper() != c]
text = "".join(cased)
for c in cased:
    print(c, "".join(re.findall(re.escape(c), text, re.I)))
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
    // What generated patterns found.
    r"\B",
    r"\B()|",
    r"(?P<n>|x){0}a|(?P=n)b",
    r"(x){0}(?(1)(a)|b)\2?",
    r"()\1?|b",
    r"(^|b)a*\1c?",
    r"(?(1)(?:){2}|)(a){2}",
    r"(a)?(?:(?(1)))+b",
    "(?ai)µ|k",
    "(?i)i+",
    "(?i)[h-j]+|[^i]",
    "(?i)(É)\\1",
    r"\N{LATIN SMALL LETTER A}|\N{em dash}",
    r"\N{LATINSMALLLETTERA}",
    r"\N",
    r"\N{",
    r"\N{}",
    r"[\N{DIGIT ONE}-\N{DIGIT THREE}]+",
    "(?(+)a)",
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
    "İiıI éÉ µΜ",
];

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

/// Asks Python for all cases at once; `None` where there is no Python.
fn python<T: AsRef<str>>(cases: &[(bool, String, T)]) -> Option<Vec<String>> {
    let mut input = String::new();
    for (multi, pattern, text) in cases {
        let flag = if *multi { "6d" } else { "" };
        writeln!(input, "{flag} {} {}", hex(pattern), hex(text.as_ref())).unwrap();
    }
    python_prints(ORACLE, input)
}

fn compare<T: AsRef<str>>(cases: &[(bool, String, T)]) -> Vec<String> {
    let Some(theirs) = python(cases) else { return Vec::new() };
    assert_eq!(theirs.len(), cases.len());
    let mut differences = Vec::new();
    for ((multi, pattern, text), theirs) in cases.iter().zip(theirs) {
        let text = text.as_ref();
        let ours = ours(pattern, *multi, text);
        // "The span of capturing group is wrong, please report a bug".
        if ours != theirs && theirs != "?" {
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
    let mut state: u64 = seed();
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
        if parse(&pattern, false).is_ok_and(|parsed| is_beyond_comparison(&parsed)) {
            continue;
        }
        for text in ["ab\n", "aab c", "ba é\nabc\n", "bacaéa"] {
            cases.push((false, pattern.clone(), text));
        }
    }
    let differences = compare(&cases);
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

/// Whether the engines are known to differ ([`Parsed::doubt`]); and releases before 3.11.5 are wrong about some possessive
/// groups.
fn is_beyond_comparison(parsed: &Parsed) -> bool {
    let is_possessive = |node: &Node| match node {
        Node::Repeat { greed: Greed::Possessive, body, .. } => {
            !matches!(**body, Node::Char(_) | Node::Class(_) | Node::Any { .. })
        }
        _ => false,
    };
    parsed.doubt().is_some() || parsed.root.any(&is_possessive)
}

#[test]
fn generated_patterns_match_and_fail_as_in_python() {
    let mut random = Random::new(seed());
    let mut cases = Vec::new();
    for _ in 0..3000 {
        let made = generate(&mut random);
        if parse(&made.pattern, false).is_ok_and(|parsed| is_beyond_comparison(&parsed)) {
            continue;
        }
        let multi = random.once_in(3);
        for text in [made.text.clone(), mutate(&mut random, &made.text), mutate(&mut random, &made.text)] {
            cases.push((multi, made.pattern.clone(), text));
        }
    }
    let differences = compare(&cases);
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn every_character_is_what_it_is_to_python() {
    let Some(lines) = python_prints(CHARACTERS, String::new()) else { return };
    let (bits, cased) = lines.split_first().unwrap();
    let categories =
        [(1, r"\w"), (2, r"\s"), (4, r"\d")].map(|(bit, text)| (bit, Pattern::new(text, false).unwrap()));
    let mut buffer = [0; 4];
    let mut differences = Vec::new();
    for (c, theirs) in (0..=0x10_ffff).filter_map(char::from_u32).zip(bits.chars()) {
        let subject = Subject::new(c.encode_utf8(&mut buffer));
        let ours: u32 = categories
            .iter()
            .map(|(bit, text)| if matches!(text.search(subject), Search::Found(_)) { *bit } else { 0 })
            .sum();
        if theirs != '-' && theirs.to_digit(10) != Some(ours) {
            differences.push(format!("{c:?}: ours {ours}, python {theirs}"));
        }
    }
    for line in cased {
        let (c, equal) = line.split_once(' ').unwrap();
        let c = c.chars().next().unwrap();
        // Newer tables of Unicode know more letters.
        let ours: String =
            super::case::equal(c, false).into_iter().filter(|c| bits_of(bits, *c) != Some('-')).collect();
        if ours != equal {
            differences.push(format!("{c:?}: ours {ours}, python {equal}"));
        }
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

/// What Python said of a character.
fn bits_of(bits: &str, c: char) -> Option<char> {
    let code = u32::from(c) as usize;
    let surrogates = if code >= 0xe000 { 0x800 } else { 0 };
    bits.as_bytes().get(code - surrogates).copied().map(char::from)
}
