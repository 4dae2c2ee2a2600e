//! The lines of a file with their dates, read and found on a thread of its own while those before them are tried.
//!
//! Dates don't depend on what is found in lines. Trying them is more work than that: so the thread, when it is so far
//! ahead that it would have to wait, uses the time to search the lines that it has, as far as that depends on nothing
//! else. Lines are handed over in batches of what was read at once, which are used again: memory does not grow with the
//! file.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use f2b_filter::{
    Clock, DateDetector, EntryTime, Filter, LineDate, LogFormat, Matches, OpenMessages, Searcher,
};
use f2b_types::{Record, Time};
use jiff::tz::TimeZone;

use super::Failure;
use super::lines::{self, FileLines, Line};
use super::trial;

/// Batches that are on their way. One is filled and one emptied; the others make up for the one being faster at times.
const BATCHES: usize = 4;

/// Lines of a batch that are searched ahead. It has more only if they are short, and what is found takes memory.
const MAX_SEARCHED: usize = 2048;

/// Lines that were read at once.
#[derive(Default)]
pub(super) struct Batch {
    /// When they were read.
    pub(super) now: Time,
    /// Bytes of the file up to their end.
    pub(super) read_bytes: u64,
    /// All of them, one behind the other.
    text: String,
    lines: Vec<DatedLine>,
    /// What was found in the first of them.
    matches: Vec<Matches>,
    /// How far in the text those reach.
    searched: usize,
    /// Where reading ended.
    error: Option<io::Error>,
}

struct DatedLine {
    /// Where it ends in the text. One that is not to be tried is empty.
    end: usize,
    records: Option<Box<[Record; 2]>>,
    date: Option<LineDate>,
    time: Option<EntryTime>,
    is_entry: bool,
}

impl Batch {
    /// What there is to say of the bytes of each line, and the line unless it is not to be tried.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (Option<Box<[Record; 2]>>, Option<Line<'_>>)> {
        let (text, mut start) = (&self.text, 0);
        let mut matches = self.matches.iter_mut();
        self.lines.drain(..).map(move |DatedLine { end, records, date, time, is_entry }| {
            let matches = matches.next();
            let line = text.get(start..end).filter(|line| !line.is_empty());
            start = end;
            let line = line.map(|line| match is_entry {
                true => Line::Text(line, date.map(|date| (date, matches)), time),
                false => Line::Other(line),
            });
            (records, line)
        })
    }

    /// Searches the next line. False if there is none, or enough are searched.
    fn search(&mut self, searcher: &mut Searcher) -> bool {
        let next = self.lines.iter().take(MAX_SEARCHED).nth(self.matches.len());
        let Some(DatedLine { end, date, .. }) = next else { return false };
        let line = self.text.get(self.searched..*end).filter(|line| !line.is_empty());
        let matches = line.zip(date.as_ref()).map(|(line, date)| searcher.search(line, date));
        self.matches.push(matches.unwrap_or_default());
        self.searched = *end;
        true
    }
}

/// What finds something in lines before they are tried.
pub(super) struct Finders {
    pub(super) dates: DateDetector,
    searcher: Option<Searcher>,
}

impl Finders {
    /// Those of `filter`, which is without its date detector until it gets it back; `None` if it has none.
    pub(super) fn take(filter: &mut Filter) -> Option<Self> {
        Some(Self { dates: filter.take_date_detector()?, searcher: filter.searcher() })
    }
}

/// Reads `lines`, in a format if they have one, and gives them to `take`, until that fails, with what `finders` found in
/// them. Answers with those.
pub(super) fn each_batch(
    (lines, format): (FileLines, Option<LogFormat>),
    finders: Option<Finders>,
    zone: TimeZone,
    mut take: impl FnMut(&mut Batch) -> Result<(), Failure>,
) -> Result<Option<Finders>, Failure> {
    let (full, to_empty) = sync_channel::<Batch>(BATCHES);
    let (empty, to_fill) = sync_channel::<Batch>(BATCHES);
    // After a failure nobody waits for it, since it may be waiting for more of standard input.
    let reader = thread::spawn(move || fill((lines, format), finders, &zone, &full, &to_fill));
    for mut batch in to_empty {
        take(&mut batch)?;
        if let Some(error) = batch.error {
            return Err(error.into());
        }
        // At the end nobody fills it again.
        let _ = empty.try_send(batch);
    }
    reader.join().or_else(|panic| std::panic::resume_unwind(panic))
}

/// Sends all lines in batches, as long as somebody wants them.
fn fill(
    (mut lines, format): (FileLines, Option<LogFormat>),
    mut finders: Option<Finders>,
    zone: &TimeZone,
    full: &SyncSender<Batch>,
    to_fill: &Receiver<Batch>,
) -> Option<Finders> {
    let (mut open, mut more) = (OpenMessages::default(), true);
    while more {
        let mut batch = to_fill.try_recv().unwrap_or_default();
        batch.text.clear();
        batch.matches.clear();
        batch.searched = 0;
        more = lines.read().unwrap_or_else(|error| {
            batch.error = Some(error);
            false
        });
        batch.now = crate::clock::now();
        let clock = Clock::new(batch.now, zone.clone());
        let context = trial::context(&clock);
        while let Some(line) = lines.next_line() {
            let entry = lines::entry(&line.text, format.as_ref(), &mut open);
            let (text, time, is_entry) = match entry {
                Some(Line::Text(text, _, time)) => (text, time, true),
                Some(Line::Other(text)) => (text, None, false),
                Some(Line::Entry(_)) | None => ("", None, true),
            };
            let finders = finders.as_mut().filter(|_| is_entry && !text.is_empty());
            let date = finders.map(|finders| finders.dates.find(text, &context));
            batch.text.push_str(text);
            let (end, records) = (batch.text.len(), line.records.map(Box::new));
            batch.lines.push(DatedLine { end, records, date, time, is_entry });
        }
        batch.read_bytes = lines.read_bytes();
        let searcher = finders.as_mut().and_then(|finders| finders.searcher.as_mut());
        if send(batch, searcher, full).is_err() {
            break;
        }
    }
    finders
}

/// Sends a batch. As long as there is no room for it, its lines are searched.
fn send(
    mut batch: Batch,
    mut searcher: Option<&mut Searcher>,
    full: &SyncSender<Batch>,
) -> Result<(), Disconnected> {
    loop {
        batch = match full.try_send(batch) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Disconnected(_)) => return Err(Disconnected),
            Err(TrySendError::Full(batch)) => batch,
        };
        if !searcher.as_mut().is_some_and(|searcher| batch.search(searcher)) {
            return full.send(batch).map_err(|_| Disconnected);
        }
    }
}

/// Nobody wants any more lines.
struct Disconnected;
