//! What a jail reads of the journal: `set JAIL addjournalmatch`, `set JAIL deljournalmatch`, and what becomes of it in a
//! reload.
//!
//! Upstream: `FilterSystemd.addJournalMatch`, `delJournalMatch`, and `server.addJournalMatch`: a jail that follows files
//! takes no notice.

use f2b_protocol::Value;
use f2b_types::Level;

use super::core::Core;
use super::errors::value_error;
use super::jails::Running;
use super::journal::Position;
use super::transmitter::Result;

const LOGGER: &str = "filtersystemd";

impl Core {
    /// Adds the alternatives that the words stand for, with `+` between them.
    pub(super) fn add_journal_match(&mut self, name: &str, words: &[String]) -> Result<()> {
        let running = self.jail(name)?;
        let Some(journal) = &mut running.journal else { return Ok(()) };
        let shown = Value::from(words.join(" "));
        if !words.iter().all(|word| word == "+" || f2b_journal::is_valid_match(word)) {
            self.log(Level::ERROR, LOGGER, format!("Error adding journal match for: {shown}"));
            return Err(value_error("Invalid match"));
        }
        journal.matches.extend(f2b_journal::alternatives(words));
        running.changed = true;
        self.log(Level::INFO, LOGGER, format!("[{name}] Added journal match for: {shown}"));
        Ok(())
    }

    /// Takes one alternative away.
    pub(super) fn del_journal_match(&mut self, name: &str, words: Vec<String>) -> Result<()> {
        let running = self.jail(name)?;
        let Some(journal) = &mut running.journal else { return Ok(()) };
        let shown = Value::strings(words.iter().map(String::as_str));
        let place = journal.matches.iter().position(|known| *known == words);
        let place = place.ok_or_else(|| value_error(format!("Match {shown} not found")))?;
        journal.matches.remove(place);
        running.changed = true;
        let what = if words.is_empty() { "'*'".into() } else { shown.to_string() };
        self.log(Level::INFO, LOGGER, format!("[{name}] Removed journal match for: {what}"));
        Ok(())
    }

    /// Takes all of them away, as a reload begins.
    pub(super) fn clear_journal_matches(&mut self, name: &str) -> Result<()> {
        let journal = self.jail(name)?.journal.as_mut();
        if journal.is_some_and(|journal| !std::mem::take(&mut journal.matches).is_empty()) {
            self.log(Level::INFO, LOGGER, format!("[{name}] Removed journal match for: '*'"));
        }
        Ok(())
    }
}

impl Running {
    /// Notes the last entry that was read before, as the database has it.
    pub(super) fn go_on_in_journal(&mut self, position: Position) {
        if let Some(journal) = &mut self.journal {
            journal.position = Some(position);
            self.changed = true;
        }
    }
}
