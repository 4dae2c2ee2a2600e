//! The lines of a file with their dates, read and found on a thread of its own while those before them are searched.
//!
//! The two are about equal work, and the dates of lines don't depend on what is found in them. Lines are handed over in
//! batches of what was read at once, which are used again: memory does not grow with the file.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use f2b_filter::{DateDetector, EntryTime, LineDate, LogFormat, OpenMessages};
use f2b_types::{Record, Time};
use jiff::tz::TimeZone;

use super::Failure;
use super::lines::{self, FileLines, Line};
use super::trial;

/// Batches that are on their way. One is filled and one emptied; the others make up for the one being faster at times.
const BATCHES: usize = 4;

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
    /// Where reading ended.
    error: Option<io::Error>,
}

struct DatedLine {
    /// Where it ends in the text. One that is not to be tried is empty.
    end: usize,
    records: Option<[Record; 2]>,
    date: Option<LineDate>,
    time: Option<EntryTime>,
    is_entry: bool,
}

impl Batch {
    /// What there is to say of the bytes of each line, and the line unless it is not to be tried.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (Option<[Record; 2]>, Option<Line<'_>>)> {
        let (text, mut start) = (&self.text, 0);
        self.lines.drain(..).map(move |DatedLine { end, records, date, time, is_entry }| {
            let line = text.get(start..end).filter(|line| !line.is_empty());
            start = end;
            (
                records,
                line.map(|line| if is_entry { Line::Text(line, date, time) } else { Line::Other(line) }),
            )
        })
    }
}

/// Reads `lines`, in a format if they have one, and gives them to `take`, until that fails, with their dates if there is a
/// detector to find them. Answers with the detector.
pub(super) fn each_batch(
    (lines, format): (FileLines, Option<LogFormat>),
    dates: Option<DateDetector>,
    zone: TimeZone,
    mut take: impl FnMut(&mut Batch) -> Result<(), Failure>,
) -> Result<Option<DateDetector>, Failure> {
    let (full, to_empty) = sync_channel::<Batch>(BATCHES);
    let (empty, to_fill) = sync_channel::<Batch>(BATCHES);
    // After a failure nobody waits for it, since it may be waiting for more of standard input.
    let reader = thread::spawn(move || fill((lines, format), dates, &zone, &full, &to_fill));
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
    mut dates: Option<DateDetector>,
    zone: &TimeZone,
    full: &SyncSender<Batch>,
    to_fill: &Receiver<Batch>,
) -> Option<DateDetector> {
    let (mut open, mut more) = (OpenMessages::default(), true);
    while more {
        let mut batch = to_fill.try_recv().unwrap_or_default();
        batch.text.clear();
        more = lines.read().unwrap_or_else(|error| {
            batch.error = Some(error);
            false
        });
        batch.now = crate::clock::now();
        let context = trial::context(batch.now, zone);
        while let Some(line) = lines.next_line() {
            let entry = lines::entry(&line.text, format.as_ref(), &mut open);
            let (text, time, is_entry) = match entry {
                Some(Line::Text(text, _, time)) => (text, time, true),
                Some(Line::Other(text)) => (text, None, false),
                Some(Line::Entry(_)) | None => ("", None, true),
            };
            let dates = dates.as_mut().filter(|_| is_entry && !text.is_empty());
            let date = dates.map(|dates| dates.find(text, &context));
            batch.text.push_str(text);
            let (end, records) = (batch.text.len(), line.records);
            batch.lines.push(DatedLine { end, records, date, time, is_entry });
        }
        batch.read_bytes = lines.read_bytes();
        if full.send(batch).is_err() {
            break;
        }
    }
    dates
}
