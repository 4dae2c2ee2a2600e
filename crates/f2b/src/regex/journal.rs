//! The entries of the journal as lines to try (`Fail2banRegex.start`, `journal_lines_gen`).

use f2b_filter::Encoding;
use f2b_journal::{EntryLine, Journal, JournalError, Source};
use f2b_protocol::Value;
use f2b_types::{Level, Record};
use jiff::tz::Offset;

use super::Failure;
use super::options::Options;
use super::output::Output;
use super::trial::Trial;

/// As many entries in a row that can't be read mean that the rest can't be either.
const MAX_FAILURES: usize = 1000;

/// A journal from its first entry to its last.
pub(super) struct JournalLines {
    journal: Journal,
    encoding: Encoding,
    offset: Offset,
}

impl JournalLines {
    /// Opens what `systemd-journal[...]` stands for, restricted to what `-m` or the filter says.
    pub(super) fn open(
        log: &str,
        encoding: Encoding,
        options: &Options,
        trial: &mut Trial,
        out: &mut Output,
    ) -> Result<Self, Failure> {
        if f2b_journal::load().is_err() {
            out.print("Error: systemd library not found. Exiting...")?;
            return Err(Failure::Reported);
        }
        out.say("Use         systemd journal")?;
        out.say(&format!("Use         encoding : {}", options.encoding))?;
        let opened = f2b_config::extract_options(log)
            .map_err(|error| error.to_string())
            .and_then(|(_, options)| Source::parse(&options).map_err(|error| error.to_string()))
            .and_then(|source| Journal::open(&source).map_err(|error| error.to_string()));
        let mut journal = match opened {
            Ok(journal) => journal,
            Err(error) => return Err(out.give_up(&error)?),
        };
        let debug = |message: &str| Record::new(Level::DEBUG, "filter", message);
        out.log([
            debug("Setting usedns = warn for FilterSystemd(None)"),
            debug("Created FilterSystemd(None)"),
            Record::new(Level::DEBUG, "filtersystemd", "Created FilterSystemd"),
            Record::new(Level::INFO, "filter", format!("  encoding: {}", options.encoding)),
        ])?;
        trial.use_no_dates();
        if let Some(words) = trial.journal_match.as_ref().filter(|words| !words.is_empty()) {
            let shown = words.join(" ");
            if let Err(error) = journal.set_matches(&f2b_journal::alternatives(words)) {
                let message = format!("Error adding journal match for: {}", Value::from(shown.as_str()));
                out.log([Record::new(Level::ERROR, "filtersystemd", message)])?;
                return Err(out.give_up(&format!("{error}: {shown}"))?);
            }
            let shown_added = Value::from(shown.as_str());
            let message = format!("[~jailless~] Added journal match for: {shown_added}");
            out.log([Record::new(Level::INFO, "filtersystemd", message)])?;
            out.say(&format!("Use    journal match : {shown}"))?;
        }
        Ok(Self { journal, encoding, offset: crate::clock::local_offset() })
    }

    /// The next entry. What can't be read is left out.
    pub(super) fn next_line(&mut self) -> std::io::Result<Option<EntryLine>> {
        for _ in 0..MAX_FAILURES {
            match self.journal.read() {
                Ok(entry) => return Ok(entry.map(|entry| entry.line(&self.encoding, self.offset))),
                Err(error @ JournalError::CutShort) => return Err(std::io::Error::other(error)),
                Err(_) => continue,
            }
        }
        Err(std::io::Error::other("the journal can't be read"))
    }
}
