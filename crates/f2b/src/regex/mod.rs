//! `f2b-regex LOG REGEX [IGNOREREGEX]`: tries expressions, filters and jails on log lines, and reports.
//!
//! Reports read as `fail2ban-regex` writes them (`client/fail2banregex.py`), to the letter but for the time it took.
//!
//! | module | what it does |
//! |---|---|
//! | `options` | the command line, read as Python's `optparse` reads it |
//! | `rules` | the expressions, from a filter, a jail or the command line |
//! | `lines` | the lines, from a file or the command line |
//! | `ahead` | those of a file, read on a thread of its own that finds their dates |
//! | `journal` | entries of the journal |
//! | `hosts` | the addresses of host names |
//! | `beyond` | what fail2ban-regex has not: JSON, explanations, profiles |
//! | `progress`, `colour` | for terminals: how far a log has been read, and the colours of the report |
//! | `packed` | compressed logs |
//! | `run` | all lines of a source, one after the other |
//! | `trial` | a line through the filter, and what becomes of it |
//! | `report` | the report at the end |
//! | `tokens` | `--out`: only what was found, in a given form |
//! | `output` | where all that goes |

mod ahead;
mod beyond;
mod colour;
mod hosts;
mod journal;
mod lines;
mod options;
mod output;
mod packed;
mod progress;
mod report;
mod rules;
mod run;
mod tokens;
mod trial;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use f2b_filter::{Clock, Encoding};
use f2b_types::Level;

use self::journal::JournalLines;
use self::lines::{FileLines, shorten};
pub(crate) use self::options::spellings;
use self::options::{Options, Stop};
use self::output::Output;
use self::run::Source;
use self::trial::Trial;

/// What upstream leaves when it gives up.
const FAILURE: u8 = 255;

/// What `optparse` leaves after a misuse.
const MISUSE: u8 = 2;

/// Lines of a given text that are repeated in the report.
const SHOWN_LINES: usize = 5;

/// Why a trial ended early.
#[derive(Debug)]
enum Failure {
    /// The log or standard output failed.
    Io(io::Error),
    /// The reason was printed already.
    Reported,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Runs the program with its arguments, its own name first.
pub fn run(argv: impl IntoIterator<Item = OsString>) -> ExitCode {
    let argv: Vec<OsString> = argv.into_iter().collect();
    let options = match Options::parse(&argv) {
        Ok(options) => options,
        Err(stop) => return answer(stop),
    };
    let level = options.level();
    let quiet = options.out.is_some() || options.json;
    let mut out = Output::new(quiet, *level.as_ref().unwrap_or(&Level::CRITICAL), options.verbose);
    let result = match level {
        Ok(_) => trial(&options, &mut out),
        Err(error) => say_title(&mut out)
            .and_then(|()| out.fail(&error))
            .map_err(Failure::from)
            .and(Err(Failure::Reported)),
    };
    let result = result
        .and_then(|()| Ok(out.flush()?))
        .or_else(|failure| out.flush().map_err(Failure::from).and(Err(failure)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the report has seen enough.
        Err(Failure::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Failure::Io(error)) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::from(FAILURE)
        }
        Err(Failure::Reported) => ExitCode::from(FAILURE),
    }
}

/// Prints what a command line without a trial gets. If nobody listens, nothing is left to be done.
fn answer(stop: Stop) -> ExitCode {
    match stop {
        Stop::Print(text) => {
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Stop::Misuse(text) => {
            let _ = io::stderr().write_all(text.as_bytes());
            ExitCode::from(MISUSE)
        }
        Stop::Contradiction { help, reasons } => {
            let _ = io::stdout().write_all(help.as_bytes());
            let _ = writeln!(io::stderr(), "\n{reasons}");
            ExitCode::from(FAILURE)
        }
    }
}

fn say_title(out: &mut Output) -> io::Result<()> {
    ["", "Running tests", "=============", ""].into_iter().try_for_each(|line| out.say(line))
}

/// Reads the expressions and the lines, tries them and reports.
fn trial(options: &Options, out: &mut Output) -> Result<(), Failure> {
    let [log, regex, ignore @ ..] = options.args.as_slice() else { return Err(Failure::Reported) };
    say_title(out)?;
    let mut trial = Trial::new(options, Clock::new(crate::clock::now(), crate::clock::local_zone()), out)?;
    let is_journal = log.starts_with("systemd-journal");
    let backend = if is_journal { "systemd" } else { "auto" };
    rules::read_failregex(&mut trial, regex, options, backend, out)?;
    if let [ignore] = ignore {
        rules::read_ignoreregex(&mut trial, ignore, out)?;
    }
    let source = if log == "-" || trial::is_file(log) {
        open(log, options, out)?
    } else if is_journal {
        let encoding = encoding(options, out)?;
        Source::Journal(JournalLines::open(log, encoding, options, &mut trial, out)?)
    } else {
        given(log, trial.filter.max_lines(), out)?
    };
    out.say("")?;
    run::run(&mut trial, source, options, out)?;
    match options.out {
        Some(_) => Ok(()),
        None if options.json => Ok(out.print(&beyond::summary_json(&trial).to_string())?),
        None => Ok(report::print(&trial, options, out)?),
    }
}

fn encoding(options: &Options, out: &mut Output) -> Result<Encoding, Failure> {
    match Encoding::parse(&options.encoding) {
        Ok(encoding) => Ok(encoding),
        Err(error) => Err(out.give_up(&error.to_string())?),
    }
}

fn open(log: &str, options: &Options, out: &mut Output) -> Result<Source, Failure> {
    let encoding = encoding(options, out)?;
    let lines = match log {
        "-" => FileLines::standard_input(encoding),
        path => FileLines::open(Path::new(path), encoding),
    };
    match lines {
        Ok(mut lines) => {
            lines.set_log_level(out.level());
            out.say(&format!("Use         log file : {log}"))?;
            out.say(&format!("Use         encoding : {}", options.encoding))?;
            Ok(Source::File(lines))
        }
        Err(error) => {
            out.print(&python_error(&error, log))?;
            Err(Failure::Reported)
        }
    }
}

/// An error of a file as Python prints it.
fn python_error(error: &io::Error, path: &str) -> String {
    match error.raw_os_error() {
        Some(number) => {
            let text = nix::errno::Errno::from_raw(number).desc();
            format!("[Errno {number}] {text}: {}", f2b_filter::repr(path))
        }
        None => error.to_string(),
    }
}

/// The lines that the word on the command line is.
fn given(log: &str, max_lines: usize, out: &mut Output) -> Result<Source, Failure> {
    if max_lines <= 1 && !log.contains('\n') {
        out.say(&format!("Use      single line : {}", shorten(log)))?;
        return Ok(Source::Given(vec![log.to_owned()].into_iter()));
    }
    let lines: Vec<String> = log.split('\n').map(Into::into).collect();
    out.say(&format!("Use      multi line : {} line(s)", lines.len()))?;
    for (index, line) in lines.iter().enumerate().take(SHOWN_LINES) {
        out.say(&format!("| {:>2}: {}", index + 1, shorten(line)))?;
    }
    if lines.len() > SHOWN_LINES {
        out.say("| ...")?;
    }
    out.say("`-")?;
    Ok(Source::Given(lines.into_iter()))
}
