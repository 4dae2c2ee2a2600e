//! The journal as a jail follows it: its entries, where reading goes on, and when it has caught up with the present.
//!
//! Upstream: `FilterSystemd.run`. The place is kept in the database as upstream keeps it, as the time of the last entry
//! and as its date; behind the date, where upstream looks at nothing, stands the cursor. So reading goes on behind exactly
//! that entry, whatever its own time is, and whoever else writes the place takes the cursor away.

use std::collections::VecDeque;
use std::ffi::{CStr, CString};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use f2b_filter::Encoding;
use f2b_journal::{Broken, EntryLine, Journal, JournalError, News, Source};
use f2b_types::{Level, Log, Record, Time};
use jiff::tz::Offset;

use super::Outcome;
use super::log_file::Progress;
use crate::clock;
use crate::logging::ServerLog;

/// What the database calls it.
pub(super) const PATH: &str = "systemd-journal";

/// Entries read before the reader takes care of other jails.
const BUDGET: usize = 200;

/// How far from now an entry counts as one of now, in seconds.
const NEAR: f64 = 1.0;

/// How many entries are searched for the one that upstream read last.
const SEARCHED: usize = 1_000_000;

/// After so many entries the journal is opened anew, as soon as all have been read.
const MANY: usize = 10_000;

/// How long a file may be left as it is before it is certain that it can't be opened, and how long a journal.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often the files are looked at of which nothing is heard.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Characters of a cursor, at most; the library's have 120.
const MAX_CURSOR: usize = 1000;

/// What the reader needs to know of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct WatchedJournal {
    pub(super) source: Source,
    /// Alternatives, each a list of what has to match.
    pub(super) matches: Vec<Vec<String>>,
    /// The last entry that was read before the server was started.
    pub(super) position: Option<Position>,
}

/// An entry, as the database has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Position {
    /// Its own time, in seconds since 1970.
    time: f64,
    /// Not if upstream has read it.
    cursor: Option<CString>,
}

impl Position {
    /// By what stands in the two columns, numbers and text.
    pub(super) fn new(time: f64, text: Option<&str>) -> Self {
        let cursor = text.and_then(|text| text.split_once(' ')).map(|(_date, cursor)| cursor);
        let has = |cursor: &str, name: &str| cursor.split(';').any(|field| field.starts_with(name));
        let cursor = cursor.filter(|cursor| cursor.len() <= MAX_CURSOR);
        let cursor =
            cursor.filter(|cursor| ["s=", "i=", "b=", "m=", "t=", "x="].iter().all(|name| has(cursor, name)));
        Self { time, cursor: cursor.and_then(|cursor| CString::new(cursor).ok()) }
    }
}

impl WatchedJournal {
    /// The alternatives as `status` shows them.
    pub(super) fn matches_shown(&self) -> String {
        let alternatives: Vec<String> = self.matches.iter().map(|words| words.join(" ")).collect();
        alternatives.join(" + ")
    }
}

/// A journal that is being followed.
pub(super) struct FollowedJournal {
    watched: WatchedJournal,
    /// `None` until it could be opened.
    pub(super) journal: Option<Journal>,
    offset: Offset,
    phase: Phase,
    /// Time and date of the last entry, or when reading began and no date; and whether the database knows.
    last: Option<(f64, String)>,
    is_saved: bool,
    /// The last entry with failures, as the database takes it.
    failed: Option<(f64, String)>,
    /// Failures that may have to be waited for, each with the one before: there is nothing to be read again between them.
    uncounted: VecDeque<(Outcome, Option<(f64, String)>)>,
    /// It knows of an earlier place at least.
    was_saved: bool,
    /// Since when it can't be opened, and whether the log says so.
    trouble: Option<Instant>,
    is_told: bool,
    /// When its files are looked at again.
    next_check: Instant,
    /// How many entries were read since the journal was opened.
    read_since_open: usize,
    /// Files that can't be opened, as the log says.
    left_out: Vec<PathBuf>,
}

/// The date of the entry that was read last, with its cursor.
fn with_cursor(date: &str, journal: &Journal) -> String {
    format!("{date}{}", journal.cursor().unwrap_or_default().to_string_lossy())
}

/// What the entries that come are of.
enum Phase {
    /// The past, up to the entry with this cursor, which was the last one at the time when reading began.
    Past { end: CString, began: f64 },
    /// The past still: as much time again is granted as it took to get to that entry.
    Catching { until: f64 },
    /// Now: they are news.
    Present,
}

impl FollowedJournal {
    pub(super) fn new(watched: WatchedJournal) -> Self {
        Self {
            was_saved: watched.position.is_some(),
            watched,
            journal: None,
            offset: clock::local_offset(),
            phase: Phase::Present,
            last: None,
            is_saved: true,
            failed: None,
            uncounted: VecDeque::new(),
            trouble: None,
            is_told: false,
            next_check: Instant::now(),
            read_since_open: 0,
            left_out: Vec::new(),
        }
    }

    /// Takes over other matches; reading goes on where it is.
    pub(super) fn update(&mut self, watched: WatchedJournal, jail: &str, log: &ServerLog) {
        let is_new = watched.matches != self.watched.matches;
        self.watched = watched;
        if is_new
            && let Some(journal) = &mut self.journal
            && let Err(error) = journal.set_matches(&self.watched.matches)
        {
            log.write(Record::new(Level::ERROR, "filtersystemd", format!("[{jail}] {error}")));
        }
    }

    /// Whether the database knows of no place: a rotation that comes after a crash would take away what was not read.
    pub(super) fn is_unknown(&self) -> bool {
        !self.was_saved && self.last.is_some()
    }

    /// The last entry as the database takes it ([`Position::new`]), if it has not got it yet; or an earlier one, as long as
    /// failures behind that wait for an answer.
    pub(super) fn unsaved(&mut self) -> Option<(f64, String)> {
        while self.uncounted.pop_front_if(|(outcome, _)| outcome.is_known()).is_some() {}
        if let Some((_, before)) = self.uncounted.front() {
            self.was_saved |= before.is_some();
            return before.clone();
        }
        if std::mem::replace(&mut self.is_saved, true) {
            return None;
        }
        let (time, date) = self.last.as_ref()?;
        self.was_saved = true;
        let text = self.journal.as_ref().map_or_else(|| date.clone(), |journal| with_cursor(date, journal));
        Some((*time, text))
    }

    /// Hands out entries that have come, up to a budget, each with whether it is news.
    ///
    /// # Errors
    ///
    /// The journal can't be opened now.
    pub(super) fn read(
        &mut self,
        jail: &str,
        encoding: &Encoding,
        find_time: f64,
        log: &ServerLog,
        mut each: impl FnMut(&EntryLine, bool) -> Option<Outcome>,
    ) -> Result<Progress, JournalError> {
        if self.journal.is_none() {
            let journal = self.begin(jail, find_time, log)?;
            self.journal = Some(journal);
        }
        let Some(journal) = &mut self.journal else { return Ok(Progress::Missing) };
        let left_out: Vec<_> = journal.left_out().map(Into::into).collect();
        for path in left_out.iter().filter(|path| !self.left_out.contains(path)) {
            let path = path.display();
            let message =
                format!("[{jail}] Journal file {path} can't be opened, it is left out until it changes");
            log.write(Record::new(Level::WARNING, "filtersystemd", message));
        }
        self.left_out = left_out;
        if journal.is_stale() {
            return hear_news(journal, &mut self.next_check, (jail, log));
        }
        for _ in 0..BUDGET {
            let entry = match journal.read() {
                Ok(Some(entry)) => entry,
                Ok(None) => {
                    self.phase.end(jail, log);
                    if self.read_since_open > MANY {
                        journal.reopen()?;
                        self.read_since_open = 0;
                        return Ok(Progress::More);
                    }
                    return hear_news(journal, &mut self.next_check, (jail, log));
                }
                Err(error @ JournalError::CutShort) => return Err(error),
                Err(error) => {
                    let message = format!("Error reading line from systemd journal: {error}");
                    log.write(Record::new(Level::ERROR, "filtersystemd", message));
                    // If it is not this entry only, the log should not be full of it.
                    return Ok(Progress::Unsettled);
                }
            };
            let line = entry.line(encoding, self.offset);
            self.phase.pass(journal, line.time, jail, log);
            if log.enabled(Level::HEAVYDEBUG) {
                log.write(line.record(jail));
            }
            if let Some(outcome) = each(&line, matches!(self.phase, Phase::Present)) {
                let entry = (line.time, with_cursor(&line.date, journal));
                self.uncounted.push_back((outcome, self.failed.replace(entry)));
            }
            self.read_since_open += 1;
            self.last = Some((line.time, line.date));
            self.is_saved = false;
        }
        Ok(Progress::More)
    }

    /// Opens it where reading was left, but no longer ago than `find_time`.
    fn begin(&mut self, jail: &str, find_time: f64, log: &ServerLog) -> Result<Journal, JournalError> {
        let Time(now) = clock::now();
        let earliest = now - find_time;
        let position = self.watched.position.as_ref();
        let is_rotated = position.is_some() && self.watched.source.has_no_files();
        if is_rotated && !self.is_certain() {
            return Err(JournalError::System(nix::errno::Errno::ENOENT.into()));
        }
        let cursor = position.and_then(|position| position.cursor.as_deref());
        let until = position.map(|_| cursor.and_then(received).unwrap_or(earliest).max(earliest));
        let mut journal = Journal::follow(
            &self.watched.source,
            until.and_then(system_time),
            Broken::LeftOutAfter(PATIENCE),
        )?;
        journal.set_matches(&self.watched.matches)?;
        let end = journal.last_cursor()?;
        go_on(&mut journal, position, earliest)?;
        if self.watched.matches.is_empty() {
            let message = format!(
                "[{jail}] Jail started without 'journalmatch' set. Jail regexs will be checked against all journal \
                 entries, which is not advised for performance reasons."
            );
            log.write(Record::new(Level::NOTICE, "filtersystemd", message));
        }
        match end {
            Some(end) => self.phase = Phase::Past { end, began: now },
            None => {
                self.phase = Phase::Catching { until: now };
                self.phase.end(jail, log);
            }
        }
        if position.is_none() {
            self.last = Some((earliest, String::new()));
            (self.failed, self.is_saved) = (self.last.clone(), false);
        }
        Ok(journal)
    }

    /// Whether it is more than a moment that it can't be opened.
    fn is_certain(&self) -> bool {
        self.trouble.is_some_and(|since| since.elapsed() >= PATIENCE)
    }

    /// Says in the log, once, that it can't be read, or that it can be again. That a file can't be opened which is just begun is not worth a word.
    pub(super) fn report(&mut self, jail: &str, progress: &Result<Progress, JournalError>, log: &ServerLog) {
        let Err(error) = progress else {
            self.trouble = None;
            if std::mem::take(&mut self.is_told) {
                let message = format!("[{jail}] The journal can be read again");
                log.write(Record::new(Level::NOTICE, "filtersystemd", message));
            }
            return;
        };
        self.trouble.get_or_insert_with(Instant::now);
        let is_certain = self.is_certain() || matches!(error, JournalError::CutShort);
        if is_certain && !std::mem::replace(&mut self.is_told, true) {
            let message = format!("[{jail}] Unable to read the journal: {error}");
            log.write(Record::new(Level::ERROR, "filtersystemd", message));
        }
    }
}

impl Phase {
    /// An entry of that time has come.
    fn pass(&mut self, journal: &Journal, time: f64, jail: &str, log: &ServerLog) {
        let Time(now) = clock::now();
        let is_over = match self {
            Self::Present => return,
            _ if time >= now - NEAR => true,
            Self::Past { end, began } => {
                if time > *began || journal.cursor() == Some(&**end) {
                    *self = Self::Catching { until: now * 2.0 - *began };
                }
                false
            }
            Self::Catching { until } => time > *until,
        };
        if is_over {
            self.end(jail, log);
        }
    }

    /// There is nothing left of the past.
    fn end(&mut self, jail: &str, log: &ServerLog) {
        if !matches!(std::mem::replace(self, Self::Present), Self::Present) {
            let message = format!("[{jail}] Jail is in operation now (process new journal entries)");
            log.write(Record::new(Level::INFO, "filtersystemd", message));
        }
    }
}

/// What has happened to a journal of which everything was read.
fn hear_news(
    journal: &mut Journal,
    next_check: &mut Instant,
    (jail, log): (&str, &ServerLog),
) -> Result<Progress, JournalError> {
    match journal.news()? {
        News::Nothing if Instant::now() < *next_check => Ok(Progress::End),
        News::Nothing => {
            *next_check = Instant::now() + CHECK_INTERVAL;
            journal.check()?;
            Ok(if journal.is_stale() { Progress::More } else { Progress::End })
        }
        News::Entries => Ok(Progress::More),
        News::Reopened => {
            let message = format!("[{jail}] Journal files have changed, reopen journal");
            log.write(Record::new(Level::MSG, "filtersystemd", message));
            Ok(Progress::More)
        }
    }
}

/// When the entry with this cursor was received, in seconds since 1970.
fn received(cursor: &CStr) -> Option<f64> {
    f2b_journal::received(cursor).map(|micros| micros as f64 / 1e6)
}

fn system_time(seconds: f64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
}

/// Goes on behind the entry that was read last, but with none that was received before `earliest`.
fn go_on(journal: &mut Journal, position: Option<&Position>, earliest: f64) -> Result<(), JournalError> {
    let Some(Position { time, cursor }) = position else { return journal.seek_time(earliest) };
    match cursor {
        Some(cursor) if received(cursor).is_some_and(|at| at <= earliest) => journal.seek_time(earliest),
        // The library may take it for none.
        Some(cursor) if journal.seek_behind(cursor).is_ok() => Ok(()),
        _ => go_on_behind(journal, *time, earliest),
    }
}

/// Goes on behind the entry of exactly that time, of those that were received after `earliest`; where there is none, with
/// the first one that was received at that time or later.
fn go_on_behind(journal: &mut Journal, time: f64, earliest: f64) -> Result<(), JournalError> {
    journal.seek_time(earliest)?;
    for _ in 0..SEARCHED {
        match journal.read() {
            Ok(Some(entry)) if entry.time() == time => return Ok(()),
            Ok(None) => break,
            Ok(Some(_)) | Err(_) => {}
        }
    }
    journal.seek_time(time.max(earliest))
}
