//! All lines of a source, tried one after the other.

use std::time::Instant;

use f2b_filter::OpenMessages;
use f2b_types::Level;

use super::Failure;
use super::ahead::{self, Finders};
use super::journal::JournalLines;
use super::lines::{self, FileLines, Line};
use super::options::Options;
use super::output::Output;
use super::progress::Progress;
use super::tokens::Tokens;
use super::trial::Trial;

/// Where the lines come from.
pub(super) enum Source {
    File(FileLines),
    Given(std::vec::IntoIter<String>),
    Journal(JournalLines),
}

impl Source {
    /// Bytes of all its lines, if that is known.
    fn size(&self) -> Option<u64> {
        match self {
            Self::File(lines) => lines.size(),
            Self::Given(_) | Self::Journal(_) => None,
        }
    }
}

/// Tries every line of `source`.
pub(super) fn run(
    trial: &mut Trial,
    source: Source,
    options: &Options,
    out: &mut Output,
) -> Result<(), Failure> {
    let start = Instant::now();
    let tokens = options.out.as_deref().map(Tokens::new);
    let progress = Progress::new(out.prints_lines(), source.size());
    let mut run = Run { trial, options, tokens, progress, out };
    match source {
        Source::File(lines) => run.file(lines)?,
        Source::Given(lines) => run.given(lines)?,
        Source::Journal(entries) => run.journal(entries)?,
    }
    run.trial.seconds = start.elapsed().as_secs_f64();
    Ok(())
}

/// What is done with lines.
struct Run<'r> {
    trial: &'r mut Trial,
    options: &'r Options,
    tokens: Option<Tokens<'r>>,
    progress: Progress,
    out: &'r mut Output,
}

impl Run<'_> {
    /// Tries lines while a thread reads those to come and finds what it can in them.
    fn file(&mut self, lines: FileLines) -> Result<(), Failure> {
        // What explains a line finds its date itself.
        let is_explained = self.options.explain || self.options.profile;
        let finders = match is_explained {
            true => None,
            false => Finders::take(&mut self.trial.filter),
        };
        let zone = self.trial.clock.zone().clone();
        let format = self.trial.filter.log_format().cloned();
        let finders = ahead::each_batch((lines, format), finders, zone, |batch| {
            self.trial.set_now(batch.now);
            self.progress.read(batch.read_bytes);
            for (records, line) in batch.drain() {
                if let Some(records) = records {
                    self.out.log(*records)?;
                }
                if let Some(line) = line {
                    self.take(line)?;
                }
            }
            Ok(())
        })?;
        if let Some(finders) = finders {
            self.trial.filter.restore_date_detector(finders.dates);
        }
        Ok(())
    }

    fn given(&mut self, lines: std::vec::IntoIter<String>) -> Result<(), Failure> {
        let format = self.trial.filter.log_format().cloned();
        let mut open = OpenMessages::default();
        for line in lines {
            self.trial.set_now(crate::clock::now());
            if let Some(line) = lines::entry(&line, format.as_ref(), &mut open) {
                self.take(line)?;
            }
        }
        Ok(())
    }

    fn journal(&mut self, mut entries: JournalLines) -> Result<(), Failure> {
        while let Some(entry) = entries.next_line()? {
            self.trial.set_now(crate::clock::now());
            if self.out.level() <= Level::HEAVYDEBUG {
                self.out.log([entry.record("~jailless~")])?;
            }
            self.take(Line::Entry(&entry))?;
        }
        Ok(())
    }

    fn take(&mut self, line: Line<'_>) -> Result<(), Failure> {
        match &self.tokens {
            Some(tokens) => self.trial.print_tokens(line, tokens, self.options.invert, self.out)?,
            None => self.trial.try_line(line, self.options, self.out)?,
        }
        self.progress.line();
        Ok(())
    }
}
