//! Where the report goes: standard output, kept in order with the log messages that are asked for.

use std::io::{self, BufWriter, Stdout, Write};

use f2b_types::{Level, Record};

/// Standard output.
pub(super) struct Output {
    out: BufWriter<Stdout>,
    /// With `--out` only what was found is printed, and errors.
    quiet: bool,
    level: Level,
    verbose: i64,
}

impl Output {
    pub(super) fn new(quiet: bool, level: Level, verbose: i64) -> Self {
        Self { out: BufWriter::new(io::stdout()), quiet, level, verbose }
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
        self.out.write_all(line.as_bytes())?;
        self.out.write_all(b"\n")
    }

    /// Messages for the log, as far as they are asked for.
    pub(super) fn log(&mut self, records: impl IntoIterator<Item = Record>) -> io::Result<()> {
        let level = self.level;
        for record in records.into_iter().filter(|record| record.level >= level) {
            let line = match self.verbose {
                ..=1 => format!("{:.1}: {}", record.level.to_string(), record.message),
                _ => format!(" {}", record.message),
            };
            self.print(&line)?;
        }
        Ok(())
    }

    /// Several lines with a frame at their left.
    pub(super) fn list(&mut self, lines: &[String], header: Option<&str>) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let header = header.map_or_else(String::new, |header| format!("|- {header}\n"));
        self.print(&format!("{header}|  {}\n`-", lines.join("\n|  ")))
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
