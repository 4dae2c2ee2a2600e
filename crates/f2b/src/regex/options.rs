//! The command line, read as Python's `optparse` reads it: options anywhere, short ones bundled, long ones by any unique
//! prefix, and its words for what is wrong.

use std::ffi::OsString;
use std::fmt::{Display, Write};
use std::path::{Path, PathBuf};

use f2b_types::{Level, VERSION};

use crate::cmdline::{DEFAULT_ROOT, Opt, Reader, Style, program_name};

/// What was asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Options {
    pub(super) config: PathBuf,
    pub(super) date_pattern: Option<String>,
    pub(super) time_zone: Option<String>,
    pub(super) encoding: String,
    pub(super) raw: bool,
    pub(super) use_dns: Option<String>,
    pub(super) max_lines: i64,
    pub(super) journal_match: Option<String>,
    pub(super) log_level: String,
    pub(super) verbose: i64,
    pub(super) verbose_date: bool,
    pub(super) debuggex: bool,
    pub(super) check_all: bool,
    pub(super) out: Option<String>,
    pub(super) invert: bool,
    pub(super) print_no_missed: bool,
    pub(super) print_no_ignored: bool,
    pub(super) print_all_matched: bool,
    pub(super) print_all_missed: bool,
    pub(super) print_all_ignored: bool,
    /// One object of JSON for each line, and a summary.
    pub(super) json: bool,
    /// Why lines were missed.
    pub(super) explain: bool,
    /// What each expression costs.
    pub(super) profile: bool,
    /// The lines are entries in JSON.
    pub(super) log_format: Option<String>,
    /// The log, the regex and maybe the ignoreregex.
    pub(super) args: Vec<String>,
}

/// Why there is nothing to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// The command line asked for a text.
    Print(String),
    /// An option is wrong; for standard error, exit status 2.
    Misuse(String),
    /// Words are missing or contradict each other; the help, and the reasons for standard error.
    Contradiction { help: String, reasons: String },
}

/// Spellings, the name of the value if it takes one, and the help.
const OPTIONS: &[(&[&str], Option<&str>, &str)] = &[
    (&["--version"], None, "show the version of the program and exit"),
    (&["-h", "--help"], None, "show this help and exit"),
    (&["-c", "--config"], Some("CONFIG"), "directory of the configuration"),
    (&["-d", "--datepattern"], Some("DATEPATTERN"), "pattern of the dates in the log"),
    (&["--timezone", "--TZ"], Some("TIMEZONE"), "time zone of dates that name none"),
    (&["-e", "--encoding"], Some("ENCODING"), "encoding of the log; UTF-8 unless given"),
    (&["-r", "--raw"], None, "take host names as they are, don't resolve them"),
    (
        &["--usedns"],
        Some("USEDNS"),
        "whether <HOST> takes host names (yes, warn, raw) or addresses only (no)",
    ),
    (&["-L", "--maxlines"], Some("MAXLINES"), "how many lines an expression sees at once"),
    (
        &["-m", "--journalmatch"],
        Some("JOURNALMATCH"),
        "what to read of the journal instead of what the filter says",
    ),
    (&["-l", "--log-level"], Some("LOG_LEVEL"), "level from which on log messages are shown"),
    (&["-V"], None, "print the version only"),
    (&["-v", "--verbose"], None, "say more"),
    (&["--verbosity"], Some("VERBOSE"), "how much to say, from 0 to 4"),
    (&["--verbose-date", "--VD"], None, "show patterns and expressions of the date templates"),
    (&["-D", "--debuggex"], None, "print links to debuggex.com"),
    (&["--no-check-all"], None, "stop at the first expression that matches a line"),
    (
        &["-o", "--out"],
        Some("OUT"),
        "print of each failure this only (row, id, ip, msg, host, ip4, ip6, dns, user, ...)",
    ),
    (&["-i", "--invert"], None, "with --out: print what does not match"),
    (&["--print-no-missed"], None, "don't print lines that don't match"),
    (&["--print-no-ignored"], None, "don't print ignored lines"),
    (&["--print-all-matched"], None, "print all lines that match"),
    (&["--print-all-missed"], None, "print all lines that don't match, however many"),
    (&["--print-all-ignored"], None, "print all ignored lines, however many"),
    (&["-t", "--log-traceback"], None, "accepted and without effect"),
    (&["--full-traceback"], None, "accepted and without effect"),
];

/// What fail2ban-regex doesn't have. These have to be spelled out, so that its own can be shortened as ever.
const EXTENSIONS: &[(&str, &str)] = &[
    ("--json", "print an object of JSON for each line, and one with the summary"),
    ("--explain", "say of missed lines which expression got farthest, and where it broke"),
    ("--profile", "say what each failregex costs, and which are not linear"),
    ("--logformat=FORMAT", "read JSON: docker-json, or json[message=<key>, time=<key>]"),
];

/// Every spelling of an option.
pub(crate) fn spellings() -> impl Iterator<Item = &'static str> {
    let own = OPTIONS.iter().flat_map(|(names, _, _)| names.iter().copied());
    let beyond = EXTENSIONS.iter().map(|(name, _)| name.split_once('=').map_or(*name, |(name, _)| name));
    own.chain(beyond)
}

impl Default for Options {
    fn default() -> Self {
        Self {
            config: DEFAULT_ROOT.into(),
            date_pattern: None,
            time_zone: None,
            encoding: "UTF-8".into(),
            raw: false,
            use_dns: None,
            max_lines: 0,
            journal_match: None,
            log_level: "critical".into(),
            verbose: 0,
            verbose_date: false,
            debuggex: false,
            check_all: true,
            out: None,
            invert: false,
            print_no_missed: false,
            print_no_ignored: false,
            print_all_matched: false,
            print_all_missed: false,
            print_all_ignored: false,
            json: false,
            explain: false,
            profile: false,
            log_format: None,
            args: Vec::new(),
        }
    }
}

impl Options {
    /// Reads the arguments of the program, its name first.
    pub(super) fn parse(argv: &[OsString]) -> Result<Self, Stop> {
        let (program, words) = match argv {
            [program, words @ ..] => (&*program.to_string_lossy(), words),
            [] => ("f2b-regex", argv),
        };
        // Words travel as text; bytes that are none are replaced.
        let mut words: Vec<OsString> = words.iter().map(|word| text(word).into()).collect();
        let mut options = Self::default();
        options.take_extensions(&mut words).map_err(|what| misuse(program, what))?;
        let line = reader().read(&words);
        options.args = line.words.iter().map(text).collect();
        for Opt { name, value } in &line.options {
            options.set(name, text(value), program)?;
        }
        match line.misuse {
            Some(what) => Err(misuse(program, what)),
            None => options.check(program),
        }
    }

    fn take_extensions(&mut self, words: &mut Vec<OsString>) -> Result<(), &'static str> {
        let (mut ended, mut is_value) = (false, false);
        words.retain(|word| {
            if std::mem::take(&mut is_value) {
                self.log_format = Some(text(word));
                return false;
            }
            ended |= word == "--";
            if let Some(rest) = word.to_str().and_then(|word| word.strip_prefix("--logformat"))
                && !ended
            {
                match rest.strip_prefix('=') {
                    Some(format) => self.log_format = Some(format.into()),
                    None if rest.is_empty() => is_value = true,
                    None => return true,
                }
                return false;
            }
            let set = match word.to_str() {
                Some("--json") => &mut self.json,
                Some("--explain") => &mut self.explain,
                Some("--profile") => &mut self.profile,
                _ => return true,
            };
            *set |= !ended;
            ended
        });
        if is_value { Err("--logformat option requires 1 argument") } else { Ok(()) }
    }

    /// The level from which on log messages are shown.
    pub(super) fn level(&self) -> Result<Level, String> {
        self.log_level.parse()
    }

    fn check(self, program: &str) -> Result<Self, Stop> {
        let exclusive = |a: bool, b: bool, what: &str| {
            (a && b)
                .then(|| format!("ERROR: --print-no-{what} and --print-all-{what} are mutually exclusive."))
        };
        let wrong_count = !matches!(self.args.len(), 2 | 3);
        let reasons: Vec<String> = [
            exclusive(self.print_no_missed, self.print_all_missed, "missed"),
            exclusive(self.print_no_ignored, self.print_all_ignored, "ignored"),
            wrong_count.then(|| "ERROR: provide both <LOG> and <REGEX>.".into()),
        ]
        .into_iter()
        .flatten()
        .collect();
        match reasons.is_empty() {
            true => Ok(self),
            false => Err(Stop::Contradiction { help: help(program), reasons: reasons.join("\n") }),
        }
    }

    fn set(&mut self, name: &str, value: String, program: &str) -> Result<(), Stop> {
        let number = || {
            let quoted = || f2b_protocol::Value::from(value.as_str());
            integer(&value).ok_or_else(|| {
                misuse(program, format_args!("option {name}: invalid integer value: {}", quoted()))
            })
        };
        match name {
            "--version" => {
                let name = program_name(Path::new(program));
                return Err(Stop::Print(format!("{name} {VERSION}\n")));
            }
            "-h" | "--help" => return Err(Stop::Print(help(program))),
            "-V" => return Err(Stop::Print(format!("{VERSION}\n"))),
            "-c" | "--config" => self.config = value.into(),
            "-d" | "--datepattern" => self.date_pattern = Some(value),
            "--timezone" | "--TZ" => self.time_zone = Some(value),
            "-e" | "--encoding" => self.encoding = value,
            "-r" | "--raw" => self.raw = true,
            "--usedns" => self.use_dns = Some(value),
            "-L" | "--maxlines" => self.max_lines = number()?,
            "-m" | "--journalmatch" => self.journal_match = Some(value),
            "-l" | "--log-level" => self.log_level = value,
            "-v" | "--verbose" => self.verbose = self.verbose.saturating_add(1),
            "--verbosity" => self.verbose = number()?,
            "--verbose-date" | "--VD" => self.verbose_date = true,
            "-D" | "--debuggex" => self.debuggex = true,
            "--no-check-all" => self.check_all = false,
            "-o" | "--out" => self.out = Some(value).filter(|form| !form.is_empty()),
            "-i" | "--invert" => self.invert = true,
            "--print-no-missed" => self.print_no_missed = true,
            "--print-no-ignored" => self.print_no_ignored = true,
            "--print-all-matched" => self.print_all_matched = true,
            "--print-all-missed" => self.print_all_missed = true,
            "--print-all-ignored" => self.print_all_ignored = true,
            _ => {}
        }
        Ok(())
    }
}

fn reader() -> Reader {
    let spellings = |(names, value, _): &(&'static [&'static str], Option<&str>, &str)| {
        let takes_value = value.is_some();
        names.iter().map(move |name| (*name, takes_value))
    };
    Reader::new(Style::Optparse, OPTIONS.iter().flat_map(spellings))
}

/// A whole number, decimal or as its prefix says (`optparse._parse_int`); `None` for what is none, and beyond 64 bits.
fn integer(text: &str) -> Option<i64> {
    let text = text.to_ascii_lowercase();
    let (digits, radix) = match text.get(..2) {
        Some("0x") => (text.get(2..)?, 16),
        Some("0o") => (text.get(2..)?, 8),
        Some("0b") => (text.get(2..)?, 2),
        _ if text.starts_with('0') => (text.as_str(), 8),
        _ => (text.trim_start(), 10),
    };
    let is_signed = digits.starts_with(['+', '-']);
    if is_signed && radix != 10 { None } else { i64::from_str_radix(digits.trim_end(), radix).ok() }
}

fn misuse(program: &str, what: impl Display) -> Stop {
    let name = program_name(Path::new(program));
    Stop::Misuse(format!("Usage: {}\n\n{name}: error: {what}\n", usage(program)))
}

fn text(word: &OsString) -> String {
    word.to_string_lossy().into_owned()
}

fn usage(program: &str) -> String {
    format!("{program} [OPTIONS] <LOG> <REGEX> [IGNOREREGEX]")
}

/// The help.
fn help(program: &str) -> String {
    let mut help = format!(
        "Usage: {}

Tries regular expressions of fail2ban, its filters and its jails on log lines.

LOG:
  string                a log line
  filename              path of a log (/var/log/auth.log), which may be
                        compressed (.gz, .xz, .zst)
  -                     standard input
  systemd-journal       the systemd journal, optionally with parameters of the
                        backend (systemd-journal[journalflags=1])

REGEX:
  string                a failregex
  filter                name of a jail or a filter, optionally with options
                        (sshd[mode=aggressive])
  filename              path of a filter (filter.d/sshd.conf)

IGNOREREGEX:
  string                an ignoreregex

Options:
",
        usage(program)
    );
    for (names, value, text) in OPTIONS {
        let spelled: Vec<String> = names
            .iter()
            .map(|name| match value {
                Some(value) if name.starts_with("--") => format!("{name}={value}"),
                Some(value) => format!("{name} {value}"),
                None => (*name).to_owned(),
            })
            .collect();
        let spelled = spelled.join(", ");
        // Writing into a String never fails.
        let _ = match spelled.len() {
            ..=21 => writeln!(help, "  {spelled:<21} {text}"),
            _ => writeln!(help, "  {spelled}\n{:24}{text}", ""),
        };
    }
    help.push_str("\nBeyond fail2ban-regex:\n");
    for (name, text) in EXTENSIONS {
        let _ = writeln!(help, "  {name:<21} {text}");
    }
    help
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::cmdline::differential;

    fn parse(line: &str) -> Result<Options, Stop> {
        let argv: Vec<OsString> =
            ["/bin/f2b-regex"].into_iter().chain(line.split(' ')).map(Into::into).collect();
        Options::parse(&argv)
    }

    #[track_caller]
    fn check(line: &str, expected: impl FnOnce(&mut Options)) {
        let mut options = Options { args: vec!["log".into(), "regex".into()], ..Options::default() };
        expected(&mut options);
        assert_eq!(parse(line), Ok(options));
    }

    #[track_caller]
    fn check_misuse(line: &str, expected: &str) {
        let usage = "Usage: /bin/f2b-regex [OPTIONS] <LOG> <REGEX> [IGNOREREGEX]\n\nf2b-regex: error: ";
        assert_eq!(parse(line), Err(Stop::Misuse(format!("{usage}{expected}\n"))));
    }

    #[test]
    fn options_stand_anywhere() {
        check("log regex", |_| {});
        check("log -vv regex --print-all-mat", |o| (o.verbose, o.print_all_matched) = (2, true));
        check("-L5 log --usedns=no regex -o row -i", |o| {
            (o.max_lines, o.use_dns, o.out, o.invert) = (5, Some("no".into()), Some("row".into()), true);
        });
        check("--TZ UTC -- log regex", |o| o.time_zone = Some("UTC".into()));
        check("-rvD log regex --verbosity 3 --verbose-d", |o| {
            (o.raw, o.verbose, o.debuggex, o.verbose_date) = (true, 3, true, true);
        });
        check("-c /x log regex ignore", |o| {
            o.config = "/x".into();
            o.args.push("ignore".into());
        });
    }

    #[test]
    fn our_own_options_have_to_be_spelled_out() {
        check("log --json regex --explain --profile", |o| {
            (o.json, o.explain, o.profile) = (true, true, true)
        });
        check("log regex --e latin1", |o| o.encoding = "latin1".into());
        check("log -- regex --json", |o| o.args.push("--json".into()));
        check_misuse("--jso", "no such option: --jso");
    }

    #[test]
    fn misuse_is_explained_as_optparse_does() {
        check_misuse("--bogus", "no such option: --bogus");
        check_misuse("-x", "no such option: -x");
        check_misuse("-L x", "option -L: invalid integer value: 'x'");
        check_misuse("-c", "-c option requires 1 argument");
        check_misuse("--invert=1", "--invert option does not take a value");
        check_misuse("--print-no", "ambiguous option: --print-no (--print-no-ignored, --print-no-missed?)");
    }

    #[test]
    fn numbers_are_read_as_optparse_reads_them() {
        for (text, number) in [
            ("5", Some(5)),
            (" -5 ", Some(-5)),
            ("0", Some(0)),
            ("0x1F", Some(31)),
            ("0b11", Some(3)),
            ("010", Some(8)),
            ("0o10", Some(8)),
            ("08", None),
            ("0x", None),
            ("0x-1", None),
            ("", None),
            ("1.0", None),
        ] {
            assert_eq!(integer(text), number, "{text:?}");
        }
    }

    /// Calls back for every option; `stop` are those that answer the command line.
    const OPTPARSE: &str = r#"
import json, optparse, sys
class Stop(Exception): pass
class Parser(optparse.OptionParser):
    def error(self, message): raise Stop({"misuse": message})
table, lines = json.load(sys.stdin)
def stop(option, name, value, parser): raise Stop({"stop": name})
def found(option, name, value, parser): parser.found.append([name, value])
parser = Parser(add_help_option=False)
for names, kind in table:
    types = {"text": "string", "number": "int"}
    parser.add_option(*names, action="callback", callback=stop if kind == "stop" else found, type=types.get(kind))
answers = []
for line in lines:
    parser.found = []
    try: words = parser.parse_args(line)[1]
    except Stop as stopped: answers.append(stopped.args[0])
    else: answers.append({"options": parser.found, "words": words})
json.dump(answers, sys.stdout)
"#;

    fn kind(names: &[&str], value: Option<&str>) -> &'static str {
        match (names, value) {
            (["-L", ..] | ["--verbosity"], _) => "number",
            (["-h", ..] | ["--version"] | ["-V"], _) => "stop",
            (_, Some(_)) => "text",
            (_, None) => "flag",
        }
    }

    fn ours(words: &[String]) -> Json {
        let argv: Vec<OsString> =
            ["f2b-regex"].into_iter().chain(words.iter().map(String::as_str)).map(Into::into).collect();
        let line = reader().read(&argv[1..]);
        match Options::parse(&argv) {
            Err(Stop::Misuse(text)) => {
                return json!({ "misuse": text.split_once("error: ").unwrap().1.strip_suffix('\n') });
            }
            Err(Stop::Print(_)) => {
                let stops = |option: &&Opt| matches!(&*option.name, "-h" | "--help" | "--version" | "-V");
                return json!({ "stop": line.options.iter().find(stops).unwrap().name });
            }
            _ => {}
        }
        let options = line.options.iter().map(|Opt { name, value }| {
            let (names, metavar, _) = OPTIONS.iter().find(|(names, ..)| names.contains(&&**name)).unwrap();
            match kind(names, *metavar) {
                "number" => json!([name, integer(&text(value))]),
                "text" => json!([name, text(value)]),
                _ => json!([name, null]),
            }
        });
        let words: Vec<_> = line.words.iter().map(text).collect();
        json!({ "options": options.collect::<Vec<_>>(), "words": words })
    }

    #[test]
    fn generated_command_lines_are_read_as_by_optparse() {
        let spellings: Vec<_> = OPTIONS
            .iter()
            .flat_map(|(names, value, _)| names.iter().map(|name| (*name, value.is_some())))
            .collect();
        let lines = differential::generate(&spellings, &["é", "-é", "0x1F", "08", "7", "-7", "1 ", "--verb"]);
        let lines: Vec<Vec<String>> = lines
            .iter()
            .map(|line| line.iter().map(|w| String::from_utf8(w.clone()).unwrap()).collect())
            .collect();
        let table: Vec<_> =
            OPTIONS.iter().map(|(names, value, _)| json!([names, kind(names, *value)])).collect();
        differential::compare(OPTPARSE, &json!([table, lines]), lines.iter().map(|line| ours(line)));
    }

    #[test]
    fn two_or_three_words_are_wanted() {
        for (line, reason) in [
            ("log", "ERROR: provide both <LOG> and <REGEX>."),
            (
                "a b --print-no-missed --print-all-missed",
                "ERROR: --print-no-missed and --print-all-missed are mutually exclusive.",
            ),
        ] {
            let Err(Stop::Contradiction { reasons, .. }) = parse(line) else { panic!("{line}") };
            assert_eq!(reasons, reason);
        }
    }

    #[test]
    fn versions_are_printed() {
        assert_eq!(parse("-V"), Err(Stop::Print(format!("{VERSION}\n"))));
        assert_eq!(parse("--version"), Err(Stop::Print(format!("f2b-regex {VERSION}\n"))));
    }
}
