//! Generated command lines, read by us and by Python's own modules with the same table of options.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{Write, stderr};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value as Json, json};

use super::OPTIONS;
use super::reader::{Reader, Style};

const PYTHON: &str = "/usr/bin/python3";

/// How many command lines are generated.
const LINES: usize = 1500;

/// Words that say something about each rule; also values.
const COMMON: &[&str] = &[
    "",
    "-",
    "--",
    "status",
    "a=b",
    "=",
    "-=",
    "--=",
    "--=x",
    "---",
    "-x y",
    "--bogus",
    "--bo gus=1",
    "-:",
    "-5",
];

/// Words are bytes, as lists of numbers.
const GETOPT: &str = r#"
import getopt, json, sys
table, lines = json.load(sys.stdin)
short = "".join(name[1] + ":" * value for name, value in table if name[1] != "-")
long = [name[2:] + "=" * value for name, value in table if name[1] == "-"]
numbers = lambda text: list(text.encode("utf-8", "surrogateescape"))
answers = []
for line in lines:
    try: options, words = getopt.getopt([bytes(word).decode("utf-8", "surrogateescape") for word in line], short, long)
    except getopt.GetoptError: answers.append({"misuse": True})
    else: answers.append({"options": [[name, numbers(value)] for name, value in options], "words": [numbers(word) for word in words]})
json.dump(answers, sys.stdout)
"#;

/// Command lines of options that are written out, abbreviated or bundled, of values and of words.
pub(crate) fn generate(spellings: &[(&str, bool)], words: &[impl AsRef<[u8]>]) -> Vec<Vec<Vec<u8>>> {
    let words: Vec<&[u8]> =
        COMMON.iter().map(|word| word.as_bytes()).chain(words.iter().map(AsRef::as_ref)).collect();
    let (long, short): (Vec<_>, Vec<_>) = spellings.iter().partition(|(name, _)| name.starts_with("--"));
    let mut state: u64 = std::env::var("F2B_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut lines = Vec::new();
    for _ in 0..LINES {
        let mut line = Vec::new();
        for _ in 0..random(7) {
            let mut word = Vec::new();
            match random(10) {
                0..4 => {
                    let (name, takes_value) = long[random(long.len())];
                    // Mostly a prefix long enough to be of one option only.
                    let cut =
                        if random(3) == 0 { random(name.len() - 1) } else { random(3).min(name.len() - 2) };
                    word.extend(&name.as_bytes()[..name.len() - cut]);
                    if random(8) == 0 || takes_value && random(2) == 0 {
                        word.push(b'=');
                        word.extend(words[random(words.len())]);
                    }
                }
                4..7 => {
                    word.push(b'-');
                    for _ in 0..=random(3) {
                        word.extend(&short[random(short.len())].0.as_bytes()[1..]);
                    }
                    if random(4) == 0 {
                        word.extend(words[random(words.len())]);
                    }
                }
                // Words of their own, but for values, would soon end every line.
                7 => word.extend(words[random(words.len())]),
                8 => word.extend(b"7"),
                _ => continue,
            }
            line.push(word);
        }
        lines.push(line);
    }
    lines
}

/// Compares with what a script makes of `[table, lines]`; skipped where there is no Python.
pub(crate) fn compare(script: &str, input: &Json, ours: impl Iterator<Item = Json>) {
    let Some(theirs) = python(script, input) else { return };
    let theirs = theirs.as_array().unwrap();
    assert_eq!(theirs.len(), LINES);
    let mut outcomes = BTreeMap::new();
    for (number, (ours, theirs)) in ours.zip(theirs).enumerate() {
        assert_eq!(ours, *theirs, "ours first, of {}", input[1][number]);
        *outcomes.entry(theirs.as_object().unwrap().keys().next().unwrap().clone()).or_insert(0) += 1;
    }
    // The lines are worth something if a good part of them is right and a good part wrong.
    assert!(outcomes["options"] > LINES / 5 && outcomes["misuse"] > LINES / 5, "{outcomes:?}");
}

fn python(script: &str, input: &Json) -> Option<Json> {
    if !Path::new(PYTHON).exists() {
        assert!(std::env::var_os("F2B_CI").is_none(), "{PYTHON} is missing");
        let test = std::thread::current();
        let _ = writeln!(stderr(), "skipped: {} needs {PYTHON}", test.name().unwrap_or("a test"));
        return None;
    }
    let mut child = Command::new(PYTHON)
        .args(["-c", script])
        .env("PYTHONIOENCODING", "utf-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn generated_command_lines_are_read_as_by_getopt() {
    let lines = generate(
        OPTIONS,
        &[&b"\xff"[..], b"-v\xff", b"--\xff", b"-c\xffx", b"--conf=\xff=", "é".as_bytes(), "-é".as_bytes()],
    );
    let mut reader = Reader::new(Style::Getopt, OPTIONS.iter().copied());
    let ours = |line: &Vec<Vec<u8>>| {
        let words: Vec<OsString> = line.iter().cloned().map(OsString::from_vec).collect();
        let read = reader.read(&words);
        if read.misuse.is_some() {
            return json!({ "misuse": true });
        }
        let options: Vec<_> =
            read.options.iter().map(|option| json!([option.name, option.value.as_bytes()])).collect();
        let words: Vec<_> = read.words.iter().map(|word| word.as_bytes()).collect();
        json!({ "options": options, "words": words })
    };
    compare(GETOPT, &json!([OPTIONS, lines]), lines.iter().map(ours));
}
