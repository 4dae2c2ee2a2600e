//! Command lines as Python reads them, read by clap.
//!
//! To clap every spelling of an option is an argument of its own: Python tells which one was written, and finds a prefix
//! of two spellings ambiguous even if both mean the same. Options are given in the order in which they stand.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use clap::builder::ValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};

/// The argument that collects what is no option; no option is spelled so.
const WORDS: &str = "words";

/// Where options may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Ahead of the first word that is none, as for `getopt.getopt`.
    Getopt,
    /// Anywhere, as for `optparse`.
    Optparse,
}

/// What was read.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Line {
    pub(crate) options: Vec<Opt>,
    /// What is no option.
    pub(crate) words: Vec<OsString>,
    /// What is wrong behind all that; the rest has not been read.
    pub(crate) misuse: Option<Misuse>,
}

/// One option: the spelling that was written or abbreviated, and its value, which is empty where it takes none.
#[derive(Debug, PartialEq)]
pub(crate) struct Opt {
    pub(crate) name: String,
    pub(crate) value: OsString,
}

/// What is wrong with a command line; prints as `optparse` puts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Misuse {
    Unknown(String),
    Ambiguous { given: String, fitting: Vec<String> },
    MissingValue(String),
    NeedlessValue(String),
}

/// Reads words as one command line after the other.
pub(crate) struct Reader {
    command: Command,
}

impl Reader {
    /// Takes the spellings of the options, `-c` or `--conf`, each with whether it takes a value.
    pub(crate) fn new(style: Style, options: impl IntoIterator<Item = (&'static str, bool)>) -> Self {
        let words = Arg::new(WORDS)
            .num_args(0..)
            .trailing_var_arg(style == Style::Getopt)
            .value_parser(ValueParser::os_string());
        let command = Command::new("f2b")
            .no_binary_name(true)
            .disable_help_flag(true)
            .disable_version_flag(true)
            .infer_long_args(true)
            .args(options.into_iter().map(|(spelling, takes_value)| option(spelling, takes_value)))
            .arg(words);
        Self { command }
    }

    /// Reads the arguments of a program, without its name.
    pub(crate) fn read(&mut self, words: &[OsString]) -> Line {
        let words: Vec<OsString> = words.iter().map(|word| veil(word)).collect();
        match self.command.try_get_matches_from_mut(&words) {
            Ok(matches) => line(&matches),
            Err(error) => {
                // An option ahead of the misuse may have answered the command line already.
                let command = self.command.clone().ignore_errors(true);
                let before = command.try_get_matches_from(&words).map(|matches| line(&matches));
                Line { misuse: Some(self.misuse(&error)), ..before.unwrap_or_default() }
            }
        }
    }

    fn misuse(&self, error: &clap::Error) -> Misuse {
        let argument = match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(argument)) => argument.replace('\0', "="),
            _ => String::new(),
        };
        // clap names the value too: `-c <...>`.
        let spelling = || argument.split(' ').next().unwrap_or_default().to_owned();
        match error.kind() {
            ErrorKind::InvalidValue => Misuse::MissingValue(spelling()),
            ErrorKind::TooManyValues => Misuse::NeedlessValue(spelling()),
            _ => self.no_such_option(argument),
        }
    }

    /// To clap a prefix of many options is as unknown as one of none.
    fn no_such_option(&self, given: String) -> Misuse {
        // A hyphen among short options, which are given one by one; a long one without a name still has its `=`.
        if !given.starts_with("--") || given == "--" {
            return Misuse::Unknown(given);
        }
        let given = given.split('=').next().unwrap_or_default();
        let spellings = self.command.get_arguments().map(|argument| argument.get_id().as_str());
        let mut fitting: Vec<String> =
            spellings.filter(|spelling| spelling.starts_with(given)).map(Into::into).collect();
        fitting.sort();
        match fitting.is_empty() {
            true => Misuse::Unknown(given.into()),
            false => Misuse::Ambiguous { given: given.into(), fitting },
        }
    }
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(given) => write!(f, "no such option: {given}"),
            Self::Ambiguous { given, fitting } => {
                write!(f, "ambiguous option: {given} ({}?)", fitting.join(", "))
            }
            Self::MissingValue(name) => write!(f, "{name} option requires 1 argument"),
            Self::NeedlessValue(name) => write!(f, "{name} option does not take a value"),
        }
    }
}

fn option(spelling: &'static str, takes_value: bool) -> Arg {
    let arg = Arg::new(spelling).value_parser(ValueParser::os_string());
    // Appended even without a value, for the place of each occurrence to be kept.
    let arg = arg.action(ArgAction::Append);
    let arg = match takes_value {
        true => arg.num_args(1).allow_hyphen_values(true),
        false => arg.num_args(0).default_missing_value(""),
    };
    match spelling.strip_prefix("--") {
        Some(name) => arg.long(name),
        None => arg.short(spelling.chars().nth(1)),
    }
}

fn line(matches: &ArgMatches) -> Line {
    let mut options = Vec::new();
    let mut words = Vec::new();
    for id in matches.ids() {
        let values = matches.get_raw(id.as_str()).into_iter().flatten().map(unveil);
        if id == WORDS {
            words.extend(values);
            continue;
        }
        let places = matches.indices_of(id.as_str()).into_iter().flatten();
        options.extend(places.zip(values.map(|value| Opt { name: id.as_str().into(), value })));
    }
    options.sort_by_key(|(place, _)| *place);
    Line { options: options.into_iter().map(|(_, option)| option).collect(), words, misuse: None }
}

/// Hides each `=` of a word that is no long option with a name: clap would take it off the value in `-c=x`, where Python
/// leaves it. What takes its place can't be in the argument of a program.
fn veil(word: &OsStr) -> OsString {
    let bytes = word.as_bytes();
    let is_long = bytes.starts_with(b"--") && !bytes.starts_with(b"--=");
    match bytes.starts_with(b"-") && !is_long {
        true => replace(bytes, b'=', b'\0'),
        false => word.to_owned(),
    }
}

fn unveil(word: &OsStr) -> OsString {
    replace(word.as_bytes(), b'\0', b'=')
}

fn replace(bytes: &[u8], from: u8, to: u8) -> OsString {
    OsString::from_vec(bytes.iter().map(|&byte| if byte == from { to } else { byte }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: [(&str, bool); 6] = [
        ("-h", false),
        ("-c", true),
        ("-v", false),
        ("--dp", false),
        ("--dump-pretty", false),
        ("--du", true),
    ];

    #[track_caller]
    fn check(args: &[&str], expected: Option<(&[(&str, &str)], usize)>) {
        let args: Vec<OsString> = args.iter().map(Into::into).collect();
        let found = Reader::new(Style::Getopt, OPTIONS).read(&args);
        let expected = expected.map(|(options, rest)| {
            (options.iter().map(|&(name, value)| (name.into(), value.into())).collect(), rest)
        });
        let options: Vec<_> =
            found.options.into_iter().map(|o| (o.name, o.value.to_string_lossy().into_owned())).collect();
        assert_eq!(found.misuse.is_none().then_some((options, found.words.len())), expected);
    }

    #[test]
    fn short_options_bundle() {
        check(
            &["-vhcX", "-c", "-v", "-", "-v"],
            Some((&[("-v", ""), ("-h", ""), ("-c", "X"), ("-c", "-v")], 2)),
        );
        check(&["-v", "--", "-h"], Some((&[("-v", "")], 1)));
        check(&["-:"], None);
        check(&["-c"], None);
        check(&["-vz"], None);
    }

    #[test]
    fn long_options_abbreviate() {
        check(
            &["--dum", "--du=", "--du", "x"],
            Some((&[("--dump-pretty", ""), ("--du", ""), ("--du", "x")], 0)),
        );
        check(&["--d"], None);
        check(&["--dp=1"], None);
        check(&["--du"], None);
        check(&["--="], None);
    }

    #[test]
    fn an_equals_sign_is_part_of_the_value_of_a_short_option() {
        check(
            &["-c=x", "-vc=", "-c", "-c=x"],
            Some((&[("-c", "=x"), ("-v", ""), ("-c", "="), ("-c", "-c=x")], 0)),
        );
        check(&["-v=x"], None);
    }

    #[test]
    fn arguments_need_not_be_text() {
        let word = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        let line = Reader::new(Style::Getopt, OPTIONS).read(&[
            word(b"-vc\xff=b"),
            word(b"--du=\xfe"),
            word(b"\xff="),
        ]);
        let values: Vec<_> = line.options.into_iter().map(|option| option.value).collect();
        assert_eq!(
            (values, line.words),
            (vec![word(b""), word(b"\xff=b"), word(b"\xfe")], vec![word(b"\xff=")])
        );
        assert_eq!(line.misuse, None);
    }

    #[test]
    fn what_stands_ahead_of_a_misuse_is_read() {
        let words = ["a", "-vc", "x", "--dp=1", "-h"].map(OsString::from);
        let line = Reader::new(Style::Optparse, OPTIONS).read(&words);
        let names: Vec<_> = line.options.iter().map(|option| option.name.as_str()).collect();
        assert_eq!((names, line.words), (vec!["-v", "-c"], vec!["a".into()]));
        assert_eq!(line.misuse, Some(Misuse::NeedlessValue("--dp".into())));
    }
}
