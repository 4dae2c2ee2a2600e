//! Where the client writes: answers to standard output, everything else to standard error.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::OnceLock;
use std::time::Instant;

use anstream::{AutoStream, ColorChoice};
use anstyle::AnsiColor;
use f2b_types::{Level, Log, Record};
use jiff::tz::TimeZone;

use crate::clock;
use crate::logging::{asctime, full_name};

/// Standard output, or a text in its place.
#[derive(Debug)]
pub struct Output(Option<String>);

impl Output {
    /// Standard output.
    pub fn stdout() -> Self {
        Self(None)
    }

    /// Keeps what is written.
    pub fn collected() -> Self {
        Self(Some(String::new()))
    }

    /// Writes a text at once. A reader that has gone away does not matter.
    pub fn print(&mut self, text: &str) {
        match &mut self.0 {
            Some(collected) => collected.push_str(text),
            None => {
                let mut stdout = io::stdout().lock();
                let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
            }
        }
    }

    /// What was collected.
    pub fn text(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}

/// The log of a client, on standard error.
///
/// `-v` and `-q` choose the level, and more of `-v` another format: threads and times since the start take the place of
/// the process (`helpers.getVerbosityFormat`).
#[derive(Debug)]
pub struct Console {
    verbose: i32,
    /// Of no use to most commands, which have nothing to log.
    zone: OnceLock<TimeZone>,
    started: Instant,
}

impl Console {
    /// A log for 1 plus as many `-v`, minus as many `-q`.
    pub fn new(verbose: i32) -> Self {
        Self { verbose, zone: OnceLock::new(), started: Instant::now() }
    }

    /// Appends the line of a record that is written at the moment `now`.
    fn append(&self, record: &Record, now: &str, out: &mut String) {
        let Record { level, message, .. } = record;
        let name = full_name(&record.logger);
        let short = || level.to_string().chars().take(5).collect::<String>();
        let thread = || nix::unistd::gettid().as_raw();
        // A text takes all that it is given.
        let _ = match self.verbose {
            ..=2 => {
                writeln!(out, "{now} {name:<24}[{}]: {level:<7} {message}", std::process::id())
            }
            3 => writeln!(out, " {now} {:X} {:<5} {message}", thread(), short()),
            _ => {
                let since = self.started.elapsed().as_millis();
                let name: String = name.chars().take(25).collect();
                writeln!(out, " +{since:5} {:X} {name:<25} {:<5} {message}", thread(), short())
            }
        };
    }
}

impl Log for Console {
    fn enabled(&self, level: Level) -> bool {
        let from = match self.verbose {
            ..=0 => Level::ERROR,
            1 => Level::WARNING,
            2 => Level::INFO,
            3 => Level::DEBUG,
            _ => Level::HEAVYDEBUG,
        };
        level >= from
    }

    fn write(&self, record: Record) {
        self.write_all(vec![record]);
    }

    fn write_all(&self, records: Vec<Record>) {
        let mut heard = records.iter().filter(|record| self.enabled(record.level)).peekable();
        if heard.peek().is_none() {
            return;
        }
        let has_colours = AutoStream::choice(&io::stderr()) != ColorChoice::Never;
        let now = asctime(clock::now(), self.zone.get_or_init(clock::local_zone));
        let mut lines = String::new();
        for record in heard {
            let start = lines.len();
            self.append(record, &now, &mut lines);
            if has_colours {
                let line = painted(record.level, &lines[start..]);
                lines.truncate(start);
                lines.push_str(&line);
            }
        }
        let _ = io::stderr().write_all(lines.as_bytes());
    }
}

/// A line for a terminal: what is wrong stands out. Where in a file it stands, below it, is left as it is.
fn painted(level: Level, line: &str) -> String {
    let style = match level {
        level if level >= Level::ERROR => AnsiColor::Red.on_default(),
        level if level >= Level::WARNING => AnsiColor::Yellow.on_default(),
        _ => return line.to_owned(),
    };
    let (first, rest) = line.split_once('\n').unwrap_or((line, ""));
    format!("{style}{first}{style:#}\n{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_stands_out_on_a_terminal() {
        assert_eq!(painted(Level::INFO, "x\n"), "x\n");
        assert_eq!(painted(Level::WARNING, "x\n"), "\u{1b}[33mx\u{1b}[0m\n");
        assert_eq!(painted(Level::ERROR, "x\n --> y\n"), "\u{1b}[31mx\u{1b}[0m\n --> y\n");
    }

    #[track_caller]
    fn check(verbose: i32, ending: &str) {
        let console = Console::new(verbose);
        let mut line = String::new();
        console.append(&Record::new(Level::WARNING, "beautifier", "text"), "12:00", &mut line);
        let pid = std::process::id().to_string();
        let thread = format!("{:X}", nix::unistd::gettid().as_raw());
        let ending = ending.replace("PID", &pid).replace("TID", &thread);
        assert!(line.ends_with(&ending), "{line:?} does not end with {ending:?}");
    }

    #[test]
    fn lines_have_upstreams_columns() {
        check(1, " fail2ban.beautifier     [PID]: WARNING text\n");
        check(3, " TID WARNI text\n");
        check(4, " TID fail2ban.beautifier       WARNI text\n");
        assert!(!Console::new(0).enabled(Level::WARNING));
        assert!(Console::new(1).enabled(Level::WARNING));
    }
}
