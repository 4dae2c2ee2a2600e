//! The lines to try: of a file, or given on the command line.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use f2b_filter::{Encoding, Entry, EntryTime, LineDate, LogFormat, Matches, OpenMessages};
use f2b_journal::EntryLine;
use f2b_types::{Level, Record};

use super::packed;
use crate::line_buffer::LineBuffer;
use crate::logging::of_invalid_bytes;

/// What is tried.
#[derive(Debug)]
pub(super) enum Line<'a> {
    /// A line without its end, what was found in it ahead, and the time of the entry if that is known.
    Text(&'a str, Option<(LineDate, Option<&'a mut Matches>)>, Option<EntryTime>),
    /// A line that is no entry of the format of the log, and is not searched.
    Other(&'a str),
    /// An entry of the journal, which knows its date.
    Entry(&'a EntryLine),
}

impl Line<'_> {
    /// All of it.
    pub(super) fn whole(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text, ..) | Self::Other(text) => (*text).into(),
            Self::Entry(entry) => entry.parts().concat().into(),
        }
    }

    /// What is searched.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Text(text, ..) | Self::Other(text) => text,
            Self::Entry(entry) => entry.text(),
        }
    }
}

/// Bytes of a line that count: more than in a server, since somebody may want to know.
const MAX_LINE: usize = 16 << 20;

/// The complete lines of a file; a last line without its end is left out, since it is still being written. Compressed
/// files and standard input are at their end when they end.
pub(super) struct FileLines {
    reader: Box<dyn Read + Send>,
    /// A last line without its end counts.
    is_final: bool,
    encoding: Encoding,
    buffer: LineBuffer,
    at_end: bool,
    path: PathBuf,
    /// It was said that a line is not in the encoding.
    warned: bool,
    log_level: Level,
    /// Bytes read so far, and those of the whole file where that is known.
    filled: u64,
    size: Option<u64>,
}

/// A line of a file.
pub(super) struct FileLine<'l> {
    pub(super) text: Cow<'l, str>,
    /// What is said of a line that is not in the encoding: once, unless somebody wants to know everything.
    pub(super) records: Option<[Record; 2]>,
}

impl FileLines {
    pub(super) fn open(path: &Path, encoding: Encoding) -> io::Result<Self> {
        let file = File::open(path)?;
        let size = file.metadata().map(|meta| meta.len()).ok();
        let (reader, is_packed) = packed::unpacked(file)?;
        let lines = Self::new(reader, is_packed, path, encoding);
        Ok(Self { size: size.filter(|_| !is_packed), ..lines })
    }

    /// Those of standard input.
    pub(super) fn standard_input(encoding: Encoding) -> io::Result<Self> {
        let (reader, _) = packed::unpacked(io::stdin())?;
        Ok(Self::new(reader, true, Path::new("-"), encoding))
    }

    fn new(reader: Box<dyn Read + Send>, is_final: bool, path: &Path, encoding: Encoding) -> Self {
        Self {
            reader,
            is_final,
            encoding,
            buffer: LineBuffer::new(MAX_LINE),
            at_end: false,
            path: path.into(),
            warned: false,
            log_level: Level::WARNING,
            filled: 0,
            size: None,
        }
    }

    /// Bytes of which the lines have been handed out.
    pub(super) fn read_bytes(&self) -> u64 {
        self.filled - self.buffer.unread()
    }

    /// Bytes of the whole file, if that is known.
    pub(super) fn size(&self) -> Option<u64> {
        self.size
    }

    /// From which level on messages are wanted.
    pub(super) fn set_log_level(&mut self, level: Level) {
        self.log_level = level;
    }

    /// Reads on, which may take its time. False at the end.
    pub(super) fn read(&mut self) -> io::Result<bool> {
        let count = self.buffer.fill(&mut self.reader)?;
        if self.filled == 0 {
            self.encoding = std::mem::take(&mut self.encoding).by_mark(self.buffer.bytes());
        }
        self.filled += count as u64;
        self.at_end = count == 0;
        Ok(!self.at_end)
    }

    /// The next line of what was read.
    pub(super) fn next_line(&mut self) -> Option<FileLine<'_>> {
        let line = match self.at_end && self.is_final {
            true => self.buffer.next_or_last_line(&self.encoding)?,
            false => self.buffer.next_line(&self.encoding)?,
        };
        let (text, is_valid) = self.encoding.decode_line(line);
        let is_first = !is_valid && !self.warned;
        let warns = is_first || (!is_valid && self.log_level <= Level::TRACEDEBUG);
        self.warned |= !is_valid;
        let records = warns.then(|| of_invalid_bytes(line, &self.path, self.encoding.name(), is_first));
        Some(FileLine { text, records })
    }
}

/// What is tried of the next line of a log: nothing if it is empty, a comment, or a part of a message that goes on.
pub(super) fn entry<'l>(
    line: &'l str,
    format: Option<&LogFormat>,
    open: &'l mut OpenMessages,
) -> Option<Line<'l>> {
    let line = tried(line)?;
    let (text, time) = match format.map(|format| format.read(line, open)) {
        None => (line, None),
        Some(Entry::Message(text, time)) => (tried(text)?, time),
        Some(Entry::Part) => return None,
        Some(Entry::Other) => return Some(Line::Other(line)),
    };
    Some(Line::Text(text, None, time))
}

/// The line without its end, if it counts: not if it is empty or a comment.
fn tried(line: &str) -> Option<&str> {
    let line = f2b_filter::trim_line_end(line);
    (!line.is_empty() && !line.starts_with('#')).then_some(line)
}

/// `text`, or its start if it is longer than 53 characters.
pub(super) fn shorten(text: &str) -> String {
    const MAX: usize = 53;
    match text.chars().count() > MAX {
        true => text.chars().take(MAX - 3).chain("...".chars()).collect(),
        false => text.to_owned(),
    }
}
