//! Where the report goes: standard output, kept in order with the log messages that are asked for.

use std::io::{self, BufWriter, Stdout, Write};
use std::time::Instant;

use f2b_types::{Level, Record};
use jiff::tz::TimeZone;

use super::{Failure, colour};
use crate::logging::{asctime, full_name};

/// Standard output.
pub(super) struct Output {
    out: BufWriter<Stdout>,
    /// With `--out` only what was found is printed, and errors.
    quiet: bool,
    level: Level,
    verbose: i64,
    zone: TimeZone,
    start: Instant,
    colour: bool,
}

impl Output {
    pub(super) fn new(quiet: bool, level: Level, verbose: i64) -> Self {
        let zone = crate::clock::local_zone();
        Self {
            out: BufWriter::new(io::stdout()),
            quiet,
            level,
            verbose,
            zone,
            start: Instant::now(),
            colour: colour::is_wanted(),
        }
    }

    /// Whether messages for whoever looks for a fault are shown.
    pub(super) fn is_debug(&self) -> bool {
        self.level <= Level::DEBUG
    }

    /// Whether something is printed while lines are tried.
    pub(super) fn prints_lines(&self) -> bool {
        self.quiet || self.is_debug()
    }

    /// The level from which on messages are shown.
    pub(super) fn level(&self) -> Level {
        self.level
    }

    /// Says why there is nothing to try. Who wants to know more gets it as a message for the log.
    pub(super) fn fail(&mut self, error: &str) -> io::Result<()> {
        match self.verbose > 0 || self.is_debug() {
            true => self.log([Record::new(Level::CRITICAL, "", error)]),
            false => self.print(&format!("ERROR: {error}")),
        }
    }

    /// The same, as the reason to end.
    pub(super) fn give_up(&mut self, error: &str) -> io::Result<Failure> {
        self.fail(error)?;
        Ok(Failure::Reported)
    }

    /// A line of the report.
    pub(super) fn say(&mut self, line: &str) -> io::Result<()> {
        match self.quiet {
            true => Ok(()),
            false => self.print(line),
        }
    }

    /// A line that is printed in any case.
    pub(super) fn print(&mut self, line: &str) -> io::Result<()> {
        match self.colour && !self.quiet {
            true => self.write(&colour::paint(line)),
            false => self.write(line),
        }
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        self.out.write_all(line.as_bytes())?;
        self.out.write_all(b"\n")
    }

    /// Messages for the log, as far as they are asked for.
    pub(super) fn log(&mut self, records: impl IntoIterator<Item = Record>) -> io::Result<()> {
        let level = self.level;
        for record in records.into_iter().filter(|record| record.level >= level) {
            let (time, name) = (asctime(crate::clock::now(), &self.zone), full_name(&record.logger));
            let (level, message) = (record.level.to_string(), record.message);
            let process = std::process::id();
            let elapsed = self.start.elapsed().as_millis();
            // Upstream shows the number of the thread too, of which there is one.
            let line = match self.verbose {
                ..=1 => format!("{time} {name:<24}[{process}]: {level:<7}{level:.1}: {message}"),
                2 => format!(" {time:<15} {process:X} {level:<5.5} {message}"),
                3 => format!(" +{elapsed:5} {process:X} {name:<25.25} {level:<5.5} {message}"),
                _ => {
                    let number = record.level.0;
                    format!(
                        " +{elapsed:5} {process:X} {name:<25.25} {level:<5.5} | {:>15}-{number:<2}: {:<20} | {message}",
                        "helpers", "__safeLog"
                    )
                }
            };
            self.write(&line)?;
        }
        Ok(())
    }

    /// Several lines with a frame at their left.
    pub(super) fn list(&mut self, lines: &[String], header: Option<&str>) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let header = match header {
            None => String::new(),
            Some(header) if self.colour => format!("|- {}\n", colour::paint_header(header)),
            Some(header) => format!("|- {header}\n"),
        };
        self.write(&format!("{header}|  {}\n`-", lines.join("\n|  ")))
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
