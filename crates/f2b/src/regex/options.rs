//! The command line, read as Python's `optparse` reads it: options anywhere, short ones bundled, long ones by any unique
//! prefix, and its words for what is wrong.

use std::ffi::OsString;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use f2b_types::{Level, VERSION};

use crate::cmdline::{DEFAULT_ROOT, program_name};

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

/// Names, the name of the value if it takes one, and the help.
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
            args: Vec::new(),
        }
    }
}

impl Options {
    /// Reads the arguments of the program, its name first.
    pub(super) fn parse(argv: &[OsString]) -> Result<Self, Stop> {
        let words: Vec<String> = argv.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let (program, words) = match words.split_first() {
            Some((program, words)) => (program.as_str(), words),
            None => ("f2b-regex", words.as_slice()),
        };
        let mut reader = Reader { program, words: words.iter(), options: Self::default() };
        reader.read()?;
        reader.options.check(program)
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

    fn set(&mut self, name: &str, value: Option<String>, program: &str) -> Result<(), Stop> {
        let text = || value.clone().unwrap_or_default();
        match name {
            "--version" => {
                let name = program_name(Path::new(program));
                return Err(Stop::Print(format!("{name} {VERSION}\n")));
            }
            "-h" => return Err(Stop::Print(help(program))),
            "-V" => return Err(Stop::Print(format!("{VERSION}\n"))),
            "-c" => self.config = text().into(),
            "-d" => self.date_pattern = value,
            "--timezone" => self.time_zone = value,
            "-e" => self.encoding = text(),
            "-r" => self.raw = true,
            "--usedns" => self.use_dns = value,
            "-l" => self.log_level = text(),
            "-v" => self.verbose += 1,
            "--verbose-date" => self.verbose_date = true,
            "-D" => self.debuggex = true,
            "--no-check-all" => self.check_all = false,
            "-o" => self.out = value,
            "-i" => self.invert = true,
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

/// Goes through the words of a command line.
struct Reader<'a> {
    program: &'a str,
    words: std::slice::Iter<'a, String>,
    options: Options,
}

/// An option by its first name, and whether it takes a value.
type Known = (&'static str, bool);

impl Reader<'_> {
    fn read(&mut self) -> Result<(), Stop> {
        while let Some(word) = self.words.next() {
            if word == "--" {
                self.options.args.extend(self.words.by_ref().cloned());
            } else if word.starts_with("--") {
                self.long(word)?;
            } else if word.starts_with('-') && word.len() > 1 {
                self.short(word)?;
            } else {
                self.options.args.push(word.clone());
            }
        }
        Ok(())
    }

    fn long(&mut self, word: &str) -> Result<(), Stop> {
        let (given, attached) = match word.split_once('=') {
            Some((given, value)) => (given, Some(value.to_owned())),
            None => (word, None),
        };
        let (name, (first, takes_value)) = self.complete(given)?;
        let value = match (takes_value, attached) {
            (true, Some(value)) => Some(value),
            (true, None) => Some(self.value(name)?),
            (false, Some(_)) => return Err(self.misuse(&format!("{name} option does not take a value"))),
            (false, None) => None,
        };
        self.set(name, first, value)
    }

    /// The long option that `given` is the start of.
    fn complete(&self, given: &str) -> Result<(&'static str, Known), Stop> {
        let known = |(names, value, _): &(&'static [&'static str], Option<&str>, &str)| {
            let first = names.first().copied().unwrap_or_default();
            names.iter().map(|name| (*name, (first, value.is_some()))).collect::<Vec<_>>()
        };
        let mut fitting: Vec<_> =
            OPTIONS.iter().flat_map(known).filter(|(name, _)| name.starts_with(given)).collect();
        if let Some(exact) = fitting.iter().find(|(name, _)| *name == given) {
            return Ok(*exact);
        }
        fitting.sort();
        match fitting.as_slice() {
            [] => Err(self.misuse(&format!("no such option: {given}"))),
            [only] => Ok(*only),
            many => {
                let names: Vec<_> = many.iter().map(|(name, _)| *name).collect();
                Err(self.misuse(&format!("ambiguous option: {given} ({}?)", names.join(", "))))
            }
        }
    }

    fn short(&mut self, word: &str) -> Result<(), Stop> {
        let mut rest = word.get(1..).unwrap_or("");
        while let Some(letter) = rest.chars().next() {
            rest = rest.get(letter.len_utf8()..).unwrap_or("");
            let name = format!("-{letter}");
            let Some((names, value, _)) = OPTIONS.iter().find(|(names, ..)| names.contains(&name.as_str()))
            else {
                return Err(self.misuse(&format!("no such option: {name}")));
            };
            let first = names.first().copied().unwrap_or_default();
            match (value, rest.is_empty()) {
                (None, _) => self.set(&name, first, None)?,
                (Some(_), false) => return self.set(&name, first, Some(rest.to_owned())),
                (Some(_), true) => {
                    let value = self.value(&name)?;
                    return self.set(&name, first, Some(value));
                }
            }
        }
        Ok(())
    }

    fn value(&mut self, name: &str) -> Result<String, Stop> {
        match self.words.next() {
            Some(value) => Ok(value.clone()),
            None => Err(self.misuse(&format!("{name} option requires 1 argument"))),
        }
    }

    fn set(&mut self, given: &str, first: &str, value: Option<String>) -> Result<(), Stop> {
        match first {
            "-L" => self.options.max_lines = self.number(given, value)?,
            "--verbosity" => self.options.verbose = self.number(given, value)?,
            first => self.options.set(first, value, self.program)?,
        }
        Ok(())
    }

    fn number(&self, name: &str, value: Option<String>) -> Result<i64, Stop> {
        let value = value.unwrap_or_default();
        value.trim().parse().map_err(|_| {
            self.misuse(&format!(
                "option {name}: invalid integer value: {}",
                f2b_protocol::Value::from(value.as_str())
            ))
        })
    }

    fn misuse(&self, what: &str) -> Stop {
        let name = program_name(Path::new(self.program));
        Stop::Misuse(format!("Usage: {}\n\n{name}: error: {what}\n", usage(self.program)))
    }
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
  filename              path of a log (/var/log/auth.log)
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
    help
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn misuse_is_explained_as_optparse_does() {
        check_misuse("--bogus", "no such option: --bogus");
        check_misuse("-x", "no such option: -x");
        check_misuse("-L x", "option -L: invalid integer value: 'x'");
        check_misuse("-c", "-c option requires 1 argument");
        check_misuse("--invert=1", "--invert option does not take a value");
        check_misuse("--print-no", "ambiguous option: --print-no (--print-no-ignored, --print-no-missed?)");
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
